"""A user's own activation: the example of its page runs, and a wrong or a cunning one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mish_guard.errors import ExitCode, UnreadableFileError, UsageError
from mish_guard.matrix import plan
from mish_guard.models import networks
from mish_guard.models.own import Own
from mish_guard.results import run_file
from tests import trees
from tests.conftest import Invoke

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parent.parent / "docs" / "own-activations.md"


def _example(folder: Path) -> Path:
    """The two files of the page; returns the matrix."""
    for language, name in (("python", "my_activations.py"), ("yaml", "matrix.yml")):
        (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
        (folder / name).write_text(found)
    return folder / "matrix.yml"


def _own(folder: Path, text: str) -> Own:
    name = f"mine_{folder.name}".replace("-", "_")
    (folder / f"{name}.py").write_text(text)
    return Own(name="mine", module=f"{name}.Act", reference=f"{name}.want", folder=str(folder))


def test_the_example_of_the_page_runs(invoke: Invoke, tmp_path: Path) -> None:
    arguments = ("--profile", "ane", "--baselines", tmp_path / "mine", "--out", tmp_path / "out")
    ended = invoke("gate", "--matrix", _example(tmp_path), *arguments)
    run = run_file.read_run(tmp_path / "out" / "results.json")
    cell = run.measurements["sweep/gelu/torchscript/mlprogram-fp16@ane"]
    assert ended.code == ExitCode.NO_BASELINE, ended.out
    assert cell.figures is not None
    assert cell.figures.bad_intervals == ()


def test_a_tree_that_converts_it_badly_fails_and_its_cell_is_named(invoke: Invoke, tmp_path: Path) -> None:
    matrix = _example(tmp_path)
    text = trees.source()
    head, name, rest = text.partition("def gelu(context, node):\n")
    assert name
    bad = "    context.add(mb.relu(x=_get_inputs(context, node)[0], name=node.name))\n    return\n"
    tree = trees.tree(tmp_path / "tree", {trees.OPS: f"{head}{name}{bad}{rest}"})
    ended = invoke("gate", "--candidate", tree, "--matrix", matrix, "--profile", "ane", "--out", tmp_path / "out")
    assert ended.code == ExitCode.FAIL, ended.out
    assert "sweep/gelu/" in ended.out


def test_nothing_but_the_named_file_is_taken_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "colorsys_of_mine.py").write_text("raise SystemExit(3)")
    own = _own(tmp_path, "import colorsys_of_mine\n")
    with pytest.raises(UsageError, match="No module named 'colorsys_of_mine'"):
        own.build()


def test_a_reference_cannot_ask_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "coremltools", raising=False)
    own = _own(tmp_path, "def want(x):\n    import coremltools\n    return x\n")
    with pytest.raises(UsageError, match="must not import coremltools"):
        own.want(np.zeros(3))


def test_a_reference_of_another_shape_or_type_is_refused(tmp_path: Path) -> None:
    own = _own(tmp_path, "def want(x):\n    return x.sum(keepdims=True) if x.size > 3 else x > 0\n")
    with pytest.raises(UsageError, match="bool of shape"):
        own.want(np.zeros(3))
    with pytest.raises(UsageError, match=r"of shape \(1,\)"):
        own.want(np.zeros(4))


@pytest.mark.parametrize("module", ["coremltools.Act", "torch.nn.Mish", "json.Act"])
def test_a_file_that_takes_the_name_of_another_is_refused(module: str, tmp_path: Path) -> None:
    own = Own(name="mine", module=module, reference=module, folder=str(tmp_path))
    with pytest.raises(UsageError, match="must not be called"):
        own.build()


def test_a_name_that_is_taken_or_no_name_is_told(tmp_path: Path) -> None:
    taken = Own(name="mish-k3", module="a.B", reference="a.c", folder=str(tmp_path))
    with pytest.raises(UsageError, match="'mish-k3' is a case of mish-guard"):
        networks.add(taken)
    matrix = tmp_path / "matrix.yml"
    matrix.write_text(_example(tmp_path).read_text().replace("my_activations.gelu}", "my_activations}"))
    with pytest.raises(UnreadableFileError, match="activations/gelu/reference"):
        plan.load(matrix, [])
