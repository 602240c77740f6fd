"""The page that says why to trust the gate."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.docs.console import ROOT

PAGE = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")


def test_every_fault_names_a_test_that_is_there() -> None:
    named = re.findall(r"\| `(test_\w+)` \|", PAGE)
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) == sum(line.startswith("| ") for line in PAGE.split("## Faults")[1].splitlines()) - 1
    assert [name for name in named if f"def {name}(" not in sources] == []


@pytest.mark.parametrize("table", ["zoo", "mutate"])
def test_a_table_of_the_page_is_that_of_todays_files(table: str) -> None:
    done = subprocess.run([sys.executable, ROOT / "ci" / f"{table}.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


NUMBERS = ("mish_guard/numerics/reference.py", ("tests/numerics", "tests/test_numerics.py"), (41, 40, 1, 0), 0)
# What reads weights imports the emulator and carries nothing out.
NOT_RUN = ("mish_guard/engines/emulator/sequence.py", ("tests/emulator/test_blobs.py",), (95, 0, 1, 94), 1)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "tests", "row", "code"), [NUMBERS, NOT_RUN])
def test_an_edit_survives_where_no_test_looks_and_nowhere_else(
    file: str, tests: tuple[str, ...], row: tuple[int, ...], code: int
) -> None:
    command = [sys.executable, str(ROOT / "ci" / "mutate.py"), file, "--tests", *tests]
    done = subprocess.run(command, capture_output=True, text=True)
    assert f"| `{file}` | {' | '.join(map(str, row))} |" in done.stdout, done.stderr
    assert done.returncode == code
