"""Error bars: nothing that the measured accuracies allow leaves them, and what they say of every lowering."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import accuracy, bounds
from mish_guard.engines.emulator.accuracy import Standing
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import Array, DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.package import load
from mish_guard.engines.emulator.profiles import ANE, IEEE_FP16
from mish_guard.engines.emulator.sketch import sketch
from mish_guard.errors import UnsupportedOpError
from mish_guard.models import lowerings
from mish_guard.numerics import fp16, reference
from tests import hostile

FINITE = fp16.finite_values().astype(np.float64)


class Perturbed(Emulated):
    """Delivers any half-precision number within the error that was measured of an operation."""

    def __init__(self, seed: int) -> None:
        super().__init__(ANE)
        self._random = np.random.default_rng(seed)

    def leave(self, node: Node, operands: Mapping[str, Any], constants: Collection[str], result: Array) -> Array:
        measured = accuracy.of(node.op)
        error = 0.0 if measured is None else measured.relative_error or 0.0
        moved = result * (1 + self._random.choice([-1.0, 1.0, 0.5, 0.0, -0.3], result.shape) * error)
        rounded = fp16.to_fp16(moved).astype(np.float64)
        allowed = np.isfinite(rounded) & (np.abs(rounded - result) <= error * np.abs(result))
        return super().leave(node, operands, constants, np.where(allowed, rounded, result))


@pytest.mark.parametrize("name", lowerings.TABLE)
def test_a_random_perturbation_never_leaves_the_bounds(name: str) -> None:
    graph = sketch(lowerings.get(name).build)
    low, high = bounds.enclosure(graph, {"x": (FINITE, FINITE)}, ANE)["y"]
    different = 0
    emulated = evaluate(graph, {"x": FINITE}, Emulated(ANE))["y"]
    for seed in range(3):
        got = evaluate(graph, {"x": FINITE}, Perturbed(seed))["y"]
        outside = ~((low <= got) & (got <= high))
        assert not outside.any(), (FINITE[outside][:5], low[outside][:5], got[outside][:5], high[outside][:5])
        different += np.count_nonzero(got != emulated)
    assert different > 1000


@pytest.mark.parametrize("name", lowerings.TABLE)
def test_without_inaccuracy_the_bounds_hold_what_is_emulated(name: str) -> None:
    graph = sketch(lowerings.get(name).build)
    low, high = bounds.enclosure(graph, {"x": (FINITE, FINITE)}, IEEE_FP16)["y"]
    got = evaluate(graph, {"x": FINITE}, Emulated(IEEE_FP16))["y"]
    known = ~np.isnan(got)
    assert (low[known] <= got[known]).all()
    assert (got[known] <= high[known]).all()


ROBUST = {"exp": 0.16, "exp-unclamped": 0.16, "stable-softplus": 0.95, "capped-softplus": 0.34, "sigmoid-blend": 0.34}


@pytest.mark.parametrize("name", ROBUST)
def test_these_lowerings_stay_under_the_ceiling_whatever_the_accuracies_allow(name: str) -> None:
    bound = bounds.of_lowering(lowerings.get(name).build, ANE)
    assert bound.is_robust
    assert ROBUST[name] - 0.01 < bound.share.value < ROBUST[name]


@pytest.mark.parametrize("name", ["softplus", "ratio", "naive-log", "sigmoid-ratio"])
def test_these_lowerings_do_not(name: str) -> None:
    bound = bounds.of_lowering(lowerings.get(name).build, ANE)
    assert not bound.is_robust
    assert bound.share.value > 1


def test_the_bound_of_a_stored_package_is_that_of_its_lowering() -> None:
    graph = load(hostile.GOOD.with_name("exp-mish-k3-8x8x32.mlpackage"))
    part = bounds.between(graph, graph.outputs[0], graph.outputs[1])
    assert bounds.of_activation(part, ANE) == bounds.of_lowering(lowerings.get("exp").build, ANE)


def test_error_bars_are_the_largest_error_of_every_binade_that_the_bounds_allow() -> None:
    graph = load(hostile.GOOD.with_name("exp-mish-k3-8x8x32.mlpackage"))
    bars = bounds.bars(bounds.between(graph, graph.outputs[0], graph.outputs[1]), ANE)
    low, high = bounds.enclosure(sketch(lowerings.get("exp").build), {"x": (FINITE, FINITE)}, ANE)["y"]
    want = reference.mish(FINITE)
    inside = (FINITE >= 1) & (FINITE < 2)
    allowed = np.maximum(np.abs(low - want), np.abs(high - want)) / fp16.spacing(want)
    assert len(bars) == 62
    assert bars["+[1, 2)"] == allowed[inside].max()
    assert 1 < bars["+[1, 2)"] < 10


def test_where_a_graph_has_no_error_bars_there_are_none() -> None:
    graph = load(hostile.GOOD.with_name("exp-mish-k3-8x8x32.mlpackage"))
    through_the_convolution = bounds.between(graph, graph.inputs[0].name, graph.outputs[1])
    assert bounds.bars(through_the_convolution, ANE) == {}
    assert bounds.bars(bounds.between(graph, graph.outputs[1], graph.outputs[0]), ANE) == {}
    assert bounds.bars(bounds.between(graph, "no such tensor", "nor this"), ANE) == {}


def test_an_operation_without_error_bars_is_named() -> None:
    with pytest.raises(UnsupportedOpError, match="no error bars for 'gelu'"):
        bounds.of_lowering(lambda mb, x, name: mb.gelu(x=x, name=name), ANE)


def test_the_table_of_accuracies_is_the_published_one() -> None:
    table = accuracy.table()
    counts = [sum(each.standing is standing for each in table.values()) for standing in Standing]
    assert counts == [97, 19, 36, 14]
    assert {op: table[op].relative_error for op in ("softplus", "exp", "tanh", "sigmoid", "relu", "prelu")} == {
        "softplus": 0.00078,
        "exp": 0.00047,
        "tanh": 0.00126,
        "sigmoid": 0.00384,
        "relu": 0.0,
        "prelu": None,
    }


def _of_one(op: str, operands: Mapping[str, Any], gives: DType = DType.FP16) -> Graph:
    """A graph of one operation on x and y."""
    names = [Tensor(name=name, dtype=DType.FP16, shape=None) for name in ("x", "y")]
    output = Tensor(name="out", dtype=gives, shape=None)
    node = Node(op=op, name="out", operands=operands, outputs=(output,))
    return Graph(inputs=tuple(names), constants={}, nodes=(node,), outputs=("out",))


X, Y = Ref("x"), Ref("y")
ONE = ("abs", "exp", "exp2", "identity", "relu", "relu6", "sigmoid", "softplus", "sqrt", "square", "tanh")
TWO = ("add", "maximum", "minimum", "mul", "real_div")
TRIED: dict[str, list[dict[str, Any]]] = {
    **{op: [{"x": X}] for op in ONE},
    **{op: [{"x": X, "y": Y}, {"x": X, "y": np.array(0.75)}] for op in TWO},
    "sub": [{"x": X, "y": Y}, {"x": np.array(0.75), "y": Y}],
    "cast": [{"x": X, "dtype": "fp16"}],
    "clip": [{"x": X, "alpha": np.array(-1.0), "beta": np.array(2.5)}],
    "inverse": [{"x": X}, {"x": X, "epsilon": np.array(0.25)}],
    "log": [{"x": X}, {"x": X, "epsilon": np.array(0.25)}, {"x": X, "epsilon": np.array(1e-9)}],
    **{op: [{"x": X, "y": Y}] for op in ("greater", "greater_equal", "less", "less_equal")},
}


@pytest.mark.parametrize(("op", "operands"), [(op, each) for op in TRIED for each in TRIED[op]])
def test_whatever_lies_in_the_intervals_of_its_operands_an_operation_stays_in_its_own(
    op: str, operands: Mapping[str, Any]
) -> None:
    graph = _of_one(op, operands, DType.BOOL if op.startswith(("greater", "less")) else DType.FP16)
    chance = np.random.default_rng(2359)
    lows, inner, highs = np.sort(chance.integers(0, len(FINITE), (2, 3, 40_000)), axis=1).transpose(1, 0, 2)
    inner[:, :500], highs[:, :500] = lows[:, :500], lows[:, :500]  # an interval may be a point
    feeds = {name: (FINITE[lows[at]], FINITE[highs[at]]) for at, name in enumerate("xy")}
    low, high = bounds.enclosure(graph, feeds, ANE)["out"]
    got = evaluate(graph, {name: FINITE[inner[at]] for at, name in enumerate("xy")}, Emulated(ANE))["out"]
    outside = ~((low <= got) & (got <= high))
    assert not outside.any(), [(feeds["x"][end][outside][:3], feeds["y"][end][outside][:3]) for end in (0, 1)]
    other = chance.permutation(FINITE)
    low, high = bounds.enclosure(graph, {"x": (FINITE, FINITE), "y": (other, other)}, ANE)["out"]
    got = evaluate(graph, {"x": FINITE, "y": other}, Emulated(ANE))["out"]
    outside = ~((low <= got) & (got <= high))
    assert not outside.any(), (FINITE[outside][:3], other[outside][:3])


@pytest.mark.parametrize(("op", "operands"), [(op, each) for op in TRIED for each in TRIED[op]])
def test_the_interval_of_points_is_no_wider_than_the_accuracy_that_was_measured(
    op: str, operands: Mapping[str, Any]
) -> None:
    graph = _of_one(op, operands, DType.BOOL if op.startswith(("greater", "less")) else DType.FP16)
    other = np.random.default_rng(2359).permutation(FINITE)
    low, high = bounds.enclosure(graph, {"x": (FINITE, FINITE), "y": (other, other)}, ANE)["out"]
    got = evaluate(graph, {"x": FINITE, "y": other}, Emulated(ANE))["out"].astype(np.float64)
    measured = accuracy.of(op)
    error = 0.0 if measured is None else measured.relative_error or 0.0
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(got)
    low, high, got = low[known], high[known], got[known]
    assert len(got) > 10_000
    slack = error * np.abs(got) + fp16.spacing(got) if error else np.zeros_like(got)
    far = (high - got > slack) | (got - low > slack)
    assert not far.any(), (FINITE[known][far][:3], low[far][:3], got[far][:3], high[far][:3])


@pytest.mark.parametrize("certain", [True, False, None])
def test_what_may_be_chosen_is_in_the_interval(certain: bool | None) -> None:
    x = {True: (0.0, 1.0), False: (2.0, 3.0), None: (0.0, 3.0)}[certain]
    choice = Node(
        op="select",
        name="out",
        operands={"cond": Ref("cond"), "a": np.array(5.0), "b": np.array(-7.0)},
        outputs=(Tensor(name="out", dtype=DType.FP16, shape=None),),
    )
    asked = Node(
        op="less",
        name="cond",
        operands={"x": X, "y": np.array(1.5)},
        outputs=(Tensor(name="cond", dtype=DType.BOOL, shape=None),),
    )
    graph = dataclasses.replace(_of_one("identity", {"x": X}), nodes=(asked, choice))
    low, high = bounds.enclosure(graph, {"x": (np.array(x[0]), np.array(x[1]))}, ANE)["out"]
    assert (low.item(), high.item()) == {True: (5.0, 5.0), False: (-7.0, -7.0), None: (-7.0, 5.0)}[certain]


def _ends(*values: Any) -> bounds.Interval:
    low, high = (np.asarray(each, dtype=np.float64) for each in values)
    return low, high


INF, EDGE = np.inf, float(np.log(2.0**15))
SMALLEST = fp16.MIN_SUBNORMAL


@pytest.mark.parametrize(
    ("op", "x", "y", "want"),
    [
        ("real_div", (0, 0), (0, 0), (0, 0)),  # no NaN leaves
        ("real_div", (1, 1), (0, 1), (1, INF)),
        ("real_div", (1, 1), (-1, 1), (-INF, INF)),
        ("real_div", (1, 1), (-1, 0), (-INF, INF)),  # 1 / -0.001, and a zero counts as +0 (F43)
        ("real_div", (1, 1), (2, 4), (0.25, 0.5)),
        ("add", (-INF, 5), (INF, INF), (-INF, INF)),
        ("add", (5, INF), (-INF, -INF), (-INF, INF)),
        ("add", (-INF, 5), (1, 2), (-INF, 7)),
        ("less", (0, 1), (1, 2), (0, 1)),
        ("less", (1, 3), (0, 1), (0, 0)),
        ("less", (0, 1), (2, 3), (1, 1)),
        ("less_equal", (0, 1), (1, 2), (1, 1)),
        ("less_equal", (1, 3), (0, 1), (0, 1)),
        ("less_equal", (2, 3), (0, 1), (0, 0)),
        ("mul", (-1, 2), (3, 5), (-5, 10)),
    ],
)
def test_the_interval_of_two_intervals(
    op: str, x: tuple[float, float], y: tuple[float, float], want: tuple[float, float]
) -> None:
    with np.errstate(all="ignore"):
        low, high = bounds._RULES[op](x=_ends(*x), y=_ends(*y))
    assert (low.item(), high.item()) == want


@pytest.mark.parametrize(
    ("cond", "want"), [((1, 1), (1.0, 4.0)), ((0, 0), (-3.0, 2.0)), ((0, 1), (-3.0, 4.0))], ids=["a", "b", "either"]
)
def test_a_choice_spans_what_may_be_chosen(cond: tuple[float, float], want: tuple[float, float]) -> None:
    low, high = bounds._select(cond=_ends(*cond), a=_ends(1, 4), b=_ends(-3, 2))
    assert (low.item(), high.item()) == want
    low, high = bounds._select(cond=_ends(*cond), a=_ends(-3, 2), b=_ends(1, 4))
    assert (low.item(), high.item()) == {(1.0, 4.0): (-3.0, 2.0), (-3.0, 2.0): (1.0, 4.0)}.get(want, want)


@pytest.mark.parametrize(
    ("x", "epsilon", "want"),
    [
        ((5, 32767.5), 0.5, (0.0, 9.0)),
        ((5, 32767.0), 0.5, (1.0, 9.0)),
        ((32767.5, 40000), 0.5, (0.0, 0.0)),
        ((5, 32768), SMALLEST, (0.0, 9.0)),
        ((5, 32768), SMALLEST / 2, (1.0, 9.0)),
        ((5, INF), 0.0, (0.0, 9.0)),
        ((INF, INF), 0.0, (0.0, 0.0)),
        ((-2, -1), 0.0, (0.0, 0.0)),
        ((0, 5), 0.0, (1.0, 9.0)),
    ],
)
def test_a_logarithm_may_be_zero_where_its_argument_may_be_out_of_range(
    x: tuple[float, float], epsilon: float, want: tuple[float, float]
) -> None:
    operands = {"x": _ends(*x), "epsilon": _ends(epsilon, epsilon)}
    low, high = bounds._log_hazard(operands, _ends(1.0, 9.0))
    assert (low.item(), high.item()) == want


def test_a_logarithm_that_is_negative_may_be_zero_but_no_more() -> None:
    low, high = bounds._log_hazard({"x": _ends(-1.0, 0.5)}, _ends(-9.0, -0.7))
    assert (low.item(), high.item()) == (-9.0, 0.0)


@pytest.mark.parametrize(
    ("x", "want"),
    [((EDGE, EDGE), (0.0, 0.0)), ((1.0, EDGE), (0.0, 9.0)), ((1.0, np.nextafter(EDGE, 0.0)), (1.0, 9.0))],
)
def test_softplus_is_zero_from_its_edge_on(x: tuple[float, float], want: tuple[float, float]) -> None:
    low, high = bounds._softplus_hazard({"x": _ends(*x)}, _ends(1.0, 9.0))
    assert (low.item(), high.item()) == want


def test_a_half_precision_number_is_the_next_above_itself() -> None:
    assert bounds._up(np.array([1.0, 1.0001, -1.0, -1.0001])).tolist() == [1.0, 1.0009765625, -1.0, -1.0]


def test_a_constant_that_has_a_name_is_added_on_the_stage_of_sums_too() -> None:
    graph = dataclasses.replace(_of_one("add", {"x": X, "y": Ref("c")}), constants={"c": np.array(1.0)})
    low, high = bounds.enclosure(graph, {"x": _ends(32768.0, 32768.0)}, ANE)["out"]
    assert (low.item(), high.item()) == (INF, INF)
    low, high = bounds.enclosure(_of_one("add", {"x": X, "y": Y}), {each: _ends(2e4, 2e4) for each in "xy"}, ANE)["out"]
    assert np.isfinite([low, high]).all()
