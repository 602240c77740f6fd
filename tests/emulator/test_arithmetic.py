"""What the evaluator asks of an arithmetic around each operation: rounding, hazards, and what needs neither."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator.arithmetic import Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.profiles import ANE, ANE_FTZ, IEEE_FP16

TENTH = float(np.float16(0.1))


def _tensor(name: str, dtype: DType = DType.FP16) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=None)


def _node(op: str, *types: DType, name: str = "y", **operands: Any) -> Node:
    outputs = tuple(_tensor(f"{name}{number or ''}", each) for number, each in enumerate(types or (DType.FP16,)))
    given = {key: each if isinstance(each, (Ref, str)) else np.asarray(each) for key, each in operands.items()}
    return Node(op=op, name=name, operands=given, outputs=outputs, opset=15)


def _graph(*nodes: Node, dtype: DType = DType.FP16) -> Graph:
    return Graph(inputs=(_tensor("x", dtype),), constants={}, nodes=nodes, outputs=("y",))


def test_sums_of_products_are_single_precision_and_exact_ones_double() -> None:
    node = _node("linear")
    assert np.dtype(Emulated(ANE).accumulator(node)) == np.float32
    assert np.dtype(Exact().accumulator(node)) == np.float64


def test_exact_arithmetic_widens_fractions_only() -> None:
    exact = Exact()
    assert exact.store(_tensor("x"), np.array([0.1], np.float32)).dtype == np.float64
    assert exact.store(_tensor("x", DType.FP32), np.array([0.1])).tolist() == [0.1]
    assert exact.store(_tensor("x", DType.INT), np.array([3])).dtype == np.int64


def test_an_operation_with_one_result_of_single_precision_is_not_on_the_engine() -> None:
    types = [(DType.FP16,), (DType.FP32,), (DType.FP16, DType.FP32), (DType.INT,)]
    assert [Emulated(ANE).on_neural_engine(_node("split", *each)) for each in types] == [True, False, False, True]
    assert not Emulated(IEEE_FP16).on_neural_engine(_node("relu"))


def test_integers_meet_no_hazard() -> None:
    graph = _graph(_node("add", DType.INT, x=Ref("x"), y=1), dtype=DType.INT)
    assert evaluate(graph, {"x": [40000]}, Emulated(ANE))["y"].tolist() == [40001]


def test_strides_are_not_flushed_with_the_operands_of_a_convolution() -> None:
    node = _node("conv", x=Ref("x"), weight=[[[1.0, 1.0]]], strides=[2], pad_type="custom", pad=[0, 0])
    got = evaluate(_graph(node), {"x": [[[1.0, 2.0, 4.0, 2.0**-20]]]}, Emulated(ANE_FTZ))["y"]
    assert got.tolist() == [[[3.0, 4.0]]]
    entered = Emulated(ANE_FTZ).enter(node, node.operands)
    assert [entered[name] is node.operands[name] for name in ("strides", "pad_type", "weight")] == [True, True, False]


PASSING = (
    "expand_dims",
    "identity",
    "max_pool",
    "relu",
    "relu6",
    "reshape",
    "slice_by_index",
    "squeeze",
    "transpose",
)


@pytest.mark.parametrize(
    ("op", "others", "is_handed_on"),
    [
        *((op, {}, True) for op in PASSING),
        *((op, {"y": 0.5}, True) for op in ("maximum", "minimum")),
        ("clip", {"alpha": 0.0, "beta": 0.5}, True),
        ("clip", {"alpha": 0.1, "beta": 0.5}, False),
        ("clip", {"alpha": 0.5, "beta": 0.1}, False),
        ("maximum", {"y": 0.1}, False),
        ("maximum", {"y": [0.5, 0.1]}, False),
        ("exp", {}, False),
        ("avg_pool", {}, False),
    ],
)
def test_what_only_hands_half_precision_on_is_not_rounded_again(
    op: str, others: dict[str, Any], is_handed_on: bool
) -> None:
    arithmetic, result = Emulated(ANE), np.array([0.25, 0.5])
    operands = {"x": np.array([0.25, 0.5]), **{name: np.asarray(each) for name, each in others.items()}}
    left = arithmetic.leave(_node(op), operands, (), result)
    assert (arithmetic.store(_tensor("y"), left) is result) == is_handed_on


def test_what_is_handed_on_before_is_rounded_after() -> None:
    arithmetic = Emulated(ANE)
    for op, value in (("identity", np.array([0.1])), ("exp", np.array([0.1]))):
        left = arithmetic.leave(_node(op), {"x": value}, (), value)
        arithmetic.leave(_node("exp"), {"x": value}, (), np.array([1.0]))
        assert arithmetic.store(_tensor("y"), left).tolist() == [TENTH]


def test_single_precision_is_not_on_the_grid_of_half_precision() -> None:
    arithmetic, single = Emulated(IEEE_FP16), np.array([0.1], np.float32)
    left = arithmetic.leave(_node("identity"), {"x": single}, (), single)
    assert arithmetic.store(_tensor("y"), left).tolist() == [TENTH]
    stored = arithmetic.store(_tensor("y", DType.FP32), np.array([0.1, 1e300]))
    assert stored.tolist() == [float(np.float32(0.1)), np.inf]


@pytest.mark.parametrize(
    ("op", "operands"),
    [("clip", {"alpha": 0.1, "beta": 1.0}), ("clip", {"alpha": -1.0, "beta": 0.1}), ("add", {"y": 0.1})],
)
def test_a_constant_that_is_no_half_precision_number_comes_out_rounded(op: str, operands: dict[str, Any]) -> None:
    x = 5.0 if operands.get("beta") == 0.1 else 0.0
    assert evaluate(_graph(_node(op, x=Ref("x"), **operands)), {"x": [x]}, Emulated(ANE))["y"].tolist() == [TENTH]


def test_a_pessimistic_reading_holds_wherever_it_differs() -> None:
    nodes = (_node("exp2", name="first", x=Ref("x")), _node("exp2", x=Ref("x")))
    friendly, pessimistic = Emulated(ANE), Emulated(ANE, ("exp2-range",))
    for arithmetic, want in ((friendly, 46336.0), (pessimistic, np.inf)):
        values = evaluate(_graph(*nodes), {"x": [15.5]}, arithmetic)
        assert [values[name].item() for name in ("first", "y")] == [want, want]
        assert arithmetic.met == {"exp2-range": "first"}
