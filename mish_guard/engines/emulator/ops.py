"""MIL operations on numpy arrays, by MIL's own names and parameters.

Definitions follow coremltools' MIL operation reference
(https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html). Operands are float64,
int64, bool or str; results are exact to float64 and are rounded by the evaluator. Functions that need the
accumulator of the arithmetic are in `products`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mish_guard.engines.emulator import products
from mish_guard.engines.emulator.graph import Array
from mish_guard.errors import UnsupportedOpError
from mish_guard.numerics import reference

Result = Array | tuple[Array, ...]
Operation = Callable[..., Result]


def cast(*, x: Array, dtype: str) -> Array:
    """To a float type nothing happens here: the declared type rounds. To an integer the fraction is cut off."""
    if dtype.startswith("fp"):
        return x.astype(np.float64)
    if dtype == "bool":
        return np.asarray(x != 0)
    with np.errstate(invalid="ignore"):
        return np.trunc(x).astype(np.int64)


def clip(*, x: Array, alpha: Any, beta: Any) -> Array:
    return np.asarray(np.minimum(np.maximum(x, alpha), beta))


def log(*, x: Array, epsilon: Any = 0.0) -> Array:
    return np.asarray(np.log(x + epsilon))


def inverse(*, x: Array, epsilon: Any = 0.0) -> Array:
    return np.asarray(1.0 / (x + epsilon))


def rsqrt(*, x: Array, epsilon: Any = 0.0) -> Array:
    return np.asarray(1.0 / np.sqrt(x + epsilon))


def sigmoid(*, x: Array) -> Array:
    t = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + t), t / (1.0 + t))


def sigmoid_hard(*, x: Array, alpha: Any = 0.2, beta: Any = 0.5) -> Array:
    return np.asarray(np.clip(alpha * x + beta, 0.0, 1.0))


def silu(*, x: Array) -> Array:
    return x * sigmoid(x=x)


def softplus_parametric(*, x: Array, alpha: Array, beta: Array) -> Array:
    """Alpha * softplus(beta * x), one alpha and beta per channel (axis 1)."""
    shape = (1, -1, *([1] * (x.ndim - 2)))
    return alpha.reshape(shape) * reference.softplus(beta.reshape(shape) * x)


def real_div(*, x: Array, y: Array) -> Array:
    return np.asarray(np.true_divide(x, y))


def select(*, cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)


def reshape(*, x: Array, shape: Array) -> Array:
    """MIL's reshape: 0 keeps a dimension, -1 is inferred."""
    sizes = [x.shape[axis] if size == 0 else int(size) for axis, size in enumerate(np.atleast_1d(shape))]
    return x.reshape(sizes)


def transpose(*, x: Array, perm: Array) -> Array:
    return np.transpose(x, [int(axis) for axis in perm])


def expand_dims(*, x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(int(axis) for axis in np.atleast_1d(axes)))


def squeeze(*, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes)))


def concat(*, values: tuple[Array, ...] | Array, axis: Any, interleave: Any = False) -> Array:
    if interleave:
        msg = "The emulator does not know `concat` with interleave."
        raise UnsupportedOpError(msg)
    arrays = values if isinstance(values, tuple) else (values,)
    return np.concatenate([np.atleast_1d(array) for array in arrays], axis=int(axis))


def split(*, x: Array, axis: Any, num_splits: Any = None, split_sizes: Array | None = None) -> tuple[Array, ...]:
    if split_sizes is None:
        return tuple(np.split(x, int(num_splits), axis=int(axis)))
    return tuple(np.split(x, np.cumsum(split_sizes)[:-1], axis=int(axis)))


