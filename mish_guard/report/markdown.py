"""A judgement in GitHub's Markdown: the verdict and why, what needs a reader, and every cell folded away.

Whatever comes from a run is escaped: a reason why a conversion failed may hold anything. Sizes stay below GitHub's
limit for one step's summary, 1 MiB (https://docs.github.com/actions/reference/limits); what is left out is said.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from mish_guard.judge.baseline_diff import Changes
from mish_guard.judge.status import Row
from mish_guard.judge.verdict import Finding, Judgement
from mish_guard.records import Measurement
from mish_guard.report import routing, text
from mish_guard.report.findings import interval_text, kinds

# Two tables share a summary, and a job may have other steps that write one.
_TABLE_BYTES = 400_000
_PLAN_LINES = 400
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "`": "'", "\n": " ", "\r": " "})


def summary(judgement: Judgement) -> str:
    """The summary of a gate run, for GITHUB_STEP_SUMMARY or a pull request; newline at the end."""
    return "\n".join(_summary(judgement)) + "\n"


def changed(found: Changes) -> str:
    """What happened to stored cells, as a table; newline at the end."""
    rows = [(each.cell, each.how, text.ulp(each.before), text.ulp(each.after)) for each in found.moved]
    drawn = _table(("cell", "change", "max_ulp before", "max_ulp after"), rows) if rows else ()
    return "\n".join([f"**Baselines**: {found.summary}.", *(["", *drawn] if rows else [])]) + "\n"


def _summary(judgement: Judgement) -> Iterator[str]:
    yield f"## {_plain(text.headline(judgement))}"
    yield ""
    for line in text.facts(judgement):
        name, _, rest = line.partition(" ")
        yield f"- **{name}** {_plain(rest.strip())}" if name else f"  {_plain(rest.strip())}"
    yield ""
    yield f"**{_plain(text.next_step(judgement, call='mish-guard'))}**"
    if judgement.findings:
        yield ""
        yield from _findings(judgement.findings)
    yield from _plan(judgement)
    yield ""
    yield f"<details><summary>All {len(judgement.rows)} cells</summary>"
    yield ""
    yield from _table(("cell", "status", "over the ceiling", "max_ulp", "max_ulp of the baseline"), _cells(judgement))
    yield ""
    yield "</details>"


def _plan(judgement: Judgement) -> Iterator[str]:
    """Where Core ML would run every operation, if no shape was taken by the Neural Engine."""
    lines = [html.escape(line) for line in routing.lines(judgement.run)]
    if not lines:
        return
    yield ""
    yield "<pre>" + "\n".join(lines[:_PLAN_LINES]) + "</pre>"
    if len(lines) > _PLAN_LINES:
        yield f"{len(lines) - _PLAN_LINES} more lines of the plan do not fit here; report.json has them all."


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    yield f"### {len(findings)} cells need a reader"
    yield ""
    ordered = [finding for kind in kinds(findings) for finding in kind.members]
    columns = ("cell", "status", "signature", "inputs", "first wrong op", "known defect", "what is wrong")
    yield from _table(columns, (_finding(finding) for finding in ordered))


def _finding(finding: Finding) -> tuple[str, ...]:
    return (
        finding.cell,
        finding.status.value,
        finding.signature.value,
        interval_text(finding.interval),
        finding.first_wrong_op or "",
        finding.defect or "",
        finding.message,
    )


def _cells(judgement: Judgement) -> Iterator[tuple[str, ...]]:
    return (_cell(row) for row in judgement.rows)


def _cell(row: Row) -> tuple[str, ...]:
    return (row.cell, row.status.value, _over(row.measurement), text.ulp(row.measurement), text.ulp(row.baseline))


def _over(measurement: Measurement | None) -> str:
    if measurement is None or measurement.figures is None:
        return "-"
    return f"{measurement.figures.n_over_ceiling} of {measurement.figures.n_covered}"


def _table(columns: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> Iterator[str]:
    """A table that stops, and says so, before it is too large."""
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    left, n_left_out = _TABLE_BYTES, 0
    for row in rows:
        line = f"| {' | '.join(map(_plain, row))} |"
        left -= len(line.encode()) + 1
        if left >= 0:
            yield line
        else:
            n_left_out += 1
    if n_left_out:
        yield ""
        yield f"{n_left_out} more rows do not fit here; results.json has them all."


def _plain(words: str) -> str:
    """Words that Markdown and HTML leave as they are."""
    return words.translate(_HTML)
