"""What a verdict means, in one sentence for somebody who has never heard of this gate."""

from __future__ import annotations

from collections.abc import Sequence

from mish_guard.errors import ExitCode
from mish_guard.judge.defects import Signature
from mish_guard.judge.status import Status
from mish_guard.judge.verdict import Finding, Judgement, Verdict
from mish_guard.records import CellKey, Role
from mish_guard.report import words


def sentence(judgement: Judgement, worst: Sequence[Finding]) -> str:
    """The sentence; `worst` are the findings to be named first."""
    if judgement.verdict is Verdict.BROKEN:
        return "The machine or the engine failed its own check, so nothing is said about the tree."
    if judgement.verdict is Verdict.FAIL:
        return _failed(judgement.findings, worst)
    if judgement.verdict is Verdict.PASS:
        return _passed(judgement)
    return _inconclusive(judgement)


def _failed(findings: Sequence[Finding], worst: Sequence[Finding]) -> str:
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
    return _worse([each for each in worst if each.status is Status.WORSE], findings)


def _cliff(cliffs: Sequence[Finding]) -> str:
    first = min(cliffs, key=lambda each: each.interval is None)
    start = f" from x = {first.interval.first!r} on" if first.interval else ""
    if all(CellKey.parse(each.cell).role is Role.GRAFT for each in cliffs):
        return f"A good lowering does not survive the tree's own pipeline: its mish is wrong{start}."
    return f"The cliff is back:{start} mish gives 0 where it should give x ({words.count(len(cliffs), 'cell')})."


def _worse(worst: Sequence[Finding], findings: Sequence[Finding]) -> str:
    number = sum(each.status is Status.WORSE for each in findings)
    if not worst:
        return "Worse than what it is compared with."
    change = worst[0].moved
    if worst[0].signature is Signature.PLACEMENT:
        return f"No cliff, inside all ceilings, but {words.count(number, 'cell')} left the Neural Engine."
    if change is None:
        return f"No cliff, inside all ceilings, but {words.count(number, 'cell')} worse than the baseline."
    return (
        f"No cliff, inside all ceilings, less precise than the baseline at {words.count(number, 'cell')}: "
        f"at {change.name} {words.number(change.after)} ulp, {words.number(change.before)} before."
    )


def _passed(judgement: Judgement) -> str:
    number = {each: sum(row.status is each for row in judgement.rows) for each in Status}
    if judgement.run.against is not None:
        bad = words.count(number[Status.AS_BASE], "cell")
        return f"No worse than the base tree, which is wrong itself at {bad}."
    more = f", more precise at {words.count(number[Status.BETTER], 'cell')}" if number[Status.BETTER] else ""
    changed = number[Status.PRECISION]
    less = f", less precise by less than matters at {words.count(changed, 'cell')}" if changed else ""
    same = " and as precise as the baseline" if not more + less else ""
    return f"No cliff, where it would have been seen: mish is inside every ceiling{same}{more}{less}."


def _inconclusive(judgement: Judgement) -> str:
    rests = sorted({each for row in judgement.rows if row.measurement for each in row.measurement.assumptions})
    if judgement.run.partial is not None:
        return f"Nothing wrong among the cells that match '{judgement.run.partial}'; the rest was not looked at."
    if judgement.exit_code is ExitCode.NO_BASELINE:
        return "Inside every ceiling, but there is nothing to compare with: no figures are stored for this place."
    if judgement.exit_code is ExitCode.LOST:
        return "Nothing wrong was seen, but not everything that the baseline knows was measured the same way again."
    if rests and any(row.status is Status.ASSUMED for row in judgement.rows):
        return f"Right only if what nobody has measured goes well: {', '.join(rests)}."
    return "Nothing wrong was seen, but nothing here could have shown it: no evidence that the cliff is gone."
