"""Tell GitHub what a gate run left in its folder: summary, annotations, outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mish_guard.errors import ExitCode, UnreadableFileError
from mish_guard.github import numbers, workflow
from mish_guard.github.workflow import Annotation
from mish_guard.records import CONVERTERS, Document

REPORT, SUMMARY = "report.json", "summary.md"
_NO_VERDICT = "BROKEN: the gate ended before it reached a verdict; its log says why"


def announce(folder: Path) -> ExitCode:
    """Summary, annotations and the outputs `verdict`, `exit-code` and `report`.

    A folder without a readable report is BROKEN: whatever ended before, nothing was judged.
    """
    try:
        document = numbers.read(folder / REPORT)
        judged = numbers.of_report(document)
        annotations = list(_annotations(document, judged))
        summary = (folder / SUMMARY).read_text(encoding="utf-8")
    except (UnreadableFileError, OSError, KeyError, TypeError, ValueError) as error:
        workflow.summarize(f"## {_NO_VERDICT}\n")
        workflow.annotate(Annotation("error", "mish-guard", f"{_NO_VERDICT} ({error})"))
        workflow.output(verdict="BROKEN", exit_code=int(ExitCode.BROKEN), report="")
        return ExitCode.BROKEN
    workflow.summarize(summary)
    for each in annotations:
        workflow.annotate(each)
    workflow.output(verdict=judged.verdict, exit_code=judged.exit_code, report=folder / REPORT)
    return ExitCode.PASS


def _annotations(document: Document, judged: numbers.Numbers) -> Iterator[Annotation]:
    """What the verdict means and why, then one annotation for each kind of finding at the converter, ten in all."""
    level = {"PASS": "notice", "INCONCLUSIVE": "warning"}.get(judged.verdict, "error")
    armed = "armed" if judged.armed else "not armed"
    yield Annotation(level, "mish-guard", f"{judged.verdict} ({armed}): {document['meaning']}\n{document['reason']}")
    moved = {each["cell"]: each["moved"] for each in document["worst"]}
    line = document["candidate"]["converter_line"] or 1
    for kind in document["kinds"][: workflow.MOST_ANNOTATIONS - 1]:
        first, more = kind["first"], kind["count"] - 1
        cells = f"{first} and {more} more cell{'s' if more > 1 else ''}" if more else first
        message = f"{cells}: {kind['message']}{_moved(moved.get(first))}"
        yield Annotation(level, kind["name"], message, CONVERTERS, int(line))


def _moved(change: Document | None) -> str:
    """The binade that changed most, before and after."""
    if not change:
        return ""
    before, after = ("-" if change[each] is None else f"{change[each]:.4g}" for each in ("before", "after"))
    return f"\nAt {change['name']}: {before} ulp before, {after} after."
