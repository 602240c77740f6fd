"""The verdict as a table: every row of the docstring, every exit code, and each way of being worse."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mish_guard.errors import ExitCode
from mish_guard.judge import compare, defects, verdict
from mish_guard.judge.defects import Signature
from mish_guard.judge.status import Status
from mish_guard.judge.verdict import Verdict
from mish_guard.numerics import ceiling
from mish_guard.records import (
    Attempt,
    BadInterval,
    BinadeFigures,
    CellKey,
    Culprit,
    Failure,
    Measurement,
    Placement,
    Stage,
)
from mish_guard.report import facts, text
from tests.made_up import (
    ARMS,
    BASE,
    CELL,
    CLIFF,
    GRAFT,
    KNOWN,
    NEGATIVE,
    NOWHERE,
    ON_CPU,
    POSITIVE,
    binade,
    cell,
    cliff,
    figures,
    places,
    run,
    stored,
)

FEW = dataclasses.replace(cliff(), n_covered=12000)


@pytest.mark.parametrize(
    ("cells", "expected", "code", "armed"),
    [
        ((cell(CELL), cell(GRAFT), *ARMS), Verdict.PASS, 0, True),
        ((cell(CELL, cliff()), cell(GRAFT), *ARMS), Verdict.FAIL, 10, True),
        ((cell(CELL), cell(GRAFT, cliff()), *ARMS), Verdict.FAIL, 10, True),
        ((cell(CELL, cliff()), cell(GRAFT), cell(NEGATIVE), cell(POSITIVE)), Verdict.FAIL, 10, False),
        ((cell(CELL), cell(GRAFT), cell(NEGATIVE), cell(POSITIVE)), Verdict.INCONCLUSIVE, 20, False),
        ((cell(CELL), cell(GRAFT), cell(POSITIVE)), Verdict.INCONCLUSIVE, 20, False),
        ((cell(CELL), cell(GRAFT), ARMS[0]), Verdict.INCONCLUSIVE, 20, False),
        ((cell(CELL), cell(GRAFT), ARMS[0], cell(POSITIVE, cliff())), Verdict.BROKEN, 21, False),
        ((cell(CELL, cliff()), cell(NEGATIVE), cell(POSITIVE, cliff())), Verdict.BROKEN, 21, False),
        ((cell(CELL), cell(GRAFT), ARMS[0], cell(POSITIVE, figures(n_covered=55552))), Verdict.PASS, 0, True),
        ((cell(CELL), cell(GRAFT), ARMS[0], cell(POSITIVE, figures(n_covered=55551))), Verdict.BROKEN, 21, False),
        ((cell(CELL), cell(GRAFT), cell(NEGATIVE, FEW), cell(POSITIVE)), Verdict.INCONCLUSIVE, 20, False),
        ((cell(CELL), *ARMS), Verdict.INCONCLUSIVE, 11, True),
        ((), Verdict.INCONCLUSIVE, 11, False),
    ],
)
def test_the_verdict_table(cells: tuple[Measurement, ...], expected: Verdict, code: int, armed: bool) -> None:
    judged = verdict.judge(run(*cells), BASE, KNOWN)
    assert (judged.verdict, judged.exit_code, judged.armed) == (expected, code, armed)


def test_without_a_baseline_nothing_is_green() -> None:
    judged = verdict.judge(run(cell(CELL), cell(GRAFT), *ARMS), {}, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.NO_BASELINE)


def test_figures_of_another_instrument_are_not_comparable() -> None:
    base = stored(cell(CELL, instrument="0" * 64), cell(GRAFT, instrument="0" * 64))
    judged = verdict.judge(run(cell(CELL), cell(GRAFT), *ARMS), base, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.LOST)
    assert {each.status for each in judged.findings} == {Status.NOT_COMPARABLE}


@pytest.mark.parametrize(("got", "stored_rung"), [("8x8x32", "128x128x1"), ("8x8x32", None), (None, "8x8x32")])
def test_a_baseline_of_another_shape_is_not_comparable(got: str | None, stored_rung: str | None) -> None:
    base = stored(cell(CELL, rung=stored_rung), cell(GRAFT))
    judged = verdict.judge(run(cell(CELL, rung=got), cell(GRAFT), *ARMS), base, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.LOST)
    (finding,) = judged.findings
    assert (finding.cell, finding.status, finding.signature) == (CELL, Status.NOT_COMPARABLE, Signature.COVERAGE)
    assert finding.message.startswith(f"measured at {got or 'the one shape'}, the baseline at ")


def test_no_shape_excuses_a_broken_ceiling() -> None:
    base = stored(cell(CELL, rung="128x128x1"), cell(GRAFT))
    judged = verdict.judge(run(cell(CELL, cliff(), rung="8x8x32"), cell(GRAFT), *ARMS), base, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.FAIL, ExitCode.FAIL)


@pytest.mark.parametrize(
    ("cells", "engine", "measured"),
    [
        ((cell(CELL), *ARMS), "coreml", ["ane"]),
        ((cell(CELL), *ARMS), "emulator", []),
        ((cell(CELL), cell(NEGATIVE), cell(POSITIVE)), "coreml", []),
        ((cell(CELL, placement=Placement(activation="cpu", ops={})), *ARMS), "coreml", []),
    ],
    ids=["seen and used", "emulated", "not seen", "not used"],
)
def test_a_neural_engine_was_measured_only_if(cells: tuple[Measurement, ...], engine: str, measured: list[str]) -> None:
    made = run(*cells, engines=places("ane", hardware=engine == "coreml"))
    assert verdict.measured_neural_engines(made) == measured


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        ((NEGATIVE, "sweep", "cpu"), "no shape of sweep was placed on it"),
        ((NEGATIVE, "sweep", "ne"), "this engine cannot show the defect"),
        ((CELL, "stability", "cpu"), "this engine cannot show the defect"),
    ],
)
def test_why_a_negative_control_was_not_caught(offered: tuple[str, str, str], reason: str) -> None:
    key, ladder, device = offered
    attempts = (Attempt(ladder=ladder, rung="8x8x32", cell=key, activation=device),)
    judged = verdict.judge(run(cell(CELL), cell(GRAFT), *BLIND, attempts=attempts), BASE, ())
    assert judged.exit_code is ExitCode.INCONCLUSIVE
    assert judged.reason == f"the negative control was not caught: {reason}"


def test_a_control_that_changed_on_disk_is_broken() -> None:
    judged = verdict.judge(run(cell(CELL), cell(GRAFT), *ARMS, controls_error="one file differs"), BASE, ())
    assert (judged.verdict, judged.exit_code, judged.armed) == (Verdict.BROKEN, ExitCode.BROKEN, False)


def test_a_neural_engine_without_a_candidate_cell_is_not_green() -> None:
    other = CELL.replace("@ane", "@ieee-fp16")
    base = {"ieee-fp16": stored(cell(other))["ane"]}
    judged = verdict.judge(run(cell(other), *ARMS), base, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.LOST)


def test_every_neural_engine_must_catch_the_negative_control() -> None:
    second = cell(CELL.replace("@ane", "@ane-ftz"))
    base = {**BASE, "ane-ftz": stored(second)["ane"]}
    judged = verdict.judge(run(cell(CELL), cell(GRAFT), second, *ARMS), base, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)


def test_every_neural_engine_must_pass_the_positive_control() -> None:
    elsewhere = tuple(cell(key.replace("@ane", "@ieee-fp16")) for key in (CELL, POSITIVE))
    base = {**BASE, "ieee-fp16": stored(elsewhere[0])["ane"]}
    judged = verdict.judge(run(cell(CELL), cell(GRAFT), ARMS[0], *elsewhere), base, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)
    assert judged.reason == "a control is missing at a Neural Engine"


def test_a_cell_that_the_baseline_does_not_know_is_not_green() -> None:
    judged = verdict.judge(run(cell(CELL), cell(GRAFT), *ARMS), stored(cell(GRAFT)), ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.LOST)
    assert [(each.cell, each.status) for each in judged.findings] == [(CELL, Status.NEW)]


def test_a_control_that_was_to_be_measured_and_was_not_is_lost() -> None:
    planned = (CELL, GRAFT, NEGATIVE, POSITIVE, NEGATIVE.replace("mish-k3", "mish-k1"))
    judged = verdict.judge(run(cell(CELL), cell(GRAFT), *ARMS, expected=planned), BASE, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.LOST)
    assert [(each.cell, each.status) for each in judged.findings] == [(planned[-1], Status.LOST)]


def test_a_failed_engine_loses_the_cell_and_a_failed_conversion_fails_it() -> None:
    engine = cell(CELL, figures=None, failure=Failure(stage=Stage.ENGINE, reason="no such op"))
    convert = cell(CELL, figures=None, failure=Failure(stage=Stage.CONVERT, reason="no such layer"))
    assert verdict.judge(run(engine, cell(GRAFT), *ARMS), BASE, ()).exit_code is ExitCode.LOST
    failed = verdict.judge(run(convert, cell(GRAFT), *ARMS), BASE, ())
    assert failed.exit_code is ExitCode.FAIL
    assert [each.signature for each in failed.findings] == [Signature.CONVERSION]


def test_every_way_to_die_is_told() -> None:
    """Although both are cells lost by the engine."""
    deaths = ("Core ML aborted the process while predicting: SIGABRT.", "Core ML did not answer within 6 s.")
    cells = [
        cell(key, figures=None, failure=Failure(stage=Stage.ENGINE, reason=reason))
        for key, reason in zip((CELL, GRAFT), deaths, strict=True)
    ]
    provenance = {"candidate": {"lowering": "exp"}, "created": "", "reason": ""}
    base = stored(cell(CELL), cell(GRAFT), provenance=provenance)
    judged = verdict.judge(run(*cells, *ARMS), base, ())
    assert {each.signature for each in judged.findings} == {Signature.ENGINE}
    told = text.render(facts.gather(judged)).splitlines()
    assert all(any(f"no figures: engine failed: {reason}" in line for line in told) for reason in deaths)


def test_a_gap_that_closes_is_better() -> None:
    base = stored(cell(CELL, cliff(), known_gap="softplus stays"), cell(GRAFT))
    closed = cell(CELL, known_gap="softplus stays")
    judged = verdict.judge(run(closed, cell(GRAFT), *ARMS), base, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.PASS, ExitCode.PASS)
    (finding,) = judged.findings
    assert (finding.status, finding.message) == (Status.BETTER, "was over the ceiling before and no longer is")


def test_a_gap_is_a_permission_only_as_long_as_the_baseline_shows_it() -> None:
    open_gap = cell(CELL, cliff(), known_gap="softplus stays")
    shown, closed = (stored(cell(CELL, each), cell(GRAFT)) for each in (cliff(), figures()))
    still = verdict.judge(run(open_gap, cell(GRAFT), *ARMS), shown, ())
    again = verdict.judge(run(open_gap, cell(GRAFT), *ARMS), closed, ())
    assert (still.exit_code, again.exit_code) == (ExitCode.PASS, ExitCode.FAIL)
    assert {row.cell: row.status for row in still.rows}[CELL] is Status.KNOWN_GAP
    assert [each.status for each in again.findings] == [Status.OVER_CEILING]


def test_different_bits_for_one_input_are_red() -> None:
    judged = verdict.judge(run(cell(CELL, repeats_agree=False), cell(GRAFT), *ARMS), BASE, ())
    assert judged.exit_code is ExitCode.FAIL
    assert "different bits" in judged.findings[0].message


def _binade(ulp: float) -> dict[str, BinadeFigures]:
    return {"+[8, 16)": binade(ulp)}


# The limit is 4 * 1.25 + 0.5.
@pytest.mark.parametrize(
    ("got", "change"),
    [
        ({}, "same"),
        ({"binades": _binade(5.5)}, "within"),
        ({"binades": _binade(5.5 + 1e-9)}, "worse"),
        ({"binades": _binade(float("nan"))}, "worse"),
        ({"binades": {}}, "worse"),
        ({"binades": _binade(2.7)}, "better"),
        ({"n_covered": 61439}, "worse"),
        ({"n_covered": 61441}, "better"),
        ({"specials": {"+inf": "nan", "-inf": "-0", "nan": "+inf"}}, "worse"),
        ({"specials": {"+inf": "+inf", "-inf": "-0"}}, "worse"),
        ({"n_over_ceiling": 1}, "worse"),
    ],
)
def test_each_way_to_move_from_a_baseline(got: dict[str, Any], change: str) -> None:
    digest = "0" * 64 if not got else "2" * 64
    assert compare.change(cell(CELL, figures(digest=digest, **got)), cell(CELL)).value == change


BLIND = (cell(NEGATIVE), cell(POSITIVE))


@pytest.mark.parametrize(
    ("cells", "code", "status"),
    [
        # It left an engine that takes the controls: the candidate's doing.
        ((cell(CELL, placement=ON_CPU), cell(GRAFT), *ARMS), ExitCode.FAIL, Status.WORSE),
        # Nobody can say where it ran, or the engine took not even the controls: no evidence.
        ((cell(CELL, placement=NOWHERE), cell(GRAFT), *ARMS), ExitCode.INCONCLUSIVE, Status.NO_EVIDENCE),
        ((cell(CELL, placement=None), cell(GRAFT), *ARMS), ExitCode.INCONCLUSIVE, Status.NO_EVIDENCE),
        ((cell(CELL, placement=ON_CPU), cell(GRAFT), *BLIND), ExitCode.INCONCLUSIVE, Status.NO_EVIDENCE),
        # A ceiling is a ceiling wherever it was broken.
        ((cell(CELL, cliff(), placement=ON_CPU), cell(GRAFT), *BLIND), ExitCode.FAIL, Status.OVER_CEILING),
    ],
)
def test_a_cell_that_left_the_neural_engine(cells: tuple[Measurement, ...], code: ExitCode, status: Status) -> None:
    judged = verdict.judge(run(*cells), BASE, ())
    assert judged.exit_code is code
    found = {row.cell: row.status for row in judged.rows}
    assert (found[CELL], found[GRAFT]) == (status, Status.SAME)
    if status is not Status.OVER_CEILING:
        assert next(each.signature for each in judged.findings if each.cell == CELL) is Signature.PLACEMENT


def test_one_cell_without_evidence_is_not_green_beside_one_that_has_it() -> None:
    second = CELL.replace("mish-k3", "mish-k1")
    base = stored(cell(CELL), cell(second), cell(GRAFT))
    judged = verdict.judge(run(cell(CELL), cell(second, placement=NOWHERE), cell(GRAFT), *ARMS), base, ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)
    assert [(each.cell, each.status) for each in judged.findings] == [(second, Status.NO_EVIDENCE)]


def test_a_candidate_that_never_was_on_the_neural_engine_is_not_green() -> None:
    never = cell(CELL, placement=ON_CPU)
    judged = verdict.judge(run(never, cell(GRAFT), *ARMS), stored(never, cell(GRAFT)), ())
    assert (judged.verdict, judged.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)
    assert "not placed on the Neural Engine" in judged.reason


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ((cell(CELL, known_gap="softplus stays"), cell(GRAFT), *BLIND), "the negative control was not caught"),
        (
            (cell(CELL, known_gap="softplus stays", placement=ON_CPU), cell(GRAFT), *ARMS),
            "not placed on the Neural Engine",
        ),
    ],
)
def test_a_gap_that_passes_where_nothing_can_be_seen_is_no_evidence(
    cells: tuple[Measurement, ...], reason: str
) -> None:
    base = stored(cell(CELL, cliff(), known_gap="softplus stays"), cell(GRAFT))
    judged = verdict.judge(run(*cells), base, ())
    assert judged.exit_code is ExitCode.INCONCLUSIVE
    assert reason in judged.reason


@pytest.mark.parametrize(
    ("interval", "op", "got", "signature"),
    [
        (CLIFF, "softplus", 0.0, Signature.SOFTPLUS_CLIFF),
        (CLIFF, None, 0.0, Signature.SOFTPLUS_CLIFF),
        (None, "softplus", 0.0, Signature.SOFTPLUS_CLIFF),
        (BadInterval(first=5.1953125, last=32752.0, count=1), "add", float("inf"), Signature.EXP_OVERFLOW),
        (BadInterval(first=-9.0, last=-7.0, count=1), "exp", 0.0, Signature.NEGATIVE_TAIL),
        (BadInterval(first=1.0, last=2.0, count=1), "tanh", 0.5, Signature.PRECISION),
    ],
)
def test_errors_are_told_apart(interval: BadInterval | None, op: str | None, got: float, signature: Signature) -> None:
    culprit = None if op is None else Culprit(op=op, name="y", got=got, want=1.0)
    bad = figures(n_over_ceiling=1, n_collapsed=1, bad_intervals=() if interval is None else (interval,))
    assert defects.signature(cell(CELL, bad, culprit=culprit)) is signature


def test_a_defect_is_named_only_where_its_figure_reaches_the_limit() -> None:
    found = defects.defect(cell(CELL, cliff()), KNOWN)
    assert found is not None
    assert found.id == "MISH-SOFTPLUS-CLIFF"
    assert defects.defect(cell(CELL, dataclasses.replace(cliff(), n_collapsed=0)), KNOWN) is None


@pytest.mark.parametrize("key", [CELL, GRAFT, NEGATIVE, POSITIVE])
def test_a_cell_is_its_key(key: str) -> None:
    assert str(CellKey.parse(key)) == key


def test_a_cell_that_covers_nothing_is_a_complaint() -> None:
    assert ceiling.complaint(cell(CELL, figures(n_covered=0))) is not None
    assert ceiling.complaint(cell(NEGATIVE, figures(n_covered=0))) is not None
