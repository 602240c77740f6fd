"""Facts in GitHub's Markdown: the verdict and why, what needs a reader, and every cell folded away.

Whatever comes from a run stands in code spans: a reason why a conversion failed may hold anything, and nothing in it
may become a link, an image, a mention or the number of an issue. Sizes stay below GitHub's limit for one step's
summary, 1 MiB (https://docs.github.com/actions/reference/limits); what is left out is said.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from mish_guard.files import printable
from mish_guard.judge.status import Row
from mish_guard.judge.verdict import Finding
from mish_guard.records import Measurement
from mish_guard.report import series, words
from mish_guard.report.facts import Facts, next_step

# Two tables share a summary, and a job may have other steps that write one.
_TABLE_BYTES = 400_000
_PLAN_LINES = 400


def summary(facts: Facts) -> str:
    """The summary of a gate run, for GITHUB_STEP_SUMMARY or a pull request; newline at the end."""
    return "\n".join(_summary(facts)) + "\n"


def code(text: str, *, in_table: bool = False) -> str:
    """Text of a run as a code span, in which Markdown knows no markup; nothing for an empty text."""
    shown = printable(text).replace("`", "'").strip()
    if not shown:
        return ""
    return f"`{shown.replace('|', chr(92) + '|')}`" if in_table else f"`{shown}`"


def _summary(facts: Facts) -> Iterator[str]:
    armed = "armed" if facts.armed else "not armed"
    yield f"## {facts.verdict.value} ({armed}): {code(facts.reason)}"
    yield ""
    yield f"**{code(facts.meaning)}**"
    yield ""
    yield from _strips(facts)
    yield ""
    for name, value in _rest(facts):
        yield f"- **{name}** {code(value)}"
    yield ""
    yield code(next_step(facts))
    yield from _chart(facts)
    yield from _worst(facts.worst)
    if facts.findings:
        yield ""
        yield from _findings(facts)
    yield from _plan(facts.plan)
    yield ""
    yield f"<details><summary>All {words.count(len(facts.rows), 'cell')}</summary>"
    yield ""
    yield from table(("cell", "status", "over the ceiling", "max_ulp", "max_ulp of the baseline"), _cells(facts.rows))
    yield ""
    yield "</details>"


def _strips(facts: Facts) -> Iterator[str]:
    yield "| control | must be | did | of |"
    yield "|---|---|---|---|"
    for strip in facts.strips:
        yield f"| {strip.role.value.replace('-', ' ')} | {strip.must} | {strip.good} | {strip.of} |"


def _rest(facts: Facts) -> Iterator[tuple[str, str]]:
    candidate = facts.candidate
    yield "evidence", facts.evidence.statement
    if facts.controls_error is not None:
        yield "controls", facts.controls_error
    if facts.shapes:
        yield "shapes", ", ".join(f"{ladder} at {rung}" for ladder, rung in facts.shapes.items())
    yield from (("note", note) for note in facts.notes)
    yield "candidate", f"coremltools {candidate.coremltools}, lowering {candidate.lowering}"
    if candidate.commit is not None:
        yield "built", f"from {candidate.source}, {candidate.commit[:19]}, native libraries: {candidate.native}"
    if facts.partial is not None:
        yield "partial", f"only cells that match '{facts.partial}' were measured"
    if facts.covered:
        yield "roads", f"{words.count(len(facts.covered), 'more road')} converted to operations that were measured"
    if facts.conversions:
        yield "work", f"{words.count(facts.conversions, 'conversion')}, {words.count(facts.measured, 'measurement')}"
    yield "cells", f"{len(facts.rows)}: {', '.join(f'{count} {name}' for name, count in facts.counts.items())}"
    for origin in facts.origins:
        yield "baseline", f"{', '.join(origin.places)}: {origin.lowering}, measured {origin.created}: {origin.reason}"
    n_gaps = sum(len(gap.cells) for gap in facts.gaps)
    if n_gaps:
        yield "known gaps", f"{words.count(n_gaps, 'cell')} wrong whatever the lowering of mish, as expected"


def _chart(facts: Facts) -> Iterator[str]:
    """Error against x as a chart of Mermaid: numbers of ours only, no text of a run.

    Lines are drawn in this order: the candidate, its baseline, the negative control.
    """
    subject = facts.subject
    drawn = [] if subject is None else [series.around(each.binades) for each in subject.figures]
    if not drawn or not drawn[0]:
        return
    labels = [label for label, _ in drawn[0]]
    values = [series.aligned(labels, each) for each in drawn]
    yield ""
    yield "```mermaid"
    yield "xychart-beta"
    yield '    title "largest error by x"'
    yield f'    x-axis "x, by binade" [{", ".join(f"{chr(34)}{label}{chr(34)}" for label in labels)}]'
    yield f'    y-axis "log2(1 + ulp)" 0 --> {max(2, *(int(max(each)) + 1 for each in values))}'
    for each in values:
        yield f"    line [{', '.join(f'{value:g}' for value in each)}]"
    yield "```"
    yield ""
    yield f"Lines: {', '.join(subject.names) if subject else ''}; 11 is wrong in every bit."


def _worst(worst: Sequence[Finding]) -> Iterator[str]:
    moved = [(each.cell, each.moved) for each in worst if each.moved is not None]
    if not moved:
        return
    yield ""
    yield "### Before and after"
    yield ""
    rows = [(cell, move.name, words.number(move.before), words.number(move.after)) for cell, move in moved]
    yield from table(("cell", "binade that changed most", "max_ulp before", "max_ulp after"), rows)


def _plan(plan: Sequence[str]) -> Iterator[str]:
    """Where Core ML would run every operation, if no shape was taken by the Neural Engine."""
    if not plan:
        return
    # A blank line would end the block of HTML, and what follows would be Markdown again.
    lines = [html.escape(line) or "&nbsp;" for line in plan]
    yield ""
    yield "<pre>" + "\n".join(lines[:_PLAN_LINES]) + "</pre>"
    if len(lines) > _PLAN_LINES:
        yield f"{len(lines) - _PLAN_LINES} more lines of the plan do not fit here; report.json has them all."


def _findings(facts: Facts) -> Iterator[str]:
    number = len(facts.findings)
    yield f"### {words.count(number, 'cell')} need{'s' if number == 1 else ''} a reader"
    yield ""
    ordered = [finding for kind in facts.kinds for finding in kind.members]
    columns = ("cell", "status", "signature", "inputs", "first wrong op", "known defect", "what is wrong")
    yield from table(columns, (_finding(finding) for finding in ordered))


def _finding(finding: Finding) -> tuple[str, ...]:
    return (
        finding.cell,
        finding.status.value,
        finding.signature.value,
        words.interval(finding.interval),
        finding.first_wrong_op or "",
        finding.defect or "",
        finding.message,
    )


def _cells(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        measured = row.measurement
        yield (row.cell, row.status.value, _over(measured), words.ulp(measured), words.ulp(row.baseline))


def _over(measurement: Measurement | None) -> str:
    if measurement is None or measurement.figures is None:
        return "-"
    return f"{measurement.figures.n_over_ceiling} of {measurement.figures.n_covered}"


def table(columns: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> Iterator[str]:
    """A table that stops, and says so, before it is too large."""
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    left, n_left_out = _TABLE_BYTES, 0
    for row in rows:
        line = f"| {' | '.join(code(each, in_table=True) for each in row)} |"
        left -= len(line.encode()) + 1
        if left >= 0:
            yield line
        else:
            n_left_out += 1
    if n_left_out:
        yield ""
        yield f"{words.count(n_left_out, 'more row')} do not fit here; results.json has them all."
