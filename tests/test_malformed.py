"""Mistakes in files: each ends with 2 and one line, whatever command reads it, and leaves nothing behind.

Every option of every command that names a file or a folder to be read is tried with every mistake of its kind: in
process, and with the teeth through the command line. `ci/bench.py` holds how long that may take to say so.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from mish_guard import cli
from mish_guard.errors import ExitCode
from mish_guard.models import controls
from tests import hostile
from tests.conftest import Ended, Invoke
from tests.mistakes import ARRAYS, GARBAGE, PYTHONS, RECORDS, YAML
from tests.report.conftest import BASELINES, results

CELL = "sweep/mish-k3/torchscript/mlprogram-fp16@ane"


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A file option: the mistakes it is tried with, the name of the file, and what is typed."""

    mistakes: Mapping[str, bytes]
    name: str
    arguments: Callable[[Path, Path], list[Any]]


def _json(arguments: Callable[[Path, Path], list[Any]], name: str = "emulator-ane.json") -> Try:
    return Try(mistakes=GARBAGE, name=name, arguments=arguments)


def _matrix(*command: Any) -> Try:
    return Try(
        mistakes=YAML, name="odd.yml", arguments=lambda file, out: [*command, "--matrix", file, *_out(command, out)]
    )


def _stored(*command: Any, option: str) -> Try:
    return _json(lambda file, out: [*command, option, file.parent, *_out(command, out)])


def _python(*command: Any, option: str = "--candidate") -> Try:
    return Try(
        mistakes=PYTHONS, name="python", arguments=lambda file, out: [*command, option, file, *_out(command, out)]
    )


def _controls(*command: Any) -> Try:
    return Try(
        mistakes=RECORDS,
        name=controls.MANIFEST,
        arguments=lambda file, out: [*command, "--controls", file.parent, *_out(command, out)],
    )


def _out(command: tuple[Any, ...], out: Path) -> list[Any]:
    return ["--out", out] if command[0] in ("gate", "run", "refresh", "explain", "measure", "upstream") else []


REFRESH = ("refresh", "--reason", "x")
JUDGE = ("judge", results("pass"))
COMPARE = ("compare", results("pass"))
REPORT = ("report", results("pass"), "--md")

TRIES: dict[tuple[str, str], Try] = {
    ("judge", "results"): _json(lambda file, _: ["judge", file]),
    ("compare", "first"): _json(lambda file, _: ["compare", file, results("pass")]),
    ("compare", "second"): _json(lambda file, _: ["compare", results("pass"), file]),
    ("report", "results"): _json(lambda file, out: ["report", file, "--md", "--out", out / "report.md"]),
    ("diff-baselines", "before"): _json(lambda file, _: ["diff-baselines", file.parent, BASELINES]),
    ("diff-baselines", "after"): _json(lambda file, _: ["diff-baselines", BASELINES, file.parent]),
    ("store", "file"): _json(lambda file, out: ["store", file, "--reason", "x", "--baselines", out / "kept"]),
    ("explain", "out"): _json(lambda file, _: ["explain", CELL, "--out", file.parent], name="results.json"),
    **{(each[0], "baselines"): _stored(*each, option="--baselines") for each in (JUDGE, COMPARE, REPORT, REFRESH)},
    **{(each[0], "base"): _stored(*each, option="--base-baselines") for each in (JUDGE, COMPARE, REPORT)},
    ("gate", "baselines"): _stored("gate", option="--baselines"),
    ("gate", "base"): _stored("gate", option="--base-baselines"),
    ("explain", "baselines"): _stored("explain", CELL, option="--baselines"),
    **{(each[0], "matrix"): _matrix(*each) for each in (("gate",), ("run",), REFRESH, ("cells",), ("measure",))},
    ("explain", "matrix"): _matrix("explain", CELL),
    **{(each[0], "controls"): _controls(*each) for each in (("gate",), ("run",), REFRESH)},
    **{(each[0], "candidate"): _python(*each) for each in (("gate",), ("run",), REFRESH, ("measure",), ("upstream",))},
    ("explain", "candidate"): _python("explain", CELL),
    **{(each[0], "against"): _python(*each, option="--against") for each in (("gate",), ("run",), REFRESH)},
    ("scan", "model"): Try(mistakes=GARBAGE, name="odd.mlmodel", arguments=lambda file, _: ["scan", file]),
    ("predict", "model"): Try(
        mistakes=GARBAGE,
        name="odd.mlmodel",
        arguments=lambda file, out: ["predict", file, "--input", "random:1", "--out", out / "out.npz"],
    ),
    ("scan", "given"): Try(
        mistakes=ARRAYS, name="x.npy", arguments=lambda file, _: ["scan", hostile.GOOD, "--input", file]
    ),
    ("predict", "given"): Try(
        mistakes=ARRAYS,
        name="x.npz",
        arguments=lambda file, out: ["predict", hostile.GOOD, "--input", file, "--out", out / "out.npz"],
    ),
}

