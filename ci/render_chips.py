"""Write the table of measured chips in docs/neural-engine.md from the baselines in mish_guard/data/baselines.

python ci/render_chips.py            write the table
python ci/render_chips.py --check    exit 1 if the table is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from mish_guard import files
from mish_guard.errors import UnreadableFileError
from mish_guard.report import chips
from mish_guard.results import baseline


def main(arguments: list[str], target: Path = chips.PAGE, folder: Path = baseline.SHIPPED) -> int:
    """Write or check the table; returns the exit code."""
    old = target.read_text(encoding="utf-8")
    try:
        text = chips.page(old, folder)
    except UnreadableFileError as error:
        print(error)
        return 1
    if "--check" in arguments:
        print(f"{target.name} is fresh." if text == old else f"{target.name} is stale: run python ci/render_chips.py")
        return int(text != old)
    files.write_atomically(target, text)
    print(f"Wrote {target.name}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
