"""The emulator on operands and graphs that nobody chose, against exact rational numbers and against numpy."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb  # noqa: N813 - the name coremltools' own passes use
from hypothesis import given, settings
from hypothesis import strategies as st

from mish_guard.engines.emulator import package
from mish_guard.engines.emulator.arithmetic import Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.profiles import IEEE_FP16, PROFILES
from mish_guard.numerics import fp16

GRID = {DType.FP16: np.float16, DType.FP32: np.float32, None: np.float64}
UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "cos": np.cos,
    "exp": np.exp,
    "floor": np.floor,
    "relu": lambda x: np.maximum(x, 0.0),
    "sin": np.sin,
    "square": np.square,
    "tanh": np.tanh,
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mul": operator.mul,
    "real_div": operator.truediv,
    "sub": operator.sub,
}
EXACT: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "add": operator.add,
    "mul": operator.mul,
    "real_div": operator.truediv,
    "sub": operator.sub,
}

Plan = list[tuple[str, tuple[int, ...]]]


def graph_of(plan: Plan, dtype: DType) -> Graph:
    """Operations on a tensor of four, each on the outputs of earlier ones (0 is the input); the last is the output."""

    def tensor(number: int) -> Tensor:
        return Tensor(name=f"t{number}", dtype=dtype, shape=(4,))

    nodes = tuple(
        Node(
            op=op,
            name=f"t{number}",
            operands=dict(zip("xy", (Ref(f"t{each}") for each in places), strict=False)),
            outputs=(tensor(number),),
        )
        for number, (op, places) in enumerate(plan, 1)
    )
    return Graph(inputs=(tensor(0),), constants={}, nodes=nodes, outputs=(f"t{len(plan)}",))


def by_numpy(plan: Plan, x: Any, dtype: DType | None) -> list[Any]:
    """Every tensor of the plan in float64, rounded to its type once after each operation."""
    values = [np.asarray(x).astype(GRID[dtype]).astype(np.float64)]
    with np.errstate(all="ignore"):
        for op, places in plan:
            result = (UNARY | BINARY)[op](*(values[each] for each in places))
            values.append(result.astype(GRID[dtype]).astype(np.float64))
    return values


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """One to twelve operations, each on anything before it."""
    plan: Plan = []
    for number in range(1, draw(st.integers(2, 13))):
        op = draw(st.sampled_from([*UNARY, *BINARY]))
        plan.append((op, tuple(draw(st.integers(0, number - 1)) for _ in range(1 + (op in BINARY)))))
    return plan


BITS = st.lists(st.integers(0, 65535), min_size=4, max_size=4).map(lambda bits: np.array(bits, np.uint16))
HALVES = BITS.map(lambda bits: bits.view(np.float16))
FINITE = st.integers(0, len(fp16.finite_values()) - 1).map(lambda place: float(fp16.finite_values()[place]))


@given(plans(), HALVES, st.sampled_from([DType.FP16, DType.FP32]))
@settings(deadline=None, derandomize=True)
def test_any_graph_gives_what_numpy_gives_rounded_once_after_each_operation(plan: Plan, x: Any, dtype: DType) -> None:
    got = evaluate(graph_of(plan, dtype), {"t0": x.astype(np.float64)}, Emulated(IEEE_FP16))
    for number, want in enumerate(by_numpy(plan, x, dtype)):
        np.testing.assert_array_equal(got[f"t{number}"], want, err_msg=f"{plan[:number]}")


@given(plans(), HALVES)
@settings(deadline=None, derandomize=True)
def test_any_graph_rounds_nothing_where_nothing_is_to_be_rounded(plan: Plan, x: Any) -> None:
    got = evaluate(graph_of(plan, DType.FP16), {"t0": x.astype(np.float64)}, Exact())
    for number, want in enumerate(by_numpy(plan, x, None)):
        np.testing.assert_array_equal(got[f"t{number}"], want)


@given(plans(), HALVES, st.sampled_from([each for each in PROFILES.values() if each.is_neural_engine]))
@settings(deadline=None, derandomize=True)
def test_no_graph_brings_nan_out_of_a_neural_engine_nor_a_number_off_the_grid(plan: Plan, x: Any, profile: Any) -> None:
    got = evaluate(graph_of(plan, DType.FP16), {"t0": x.astype(np.float64)}, Emulated(profile))
    for number in range(1, len(plan) + 1):
        values = got[f"t{number}"]
        assert not np.isnan(values).any(), plan[:number]
        np.testing.assert_array_equal(fp16.to_fp16(values).astype(np.float64), values)


def rounded(value: Fraction) -> float:
    """The half-precision number next to a rational one, of two the even one, without floating point."""
    size = abs(value)
    exponent = -24
    while size >= Fraction(2) ** (exponent + 11):
        exponent += 1
    unit = Fraction(2) ** exponent
    found = round(size / unit) * unit  # round() of a Fraction is half to even
    magnitude = float(found) if found <= 65504 else float("inf")
    return -magnitude if value < 0 else magnitude


PAIRS = st.lists(st.tuples(FINITE, FINITE.filter(bool)), min_size=16, max_size=16)


@given(st.sampled_from(sorted(EXACT)), PAIRS)
@settings(deadline=None, derandomize=True)
def test_the_four_operations_round_the_exact_result(op: str, pairs: list[tuple[float, float]]) -> None:
    given = {name: np.array(values) for name, values in zip(("t0", "t1"), zip(*pairs, strict=True), strict=True)}
    tensors = tuple(Tensor(name=name, dtype=DType.FP16, shape=(len(pairs),)) for name in ("t0", "t1", "t2"))
    node = Node(op=op, name="t2", operands={"x": Ref("t0"), "y": Ref("t1")}, outputs=tensors[2:])
    graph = Graph(inputs=tensors[:2], constants={}, nodes=(node,), outputs=("t2",))
    got = evaluate(graph, given, Emulated(IEEE_FP16))["t2"]
    assert got.tolist() == [rounded(EXACT[op](Fraction(x), Fraction(y))) for x, y in pairs]


PACKED: list[Plan] = [
    [("exp", (0,)), ("add", (1, 0)), ("real_div", (0, 2))],
    [("tanh", (0,)), ("mul", (1, 1)), ("sub", (2, 0)), ("maximum", (3, 1))],
    [("square", (0,)), ("square", (1,)), ("minimum", (2, 0)), ("floor", (3,)), ("sin", (4,)), ("real_div", (0, 5))],
]


@pytest.mark.parametrize("plan", PACKED, ids=lambda plan: "+".join(op for op, _ in plan))
def test_a_program_that_was_saved_gives_what_its_operations_give(plan: Plan, tmp_path: Path) -> None:
    """Through coremltools' own builder and file format, without its passes, in single precision."""

    @mb.program(input_specs=[mb.TensorSpec(shape=(4,))], opset_version=ct.target.iOS15)  # type: ignore[untyped-decorator]
    def program(t0: Any) -> Any:
        values = [t0]
        for op, places in plan:
            operands = dict(zip("xy", (values[each] for each in places), strict=False))
            values.append(getattr(mb, op)(**operands))
        return values[-1]

    model = ct.convert(
        program,
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    model.save(str(tmp_path / "plan.mlpackage"))
    graph = package.load(tmp_path / "plan.mlpackage")
    x = np.array([-3.7, 0.1, 2.5, 11.25])
    got = evaluate(graph, {graph.inputs[0].name: x}, Emulated(IEEE_FP16))[graph.outputs[0]]
    np.testing.assert_array_equal(got, by_numpy(plan, x, DType.FP32)[-1])
