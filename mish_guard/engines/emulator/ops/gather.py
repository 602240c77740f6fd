"""Reading and writing elements at places that are data."""

from __future__ import annotations

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, refuse

_COMBINE: dict[str, np.ufunc] = {
    "add": np.add,
    "div": np.true_divide,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "sub": np.subtract,
}


def _places(indices: Array, validated: Number = False) -> Array:
    """Indices as whole numbers; where the model has them validated, none may count from the end."""
    places = np.asarray(indices).astype(np.int64)
    if validated and (places < 0).any():
        msg = f"the index {places.min()} is below 0"
        raise IndexError(msg)
    return places


def gather(
    *, x: Array, indices: Array, axis: Number = 0, batch_dims: Number = 0, validate_indices: Number = False
) -> Array:
    axis, shared, places = int(axis), int(batch_dims), _places(indices, validate_indices)
    if shared == 0:
        return np.take(x, places, axis=axis)
    axis = axis % x.ndim
    flat, wanted = x.reshape(-1, *x.shape[shared:]), places.reshape(-1, *places.shape[shared:])
    taken = np.stack([np.take(one, at, axis=axis - shared) for one, at in zip(flat, wanted, strict=True)])
    return taken.reshape(*x.shape[:shared], *taken.shape[1:])


def gather_along_axis(*, x: Array, indices: Array, axis: Number = 0, validate_indices: Number = False) -> Array:
    return np.take_along_axis(x, _places(indices, validate_indices), int(axis))


def gather_nd(*, x: Array, indices: Array, batch_dims: Number = 0, validate_indices: Number = False) -> Array:
    shared, places = int(batch_dims), _places(indices, validate_indices)
    if shared == 0:
        return np.asarray(x[tuple(np.moveaxis(places, -1, 0))])
    flat, wanted = x.reshape(-1, *x.shape[shared:]), places.reshape(-1, *places.shape[shared:])
    taken = np.stack([one[tuple(np.moveaxis(at, -1, 0))] for one, at in zip(flat, wanted, strict=True)])
    return taken.reshape(*x.shape[:shared], *taken.shape[1:])


def _written(data: Array, index: tuple[Array | slice, ...], updates: Array, mode: str) -> Array:
    """`data` with `updates` at `index`; places that occur twice are combined twice."""
    result = np.array(data)
    if mode == "update":
        result[index] = updates
    elif mode in _COMBINE:
        result = result.astype(np.float64) if mode == "div" else result
        _COMBINE[mode].at(result, index, updates)
    else:
        raise refuse("scatter", f"mode {mode}")
    return result


def scatter(
    *,
    data: Array,
    indices: Array,
    updates: Array,
    axis: Number = 0,
    mode: str = "add",
    validate_indices: Number = False,
) -> Array:
    index: tuple[Array | slice, ...] = (*[slice(None)] * (int(axis) % data.ndim), _places(indices, validate_indices))
    return _written(data, index, updates, str(mode))


def scatter_along_axis(
    *,
    data: Array,
    indices: Array,
    updates: Array,
    axis: Number = 0,
    mode: str = "add",
    validate_indices: Number = False,
) -> Array:
    index: list[Array] = list(np.ogrid[tuple(slice(size) for size in indices.shape)])
    index[int(axis)] = _places(indices, validate_indices)
    return _written(data, tuple(index), updates, str(mode))


def scatter_nd(
    *, data: Array, indices: Array, updates: Array, mode: str = "add", validate_indices: Number = False
) -> Array:
    return _written(data, tuple(np.moveaxis(_places(indices, validate_indices), -1, 0)), updates, str(mode))


OPS: dict[str, Operation] = {
    "gather": gather,
    "gather_along_axis": gather_along_axis,
    "gather_nd": gather_nd,
    "scatter": scatter,
    "scatter_along_axis": scatter_along_axis,
    "scatter_nd": scatter_nd,
}
