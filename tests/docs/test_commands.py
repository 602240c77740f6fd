"""What the pages tell people to type does what they say."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from mish_guard.candidate import source
from mish_guard.errors import ExitCode
from tests import trees, virtual_mac
from tests.docs import console
from tests.docs.console import ROOT, Step

README = ROOT / "README.md"

# Minutes, a Mac, or trees of the reader: carried out with four cells, a virtual Mac, copies of the release, by the code
# that each ends with there.
HEAVY = {
    "ci/gate --coremltools dir:../coremltools --lowering as-is": ExitCode.FAIL,
    "mish-guard gate --candidate fork --against base": ExitCode.PASS,
    "ci/doctor": ExitCode.PASS,
    "mish-guard gate --engine coreml": ExitCode.FAIL,
}

wants_environment = pytest.mark.skipif(
    not (ROOT / ".venv" / "ready").exists(), reason="ci/environment would make one first; ci/test has one"
)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "fewest"), [("README.md", 5), ("docs/scan.md", 1)])
def test_a_page_does_what_it_says(page: str, fewest: int, tmp_path: Path) -> None:
    folder = console.checkout(tmp_path)
    done = [step for step in console.steps(ROOT / page) if step.command not in HEAVY]
    assert len(done) >= fewest
    for step in done:
        console.perform(step, folder)


def _heavy(command: str) -> Step:
    """A step of the README by its command, with the code that it ends with here."""
    (step,) = [step for step in console.steps(README) if step.command == command]
    return dataclasses.replace(step, code=HEAVY[command])


def _with_environment(folder: Path, environment: Path) -> Path:
    """A checkout in `folder` whose environment was made already."""
    console.checkout(folder)
    (folder / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    (folder / ".venv").symlink_to(environment)
    return folder


@pytest.mark.slow
@wants_environment
def test_a_clone_of_ones_own_is_built_and_judged(small_matrix: Path, tmp_path: Path) -> None:
    source.fetch(source.parse("sdist:9.0"), tmp_path / "coremltools", ROOT / "build" / "downloads")
    (tmp_path / "mish-guard").mkdir()
    folder = _with_environment(tmp_path / "mish-guard", ROOT / ".venv")
    step = _heavy("ci/gate --coremltools dir:../coremltools --lowering as-is")
    console.perform(step, folder, MISH_GUARD_MATRIX=str(small_matrix), MISH_GUARD_PROFILE="ane")
    judged = json.loads((folder / "mish-guard-out" / "report.json").read_text())
    assert judged["candidate"]["source"] == f"dir:{tmp_path / 'coremltools'}"
    found = [each["cell"] for each in judged["findings"] if each["defect"] == "MISH-SOFTPLUS-CLIFF"]
    assert found == ["sweep/mish-k3/torchscript/mlprogram-fp16@ane"]


@pytest.mark.slow
def test_a_fork_is_judged_beside_its_base(small_matrix: Path, tmp_path: Path) -> None:
    for name in ("fork", "base"):
        trees.tree(tmp_path / name, {})
    step = _heavy("mish-guard gate --candidate fork --against base")
    console.perform(step, tmp_path, MISH_GUARD_MATRIX=str(small_matrix), MISH_GUARD_PROFILE="ane")


@pytest.mark.slow
@wants_environment
def test_a_mac_is_examined_and_measured(small_matrix: Path, tmp_path: Path) -> None:
    python = virtual_mac.interpreter(virtual_mac.SCENARIOS / "m3-max.yml", tmp_path)
    program, home = python.with_name("mish-guard"), python.parent.parent
    program.write_text(f'#!/bin/sh\nexec {python} -I -m mish_guard "$@"\n')
    program.chmod(0o755)
    shutil.copy(ROOT / ".venv" / "ready", home)
    (tmp_path / "checkout").mkdir()
    folder = _with_environment(tmp_path / "checkout", home)
    console.perform(_heavy("ci/doctor"), folder)
    only = {"MISH_GUARD_MATRIX": str(small_matrix), "MISH_GUARD_PROFILE": "cpu-and-ne", "MISH_GUARD_ENGINE": "auto"}
    console.perform(_heavy("mish-guard gate --engine coreml"), folder, python, **only)


def test_a_page_that_shows_what_is_not_said_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="does not say: two"):
        console.perform(Step(command="echo one", shown=("two",), code=0), tmp_path)
    with pytest.raises(AssertionError):
        console.perform(Step(command="exit 3", shown=(), code=0), tmp_path)
