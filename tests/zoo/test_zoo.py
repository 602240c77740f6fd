"""Every animal of the zoo through the command line: what is bad is killed, what is good passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mish_guard.errors import ExitCode
from tests import trees
from tests.zoo.animals import ANIMALS, Animal

MATRIX = """
schema_version: 1
groups:
  - {family: sweep, cases: [mish-k1], frontends: [torchscript, export], backends: [mlprogram-fp16]}
  - {family: sweep, cases: [mish-k1], frontends: [torchscript], backends: [neuralnetwork]}
  - {family: surface, cases: [rank-2], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: stability, cases: [scale-11.0], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: sweep, role: graft, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: sweep, role: negative-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
  - {family: sweep, role: positive-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
"""


def judge(animal: Animal, folder: Path, baselines: Path) -> int:
    """The exit code of the gate for one animal, over a few cells at the profile ane."""
    matrix = folder / "matrix.yml"
    folder.mkdir(exist_ok=True)
    matrix.write_text(MATRIX)
    tree = trees.tree(folder / "tree", animal.files)
    named = {"candidate": tree, "matrix": matrix, "baselines": baselines, "out": folder / "out", "profile": "ane"}
    return _command("gate", *(f"--{name}={value}" for name, value in named.items()), *animal.options)


def measure_baselines(folder: Path) -> Path:
    """Baselines of these cells, measured through the good form."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = folder / "matrix.yml"
    matrix.write_text(MATRIX)
    where = [f"--baselines={folder / 'baselines'}", f"--out={folder / 'out'}", f"--matrix={matrix}"]
    code = _command("refresh", "--reason=zoo", "--repeats=2", "--lowering=exp", "--profile=ane", *where)
    if code:
        sys.exit(code)
    return folder / "baselines"


def _command(*words: str) -> int:
    return subprocess.run([sys.executable, "-I", "-m", "mish_guard", *words], capture_output=True).returncode


@pytest.fixture(scope="session")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measure_baselines(tmp_path_factory.mktemp("zoo"))


def test_the_zoo_is_large_enough() -> None:
    assert sum(not animal.good for animal in ANIMALS) >= 60
    assert sum(animal.good for animal in ANIMALS) >= 20
    assert len({str(animal) for animal in ANIMALS}) == len(ANIMALS)


@pytest.mark.teeth
@pytest.mark.parametrize("animal", ANIMALS, ids=str)
def test_what_is_bad_is_killed_and_what_is_good_passes(animal: Animal, baselines: Path, tmp_path: Path) -> None:
    assert judge(animal, tmp_path / "zoo", baselines) == (ExitCode.PASS if animal.good else ExitCode.FAIL)
