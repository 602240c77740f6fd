"""What is fast gives what is slow: rounding, sums by PyTorch, and partial sums looked into only where they matter."""

from __future__ import annotations

import gc
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from mish_guard.engines.emulator import fast, hazards, products
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.profiles import ANE, Profile
from mish_guard.numerics import fp16

LIMIT = 2.0**15


def _numbers(seed: int) -> Any:
    """Every exponent, every tie between two neighbours, and what lies next to a tie."""
    random = np.random.default_rng(seed)
    some = random.standard_normal(60_000) * np.exp2(random.integers(-30, 18, 60_000).astype(np.float64))
    grid = fp16.finite_values().astype(np.float64)
    ties = (grid[1:] + grid[:-1]) / 2
    beside = np.concatenate([np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf)])
    payload = np.array([0x7FF0000000000001, 0x7FF8000000000000]).view(np.float64)  # NaN by its last bit, and the usual
    edges = [np.inf, -np.inf, 65520, 65519.9, 1e300, 5e-324, 2.0**-25, np.nextafter(2.0**-25, 1)]
    return np.concatenate([some, grid, ties, beside, ties * (1 + 2.0**-40), ties * (1 - 2.0**-26), payload, edges])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_by_pytorch_is_that_of_numpy(dtype: Any) -> None:
    assert torch.__version__  # loaded: so the fast way is taken
    with np.errstate(all="ignore"):
        values = _numbers(1).astype(dtype)
    got, want = fast.rounded(values), fp16.to_fp16(values).astype(np.float64)
    assert got.dtype == np.float64
    assert np.array_equal(got, want, equal_nan=True)
    assert np.array_equal(np.signbit(got), np.signbit(want))


def test_half_precision_is_widened_and_narrowed_as_by_numpy() -> None:
    every = fp16.all_bits().view(np.float16).reshape(256, 256)
    with np.errstate(all="ignore"):
        single = _numbers(3).astype(np.float32).astype(np.float64)
    pairs = ((fast.widen(every), every.astype(np.float64)), (fast.narrowed(single), fp16.to_fp16(single)))
    for got, want in pairs:
        assert got.dtype == want.dtype
        assert np.array_equal(got, want, equal_nan=True)
        assert np.array_equal(np.signbit(got), np.signbit(want))


def test_the_stage_of_sums_overflows_on_both_sides_and_beside_nan() -> None:
    values = np.array([np.nan, -np.inf, -32760, -32759, 0, 32759, 32760, 65504, np.inf])
    want = np.array([np.nan, -np.inf, -np.inf, -32759, 0, 32759, np.inf, np.inf, np.inf])
    assert np.array_equal(hazards.overflow(values), want, equal_nan=True)
    assert np.array_equal(hazards.overflow(-values), -want, equal_nan=True)
    assert np.array_equal(hazards.overflow(values[3:]), want[3:])
    assert values[2] == -32760  # what was given is left as it was


