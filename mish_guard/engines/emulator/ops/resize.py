"""Resizing and resampling of images: where each result lies in the source, and what is read there."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, ints, refuse


def grid(mode: str, source: float, target: int) -> Array:
    """Where `target` samples lie on a source of `source` elements, by MIL's sampling mode."""
    i = np.arange(target)
    steps = max(target - 1, 1)
    if mode == "ALIGN_CORNERS" and target == 1:
        return np.array([(source - 1) / 2])
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        return np.asarray(i * ((source - 1) / steps))
    if mode == "DEFAULT":
        return np.asarray(i * ((source - source / target) / steps))
    if mode == "OFFSET_CORNERS":
        delta = max(1.0, source - 1) / target
        return np.asarray(0.5 * delta + i * delta)
    if mode == "UNALIGN_CORNERS":
        return np.asarray((i + 0.5) * (source / target) - 0.5)
    raise refuse("resize", f"sampling mode {mode}")


def _linear(x: Array, axis: int, points: Array) -> Array:
    """Linear interpolation along an axis at points that are clamped to it."""
    points = np.clip(points, 0, x.shape[axis] - 1)
    low = np.floor(points).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    weight = (points - low).reshape(-1, *([1] * (x.ndim - 1 - axis % x.ndim)))
    below, above = np.take(x, low, axis=axis), np.take(x, high, axis=axis)
    # Not 0 * inf where the point is an element.
    return np.where(weight == 0, below, below * (1.0 - weight) + above * weight)


def _nearest(x: Array, axis: int, points: Array) -> Array:
    return np.take(x, np.clip(points, 0, x.shape[axis] - 1).astype(np.int64), axis=axis)


def _resized(x: Array, sizes: list[int], at: Callable[[int, int], Array], read: Callable[..., Array]) -> Array:
    """The last axes of `x` read at the points that `at` gives for (source size, target size)."""
    for back, target in enumerate(reversed(sizes), start=1):
        x = read(x, -back, at(x.shape[-back], target))
    return x


def resize_bilinear(
    *, x: Array, target_size_height: Number = 1, target_size_width: Number = 1, sampling_mode: str = "DEFAULT"
) -> Array:
    sizes = [int(target_size_height), int(target_size_width)]
    return _resized(x, sizes, lambda source, target: grid(str(sampling_mode), source, target), _linear)


def resize_nearest_neighbor(*, x: Array, target_size_height: Number, target_size_width: Number) -> Array:
    return _resized(x, [int(target_size_height), int(target_size_width)], _floored, _nearest)


