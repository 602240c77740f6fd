"""What a verdict means, in one sentence for somebody who has never heard of this gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mish_guard.errors import ExitCode
from mish_guard.judge.defects import Signature
from mish_guard.judge.status import Status
from mish_guard.judge.verdict import Finding, Judgement, Verdict
from mish_guard.records import CellKey, Role
from mish_guard.report import words


class Change(Protocol):
    """A binade with its largest errors; see `facts.Moved`."""

    @property
    def name(self) -> str: ...
    @property
    def before(self) -> float | None: ...
    @property
    def after(self) -> float | None: ...


def sentence(judgement: Judgement, worst: Sequence[tuple[Finding, Change | None]]) -> str:
    """The sentence; `worst` are the findings to be named first, with the binade that changed most."""
    if judgement.verdict is Verdict.BROKEN:
        return "The machine or the engine failed its own check, so nothing is said about the tree."
    if judgement.verdict is Verdict.FAIL:
        return _failed(judgement.findings, worst)
    if judgement.verdict is Verdict.PASS:
        return _passed(judgement)
    return _inconclusive(judgement)


def _failed(findings: Sequence[Finding], worst: Sequence[tuple[Finding, Change | None]]) -> str:
    over = [each for each in findings if each.status is Status.OVER_CEILING]
    cliffs = [each for each in over if each.signature is Signature.SOFTPLUS_CLIFF]
    dead = [each for each in findings if each.status is Status.FAILS]
    if cliffs:
        return _cliff(cliffs)
    if dead:
        return f"The tree no longer converts or runs: {words.count(len(dead), 'cell')} gave no figures."
    if over:
        first = min(over, key=lambda each: each.interval is None)
        at = f" over {words.interval(first.interval)}" if first.interval else ""
        return f"Not the cliff, but wrong: {words.count(len(over), 'cell')} over a ceiling, first {first.cell}{at}."
    return _worse([(finding, change) for finding, change in worst if finding.status is Status.WORSE], findings)


def _cliff(cliffs: Sequence[Finding]) -> str:
    first = min(cliffs, key=lambda each: each.interval is None)
    start = f" from x = {first.interval.first!r} on" if first.interval else ""
    if all(CellKey.parse(each.cell).role is Role.GRAFT for each in cliffs):
        return f"A good lowering does not survive the tree's own pipeline: its mish is wrong{start}."
    return f"The cliff is back:{start} mish gives 0 where it should give x ({words.count(len(cliffs), 'cell')})."


def _worse(worst: Sequence[tuple[Finding, Change | None]], findings: Sequence[Finding]) -> str:
    number = sum(each.status is Status.WORSE for each in findings)
    if not worst:
        return "Worse than what it is compared with."
    finding, change = worst[0]
    if finding.signature is Signature.PLACEMENT:
        return f"No cliff, inside all ceilings, but {words.count(number, 'cell')} left the Neural Engine."
    if change is None:
        return f"No cliff, inside all ceilings, but {words.count(number, 'cell')} worse than the baseline."
    return (
        f"No cliff, inside all ceilings, less precise than the baseline at {words.count(number, 'cell')}: "
        f"at {change.name} {words.number(change.after)} ulp, {words.number(change.before)} before."
    )


def _passed(judgement: Judgement) -> str:
    better = sum(row.status is Status.BETTER for row in judgement.rows)
    more = f", more precise at {words.count(better, 'cell')}" if better else ""
    return (
        f"No cliff: mish is inside every ceiling and as precise as the baseline{more}; the cliff would have been seen."
    )


def _inconclusive(judgement: Judgement) -> str:
    if judgement.exit_code is ExitCode.NO_BASELINE:
        return "Inside every ceiling, but there is nothing to compare with: no figures are stored for this place."
    if judgement.exit_code is ExitCode.LOST:
        return "Nothing wrong was seen, but not everything that the baseline knows was measured the same way again."
    return (
        "Nothing wrong was seen, but nothing here could have shown it: this run is no evidence that the cliff is gone."
    )
