"""Convolution, linear and matmul: sums of products, and the partial sums that the Neural Engine limits.

All tensors are float64. Convolutions are (batch, channels, *spatial) with weights (out, in / groups, *kernel).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from mish_guard.engines.emulator import fast
from mish_guard.engines.emulator.graph import Array
from mish_guard.errors import UnsupportedOpError
from mish_guard.numerics import fp16

# What an operation is given, by parameter name: tensors, numbers, flags, text.
Operands: TypeAlias = Mapping[str, Any]

# From this many products, or groups, on PyTorch does the sums.
_LARGE = 2**19
_MANY = 8

# Products that are looked into at a time.
_AT_ONCE = 2**21


def conv(
    *,
    x: Array,
    weight: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | float = 1,
    bias: Array | None = None,
    accumulator: DTypeLike,
) -> Array:
    """Convolution over any number of spatial dimensions, summed in `accumulator`."""
    if x.ndim in (3, 4, 5) and (x.size * taps(weight) >= _LARGE or int(groups) > _MANY):
        return _convolved(x, weight, strides, pad_type, pad, dilations, int(groups), bias, accumulator)
    outputs = []
    for window, kernel in _convolution_groups(x, weight, strides, pad_type, pad, dilations, int(groups)):
        with np.errstate(over="ignore", invalid="ignore"):
            outputs.append(window.astype(accumulator) @ kernel.astype(accumulator).T)
    return _with_bias(np.moveaxis(np.concatenate(outputs, axis=-1), -1, 1), bias, channel_axis=1)


def _convolved(
    x: Array,
    weight: Array,
    strides: Array | None,
    pad_type: str,
    pad: Array | None,
    dilations: Array | None,
    groups: int,
    bias: Array | None,
    accumulator: DTypeLike,
) -> Array:
    """The same by PyTorch, which is worth loading for anything large; in the type of the accumulator."""
    from torch.nn import functional

    rank = x.ndim - 2
    steps, holes, borders = _geometry(x.shape[2:], weight.shape[2:], strides, pad_type, pad, dilations)
    before = [first for first, _ in borders]
    padded = fast.tensor(x, accumulator)
    if any(first != last for first, last in borders):
        padded = functional.pad(padded, [amount for border in reversed(borders) for amount in border])
        before = [0] * rank
    convolve: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    offset = None if bias is None else fast.tensor(np.reshape(bias, -1), accumulator)
    kernel = fast.tensor(weight, accumulator)
    summed: Array = fast.array(convolve(padded, kernel, offset, steps, before, holes, groups))
    return summed


def linear(*, x: Array, weight: Array, bias: Array | None = None, accumulator: DTypeLike) -> Array:
    """X @ weight.T + bias with x (…, in) and weight (out, in)."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = x.astype(accumulator) @ fast.kept(weight, accumulator).T
    return _with_bias(product, bias, channel_axis=-1)


def matmul(
    *, x: Array, y: Array, transpose_x: Array | bool = False, transpose_y: Array | bool = False, accumulator: DTypeLike
) -> Array:
    """Batched matrix product of two tensors."""
    left, right = _matrices(x, y, transpose_x, transpose_y)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((left.astype(accumulator) @ right.astype(accumulator)).astype(np.float64))


def taps(weight: Array) -> int:
    """Products per output of a convolution: input channels of a group times kernel size."""
    return math.prod(weight.shape[1:])


def bound(op: str, operands: Operands) -> float:
    """No partial sum of this operation exceeds this magnitude; cheap."""
    left, right, bias = _factors(op, operands)
    largest = fast.largest(left)
    with np.errstate(over="ignore", invalid="ignore"):
        product = largest * fast.remembered(right, _kernel if op == "conv" else _row) if largest else 0.0
    most = float(product + (0.0 if bias is None else fast.largest(bias)))
    return np.inf if np.isnan(most) else most


def _row(right: Array) -> float:
    """The largest sum of magnitudes of the factors (…, out, K) that one output is made with."""
    return float(np.max(np.abs(right).sum(axis=-1), initial=0.0))


def _kernel(weight: Array) -> float:
    """The same for the weights of a convolution (out, in / groups, *kernel)."""
    return _row(weight.reshape(len(weight), -1))


