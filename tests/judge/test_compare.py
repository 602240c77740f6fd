"""One measurement against another, at the very edges: what grew, what is worse, what is told, and in which order."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from mish_guard.judge import compare
from mish_guard.judge.compare import Change, Moved
from mish_guard.records import BinadeFigures, Figures, Measurement, Worst
from tests.made_up import CELL, binade, cell, dead, figures

NOTHING = dead()
LOW, HIGH = "+[8, 16)", "+[16, 32)"


def moved(before: float | None, after: float | None, **more: Any) -> Moved:
    return Moved(name=LOW, before=before, after=after, **more)


def two(low: float, high: float, *, material: float = 0.5, at: float = 8.5, **more: Any) -> Measurement:
    """A cell of two binades with these errors, whose bits are those of no other."""
    made = {LOW: binade(low, material=material), HIGH: binade(high, material=material)}
    placed = {name: dataclasses.replace(each, at=at) for name, each in made.items()}
    return cell(CELL, figures(digest=f"{low} {high} {more}", binades=placed, **more))


def found(measurement: Measurement) -> Figures:
    assert measurement.figures is not None
    return measurement.figures


@pytest.mark.parametrize(
    ("before", "after", "grew", "shrank"),
    [
        (4.0, 5.5, False, False),
        (4.0, 5.500001, True, False),
        (5.5, 4.0, False, False),
        (5.500001, 4.0, False, True),
        (4.0, None, True, False),
        (None, 4.0, False, False),
        (None, None, True, False),
        (4.0, math.nan, True, True),
        (math.nan, 4.0, True, True),
    ],
)
def test_an_error_moved_by_more_than_a_quarter_and_half_a_unit(
    before: float | None, after: float | None, grew: bool, shrank: bool
) -> None:
    assert (moved(before, after).grew, moved(before, after).shrank) == (grew, shrank)


@pytest.mark.parametrize(
    ("move", "worse"),
    [
        (moved(1.0, 9.0, material=1.0), False),
        (moved(1.0, 9.0, material=1.01), True),
        (moved(8.9, 9.0, material=9.0), False),
        (moved(1.0, None), True),
        (moved(1.0, 9.0), False),
        (moved(1.0, 9.0, material=2.5, material_before=2.0), False),
        (moved(1.0, 9.0, material=2.51, material_before=2.0), True),
        (moved(1.0, 9.0, material=2.5, material_before=0.0), True),
        (moved(8.9, 9.0, material=9.0, material_before=1.0), False),
    ],
)
def test_worse_is_what_grew_and_matters(move: Moved, worse: bool) -> None:
    assert move.is_worse is worse


def test_a_move_without_a_size_does_not_matter() -> None:
    assert moved(1.0, 2.0).material == 0.0
    assert moved(4.0, 1 / 3).words == f"{LOW}: 0.3333 ulp, 4 before"
    assert moved(None, None).words == f"{LOW}: none ulp, none before"


def test_a_cell_without_figures_is_worse_on_either_side() -> None:
    for pair in ((NOTHING, cell(CELL)), (cell(CELL), NOTHING), (NOTHING, NOTHING)):
        assert compare.change(*pair) is Change.WORSE
        assert compare.differences(*pair) == ["one of the two has no figures"]


@pytest.mark.parametrize(
    ("after", "change"),
    [
        (two(4.0, 4.0), Change.WITHIN),
        (two(9.0, 4.0), Change.PRECISION),
        (two(4.0, 9.0), Change.PRECISION),
        (two(9.0, 1.0), Change.PRECISION),
        (two(1.0, 4.0), Change.BETTER),
        (two(4.0, 1.0), Change.BETTER),
        (two(4.0, 4.0, n_covered=61441), Change.BETTER),
        (two(4.0, 4.0, n_covered=61439), Change.WORSE),
        (two(4.0, 4.0, n_over_ceiling=2), Change.BETTER),
        (two(4.0, 4.0, n_over_ceiling=4), Change.WORSE),
        (two(9.0, 4.0, material=2.0), Change.WORSE),
        (two(4.0, 9.0, material=2.0), Change.WORSE),
    ],
)
def test_one_binade_is_enough_to_move_a_cell(after: Measurement, change: Change) -> None:
    before = two(4.0, 4.0, n_over_ceiling=3)
    if "n_over_ceiling" not in found(after).digest:
        after = dataclasses.replace(after, figures=dataclasses.replace(found(after), n_over_ceiling=3))
    assert compare.change(after, before) is change


def test_the_changes_of_a_cell_are_told_in_order_the_largest_binade_first() -> None:
    specials = {"nan": "nan", "-inf": "-0"}
    before = two(4.0, 4.0, specials={**specials, "+inf": "+inf"})
    after = two(20.0, 40.0, material=9.0, n_covered=1, n_over_ceiling=2, specials={**specials, "also": "+0"})
    told = [
        "1 inputs covered, 61440 before",
        "2 outputs over the ceiling, 0 before",
        "+inf gives nothing, +inf before",
        "also gives +0, nothing before",
        f"{HIGH}: 40 ulp, 4 before",
        f"{LOW}: 20 ulp, 4 before",
    ]
    assert compare.differences(after, before) == told
    swapped = two(40.0, 20.0, material=9.0, specials=found(before).specials)
    assert compare.differences(swapped, before) == [f"{LOW}: 40 ulp, 4 before", f"{HIGH}: 20 ulp, 4 before"]


def test_specials_are_told_by_name() -> None:
    names = [f"n{number}" for number in range(20)]
    new, old = (figures(specials=dict.fromkeys(names, kind)) for kind in ("+inf", "nan"))
    assert [each.split()[0] for each in compare.special_differences(new, old)] == sorted(names)


@pytest.mark.parametrize(
    ("after", "before", "moves"),
    [("+0", "-0", False), ("-0 +0", "+0", False), ("0X", "+0", True), ("0", "-0", False), ("+0 nan", "+0", True)],
)
def test_the_kinds_of_a_special_are_a_set_with_one_zero(after: str, before: str, moves: bool) -> None:
    new, old = figures(specials={"nan": after}), figures(specials={"nan": before})
    assert bool(list(compare.special_differences(new, old))) is moves


def test_the_place_of_a_binade_is_that_of_the_larger_error() -> None:
    for after, place in ((5.0, 9.0), (4.0, 9.0), (3.0, 8.0)):
        (move, _) = compare.moves_of(found(two(after, 1.0, at=9.0)), found(two(4.0, 1.0, at=8.0)))
        assert (move.name, move.before, move.after, move.at, move.material) == (LOW, 4.0, after, place, 0.5)
        assert move.material_before is None
    (gone, _) = compare.moves_of(figures(binades={}), found(two(4.0, 1.0, at=8.0)))
    assert gone == Moved(name=LOW, before=4.0, after=None, at=8.0)


def test_a_cell_without_binades_moves_as_a_whole() -> None:
    new, old = figures(material=3.0, max_ulp=Worst(value=9.0, at=1.0)), figures(binades={})
    assert compare.moves_of(new, old) == (
        Moved(name="all outputs", before=4.0, after=9.0, material=3.0, material_before=2.0),
    )


def test_the_move_that_is_shown_is_worse_then_grown_then_far() -> None:
    before = two(4.0, 100.0)
    far_but_better = two(5.6, 1.0)
    shown = compare.moved(far_but_better, before)
    assert shown is not None
    assert shown.name == LOW
    worse = {LOW: binade(9.0, material=2.0), HIGH: binade(9000.0, material=0.5)}
    shown = compare.moved(cell(CELL, figures(binades=worse)), before)
    assert shown is not None
    assert shown.name == LOW
    shown = compare.moved(two(4.1, 110.0), two(4.0, 100.0))
    assert shown is not None
    assert shown.name == HIGH
    shown = compare.moved(two(4.0, 1.0), two(3.9, 100.0))
    assert shown is not None
    assert shown.name == HIGH


@pytest.mark.parametrize("lost", [None, NOTHING])
def test_a_cell_that_came_or_went_is_shown_by_its_largest_error(lost: Measurement | None) -> None:
    there = two(4.0, 7.0)
    place = {LOW: BinadeFigures(count=1, max_ulp=9.0, mean_abs=0.0, at=8.0, material=0.0), HIGH: binade(7.0)}
    other = cell(CELL, figures(binades=place))
    whole = cell(CELL, figures(binades={}))
    assert compare.moved(there, lost) == Moved(name=HIGH, before=None, after=7.0, at=8.5)
    assert compare.moved(lost, other) == Moved(name=LOW, before=9.0, after=None, at=8.0)
    assert compare.moved(whole, lost) == Moved(name="all outputs", before=None, after=4.0)
    assert compare.moved(lost, whole) == Moved(name="all outputs", before=4.0, after=None)
    assert compare.moved(lost, NOTHING) is None


def test_nothing_is_farther_than_what_is_no_number() -> None:
    before = two(4.0, 4.0)
    for odd in (math.inf, math.nan):
        shown = compare.moved(cell(CELL, figures(binades={LOW: binade(1e9), HIGH: binade(odd)})), before)
        assert shown is not None
        assert shown.name == HIGH
    only_low = cell(CELL, figures(binades={LOW: binade(1e9)}))
    shown = compare.moved(only_low, before)
    assert shown == Moved(name=HIGH, before=4.0, after=None, at=8.5)
    assert compare._distance(moved(None, 4.0)) == math.inf
    assert compare._distance(moved(4.0, 1.0)) == compare._distance(moved(1.0, 4.0)) == math.log(3)
