"""Judgements that were once wrong, each on a made run: who is blamed, for what, and in which words."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from mish_guard import files
from mish_guard.errors import ExitCode, UnreadableFileError, Verdict
from mish_guard.judge import compare, defects, rules, verdict
from mish_guard.judge.defects import Signature
from mish_guard.judge.status import Status
from mish_guard.judge.verdict import Judgement
from mish_guard.records import (
    BadInterval,
    BinadeFigures,
    Failure,
    Measurement,
    Run,
    Stage,
)
from mish_guard.results import baseline
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
    cell,
    cliff,
    figures,
    run,
    stored,
)
from tests.made_up import places as engines_at

README = Path(__file__).parent.parent / "README.md"
KNOWN = defects.load_defects()


def judged(*cells: Measurement, base: dict[str, Baseline] | None = None, **changed: Any) -> Judgement:
    return verdict.judge(run(*cells, **changed), BASE if base is None else base, KNOWN)


def status_of(judgement: Judgement, key: str) -> Status:
    return next(row.status for row in judgement.rows if row.cell == key)


def at(place: str, *keys: str) -> tuple[str, ...]:
    return tuple(key.replace("@ane", f"@{place}") for key in keys)


def binade(ulp: float, *, x: float, material: float) -> BinadeFigures:
    return BinadeFigures(count=1024, max_ulp=ulp, mean_abs=1e-4, at=x, material=material)


def changed(**got: Any) -> Measurement:
    return cell(CELL, figures(digest="2" * 64, **got))


def test_the_table_of_the_readme_is_the_table_that_is_walked() -> None:
    assert "\n".join(rules.table()) in README.read_text()


@pytest.mark.parametrize(
    ("after", "is_worse"),
    [("-0", False), ("+0", False), ("+0 -0", False), ("-inf", True), ("nan", True), ("-finite", True)],
)
def test_the_sign_of_zero_is_nothing(after: str, is_worse: bool) -> None:
    moved = judged(changed(specials={"+inf": "+inf", "-inf": after, "nan": "+inf"}), cell(GRAFT), *ARMS)
    assert moved.exit_code is (ExitCode.FAIL if is_worse else ExitCode.PASS)
    assert [each.signature for each in moved.findings] == [Signature.SPECIAL_VALUES] * is_worse


@pytest.mark.parametrize(("before", "after"), [("+inf", "-inf"), ("+finite", "-finite")])
def test_the_sign_of_anything_else_is_something(before: str, after: str) -> None:
    one, two = (figures(digest=digest, specials={"-inf": each}) for digest, each in (("1", before), ("2", after)))
    assert compare.change(cell(CELL, two), cell(CELL, one)) is compare.Change.WORSE


def test_more_units_of_next_to_nothing_are_precision_changed_and_green() -> None:
    """1.3 ulp at x = -0.0003 are 1e-7."""
    name = "-[2^-12, 2^-11)"
    before = stored(cell(CELL, figures(binades={name: binade(0.6, x=-0.0003, material=0.0002)})), cell(GRAFT))
    after = changed(binades={name: binade(1.9, x=-0.0003, material=0.0003)})
    told = judged(after, cell(GRAFT), *ARMS, base=before)
    assert (told.verdict, told.exit_code) == (Verdict.PASS, ExitCode.PASS)
    (finding,) = told.findings
    assert (finding.status, finding.signature) == (Status.PRECISION, Signature.PRECISION)
    assert finding.message == f"by less than matters: {name}: 1.9 ulp, 0.6 before"
    assert "1 changed in precision by less than matters" in told.reason


@pytest.mark.parametrize(("material", "is_worse"), [(1.0, False), (1.0001, True), (math.nan, True)])
def test_an_error_is_worse_from_the_size_on_at_which_it_matters(material: float, is_worse: bool) -> None:
    after = changed(binades={"+[8, 16)": binade(31.8, x=9.0, material=material)})
    assert (compare.change(after, cell(CELL)) is compare.Change.WORSE) is is_worse


def test_a_model_without_binades_is_worse_by_its_largest_error() -> None:
    """By its size: where an output cancels, its units in the last place say nothing."""
    before = cell(CELL, dataclasses.replace(figures(binades={}), material=1.1))
    small, same, large = (
        changed(binades={}, max_ulp=dataclasses.replace(figures().max_ulp, value=9.0), material=size)
        for size in (0.5, 1.2, 1.5)
    )
    assert compare.change(small, before) is compare.Change.PRECISION
    assert compare.change(same, before) is compare.Change.PRECISION
    assert compare.change(large, before) is compare.Change.WORSE


def test_figures_of_another_emulator_are_nobodys_fault() -> None:
    other = cell(CELL, figures(digest="2" * 64, n_covered=1000), instrument="1" * 64)
    told = judged(other, cell(GRAFT), *ARMS, base=stored(cell(CELL, instrument="0" * 64), cell(GRAFT)))
    assert (told.verdict, told.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.LOST)
    assert "measured by another emulator" in told.reason
    assert status_of(told, CELL) is Status.NOT_COMPARABLE


def test_no_other_emulator_excuses_a_broken_ceiling_but_that_of_a_gap() -> None:
    base = stored(cell(CELL, instrument="0" * 64), cell(GRAFT))
    over = cell(CELL, cliff(), instrument="1" * 64)
    gap = dataclasses.replace(over, known_gap="softplus stays")
    assert judged(over, cell(GRAFT), *ARMS, base=base).exit_code is ExitCode.FAIL
    assert judged(gap, cell(GRAFT), *ARMS, base=base).exit_code is ExitCode.LOST


def test_a_pass_that_rests_on_what_nobody_measured_names_it() -> None:
    told = judged(cell(CELL, assumptions=("U1", "U4")), cell(GRAFT), *ARMS)
    assert (told.verdict, told.exit_code, told.armed) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE, True)
    assert told.reason == "what nobody has measured decides 1 cell: U1, U4"
    assert [each.signature for each in told.findings] == [Signature.ASSUMPTION]


def test_a_known_gap_that_may_be_open_needs_no_more_than_one_that_is() -> None:
    gap = cell(CELL, assumptions=("U1",), known_gap="nobody has measured it")
    told = judged(gap, cell(GRAFT), *ARMS)
    assert (told.verdict, told.exit_code) == (Verdict.PASS, ExitCode.PASS)
    assert [row.status for row in told.rows if row.measurement is gap] == [Status.KNOWN_GAP]


def test_an_assumption_excuses_nothing() -> None:
    assert judged(cell(CELL, cliff(), assumptions=("U1",)), cell(GRAFT), *ARMS).exit_code is ExitCode.FAIL


GPU = at("cpu-and-gpu", CELL, POSITIVE)
DIES = Failure(stage=Stage.PREDICT, reason="Core ML aborted the process while predicting: SIGABRT.")


@pytest.mark.parametrize(
    ("candidate", "exit_code"), [(cell(CELL), ExitCode.BROKEN), (cell(CELL, cliff()), ExitCode.FAIL)]
)
def test_a_place_that_is_broken_takes_nothing_back_that_another_showed(
    candidate: Measurement, exit_code: ExitCode
) -> None:
    broken = tuple(cell(key, figures=None, failure=DIES) for key in GPU)
    told = judged(candidate, cell(GRAFT), *ARMS, *broken)
    assert told.exit_code is exit_code
    assert status_of(told, GPU[0]) is Status.NOT_JUDGED
    assert {each.place for each in told.places if each.broken} == {"cpu-and-gpu"}
    assert {each.place for each in told.places if each.armed} == {"ane"}
    if exit_code is ExitCode.BROKEN:
        assert told.reason.endswith("(at cpu-and-gpu)")


def test_an_engine_that_would_have_shown_the_error_is_armed_whatever_another_place_does() -> None:
    broken = tuple(cell(key, figures=None, failure=DIES) for key in GPU)
    assert judged(cell(CELL), cell(GRAFT), *ARMS, *broken).armed
    assert not judged(cell(CELL), cell(GRAFT), ARMS[0], cell(POSITIVE, cliff())).armed


@pytest.mark.parametrize(
    ("places", "changed", "alone"),
    [
        (("cpu-only",), {}, True),
        (("cpu-only",), {"partial": "sweep/*"}, False),
        (("ane",), {}, False),
    ],
    ids=["no engine", "partial", "blind"],
)
def test_only_the_lack_of_a_neural_engine_can_be_allowed(
    places: tuple[str, ...], changed: dict[str, Any], alone: bool
) -> None:
    cells = [cell(key) for place in places for key in at(place, CELL, GRAFT, POSITIVE)]
    base = {place: stored(*(cell(key) for key in at(place, CELL, GRAFT)))["ane"] for place in places}
    engines = engines_at(*places)
    told = judged(*cells, base=base, engines=engines, **changed)
    assert (told.exit_code, told.lacks_only_a_neural_engine) == (ExitCode.INCONCLUSIVE, alone)
    assumed = [dataclasses.replace(each, assumptions=("U1",)) for each in cells]
    assert not judged(*assumed, base=base, engines=engines, **changed).lacks_only_a_neural_engine


def test_green_needs_every_place_that_was_asked_for() -> None:
    told = judged(cell(CELL), cell(GRAFT), *ARMS, cell(GPU[1]))
    assert told.exit_code is ExitCode.LOST
    assert told.reason == "no cell of the candidate was measured at cpu-and-gpu: nothing was judged"


@pytest.mark.parametrize("stage", [Stage.CONVERT, Stage.LOAD, Stage.PREDICT])
def test_a_candidate_that_no_longer_works_is_red(stage: Stage) -> None:
    """As on a Neural Engine that raises an overflow error for softplus, while the control with exp passes."""
    dead = cell(CELL, figures=None, failure=Failure(stage=stage, reason="E5RT overflow"), placement=None)
    told = judged(dead, cell(GRAFT), *ARMS)
    assert (told.verdict, told.exit_code) == (Verdict.FAIL, ExitCode.FAIL)
    assert told.reason.startswith(f"the tree no longer {'converts' if stage is Stage.CONVERT else 'runs'} {CELL}: ")
    assert "E5RT overflow" in told.reason


@pytest.mark.parametrize(("stage", "code"), [(Stage.CONVERT, ExitCode.FAIL), (Stage.LOAD, ExitCode.LOST)])
def test_what_never_ran_before_may_be_too_new_for_the_machine(stage: Stage, code: ExitCode) -> None:
    dead = cell(CELL, figures=None, failure=Failure(stage=stage, reason="needs macOS 15"), placement=None)
    assert judged(dead, cell(GRAFT), *ARMS, base={}).exit_code is code


def test_a_candidate_that_dies_on_an_unarmed_neural_engine_is_red_too() -> None:
    dead = [cell(key, figures=None, failure=DIES) for key in (CELL, NEGATIVE)]
    assert judged(*dead, cell(GRAFT), cell(POSITIVE)).exit_code is ExitCode.FAIL


@pytest.mark.parametrize("key", [CELL, GRAFT, NEGATIVE, POSITIVE])
def test_what_the_machine_lacks_is_never_the_trees_fault(key: str) -> None:
    full = Failure(stage=Stage.MACHINE, reason="No space left on device")
    cells = {each.key: each for each in (cell(CELL), cell(GRAFT), *ARMS)}
    cells[cell(key).key] = cell(key, figures=None, failure=full)
    told = judged(*cells.values())
    assert (told.verdict, told.exit_code, told.armed) == (Verdict.BROKEN, ExitCode.BROKEN, False)


def test_an_engine_that_does_not_know_an_operation_loses_the_cell() -> None:
    unknown = Failure(stage=Stage.ENGINE, reason="op 'gelu' is not emulated")
    told = judged(cell(CELL, figures=None, failure=unknown), cell(GRAFT), *ARMS)
    assert (told.exit_code, told.reason) == (
        ExitCode.LOST,
        "1 cell lost: no figures: engine failed: op 'gelu' is not emulated",
    )


def test_a_run_whose_gate_changed_while_it_ran_proves_nothing() -> None:
    told = judged(cell(CELL, cliff()), cell(GRAFT), *ARMS, broken="the gate's own files changed")
    assert (told.exit_code, told.reason, told.armed) == (ExitCode.BROKEN, "the gate's own files changed", False)


def test_a_partial_run_is_never_green_and_loses_nothing() -> None:
    told = judged(cell(CELL), *ARMS, partial="sweep/*")
    assert (told.verdict, told.exit_code) == (Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE)
    assert {row.cell for row in told.rows} == {CELL, NEGATIVE, POSITIVE}
    assert judged(cell(CELL, cliff()), *ARMS, partial="sweep/*").exit_code is ExitCode.FAIL


def test_against_a_base_that_shows_the_defect_no_change_is_green_and_says_so() -> None:
    told = judged(cell(CELL, cliff()), cell(GRAFT), *ARMS, base={}, against=against(cell(CELL, cliff()), cell(GRAFT)))
    assert (told.verdict, told.exit_code) == (Verdict.PASS, ExitCode.PASS)
    assert status_of(told, CELL) is Status.AS_BASE
    assert told.reason == (
        "no worse than the base tree, which itself is over a ceiling or fails at 1 cell; "
        "the base tree itself shows MISH-SOFTPLUS-CLIFF"
    )


@pytest.mark.parametrize(
    ("base", "code", "status"),
    [
        (cell(CELL), ExitCode.FAIL, Status.OVER_CEILING),
        (cell(CELL, dataclasses.replace(cliff(), n_over_ceiling=11980)), ExitCode.FAIL, Status.WORSE),
    ],
)
def test_against_a_better_base_it_is_red(base: Measurement, code: ExitCode, status: Status) -> None:
    told = judged(cell(CELL, cliff()), cell(GRAFT), *ARMS, base={}, against=against(base, cell(GRAFT)))
    assert (told.exit_code, status_of(told, CELL)) == (code, status)


def test_against_a_base_with_the_defect_a_repair_is_better() -> None:
    told = judged(cell(CELL), cell(GRAFT), *ARMS, base={}, against=against(cell(CELL, cliff()), cell(GRAFT)))
    assert (told.exit_code, status_of(told, CELL)) == (ExitCode.PASS, Status.BETTER)


def test_a_cell_that_fails_in_the_base_tree_too_is_as_the_base() -> None:
    dead = cell(CELL, figures=None, failure=Failure(stage=Stage.CONVERT, reason="no such op"))
    second = cell(CELL.replace("mish-k3", "mish-k1"))
    told = judged(dead, second, cell(GRAFT), *ARMS, base={}, against=against(dead, second, cell(GRAFT)))
    assert (told.exit_code, status_of(told, CELL)) == (ExitCode.PASS, Status.AS_BASE)


def test_a_replaced_converter_is_always_said() -> None:
    who = dataclasses.replace(run().candidate, replaced="exp")
    for candidate in (cell(CELL), cell(CELL, cliff())):
        assert judged(candidate, cell(GRAFT), *ARMS, candidate=who).reason.endswith("; converter REPLACED by exp")
    assert "REPLACED" not in judged(cell(CELL), cell(GRAFT), *ARMS).reason


def test_the_worst_cell_is_the_one_to_be_explained_first() -> None:
    better, worse, worst = (CELL.replace("mish-k3", name) for name in ("a", "b", "c"))
    cells = [
        dataclasses.replace(cell(key), figures=figures(digest="2" * 64, binades={"+[8, 16)": move}))
        for key, move in (
            (better, binade(1.0, x=9.0, material=0.1)),
            (worse, binade(9.0, x=9.0, material=2.0)),
            (worst, binade(99.0, x=9.0, material=20.0)),
        )
    ]
    told = judged(*cells, cell(GRAFT), *ARMS, base=stored(*(cell(key) for key in (better, worse, worst)), cell(GRAFT)))
    assert told.worst is not None
    assert (told.worst.cell, told.worst.status) == (worst, Status.WORSE)
    assert told.worst.moved is not None
    assert told.reason == (
        "no cliff, inside all ceilings, less precise than the baseline at +[8, 16): 99 ulp, 4 before; "
        "2 cells worse than the baseline"
    )


def test_a_cliff_is_told_before_all_else() -> None:
    lesser = changed(binades={"+[8, 16)": binade(31.8, x=9.0, material=9.0)})
    other = dataclasses.replace(cell(GRAFT), figures=lesser.figures)
    told = judged(cell(CELL, cliff()), other, *ARMS)
    assert told.reason == (
        "reintroduces MISH-SOFTPLUS-CLIFF: the cliff is back from x = 10.3984375 on: 1 cell over a ceiling; "
        "1 cell worse than the baseline"
    )


@pytest.mark.parametrize(("x", "kind"), [(-0.0003, Signature.PRECISION), (-9.0, Signature.NEGATIVE_TAIL)])
def test_a_tail_starts_where_mish_vanishes(x: float, kind: Signature) -> None:
    name = "-[8, 16)" if x < -1 else "-[2^-12, 2^-11)"
    before = stored(cell(CELL, figures(binades={name: binade(1.0, x=x, material=1.0)})), cell(GRAFT))
    told = judged(changed(binades={name: binade(9.0, x=x, material=9.0)}), cell(GRAFT), *ARMS, base=before)
    assert [each.signature for each in told.findings] == [kind]
    bad = figures(n_over_ceiling=1, bad_intervals=(BadInterval(first=x, last=x, count=1),))
    assert defects.signature(cell(CELL, bad)) is kind


def test_a_cell_that_left_the_neural_engine_says_so_in_the_headline() -> None:
    told = judged(cell(CELL, placement=ON_CPU), cell(GRAFT), *ARMS)
    assert "no cliff, inside all ceilings, but 1 cell worse than the baseline" in told.reason
    assert "left the Neural Engine" in told.reason


def test_a_judgement_without_findings_has_no_worst() -> None:
    made: Run = run(cell(CELL), cell(GRAFT), *ARMS)
    assert verdict.judge(made, BASE, ()).worst is None


BASES = ("ane", "ieee-fp16")


@pytest.fixture
def bases(tmp_path: Path) -> tuple[Run, Path, Path]:
    """A run at two places, and folders of the change and of its base with a baseline for each of them."""
    who = dataclasses.replace(run().candidate, converter_sha256="0" * 64)
    good = [dataclasses.replace(cell(key), figures=figures(binades={})) for key in (CELL, *at("ieee-fp16", CELL))]
    made = run(*good, candidate=who, matrix_sha256="0" * 64)
    for folder in (tmp_path / "own", tmp_path / "base"):
        for place in BASES:
            path = baseline.path_of(folder, made.engine_at(place), place, {})
            files.write_atomically(path, baseline.text_of(made, place, reason="a test", repeats=2))
    return made, tmp_path / "own", tmp_path / "base"


def test_a_place_without_a_baseline_in_the_base_branch_has_none(bases: tuple[Run, Path, Path]) -> None:
    made, own, base = bases
    assert baseline.load_for(made, own, base).keys() == {*BASES}
    (base / "emulator-ane.json").unlink()
    held = baseline.load_for(made, own, base)
    assert held.keys() == {"ieee-fp16"}
    assert {row.cell: row.status for row in verdict.judge(made, held, ()).rows}[CELL] is Status.NO_BASELINE


def test_a_file_in_the_base_branch_that_is_no_baseline_is_named(bases: tuple[Run, Path, Path]) -> None:
    made, own, base = bases
    (base / "another.json").write_text("{}")
    with pytest.raises(UnreadableFileError, match=r"another\.json"):
        baseline.load_for(made, own, base)
