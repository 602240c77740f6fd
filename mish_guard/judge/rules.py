"""The rules of the verdict, in the order in which they are asked: the first that applies decides.

This is the one table. `verdict` walks it, and the README prints it; a test compares the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from mish_guard.errors import ExitCode, Verdict
from mish_guard.judge import compare
from mish_guard.judge.defects import Signature
from mish_guard.judge.findings import Finding
from mish_guard.judge.status import PlaceState, Row, Status
from mish_guard.records import Attempt, Family, Role, Run


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that a verdict rests on: the run, the state of its places, every row, and the findings among them."""

    run: Run
    places: tuple[PlaceState, ...]
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]

    @cached_property
    def counts(self) -> Counter[Status]:
        """How many cells have each status."""
        return Counter(row.status for row in self.rows)

    def has(self, *statuses: Status) -> bool:
        """Whether any cell has one of the statuses."""
        return any(self.counts[each] for each in statuses)

    @property
    def broken(self) -> tuple[PlaceState, ...]:
        """The places where nothing that was measured counts."""
        return tuple(each for each in self.places if each.broken is not None)

    @property
    def armed(self) -> bool:
        """Whether every Neural Engine of the run, one at least, would have shown an error."""
        engines = [each for each in self.places if each.is_neural_engine]
        sound = self.run.controls_error is None and self.run.broken is None
        return sound and bool(engines) and all(each.armed for each in engines)

    @property
    def judged(self) -> frozenset[str]:
        """The places at which a cell of the candidate was measured."""
        return frozenset(
            row.measurement.key.place for row in self.rows if row.measurement and row.role is Role.CANDIDATE
        )

    def of(self, *statuses: Status) -> list[Finding]:
        """The findings with one of the statuses, the most serious first."""
        return sorted((each for each in self.findings if each.status in statuses), key=lambda each: each.severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the table: what it says of the tree and of the controls, what follows, and when it applies."""

    tree: str
    negative: str
    positive: str
    verdict: Verdict
    exit_code: ExitCode
    applies: Callable[[Case], bool]
    reason: Callable[[Case], str]


def used_neural_engines(run: Run) -> frozenset[str]:
    """The Neural Engines of the run on which at least one cell of the candidate's mish was placed."""
    judged = [cell for cell in run.measurements.values() if cell.key.role is Role.CANDIDATE]
    used = {cell.key.place for cell in judged if cell.key.family is not Family.SURFACE and compare.placed(cell)}
    return frozenset(used & set(run.neural_engines))


def unplaced_ladders(run: Run) -> list[str]:
    """The routing ladders on no rung of which the plan puts every model that was offered on the Neural Engine."""
    return _without_rung(run, lambda offered: all(each.is_placed for each in offered))


def untaken_ladders(run: Run) -> list[str]:
    """Those on every rung of which the plan puts a model elsewhere; one that failed was not turned away."""
    return _without_rung(run, lambda offered: not any(each.is_refused for each in offered))


def _without_rung(run: Run, is_good: Callable[[Sequence[Attempt]], bool]) -> list[str]:
    """The ladders without a rung whose attempts are good."""
    ladders: dict[str, dict[str, list[Attempt]]] = {}
    for each in run.attempts:
        ladders.setdefault(each.ladder, {}).setdefault(each.rung, []).append(each)
    return [ladder for ladder, rungs in ladders.items() if not any(map(is_good, rungs.values()))]


def _failed(case: Case) -> str:
    """What the tree did, the gravest first: the cliff, another ceiling, a model that is none, lost precision."""
    over = case.of(Status.OVER_CEILING)
    names = sorted({each.defect for each in over if each.defect})
    known = [f"reintroduces {', '.join(names)}"] if names else []
    return ": ".join([*known, "; ".join([*_over(over), *_dead(case.of(Status.FAILS)), *_worse(case)])])


def _over(over: Sequence[Finding]) -> Iterator[str]:
    if not over:
        return
    cliffs = [each for each in over if each.signature is Signature.SOFTPLUS_CLIFF]
    interval = next((each.interval for each in (cliffs or over) if each.interval), None)
    where = f" from x = {interval.first!r} on" if interval else ""
    if cliffs:
        yield f"the cliff is back{where}: {_cells(len(over))} over a ceiling"
    else:
        yield f"{_cells(len(over))} over a ceiling, first {over[0].cell}{where}"


def _dead(dead: Sequence[Finding]) -> Iterator[str]:
    if dead:
        first = dead[0]
        does = "converts" if first.signature is Signature.CONVERSION else "runs"
        more = f", nor {_cells(len(dead) - 1, 'other cell')}" if len(dead) > 1 else ""
        yield f"the tree no longer {does} {first.cell}{more}: {first.message.removeprefix('no figures: ')}"


def _worse(case: Case) -> Iterator[str]:
    worse = case.of(Status.WORSE)
    if not worse:
        return
    first = worse[0]
    story = f"{_cells(len(worse))} worse than the {_reference(case)}"
    if case.has(Status.OVER_CEILING, Status.FAILS):
        yield story
    elif first.signature in (Signature.PRECISION, Signature.NEGATIVE_TAIL) and first.moved is not None:
        yield f"no cliff, inside all ceilings, less precise than the {_reference(case)} at {first.moved.words}; {story}"
    else:
        yield f"no cliff, inside all ceilings, but {story}: {first.message}"


def _reference(case: Case) -> str:
    return "baseline" if case.run.against is None else "base tree"


def _lost(case: Case) -> str:
    words = (
        (Status.LOST, "lost"),
        (Status.NEW, "new"),
        (Status.NOT_COMPARABLE, "not comparable with the baseline"),
    )
    parts = [f"{_cells(case.counts[each])} {word}" for each, word in words if case.counts[each]]
    return f"{', '.join(parts)}: {case.of(Status.LOST, Status.NEW, Status.NOT_COMPARABLE)[0].message}"


def _assumed(case: Case) -> str:
    ids = {name for row in case.rows if row.status is Status.ASSUMED and row.measurement for name in _ids(row)}
    return f"what nobody has measured decides {_cells(case.counts[Status.ASSUMED])}: {', '.join(sorted(ids))}"


def _ids(row: Row) -> tuple[str, ...]:
    return () if row.measurement is None else row.measurement.assumptions


def _unarmed(case: Case) -> str:
    run = case.run
    if not run.neural_engines:
        return "no Neural Engine took part: nothing here can show the defect"
    failed = {
        row.cell for row in case.rows if row.status is Status.CONTROL_FAILED and row.role is Role.NEGATIVE_CONTROL
    }
    if not failed:
        return "a control is missing at a Neural Engine"
    offered = {each.ladder for each in run.attempts if each.cell in failed}
    untaken = [ladder for ladder in untaken_ladders(run) if ladder in offered]
    why = f"no shape of {', '.join(untaken)} was placed on it" if untaken else "this engine cannot show the defect"
    return f"the negative control was not caught: {why}"


def _passed(case: Case) -> str:
    if case.run.against is not None:
        return "no worse than the base tree" + _base_story(case)
    parts = [
        (Status.BETTER, "better than the baseline, which is stale"),
        (Status.PRECISION, "changed in precision by less than matters"),
    ]
    more = [f"; {case.counts[each]} {words}" for each, words in parts if case.counts[each]]
    return f"every cell within its ceiling and its baseline{''.join(more)}"


def _base_story(case: Case) -> str:
    bad = case.counts[Status.AS_BASE]
    return f", which itself is over a ceiling or fails at {_cells(bad)}" if bad else ""


def _cells(number: int, word: str = "cell") -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _broken(case: Case) -> str:
    """Why the first broken place proves nothing, and which places they are if others are sound."""
    names = ", ".join(each.place for each in case.broken)
    at = f" (at {names})" if len(case.broken) < len(case.places) else ""
    return f"{case.broken[0].broken}{at}"


RULES = (
    Rule(
        tree="any; gate, controls or tree changed while it ran",
        negative="any",
        positive="any",
        verdict=Verdict.BROKEN,
        exit_code=ExitCode.BROKEN,
        applies=lambda case: bool(case.run.broken or case.run.controls_error),
        reason=lambda case: case.run.broken or case.run.controls_error or "",
    ),
    Rule(
        tree="over a ceiling, or no longer converts, loads or predicts",
        negative="any",
        positive="passes",
        verdict=Verdict.FAIL,
        exit_code=ExitCode.FAIL,
        applies=lambda case: case.has(Status.OVER_CEILING, Status.FAILS),
        reason=_failed,
    ),
    Rule(
        tree="materially worse than the baseline",
        negative="caught",
        positive="passes",
        verdict=Verdict.FAIL,
        exit_code=ExitCode.FAIL,
        applies=lambda case: case.has(Status.WORSE),
        reason=_failed,
    ),
    Rule(
        tree="any",
        negative="any",
        positive="fails at a place",
        verdict=Verdict.BROKEN,
        exit_code=ExitCode.BROKEN,
        applies=lambda case: bool(case.broken),
        reason=_broken,
    ),
    Rule(
        tree="a cell lost, new or not comparable",
        negative="any",
        positive="passes",
        verdict=Verdict.INCONCLUSIVE,
        exit_code=ExitCode.LOST,
        applies=lambda case: case.has(Status.LOST, Status.NEW, Status.NOT_COMPARABLE),
        reason=_lost,
    ),
    Rule(
        tree="within, of some cells only (`--only`)",
        negative="any",
        positive="passes",
        verdict=Verdict.INCONCLUSIVE,
        exit_code=ExitCode.INCONCLUSIVE,
        applies=lambda case: case.run.partial is not None and bool(case.judged),
        reason=lambda _: "nothing wrong among the cells that were asked for, which are not the whole matrix",
    ),
    Rule(
        tree="not measured at a place that was asked for",
        negative="any",
        positive="passes",
        verdict=Verdict.INCONCLUSIVE,
        exit_code=ExitCode.LOST,
        applies=lambda case: not case.judged or not set(case.run.engines) <= case.judged,
        reason=lambda case: (
            "no cell of the candidate was measured"
            + (f" at {', '.join(sorted(set(case.run.engines) - case.judged))}" if case.judged else "")
            + ": nothing was judged"
        ),
    ),
    Rule(
        tree="within its ceilings, without a baseline",
        negative="any",
        positive="passes",
        verdict=Verdict.INCONCLUSIVE,
        exit_code=ExitCode.NO_BASELINE,
        applies=lambda case: case.has(Status.NO_BASELINE),
        reason=lambda case: f"no baseline for {_cells(case.counts[Status.NO_BASELINE])}",
    ),
    Rule(
        tree="passes only under an assumption that nobody has measured",
        negative="any",
        positive="passes",
        verdict=Verdict.INCONCLUSIVE,
        exit_code=ExitCode.INCONCLUSIVE,
        applies=lambda case: case.has(Status.ASSUMED),
        reason=_assumed,
    ),
    Rule(
        tree="within",
        negative="not caught",
        positive="passes",
        verdict=Verdict.INCONCLUSIVE,
        exit_code=ExitCode.INCONCLUSIVE,
        applies=lambda case: not case.armed,
        reason=_unarmed,
    ),
    Rule(
        tree="within, but not placed on the Neural Engine",
        negative="caught",
        positive="passes",
        verdict=Verdict.INCONCLUSIVE,
        exit_code=ExitCode.INCONCLUSIVE,
        applies=lambda case: (
            case.has(Status.NO_EVIDENCE) or used_neural_engines(case.run) != set(case.run.neural_engines)
        ),
        reason=lambda _: "the candidate was not placed on the Neural Engine: its figures are no evidence of it",
    ),
    Rule(
        tree="within ceilings and baseline at every place",
        negative="caught",
        positive="passes",
        verdict=Verdict.PASS,
        exit_code=ExitCode.PASS,
        applies=lambda _: True,
        reason=_passed,
    ),
)


def decide(case: Case) -> tuple[Rule, str]:
    """The rule that applies, and why in one line; a converter that was replaced is always said."""
    rule = next(each for each in RULES if each.applies(case))
    replaced = case.run.candidate.replaced
    return rule, rule.reason(case) + (f"; converter REPLACED by {replaced}" if replaced else "")


def table() -> Iterator[str]:
    """The rules as a Markdown table, as the README has it."""
    yield "| candidate and graft | negative control | positive control | verdict | exit code |"
    yield "|---|---|---|---|---|"
    for rule in RULES:
        verdict = f"**{rule.verdict.value}**" + (" (armed)" if rule.verdict is Verdict.PASS else "")
        yield f"| {rule.tree} | {rule.negative} | {rule.positive} | {verdict} | {int(rule.exit_code)} |"