CASES: list[dict[str, Any]] = [
    {},
    {"pad_type": "same"},
    {"pad_type": "same_lower", "strides": np.array([2, 2])},
    {"pad_type": "custom", "pad": np.array([1, 2, 0, 3])},
    {"dilations": np.array([2, 1]), "groups": 2},
    {"groups": 4, "strides": np.array([1, 2])},
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("accumulator", [np.float32, np.float64])
def test_large_convolutions_give_what_small_ones_do(
    case: dict[str, Any], accumulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(2)
    x, bias = random.standard_normal((2, 4, 9, 8)), random.standard_normal(8)
    weight = random.standard_normal((8, 4 // case.get("groups", 1), 3, 3))
    slow = products.conv(x=x, weight=weight, bias=bias, accumulator=accumulator, **case)
    monkeypatch.setattr(products, "_LARGE", 0)
    quick = products.conv(x=x, weight=weight, bias=bias, accumulator=accumulator, **case)
    assert quick.shape == slow.shape
    assert np.allclose(quick, slow, rtol=1e-5 if accumulator is np.float32 else 1e-12, atol=1e-5)


def _brute(op: str, operands: dict[str, Any], result: Any) -> Any:
    """Every partial sum of every output."""
    places = np.argwhere(np.ones(result.shape, dtype=bool))
    partial = np.cumsum(products._products(op, operands, places), axis=-1)
    over = ~(np.abs(fp16.to_fp16(partial)) < LIMIT)
    sign = np.take_along_axis(partial, np.argmax(over, axis=-1)[:, None], axis=-1)[:, 0]
    want = np.where(over.any(axis=-1), np.copysign(np.inf, sign), result.ravel()).reshape(result.shape)
    return np.where(np.abs(fp16.to_fp16(want)) >= LIMIT, np.copysign(np.inf, want), want)


def _operands(op: str, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return fp16.to_fp16(random.standard_normal(shape) * 90).astype(np.float64)

    if op == "conv":
        return {"x": draw(2, 4, 6, 5), "weight": draw(6, 2, 3, 3), "groups": 2, "pad_type": "same", "bias": draw(6)}
    if op == "linear":
        return {"x": draw(5, 3, 20), "weight": draw(7, 20), "bias": draw(7)}
    return {"x": draw(2, 5, 16), "y": draw(1, 4, 16), "transpose_y": np.asarray(True)}


@pytest.mark.parametrize("op", ["conv", "linear", "matmul"])
@pytest.mark.parametrize("seed", range(4))
def test_partial_sums_are_looked_into_wherever_one_can_overflow(op: str, seed: int) -> None:
    operands = _operands(op, seed)
    result = getattr(products, op)(**operands, accumulator=np.float32)
    got, want = products.overflow_partials(op, operands, result, LIMIT), _brute(op, operands, result)
    assert np.array_equal(got, want)
    infinite, large = np.isinf(got), np.abs(result) >= LIMIT
    assert infinite.any()
    assert not infinite.all()
    assert (infinite & ~large).any()
    assert products.bound(op, operands) >= np.abs(result).max()


def test_sums_that_are_not_finite_are_infinite() -> None:
    operands = {"x": np.array([[np.inf, 1.0], [np.nan, 1.0], [1.0, 1.0]]), "weight": np.array([[1.0, -1.0]])}
    result = products.linear(**operands, accumulator=np.float32)
    got = products.overflow_partials("linear", operands, result, LIMIT)
    assert np.isposinf(got[0, 0])
    assert got[2, 0] == 0


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_no_weight_for_an_infinity_adds_nothing(at: int, infinity: float) -> None:
    x, weight = np.ones((1, 2)), np.ones((1, 2))
    x[0, at], weight[0, at] = infinity, 0.0
    operands = {"x": x, "weight": weight, "bias": np.array([0.5])}
    result = products.linear(**operands, accumulator=np.float32)
    assert products.overflow_partials("linear", operands, result, LIMIT).tolist() == [[1.5]]
    assert not np.any(products.opposed("linear", operands, result, LIMIT))


def test_what_is_known_of_a_constant_is_found_once_and_of_a_variable_anew() -> None:
    found = []

    def find(values: Any) -> int:
        found.append(1)
        return int(values.sum())

    constant, variable = np.arange(4.0), np.arange(4.0)
    constant.setflags(write=False)
    for _ in range(3):
        assert (fast.remembered(constant, find), fast.remembered(variable, find)) == (6, 6)
    assert len(found) == 4
    variable[0] = 10
    assert fast.remembered(variable, find) == 16
    gc.collect()  # what earlier tests left
    before = len(fast._remembered)
    del constant
    gc.collect()
    assert len(fast._remembered) == before - 1


def test_largest_and_nan_see_what_there_is() -> None:
    assert fast.largest(np.array([-3.0, 2.0])) == 3.0
    assert fast.largest(np.array([])) == 0.0
    assert np.isnan(fast.largest(np.array([1.0, np.nan])))
    assert (fast.has_nan(np.array([1.0, np.nan])), fast.has_nan(np.array([1.0, np.inf]))) == (True, False)


def _difference_then_relu(x: Any, profile: Profile) -> tuple[Any, Any]:
    """What relu(x - x) gives for a tensor x, and x - x itself."""
    names = {name: Tensor(name=name, dtype=DType.FP16, shape=x.shape) for name in ("x", "y", "z")}
    difference = Node(op="sub", name="y", operands={"x": Ref("x"), "y": Ref("x")}, outputs=(names["y"],))
    relu = Node(op="relu", name="z", operands={"x": Ref("y")}, outputs=(names["z"],))
    graph = Graph(inputs=(names["x"],), constants={}, nodes=(difference, relu), outputs=("z",))
    values = evaluate(graph, {"x": x}, Emulated(profile))
    return values["y"], values["z"]


@pytest.mark.parametrize("size", [3, 2**15])
def test_that_no_nan_leaves_is_known_only_of_an_engine_that_lets_none_out(size: int) -> None:
    x = np.full(size, np.inf)
    rules = hazards.TABLE.keys() - {"invalid-forms-give-zero"} & ANE.hazards
    lets_out = Profile(name="lets NaN out", summary="", is_neural_engine=True, hazards=frozenset(rules))
    assert [bool(np.all(each == 0)) for each in _difference_then_relu(x, ANE)] == [True, True]
    difference, after = _difference_then_relu(x, lets_out)
    assert bool(np.all(np.isnan(difference)))
    assert bool(np.all(after == np.inf))  # NaN enters as infinity


@pytest.mark.parametrize("other", [np.array([0.1, 0.2]), np.array(0.1), np.array([0.5, 0.25])])
def test_the_larger_of_a_tensor_and_a_constant_is_of_half_precision(other: Any) -> None:
    names = {name: Tensor(name=name, dtype=DType.FP16, shape=(2,)) for name in ("x", "y")}
    node = Node(op="maximum", name="y", operands={"x": Ref("x"), "y": other}, outputs=(names["y"],))
    graph = Graph(inputs=(names["x"],), constants={}, nodes=(node,), outputs=("y",))
    got = evaluate(graph, {"x": np.zeros(2)}, Emulated(ANE))["y"]
    assert got.tolist() == fp16.to_fp16(np.broadcast_to(other, 2)).astype(np.float64).tolist()


def _constant(*values: float) -> Any:
    constant = np.array(values)
    constant.setflags(write=False)
    return constant


def test_what_is_known_of_a_constant_is_known_by_its_key_or_by_how_it_is_found() -> None:
    constant, calls = _constant(1.0, 3.0), []

    def summed(values: Any) -> float:
        calls.append(1)
        return float(values.sum())

    assert [fast.remembered(constant, find) for find in (np.min, np.max, np.min)] == [1.0, 3.0, 1.0]
    for _ in range(2):
        assert fast.remembered(constant, lambda each: summed(each), "sum") == 4.0  # noqa: PLW0108 - another each time
    assert len(calls) == 1
    assert [fast.kept(constant, dtype).dtype for dtype in (np.float32, np.float64, np.float32)] == [
        np.float32,
        np.float64,
        np.float32,
    ]
    first, second = fast.tensor(constant, np.float32), fast.tensor(constant, np.float32)
    assert first.data_ptr() == second.data_ptr()


def test_a_view_of_what_others_write_to_is_looked_at_anew() -> None:
    base = np.array([1.0, 3.0])
    view = base[:]
    view.setflags(write=False)
    assert fast.largest(view) == 3.0
    base[0] = 10.0
    assert fast.largest(view) == 10.0


def test_what_is_frozen_cannot_be_written_to_and_a_view_can() -> None:
    whole = np.array([1.0, 3.0])
    view = whole[:1]
    assert fast.frozen(view) is view
    assert view.flags.writeable
    assert fast.frozen(whole) is whole
    assert not whole.flags.writeable


def test_whoever_knows_that_nothing_is_nan_is_believed() -> None:
    whole, view = np.array([np.nan]), np.array([np.nan, np.nan])[:1]
    assert fast.frozen_without_nan(whole) is whole
    assert not whole.flags.writeable
    assert not fast.has_nan(whole)
    assert fast.frozen_without_nan(view) is view
    assert fast.has_nan(view)


@pytest.mark.parametrize(("is_loaded", "least"), [(True, 2**13), (False, 2**18)])
def test_pytorch_is_called_from_some_thousands_of_elements_on_and_loaded_for_many_more(
    is_loaded: bool, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_loaded:
        monkeypatch.delitem(sys.modules, "torch")
    asked = [fast._is_worthwhile(np.broadcast_to(1.0, size)) for size in (least - 1, least)]
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("convert", "dtype", "size", "is_quick"),
    [
        (fast.rounded, np.float64, 2**13, True),
        (fast.rounded, np.float32, 2**13, True),
        (fast.rounded, np.float64, 8, False),
        (fast.narrowed, np.float64, 2**13, True),
        (fast.narrowed, np.float32, 2**13, False),
        (fast.narrowed, np.float64, 8, False),
        (fast.narrowed, np.float32, 8, False),
        (fast.widen, np.float16, 2**13, True),
        (fast.widen, np.float16, 8, False),
        (fast.widen, np.float64, 2**13, False),
    ],
)
def test_the_quick_way_is_taken_where_it_is_quicker(
    convert: Any, dtype: Any, size: int, is_quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, quick = [], fast._in_chunks

    def noted(*given: Any) -> Any:
        taken.append(1)
        return quick(*given)

    monkeypatch.setattr(fast, "_in_chunks", noted)
    assert (convert(np.full(size, 1.5, dtype)) == 1.5).all()
    assert bool(taken) is is_quick


def test_a_list_is_widened_like_an_array() -> None:
    assert fast.widen([1.5, 2.0]).tolist() == [1.5, 2.0]


def test_what_nobody_may_write_to_is_not_lent_to_pytorch() -> None:
    single = np.full(2**13, 0.1, np.float32)
    single.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PyTorch complains once of an array that it could write to
        assert (fast.rounded(single) == float(np.float16(0.1))).all()
