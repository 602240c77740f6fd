"""Operations that move, repeat, cut or make elements without computing on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, Several, ints, many, refuse


def reshape(*, x: Array, shape: Array) -> Array:
    """Up to iOS 16: 0 keeps the dimension of the same index, -1 is inferred."""
    sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(ints(shape))]
    return x.reshape(sizes)


def reshape_from_the_right(*, x: Array, shape: Array) -> Array:
    """From iOS 17 on: 0 keeps the dimension of the same index counted from the right, or is 1 where there is none."""
    asked = ints(shape)
    ahead = x.ndim - len(asked)
    sizes = [
        size if size != 0 else (x.shape[axis + ahead] if axis + ahead >= 0 else 1) for axis, size in enumerate(asked)
    ]
    return x.reshape(sizes)


def reshape_like(*, x: Array, ref_tensors: Several, begins: Several, ends: Several, end_masks: Several) -> Array:
    sizes: list[int] = []
    for tensor, begin, end, mask in zip(many(ref_tensors), many(begins), many(ends), many(end_masks), strict=True):
        sizes += tensor.shape[int(begin) : None if mask else int(end)]
    return x.reshape(sizes)


def transpose(*, x: Array, perm: Array) -> Array:
    return np.transpose(x, ints(perm))


def expand_dims(*, x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(ints(axes)))


def squeeze(*, x: Array, axes: Array | None = None) -> Array:
    return np.squeeze(x, None if axes is None else tuple(ints(axes)))


def concat(*, values: Several, axis: Number, interleave: Number = False) -> Array:
    arrays = [np.atleast_1d(array) for array in many(values)]
    if not interleave:
        return np.concatenate(arrays, axis=int(axis))
    axis = int(axis) % arrays[0].ndim
    shape = list(arrays[0].shape)
    shape[axis] *= len(arrays)
    return np.stack(arrays, axis=axis + 1).reshape(shape)


def stack(*, values: Several, axis: Number) -> Array:
    return np.stack(many(values), axis=int(axis))


def split(*, x: Array, axis: Number, num_splits: Any = None, split_sizes: Array | None = None) -> tuple[Array, ...]:
    if split_sizes is None:
        return tuple(np.split(x, int(num_splits), axis=int(axis)))
    return tuple(np.split(x, np.cumsum(ints(split_sizes))[:-1], axis=int(axis)))


def tile(*, x: Array, reps: Array) -> Array:
    return np.tile(x, ints(reps))


def flatten2d(*, x: Array, axis: Number = 1) -> Array:
    cut = int(axis) % x.ndim if int(axis) < 0 else int(axis)
    return x.reshape(int(np.prod(x.shape[:cut])), -1)


def shape(*, x: Array) -> Array:
    return np.array(x.shape, dtype=np.int64)


def pad(*, x: Array, pad: Array, mode: str = "constant", constant_val: Number = 0.0) -> Array:
    """The last len(pad) / 2 dimensions."""
    amounts = np.zeros((x.ndim, 2), dtype=np.int64)
    given = np.reshape(ints(pad), (-1, 2))
    amounts[x.ndim - len(given) :] = given
    if str(mode) == "constant":
        return np.pad(x, amounts, constant_values=np.asarray(constant_val).item())
    if str(mode) not in ("reflect", "replicate"):
        raise refuse("pad", f"mode {mode}")
    return np.pad(x, amounts, mode="edge" if str(mode) == "replicate" else "reflect")


def reverse(*, x: Array, axes: Array | None = None) -> Array:
    return np.flip(x, None if axes is None else tuple(ints(axes)))


def reverse_sequence(*, x: Array, lengths: Array, seq_axis: Number = 0, batch_axis: Number = 0) -> Array:
    """The first lengths[i] elements of batch i, backwards."""
    moved = np.moveaxis(x, (int(batch_axis), int(seq_axis)), (0, 1)).copy()
    for batch, length in enumerate(ints(lengths)):
        moved[batch, :length] = moved[batch, :length][::-1].copy()
    return np.moveaxis(moved, (0, 1), (int(batch_axis), int(seq_axis)))


def slices(
    begin: Array,
    end: Array,
    stride: Array | None,
    begin_mask: Array | None,
    end_mask: Array | None,
    squeeze_mask: Array | None,
) -> tuple[int | slice, ...]:
    """The index that MIL's slices mean: a set mask bit opens that end, or drops the axis after taking one element."""
    starts, stops = ints(begin), ints(end)
    steps = [1] * len(starts) if stride is None else ints(stride)
    opened, closed, dropped = (
        [0] * len(starts) if mask is None else ints(mask) for mask in (begin_mask, end_mask, squeeze_mask)
    )
    index: list[int | slice] = []
    for axis, (start, stop, step) in enumerate(zip(starts, stops, steps, strict=True)):
        if dropped[axis]:
            index.append(start)
            continue
        first = None if opened[axis] else start
        last = None if closed[axis] else stop
        index.append(slice(first, last, step))
    return tuple(index)


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
    return np.asarray(x[slices(begin, end, stride, begin_mask, end_mask, squeeze_mask)])


