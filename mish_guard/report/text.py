"""A judgement in text: the first line says what happened and why, the last what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mish_guard.errors import ExitCode
from mish_guard.explain import Signature
from mish_guard.model import BadInterval, Measurement
from mish_guard.report import as_json, routing
from mish_guard.status import Row, Status
from mish_guard.verdict import Finding, Judgement, Verdict

_KINDS = 8
_CELLS = 3


def lines(judgement: Judgement) -> Iterator[str]:
    """The report, line by line."""
    armed = "armed" if judgement.armed else "not armed"
    yield f"{judgement.verdict.value} ({armed}): {judgement.reason}"
    yield ""
    yield from _facts(judgement)
    yield from _findings(judgement.findings)
    yield from _gaps(judgement.rows)
    yield from routing.lines(judgement.run)
    yield ""
    yield next_step(judgement)


def command(judgement: Judgement) -> str:
    """How to call mish-guard with the coremltools that was judged."""
    who = judgement.run.candidate
    # A tree that was built lies in an environment of its own: <folder>/lib/pythonX.Y/site-packages/coremltools.
    return "mish-guard" if who.commit is None else f"{Path(who.path).parents[3]}/bin/python -m mish_guard"


def next_step(judgement: Judgement) -> str:
    """One line that says what to do."""
    call = command(judgement)
    if judgement.verdict is Verdict.PASS:
        stale = any(row.status is Status.BETTER for row in judgement.rows)
        return f"Next: {call} refresh --reason '…' to store the better figures." if stale else "Nothing to do."
    if judgement.verdict is Verdict.BROKEN:
        return "Next: repair the machine or the installation; the candidate was not judged."
    if judgement.exit_code is ExitCode.FAIL:
        worst = min(judgement.findings, key=_rank)
        intended = f"; if the change is meant: {call} refresh --reason '…'" if worst.status is Status.WORSE else ""
        return f"Next: {call} explain '{worst.cell}'{intended}"
    if judgement.exit_code is ExitCode.LOST:
        return f"Next: restore the cells, or store a new baseline: {call} refresh --reason '…'"
    if judgement.exit_code is ExitCode.NO_BASELINE:
        return f"Next: {call} refresh --reason '…' to measure a baseline."
    return "Next: run where the negative control can be caught: a profile ane…, or a Neural Engine."


def interval_text(interval: BadInterval | None) -> str:
    """An interval as mathematicians write it."""
    return "" if interval is None else f"[{interval.first!r}, {interval.last!r}]"


def _facts(judgement: Judgement) -> Iterator[str]:
    run = judgement.run
    yield f"evidence   {as_json.evidence(judgement)['statement']}"
    shapes = ", ".join(f"{ladder} at {rung}" for ladder, rung in routing.shapes(run).items())
    yield from [f"shapes     {shapes}"] if shapes else []
    yield from (f"note       {note}" for note in run.notes)
    candidate = run.candidate
    yield f"candidate  coremltools {candidate.coremltools}, lowering {candidate.lowering}"
    if candidate.commit is not None:
        yield f"           built from {candidate.source}, {candidate.commit[:19]}, native libraries: {candidate.native}"
    yield f"           {candidate.path}"
    controls = as_json.controls(judgement)
    negative, positive = controls["negative"], controls["positive"]
    yield (
        f"controls   negative caught {negative['ok']} of {negative['of']}, "
        f"positive passes {positive['ok']} of {positive['of']}"
    )
    counts = Counter(row.status.value for row in judgement.rows)
    yield f"cells      {len(judgement.rows)}: {', '.join(f'{count} {name}' for name, count in counts.most_common())}"
    yield from _baselines(judgement)


def _baselines(judgement: Judgement) -> Iterator[str]:
    """Where the baselines come from; places that were measured together share a line."""
    origins: dict[str, list[str]] = {}
    for where, baseline in sorted(judgement.baselines.items()):
        given = baseline.provenance
        origin = f"{given['candidate']['lowering']}, measured {given['created']}: {given['reason']}"
        origins.setdefault(origin, []).append(where)
    for origin, places in origins.items():
        yield f"baseline   {', '.join(places)}: {origin}"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    """Findings of one kind under one heading, the most serious and most frequent kinds first."""
    if not findings:
        return
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda each: each.cell):
        kinds.setdefault((_kind(finding), _reason(finding)), []).append(finding)
    ordered = sorted(kinds.items(), key=lambda item: (*_rank(item[1][0]), -len(item[1])))
    yield ""
    yield f"findings ({len(findings)} cells, {len(kinds)} kinds)"
    for (kind, _), members in ordered[:_KINDS]:
        yield f"  {kind}"
        yield f"      {members[0].message}"
        yield from (f"      {finding.cell}" for finding in members[:_CELLS])
        if len(members) > _CELLS:
            yield f"      and {len(members) - _CELLS} more"
    if len(ordered) > _KINDS:
        yield f"  and {len(ordered) - _KINDS} more kinds; --format json has them all"


def _rank(finding: Finding) -> tuple[bool, bool]:
    """Over a ceiling before anything else, and where the inputs are known before whole models."""
    return finding.status is not Status.OVER_CEILING, finding.interval is None


def _reason(finding: Finding) -> str:
    """What tells findings of one kind apart: how an engine died, or hung, is not the same for all of them."""
    return finding.message if finding.signature in (Signature.ENGINE, Signature.CONTROL) else ""


def _kind(finding: Finding) -> str:
    parts = [finding.status.value, finding.signature.value, interval_text(finding.interval)]
    if finding.first_wrong_op:
        parts.append(f"first wrong op {finding.first_wrong_op}")
    if finding.defect:
        parts.append(f"reintroduces {finding.defect}")
    return ", ".join(part for part in parts if part)


def _gaps(rows: Sequence[Row]) -> Iterator[str]:
    gaps = [row.measurement for row in rows if row.status is Status.KNOWN_GAP and row.measurement is not None]
    if not gaps:
        return
    yield ""
    yield f"known gaps ({len(gaps)}): wrong whatever the lowering of mish, and expected to be"
    grouped: dict[tuple[str, str], list[Measurement]] = {}
    for gap in gaps:
        grouped.setdefault((f"{gap.key.case} by {gap.key.frontend.value}", gap.known_gap or ""), []).append(gap)
    for (name, reason), members in grouped.items():
        intervals = {interval_text(each) for gap in members if gap.figures for each in gap.figures.bad_intervals}
        places = ", ".join(gap.key.where for gap in members)
        yield f"  {name} at {places}: {' '.join(sorted(intervals))}"
        yield f"      {reason}"
