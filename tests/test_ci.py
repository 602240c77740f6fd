"""The commands that people type: `ci/gate` from end to end, in the environment that `ci/environment` made."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mish_guard.errors import ExitCode

ROOT = Path(__file__).parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / ".venv" / "ready").exists(), reason="ci/gate would make an environment first; ci/test has one"
    ),
]


def gate(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "ci" / "gate", *map(str, arguments)], cwd="/", capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--coremltools"], "--coremltools wants a source: git:URL@REF, dir:PATH or sdist:VERSION"),
        (["--coremltools="], "'' is no source of coremltools"),
        (["--lowering"], "--lowering wants a name"),
        (["--native"], "--native wants a name"),
        (["--lowering="], "No lowering is called ''"),
        (["--lowering", "relu"], "No lowering is called 'relu'"),
        (["--coremltools", "svn:x"], "'svn:x' is no source of coremltools"),
        (["--coremltools", "dir:/nowhere"], "'/nowhere' is no coremltools source tree"),
    ],
)
def test_a_mistake_ends_with_2_before_anything_is_judged(arguments: list[str], complaint: str) -> None:
    ended = gate(*arguments)
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_pinned_tree_is_built_and_judged(small_matrix: Path, tmp_path: Path) -> None:
    """On a few of the cells, so that the others are lost; tests/docs/test_commands.py has the tree without a repair."""
    ended = gate("--matrix", small_matrix, "--profile", "ane", "--out", tmp_path, "--format", "json")
    judged: dict[str, Any] = json.loads(ended.stdout)
    assert (ended.returncode, judged["exit_code"], judged["armed"]) == (ExitCode.LOST, ExitCode.LOST, True)
    candidate = judged["candidate"]
    assert candidate["coremltools"].startswith("9.0+mish.exp.g")
    assert (candidate["lowering"], candidate["source"], candidate["native"]) == ("as-is", "sdist:9.0", "reuse")
    assert Path(candidate["path"]).is_relative_to(ROOT / "build" / "environments")
    assert [each for each in judged["findings"] if each["defect"] is not None] == []


def test_a_tree_with_the_defect_is_green_beside_the_same_tree(small_matrix: Path, tmp_path: Path) -> None:
    """A fork of today, on a change that makes nothing worse."""
    options = ("--lowering", "as-is", "--base", "sdist:9.0", "--matrix", small_matrix, "--profile", "ane")
    ended = gate(*options, "--out", tmp_path, "--format", "json")
    judged = json.loads(ended.stdout)
    assert (ended.returncode, judged["verdict"], judged["armed"]) == (ExitCode.PASS, "PASS", True)
    assert judged["reason"].startswith("no worse than the base tree, which itself is over a ceiling or fails at 1 cell")
    assert judged["reason"].endswith("the base tree itself shows MISH-SOFTPLUS-CLIFF")


def test_the_suite_starts_on_a_virtual_mac() -> None:
    command = [str(ROOT / "ci" / "test"), "--on-mac", "--collect-only", "-q", "tests/test_device.py"]
    started = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert started.returncode == 0, started.stdout[-500:] + started.stderr[-500:]
    assert "tests/test_device.py::test_a_mac_says_what_it_is" in started.stdout


def test_the_key_of_the_cache_is_that_of_the_tree_that_was_named() -> None:
    told = [
        subprocess.run([ROOT / "ci" / "candidate", *words], capture_output=True, text=True, check=True).stdout
        for words in (
            ("--print-cache-key", "--coremltools", f"dir:{ROOT / 'tests' / 'cmake_project'}"),
            ("--coremltools", f"dir:{ROOT / 'tests' / 'cmake_project'}", "--print-cache-key"),
            ("--print-cache-key",),
        )
    ]
    assert all(line.startswith("key=native-") for line in told)
    assert told[0] == told[1] != told[2]


def test_the_yardstick_of_the_bench_is_there(tmp_path: Path) -> None:
    """coremltools' own tests of mish, which the gate is timed against, are found from inside a checkout."""
    command = runpy.run_path(str(ROOT / "ci" / "bench.py"))["_coremltools_tests"](tmp_path)
    collected = subprocess.run([*command, "--collect-only"], cwd=tmp_path, capture_output=True, text=True)
    assert collected.returncode == 0, collected.stdout[-500:]
    assert collected.stdout.count("test_mish") >= 10


@pytest.mark.parametrize("spell", [["--out", "{}"], ["--out={}"], []])
def test_a_build_that_fails_leaves_no_verdict_of_an_older_run(tmp_path: Path, spell: list[str]) -> None:
    out = tmp_path / ("out" if spell else "mish-guard-out")
    out.mkdir()
    for name in ("report.json", "summary.md"):
        (out / name).write_text("old")
    options = [part.format(out) for part in spell]
    command = [str(ROOT / "ci" / "gate"), *options, "--coremltools", "dir:/nowhere"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == ExitCode.USAGE
    assert not list(out.iterdir())