def overflow_partials(op: str, operands: Operands, result: Array, limit: float) -> Array:
    """`result` with ±inf wherever the sum, or a partial sum taken in the order of the weights, reaches `limit`.

    The engine's own order of summation is not known (F51 speaks of tiles); a sum whose partials exceed the limit in
    one order only is a borderline case that this order decides. A sum keeps the sign of its first infinity.
    """
    result = result.astype(np.float64)
    with np.errstate(all="ignore"):
        for index, products in _looked_into(op, operands, np.argwhere(_may_overflow(op, operands, result, limit))):
            partial = np.cumsum(products, axis=-1)
            over, first = _first_infinity(partial, limit)
            offset = 0.0 if operands.get("bias") is None else operands["bias"][index[1 if op == "conv" else -1]]
            added = np.where(np.isnan(result[index]), partial[:, -1] + offset, result[index])
            result[index] = np.where(over, np.copysign(np.inf, first), added)
        over = np.abs(fp16.to_fp16(result)) >= limit
    return np.where(over, np.copysign(np.inf, result), result)


def opposed(op: str, operands: Operands, result: Array, limit: float) -> Array | None:
    """Where a sum that is infinite meets a product that is infinite the other way; None if it can be nowhere."""
    left, right, _ = _factors(op, operands)
    with np.errstate(all="ignore"):
        if fast.largest(left) * fast.largest(right) < limit * (1 - 2.0**-10):
            return None
        met = np.zeros(result.shape, dtype=bool)
        for index, products in _looked_into(op, operands, np.argwhere(np.isinf(result))):
            other = np.copysign(1.0, result[index])[:, None] * products < 0
            met[index] = (other & (np.abs(fp16.to_fp16(products)) >= limit)).any(axis=-1)
    return met


