"""The commands of a page as it shows them, carried out: `$ command`, then lines of its output, … for the rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mish_guard

ROOT = Path(__file__).parent.parent.parent
# Beside the pages in a checkout, and elsewhere where a wheel is tested.
PACKAGE = Path(mish_guard.__file__).parent

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STATUS = "echo $?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command, the lines that the page shows of its output, and the exit code that it claims."""

    command: str
    shown: tuple[str, ...]
    code: int


def steps(page: Path) -> list[Step]:
    """Every command of a page in order; one that is not followed by `echo $?` has to end with 0."""
    told = [entry for block in _BLOCK.findall(page.read_text(encoding="utf-8")) for entry in _entries(block)]
    following = [*told[1:], ("", ())]
    return [
        Step(command=command, shown=shown, code=int(after[0]) if status == _STATUS else 0)
        for (command, shown), (status, after) in zip(told, following, strict=True)
        if command != _STATUS
    ]


def _entries(block: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *shown = entry.splitlines()
        yield command.partition("  #")[0], tuple(shown)


def perform(step: Step, folder: Path, python: Path = Path(sys.executable), **variables: str) -> None:
    """Carry a step out in `folder`, by the programs beside `python`, and compare what happens with the page."""
    environment = {**os.environ, **variables, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", step.command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == step.code, f"{step.command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    told = [_plain(line) for line in done.stdout.splitlines()]
    for line in step.shown:
        start = _plain(line.partition("…")[0])
        assert any(each.startswith(start) for each in told), (
            f"{step.command} does not say: {line}\n{done.stdout[-2000:]}"
        )


def _plain(line: str) -> str:
    return " ".join(line.split())


def checkout(folder: Path) -> Path:
    """A folder in which the paths of a page mean what they mean in a checkout, and new files disturb nobody."""
    for name in ("ci", "docs", "tests"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "mish_guard").symlink_to(PACKAGE)
    return folder
