"""Pooling over windows of the spatial axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mish_guard.engines.emulator import products
from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, ints


def avg_pool(
    *,
    x: Array,
    kernel_sizes: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    exclude_padding_from_average: Number = False,
    ceil_mode: Number = False,
) -> Array:
    """The mean of a window; one that ceil_mode lets run over the edge counts only what is inside the padding."""
    settings = (kernel_sizes, strides, str(pad_type), pad, ceil_mode)
    total = _windows(x, *settings, fill=0.0).sum(axis=_last(len(kernel_sizes)))
    counted = np.ones((1, 1, *x.shape[2:]))
    inside = 0.0 if exclude_padding_from_average else 1.0
    count = _windows(counted, *settings, fill=inside, beyond=0.0).sum(axis=_last(len(kernel_sizes)))
    return np.asarray(total / count)


def max_pool(
    *,
    x: Array,
    kernel_sizes: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    ceil_mode: Number = False,
) -> Array:
    windows = _windows(x, kernel_sizes, strides, str(pad_type), pad, ceil_mode, fill=-np.inf)
    return np.asarray(windows.max(axis=_last(len(kernel_sizes))))


def l2_pool(
    *,
    x: Array,
    kernel_sizes: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    ceil_mode: Number = False,
) -> Array:
    windows = _windows(np.square(x), kernel_sizes, strides, str(pad_type), pad, ceil_mode, fill=0.0)
    return np.asarray(np.sqrt(windows.sum(axis=_last(len(kernel_sizes)))))


def _windows(
    x: Array,
    kernel_sizes: Array,
    strides: Array | None,
    pad_type: str,
    pad: Array | None,
    ceil_mode: Number,
    *,
    fill: float,
    beyond: float | None = None,
) -> Array:
    """(batch, channels, *places, *kernel); `fill` stands in the padding, `beyond` where ceil_mode goes past it."""
    kernel = ints(kernel_sizes)
    steps = [1] * len(kernel) if strides is None else ints(strides)
    pads = products.padding(x.shape[2:], kernel, steps, pad_type, pad)
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    if ceil_mode:
        extra = [_overhang(*each) for each in zip(x.shape[2:], kernel, steps, pads, strict=True)]
        beyond = fill if beyond is None else beyond
        padded = np.pad(padded, [(0, 0), (0, 0), *((0, more) for more in extra)], constant_values=beyond)
    axes: Any = tuple(range(2, x.ndim))  # numpy takes several where its types know one
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axes)
    every = (slice(None), slice(None), *(slice(None, None, step) for step in steps))
    return np.asarray(windows[every])


def _overhang(size: int, kernel: int, step: int, pads: tuple[int, int]) -> int:
    """How far the last window of ceil_mode goes past the padding; it must begin before the padding at the end."""
    whole = size + sum(pads)
    count = -(-(whole - kernel) // step) + 1
    if (count - 1) * step >= size + pads[0]:
        count -= 1
    return max((count - 1) * step + kernel - whole, 0)


def _last(count: int) -> tuple[int, ...]:
    return tuple(range(-count, 0))


OPS: dict[str, Operation] = {"avg_pool": avg_pool, "l2_pool": l2_pool, "max_pool": max_pool}
