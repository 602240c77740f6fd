"""The table of measured chips in docs/neural-engine.md: what the stored baselines of real Core ML show.

A chip is in the table if such a baseline holds a cell whose activation was planned on its Neural Engine. Nothing else
puts one there: no emulated profile, no other compute unit, no figure from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mish_guard import files
from mish_guard.errors import UnreadableFileError
from mish_guard.judge import compare
from mish_guard.results import baseline
from mish_guard.results.baseline import Baseline

# There in a checkout, and nowhere else.
PAGE = files.DATA.parent.parent / "docs" / "neural-engine.md"
BEGIN, END = "<!-- chips: python ci/render_chips.py -->", "<!-- chips end -->"

_COLUMNS = ("chip", "model", "macOS", "cells on the Neural Engine", "shapes", "coremltools", "measured")
_NONE = "None so far: nobody has sent a measurement."


def page(text: str, folder: Path) -> str:
    """The text of the page with the table of the baselines in `folder`; UnreadableFileError where its place is lost."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        msg = f"{PAGE.name} has lost the lines between which the table goes: {BEGIN} and {END}"
        raise UnreadableFileError(msg)
    return f"{head}{BEGIN}\n{table(folder)}\n{END}{tail}"


def table(folder: Path) -> str:
    """The table in Markdown, one row for each machine, or one line that says that there is none."""
    rows = sorted(row for path in sorted(folder.glob("*.json")) for row in _rows(baseline.load(path)))
    if not rows:
        return _NONE
    return "\n".join(f"| {' | '.join(row)} |" for row in (_COLUMNS, ("---",) * len(_COLUMNS), *rows))


def _rows(stored: Baseline) -> Iterator[tuple[str, ...]]:
    given = stored.provenance
    placed = [cell for cell in stored.cells.values() if compare.placed(cell)]
    if given["engine"] != "coreml" or not placed:
        return
    hardware, environment = given["device"]["hardware"], given["device"]["environment"]
    yield (
        hardware["chip"] or "unknown",
        hardware["model"] or "unknown",
        f"{environment['macos']} ({environment['build']})",
        f"{len(placed)} of {len(stored.cells)}",
        ", ".join(sorted({cell.rung for cell in placed if cell.rung is not None})),
        given["candidate"]["coremltools"],
        given["created"][:10],
    )
