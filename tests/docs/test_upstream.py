"""The tutorial from red to green, and the kit for coremltools that it makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mish_guard import cli
from mish_guard.errors import ExitCode
from mish_guard.report import upstream
from tests import trees, virtual_mac
from tests.docs import console

pytestmark = pytest.mark.slow

STEPS = console.steps(console.ROOT / "docs" / "tutorial.md")
TEST = Path("coremltools/converters/mil/frontend/torch/test") / upstream.TEST


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which every step of the tutorial but the last was done: `fork`, repaired, and `kit`."""
    folder = tmp_path_factory.mktemp("tutorial")
    for step in STEPS[:-1]:
        console.perform(step, folder)
    return folder


@pytest.fixture(scope="module")
def patched(tutorial: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean tree to which git applied the patch."""
    tree = trees.tree(tmp_path_factory.mktemp("patched"), {trees.OPS: trees.source()})
    subprocess.run(["git", "apply", tutorial / "kit" / upstream.PATCH], cwd=tree, check=True)
    return tree


def _tested(tree: Path, test: Path, python: Path = Path(sys.executable)) -> tuple[int, str]:
    command = [str(python), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-W", "ignore", str(test)]
    environment = {"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_the_tutorial_turns_red_into_green(tutorial: Path) -> None:
    """The last step judges the whole matrix by the stored baselines, which have to be those of this emulator."""
    assert 10 in [step.code for step in STEPS[:-1]]
    assert STEPS[-1].code == 0
    console.perform(STEPS[-1], tutorial)


def test_the_test_passes_in_the_patched_tree(patched: Path) -> None:
    code, said = _tested(patched, patched / TEST)
    assert code == 0, said
    assert "1 passed, 1 skipped" in said


def test_the_test_fails_without_the_patch(tutorial: Path, tmp_path: Path) -> None:
    code, said = _tested(trees.tree(tmp_path, {}), tutorial / "kit" / upstream.TEST)
    assert code == 1, said
    assert "wrong from x = 10.3984375 on" in said or "wrong from x = 10.4" in said


@pytest.mark.parametrize(
    ("scenario", "is_patched", "says"),
    [
        ("m3-max", True, "2 passed"),
        ("m3-max", False, "2 failed"),
        ("never-placed", False, "is not placed on a Neural Engine"),
    ],
)
def test_on_a_mac_it_counts_only_where_it_could_fail(
    tutorial: Path, patched: Path, tmp_path: Path, scenario: str, is_patched: bool, says: str
) -> None:
    tree = patched if is_patched else trees.tree(tmp_path / "tree", {})
    python = virtual_mac.interpreter(virtual_mac.SCENARIOS / f"{scenario}.yml", tmp_path / "mac")
    _, said = _tested(tree, tutorial / "kit" / upstream.TEST, python)
    assert says in said, said


def test_the_pages_hold_what_was_measured(tutorial: Path) -> None:
    evidence = (tutorial / "kit" / upstream.EVIDENCE).read_text()
    assert "| `softplus` | ane | [10.3984375, 65504.0] | 13005 |" in evidence
    assert "| `nested` | ane | nowhere | 0 |" in evidence
    assert "https://github.com/apple/coremltools/issues/2687" in evidence
    table = (tutorial / "kit" / upstream.LOWERINGS).read_text()
    assert "**`nested`** (recommended)" in table


def test_a_tree_that_is_repaired_gets_no_kit(patched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["upstream", "--candidate", str(patched), "--out", str(tmp_path / "kit")]
    assert cli.main(arguments) == ExitCode.USAGE
    assert "holds the lowering 'nested' already" in capsys.readouterr().err
    assert not (tmp_path / "kit").exists()
