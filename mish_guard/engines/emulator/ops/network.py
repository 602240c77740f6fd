"""Operations that only the format before ML programs has; nets of that format read their layers as these."""

from __future__ import annotations

from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops import recurrent
from mish_guard.engines.emulator.ops.base import Number, Operation, ints


def nn_features(*, x: Array) -> Array:
    """The operand of an inner product: from rank 4 on the last three axes are one."""
    return x if x.ndim < 4 else np.reshape(x, (*x.shape[:-3], int(np.prod(x.shape[-3:]))))


def nn_spread_features(*, x: Array, like: Array) -> Array:
    """Its result with the rank of what went in."""
    return x if like.ndim < 4 else np.expand_dims(x, (-2, -1))


def nn_broadcast(*, x: Array, shape: Array) -> Array:
    return np.array(np.broadcast_to(x, ints(shape)))


def nn_slice(*, x: Array, axis: Number, start: Number, end: Number, step: Number) -> Array:
    index = [slice(None)] * x.ndim
    index[int(axis)] = slice(int(start), int(end), int(step))
    return np.asarray(x[tuple(index)])


def nn_slice_by_size(*, x: Array, start: Array, size: Number, axis: Number) -> Array:
    first = ints(start)[0]
    return nn_slice(x=x, axis=axis, start=first, end=first + int(size), step=1)


def nn_rnn(*, x: Array, initial_h: Array | None = None, weight_hh: Array, **settings: Any) -> tuple[Array, ...]:
    steps, batch = x.shape[:2]
    # The writer of this layer puts the axis that others have first behind: only the order of elements counts.
    h = np.zeros((batch, len(weight_hh))) if initial_h is None else initial_h.reshape(batch, -1)
    y, h = recurrent.rnn(x=x.reshape(steps, batch, -1), initial_h=h, weight_hh=weight_hh, **settings)
    return y[..., None, None], h[None, ..., None, None]


def nn_gru(*, x: Array, initial_h: Array | None = None, weight_hh: Array, **settings: Any) -> tuple[Array, ...]:
    steps, batch = x.shape[:2]
    h = _state(initial_h, batch, weight_hh)
    y, h = recurrent.gru(x=x.reshape(steps, batch, -1), initial_h=h, weight_hh=weight_hh, **settings)
    return y[..., None, None], h[None, ..., None, None]


def nn_lstm(
    *, x: Array, initial_h: Array | None = None, initial_c: Array | None = None, weight_hh: Array, **settings: Any
) -> tuple[Array, ...]:
    steps, batch = x.shape[:2]
    h, c = _state(initial_h, batch, weight_hh), _state(initial_c, batch, weight_hh)
    flat = x.reshape(steps, batch, -1)
    y, h, c = recurrent.lstm(x=flat, initial_h=h, initial_c=c, weight_hh=weight_hh, **settings)
    return y[..., None, None], h[None, ..., None, None], c[None, ..., None, None]


def nn_bidirectional_lstm(
    *,
    x: Array,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    initial_h_back: Array | None = None,
    initial_c_back: Array | None = None,
    weight_hh: Array,
    **settings: Any,
) -> tuple[Array, ...]:
    """Y, then h and c forwards, then h and c backwards."""
    steps, batch = x.shape[:2]
    h, c, h_back, c_back = (
        _state(each, batch, weight_hh) for each in (initial_h, initial_c, initial_h_back, initial_c_back)
    )
    y, h_both, c_both = recurrent.lstm(
        x=x.reshape(steps, batch, -1),
        initial_h=np.concatenate([h, h_back], axis=-1),
        initial_c=np.concatenate([c, c_back], axis=-1),
        weight_hh=weight_hh,
        direction="bidirectional",
        **settings,
    )
    (h, h_back), (c, c_back) = np.split(h_both, 2, axis=-1), np.split(c_both, 2, axis=-1)
    return (y[..., None, None], *(each[None, ..., None, None] for each in (h, c, h_back, c_back)))


def _state(given: Array | None, batch: int, weight_hh: Array) -> Array:
    return np.zeros((batch, weight_hh.shape[1])) if given is None else given.reshape(batch, -1)


OPS: dict[str, Operation] = {
    "nn_bidirectional_lstm": nn_bidirectional_lstm,
    "nn_broadcast": nn_broadcast,
    "nn_features": nn_features,
    "nn_gru": nn_gru,
    "nn_lstm": nn_lstm,
    "nn_rnn": nn_rnn,
    "nn_slice": nn_slice,
    "nn_slice_by_size": nn_slice_by_size,
    "nn_spread_features": nn_spread_features,
}