def _floored(source: int, target: int) -> Array:
    return np.asarray(np.arange(target) * source // target)


def resize(
    *,
    x: Array,
    shape: Array,
    resized_dims: Number,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Array:
    """The last axes to the sizes at the end of `shape`; 0 keeps a size."""
    count, mode = int(resized_dims), str(sampling_mode)
    sizes = [size or x.shape[axis - count] for axis, size in enumerate(ints(shape)[-count:])]
    if str(interpolation_mode) == "LINEAR":
        return _resized(x, sizes, lambda source, target: grid(mode, source, target), _linear)
    return _resized(x, sizes, lambda source, target: _nearest_grid(mode, source, target), _nearest)


def _nearest_grid(mode: str, source: int, target: int) -> Array:
    return np.asarray(np.floor(grid(mode, source, target) + 0.5))


def upsample_nearest_neighbor(*, x: Array, scale_factor_height: Number = 1, scale_factor_width: Number = 1) -> Array:
    sizes = _scaled(x, scale_factor_height, scale_factor_width)
    return _resized(x, sizes, _floored, _nearest)


def upsample_bilinear(
    *,
    x: Array,
    scale_factor_height: Number = 1,
    scale_factor_width: Number = 1,
    align_corners: Number = True,
    half_pixel_centers: Number | None = None,
) -> Array:
    """Without aligned corners, pixels are areas if half_pixel_centers (the default) and points at their corner if not.

    The scale is that of the sizes, not the one given.
    """
    sizes = _scaled(x, scale_factor_height, scale_factor_width)
    corner = half_pixel_centers is not None and not half_pixel_centers
    mode = "STRICT_ALIGN_CORNERS" if align_corners else ("DEFAULT" if corner else "UNALIGN_CORNERS")
    return _resized(x, sizes, lambda source, target: grid(mode, source, target), _linear)


def _scaled(x: Array, height: Number, width: Number) -> list[int]:
    return [
        int(np.floor(x.shape[axis] * float(np.float32(np.asarray(scale).item()))))
        for axis, scale in ((-2, height), (-1, width))
    ]


def crop_resize(
    *,
    x: Array,
    roi: Array,
    target_height: Number = 1,
    target_width: Number = 1,
    normalized_coordinates: Number = False,
    spatial_scale: Number = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Number = 0.0,
) -> Array:
    """Up to iOS 16: (N, B, C, h, w), or (N, 1, C, h, w) where each box names its image."""
    sizes = (int(target_height), int(target_width))
    boxes = roi.reshape(roi.shape[0], -1)
    named = boxes.shape[1] == 5
    results = []
    for box in boxes:
        images = x[[int(box[0])]] if named else x
        edges = _corners(box[-4:], str(box_coordinate_mode), x.shape[-2:], normalized_coordinates, spatial_scale)
        results.append(_cropped(images, edges, sizes, str(sampling_mode), pad_value))
    return np.stack(results)


def crop_resize_by_index(
    *,
    x: Array,
    boxes: Array,
    box_indices: Array | None = None,
    target_height: Number = 1,
    target_width: Number = 1,
    normalized_coordinates: Number = False,
    spatial_scale: Number = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Number = 0.0,
) -> Array:
    """From iOS 17 on: (N, C, h, w)."""
    sizes = (int(target_height), int(target_width))
    owners = range(len(boxes)) if box_indices is None else ints(box_indices)
    results = []
    for owner, box in zip(owners, boxes, strict=True):
        edges = _corners(box, str(box_coordinate_mode), x.shape[-2:], normalized_coordinates, spatial_scale)
        results.append(_cropped(x[[owner]], edges, sizes, str(sampling_mode), pad_value)[0])
    return np.stack(results)


def _corners(box: Array, mode: str, size: tuple[int, ...], normalized: Number, scale: Number) -> Array:
    """(h_start, w_start, h_end, w_end) in pixels."""
    box = np.asarray(box, dtype=np.float64) * float(scale)
    if mode.endswith("WIDTH_FIRST"):
        box = box[[1, 0, 3, 2]]
    if mode.startswith("CENTER_SIZE"):
        box = np.concatenate([box[:2] - box[2:] / 2, box[:2] + box[2:] / 2])
    return box * np.tile(np.asarray(size) - 1, 2) if normalized else box


def _cropped(images: Array, edges: Array, sizes: tuple[int, int], mode: str, fill: Number) -> Array:
    """(B, C, h, w) of the box; what lies outside the image is `fill`."""
    result = images
    for axis, (first, last, target) in zip(
        (-2, -1), ((edges[0], edges[2], sizes[0]), (edges[1], edges[3], sizes[1])), strict=True
    ):
        points = first + _box_grid(mode, last - first, target)
        outside = (points < 0) | (points > images.shape[axis] - 1)
        shape = (-1, *([1] * (-1 - axis)))
        read = _linear(result, axis, points)
        result = np.where(outside.reshape(shape), np.asarray(fill), read)
    return result


def _box_grid(mode: str, length: float, target: int) -> Array:
    """The sampling modes on a box of `length`, which is its last coordinate minus its first."""
    if mode == "UNALIGN_CORNERS" and length < 0:
        raise refuse("crop_resize", "a box that ends before it begins")
    if mode == "OFFSET_CORNERS":
        delta = max(length, 0.0) / target
        return np.asarray((np.arange(target) + 0.5) * delta)
    return grid(mode, length + 1, target)


def affine(
    *,
    x: Array,
    transform_matrix: Array,
    output_height: Number,
    output_width: Number,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Number,
    coordinates_mode: str,
    align_corners: Number,
) -> Array:
    """Each place of the result is mapped into the image by one 2x3 matrix per example."""
    height, width = int(output_height), int(output_width)
    mode = str(coordinates_mode)
    row = _unit(np.arange(height), height, mode, align_corners)
    column = _unit(np.arange(width), width, mode, align_corners)
    ys, xs = np.meshgrid(row, column, indexing="ij")
    matrices = np.broadcast_to(np.reshape(transform_matrix, (-1, 2, 3)), (len(x), 2, 3))
    places = np.einsum("bij,jhw->bhwi", matrices, np.stack([xs, ys, np.ones_like(xs)]))
    return resample(
        x=x,
        coordinates=places,
        sampling_mode=sampling_mode,
        padding_mode=padding_mode,
        padding_value=padding_value,
        coordinates_mode=coordinates_mode,
        align_corners=align_corners,
    )


def _unit(pixels: Array, size: int, mode: str, align_corners: Number) -> Array:
    """Pixels as coordinates of a mode."""
    if mode == "unnormalized":
        return pixels.astype(np.float64)
    share = pixels / max(size - 1, 1) if align_corners else (pixels + 0.5) / size
    return np.asarray(share * 2 - 1 if mode == "normalized_minus_one_to_one" else share)


def resample(
    *,
    x: Array,
    coordinates: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Number,
    coordinates_mode: str,
    align_corners: Number,
) -> Array:
    """`x` (B, C, H, W) read at `coordinates` (B, h, w, 2), x before y."""
    sizes = x.shape[:1:-1]
    columns, rows = (
        _pixels(coordinates[..., axis].astype(np.float64), sizes[axis], str(coordinates_mode), align_corners)
        for axis in (0, 1)
    )
    mode = str(padding_mode)
    if mode != "constant":
        columns = _folded(columns, sizes[0], mode, align_corners)
        rows = _folded(rows, sizes[1], mode, align_corners)
    fill = float(np.asarray(padding_value).item())
    if str(sampling_mode) == "nearest":
        return _at(x, np.rint(rows), np.rint(columns), fill)
    if str(sampling_mode) != "bilinear":
        raise refuse("resample", f"sampling mode {sampling_mode}")
    return _bilinear(x, rows, columns, fill)


def _bilinear(x: Array, rows: Array, columns: Array, fill: float) -> Array:
    top, left = np.floor(rows), np.floor(columns)
    result = np.zeros(())
    for down, right in itertools.product((0, 1), repeat=2):
        weight = (1 - np.abs(rows - top - down)) * (1 - np.abs(columns - left - right))
        result = result + weight[:, None] * _at(x, top + down, left + right, fill)
    return np.asarray(result)


def _at(x: Array, rows: Array, columns: Array, fill: float) -> Array:
    """(B, C, h, w) of the elements at whole coordinates (B, h, w); `fill` outside."""
    height, width = x.shape[2:]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    row = np.clip(rows, 0, height - 1).astype(np.int64)
    column = np.clip(columns, 0, width - 1).astype(np.int64)
    batch = np.arange(len(x)).reshape(-1, 1, 1)
    read = np.moveaxis(x[batch, :, row, column], -1, 1)
    return np.where(inside[:, None], read, fill)


def _pixels(values: Array, size: int, mode: str, align_corners: Number) -> Array:
    """Coordinates of a mode as pixels."""
    if mode == "unnormalized":
        return values
    share = (values + 1) / 2 if mode == "normalized_minus_one_to_one" else values
    return share * (size - 1) if align_corners else share * size - 0.5


def _folded(points: Array, size: int, mode: str, align_corners: Number) -> Array:
    """Points outside brought back to the border, or mirrored there."""
    if mode in ("border", "replicate"):
        return np.clip(points, 0, size - 1)
    if mode not in ("reflection", "symmetric"):
        raise refuse("resample", f"padding mode {mode}")
    edge = 0.0 if align_corners or mode == "reflection" else 0.5
    span = size - 1 + 2 * edge
    if span == 0:
        return np.zeros_like(points)
    distance = np.mod(points + edge, 2 * span)
    return np.clip(np.where(distance > span, 2 * span - distance, distance) - edge, 0, size - 1)


OPS: dict[str, Operation] = {
    "affine": affine,
    "crop_resize": crop_resize,
    "resample": resample,
    "resize": resize,
    "resize_bilinear": resize_bilinear,
    "resize_nearest_neighbor": resize_nearest_neighbor,
    "upsample_bilinear": upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest_neighbor,
}

REVISIONS: dict[str, tuple[tuple[int, Operation], ...]] = {"crop_resize": ((17, crop_resize_by_index),)}
