"""The status of single cells: what stages, gaps, places and instruments make of the same figures."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mish_guard.judge import status, verdict
from mish_guard.judge.status import PlaceState, Status
from mish_guard.numerics import ceiling
from mish_guard.records import Failure, Measurement, Stage
from mish_guard.results.baseline import Baseline
from tests.made_up import (
    ARMS,
    BASE,
    CELL,
    GRAFT,
    NEGATIVE,
    ON_CPU,
    POSITIVE,
    against,
    binade,
    cell,
    cliff,
    dead,
    figures,
    places,
    run,
    stored,
)

OTHER = CELL.replace("mish-k3", "mish-k1")


def of(measurement: Measurement, base: dict[str, Baseline] | None = None, **changed: Any) -> Status:
    """The status of one cell beside sound controls."""
    made = run(measurement, *ARMS, **changed)
    rows = status.rows(made, BASE if base is None else base)
    return next(row.status for row in rows if row.cell == str(measurement.key))


@pytest.mark.parametrize("stage", Stage)
def test_a_cell_that_failed_is_told_by_its_stage_and_by_what_it_did_before(stage: Stage) -> None:
    cell_dead = dead(stage=stage)
    if stage is Stage.MACHINE:
        assert of(cell_dead) is Status.NOT_JUDGED
        return
    ran = {Stage.CONVERT: Status.FAILS, Stage.LOAD: Status.FAILS, Stage.PREDICT: Status.FAILS}
    assert of(cell_dead) is ran.get(stage, Status.LOST)
    assert of(cell_dead, {}) is (Status.FAILS if stage is Stage.CONVERT else Status.LOST)
    for before in (Stage.CONVERT, Stage.LOAD, Stage.PREDICT, Stage.ENGINE):
        known = stored(dead(stage=before))
        assert of(cell_dead, known) is (Status.AS_BASE if stage is before else Status.NOT_COMPARABLE)


def test_a_cell_that_runs_again_is_better_than_a_base_tree_and_not_comparable_with_a_baseline() -> None:
    broken = dead(stage=Stage.LOAD)
    assert of(cell(CELL), {}, against=against(broken)) is Status.BETTER
    assert of(cell(CELL), stored(broken)) is Status.NOT_COMPARABLE
    assert of(cell(CELL, cliff()), stored(broken)) is Status.OVER_CEILING


@pytest.mark.parametrize("base", [{}, stored(cell(OTHER))])
def test_a_cell_that_nothing_knows_is_new_where_there_is_a_baseline_of_its_place(base: dict[str, Baseline]) -> None:
    unknown = Status.NEW if base else Status.NO_BASELINE
    assert of(cell(CELL), base) is unknown
    assert of(cell(CELL, cliff()), base) is Status.OVER_CEILING
    assert of(cell(CELL, cliff(), known_gap="softplus stays"), base) is unknown
    assert of(cell(CELL, known_gap="softplus stays"), base) is unknown
    assert of(cell(CELL, figures(n_covered=0), known_gap="softplus stays"), base) is unknown
    # A base tree that was converted in the same run and lacks a cell makes that cell new at any place.
    assert of(cell(CELL), base, against=against(cell(OTHER))) is unknown


def test_a_base_tree_is_asked_before_a_baseline_which_is_asked_for_what_it_lacks() -> None:
    better = {"+[8, 16)": binade(1.0)}
    coarse = stored(cell(CELL, figures(digest="3" * 64, binades=better)))
    assert of(cell(CELL), coarse) is Status.WORSE
    assert of(cell(CELL), coarse, against=against(cell(CELL))) is Status.SAME
    assert of(cell(CELL), coarse, against=against(cell(OTHER))) is Status.WORSE
    rows = {row.cell: row for row in status.rows(run(cell(CELL), *ARMS, against=against(cell(OTHER))), BASE)}
    assert rows[OTHER].status is Status.LOST
    assert rows[OTHER].measurement is None
    assert GRAFT not in rows


def test_rows_are_in_the_order_of_their_keys_and_know_what_they_stand_beside() -> None:
    rows = list(status.rows(run(cell(CELL), *ARMS), BASE))
    assert [row.cell for row in rows] == sorted([CELL, GRAFT, NEGATIVE, POSITIVE])
    by_key = {row.cell: row for row in rows}
    assert by_key[CELL].baseline is BASE["ane"].cells[CELL]
    assert (by_key[GRAFT].status, by_key[GRAFT].measurement, by_key[GRAFT].role) == (Status.LOST, None, None)
    assert by_key[NEGATIVE].baseline is None


def test_a_partial_run_has_the_rows_it_was_asked_for() -> None:
    rows = status.rows(run(cell(CELL), *ARMS, partial="x", expected=(CELL, OTHER)), BASE)
    assert {row.cell: row.status for row in rows} == {
        CELL: Status.SAME,
        OTHER: Status.LOST,
        NEGATIVE: Status.CONTROL_OK,
        POSITIVE: Status.CONTROL_OK,
    }


GAP = cell(CELL, cliff(), known_gap="softplus stays")


@pytest.mark.parametrize(
    ("measurement", "before", "found"),
    [
        (GAP, cell(CELL, cliff()), Status.KNOWN_GAP),
        (GAP, cell(CELL), Status.OVER_CEILING),
        (dataclasses.replace(GAP, repeats_agree=False), cell(CELL, cliff()), Status.OVER_CEILING),
        (dataclasses.replace(GAP, repeats_agree=True), cell(CELL, cliff()), Status.KNOWN_GAP),
        (dataclasses.replace(GAP, instrument="1"), cell(CELL, instrument="0"), Status.NOT_COMPARABLE),
        (dataclasses.replace(GAP, rung="8x8x32"), cell(CELL), Status.NOT_COMPARABLE),
        (cell(CELL, cliff()), cell(CELL, cliff()), Status.OVER_CEILING),
        (cell(CELL, known_gap="softplus stays"), cell(CELL), Status.SAME),
        (cell(CELL, known_gap="softplus stays"), cell(CELL, cliff()), Status.BETTER),
        (
            dataclasses.replace(GAP, figures=dataclasses.replace(cliff(), n_over_ceiling=11982, digest="2" * 64)),
            cell(CELL, cliff()),
            Status.WORSE,
        ),
        (cell(CELL, known_gap="softplus stays", assumptions=("U1",)), cell(CELL), Status.KNOWN_GAP),
        (cell(CELL, assumptions=("U1",)), cell(CELL), Status.ASSUMED),
        (
            cell(CELL, figures(digest="3" * 64, binades={"+[8, 16)": binade(99.0)}), assumptions=("U1",)),
            cell(CELL),
            Status.WORSE,
        ),
    ],
)
def test_what_a_gap_permits(measurement: Measurement, before: Measurement, found: Status) -> None:
    assert of(measurement, stored(before)) is found


@pytest.mark.parametrize(("digest", "ulp"), [("0" * 64, 4.0), ("3" * 64, 5.0), ("3" * 64, 99.0), ("3" * 64, 1.0)])
def test_an_assumption_is_named_whatever_the_cell_did_besides(digest: str, ulp: float) -> None:
    """Same, within, changed in precision, better."""
    made = figures(digest=digest, binades={"+[8, 16)": binade(ulp, material=0.5)})
    assert of(cell(CELL, made, assumptions=("U1",))) is Status.ASSUMED


def test_a_control_is_judged_by_itself() -> None:
    rows = {row.cell: row.status for row in status.rows(run(cell(CELL), cell(NEGATIVE), cell(POSITIVE, cliff())), {})}
    assert (rows[NEGATIVE], rows[POSITIVE]) == (Status.CONTROL_FAILED, Status.CONTROL_FAILED)
    assert rows[CELL] is Status.NOT_JUDGED
    lost = [dead(key, Stage.LOAD) for key in (NEGATIVE, POSITIVE)]
    rows = {row.cell: row.status for row in status.rows(run(cell(CELL), *lost), {})}
    assert (rows[NEGATIVE], rows[POSITIVE]) == (Status.CONTROL_FAILED, Status.CONTROL_FAILED)


BLIND = (cell(NEGATIVE), cell(POSITIVE))


def _at(arms: tuple[Measurement, ...], measurement: Measurement, before: Measurement) -> Status:
    rows = status.rows(run(measurement, *arms), stored(before))
    return next(row.status for row in rows if row.cell == CELL)


WORSE = figures(digest="2" * 64, binades={"+[8, 16)": binade(99.0)})
FINE = figures(digest="2" * 64, binades={"+[8, 16)": binade(99.0, material=0.5)})
BETTER = figures(digest="2" * 64, binades={"+[8, 16)": binade(1.0)})


@pytest.mark.parametrize(
    ("measurement", "before", "seeing", "blind"),
    [
        (cell(CELL), cell(CELL), Status.SAME, Status.SAME),
        (cell(CELL, WORSE), cell(CELL), Status.WORSE, Status.NO_EVIDENCE),
        (cell(CELL, FINE), cell(CELL), Status.PRECISION, Status.PRECISION),
        (cell(CELL, BETTER), cell(CELL), Status.BETTER, Status.BETTER),
        (cell(CELL, known_gap="x"), cell(CELL, cliff()), Status.BETTER, Status.NO_EVIDENCE),
        (cell(CELL, known_gap="x", rung="8"), cell(CELL, cliff()), Status.NOT_COMPARABLE, Status.NOT_COMPARABLE),
        (cell(CELL, known_gap="x", placement=ON_CPU), cell(CELL, cliff()), Status.NO_EVIDENCE, Status.NO_EVIDENCE),
        (cell(CELL, BETTER, placement=ON_CPU), cell(CELL, placement=ON_CPU), Status.BETTER, Status.BETTER),
        (cell(CELL, placement=ON_CPU), cell(CELL, placement=ON_CPU), Status.SAME, Status.SAME),
        (cell(CELL), cell(CELL, placement=ON_CPU), Status.SAME, Status.SAME),
        (cell(CELL, FINE, placement=ON_CPU), cell(CELL), Status.WORSE, Status.NO_EVIDENCE),
        (cell(CELL, BETTER, placement=ON_CPU), cell(CELL), Status.WORSE, Status.NO_EVIDENCE),
        (cell(CELL, figures(digest="2"), placement=ON_CPU), cell(CELL), Status.WORSE, Status.NO_EVIDENCE),
        (cell(CELL, WORSE, placement=ON_CPU), cell(CELL), Status.WORSE, Status.NO_EVIDENCE),
        (cell(CELL, WORSE, placement=None), cell(CELL), Status.NO_EVIDENCE, Status.NO_EVIDENCE),
        (cell(CELL, cliff(), known_gap="x", placement=ON_CPU), cell(CELL, cliff()), Status.WORSE, Status.NO_EVIDENCE),
        (cell(CELL, instrument="1", placement=ON_CPU), cell(CELL), Status.NOT_COMPARABLE, Status.NOT_COMPARABLE),
        (cell(CELL, placement=ON_CPU, assumptions=("U",)), cell(CELL), Status.ASSUMED, Status.ASSUMED),
    ],
)
def test_what_a_status_is_worth_at_an_engine_that_sees_and_at_one_that_does_not(
    measurement: Measurement, before: Measurement, seeing: Status, blind: Status
) -> None:
    assert (_at(ARMS, measurement, before), _at(BLIND, measurement, before)) == (seeing, blind)


def test_at_a_place_without_an_engine_no_cell_can_leave_one() -> None:
    elsewhere = CELL.replace("@ane", "@ieee-fp16")
    before = {**BASE, "ieee-fp16": stored(cell(elsewhere))["ane"]}
    made = run(cell(elsewhere, WORSE, placement=ON_CPU), *ARMS)
    assert {row.cell: row.status for row in status.rows(made, before)}[elsewhere] is Status.WORSE
    # A place that the run never named has no state of its own.
    nowhere = run(cell(elsewhere, WORSE), *ARMS, engines=places("ane"))
    assert {row.cell: row.status for row in status.rows(nowhere, before)}[elsewhere] is Status.WORSE


def test_a_place_is_broken_by_a_control_or_by_the_machine() -> None:
    fault = Failure(stage=Stage.MACHINE, reason="No space left on device")
    full = dataclasses.replace(cell(CELL), figures=None, failure=fault)
    engine = dead(OTHER, Stage.ENGINE)
    (sound,) = status.places(run(cell(CELL), engine, *ARMS))
    assert sound == PlaceState(place="ane", is_neural_engine=True, negative=(1, 1), positive=(1, 1), broken=None)
    (broken,) = status.places(run(full, *ARMS))
    assert broken.broken == "the machine failed: No space left on device"
    (both,) = status.places(run(full, ARMS[0], cell(POSITIVE, cliff())))
    assert both.broken is not None
    assert both.broken.startswith("the positive control fails")
    assert both.positive == (0, 1)
    blind = NEGATIVE.replace("mish-k3", "mish-k1")
    (half,) = status.places(run(cell(CELL), *ARMS, cell(blind)))
    assert (half.negative, half.armed, half.sees) == ((1, 2), False, False)


@pytest.mark.parametrize(
    ("changed", "armed", "sees"),
    [
        ({}, True, True),
        ({"is_neural_engine": False}, False, False),
        ({"broken": "why"}, False, True),
        ({"negative": (0, 0)}, False, False),
        ({"negative": (1, 2)}, False, False),
        ({"negative": (2, 2)}, True, True),
        ({"positive": (0, 0)}, False, True),
        ({"positive": (0, 1)}, False, True),
    ],
)
def test_when_a_place_is_armed_and_when_it_sees(changed: dict[str, Any], armed: bool, sees: bool) -> None:
    sound = PlaceState(place="ane", is_neural_engine=True, negative=(1, 1), positive=(1, 1), broken=None)
    state = dataclasses.replace(sound, **changed)
    assert (state.armed, state.sees) == (armed, sees)


def test_a_cell_that_is_as_bad_as_the_base_tree_may_not_leave_the_engine() -> None:
    left = cell(CELL, cliff(), placement=ON_CPU)
    assert of(left, {}, against=against(cell(CELL, cliff()))) is Status.WORSE
    assert of(left, {}, against=against(left)) is Status.AS_BASE


def test_a_cell_that_was_measured_and_not_planned_is_judged_too() -> None:
    made = run(cell(CELL), *ARMS, expected=())
    assert {row.cell for row in status.rows(made, {})} == {CELL, NEGATIVE, POSITIVE}


def test_every_status_has_its_word() -> None:
    assert " · ".join(each.value for each in Status) == (
        "same · within · precision changed · better · worse · over ceiling · no longer works · as the base · "
        "known gap · rests on an assumption · lost · new · not comparable · no baseline · no evidence · not judged · "
        "control ok · control failed"
    )


def test_a_gap_is_closed_where_it_was_open_and_no_longer_is() -> None:
    good, bad, none = cell(CELL), cell(CELL, cliff()), dead(stage=Stage.LOAD)
    assert status.is_closed(good, bad)
    for pair in ((good, good), (bad, bad), (bad, good), (none, bad), (good, none), (none, none)):
        assert not status.is_closed(*pair)
    assert not status.is_closed(good, None)


def test_the_engines_that_saw_and_that_were_used_were_measured() -> None:
    names = ("cpu-and-ne", "all", "more")
    cells = [cell(key.replace("@ane", f"@{name}")) for name in names for key in (CELL, POSITIVE)]
    caught = [cell(NEGATIVE.replace("@ane", f"@{name}"), cliff()) for name in names]
    made = run(*cells, *caught, engines=places(*names, hardware=True))
    assert verdict.measured_neural_engines(made) == ["all", "cpu-and-ne", "more"]
    assert status.seeing(made) == {*names}
    blind = run(*cells, *caught[:1], engines=places(*names, hardware=True))
    assert verdict.measured_neural_engines(blind) == ["cpu-and-ne"]


def test_a_cell_that_measured_nothing_is_a_complaint_whatever_it_may_do() -> None:
    nothing = "nothing was measured: the model carried none of the inputs"
    bare = dataclasses.replace(cell(CELL), figures=None)
    none = figures(n_covered=0)
    for measurement in (bare, cell(CELL, none), cell(CELL, none, known_gap="x"), cell(NEGATIVE, none)):
        assert ceiling.complaint(measurement) == nothing
        assert ceiling.fault(measurement) == nothing
    assert ceiling.complaint(cell(CELL, figures(n_covered=1))) is None
