"""Small things that every face says alike: numbers with their nouns, inputs, errors."""

from __future__ import annotations

from mish_guard.judge.compare import Moved
from mish_guard.records import BadInterval, Figures, Measurement


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 cell", "24 cells"."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def interval(each: BadInterval | None) -> str:
    """An interval as mathematicians write it; nothing for none."""
    return "" if each is None else f"[{each.first!r}, {each.last!r}]"


def ulp(cell: Measurement | None) -> str:
    """The largest error of a cell in units in the last place, and its input."""
    if cell is None or cell.figures is None:
        return "-"
    return worst_ulp(cell.figures)


def moved(change: Moved | None) -> tuple[str, str, str]:
    """The binade that changed most, with its errors before and after."""
    if change is None:
        return ("-", "-", "-")
    return (change.name, number(change.before), number(change.after))


def worst_ulp(figures: Figures) -> str:
    """The largest error in units in the last place, and its input."""
    return f"{figures.max_ulp.value:.4g} at {figures.max_ulp.at:.6g}"


def number(value: float | None) -> str:
    """A figure with four digits; a dash for none."""
    return "-" if value is None else f"{value:.4g}"
