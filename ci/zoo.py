"""Judge every animal of tests/zoo and print how many of each family were killed, survived, or were a false alarm.

    python ci/zoo.py [--write]     --write: also put the table into docs/trust.md

Ends with 1 unless everything bad was killed and everything good passed.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.zoo import test_zoo  # noqa: E402 - the tests are no installed package
from tests.zoo.animals import ANIMALS  # noqa: E402

_T = TypeVar("_T")

START, END = "<!-- zoo -->\n", "<!-- end of zoo -->"


def main(arguments: list[str]) -> int:
    """Judge, print, and return 0 where the table is as it has to be."""
    counts: dict[str, Counter[str]] = {}
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        baselines = _quietly(test_zoo.measure_baselines, Path(scratch) / "baselines")
        for number, animal in enumerate(ANIMALS):
            code = _quietly(test_zoo.judge, animal, Path(scratch) / str(number), baselines)
            word = ("passed" if code == 0 else "false alarm") if animal.good else ("killed" if code else "survived")
            counts.setdefault(animal.family, Counter())[word] += 1
            if word in ("survived", "false alarm"):
                wrong.append(f"{animal}: {word}, exit code {code}")
    table = _table(counts)
    sys.stdout.write("\n".join([table, *wrong, ""]))
    if "--write" in arguments:
        _write(table)
    return 1 if wrong else 0


def _quietly(function: Callable[..., _T], *given: object) -> _T:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return function(*given)


def _table(counts: dict[str, Counter[str]]) -> str:
    words = ("killed", "survived", "passed", "false alarm")
    head = ["| family | killed | survived | passed | false alarms |", "|---|---|---|---|---|"]
    rows = [f"| {family} | {' | '.join(str(found[word]) for word in words)} |" for family, found in counts.items()]
    return "\n".join([*head, *rows])


def _write(table: str) -> None:
    path = ROOT / "docs" / "trust.md"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    path.write_text(f"{before}{START}{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
