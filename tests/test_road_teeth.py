"""Softplus hidden behind one road: the gate fails, and what it names first is that road."""

from __future__ import annotations

from pathlib import Path

import pytest

from mish_guard.errors import ExitCode
from tests import trees
from tests.conftest import Invoke
from tests.zoo.animals import GIVEN, when

MATRIX = """
schema_version: 1
groups:
  - {{family: sweep, role: graft, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}}
  - {{family: sweep, role: negative-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}}
  - {{family: sweep, role: positive-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}}
roads:
  places: [ane]
  routes:
    - {{calls: [skip-load], nets: [plain], frontends: [torchscript], backends: [mlprogram-fp16]}}
    - {{calls: [{call}], nets: [{net}], frontends: [torchscript], backends: [{backend}]}}
"""

HALF, NEURAL = "mlprogram-fp16", "neuralnetwork"
TARGET = "given['minimum_deployment_target'] is not None and given['minimum_deployment_target'].name == '{}'"
AFTER = "x.op is not None and x.op.op_type == '{}'"

# `pipeline-empty` cannot be here: without passes a program stays in single precision, where softplus has no cliff.
# The road that is taken, the branch that must be named, and when the tree emits softplus.
ROADS = [
    ("default", "plain", HALF, "plain", "not given['skip_model_load']"),
    *((f"target-{name}", "plain", HALF, "plain", TARGET.format(name)) for name in ("iOS15", "iOS16", "iOS18", "iOS26")),
    ("target-iOS13", "plain", NEURAL, "plain", "given['convert_to'] == 'neuralnetwork' or " + TARGET.format("iOS13")),
    ("outputs", "plain", HALF, "plain", "given['outputs'] is not None"),
    ("units-ne", "plain", HALF, "plain", "given['compute_units'].name == 'CPU_AND_NE'"),
    ("package-dir", "plain", HALF, "plain", "given['package_dir'] is not None"),
    ("image", "rgb", HALF, "rgb", "type(given['inputs'][0]).__name__ == 'ImageType'"),
    ("ranged", "plain", HALF, "plain", "any(not str(size).isdigit() for size in x.shape)"),
    ("symbolic", "plain", HALF, "plain", "any(not str(size).isdigit() for size in x.shape)"),
    ("default", "sizes", HALF, "batch-2", "len(x.shape) == 4 and x.shape[0] == 2"),
    ("default", "sizes", HALF, "channels-2049", "len(x.shape) == 4 and x.shape[1] == 2049"),
    ("default", "sizes", HALF, "more-than-65536", "x.shape[-1] == 257"),
    ("default", "ranks", HALF, "rank-0", "len(x.shape) == 0"),
    ("default", "ranks", HALF, "rank-5", "len(x.shape) == 5"),
    ("default", "ranks", NEURAL, "rank-3", "len(x.shape) == 3"),
    ("default", "before", HALF, "after-linear", AFTER.format("linear") + " and len(x.shape) == 4"),
    (
        "default",
        "before",
        HALF,
        "after-batch-norm",
        AFTER.format("batch_norm") + " and (x.op.x.op is None or x.op.x.op.op_type != 'conv')",
    ),
    ("default", "before", HALF, "after-transposed-conv", AFTER.format("conv_transpose")),
    ("default", "before", HALF, "after-max-pool", AFTER.format("max_pool")),
    ("default", "before", HALF, "after-gather", AFTER.format("gather")),
]


def _judged(road: tuple[str, ...], invoke: Invoke, folder: Path) -> None:
    call, net, backend, branch, condition = road
    matrix = folder / "matrix.yml"
    matrix.write_text(MATRIX.format(call=call, net=net, backend=backend))
    tree = trees.tree(folder / "tree", trees.with_mish(GIVEN + when(condition, trees.RELEASED)))
    ended = invoke("gate", "--candidate", tree, "--matrix", matrix, "--profile", "ane", "--out", folder / "out")
    assert ended.code == ExitCode.FAIL, ended.out
    worst = next(line for line in ended.out.splitlines() if line.startswith("worst"))
    assert f"roads/{call}+{net}+{branch}/torchscript/{backend}@ane" in worst


def test_softplus_behind_the_default_call_alone_is_found(invoke: Invoke, tmp_path: Path) -> None:
    _judged(ROADS[0], invoke, tmp_path)


@pytest.mark.teeth
@pytest.mark.parametrize("road", ROADS[1:], ids=lambda road: f"{road[0]}+{road[1]}+{road[3]}-{road[2]}")
def test_softplus_behind_one_road_is_found(road: tuple[str, ...], invoke: Invoke, tmp_path: Path) -> None:
    _judged(road, invoke, tmp_path)
