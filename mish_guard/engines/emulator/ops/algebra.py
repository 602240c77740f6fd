"""Sums of products beyond `products`: they take the accumulator of the arithmetic."""

from __future__ import annotations

from types import EllipsisType

import numpy as np
from numpy.typing import DTypeLike

from mish_guard.engines.emulator import products
from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, ints, many, refuse
from mish_guard.engines.emulator.ops.normalization import softmax


def conv_transpose(
    *,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    output_shape: Array | None = None,
    dilations: Array | None = None,
    groups: Number = 1,
    accumulator: DTypeLike,
) -> Array:
    """Transposed convolution, weights (in, out / groups, *kernel): the whole of it, cut to the size declared."""
    rank = x.ndim - 2
    steps = [1] * rank if strides is None else ints(strides)
    holes = [1] * rank if dilations is None else ints(dilations)
    whole = _whole_transposed(x, weight, steps, holes, int(groups), accumulator)
    more = _extra(steps, holes)
    pads = _transposed_cuts(whole.shape[2:], x.shape[2:], steps, more, str(pad_type), pad, output_shape)
    spans = zip(pads, whole.shape[2:], strict=True)
    index: tuple[EllipsisType | slice, ...] = (..., *(slice(before, size - after) for (before, after), size in spans))
    cut = np.asarray(whole[index])
    return cut if bias is None else cut + bias.reshape(1, -1, *([1] * rank))


def _whole_transposed(
    x: Array, weight: Array, steps: list[int], holes: list[int], groups: int, accumulator: DTypeLike
) -> Array:
    import torch
    from torch.nn import functional

    function = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[len(steps) - 1]
    left, right = (torch.from_numpy(np.ascontiguousarray(each, dtype=accumulator)) for each in (x, weight))
    done = function(left, right, None, steps, 0, _extra(steps, holes), groups, holes)
    return done.numpy().astype(np.float64)


def _extra(steps: list[int], holes: list[int]) -> list[int]:
    """The largest output padding that stride or dilation allow: what an output shape may ask for."""
    return [max(step, hole) - 1 for step, hole in zip(steps, holes, strict=True)]


def _transposed_cuts(
    whole: tuple[int, ...],
    source: tuple[int, ...],
    steps: list[int],
    more: list[int],
    pad_type: str,
    pad: Array | None,
    output_shape: Array | None,
) -> list[tuple[int, int]]:
    """How much of the whole result is cut at both ends of each axis."""
    if pad_type not in ("valid", "custom", "same"):
        raise refuse("conv_transpose", f"padding {pad_type}")
    given = ints(pad) if pad is not None and pad_type == "custom" else [0, 0] * len(steps)
    cuts = []
    for axis, (size, step) in enumerate(zip(whole, steps, strict=True)):
        before, after = given[2 * axis], given[2 * axis + 1]
        natural = size - more[axis]
        if output_shape is not None:
            wanted = ints(output_shape)[2 + axis]
        elif pad_type == "same":
            wanted = source[axis] * step
        else:
            wanted = natural - before - after
        if pad_type == "same":
            before = max(natural - wanted, 0) // 2
        cuts.append((before, size - before - wanted))
    return cuts


def einsum(*, values: tuple[Array, ...], equation: str, accumulator: DTypeLike) -> Array:
    arrays = [array.astype(accumulator) for array in many(values)]
    return np.asarray(np.einsum(str(equation).replace(" ", ""), *arrays), dtype=np.float64)


def scaled_dot_product_attention(
    *, query: Array, key: Array, value: Array, attn_mask: Array | None = None, accumulator: DTypeLike
) -> Array:
    scores = products.matmul(x=query, y=key, transpose_y=True, accumulator=accumulator) / np.sqrt(query.shape[-1])
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf) if attn_mask.dtype.kind == "b" else scores + attn_mask
    return products.matmul(x=softmax(x=scores), y=value, accumulator=accumulator)


ACCUMULATING: dict[str, Operation] = {
    "conv": products.conv,
    "conv_transpose": conv_transpose,
    "einsum": einsum,
    "linear": products.linear,
    "matmul": products.matmul,
    "scaled_dot_product_attention": scaled_dot_product_attention,
}
