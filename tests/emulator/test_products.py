"""Sums of products and their partial sums, against loops that take one product after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import products
from mish_guard.errors import UnsupportedOpError

Array = np.ndarray[Any, Any]
Place = tuple[int, ...]

LIMIT = 32768.0


def whole(seed: int, most: int, *shape: int) -> Array:
    """Whole numbers, whose sums are exact in every order and type."""
    return np.random.default_rng(seed).integers(-most, most + 1, size=shape).astype(np.float64)


def convolution(
    x: Array, weight: Array, steps: Place, borders: list[Place], holes: Place, groups: int
) -> Iterator[tuple[Place, list[float]]]:
    """Each place of a convolution with its products, in the order of the weights."""
    padded = np.zeros((*x.shape[:2], *(a + n + b for (a, b), n in zip(borders, x.shape[2:], strict=True))))
    inside = [slice(a, a + n) for (a, _), n in zip(borders, x.shape[2:], strict=True)]
    place = (slice(None), slice(None), *inside)
    padded[place] = x
    kernel, inner, outer = weight.shape[2:], weight.shape[1], len(weight) // groups
    sizes = [
        (n - hole * (k - 1) - 1) // step + 1
        for n, k, step, hole in zip(padded.shape[2:], kernel, steps, holes, strict=True)
    ]
    for batch, channel, *at in itertools.product(range(len(x)), range(len(weight)), *map(range, sizes)):
        terms = []
        for number, *tap in itertools.product(range(inner), *map(range, kernel)):
            where = [a * step + t * hole for a, step, t, hole in zip(at, steps, tap, holes, strict=True)]
            read, factor = (batch, channel // outer * inner + number, *where), (channel, number, *tap)
            terms.append(float(padded[read]) * float(weight[factor]))
        yield (batch, channel, *at), terms


# Shapes of x and weight, operands, and the strides, borders, dilations and groups that they mean.
CONVOLUTIONS: dict[str, tuple[Place, Place, dict[str, Any], tuple[Place, list[Place], Place, int]]] = {
    "plain": ((2, 2, 7), (3, 2, 3), {}, ((1,), [(0, 0)], (1,), 1)),
    "one tap": (
        (1, 6, 6),
        (2, 6, 1),
        {"pad_type": "same", "strides": np.array([2])},
        ((2,), [(0, 0)], (1,), 1),
    ),
    "more behind": (
        (1, 4, 6, 5),
        (6, 2, 3, 2),
        {"pad_type": "same", "strides": np.array([2, 1]), "groups": 2},
        ((2, 1), [(0, 1), (0, 1)], (1, 1), 2),
    ),
    "more ahead": (
        (2, 2, 6, 5),
        (4, 2, 3, 2),
        {"pad_type": "same_lower", "strides": np.array([2, 1])},
        ((2, 1), [(1, 0), (1, 0)], (1, 1), 1),
    ),
    "uneven": (
        (1, 4, 5, 4),
        (4, 2, 2, 3),
        {"pad_type": "custom", "pad": np.array([1, 2, 0, 1]), "dilations": np.array([2, 1]), "groups": np.array(2)},
        ((1, 1), [(1, 2), (0, 1)], (2, 1), 2),
    ),
    "even and uneven": (
        (1, 2, 5, 4),
        (2, 2, 2, 3),
        {"pad_type": "custom", "pad": np.array([1, 1, 0, 1])},
        ((1, 1), [(1, 1), (0, 1)], (1, 1), 1),
    ),
    "of space": (
        (1, 2, 3, 4, 3),
        (2, 2, 2, 2, 2),
        {"pad_type": "custom", "pad": np.array([1, 1, 0, 0, 2, 2])},
        ((1, 1, 1), [(1, 1), (0, 0), (2, 2)], (1, 1, 1), 1),
    ),
    "of space and time": (
        (1, 2, 2, 3, 2, 2),
        (2, 2, 2, 1, 1, 2),
        {},
        ((1,) * 4, [(0, 0)] * 4, (1,) * 4, 1),
    ),
}
MATRICES = [(False, False), (True, False), (False, True), (True, True)]

Case = tuple[str, dict[str, Any], dict[Place, list[float]]]


def convolution_case(name: str, *, bias: bool) -> Case:
    left, right, settings, meant = CONVOLUTIONS[name]
    operands = {"x": whole(1, 220, *left), "weight": whole(2, 100, *right), **settings}
    if bias:
        operands["bias"] = whole(3, 9000, right[0])
    return "conv", operands, dict(convolution(operands["x"], operands["weight"], *meant))


def linear_case(*, bias: bool) -> Case:
    operands = {"x": whole(4, 220, 2, 3, 5), "weight": whole(5, 100, 4, 5)}
    if bias:
        operands["bias"] = whole(6, 9000, 4)
    terms: dict[Place, list[float]] = {
        (*place, row): [float(a * b) for a, b in zip(operands["x"][place], operands["weight"][row], strict=True)]
        for place in np.ndindex(2, 3)
        for row in range(4)
    }
    return "linear", operands, terms


def matmul_case(over_x: bool, over_y: bool) -> Case:
    left, right = whole(7, 220, 2, 1, 3, 6), whole(8, 100, 4, 6, 5)
    terms: dict[Place, list[float]] = {
        (a, b, row, column): [float(left[a, 0, row, k] * right[b, k, column]) for k in range(6)]
        for a, b, row, column in np.ndindex(2, 4, 3, 5)
    }
    turned = {"transpose_x": np.bool_(over_x)} if over_x else {}
    if over_y:
        turned["transpose_y"] = np.bool_(over_y)
    x, y = (np.swapaxes(each, -1, -2) if over else each for each, over in ((left, over_x), (right, over_y)))
    return "matmul", {"x": x, "y": y, **turned}, terms


def flat_matmul_case(over: bool) -> Case:
    left, right = whole(9, 220, 3, 6), whole(10, 100, 6, 5)
    terms: dict[Place, list[float]] = {
        at: [float(a * b) for a, b in zip(left[at[0]], right.T[at[1]], strict=True)] for at in np.ndindex(3, 5)
    }
    x, y = (each.T if over else each for each in (left, right))
    return "matmul", {"x": x, "y": y, "transpose_x": np.bool_(over), "transpose_y": np.bool_(over)}, terms


CASES: dict[str, Case] = {
    **{f"conv {name}": convolution_case(name, bias=False) for name in CONVOLUTIONS},
    **{f"conv {name} with bias": convolution_case(name, bias=True) for name in ("plain", "more behind", "of space")},
    "linear": linear_case(bias=False),
    "linear with bias": linear_case(bias=True),
    **{f"matmul {over}": matmul_case(*over) for over in MATRICES},
    **{f"matmul of two matrices {over}": flat_matmul_case(over) for over in (False, True)},
}


def offset(op: str, operands: dict[str, Any], place: Place) -> float:
    if "bias" not in operands:
        return 0.0
    return float(operands["bias"][place[1] if op == "conv" else place[-1]])


def summed(case: Case) -> Array:
    """Each sum with its bias."""
    op, operands, terms = case
    result = np.empty([1 + most for most in map(max, zip(*terms, strict=True))])
    for place, each in terms.items():
        result[place] = sum(each) + offset(op, operands, place)
    return result


def half(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float16(value))


def overflown(case: Case) -> Array:
    """`summed` with the sign of the first partial sum that rounds to the limit or beyond."""
    op, operands, terms = case
    result = summed(case)
    for place, each in terms.items():
        known = [0.0 if np.isnan(term) else term for term in each]
        if np.isnan(result[place]):
            result[place] = sum(known) + offset(op, operands, place)
        reached = [part for part in itertools.accumulate(known) if not abs(half(part)) < LIMIT]
        if reached or abs(half(float(result[place]))) >= LIMIT:
            result[place] = np.copysign(np.inf, reached[0] if reached else result[place])
    return result


def met(case: Case, result: Array) -> Array:
    """Where an infinite sum has a product that is infinite the other way."""
    found = np.zeros(result.shape, dtype=bool)
    for place, each in case[2].items():
        against = [term for term in each if term * np.sign(result[place]) < 0 and abs(half(term)) >= LIMIT]
        found[place] = bool(np.isinf(result[place]) and against)
    return found


@pytest.mark.parametrize("by", ["numpy", "torch"])
@pytest.mark.parametrize("name", CASES)
def test_a_sum_of_products_is_that_of_a_loop(name: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, operands, _ = CASES[name]
    monkeypatch.setattr(products, "_LARGE", 0 if by == "torch" else 2**40)
    for accumulator in (np.float64, np.float32):
        got = products._SUMS[op](**operands, accumulator=accumulator)
        np.testing.assert_array_equal(got, summed(CASES[name]))
        assert got.dtype == (accumulator if by == "torch" and op == "conv" and got.ndim < 6 else np.float64)


@pytest.mark.parametrize("name", CASES)
def test_a_partial_sum_that_reaches_the_limit_is_infinite_with_its_sign(name: str) -> None:
    op, operands, _ = CASES[name]
    want = overflown(CASES[name])
    assert np.isinf(want).any()
    assert np.isfinite(want).any()
    np.testing.assert_array_equal(products.overflow_partials(op, operands, summed(CASES[name]), LIMIT), want)


@pytest.mark.parametrize("name", CASES)
def test_few_products_are_looked_into_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, operands, terms = CASES[name]
    length = len(next(iter(terms.values())))
    monkeypatch.setattr(products, "_AT_ONCE", 2 * length)
    places = np.array(list(terms)[:5])
    parts = list(products._looked_into(op, operands, places))
    if op != "matmul" or not operands.get("transpose_x"):
        assert [len(each) for _, each in parts] == [2, 2, 1]
    assert np.concatenate([np.stack(index, axis=1) for index, _ in parts]).tolist() == places.tolist()
    assert np.concatenate([each for _, each in parts]).tolist() == [terms[tuple(place)] for place in places]


@pytest.mark.parametrize("name", CASES)
def test_a_product_that_is_infinite_the_other_way_is_met(name: str) -> None:
    op, operands, terms = CASES[name]
    larger = {key: each * 2 if key in ("x", "weight", "y") else each for key, each in operands.items()}
    case = op, larger, {place: [term * 4 for term in each] for place, each in terms.items()}
    result = overflown(case)
    got = products.opposed(op, larger, result, LIMIT)
    assert got is not None
    assert 0 < np.count_nonzero(met(case, result)) < result.size
    np.testing.assert_array_equal(got, met(case, result))


@pytest.mark.parametrize("name", CASES)
def test_no_partial_sum_is_beyond_the_bound(name: str) -> None:
    op, operands, _ = CASES[name]
    weight = np.abs(operands["y"] if op == "matmul" else operands["weight"])
    if op == "matmul":
        sums = weight.sum(axis=-1 if operands.get("transpose_y") else -2)
    else:
        sums = np.array([each.sum() for each in weight])
    most = np.abs(operands["x"]).max() * sums.max() + np.abs(operands.get("bias", np.zeros(1))).max()
    assert products.bound(op, operands) == most


@pytest.mark.parametrize(
    ("x", "weight", "bias", "want"),
    [
        ([0.0, 0.0], [np.inf, 1.0], None, 0.0),
        ([np.inf, 1.0], [0.0, 0.0], None, np.inf),
        ([np.nan, 1.0], [1.0, 1.0], None, np.inf),
        ([-3.0, 2.0], [-4.0, 5.0], [-1.0], 28.0),
        ([0.0, 0.0], [1.0, 1.0], [-7.0], 7.0),
        ([], [], None, 0.0),
    ],
)
def test_a_bound_of_nothing_is_the_bias_and_of_what_is_unknown_infinite(
    x: list[float], weight: list[float], bias: list[float] | None, want: float
) -> None:
    operands = {"x": np.array([x]), "weight": np.array([weight])}
    if bias is not None:
        operands["bias"] = np.array(bias)
    assert products.bound("linear", operands) == want
    filters = {**operands, "x": operands["x"][:, :, None], "weight": operands["weight"][:, :, None]}
    assert products.bound("conv", filters) == want


def test_the_bound_of_no_rows_is_zero() -> None:
    assert products.bound("linear", {"x": np.ones((1, 2)), "weight": np.ones((0, 2))}) == 0.0


@pytest.mark.parametrize("bias", [[0.0, 0.0], [5.0, 6.0]])
@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 1, 2)])
def test_zero_times_infinity_adds_nothing(bias: list[float], shape: Place) -> None:
    x, weight = np.array([[np.inf, 1.0], [1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 2.0]])
    operands = {"x": x.reshape(*shape, 2), "weight": weight} | ({"bias": np.array(bias)} if any(bias) else {})
    want = np.array([[np.inf, 2.0 + bias[1]], [1.0 + bias[0], 4.0 + bias[1]]])
    with np.errstate(invalid="ignore"):
        result = products.linear(**operands, accumulator=np.float64)
    got = products.overflow_partials("linear", operands, result, LIMIT)
    assert got.tolist() == want.reshape(*shape, 2).tolist()
    filters = {**operands, "x": x.T[None], "weight": weight[..., None]}
    with np.errstate(invalid="ignore"):
        result = products.conv(**filters, accumulator=np.float64)
    assert products.overflow_partials("conv", filters, result, LIMIT).tolist() == [want.T.tolist()]


@pytest.mark.parametrize(
    ("terms", "want"),
    [
        ([32760.0, -32760.0], np.inf),
        ([32759.0, -32759.0], 0.0),
        ([-32760.0, 32760.0], -np.inf),
        ([40000.0, -80000.0], np.inf),
        ([1.0, -40000.0, 80000.0], -np.inf),
        ([32759.0], 32759.0),
        ([32760.0], np.inf),
        ([16380.0, 16379.0], 32759.0),
    ],
)
def test_the_first_partial_sum_that_rounds_to_the_limit_decides(terms: list[float], want: float) -> None:
    operands = {"x": np.array([terms]), "weight": np.ones((1, len(terms)))}
    result = np.array([[sum(terms)]])
    assert products.overflow_partials("linear", operands, result, LIMIT).tolist() == [[want]]
    factors = {"x": np.ones((1, len(terms))), "y": np.array(terms)[:, None]}
    assert products.overflow_partials("matmul", factors, result, LIMIT).tolist() == [[want]]
    assert result.tolist() == [[sum(terms)]]


def test_a_bias_that_lifts_a_sum_to_the_limit_makes_it_infinite() -> None:
    operands = {"x": np.array([[30000.0]]), "weight": np.array([[1.0], [-1.0], [1.0]])}
    operands["bias"] = np.array([2760.0, -2760.0, 2759.0])
    result = np.array([[32760.0, -32760.0, 32759.0]])
    assert products.overflow_partials("linear", operands, result, LIMIT).tolist() == [[np.inf, -np.inf, 32759.0]]


@pytest.mark.parametrize(
    ("positive", "negative", "bias", "limit", "want"),
    [
        (32704.0, 0.0, 0.0, LIMIT, False),  # times 1 + 2**-10 below 32736, which is the limit times 1 - 2**-10
        (32705.0, 0.0, 0.0, LIMIT, True),
        (32704.0, 32704.0, 0.0, LIMIT, False),
        (32705.0, 32705.0, 0.0, LIMIT, True),
        (100.0, 32704.0, 0.0, LIMIT, False),
        (100.0, 32705.0, 0.0, LIMIT, True),
        (32700.0, 0.0, 4.0, LIMIT, False),  # as if the bias had lessened the sum: half of 65400 + 4 + 4
        (32700.0, 0.0, 5.0, LIMIT, True),
        (32705.0, 0.0, -10.0, LIMIT, True),
        (1023.0 * 32 - 2.0**-8, 0.0, 0.0, 1025.0 * 32, False),
        (1023.0 * 32, 0.0, 0.0, 1025.0 * 32, True),  # 1023 * 1025 on both sides
        (np.inf, 0.0, 0.0, LIMIT, True),
    ],
)
def test_only_sums_that_can_reach_the_limit_are_looked_into(
    positive: float, negative: float, bias: float, limit: float, want: bool
) -> None:
    operands = {"x": np.array([[positive, -negative]]), "weight": np.ones((1, 2)), "bias": np.array([bias])}
    result = np.array([[positive - negative + bias]])
    assert products._may_overflow("linear", operands, result, limit).tolist() == [[want]]
    if not bias:
        del operands["bias"]
        assert products._may_overflow("linear", operands, result, limit).tolist() == [[want]]


@pytest.mark.parametrize(
    ("terms", "result", "want"),
    [
        ([32735.0, -32735.0], np.inf, None),
        ([32736.0, -32736.0], np.inf, False),
        ([40000.0, -32759.0], np.inf, False),
        ([40000.0, -32760.0], np.inf, True),
        ([-40000.0, 32760.0], -np.inf, True),
        ([-40000.0, 32760.0], np.inf, True),
        ([-40000.0, 0.0], -np.inf, False),
        ([-40000.0, 32760.0], 7.0, False),
        ([np.inf, -1.0], np.inf, False),
        ([np.inf, -np.inf], np.inf, True),
    ],
)
def test_an_infinity_is_opposed_by_a_product_that_rounds_to_the_limit(
    terms: list[float], result: float, want: bool | None
) -> None:
    operands = {"x": np.array([terms]), "weight": np.ones((1, 2))}
    got = products.opposed("linear", operands, np.array([[result]]), LIMIT)
    assert (None if got is None else got.tolist()) == (None if want is None else [[want]])


@pytest.mark.parametrize(
    ("op", "operands", "want"),
    [
        ("conv", {"weight": np.zeros((3, 8, 4, 4))}, 2**14),
        ("linear", {"weight": np.zeros((3, 8))}, 2**18),
        ("matmul", {"x": np.zeros((3, 2, 16))}, 2**17),
        ("linear", {"weight": np.zeros((3, 0))}, 2**21),
        ("linear", {"weight": np.broadcast_to(0.0, (1, 2**22))}, 1),
    ],
)
def test_two_million_products_are_looked_into_at_a_time(op: str, operands: dict[str, Any], want: int) -> None:
    assert products._rows_at_once(op, operands) == want


@pytest.mark.parametrize(
    ("shape", "kernel", "groups", "want"),
    [
        ((1, 1, 2**17), (1, 1, 4), 1, True),
        ((1, 1, 2**17 - 1), (1, 1, 4), 1, False),
        ((1, 8, 2), (8, 1, 1), 8, False),
        ((1, 9, 2), (9, 1, 1), 9, True),
        ((1, 9, 2, 1, 1, 1), (9, 1, 1, 1, 1, 1), 9, False),
    ],
)
def test_pytorch_sums_what_is_large_or_has_many_groups(
    shape: Place, kernel: Place, groups: int, want: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_convolved", lambda *_: "by PyTorch")
    monkeypatch.setattr(products, "_convolution_groups", lambda *_: [(np.zeros((1, 1, 1)), np.zeros((1, 1)))])
    got = products.conv(x=np.zeros(shape), weight=np.zeros(kernel), groups=groups, accumulator=np.float32)
    assert isinstance(got, str) is want


@pytest.mark.parametrize(("accumulator", "want"), [(np.float64, 1.0 + 2.0**-30), (np.float32, 1.0)])
@pytest.mark.parametrize("large", [False, True])
def test_every_kind_of_sum_is_taken_in_the_accumulator(
    accumulator: Any, want: float, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_LARGE", 0 if large else 2**40)
    x, weight = np.array([[1.0, 2.0**-30]]), np.ones((1, 2))
    taken = (
        products.conv(x=x[..., None], weight=weight[..., None], accumulator=accumulator),
        products.linear(x=x, weight=weight, accumulator=accumulator),
        products.matmul(x=x, y=weight.T, accumulator=accumulator),
    )
    assert [each.item() for each in taken] == [want] * 3


@pytest.mark.parametrize(
    ("size", "extent", "step", "kind", "want"),
    [
        (6, 3, 2, "same", (0, 1)),
        (6, 3, 2, "same_lower", (1, 0)),
        (5, 4, 1, "same", (1, 2)),
        (5, 4, 1, "same_lower", (2, 1)),
        (5, 5, 1, "same", (2, 2)),
        (5, 6, 1, "same", (2, 3)),
        (5, 6, 1, "same_lower", (3, 2)),
        (5, 1, 3, "same", (0, 0)),
        (7, 3, 1, "valid", (0, 0)),
    ],
)
def test_half_of_the_same_padding_lies_ahead(size: int, extent: int, step: int, kind: str, want: Place) -> None:
    assert products.padding((size,), [extent], [step], kind, None) == [want]
    assert products.padding((size,), [extent], [step], kind, np.array([7, 7])) == [want]


def test_a_padding_of_ones_own_has_to_be_given() -> None:
    assert products.padding((5,), [2], [1], "custom", np.array([3, 4])) == [(3, 4)]
    with pytest.raises(UnsupportedOpError, match="the padding 'custom'"):
        products.padding((5,), [2], [1], "custom", None)


def test_what_is_little_is_looked_into_at_once() -> None:
    operands = {"x": np.ones((3, 2)), "weight": np.ones((1, 2))}
    places = np.array([[0, 0], [2, 0]])
    assert [len(each) for _, each in products._looked_into("linear", operands, places)] == [2]
    assert [len(each) for _, each in products._looked_into("linear", operands, places[:0])] == [0]
