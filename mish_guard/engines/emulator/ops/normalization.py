"""Normalisations over channels, axes or neighbours, and softmax."""

from __future__ import annotations

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, ints, per_channel


def batch_norm(
    *,
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Number | None = None,
    beta: Number | None = None,
    epsilon: Number = 1e-5,
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, one of each per channel (axis 1)."""
    scale = (1.0 if gamma is None else gamma) / np.sqrt(variance + epsilon)
    offset = (0.0 if beta is None else beta) - mean * scale
    return np.asarray(x * per_channel(scale, x) + per_channel(offset, x))


def instance_norm(
    *, x: Array, gamma: Number | None = None, beta: Number | None = None, epsilon: Number = 1e-5
) -> Array:
    """Each channel of each example by its own mean and variance."""
    normal = _normal(x, tuple(range(2, x.ndim)), epsilon)
    scale = 1.0 if gamma is None else per_channel(gamma, x)
    return np.asarray(normal * scale + (0.0 if beta is None else per_channel(beta, x)))


def layer_norm(
    *,
    x: Array,
    axes: Array | None = None,
    gamma: Number | None = None,
    beta: Number | None = None,
    epsilon: Number = 1e-5,
) -> Array:
    """Over `axes`, all without; gamma and beta have the shape of those axes."""
    over = tuple(range(x.ndim)) if axes is None else tuple(sorted(axis % x.ndim for axis in ints(axes)))
    shape = [size if axis in over else 1 for axis, size in enumerate(x.shape)]
    scale = 1.0 if gamma is None else np.reshape(gamma, shape)
    return np.asarray(_normal(x, over, epsilon) * scale + (0.0 if beta is None else np.reshape(beta, shape)))


def _normal(x: Array, axes: tuple[int, ...], epsilon: Number) -> Array:
    centred = x - x.mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + epsilon))


def l2_norm(*, x: Array, epsilon: Number = 1e-6) -> Array:
    """Over the last three axes."""
    return np.asarray(x / np.sqrt(np.square(x).sum(axis=(-3, -2, -1), keepdims=True) + epsilon))


def local_response_norm(*, x: Array, size: Number, alpha: Number = 1e-4, beta: Number = 0.75, k: Number = 1.0) -> Array:
    """By the squares of `size` neighbouring channels."""
    return _local(x, 1, int(size), alpha, beta, k)


def nn_local_response_norm(*, x: Array, size: Number, alpha: Number, beta: Number, k: Number) -> Array:
    """The format before ML programs counts the channels from the end, as the third axis."""
    return _local(x, x.ndim - 3, int(size), alpha, beta, k)


def _local(x: Array, axis: int, count: int, alpha: Number, beta: Number, k: Number) -> Array:
    before = count // 2
    edges = [(0, 0)] * x.ndim
    edges[axis] = (before, count - 1 - before)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(np.square(x), edges), count, axis=axis)
    return np.asarray(x / (k + alpha / count * windows.sum(axis=-1)) ** beta)


def softmax(*, x: Array, axis: Number = -1) -> Array:
    axis = int(axis)
    terms = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(terms / terms.sum(axis=axis, keepdims=True))


OPS: dict[str, Operation] = {
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "l2_norm": l2_norm,
    "layer_norm": layer_norm,
    "local_response_norm": local_response_norm,
    "nn_local_response_norm": nn_local_response_norm,
    "softmax": softmax,
}
