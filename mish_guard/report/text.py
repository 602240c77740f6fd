"""A judgement in text: the first line says what happened and why, the last what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mish_guard.errors import ExitCode
from mish_guard.judge.baseline_diff import Changes
from mish_guard.judge.status import Status
from mish_guard.judge.verdict import Finding, Judgement, Verdict
from mish_guard.records import Measurement
from mish_guard.report import as_json, routing, table
from mish_guard.report.findings import interval_text, kinds, rank

_KINDS = 8
_CELLS = 3


def lines(judgement: Judgement) -> Iterator[str]:
    """The report, line by line."""
    yield headline(judgement)
    yield ""
    yield from facts(judgement)
    yield from _findings(judgement.findings)
    yield from _gaps(judgement)
    yield from routing.lines(judgement.run)
    yield ""
    yield next_step(judgement)


def headline(judgement: Judgement) -> str:
    """The verdict and why, in one line."""
    armed = "armed" if judgement.armed else "not armed"
    return f"{judgement.verdict.value} ({armed}): {judgement.reason}"


def command(judgement: Judgement) -> str:
    """How to call mish-guard with the coremltools that was judged."""
    who = judgement.run.candidate
    # A tree that was built lies in an environment of its own: <folder>/lib/pythonX.Y/site-packages/coremltools.
    return "mish-guard" if who.commit is None else f"{Path(who.path).parents[3]}/bin/python -m mish_guard"


def next_step(judgement: Judgement, call: str | None = None) -> str:
    """One line that says what to do; `call` is how a reader elsewhere calls mish-guard."""
    call = call or command(judgement)
    if judgement.verdict is Verdict.PASS:
        stale = any(row.status is Status.BETTER for row in judgement.rows)
        return f"Next: {call} refresh --reason '…' to store the better figures." if stale else "Nothing to do."
    if judgement.verdict is Verdict.BROKEN:
        return "Next: repair the machine or the installation; the candidate was not judged."
    if judgement.exit_code is ExitCode.FAIL:
        worst = min(judgement.findings, key=rank)
        intended = f"; if the change is meant: {call} refresh --reason '…'" if worst.status is Status.WORSE else ""
        return f"Next: {call} explain '{worst.cell}'{intended}"
    if judgement.exit_code is ExitCode.LOST:
        return f"Next: restore the cells, or store a new baseline: {call} refresh --reason '…'"
    if judgement.exit_code is ExitCode.NO_BASELINE:
        return f"Next: {call} refresh --reason '…' to measure a baseline."
    return "Next: run where the negative control can be caught: a profile ane…, or a Neural Engine."


def facts(judgement: Judgement) -> Iterator[str]:
    """What the verdict rests on, a line each, the first word of a line naming it."""
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


def changed(found: Changes) -> Iterator[str]:
    """What happened to stored cells: the counts, and the table of those that changed, went or came."""
    yield found.summary
    if found.moved:
        rows = [(each.cell, each.how, ulp(each.before), ulp(each.after)) for each in found.moved]
        yield table.render(("cell", "change", "max_ulp before", "max_ulp after"), rows)


def ulp(cell: Measurement | None) -> str:
    """The largest error of a cell in units in the last place, and its input."""
    if cell is None or cell.figures is None:
        return "-"
    return f"{cell.figures.max_ulp.value:.4g} at {cell.figures.max_ulp.at:.6g}"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        return
    ordered = kinds(findings)
    yield ""
    yield f"findings ({len(findings)} cells, {len(ordered)} kinds)"
    for kind in ordered[:_KINDS]:
        yield f"  {kind.name}"
        yield f"      {kind.members[0].message}"
        yield from (f"      {finding.cell}" for finding in kind.members[:_CELLS])
        if len(kind.members) > _CELLS:
            yield f"      and {len(kind.members) - _CELLS} more"
    if len(ordered) > _KINDS:
        yield f"  and {len(ordered) - _KINDS} more kinds; --format json has them all"


def _gaps(judgement: Judgement) -> Iterator[str]:
    gaps = [row.measurement for row in judgement.rows if row.status is Status.KNOWN_GAP and row.measurement is not None]
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
        shown = sorted({judgement.gap_defects.get(str(gap.key), "") for gap in members} - {""})
        yield f"  {name} at {places}: {' '.join([*sorted(intervals), *shown])}"
        yield f"      {reason}"
