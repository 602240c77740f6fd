"""Compressed weights: what they are once they are unpacked."""

from __future__ import annotations

from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, ints
from mish_guard.engines.emulator.ops.elementwise import dequantize


def constexpr_affine_dequantize(*, quantized_data: Array, zero_point: Array, scale: Array, axis: Number) -> Array:
    return np.asarray(dequantize(input=quantized_data, scale=scale, zero_point=zero_point, axis=axis))


def constexpr_cast(*, source_val: Array, output_dtype: str) -> Array:
    del output_dtype  # the declared type of the result
    return source_val


def unpacked(packed: Array, bits: int, count: int) -> Array:
    """`count` numbers of so many bits, packed from the least significant bit on."""
    single = np.unpackbits(packed.astype(np.uint8), bitorder="little")[: count * bits].reshape(count, bits)
    return np.asarray(single.astype(np.int64) @ (1 << np.arange(bits)))


def packed_lut_to_dense(*, indices: Array, lut: Array, shape: Array) -> Array:
    """IOS 16 and 17: one table, indices packed in bytes."""
    sizes = ints(shape)
    bits = int(np.log2(lut.size))
    return np.asarray(lut[unpacked(indices, bits, int(np.prod(sizes)))].reshape(sizes))


def lut_to_dense(*, indices: Array, lut: Array, vector_axis: Any = None) -> Array:
    """From iOS 18 on: a table (palettes, vector) per block of the axes; a vector fills `vector_axis`."""
    blocks = np.ix_(
        *(
            np.arange(size) * tables // size
            for size, tables in zip(indices.shape, lut.shape[: indices.ndim], strict=True)
        )
    )
    index: tuple[Array, ...] = (*blocks, indices)
    vectors = lut[index]
    if lut.shape[-1] == 1:
        return np.asarray(vectors[..., 0])
    axis = int(vector_axis) % indices.ndim
    shape = list(indices.shape)
    shape[axis] *= lut.shape[-1]
    return np.asarray(np.moveaxis(vectors, -1, axis + 1).reshape(shape))


def packed_sparse_to_dense(*, nonzero_data: Array, mask: Array, shape: Array) -> Array:
    """IOS 16 and 17: the mask is packed in bytes."""
    sizes = ints(shape)
    bits = unpacked(mask, 1, int(np.prod(sizes)))
    return sparse_to_dense(nonzero_data=nonzero_data, mask=bits.reshape(sizes))


def sparse_to_dense(*, nonzero_data: Array, mask: Array) -> Array:
    dense = np.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask != 0] = nonzero_data
    return dense


def constexpr_lut_to_sparse(
    *, indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: Any = None
) -> tuple[Array, Array]:
    indices = sparse_to_dense(nonzero_data=indices_nonzero_data, mask=indices_mask)
    dense = lut_to_dense(indices=indices, lut=lut, vector_axis=vector_axis)
    repeats = lut.shape[-1]
    mask = indices_mask if repeats == 1 else np.repeat(indices_mask, repeats, axis=int(vector_axis))
    return mask, dense[mask != 0]


def constexpr_blockwise_shift_scale(*, data: Array, scale: Array, offset: Array | None = None) -> Array:
    """Scale and offset per block: each of their elements stands for as many as fit into the data's axis."""
    shifted = data if offset is None else data - _spread(offset, data.shape)
    return np.asarray(_spread(scale, data.shape) * shifted)


def _spread(values: Array, shape: tuple[int, ...]) -> Array:
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis=axis)
    return values


def constexpr_sparse_blockwise_shift_scale(
    *, data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Array, Array]:
    data = sparse_to_dense(nonzero_data=nonzero_data, mask=data_mask)
    return data_mask, constexpr_blockwise_shift_scale(data=data, scale=scale, offset=offset)[data_mask != 0]


OPS: dict[str, Operation] = {
    "constexpr_affine_dequantize": constexpr_affine_dequantize,
    "constexpr_blockwise_shift_scale": constexpr_blockwise_shift_scale,
    "constexpr_cast": constexpr_cast,
    "constexpr_lut_to_dense": packed_lut_to_dense,
    "constexpr_lut_to_sparse": constexpr_lut_to_sparse,
    "constexpr_sparse_blockwise_shift_scale": constexpr_sparse_blockwise_shift_scale,
    "constexpr_sparse_to_dense": packed_sparse_to_dense,
}

REVISIONS: dict[str, tuple[tuple[int, Operation], ...]] = {
    "constexpr_lut_to_dense": ((18, lut_to_dense),),
    "constexpr_sparse_to_dense": ((18, sparse_to_dense),),
}
