"""Softplus hidden behind one road, for every road of the matrix: the gate fails and names that road first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from mish_guard.candidate import locate
from mish_guard.errors import ExitCode
from mish_guard.matrix import plan
from mish_guard.matrix.plan import Place
from mish_guard.models import nets, roads
from mish_guard.records import Backend, Family, Frontend
from tests import trees
from tests.conftest import Ended, Invoke
from tests.zoo.animals import when

MATRIX = """
schema_version: 1
groups:
  - {{family: sweep, role: graft, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}}
  - {{family: sweep, role: negative-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}}
  - {{family: sweep, role: positive-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}}
roads:
  places: [ane]
  routes:
    - {{calls: [units-cpu], nets: [conv], frontends: [torchscript], backends: [mlprogram-fp16]}}
    - {{calls: [{call}], nets: [{net}], frontends: [{frontend}], backends: [{backend}]}}
"""

# What a tree can find out about the call that it serves: who called, and how often mish came before.
WHICH = """    import sys
    frame = sys._getframe()
    while frame.f_code.co_name != "convert_recipe":
        frame = frame.f_back
    recipe = frame.f_locals["recipe"]
    context.mish_seen = getattr(context, "mish_seen", -1) + 1
"""


# Where coremltools is not asked for mish: PyTorch has taken it apart, or the user has.
BY_HAND = (Frontend.EXPORT_DECOMPOSED, Frontend.MIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """One branch of a net on its road."""

    call: str
    net: str
    branch: str
    frontend: Frontend
    backend: Backend

    def __str__(self) -> str:
        return f"{self.call}+{self.net}+{self.branch}/{self.frontend.value}/{self.backend.value}"

    @property
    def has_no_cliff(self) -> bool:
        """Whether softplus computes in single precision, or while it is converted: the results are those of mish."""
        is_single = self.backend is Backend.MLPROGRAM_FP32 or self.call in ("pipeline-empty", "pipeline-cleanup")
        return is_single or self.branch == "constant"

    @property
    def condition(self) -> str:
        """When the tree emits softplus: at the activations of this branch, on this road."""
        case = roads.case(f"{self.call}+{self.net}+{self.branch}")
        branches, number = case.carried.branches, case.output
        before = sum(_activations(branch) for branch in branches[:number])
        here = range(before, before + _activations(branches[number]))
        asked = (case.model, self.frontend.value, self.backend.value)
        return f"(recipe.model, recipe.frontend.value, recipe.backend.value) == {asked} and context.mish_seen in {here}"


class _Counting(TorchFunctionMode):
    """Counts the calls of mish."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.nn.functional.mish
        return func(*args, **(kwargs or {}))


def _activations(branch: Any) -> int:
    """How often a branch applies mish."""
    with _Counting() as counting, torch.no_grad():
        nets.Path(branch).eval()(torch.zeros(branch.shape))
    count: int = counting.count
    assert count
    return count


def _all() -> list[Road]:
    """Every branch of the plainest way to convert, and one branch, by turns, of every other road."""
    cells = plan.load(plan.DEFAULT, [Place(name="ane", is_neural_engine=True)], locate.offered(trees.INSTALLED))
    found: dict[tuple[Any, ...], list[Road]] = {}
    for cell in cells:
        key = cell.key
        if key.family is Family.ROADS and key.frontend not in BY_HAND:
            call, net, branch = key.case.split(roads.SEPARATOR)
            road = Road(call=call, net=net, branch=branch, frontend=key.frontend, backend=key.backend)
            found.setdefault((call, net, key.frontend, key.backend), []).append(road)
    plainest = ("default", Frontend.TORCHSCRIPT, Backend.MLPROGRAM_FP16)
    return [
        road
        for number, (way, branches) in enumerate(found.items())
        for road in (branches if (way[0], *way[2:]) == plainest else [branches[number % len(branches)]])
    ]


ROADS = _all()


def _gated(road: Road, invoke: Invoke, folder: Path, *options: str) -> Ended:
    matrix = folder / "matrix.yml"
    names = {"call": road.call, "net": road.net, "frontend": road.frontend.value, "backend": road.backend.value}
    matrix.write_text(MATRIX.format(**names))
    tree = trees.tree(folder / "tree", trees.with_mish(WHICH + when(road.condition, trees.RELEASED)))
    arguments = ["--candidate", tree, "--matrix", matrix, "--profile", "ane", "--out", folder / "out"]
    return invoke("gate", *arguments, *options)


def _check(road: Road, invoke: Invoke, folder: Path) -> None:
    ended = _gated(road, invoke, folder)
    assert ended.code == ExitCode.FAIL, ended.out
    worst = next(line for line in ended.out.splitlines() if line.startswith("worst"))
    assert f"roads/{road}@ane" in worst


@pytest.mark.slow
def test_softplus_behind_the_default_call_alone_is_found(invoke: Invoke, tmp_path: Path) -> None:
    _check(ROADS[0], invoke, tmp_path)


@pytest.mark.teeth
@pytest.mark.parametrize("road", [road for road in ROADS[1:] if not road.has_no_cliff], ids=str)
def test_softplus_behind_one_road_is_found(road: Road, invoke: Invoke, tmp_path: Path) -> None:
    _check(road, invoke, tmp_path)


@pytest.mark.teeth
@pytest.mark.parametrize("road", [road for road in ROADS if road.has_no_cliff], ids=str)
def test_softplus_that_has_no_cliff_is_as_good_as_the_rest(road: Road, invoke: Invoke, tmp_path: Path) -> None:
    ended = _gated(road, invoke, tmp_path, "--format", "json")
    # The rest of the matrix is not measured here, which is all that there is to say.
    assert ended.code == ExitCode.LOST, ended.out
    assert {each["status"] for each in ended.json["findings"]} <= {"lost", "new"}
    assert f"roads/{road}@ane" not in {each["cell"] for each in ended.json["findings"]}
