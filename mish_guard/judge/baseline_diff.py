"""Two sets of stored cells beside each other: what a refresh, or a pull request, makes of the baselines.

Pure functions. A change of baselines is no evidence of anything; it is shown, and a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mish_guard.judge import compare
from mish_guard.judge.compare import Moved
from mish_guard.records import Measurement
from mish_guard.results.baseline import Baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One cell before and after; None where it does not exist. `how` tells what became of it."""

    cell: str
    how: str
    before: Measurement | None
    after: Measurement | None

    @property
    def moved(self) -> Moved | None:
        """The binade that changed most, before and after."""
        return compare.moved(self.after, self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The cells that changed, went or came, by name, and the number of those that stayed bit for bit."""

    moved: tuple[Change, ...]
    n_unchanged: int

    @property
    def summary(self) -> str:
        """The counts in one line."""
        n_new = sum(each.before is None for each in self.moved)
        return f"{self.n_unchanged} cells unchanged, {len(self.moved) - n_new} changed or gone, {n_new} new"


def cells_of(baselines: Mapping[str, Baseline]) -> dict[str, Measurement]:
    """The cells of several baselines by key."""
    return {key: cell for each in baselines.values() for key, cell in each.cells.items()}


def between(before: Mapping[str, Measurement], after: Mapping[str, Measurement]) -> Changes:
    """What happened to every cell of either side; equal output bits are no change."""
    keys = sorted(before.keys() | after.keys())
    changed = (_change(key, before.get(key), after.get(key)) for key in keys)
    moved = tuple(each for each in changed if each is not None)
    return Changes(moved=moved, n_unchanged=len(keys) - len(moved))


def _change(cell: str, before: Measurement | None, after: Measurement | None) -> Change | None:
    if before is None:
        return Change(cell=cell, how="new", before=None, after=after)
    if after is None:
        return Change(cell=cell, how="gone", before=before, after=None)
    if before.rung != after.rung:
        return Change(cell=cell, how=f"at {after.rung}, not {before.rung}", before=before, after=after)
    if _digest(before) != _digest(after) and before.instrument != after.instrument:
        return Change(cell=cell, how="other instrument", before=before, after=after)
    if _digest(before) != _digest(after):
        return Change(cell=cell, how=compare.change(after, before).value, before=before, after=after)
    if before.known_gap != after.known_gap:
        return Change(cell=cell, how="known gap", before=before, after=after)
    return None


def _digest(cell: Measurement) -> str | None:
    return None if cell.figures is None else cell.figures.digest
