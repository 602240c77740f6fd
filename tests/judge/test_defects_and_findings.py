"""What a finding says: the kind of an error, the defect it is, the words, and which is told first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mish_guard.errors import UnreadableFileError
from mish_guard.judge import baseline_diff, defects, findings
from mish_guard.judge.defects import Defect, Signature
from mish_guard.judge.findings import Finding
from mish_guard.judge.status import Row, Status
from mish_guard.records import BadInterval, Culprit, Measurement, Placement, Stage
from tests.made_up import CELL, CLIFF, GRAFT, NOWHERE, ON_CPU, binade, cell, cliff, dead, figures, stored

KNOWN = defects.load_defects()
SOFTPLUS = next(each for each in KNOWN if each.id == "MISH-SOFTPLUS-CLIFF")


def bad(first: float | None, last: float = 32752.0, *, op: str | None = None, got: float = 0.0) -> Measurement:
    """A cell over the ceiling in one interval, or in none, with the operation that went wrong."""
    intervals = () if first is None else (BadInterval(first=first, last=last, count=9),)
    culprit = None if op is None else Culprit(op=op, name="y", got=got, want=1.0)
    return cell(CELL, figures(n_over_ceiling=9, n_collapsed=9, bad_intervals=intervals), culprit=culprit)


def failed(stage: Stage) -> Measurement:
    return dead(stage=stage, reason="why")


@pytest.mark.parametrize(
    ("measurement", "kind"),
    [
        (failed(Stage.CONVERT), Signature.CONVERSION),
        (failed(Stage.LOAD), Signature.ENGINE),
        (bad(-8.0, -4.0, op="softplus"), Signature.NEGATIVE_TAIL),
        (bad(-8.0, -3.99, op="tanh"), Signature.PRECISION),
        (bad(10.3984375, op="tanh"), Signature.SOFTPLUS_CLIFF),
        (bad(10.398, op="tanh"), Signature.PRECISION),
        (bad(11.09375, op="tanh"), Signature.SOFTPLUS_CLIFF),
        (bad(11.1, op="tanh"), Signature.PRECISION),
        (bad(None, op="softplus"), Signature.SOFTPLUS_CLIFF),
        (bad(None, op="tanh"), Signature.PRECISION),
        (bad(None), Signature.PRECISION),
        (bad(5.0, op="softplus"), Signature.PRECISION),
        (bad(5.0, op="reduce_log_sum_exp"), Signature.EXP_OVERFLOW),
        (bad(None, op="reduce_log_sum_exp"), Signature.EXP_OVERFLOW),
        (bad(5.0, op="add", got=math.inf), Signature.EXP_OVERFLOW),
        (bad(5.0, op="add", got=math.nan), Signature.EXP_OVERFLOW),
        (bad(5.0, op="add", got=9.0), Signature.PRECISION),
        (bad(5.0), Signature.PRECISION),
    ],
)
def test_the_kind_of_an_error(measurement: Measurement, kind: Signature) -> None:
    assert defects.signature(measurement) is kind


@pytest.mark.parametrize(
    ("got", "before", "kind"),
    [
        (cell(CELL, figures(n_covered=1)), cell(CELL), Signature.COVERAGE),
        (cell(CELL, figures(n_covered=61441)), cell(CELL), Signature.PRECISION),
        (cell(CELL, figures(specials={"nan": "nan"})), cell(CELL), Signature.SPECIAL_VALUES),
        (cell(CELL), None, Signature.PRECISION),
        (failed(Stage.LOAD), cell(CELL, figures(n_covered=0)), Signature.PRECISION),
        (cell(CELL, figures(n_covered=1)), failed(Stage.LOAD), Signature.PRECISION),
        (cell(CELL, placement=ON_CPU), cell(CELL), Signature.PLACEMENT),
        (cell(CELL, placement=ON_CPU), cell(CELL, placement=ON_CPU), Signature.PRECISION),
        (cell(CELL), cell(CELL), Signature.PRECISION),
    ],
)
def test_the_kind_of_a_change(got: Measurement, before: Measurement | None, kind: Signature) -> None:
    assert defects.changed_signature(got, before) is kind


def _moved(**at: tuple[float, float, float]) -> Measurement:
    """Binades by name, each with its place, error and size."""
    made = {name: dataclasses.replace(binade(ulp, material=size), at=x) for name, (x, ulp, size) in at.items()}
    return cell(CELL, figures(binades=made))


BEFORE = _moved(tail=(-9.0, 1.0, 0.5), middle=(1.0, 1.0, 0.5))


@pytest.mark.parametrize(
    ("got", "kind"),
    [
        (_moved(tail=(-4.0, 9.0, 2.0), middle=(1.0, 1.0, 0.5)), Signature.NEGATIVE_TAIL),
        (_moved(tail=(-3.9, 9.0, 2.0), middle=(1.0, 1.0, 0.5)), Signature.PRECISION),
        (_moved(tail=(-9.0, 9.0, 2.0), middle=(1.0, 9.0, 2.0)), Signature.PRECISION),
        # What grew without mattering is asked only where nothing that grew matters.
        (_moved(tail=(-9.0, 9.0, 2.0), middle=(1.0, 9.0, 0.5)), Signature.NEGATIVE_TAIL),
        (_moved(tail=(-9.0, 9.0, 0.5), middle=(1.0, 1.0, 0.5)), Signature.NEGATIVE_TAIL),
        (_moved(tail=(-9.0, 1.0, 0.5), middle=(1.0, 9.0, 0.5)), Signature.PRECISION),
    ],
)
def test_a_change_in_the_tail_alone_is_one_of_the_tail(got: Measurement, kind: Signature) -> None:
    assert defects.changed_signature(got, BEFORE) is kind
    left = dataclasses.replace(got, placement=ON_CPU)
    assert defects.changed_signature(left, BEFORE) is kind


def test_a_whole_model_has_no_tail() -> None:
    before, after = (cell(CELL, figures(binades={}, material=size)) for size in (1.0, 9.0))
    assert before.figures is not None
    assert after.figures is not None
    larger = dataclasses.replace(after.figures, max_ulp=dataclasses.replace(after.figures.max_ulp, value=99.0))
    assert defects.changed_signature(cell(CELL, larger), before) is Signature.PRECISION


def test_the_interval_that_is_shown_is_the_widest() -> None:
    one, two = BadInterval(first=1.0, last=2.0, count=3), BadInterval(first=5.0, last=6.0, count=4)
    for order in ((one, two), (two, one)):
        assert defects.main_interval(cell(CELL, figures(bad_intervals=order))) == two
    assert defects.main_interval(cell(CELL)) is None
    assert defects.main_interval(failed(Stage.LOAD)) is None


def test_a_defect_is_recognised_by_kind_case_and_limit() -> None:
    seen = cliff()
    assert defects.defect(cell(CELL, seen), KNOWN) == SOFTPLUS
    assert SOFTPLUS.figure == "n_collapsed"
    at_limit, below = (dataclasses.replace(seen, n_collapsed=int(SOFTPLUS.limit) - less) for less in (0, 1))
    assert defects.defect(cell(CELL, at_limit), [SOFTPLUS]) == SOFTPLUS
    assert defects.defect(cell(CELL, below), [SOFTPLUS]) is None
    assert defects.defect(cell(CELL.replace("mish-k3", "unheard-of"), seen), KNOWN) is None
    assert defects.defect(cell(CELL, seen), [dataclasses.replace(SOFTPLUS, signature=Signature.PRECISION)]) is None
    assert defects.defect(failed(Stage.CONVERT), KNOWN) is None
    assert defects.defect(cell(CELL, seen), []) is None


def test_a_road_shows_a_defect_by_its_kind_whatever_stands_behind_mish() -> None:
    road = "roads/default+after+skip/torchscript/mlprogram-fp16@ane"
    hidden = dataclasses.replace(cliff(), n_collapsed=0)
    assert defects.defect(cell(road, hidden), KNOWN) == SOFTPLUS
    assert defects.defect(cell(road, bad(1.5).figures), KNOWN) is None
    assert defects.defect(cell(CELL, hidden), KNOWN) is None


def test_the_known_defects_are_read_with_every_field() -> None:
    for each in KNOWN:
        assert isinstance(each, Defect)
        given = {name: value for name, value in dataclasses.asdict(each).items() if name != "families"}
        assert all(value not in (None, "", ()) for value in given.values()), each
        assert each.limit <= each.before
        assert each.after < each.limit
    assert SOFTPLUS.signature is Signature.SOFTPLUS_CLIFF
    assert (SOFTPLUS.starts_at, SOFTPLUS.figure) == (10.3984375, "n_collapsed")


def test_a_file_that_lists_no_defects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "defects.yml").write_text("schema_version: 1\ndefects: []\nmore: 1\n")
    with pytest.raises(UnreadableFileError, match=r"defects\.yml"):
        defects.load_defects(tmp_path / "defects.yml")


def test_every_kind_has_its_word() -> None:
    assert " ".join(each.value for each in Signature) == (
        "softplus-cliff exp-overflow negative-tail special-values precision coverage placement conversion engine "
        "control assumption"
    )


def found(status: Status, got: Measurement | None, before: Measurement | None = None) -> Finding:
    (finding,) = findings.findings([Row(cell=CELL, status=status, measurement=got, baseline=before)], KNOWN)
    return finding


QUIET = {"same", "within", "control ok", "known gap", "as the base", "no baseline", "not judged"}


@pytest.mark.parametrize("status", Status)
def test_what_needs_no_reader_is_no_finding(status: Status) -> None:
    row = Row(cell=CELL, status=status, measurement=cell(CELL), baseline=None)
    made = findings.findings([row, row], KNOWN)
    assert [each.status for each in made] == ([] if status.value in QUIET else [status, status])


def test_a_cell_that_was_not_measured_says_so() -> None:
    assert found(Status.LOST, None) == Finding(
        cell=CELL, status=Status.LOST, signature=Signature.COVERAGE, message="the run did not measure this cell"
    )


def test_a_finding_over_the_ceiling_has_its_interval_its_operation_and_its_defect() -> None:
    culprit = Culprit(op="softplus", name="y", got=0.0, want=1.0)
    made = found(Status.OVER_CEILING, cell(CELL, cliff(), culprit=culprit), cell(CELL))
    assert (made.interval, made.first_wrong_op, made.defect) == (CLIFF, "softplus", "MISH-SOFTPLUS-CLIFF")
    assert made.moved is not None
    assert made.signature is Signature.SOFTPLUS_CLIFF
    other = found(Status.WORSE, cell(CELL, cliff()), cell(CELL))
    assert (other.defect, other.first_wrong_op) == (None, None)
    alone = found(Status.OVER_CEILING, bad(1.0, 2.0))
    assert (alone.defect, alone.signature) == (None, Signature.PRECISION)


KINDS: Mapping[Status, Signature] = {
    Status.CONTROL_FAILED: Signature.CONTROL,
    Status.NO_EVIDENCE: Signature.PLACEMENT,
    Status.NEW: Signature.COVERAGE,
    Status.NOT_COMPARABLE: Signature.COVERAGE,
    Status.ASSUMED: Signature.ASSUMPTION,
    Status.OVER_CEILING: Signature.SOFTPLUS_CLIFF,
    Status.FAILS: Signature.SOFTPLUS_CLIFF,
    Status.LOST: Signature.SOFTPLUS_CLIFF,
    Status.WORSE: Signature.COVERAGE,
    Status.BETTER: Signature.COVERAGE,
    Status.PRECISION: Signature.COVERAGE,
}


@pytest.mark.parametrize("status", KINDS)
def test_the_kind_of_a_finding_is_that_of_its_status(status: Status) -> None:
    """For figures that are a cliff by themselves, and cover less than before."""
    got = cell(CELL, dataclasses.replace(cliff(), n_covered=61439))
    assert found(status, got, cell(CELL)).signature is KINDS[status]


SURFACE = "surface/rank-2/torchscript/mlprogram-fp16@ane"


@pytest.mark.parametrize("status", [Status.NEW, Status.NOT_COMPARABLE])
def test_a_cell_that_has_nothing_beside_it_is_one_of_coverage(status: Status) -> None:
    assert found(status, cell(CELL), cell(CELL)).signature is Signature.COVERAGE


FIRST_THREE = "5 inputs covered, 61440 before; 2 outputs over the ceiling, 0 before; +inf gives nothing, +inf before"
AT_4 = cell(CELL, figures(binades={"+[8, 16)": binade(9.0, material=0.5)}))


@pytest.mark.parametrize(
    ("status", "got", "before", "message"),
    [
        (Status.NEW, cell(CELL), None, "the baseline does not know this cell"),
        (Status.NOT_COMPARABLE, cell(CELL), None, "there is nothing to compare with"),
        (
            Status.NOT_COMPARABLE,
            cell(CELL, rung="8x8"),
            cell(CELL),
            "measured at 8x8, the baseline at the one shape",
        ),
        (
            Status.NOT_COMPARABLE,
            cell(CELL),
            cell(CELL, rung="8x8"),
            "measured at the one shape, the baseline at 8x8",
        ),
        (
            Status.NOT_COMPARABLE,
            cell(CELL, instrument="1"),
            cell(CELL, instrument="2"),
            "the baseline was measured by another emulator, or with other inputs, ceilings or formulas",
        ),
        (Status.NOT_COMPARABLE, cell(CELL), failed(Stage.LOAD), "one of the two has no figures"),
        (
            Status.ASSUMED,
            cell(CELL, assumptions=("U1", "U2")),
            None,
            "passes only if what nobody has measured is kind: U1, U2",
        ),
        (
            Status.NO_EVIDENCE,
            cell(CELL, placement=ON_CPU),
            None,
            "not seen on the Neural Engine: the activation is placed on cpu",
        ),
        (
            Status.NO_EVIDENCE,
            cell(CELL, placement=None),
            None,
            "not seen on the Neural Engine: the activation is placed on an unknown device",
        ),
        (Status.PRECISION, AT_4, cell(CELL), "by less than matters: +[8, 16): 9 ulp, 4 before"),
        (Status.BETTER, cell(CELL), AT_4, "better than the baseline, which is stale: +[8, 16): 4 ulp, 9 before"),
        (Status.BETTER, cell(CELL), cell(CELL, cliff()), "was over the ceiling before and no longer is"),
        (
            Status.BETTER,
            cell(CELL),
            failed(Stage.LOAD),
            "better than the baseline, which is stale: +[8, 16): 4 ulp, none before",
        ),
        (Status.BETTER, cell(CELL), None, ""),
        (Status.WORSE, bad(1.0), None, "9 of 61440 outputs are over the ceiling (9 collapsed, 0 not finite)"),
        (Status.LOST, failed(Stage.ENGINE), cell(CELL), "no figures: engine failed: why"),
        (
            Status.WORSE,
            cell(CELL, placement=ON_CPU),
            cell(CELL),
            "the activation left the Neural Engine: it is placed on cpu",
        ),
        (
            Status.WORSE,
            cell(CELL, figures(n_covered=5), placement=NOWHERE),
            cell(CELL, placement=ON_CPU),
            "5 inputs covered, 61440 before",
        ),
        (
            Status.WORSE,
            cell(CELL, figures(n_covered=5, n_over_ceiling=2, specials={"nan": "+inf", "-inf": "-0"})),
            cell(CELL),
            FIRST_THREE,
        ),
        (
            Status.WORSE,
            cell(CELL, figures(n_covered=5, n_over_ceiling=2, specials={})),
            cell(CELL),
            f"{FIRST_THREE}; and 2 more",
        ),
        (
            Status.WORSE,
            cell(CELL, figures(n_covered=5, n_over_ceiling=2, specials={"-inf": "-0"})),
            cell(CELL),
            f"{FIRST_THREE}; and 1 more",
        ),
        (
            Status.OVER_CEILING,
            cell(CELL, cliff(), known_gap="softplus stays"),
            cell(CELL),
            "11981 of 61440 outputs are over the ceiling (11981 collapsed, 0 not finite)",
        ),
        (Status.CONTROL_FAILED, cell(f"negative-control:{CELL}"), None, "the negative control was not caught"),
    ],
)
def test_the_words_of_a_finding(status: Status, got: Measurement, before: Measurement | None, message: str) -> None:
    assert found(status, got, before).message == message


def test_what_is_worst_is_told_first() -> None:
    order = [
        Status.CONTROL_FAILED,
        Status.OVER_CEILING,
        Status.FAILS,
        Status.WORSE,
        Status.LOST,
        Status.NOT_COMPARABLE,
        Status.NEW,
        Status.ASSUMED,
        Status.NO_EVIDENCE,
        Status.PRECISION,
        Status.BETTER,
    ]
    made = [found(each, cell(CELL)) for each in reversed(order)]
    assert [each.status for each in sorted(made, key=lambda each: each.severity)] == order
    assert {each.value for each in order} == {each.value for each in Status} - QUIET


def test_among_equals_known_inputs_come_first_and_then_what_changed_most() -> None:
    wide, small, large = (
        found(Status.WORSE, got, cell(CELL))
        for got in (
            cell(CELL, cliff()),
            cell(CELL, figures(binades={"+[8, 16)": binade(9.0, material=2.0)})),
            cell(CELL, figures(binades={"+[8, 16)": binade(9.0, material=7.0)})),
        )
    )
    none = found(Status.WORSE, cell(CELL), failed(Stage.LOAD))
    assert none.severity == (3, True, True, False, 0.0)
    assert small.severity == (3, True, True, False, -2.0)
    named = found(Status.OVER_CEILING, cell(CELL, cliff()), cell(CELL))
    assert named.severity == (1, False, False, False, -2.0)
    elsewhere = Finding(cell=SURFACE, status=Status.WORSE, signature=Signature.PRECISION, message="")
    assert elsewhere.severity == (3, True, True, True, 0.0)
    assert sorted([none, small, large, wide], key=lambda each: each.severity)[:2] == [wide, large]


def test_an_unknown_placement_is_named_as_the_engine_names_it() -> None:
    placed = cell(CELL, placement=Placement(activation="cpu+ne", ops={}))
    assert found(Status.NO_EVIDENCE, placed).message.endswith("placed on cpu+ne")


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.cell, each.how) for each in baseline_diff.between(before, after).moved]


def test_changes_of_stored_cells_are_told_by_name() -> None:
    names = sorted([CELL, GRAFT, "a", "b", "c"])
    cells = {name: cell(CELL) for name in reversed(names)}
    changes = baseline_diff.between({}, cells)
    assert [each.cell for each in changes.moved] == names
    assert all(each.before is None and each.after is not None for each in changes.moved)
    assert changes.summary == "0 cells unchanged, 0 changed or gone, 5 new"
    (gone,) = baseline_diff.between({CELL: cell(CELL)}, {}).moved
    assert (gone.how, gone.after, gone.before) == ("gone", None, cell(CELL))
    assert gone.moved is not None
    assert gone.moved.before == 4.0


def test_a_change_of_stored_cells_has_one_word() -> None:
    one, other = cell(CELL, instrument="1"), cell(CELL, figures(digest="2"), instrument="2")
    assert _changes({CELL: one}, {CELL: other}) == [(CELL, "other instrument")]
    assert _changes({CELL: one}, {CELL: dataclasses.replace(other, instrument="1")}) == [(CELL, "within")]
    assert _changes({CELL: one}, {CELL: dataclasses.replace(one, instrument="2")}) == []
    assert _changes({CELL: one}, {CELL: failed(Stage.LOAD)}) == [(CELL, "other instrument")]
    assert _changes({CELL: cell(CELL)}, {CELL: failed(Stage.LOAD)}) == [(CELL, "worse")]
    assert _changes({CELL: failed(Stage.LOAD)}, {CELL: failed(Stage.LOAD)}) == []
    gap = dataclasses.replace(one, known_gap="because")
    assert _changes({CELL: one, GRAFT: one}, {CELL: gap, GRAFT: one}) == [(CELL, "known gap")]
    (change,) = baseline_diff.between({CELL: one}, {CELL: gap}).moved
    assert (change.before, change.after) == (one, gap)
    climbed = dataclasses.replace(gap, rung="8x8")
    assert _changes({CELL: gap}, {CELL: climbed}) == [(CELL, "at 8x8, not None")]
    assert baseline_diff.between({CELL: one}, {CELL: climbed}).summary == "0 cells unchanged, 1 changed or gone, 0 new"


def test_the_cells_of_several_baselines_are_one_dict() -> None:
    held = {"ane": stored(cell(CELL))["ane"], "other": stored(cell(GRAFT))["ane"]}
    assert baseline_diff.cells_of(held).keys() == {CELL, GRAFT}
