"""The verdict is monotone: nothing that is made worse or left out turns a run green that was not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mish_guard.judge import defects, verdict
from mish_guard.judge.verdict import Verdict
from mish_guard.records import Failure, Figures, Measurement, Stage, Worst
from tests.made_up import BASE, CELL, CLIFF, GRAFT, NEGATIVE, POSITIVE, binade, cell, cliff, figures, run

DEFECTS = defects.load_defects()


def _coarser(given: Figures) -> Figures:
    """Each binade, and the whole, twice as wrong."""
    name, found = next(iter(given.binades.items()))
    twice = binade(found.max_ulp * 2, material=found.material * 2)
    largest = Worst(value=given.max_ulp.value * 2, at=given.max_ulp.at)
    return dataclasses.replace(given, binades={name: twice}, max_ulp=largest, material=given.material * 2)


def _over_the_ceiling(given: Figures, **more: Any) -> Figures:
    """One input more, which is over the ceiling whatever else it is."""
    return dataclasses.replace(given, n_over_ceiling=given.n_over_ceiling + 1, bad_intervals=(CLIFF,), **more)


WORSE: list[Callable[[Figures], Figures]] = [
    _coarser,
    lambda given: dataclasses.replace(given, n_covered=given.n_covered - 1),
    _over_the_ceiling,
    lambda given: _over_the_ceiling(given, n_nonfinite=given.n_nonfinite + 1),
    lambda given: _over_the_ceiling(given, n_collapsed=given.n_collapsed + 1),
    lambda given: dataclasses.replace(given, specials={**given.specials, "+inf": "nan"}),
]


@st.composite
def spoiled(draw: st.DrawFn, key: str) -> Measurement:
    """A cell that is as the baseline or better, changed for the worse up to two times, or one without figures."""
    found = figures(binades={"+[8, 16)": binade(draw(st.sampled_from([1.0, 4.0, 4.5])))}, digest="2" * 64)
    for worse in draw(st.lists(st.sampled_from(WORSE), max_size=2)):
        found = worse(found)
    lost = Failure(stage=Stage.CONVERT, reason="no")
    return cell(key, found) if draw(st.integers(0, 7)) else dataclasses.replace(cell(key), figures=None, failure=lost)


CONTROL = st.sampled_from([figures(), cliff()])
RUNS = st.tuples(
    spoiled(CELL),
    spoiled(GRAFT),
    CONTROL.map(lambda found: cell(NEGATIVE, found)),
    CONTROL.map(lambda found: cell(POSITIVE, found)),
)
Cells = tuple[Measurement, ...]


def _is_green(cells: Cells) -> bool:
    return verdict.judge(run(*cells), BASE, DEFECTS).verdict is Verdict.PASS


@given(RUNS, st.integers(0, 1), st.sampled_from(WORSE))
@settings(deadline=None, derandomize=True)
def test_worse_figures_never_turn_a_run_green(cells: Cells, which: int, worse: Callable[[Figures], Figures]) -> None:
    found = cells[which].figures
    if found is not None and not _is_green(cells):
        after = dataclasses.replace(cells[which], figures=worse(found))
        assert not _is_green((*cells[:which], after, *cells[which + 1 :]))


@given(RUNS, st.integers(0, 3))
@settings(deadline=None, derandomize=True)
def test_a_cell_or_control_that_is_left_out_leaves_no_run_green(cells: Cells, which: int) -> None:
    """Out of the plan too, as if nobody had ever asked for it."""
    assert not _is_green((*cells[:which], *cells[which + 1 :]))


def test_both_colours_are_among_what_is_tried() -> None:
    arms = (cell(NEGATIVE, cliff()), cell(POSITIVE))
    assert _is_green((cell(CELL), cell(GRAFT), *arms))
    for worse in WORSE:
        twice = worse(worse(figures()))
        assert _is_green((cell(CELL, twice), cell(GRAFT), *arms)) is False, twice
