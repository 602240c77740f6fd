"""Convolution, linear and matmul: sums of products, and the partial sums that the Neural Engine limits.

All tensors are float64. Convolutions are (batch, channels, *spatial) with weights (out, in / groups, *kernel).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.errors import UnsupportedOpError


def conv(
    *,
    x: Array,
    weight: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Any = 1,
    bias: Array | None = None,
    accumulator: Any,
) -> Array:
    """Convolution over any number of spatial dimensions, summed in `accumulator`."""
    outputs = []
    for window, kernel in _convolution_groups(x, weight, strides, pad_type, pad, dilations, int(groups)):
        with np.errstate(over="ignore", invalid="ignore"):
            outputs.append(window.astype(accumulator) @ kernel.astype(accumulator).T)
    return _with_bias(np.moveaxis(np.concatenate(outputs, axis=-1), -1, 1), bias, channel_axis=1)


def linear(*, x: Array, weight: Array, bias: Array | None = None, accumulator: Any) -> Array:
    """X @ weight.T + bias with x (…, in) and weight (out, in)."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = x.astype(accumulator) @ weight.astype(accumulator).T
    return _with_bias(product, bias, channel_axis=-1)


def matmul(*, x: Array, y: Array, transpose_x: Any = False, transpose_y: Any = False, accumulator: Any) -> Array:
    """Batched matrix product of two tensors."""
    left, right = _matrices(x, y, transpose_x, transpose_y)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((left.astype(accumulator) @ right.astype(accumulator)).astype(np.float64))


def taps(weight: Array) -> int:
    """Products per output of a convolution: input channels of a group times kernel size."""
    return int(np.prod(weight.shape[1:]))


def bound(op: str, operands: Mapping[str, Any]) -> float:
    """No partial sum of this operation exceeds this magnitude; cheap."""
    left, right, bias = _factors(op, operands)
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.max(np.abs(left), initial=0.0)
        offset = 0.0 if bias is None else np.max(np.abs(bias), initial=0.0)
        product = largest * np.max(np.abs(right).sum(axis=-1), initial=0.0) if largest else 0.0
    return float(np.nan_to_num(product + offset, nan=np.inf))


def overflow_partials(op: str, operands: Mapping[str, Any], result: Array, limit: float) -> Array:
    """`result` with ±inf wherever the sum, or a partial sum taken in the order of the weights, reaches `limit`.

    The engine's own order of summation is not known (F51 speaks of tiles); a sum whose partials exceed the limit in
    one order only is a borderline case that this order decides.
    """
    first_overflow = np.zeros(result.shape)
    for place, left, right in _rows(op, operands):
        with np.errstate(over="ignore", invalid="ignore"):
            partial = np.cumsum(left * right, axis=-1)
        over = ~(np.abs(partial).astype(np.float16) < limit)
        first = np.argmax(over, axis=-1)
        sign = np.take_along_axis(partial, first[..., None], axis=-1)[..., 0]
        first_overflow[place] = np.where(over.any(axis=-1), np.copysign(np.inf, sign), 0.0)
    with np.errstate(over="ignore"):
        over = np.abs(result).astype(np.float16) >= limit
    result = np.where(over, np.copysign(np.inf, result), result)
    return np.where(first_overflow != 0, first_overflow, result)


def _rows(op: str, operands: Mapping[str, Any]) -> Iterator[tuple[Any, Array, Array]]:
    """For each output channel: its place in the result, the left factors (…, K) and the right factors (K)."""
    if op == "conv":
        channel = 0
        for window, kernel in _convolution_groups(**_convolution_operands(operands)):
            for row in kernel:
                yield (slice(None), channel), window, row
                channel += 1
        return
    if op == "linear":
        for channel, row in enumerate(operands["weight"]):
            yield (..., channel), operands["x"], row
        return
    left, right = _matmul_operands(operands)
    for channel in range(right.shape[-1]):
        yield (..., channel), left, right[..., None, :, channel]


def _factors(op: str, operands: Mapping[str, Any]) -> tuple[Array, Array, Array | None]:
    if op == "conv":
        weight = operands["weight"]
        return operands["x"], weight.reshape(len(weight), -1), operands.get("bias")
    if op == "linear":
        return operands["x"], operands["weight"], operands.get("bias")
    left, right = _matmul_operands(operands)
    return left, np.swapaxes(right, -1, -2), None


def _matmul_operands(operands: Mapping[str, Any]) -> tuple[Array, Array]:
    return _matrices(
        operands["x"], operands["y"], operands.get("transpose_x", False), operands.get("transpose_y", False)
    )


def _matrices(x: Array, y: Array, transpose_x: Any, transpose_y: Any) -> tuple[Array, Array]:
    return (np.swapaxes(x, -1, -2) if transpose_x else x, np.swapaxes(y, -1, -2) if transpose_y else y)


def _convolution_operands(operands: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "x": operands["x"],
        "weight": operands["weight"],
        "strides": operands.get("strides"),
        "pad_type": operands.get("pad_type", "valid"),
        "pad": operands.get("pad"),
        "dilations": operands.get("dilations"),
        "groups": int(operands.get("groups", 1)),
    }


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
    steps = [1] * rank if strides is None else [int(each) for each in strides]
    holes = [1] * rank if dilations is None else [int(each) for each in dilations]
    kernel = [hole * (size - 1) + 1 for hole, size in zip(holes, weight.shape[2:], strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *padding(x.shape[2:], kernel, steps, pad_type, pad)])
    axes = tuple(range(2, 2 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axes)
    every = (slice(None), slice(None), *(slice(None, None, step) for step in steps))
    spread = (*every, *(slice(None, None, hole) for hole in holes))
    windows = windows[spread]
    windows = np.moveaxis(windows, 1, 1 + rank)  # (batch, *spatial, channels, *kernel)
    per_group, out_per_group = weight.shape[1], weight.shape[0] // groups
    for group in range(groups):
        members: tuple[Any, ...] = (..., slice(group * per_group, (group + 1) * per_group), *([slice(None)] * rank))
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