def slice_by_index(
    *,
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """Numpy slicing per axis; a set mask bit opens that end, or drops the axis after taking one element."""
    rank = len(np.atleast_1d(begin))
    no_mask = np.zeros(rank, dtype=bool)
    begin_mask, end_mask, squeeze_mask = (
        no_mask if mask is None else mask for mask in (begin_mask, end_mask, squeeze_mask)
    )
    steps = np.ones(rank, dtype=np.int64) if stride is None else stride
    index: list[int | slice] = []
    for axis in range(rank):
        if squeeze_mask[axis]:
            index.append(int(begin[axis]))
            continue
        first = None if begin_mask[axis] else int(begin[axis])
        last = None if end_mask[axis] else int(end[axis])
        index.append(slice(first, last, int(steps[axis])))
    return np.asarray(x[tuple(index)])


def batch_norm(
    *, x: Array, mean: Array, variance: Array, gamma: Any = None, beta: Any = None, epsilon: Any = 1e-5
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, one of each per channel (axis 1)."""
    shape = (1, -1, *([1] * (x.ndim - 2)))
    scale = (1.0 if gamma is None else gamma) / np.sqrt(variance + epsilon)
    offset = (0.0 if beta is None else beta) - mean * scale
    return x * np.reshape(scale, shape) + np.reshape(offset, shape)


def avg_pool(
    *,
    x: Array,
    kernel_sizes: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    exclude_padding_from_average: Any = False,
    ceil_mode: Any = False,
) -> Array:
    windows = _pool_windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode, fill=0.0)
    axes = _last_axes(windows, len(kernel_sizes))
    total = windows.sum(axis=axes)
    if not exclude_padding_from_average:
        return np.asarray(total / np.prod(kernel_sizes))
    ones = _pool_windows(np.ones_like(x), kernel_sizes, strides, pad_type, pad, ceil_mode, fill=0.0)
    return np.asarray(total / ones.sum(axis=axes))


def max_pool(
    *,
    x: Array,
    kernel_sizes: Array,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    ceil_mode: Any = False,
) -> Array:
    windows = _pool_windows(x, kernel_sizes, strides, pad_type, pad, ceil_mode, fill=-np.inf)
    return np.asarray(windows.max(axis=_last_axes(windows, len(kernel_sizes))))


def _pool_windows(
    x: Array,
    kernel_sizes: Array,
    strides: Array | None,
    pad_type: str,
    pad: Array | None,
    ceil_mode: Any,
    *,
    fill: float,
) -> Array:
    if ceil_mode:
        msg = "The emulator does not know pooling with ceil_mode."
        raise UnsupportedOpError(msg)
    kernel = [int(size) for size in kernel_sizes]
    steps = [1] * len(kernel) if strides is None else [int(step) for step in strides]
    pads = products.padding(x.shape[2:], kernel, steps, pad_type, pad)
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=tuple(range(2, x.ndim)))
    every = (slice(None), slice(None), *(slice(None, None, step) for step in steps))
    return np.asarray(windows[every])


def _last_axes(values: Array, count: int) -> tuple[int, ...]:
    return tuple(range(values.ndim - count, values.ndim))


def _unary(function: Callable[[Array], Any]) -> Operation:
    return lambda *, x: np.asarray(function(x))


def _binary(function: Callable[[Array, Array], Any]) -> Operation:
    return lambda *, x, y: np.asarray(function(x, y))


def _reduction(function: Callable[..., Any]) -> Operation:
    def reduce(*, x: Array, axes: Array | None = None, keep_dims: Any = False) -> Array:
        over = None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes))
        return np.asarray(function(x, axis=over, keepdims=bool(keep_dims)))

    return reduce


def _log_sum_exp(x: Array, *, axis: Any, keepdims: bool) -> Array:
    top = np.max(x, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    total = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
    return np.asarray(total if keepdims else np.squeeze(total, axis=axis))


# Sums of products take the accumulator of the arithmetic.
ACCUMULATING: dict[str, Operation] = {"conv": products.conv, "linear": products.linear, "matmul": products.matmul}

OPS: dict[str, Operation] = {
    "abs": _unary(np.abs),
    "add": _binary(np.add),
    "avg_pool": avg_pool,
    "batch_norm": batch_norm,
    "cast": cast,
    "clip": clip,
    "concat": concat,
    "equal": _binary(np.equal),
    "exp": _unary(np.exp),
    "exp2": _unary(np.exp2),
    "expand_dims": expand_dims,
    "greater": _binary(np.greater),
    "greater_equal": _binary(np.greater_equal),
    "identity": _unary(np.array),
    "inverse": inverse,
    "less": _binary(np.less),
    "less_equal": _binary(np.less_equal),
    "log": log,
    "logical_not": _unary(np.logical_not),
    "max_pool": max_pool,
    "maximum": _binary(np.maximum),
    "minimum": _binary(np.minimum),
    "mul": _binary(np.multiply),
    "not_equal": _binary(np.not_equal),
    "pow": _binary(np.power),
    "real_div": real_div,
    "reduce_log_sum_exp": _reduction(_log_sum_exp),
    "reduce_max": _reduction(np.max),
    "reduce_mean": _reduction(np.mean),
    "reduce_min": _reduction(np.min),
    "reduce_sum": _reduction(np.sum),
    "relu": _unary(lambda x: np.maximum(x, 0.0)),
    "relu6": _unary(lambda x: np.clip(x, 0.0, 6.0)),
    "reshape": reshape,
    "rsqrt": rsqrt,
    "select": select,
    "sigmoid": sigmoid,
    "sigmoid_hard": sigmoid_hard,
    "silu": silu,
    "slice_by_index": slice_by_index,
    "softplus": _unary(reference.softplus),
    "softplus_parametric": softplus_parametric,
    "split": split,
    "sqrt": _unary(np.sqrt),
    "square": _unary(np.square),
    "squeeze": squeeze,
    "sub": _binary(np.subtract),
    "tanh": _unary(np.tanh),
    "transpose": transpose,
}
