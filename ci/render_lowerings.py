"""Write the table of lowerings in docs/lowerings.md, measured anew.

python ci/render_lowerings.py            write the table
python ci/render_lowerings.py --check    exit 1 if the table is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from mish_guard import files
from mish_guard.engines.emulator.profiles import PROFILES
from mish_guard.matrix.survey import survey
from mish_guard.models import lowerings
from mish_guard.report import upstream

TARGET = Path(__file__).resolve().parent.parent / "docs" / "lowerings.md"
BEGIN, END = "<!-- lowerings: python ci/render_lowerings.py -->", "<!-- lowerings end -->"


def main(arguments: list[str], target: Path = TARGET) -> int:
    """Write or check the table; returns the exit code."""
    old = target.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        print(f"{target.name} has lost the lines between which the table goes: {BEGIN} and {END}")
        return 1
    text = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if "--check" in arguments:
        command = "python ci/render_lowerings.py"
        print(f"{target.name} is fresh." if text == old else f"{target.name} is stale: run {command}")
        return int(text != old)
    files.write_atomically(target, text)
    print(f"Wrote {target.name}.")
    return 0


def table() -> str:
    """The table in Markdown."""
    return upstream.forms(survey(list(lowerings.TABLE), list(PROFILES)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
