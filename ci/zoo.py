"""Judge every animal of tests/zoo and print how many of each family were killed, survived, or were a false alarm.

    python ci/zoo.py [--write]     --write: also put the table into docs/trust.md
    python ci/zoo.py --check       judge nothing: 1 if the table of docs/trust.md is not that of today's animals

Ends with 1 unless everything bad was killed and everything good passed. A kill is the exit code 10 of `mish-guard
gate`; any other that is not 0 leaves a bad tree alive.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mish_guard.errors import ExitCode  # noqa: E402 - the tests are no installed package
from tests.zoo import test_zoo  # noqa: E402
from tests.zoo.animals import ANIMALS, Animal  # noqa: E402

START, END = "<!-- zoo -->\n", "<!-- end of zoo -->"
WORDS = ("killed", "survived", "passed", "false alarm")
AT_ONCE = 2


def main(arguments: list[str]) -> int:
    """Judge, print, and return 0 where the table is as it has to be."""
    if "--check" in arguments:
        return _check()
    with tempfile.TemporaryDirectory() as scratch:
        words = _judged(Path(scratch))
    table = _table(words)
    sys.stdout.write(f"{table}\n")
    if "--write" in arguments:
        _write(table)
    return int(not set(words.values()) <= {"killed", "passed"})


def _judged(scratch: Path) -> dict[Animal, str]:
    """What became of each animal, said as it is known."""
    baselines = test_zoo.measure_baselines(scratch / "baselines")

    def judged(number: int) -> str:
        animal, folder = ANIMALS[number], scratch / str(number)
        code = test_zoo.judge(animal, folder, baselines)
        shutil.rmtree(folder)
        word = _word(animal, code)
        sys.stderr.write(f"{number + 1}/{len(ANIMALS)} {animal}: {word}, exit code {code}\n")
        return word

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(ANIMALS, pool.map(judged, range(len(ANIMALS))), strict=True))


def _word(animal: Animal, code: int) -> str:
    if animal.good:
        return "passed" if code == ExitCode.PASS else "false alarm"
    return "killed" if code == ExitCode.FAIL else "survived"


def _table(words: Mapping[Animal, str]) -> str:
    counts: dict[str, Counter[str]] = {}
    for animal, word in words.items():
        counts.setdefault(animal.family, Counter())[word] += 1
    head = ["| family | killed | survived | passed | false alarms |", "|---|---|---|---|---|"]
    rows = [f"| {family} | {' | '.join(str(found[word]) for word in WORDS)} |" for family, found in counts.items()]
    return "\n".join([*head, *rows])


def _check() -> int:
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    due = _table({animal: "passed" if animal.good else "killed" for animal in ANIMALS})
    if f"{START}{due}\n{END}" in text:
        return 0
    sys.stdout.write("docs/trust.md does not have the table of today's zoo: run python ci/zoo.py --write\n")
    return 1


def _write(table: str) -> None:
    path = ROOT / "docs" / "trust.md"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    path.write_text(f"{before}{START}{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
