"""Two sets of cells beside each other, in every form: one table and one picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mish_guard.judge.baseline_diff import Change, Changes
from mish_guard.records import Figures, Measurement
from mish_guard.report import html, pictures, table, words
from mish_guard.report.markdown import table as markdown_table

_COLUMNS = ("cell", "change", "binade that changed most", "ulp before", "ulp after")


def rows(found: Changes) -> list[tuple[str, ...]]:
    """One line for each cell that changed: the binade that changed most, before and after."""
    return [_row(each) for each in found.moved]


def text(found: Changes, *, width: int) -> str:
    """The counts, then the table; on a narrow screen each cell on lines of its own."""
    made = rows(found)
    if not made:
        return found.summary
    drawn = table.render(_COLUMNS, made)
    if max(map(len, drawn.splitlines())) > width:
        drawn = "\n".join(f"{row[0]}\n  {row[1]}, {row[2]}: {row[3]} ulp before, {row[4]} after" for row in made)
    return f"{found.summary}\n\n{drawn}"


def markdown(found: Changes, of: str = "Compared") -> str:
    """The counts of what is called so, and the table where there is one, in Markdown; newline at the end."""
    drawn = ["", *markdown_table(_COLUMNS, rows(found))] if found.moved else []
    return "\n".join([f"**{of}**: {found.summary}.", *drawn]) + "\n"


def document(found: Changes) -> dict[str, object]:
    """The same as JSON types."""
    return {
        "summary": found.summary,
        "unchanged": found.n_unchanged,
        "changes": [{"cell": each.cell, "change": each.how, "moved": _moved(each)} for each in found.moved],
    }


def picture(old: Mapping[str, Measurement], new: Mapping[str, Measurement]) -> str:
    """The largest error of every binade before and after, of the cell with the largest change; may be empty."""
    named = _named(old, new)
    return pictures.by_binade(named) if named else pictures.nothing()


def page(found: Changes, old: Mapping[str, Measurement], new: Mapping[str, Measurement]) -> str:
    """One page of HTML with the table and the picture."""
    svg = html.safe_picture(picture(old, new), "p1", "largest error by binade, before and after")
    return html.render(
        "table.html.j2",
        title="mish-guard: two runs",
        summary=found.summary,
        picture=svg,
        caption=_caption(old, new),
        known=(),
        columns=_COLUMNS,
        rows=rows(found),
        notes=(),
    )


def _caption(old: Mapping[str, Measurement], new: Mapping[str, Measurement]) -> str:
    name = _most(old, new)
    return "" if name is None else f"Largest error of every binade, of the cell that changed most: {name}"


def _row(each: Change) -> tuple[str, ...]:
    return each.cell, each.how, *words.moved(each.moved)


def _moved(each: Change) -> dict[str, object] | None:
    return None if each.moved is None else dataclasses.asdict(each.moved)


def _named(old: Mapping[str, Measurement], new: Mapping[str, Measurement]) -> dict[str, Figures]:
    name = _most(old, new)
    pair = {} if name is None else {"before": old[name].figures, "after": new[name].figures}
    return {side: figures for side, figures in pair.items() if figures is not None}


def _most(old: Mapping[str, Measurement], new: Mapping[str, Measurement]) -> str | None:
    """The cell with binades whose largest error changed most; None where there is none."""
    sizes: dict[str, float] = {}
    for name in sorted(old.keys() & new.keys()):
        before, after = old[name].figures, new[name].figures
        if before is not None and after is not None and before.binades:
            sizes[name] = abs(before.max_ulp.value - after.max_ulp.value)
    return max(sizes, key=lambda name: sizes[name], default=None)