def _looked_into(op: str, operands: Operands, places: Array) -> Iterator[tuple[tuple[Array, ...], Array]]:
    """The index of some places at a time, and the products that are summed up there; 0 * inf is +0 (F48)."""
    for some in np.array_split(places, max(1, -(-len(places) // _rows_at_once(op, operands)))):
        products = _products(op, operands, some)
        yield tuple(some.T), np.where(np.isnan(products), 0.0, products)


def _first_infinity(partial: Array, limit: float) -> tuple[Array, Array]:
    """Whether a partial sum reaches the limit, and the first that does."""
    over = ~(np.abs(fp16.to_fp16(partial)) < limit)
    return np.asarray(over.any(axis=-1)), np.take_along_axis(partial, np.argmax(over, axis=-1)[:, None], axis=-1)[:, 0]


def _may_overflow(op: str, operands: Operands, result: Array, limit: float) -> Array:
    """Where the positive or the negative products alone reach the limit: no partial sum is larger than they are.

    They add up to the sum of magnitudes and differ by the result without its bias, give or take the rounding of all.
    """
    magnitudes = dict(operands)
    for name in ("x", "weight", "y"):
        if name in operands:
            magnitudes[name] = np.abs(operands[name])
    bias = magnitudes.pop("bias", None)
    offset = 0.0 if bias is None else fast.largest(bias)
    total = _SUMS[op](**magnitudes, accumulator=np.float32)
    larger = (total.astype(np.float64) + np.abs(result) + offset) * (0.5 * (1 + 2.0**-10))
    return np.asarray(~(larger < limit * (1 - 2.0**-10)))


def _products(op: str, operands: Operands, places: Array) -> Array:
    """For each place of the result, (n, axes): the products that are summed up for it, (n, K)."""
    if op == "conv":
        return _convolution_products(operands, places)
    if op == "linear":
        return np.asarray(operands["x"][tuple(places[:, :-1].T)] * operands["weight"][places[:, -1]])
    left, right = _matmul_operands(operands)
    shape = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, (*shape, *left.shape[-2:]))
    right = np.broadcast_to(np.swapaxes(right, -1, -2), (*shape, right.shape[-1], right.shape[-2]))
    batch = tuple(places[:, :-2].T)
    rows, columns = (*batch, places[:, -2]), (*batch, places[:, -1])
    return np.asarray(left[rows] * right[columns])


def _convolution_products(operands: Operands, places: Array) -> Array:
    weight, groups = operands["weight"], int(operands.get("groups", 1))
    windows = _windows(**_convolution_operands(operands))  # (batch, channels, *spatial, *kernel)
    rank, per_group, out_per_group = windows.ndim // 2 - 1, weight.shape[1], len(weight) // groups
    first = places[:, 1] // out_per_group * per_group
    channels = first[:, None] + np.arange(per_group)
    at = (places[:, :1], channels, *(places[:, axis : axis + 1] for axis in range(2, 2 + rank)))
    return np.asarray((windows[at] * weight[places[:, 1]]).reshape(len(places), taps(weight)))


def _rows_at_once(op: str, operands: Operands) -> int:
    """How many outputs are looked into at a time: a few million products."""
    length = taps(operands["weight"]) if op in ("conv", "linear") else operands["x"].shape[-1]
    return max(1, _AT_ONCE // max(1, length))


def _factors(op: str, operands: Operands) -> tuple[Array, Array, Array | None]:
    if op in ("conv", "linear"):
        return operands["x"], operands["weight"], operands.get("bias")
    left, right = _matmul_operands(operands)
    return left, np.swapaxes(right, -1, -2), None


def _matmul_operands(operands: Operands) -> tuple[Array, Array]:
    return _matrices(
        operands["x"], operands["y"], operands.get("transpose_x", False), operands.get("transpose_y", False)
    )


def _matrices(x: Array, y: Array, transpose_x: Array | bool, transpose_y: Array | bool) -> tuple[Array, Array]:
    return (np.swapaxes(x, -1, -2) if transpose_x else x, np.swapaxes(y, -1, -2) if transpose_y else y)


def _convolution_operands(operands: Operands) -> dict[str, Any]:
    return {
        "x": operands["x"],
        "weight": operands["weight"],
        "strides": operands.get("strides"),
        "pad_type": operands.get("pad_type", "valid"),
        "pad": operands.get("pad"),
        "dilations": operands.get("dilations"),
        "groups": int(operands.get("groups", 1)),
    }


def _geometry(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: Array | None,
    pad_type: str,
    pad: Array | None,
    dilations: Array | None,
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Strides, dilations and borders of each spatial dimension."""
    steps = [1] * len(size) if strides is None else [int(each) for each in strides]
    holes = [1] * len(size) if dilations is None else [int(each) for each in dilations]
    extent = [hole * (length - 1) + 1 for hole, length in zip(holes, kernel, strict=True)]
    return steps, holes, padding(size, extent, steps, pad_type, pad)


def _windows(
    x: Array,
    weight: Array,
    strides: Array | None,
    pad_type: str,
    pad: Array | None,
    dilations: Array | None,
    groups: int,
) -> Array:
    """What each output sees: a view (batch, channels, *spatial, *kernel)."""
    del groups
    rank = x.ndim - 2
    steps, holes, borders = _geometry(x.shape[2:], weight.shape[2:], strides, pad_type, pad, dilations)
    extent = [hole * (length - 1) + 1 for hole, length in zip(holes, weight.shape[2:], strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *borders])
    axes: Any = tuple(range(2, 2 + rank))  # numpy takes several where its types know one
    windows = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=axes)
    every = (slice(None), slice(None), *(slice(None, None, step) for step in steps))
    spread = (*every, *(slice(None, None, hole) for hole in holes))
    return np.asarray(windows[spread])


def _convolution_groups(
    x: Array,
    weight: Array,
    strides: Array | None,
    pad_type: str,
    pad: Array | None,
    dilations: Array | None,
    groups: int,
) -> Iterator[tuple[Array, Array]]:
    """For each group: windows (batch, *spatial, K) and kernels (out / groups, K)."""
    rank = x.ndim - 2
    windows = np.moveaxis(_windows(x, weight, strides, pad_type, pad, dilations, groups), 1, 1 + rank)
    per_group, out_per_group = weight.shape[1], weight.shape[0] // groups
    for group in range(groups):
        members: tuple[EllipsisType | slice, ...] = (
            ...,
            slice(group * per_group, (group + 1) * per_group),
            *([slice(None)] * rank),
        )
        chosen = windows[members]
        flat = chosen.reshape(*chosen.shape[: 1 + rank], -1)
        yield flat, weight[group * out_per_group : (group + 1) * out_per_group].reshape(out_per_group, -1)


def padding(
    size: tuple[int, ...], kernel: list[int], strides: list[int], pad_type: str, pad: Array | None
) -> list[tuple[int, int]]:
    """Zeros before and after each spatial dimension, as MIL defines `pad_type`."""
    if pad_type == "valid":
        return [(0, 0)] * len(size)
    if pad_type == "custom" and pad is not None:
        return [(int(before), int(after)) for before, after in np.asarray(pad).reshape(-1, 2)]
    if pad_type in ("same", "same_lower"):
        totals = [
            max((-(-length // step) - 1) * step + extent - length, 0)
            for length, extent, step in zip(size, kernel, strides, strict=True)
        ]
        small_side_first = pad_type == "same"
        return [
            (total // 2, total - total // 2) if small_side_first else (total - total // 2, total // 2)
            for total in totals
        ]
    msg = f"The emulator does not know the padding '{pad_type}'."
    raise UnsupportedOpError(msg)


def _with_bias(values: Array, bias: Array | None, *, channel_axis: int) -> Array:
    values = values.astype(np.float64)
    if bias is None:
        return values
    shape = [1] * values.ndim
    shape[channel_axis] = -1
    return values + bias.reshape(shape)


_SUMS: dict[str, Callable[..., Array]] = {"conv": conv, "linear": linear, "matmul": matmul}