def slice_update(
    *,
    x: Array,
    update: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    written = np.array(x)
    index = slices(begin, end, stride, begin_mask, end_mask, squeeze_mask)
    written[index] = update.reshape(written[index].shape)
    return written


def slice_by_size(*, x: Array, begin: Array, size: Array) -> Array:
    """From `begin` so many elements; -1: all that are left."""
    starts = [start + x.shape[axis] if start < 0 else start for axis, start in enumerate(ints(begin))]
    return np.asarray(
        x[
            tuple(
                slice(start, None if count == -1 else start + count)
                for start, count in zip(starts, ints(size), strict=True)
            )
        ]
    )


def sliding_windows(*, x: Array, axis: Number, size: Number, stride: Number = 1) -> Array:
    """Windows along an axis; the place inside a window is the axis after it."""
    axis = int(axis) % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, int(size), axis=axis)
    chosen = np.take(windows, np.arange(0, windows.shape[axis], int(stride)), axis=axis)
    return np.moveaxis(chosen, -1, axis + 1)


def depth_to_space(*, x: Array, block_size: Number) -> Array:
    """The block index is the slow part of the channels."""
    n, c, h, w = x.shape
    b = int(block_size)
    parts = x.reshape(n, b, b, c // (b * b), h, w)
    return np.asarray(parts.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b))


def space_to_depth(*, x: Array, block_size: Number) -> Array:
    n, c, h, w = x.shape
    b = int(block_size)
    parts = x.reshape(n, c, h // b, b, w // b, b)
    return np.asarray(parts.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b))


def pixel_shuffle(*, x: Array, upscale_factor: Number) -> Array:
    """The block index is the fast part of the channels."""
    n, c, h, w = x.shape
    b = int(upscale_factor)
    parts = x.reshape(n, c // (b * b), b, b, h, w)
    return np.asarray(parts.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (b * b), h * b, w * b))


def pixel_unshuffle(*, x: Array, downscale_factor: Number) -> Array:
    n, c, h, w = x.shape
    b = int(downscale_factor)
    parts = x.reshape(n, c, h // b, b, w // b, b)
    return np.asarray(parts.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * b * b, h // b, w // b))


def space_to_batch(*, x: Array, block_shape: Array, paddings: Array) -> Array:
    """Blocks of the two axes after the channels become batches, as in TensorFlow with channels first."""
    (by, bx), edges = ints(block_shape), np.asarray(paddings).reshape(-1, 2)
    padded = np.pad(x, [(0, 0), (0, 0), *((int(a), int(b)) for a, b in edges)])
    n, c, h, w = padded.shape
    parts = padded.reshape(n, c, h // by, by, w // bx, bx)
    return np.asarray(parts.transpose(3, 5, 0, 1, 2, 4).reshape(n * by * bx, c, h // by, w // bx))


def batch_to_space(*, x: Array, block_shape: Array, crops: Array) -> Array:
    by, bx = ints(block_shape)
    n, c, h, w = x.shape
    parts = x.reshape(by, bx, n // (by * bx), c, h, w).transpose(2, 3, 4, 0, 5, 1)
    whole = parts.reshape(n // (by * bx), c, h * by, w * bx)
    (top, bottom), (left, right) = np.asarray(crops).reshape(-1, 2).astype(int)
    return np.asarray(whole[:, :, top : h * by - bottom, left : w * bx - right])


def crop(*, x: Array, crop_height: Array, crop_width: Array) -> Array:
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return np.asarray(x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right])


def band_part(*, x: Array, lower: Number = -1, upper: Number = -1) -> Array:
    row, column = np.ogrid[: x.shape[-2], : x.shape[-1]]
    kept = np.ones(x.shape[-2:], dtype=bool)
    if int(lower) >= 0:
        kept &= row - column <= int(lower)
    if int(upper) >= 0:
        kept &= column - row <= int(upper)
    return np.where(kept, x, np.zeros((), x.dtype))


def fill(*, shape: Array, value: Number = 0.0) -> Array:
    return np.full(ints(shape), np.asarray(value).item())


def fill_like(*, ref_tensor: Array, value: Number = 0.0) -> Array:
    return np.full(ref_tensor.shape, np.asarray(value).item())


def range_1d(*, end: Number, start: Number, step: Number) -> Array:
    return np.arange(np.asarray(start).item(), np.asarray(end).item(), np.asarray(step).item())


def one_hot(
    *, indices: Array, one_hot_vector_size: Number, axis: Number = -1, on_value: Number = 1, off_value: Number = 0
) -> Array:
    """A negative index counts from the end; one beyond the end sets nothing."""
    size = int(np.asarray(one_hot_vector_size).item())
    places = np.where(indices < 0, indices + size, indices)[..., None] == np.arange(size)
    return np.moveaxis(np.where(places, on_value, off_value), -1, int(axis))


def non_zero(*, x: Array) -> Array:
    return np.argwhere(x)


OPS: dict[str, Operation] = {
    "band_part": band_part,
    "batch_to_space": batch_to_space,
    "concat": concat,
    "crop": crop,
    "depth_to_space": depth_to_space,
    "expand_dims": expand_dims,
    "fill": fill,
    "fill_like": fill_like,
    "flatten2d": flatten2d,
    "non_zero": non_zero,
    "one_hot": one_hot,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "range_1d": range_1d,
    "reshape": reshape,
    "reshape_like": reshape_like,
    "reverse": reverse,
    "reverse_sequence": reverse_sequence,
    "shape": shape,
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "slice_update": slice_update,
    "sliding_windows": sliding_windows,
    "space_to_batch": space_to_batch,
    "space_to_depth": space_to_depth,
    "split": split,
    "squeeze": squeeze,
    "stack": stack,
    "tile": tile,
    "transpose": transpose,
}

# From an opset on (iOS version), an operation of the same name means something else.
REVISIONS: dict[str, tuple[tuple[int, Operation], ...]] = {"reshape": ((17, reshape_from_the_right),)}
