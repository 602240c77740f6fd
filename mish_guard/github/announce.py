"""Tell GitHub what a gate run left in its folder: summary, annotations, outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mish_guard.errors import ExitCode, UnreadableFileError
from mish_guard.github import numbers, workflow

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
    except (UnreadableFileError, OSError, KeyError, TypeError) as error:
        workflow.summarize(f"## {_NO_VERDICT}\n")
        workflow.annotate("error", "mish-guard", f"{_NO_VERDICT} ({error})")
        workflow.output(verdict="BROKEN", exit_code=int(ExitCode.BROKEN), report="")
        return ExitCode.BROKEN
    workflow.summarize(summary)
    for level, title, message in annotations:
        workflow.annotate(level, title, message)
    workflow.output(verdict=judged.verdict, exit_code=judged.exit_code, report=folder / REPORT)
    return ExitCode.PASS


def _annotations(document: Any, judged: numbers.Numbers) -> Iterator[tuple[str, str, str]]:
    """The verdict, then one annotation for each kind of finding, ten in all."""
    level = {"PASS": "notice", "INCONCLUSIVE": "warning"}.get(judged.verdict, "error")
    armed = "armed" if judged.armed else "not armed"
    yield level, "mish-guard", f"{judged.verdict} ({armed}): {document['reason']}"
    for kind in document["kinds"][: workflow.MOST_ANNOTATIONS - 1]:
        more = f" and {kind['count'] - 1} more cells" if kind["count"] > 1 else ""
        yield level, kind["name"], f"{kind['first']}{more}: {kind['message']}"
