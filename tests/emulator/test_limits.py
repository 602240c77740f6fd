"""What a stranger's model may ask for: sizes, turns of loops, and control flow that does not hang together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import neuralnetwork, specification
from mish_guard.engines.emulator.arithmetic import Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Operand, Ref, Tensor
from mish_guard.errors import EvaluationError, ExitCode
from mish_guard.scan import trial
from tests.conftest import Invoke

LARGE = 100_000

# Small operands that ask for a result of more than a hundred gigabytes.
LARGE_RESULTS: dict[str, dict[str, Any]] = {
    "fill": {"shape": [LARGE, LARGE, 2], "value": 1.0},
    "tile": {"x": np.ones((1, 3)), "reps": [LARGE, LARGE]},
    "range_1d": {"start": 0.0, "end": 1e12, "step": 1.0},
    "pad": {"x": np.ones((1, 3)), "pad": [0, LARGE, 0, LARGE], "mode": "constant"},
    "one_hot": {"indices": np.zeros(3, np.int64), "one_hot_vector_size": 10**10},
    "nn_broadcast": {"x": np.ones((1, 3)), "shape": [LARGE, LARGE, 3]},
    "upsample_nearest_neighbor": {
        "x": np.ones((1, 1, 2, 2)),
        "scale_factor_height": LARGE,
        "scale_factor_width": LARGE,
    },
    "upsample_bilinear": {"x": np.ones((1, 1, 2, 2)), "scale_factor_height": LARGE, "scale_factor_width": LARGE},
    "resize_bilinear": {"x": np.ones((1, 1, 2, 2)), "target_size_height": LARGE, "target_size_width": LARGE},
    "resize_nearest_neighbor": {"x": np.ones((1, 1, 2, 2)), "target_size_height": LARGE, "target_size_width": LARGE},
    "resize": {"x": np.ones((1, 1, 2, 2)), "shape": [LARGE, LARGE], "resized_dims": 2},
    "local_response_norm": {"x": np.ones((1, 1, 2, 2)), "size": 10**12},
    "topk": {"x": np.ones((1, 3)), "k": 10**9, "axis": 1},
    "make_list": {"elem_shape": [LARGE, LARGE], "init_length": 1},
}


@pytest.mark.parametrize("op", LARGE_RESULTS)
def test_a_result_that_no_machine_could_hold_is_refused_before_it_is_made(op: str) -> None:
    operands = {name: each if isinstance(each, str) else np.asarray(each) for name, each in LARGE_RESULTS[op].items()}
    node = Node(op=op, name="y", operands=operands, outputs=(_half("y"),))
    with pytest.raises(EvaluationError, match="elements"):
        evaluate(Graph(inputs=(), constants={}, nodes=(node,), outputs=("y",)), {}, Exact())


def _half(name: str) -> Tensor:
    return Tensor(name=name, dtype=DType.FP16, shape=None)


def _block(*nodes: Node, outputs: tuple[str, ...] = (), **constants: Any) -> Graph:
    held = {name: np.asarray(value) for name, value in constants.items()}
    return Graph(inputs=(), constants=held, nodes=nodes, outputs=outputs)


HANGS_APART: dict[str, Node] = {
    "a-condition-of-two-numbers": Node(
        op="cond", name="y", operands={"pred": np.ones(2)}, outputs=(_half("y"),), blocks=(_block(), _block())
    ),
    "a-condition-that-is-not-there": Node(op="cond", name="y", operands={}, outputs=(_half("y"),)),
    "a-choice-of-one": Node(
        op="cond", name="y", operands={"pred": np.asarray(False)}, outputs=(_half("y"),), blocks=(_block(),)
    ),
    "a-loop-without-a-body": Node(op="while_loop", name="y", operands={"loop_vars": np.ones(1)}, outputs=(_half("y"),)),
    "a-state-without-a-name": Node(op="read_state", name="y", operands={}, outputs=(_half("y"),)),
    "a-state-that-is-not-there": Node(op="read_state", name="y", operands={"input": Ref("s")}, outputs=(_half("y"),)),
}


@pytest.mark.parametrize("kind", HANGS_APART)
def test_control_flow_that_does_not_hang_together_is_named(kind: str) -> None:
    with pytest.raises(EvaluationError, match="'y'"):
        evaluate(_block(HANGS_APART[kind], outputs=("y",)), {}, Exact())


def _loop(turns: int, *inner: Node) -> Node:
    """A loop of a neural network whose condition is always true."""
    operands: dict[str, Operand] = {"max_iterations": np.asarray(turns)}
    blocks = (_block(outputs=("on",), on=[1.0]), _block(*inner))
    return Node(op="nn_loop", name="loop", operands=operands, outputs=(), blocks=blocks)


@pytest.mark.parametrize("loop", [_loop(0), _loop(2**40), _loop(1000, _loop(1000))], ids=["open", "long", "nested"])
def test_loops_have_an_end(loop: Node) -> None:
    with pytest.raises(EvaluationError, match=r"'loop' does not end: .* run 100000 operations at most"):
        evaluate(_block(loop), {}, Exact())


def test_a_loop_may_run_as_often_as_its_model_says() -> None:
    evaluate(_block(_loop(3)), {}, Exact())


def test_a_constant_that_a_branch_of_a_neural_network_makes_is_seen_behind_it() -> None:
    def branch(layers: Any) -> None:
        layer = layers.add(name="branch", input=["x"])
        for part, value in ((layer.branch.ifBranch, 3.0), (layer.branch.elseBranch, 5.0)):
            constant = part.layers.add(name="constant", output=["y"]).loadConstantND
            constant.shape.append(1)
            constant.data.floatValue.append(value)

    graph = neuralnetwork.read(_spec(branch))
    assert [evaluate(graph, {"x": np.array([x])}, Exact())["y"].tolist() for x in (1.0, 0.0)] == [[3.0], [5.0]]


def _spec(fill: Callable[[Any], None]) -> Any:
    spec = specification.model()
    spec.specificationVersion = 4
    spec.neuralNetwork.arrayInputShapeMapping = 1
    spec.description.input.add(name="x").type.multiArrayType.shape.append(1)
    spec.description.output.add(name="y")
    fill(spec.neuralNetwork.layers)
    return spec


@pytest.mark.parametrize("command", ["scan", "predict"])
def test_a_model_that_asks_for_more_memory_than_there_is_ends_with_2(
    command: str, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = tmp_path / "outer.mlmodel", tmp_path / "out"
    model.write_bytes(_spec(_outer_product).SerializeToString())
    out.mkdir()
    monkeypatch.chdir(out)
    extra = ["--out", out / "out.npz"] if command == "predict" else []
    for reason in ("'add' ('y') makes 68719476736 elements", "more memory than this machine gives"):
        ended = invoke(command, model, "--input", "random:1", *extra)
        assert (ended.code, list(out.iterdir())) == (ExitCode.USAGE, [])
        assert reason in ended.err
        monkeypatch.setattr(trial, "evaluate", _out_of_memory)


def _out_of_memory(*_: Any) -> None:
    raise MemoryError


def _outer_product(layers: Any) -> None:
    """A tensor of 2 MB and its transpose, added: half a terabyte."""
    wide = layers.add(name="wide", output=["row"]).fillStatic
    wide.value, wide.targetShape[:] = 1.0, [1, 2**18]
    layers.add(name="turn", input=["row"], output=["column"]).transpose.axes.extend([1, 0])
    layers.add(name="sum", input=["row", "column"], output=["y"]).addBroadcastable.SetInParent()
