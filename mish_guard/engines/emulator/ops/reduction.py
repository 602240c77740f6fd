"""Reductions over axes, and what orders the elements along one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, ints


def _reduction(function: Callable[..., ArrayLike]) -> Operation:
    def reduce(*, x: Array, axes: Array | None = None, keep_dims: Number = False) -> Array:
        over = None if axes is None else tuple(ints(axes))
        return np.asarray(function(x, axis=over, keepdims=bool(keep_dims)))

    return reduce


def _log_sum_exp(x: Array, *, axis: tuple[int, ...] | None, keepdims: bool) -> Array:
    top = np.max(x, axis=axis, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    total = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
    return np.asarray(total if keepdims else np.squeeze(total, axis=axis))


def _arg(function: Callable[..., ArrayLike]) -> Operation:
    def reduce(*, x: Array, axis: Number = -1, keep_dims: Number = False, output_dtype: str = "int32") -> Array:
        del output_dtype  # the declared type of the result
        return np.asarray(function(x, axis=int(axis), keepdims=bool(keep_dims)))

    return reduce


def cumsum(*, x: Array, axis: Number = 0, exclusive: Number = False, reverse: Number = False) -> Array:
    axis = int(axis)
    ordered = np.flip(x, axis) if reverse else x
    total = np.cumsum(ordered, axis=axis)
    if exclusive:
        total = total - ordered
    return np.flip(total, axis) if reverse else np.asarray(total)


def argsort(*, x: Array, axis: Number = -1, ascending: Number = False) -> Array:
    return np.argsort(x if ascending else -x, axis=int(axis), kind="stable")


def topk(
    *,
    x: Array,
    k: Number = 1,
    axis: Number = -1,
    ascending: Number = False,
    sort: Number = True,
    return_indices: Number = True,
    output_indices_dtype: str = "int32",
) -> tuple[Array, ...]:
    """The k largest (smallest if ascending) along an axis; unsorted they may come in any order, so sorted will do."""
    del sort, output_indices_dtype
    axis, count = int(axis), int(np.asarray(k).item())
    count = x.shape[axis] if count == -1 else count
    order = np.take(argsort(x=x, axis=axis, ascending=ascending), np.arange(count), axis=axis)
    best = np.take_along_axis(x, order, axis)
    return (best, order) if return_indices else (best,)


OPS: dict[str, Operation] = {
    "argsort": argsort,
    "cumsum": cumsum,
    "reduce_argmax": _arg(np.argmax),
    "reduce_argmin": _arg(np.argmin),
    "reduce_l1_norm": _reduction(lambda x, **where: np.sum(np.abs(x), **where)),
    "reduce_l2_norm": _reduction(lambda x, **where: np.sqrt(np.sum(np.square(x), **where))),
    "reduce_log_sum": _reduction(lambda x, **where: np.log(np.sum(x, **where))),
    "reduce_log_sum_exp": _reduction(_log_sum_exp),
    "reduce_max": _reduction(np.max),
    "reduce_mean": _reduction(np.mean),
    "reduce_min": _reduction(np.min),
    "reduce_prod": _reduction(np.prod),
    "reduce_sum": _reduction(np.sum),
    "reduce_sum_square": _reduction(lambda x, **where: np.sum(np.square(x), **where)),
    "topk": topk,
}
