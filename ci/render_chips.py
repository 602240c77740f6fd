"""Write the table of measured chips in docs/neural-engine.md from the baselines in mish_guard/data/baselines.

python ci/render_chips.py            write the table
python ci/render_chips.py --check    exit 1 if the table is not what would be written

A chip is in the table if a baseline of real Core ML holds a cell whose activation was planned on its Neural Engine.
Nothing else puts one there: no emulated profile, no other compute unit, no figure from elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from mish_guard import files
from mish_guard.judge import compare
from mish_guard.results import baseline
from mish_guard.results.baseline import Baseline

TARGET = Path(__file__).resolve().parent.parent / "docs" / "neural-engine.md"
BEGIN, END = "<!-- chips: python ci/render_chips.py -->", "<!-- chips end -->"

_COLUMNS = ("chip", "model", "macOS", "cells on the Neural Engine", "shapes", "coremltools", "measured")
_NONE = "None so far: nobody has sent a measurement."


def main(arguments: list[str], target: Path = TARGET, folder: Path = baseline.SHIPPED) -> int:
    """Write or check the table; returns the exit code."""
    old = target.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        print(f"{target.name} has lost the lines between which the table goes: {BEGIN} and {END}")
        return 1
    text = f"{head}{BEGIN}\n{table(folder)}\n{END}{tail}"
    if "--check" in arguments:
        print(f"{target.name} is fresh." if text == old else f"{target.name} is stale: run python ci/render_chips.py")
        return int(text != old)
    files.write_atomically(target, text)
    print(f"Wrote {target.name}.")
    return 0


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


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
