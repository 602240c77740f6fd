"""The rules of the verdict one by one: which applies first, and the one line that says why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from mish_guard.errors import ExitCode
from mish_guard.judge import rules, verdict
from mish_guard.judge.verdict import Judgement, Verdict
from mish_guard.records import Attempt, BadInterval, Measurement, Placement, Run, Stage
from mish_guard.results.baseline import Baseline
from tests.made_up import (
    ARMS,
    BASE,
    CELL,
    GRAFT,
    KNOWN,
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

A, B, C = (CELL.replace("mish-k3", name) for name in ("a", "b", "c"))


def judged(*cells: Measurement, base: dict[str, Baseline] | None = None, **changed: Any) -> Judgement:
    """The judgement of cells beside sound controls; without `base` they are all as their baseline."""
    known = stored(*(cell(str(each.key)) for each in cells)) if base is None else base
    return verdict.judge(run(*cells, *ARMS, **changed), known, KNOWN)


def coarse(key: str, ulp: float = 99.0, *, at: float = 9.0) -> Measurement:
    grown = dataclasses.replace(binade(ulp), at=at)
    return cell(key, figures(digest="2" * 64, binades={"+[8, 16)": grown}))


OVERFLOWS = figures(n_over_ceiling=9, n_nonfinite=9, bad_intervals=(), digest="5" * 64)


STEP = figures(n_over_ceiling=1, bad_intervals=(BadInterval(first=1.5, last=2.0, count=1),))
WORSE = "1 cell worse than the baseline"
LESS = f"less precise than the baseline at +[8, 16): 99 ulp, 4 before; {WORSE}"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([cell(A, cliff())], "the cliff is back from x = 10.3984375 on: 1 cell over a ceiling"),
        (
            [cell(A, cliff()), cell(CELL, cliff())],
            "reintroduces MISH-SOFTPLUS-CLIFF: the cliff is back from x = 10.39",
        ),
        ([cell(A, OVERFLOWS)], f"1 cell over a ceiling, first {A}"),
        ([cell(A, OVERFLOWS), cell(B, cliff())], "the cliff is back from x = 10.3984375 on: 2 cells over a ceiling"),
        (
            [cell(A, STEP)],
            f"1 cell over a ceiling, first {A} from x = 1.5 on",
        ),
        (
            [cell(A, STEP), cell(B, cliff())],
            "the cliff is back from x = 10.3984375 on: 2 cells over a ceiling",
        ),
        ([dead(A)], f"the tree no longer converts {A}: convert failed: no"),
        ([dead(A, Stage.LOAD)], f"the tree no longer runs {A}: load failed: no"),
        ([dead(A), dead(B)], f"the tree no longer converts {A}, nor 1 other cell: convert failed: no"),
        ([dead(A), dead(B), dead(C)], f"the tree no longer converts {A}, nor 2 other cells: convert failed: no"),
        (
            [coarse(A)],
            f"no cliff, inside all ceilings, {LESS}",
        ),
        (
            [coarse(A, at=-9.0)],
            f"no cliff, inside all ceilings, {LESS}",
        ),
        (
            [cell(A, figures(n_covered=5)), cell(B, figures(n_covered=5))],
            "no cliff, inside all ceilings, but 2 cells worse than the baseline: 5 inputs covered, 61440 before",
        ),
        (
            [cell(A, OVERFLOWS), dead(B), coarse(C)],
            f"1 cell over a ceiling, first {A}; the tree no longer converts {B}: convert failed: no; {WORSE}",
        ),
        ([dead(B), coarse(C)], f"the tree no longer converts {B}: convert failed: no; 1 cell worse than the baseline"),
        (
            [cell(A, OVERFLOWS), coarse(C)],
            f"1 cell over a ceiling, first {A}; 1 cell worse than the baseline",
        ),
    ],
)
def test_a_red_run_says_what_the_tree_did(cells: list[Measurement], reason: str) -> None:
    told = judged(*cells)
    assert (told.verdict, told.exit_code) == (Verdict.FAIL, ExitCode.FAIL)
    assert told.reason.startswith(reason)
    if not reason.endswith("10.39"):
        assert told.reason == reason


def test_several_defects_are_named_once_each_by_name() -> None:
    known = next(each for each in KNOWN if each.id == "MISH-SOFTPLUS-CLIFF")
    many = [dataclasses.replace(known, id=f"D{number}", cases=(f"c{number}", f"d{number}")) for number in range(9)]
    keys = [CELL.replace("mish-k3", case) for each in reversed(many) for case in each.cases]
    made = run(*(cell(key, cliff()) for key in keys), *ARMS)
    told = verdict.judge(made, {}, many)
    names = "D0, D1, D2, D3, D4, D5, D6, D7, D8"
    assert told.reason.startswith(f"reintroduces {names}: the cliff is back from x = 10.3984375 on: 18 cells")
    base = against(*(cell(key, cliff()) for key in keys))
    beside = verdict.judge(dataclasses.replace(made, against=base), {}, many)
    assert beside.reason.endswith(f"the base tree itself shows {names}")


def attempt(ladder: str, rung: str, device: str, key: str = NEGATIVE) -> Attempt:
    return Attempt(ladder=ladder, rung=rung, cell=key, activation=device)


@pytest.mark.parametrize(
    ("attempts", "unplaced", "untaken"),
    [
        ([], [], []),
        ([attempt("l", "1", "ne")], [], []),
        ([attempt("l", "1", "cpu")], ["l"], ["l"]),
        ([attempt("l", "1", "unknown")], ["l"], []),
        ([attempt("l", "1", "ne"), attempt("l", "1", "cpu")], ["l"], ["l"]),
        ([attempt("l", "1", "cpu"), attempt("l", "2", "ne")], [], []),
        ([attempt("l", "1", "cpu"), attempt("m", "1", "ne")], ["l"], ["l"]),
        ([attempt("l", "1", "unknown"), attempt("l", "1", "cpu")], ["l"], ["l"]),
        ([attempt("l", "1", "unknown"), attempt("l", "2", "cpu")], ["l"], []),
    ],
)
def test_a_ladder_needs_one_rung_that_took_every_model(
    attempts: list[Attempt], unplaced: list[str], untaken: list[str]
) -> None:
    made = run(cell(CELL), attempts=tuple(attempts))
    assert (rules.unplaced_ladders(made), rules.untaken_ladders(made)) == (unplaced, untaken)


SURFACE = "surface/rank-2/torchscript/mlprogram-fp16@ane"


def test_an_engine_is_used_by_a_candidate_that_is_placed_there_and_no_mere_surface() -> None:
    def used(*cells: Measurement, **changed: Any) -> set[str]:
        return set(rules.used_neural_engines(run(*cells, **changed)))

    assert used(cell(CELL)) == {"ane"}
    assert used(cell(CELL, placement=ON_CPU), cell(GRAFT), cell(NEGATIVE), cell(SURFACE)) == set()
    assert used(cell(CELL), engines=places("cpu-only")) == set()
    assert used(cell(CELL, placement=None)) == set()


BLIND = (cell(NEGATIVE), cell(POSITIVE))


@pytest.mark.parametrize(
    ("attempts", "why"),
    [
        ([], "this engine cannot show the defect"),
        ([attempt("s", "1", "cpu"), attempt("t", "1", "cpu")], "no shape of s, t was placed on it"),
        ([attempt("s", "1", "cpu"), attempt("t", "1", "cpu", POSITIVE)], "no shape of s was placed on it"),
        ([attempt("s", "1", "cpu", CELL)], "this engine cannot show the defect"),
        ([attempt("s", "1", "ne")], "this engine cannot show the defect"),
    ],
)
def test_an_engine_that_does_not_see_says_why(attempts: list[Attempt], why: str) -> None:
    told = verdict.judge(run(cell(CELL), cell(GRAFT), *BLIND, attempts=tuple(attempts)), BASE, ())
    assert (told.exit_code, told.reason) == (
        ExitCode.INCONCLUSIVE,
        f"the negative control was not caught: {why}",
    )


def test_what_is_missing_for_an_armed_run_is_said() -> None:
    missing = verdict.judge(run(cell(CELL), cell(GRAFT), ARMS[0]), BASE, ())
    assert missing.reason == "a control is missing at a Neural Engine"
    cpu = CELL.replace("@ane", "@cpu-only")
    base = {"cpu-only": stored(cell(cpu))["ane"]}
    none = verdict.judge(run(cell(cpu), engines=places("cpu-only")), base, ())
    assert none.reason == "no Neural Engine took part: nothing here can show the defect"
    assert none.lacks_only_a_neural_engine
    assert not none.armed


@pytest.mark.parametrize(
    ("cells", "base", "reason"),
    [
        ([dead(A, Stage.ENGINE)], stored(cell(A)), "1 cell lost: no figures: engine failed: no"),
        ([cell(A)], stored(cell(B)), "1 cell lost, 1 new: the run did not measure this cell"),
        ([cell(A), cell(B)], stored(cell(C), cell(GRAFT)), "2 cells lost, 2 cells new: the run did not measure"),
        (
            [cell(A, rung="8x8"), cell(B)],
            stored(cell(A), cell(C)),
            "1 cell lost, 1 cell new, 1 cell not comparable with the baseline: the run did not measure this cell",
        ),
        ([cell(A, rung="8x8")], stored(cell(A)), "1 cell not comparable with the baseline: measured at 8x8"),
        ([cell(A), cell(B)], stored(cell(A)), "1 cell new: the baseline does not know this cell"),
    ],
)
def test_cells_that_say_nothing_are_counted(cells: list[Measurement], base: dict[str, Baseline], reason: str) -> None:
    told = judged(*cells, base=base)
    assert told.exit_code is ExitCode.LOST
    assert told.reason.startswith(reason.replace("1 cell lost, 1 new", "1 cell lost, 1 cell new"))


def test_assumptions_that_decide_are_named_once_by_name() -> None:
    told = judged(cell(A, assumptions=("U4", "U1")), cell(B, assumptions=("U2", "U1")))
    assert told.exit_code is ExitCode.INCONCLUSIVE
    assert told.reason == "what nobody has measured decides 2 cells: U1, U2, U4"
    one = judged(cell(A, assumptions=("U4",)), cell(B, known_gap="x", assumptions=("U9",)))
    assert one.reason == "what nobody has measured decides 1 cell: U4"


def test_a_green_run_says_what_moved() -> None:
    plain = judged(cell(A))
    assert plain.reason == "every cell within its ceiling and its baseline"
    fine = figures(digest="2" * 64, binades={"+[8, 16)": binade(99.0, material=0.5)})
    better = figures(digest="2" * 64, binades={"+[8, 16)": binade(1.0)})
    told = judged(cell(A, fine), cell(B, better), cell(C, better))
    assert told.reason == (
        "every cell within its ceiling and its baseline; 2 better than the baseline, which is stale; "
        "1 changed in precision by less than matters"
    )
    assert told.exit_code is ExitCode.PASS


def test_against_a_base_tree_the_base_is_named() -> None:
    same = judged(cell(CELL), base={}, against=against(cell(CELL)))
    assert same.reason == "no worse than the base tree"
    bad = judged(cell(A, OVERFLOWS), cell(CELL), base={}, against=against(cell(A, OVERFLOWS), cell(CELL)))
    assert bad.reason == "no worse than the base tree, which itself is over a ceiling or fails at 1 cell"
    assert bad.gap_defects == {}
    worse = judged(coarse(CELL), base={}, against=against(cell(CELL)))
    assert worse.reason == (
        "no cliff, inside all ceilings, less precise than the base tree at +[8, 16): 99 ulp, 4 before; "
        "1 cell worse than the base tree"
    )


def test_the_defects_of_a_base_tree_are_said_and_those_of_gaps_only_kept() -> None:
    gap = cell(CELL, cliff(), known_gap="softplus stays")
    permitted = judged(gap, base=stored(cell(CELL, cliff())))
    assert permitted.gap_defects == {CELL: "MISH-SOFTPLUS-CLIFF"}
    assert permitted.reason == "every cell within its ceiling and its baseline"
    beside = judged(gap, base={}, against=against(gap))
    assert beside.gap_defects == {CELL: "MISH-SOFTPLUS-CLIFF"}
    assert beside.reason == "no worse than the base tree"
    unnamed = judged(cell(CELL, cliff()), dead(A), base={}, against=against(cell(CELL, cliff()), dead(A)))
    assert unnamed.reason.endswith("fails at 2 cells; the base tree itself shows MISH-SOFTPLUS-CLIFF")


def test_a_run_that_judges_a_part_says_so_unless_it_judges_nothing() -> None:
    part = judged(cell(CELL), partial="x")
    assert part.reason == "nothing wrong among the cells that were asked for, which are not the whole matrix"
    assert part.exit_code is ExitCode.INCONCLUSIVE
    none = judged(base={}, partial="x")
    assert (none.exit_code, none.reason) == (ExitCode.LOST, "no cell of the candidate was measured: nothing was judged")


def test_a_place_where_nothing_was_judged_is_named() -> None:
    names = ["all", *(f"p{number}" for number in range(9))]
    told = judged(cell(CELL), engines=places("ane", *reversed(names)))
    assert told.exit_code is ExitCode.LOST
    assert told.reason == f"no cell of the candidate was measured at {', '.join(names)}: nothing was judged"
    nowhere = verdict.judge(run(engines={}), {}, ())
    assert nowhere.reason == "no cell of the candidate was measured: nothing was judged"
    # A graft is no candidate.
    graft = judged(cell(GRAFT))
    assert graft.reason == "no cell of the candidate was measured: nothing was judged"


def test_cells_without_a_baseline_are_counted() -> None:
    told = judged(cell(A), cell(B), base={})
    assert (told.exit_code, told.reason) == (ExitCode.NO_BASELINE, "no baseline for 2 cells")


def test_broken_places_are_named_where_others_are_sound() -> None:
    elsewhere = [cell(key.replace("@ane", "@cpu-only"), cliff()) for key in (CELL, POSITIVE)]
    fault = "the positive control fails: the machine or the engine is at fault, not the candidate"
    one = verdict.judge(run(cell(CELL), *ARMS, *elsewhere), stored(cell(CELL)), ())
    assert (one.exit_code, one.reason) == (ExitCode.BROKEN, f"{fault} (at cpu-only)")
    assert one.armed
    every = verdict.judge(run(cell(CELL), cell(POSITIVE, cliff())), BASE, ())
    assert every.reason == fault
    machine = dead(A, Stage.MACHINE, "No space left")
    assert judged(machine).reason == "the machine failed: No space left"


def test_what_breaks_a_whole_run_is_asked_before_all_else() -> None:
    each: tuple[dict[str, Any], ...] = ({"broken": "changed"}, {"controls_error": "changed"})
    for changed in each:
        told = judged(cell(CELL, cliff()), **changed)
        assert (told.exit_code, told.reason, told.armed) == (ExitCode.BROKEN, "changed", False)
    both = judged(cell(CELL), broken="first", controls_error="second")
    assert both.reason == "first"


PRECEDENCE = [
    (cell(A, cliff()), ExitCode.FAIL),
    (coarse(A), ExitCode.FAIL),
    (dead(A, Stage.MACHINE), ExitCode.BROKEN),
    (dead(A, Stage.ENGINE), ExitCode.LOST),
    (cell(A, assumptions=("U1",)), ExitCode.INCONCLUSIVE),
    (cell(A, placement=Placement(activation="unknown", ops={})), ExitCode.INCONCLUSIVE),
    (cell(A), ExitCode.PASS),
]


def test_the_gravest_cell_decides() -> None:
    far = CELL.replace("@ane", "@ane-ftz")
    arms = [dataclasses.replace(each, key=dataclasses.replace(each.key, place="ane-ftz")) for each in ARMS]
    base = {**stored(cell(A)), "ane-ftz": stored(cell(far))["ane"]}
    made: Run = run(cell(far), *arms, cell(A), *ARMS)
    for measurement, code in PRECEDENCE:
        told = verdict.judge(dataclasses.replace(made, measurements={**made.measurements, A: measurement}), base, ())
        assert told.exit_code is code, measurement


def test_a_candidate_that_no_engine_ran_is_no_evidence() -> None:
    reason = "the candidate was not placed on the Neural Engine: its figures are no evidence of it"
    never = cell(CELL, placement=ON_CPU)
    assert judged(never, base=stored(never)).reason == reason
    assert judged(cell(CELL), cell(A, placement=None)).reason == reason
    second = cell(CELL.replace("@ane", "@ane-ftz"), placement=ON_CPU)
    arms = [dataclasses.replace(each, key=dataclasses.replace(each.key, place="ane-ftz")) for each in ARMS]
    base = {**stored(cell(CELL)), "ane-ftz": stored(second)["ane"]}
    assert judged(cell(CELL), second, *arms, base=base).reason == reason


def test_a_converter_that_was_replaced_is_said_at_the_end() -> None:
    who = dataclasses.replace(run().candidate, replaced="exp")
    assert judged(cell(A), candidate=who).reason == (
        "every cell within its ceiling and its baseline; converter REPLACED by exp"
    )


def test_the_table_names_every_rule_once() -> None:
    lines = list(rules.table())
    assert len(lines) == 2 + len(rules.RULES) == 14
    assert lines[-1] == ("| within ceilings and baseline at every place | caught | passes | **PASS** (armed) | 0 |")
    assert lines[2].endswith("| any | any | **BROKEN** | 21 |")


def test_only_inconclusive_runs_lack_an_engine_alone() -> None:
    cpu = CELL.replace("@ane", "@cpu-only")
    base = {"cpu-only": stored(cell(cpu))["ane"]}
    for candidate, lacks in ((cell(cpu), True), (cell(cpu, cliff()), False), (coarse(cpu), False)):
        told = verdict.judge(run(candidate, engines=places("cpu-only")), base, ())
        assert told.lacks_only_a_neural_engine is lacks