# What is written, not read; tests/report/test_files.py tries folders that cannot be.
WRITTEN = {("store", "baselines"), ("rebuild-controls", "controls")}


def _named() -> Iterator[tuple[str, str]]:
    """Every option and argument that names a file or a folder, and inputs of models, which are files by their text."""
    for name, command in cli.cli.commands.items():
        for each in command.params:
            is_file = isinstance(each.type, click.Path) and each.name not in ("out", "report")
            if is_file or each.name == "given":
                yield name, str(each.name)


def test_every_file_that_a_command_reads_is_tried() -> None:
    assert set(_named()) - WRITTEN == TRIES.keys() - {("explain", "out")}
    assert sum(len(_chosen(each)) for each in TRIES) >= 300


def _chosen(tried: tuple[str, str]) -> dict[str, bytes]:
    """Every mistake where a kind of file is read first, a quarter of them by turns for the other options."""
    mistakes, number = TRIES[tried].mistakes, list(TRIES).index(tried)
    is_first = tried in (("judge", "results"), ("cells", "matrix"), ("predict", "model"), ("predict", "given"))
    return dict(mistakes if is_first or len(mistakes) < 4 else list(mistakes.items())[number % 4 :: 4])


def complaint(ended: Ended, out: Path, place: str) -> str | None:
    """What is not as it should be after a command was given a file with a mistake; None if all is."""
    wrong = {
        f"ended with {ended.code}": ended.code != ExitCode.USAGE,
        f"printed {ended.out!r}": ended.out != "",
        "names no place": place not in ended.err,
        "is not one line": len(ended.err.splitlines()) != 1,
        "prints control characters": any(ord(each) < 32 and each != "\n" for each in ended.err),
        "left files": any(out.rglob("*")),
    }
    found = [what for what, is_so in wrong.items() if is_so]
    return f"{', '.join(found)}: {ended.err[-300:]}" if found else None


def typed(tried: tuple[str, str], kind: str, folder: Path) -> tuple[Path, list[str]]:
    """A folder that is empty, and what is typed there to give a command the file with a mistake of this kind."""
    each = TRIES[tried]
    inside, out = folder / "in", folder / "out"
    inside.mkdir(parents=True)
    out.mkdir()
    (inside / each.name).write_bytes(each.mistakes[kind])
    return out, list(map(str, each.arguments(inside / each.name, out)))


def _complaints(tried: tuple[str, str], folder: Path, run: Callable[[Path, list[str]], Ended]) -> dict[str, str]:
    """What is not as it should be, by the kind of the mistake."""
    found = {}
    for number, kind in enumerate(_chosen(tried)):
        out, arguments = typed(tried, kind, folder / str(number))
        found[kind] = complaint(run(out, arguments), out, TRIES[tried].name)
    return {kind: wrong for kind, wrong in found.items() if wrong is not None}


@pytest.mark.parametrize("tried", TRIES, ids=" ".join)
def test_a_file_with_a_mistake_is_told(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: tuple[str, str]
) -> None:
    def run(out: Path, arguments: list[str]) -> Ended:
        monkeypatch.chdir(out)
        return invoke(*arguments)

    assert _complaints(tried, tmp_path, run) == {}


@pytest.mark.teeth
@pytest.mark.parametrize("tried", TRIES, ids=" ".join)
def test_the_command_line_tells_it_as_well(tmp_path: Path, tried: tuple[str, str]) -> None:
    def run(out: Path, arguments: list[str]) -> Ended:
        command = [sys.executable, "-I", "-m", "mish_guard", *arguments]
        done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
        return Ended(done.returncode, done.stdout, done.stderr)

    assert _complaints(tried, tmp_path, run) == {}
