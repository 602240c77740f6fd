"""Trials of operations: random operands, and what PyTorch or numpy say in float64. See `test_ops`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Rng = np.random.Generator
Trial = tuple[dict[str, Any], Any]
Array = np.ndarray[Any, Any]


def draw(rng: Rng, *shape: int) -> Array:
    return rng.normal(0.0, 2.0, size=shape)


def t(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def of_x(want: Callable[..., Any], *shape: int, **operands: Any) -> Callable[[Rng], Trial]:
    """One tensor of a shape, and fixed operands that go to both sides."""

    def trial(rng: Rng) -> Trial:
        x = draw(rng, *(shape or (2, 3, 4)))
        return {"x": x, **operands}, want(t(x), **operands)

    return trial


def bounded(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Rng], Trial]:
    def trial(rng: Rng) -> Trial:
        x = rng.uniform(-0.9, 0.9, size=(3, 4))
        return {"x": x}, function(t(x))

    return trial


def logical(function: Callable[..., torch.Tensor]) -> Callable[[Rng], Trial]:
    def trial(rng: Rng) -> Trial:
        x, y = rng.random((3, 4)) < 0.5, rng.random((1, 4)) < 0.5
        return {"x": x, "y": y}, function(t(x), t(y))

    return trial


def division(function: Callable[..., torch.Tensor]) -> Callable[[Rng], Trial]:
    def trial(rng: Rng) -> Trial:
        x, y = draw(rng, 3, 4), np.where(rng.random((3, 4)) < 0.5, 1.0, -1.0) * (rng.random((3, 4)) + 0.5)
        if rng.integers(2):
            x, y = np.rint(4 * x).astype(np.int64), np.where(y < 0, -3, 2)
        return {"x": x, "y": y}, function(t(x), t(y))

    return trial


def per_axis(function: Callable[..., Any], **fixed: Any) -> Callable[[Rng], Trial]:
    def trial(rng: Rng) -> Trial:
        x, axis = draw(rng, 3, 4, 2), int(rng.integers(-3, 3))
        return {"x": x, "axis": axis, **fixed}, function(t(x), axis)

    return trial


def cumsum(rng: Rng) -> Trial:
    x, axis, exclusive, backwards = draw(rng, 3, 4), int(rng.integers(2)), bool(rng.integers(2)), bool(rng.integers(2))
    ordered = np.flip(x, axis) if backwards else x
    total = np.cumsum(ordered, axis) - (ordered if exclusive else 0.0)
    return {"x": x, "axis": axis, "exclusive": exclusive, "reverse": backwards}, t(
        np.flip(total, axis) if backwards else total
    )


def topk(rng: Rng) -> Trial:
    x, axis, up = draw(rng, 5, 4), int(rng.integers(2)), bool(rng.integers(2))
    want = torch.topk(t(x), 3, dim=axis, largest=not up)
    return {"x": x, "k": 3, "axis": axis, "ascending": up}, (want.values, want.indices)


def reduction(function: Callable[..., Any]) -> Callable[[Rng], Trial]:
    def trial(rng: Rng) -> Trial:
        x, axis, keep = np.abs(draw(rng, 3, 4, 2)) + 0.1, int(rng.integers(3)), bool(rng.integers(2))
        want = function(t(x), axis, keep)
        return {"x": x, "axes": np.array([axis]), "keep_dims": keep}, want

    return trial


def gather(rng: Rng) -> Trial:
    x, axis = draw(rng, 3, 4, 2), int(rng.integers(3))
    indices = rng.integers(-x.shape[axis], x.shape[axis], size=(2, 2))
    return {"x": x, "indices": indices, "axis": axis}, t(np.take(x, indices, axis))


def gather_in_batches(rng: Rng) -> Trial:
    x, indices = draw(rng, 3, 4, 2), rng.integers(0, 4, size=(3, 5))
    want = torch.stack([row[index] for row, index in zip(t(x), t(indices), strict=True)])
    return {"x": x, "indices": indices, "axis": 1, "batch_dims": 1}, want


def gather_along(rng: Rng) -> Trial:
    x, axis = draw(rng, 3, 4), int(rng.integers(2))
    indices = rng.integers(0, x.shape[axis], size=x.shape)
    return {"x": x, "indices": indices, "axis": axis}, torch.gather(t(x), axis, t(indices))


def gather_nd(rng: Rng) -> Trial:
    x, indices = draw(rng, 3, 4, 2), rng.integers(0, 3, size=(5, 2))
    return {"x": x, "indices": indices}, t(x)[t(indices[:, 0]), t(indices[:, 1])]


def scatter(rng: Rng) -> Trial:
    data, indices, updates = draw(rng, 4, 3), rng.integers(0, 3, size=5), draw(rng, 4, 5)
    want = t(data).index_add(1, t(indices), t(updates))
    return {"data": data, "indices": indices, "updates": updates, "axis": -1, "mode": "add"}, want


def scatter_along(rng: Rng) -> Trial:
    data, indices, updates = draw(rng, 4, 3), rng.permuted(np.tile(np.arange(4), (3, 1)), axis=1).T, draw(rng, 4, 3)
    mode = str(rng.choice(["update", "add", "max"]))
    if mode == "update":
        want = t(data).scatter(0, t(indices), t(updates))
    else:
        want = t(data).scatter_reduce(0, t(indices), t(updates), {"add": "sum", "max": "amax"}[mode])
    return {"data": data, "indices": indices, "updates": updates, "axis": 0, "mode": mode}, want


def scatter_nd(rng: Rng) -> Trial:
    data, indices, updates = draw(rng, 4, 3), rng.integers(0, 3, size=(5, 2)), draw(rng, 5)
    want = t(data).index_put((t(indices[:, 0]), t(indices[:, 1])), t(updates), accumulate=True)
    return {"data": data, "indices": indices, "updates": updates, "mode": "add"}, want


def instance_norm(rng: Rng) -> Trial:
    x, gamma, beta = draw(rng, 2, 3, 4, 5), draw(rng, 3), draw(rng, 3)
    want = functional.instance_norm(t(x), weight=t(gamma), bias=t(beta), eps=1e-2)
    return {"x": x, "gamma": gamma, "beta": beta, "epsilon": 1e-2}, want


def layer_norm(rng: Rng) -> Trial:
    x, gamma, beta = draw(rng, 2, 3, 4), draw(rng, 3, 4), draw(rng, 3, 4)
    want = functional.layer_norm(t(x), (3, 4), t(gamma), t(beta), 1e-3)
    return {"x": x, "axes": np.array([-1, 1]), "gamma": gamma, "beta": beta, "epsilon": 1e-3}, want


def l2_norm(rng: Rng) -> Trial:
    x = draw(rng, 2, 3, 4, 5)
    want = t(x) / (t(x).square().sum((1, 2, 3), keepdim=True) + 1e-3).sqrt()
    return {"x": x, "epsilon": 1e-3}, want


def response_norm(rng: Rng) -> Trial:
    x, size = draw(rng, 2, 5, 4, 3), int(rng.integers(2, 5))
    return {"x": x, "size": size, "alpha": 0.1, "beta": 0.5, "k": 2.0}, functional.local_response_norm(
        t(x), size, 0.1, 0.5, 2.0
    )


def l2_pool(rng: Rng) -> Trial:
    x = draw(rng, 1, 2, 6, 5)
    operands = {"x": x, "kernel_sizes": np.array([2, 3]), "strides": np.array([2, 1]), "pad_type": "valid"}
    return operands, functional.lp_pool2d(t(x), 2.0, (2, 3), (2, 1))


def conv_transpose(rng: Rng) -> Trial:
    rank, groups, stride, pad, extra, hole = (
        int(rng.integers(1, 4)),
        int(rng.integers(1, 3)),
        int(rng.integers(1, 4)),
        int(rng.integers(0, 2)),
        int(rng.integers(0, 2)),
        int(rng.integers(1, 3)),
    )
    extra = min(extra, max(stride, hole) - 1)
    x, weight = draw(rng, 2, 2 * groups, *[4] * rank), draw(rng, 2 * groups, 3, *[3] * rank)
    bias = draw(rng, 3 * groups)
    function = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[rank - 1]
    want = function(t(x), t(weight), t(bias), stride, pad, extra, groups, hole)
    operands: dict[str, Any] = {"x": x, "weight": weight, "bias": bias, "groups": groups, "pad_type": "custom"}
    operands |= {"strides": np.full(rank, stride), "dilations": np.full(rank, hole), "pad": np.full(2 * rank, pad)}
    if extra:
        operands["output_shape"] = np.array(want.shape)
    return operands, want


def einsum(rng: Rng) -> Trial:
    x, y = draw(rng, 2, 3, 4), draw(rng, 4, 3, 5)
    return {"values": (x, y), "equation": "abc, cbd -> abd"}, torch.einsum("abc,cbd->abd", t(x), t(y))


def attention(rng: Rng) -> Trial:
    query, key, value = draw(rng, 2, 3, 4), draw(rng, 2, 5, 4), draw(rng, 2, 5, 6)
    mask = rng.random((2, 3, 5)) < 0.7 if rng.integers(2) else draw(rng, 3, 5)
    mask = mask | (np.arange(5) == 0) if mask.dtype == bool else mask
    want = functional.scaled_dot_product_attention(t(query), t(key), t(value), t(mask))
    return {"query": query, "key": key, "value": value, "attn_mask": mask}, want


def _weights(layer: nn.Module, order: list[int], back: str = "") -> tuple[Array, Array, Array]:
    """Weights of a layer with its gates in another order, and the sum of its biases."""
    parts = [
        np.concatenate([np.split(getattr(layer, f"{name}_l0{back}").detach().numpy(), len(order))[at] for at in order])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    return parts[0], parts[1], parts[2] + parts[3]


def lstm(rng: Rng) -> Trial:
    both = bool(rng.integers(2))
    torch.manual_seed(int(rng.integers(1000)))
    layer = nn.LSTM(3, 4, bidirectional=both).double()
    x, h, c = draw(rng, 5, 2, 3), draw(rng, 1 + both, 2, 4), draw(rng, 1 + both, 2, 4)
    y, (h_last, c_last) = layer(t(x), (t(h), t(c)))
    flat = [np.concatenate(list(each), axis=-1) for each in (h, c, h_last.detach().numpy(), c_last.detach().numpy())]
    names = ("weight_ih", "weight_hh", "bias")
    operands = {"x": x, "initial_h": flat[0], "initial_c": flat[1], "output_sequence": True}
    operands |= dict(zip(names, _weights(layer, [0, 1, 3, 2]), strict=True))
    if both:
        back = _weights(layer, [0, 1, 3, 2], "_reverse")
        operands |= {f"{name}_back": each for name, each in zip(names, back, strict=True)} | {
            "direction": "bidirectional"
        }
    return operands, (y.detach(), t(flat[2]), t(flat[3]))


def gru(rng: Rng) -> Trial:
    torch.manual_seed(int(rng.integers(1000)))
    layer = nn.GRU(3, 4, bias=False).double()
    x, h = draw(rng, 5, 2, 3), draw(rng, 1, 2, 4)
    y, last = layer(t(x), t(h))
    order = [0, 2, 1]
    ih, hh = (
        np.concatenate([np.split(getattr(layer, name).detach().numpy(), 3)[at] for at in order])
        for name in ("weight_ih_l0", "weight_hh_l0")
    )
    operands = {"x": x, "initial_h": h[0], "weight_ih": ih, "weight_hh": hh, "reset_after": True}
    return operands, (y.detach()[-1:], last.detach()[0])


def rnn(rng: Rng) -> Trial:
    torch.manual_seed(int(rng.integers(1000)))
    layer = nn.RNN(3, 4).double()
    x, h = draw(rng, 5, 2, 3), draw(rng, 1, 2, 4)
    y, last = layer(t(x), t(h))
    ih, hh, bias = _weights(layer, [0])
    operands = {"x": x, "initial_h": h[0], "weight_ih": ih, "weight_hh": hh, "bias": bias, "output_sequence": True}
    return operands, (y.detach(), last.detach()[0])


def pad(rng: Rng) -> Trial:
    x, mode = draw(rng, 2, 4, 5), str(rng.choice(["constant", "reflect", "replicate"]))
    amounts = [int(each) for each in rng.integers(0, 3, size=2)]
    value = 1.5 if mode == "constant" else 0.0
    want = functional.pad(t(x), amounts, mode, value if mode == "constant" else None)
    return {"x": x, "pad": np.array(amounts), "mode": mode, "constant_val": value}, want


def slice_by_size(rng: Rng) -> Trial:
    x = draw(rng, 4, 5)
    return {"x": x, "begin": np.array([-3, 1]), "size": np.array([2, -1])}, t(x)[1:3, 1:]


def slice_update(rng: Rng) -> Trial:
    x, update = draw(rng, 4, 6), draw(rng, 2, 3)
    want = t(x).clone()
    want[1:3, 0:6:2] = t(update)
    ends = {"begin": np.array([1, 0]), "end": np.array([3, 9]), "stride": np.array([1, 2])}
    return {"x": x, "update": update, **ends, "end_mask": np.array([False, True])}, want


def one_hot(rng: Rng) -> Trial:
    indices = rng.integers(0, 4, size=(2, 3))
    want = functional.one_hot(t(indices), 4).movedim(-1, 1) * 3 - 1
    return {"indices": indices, "one_hot_vector_size": 4, "axis": 1, "on_value": 2, "off_value": -1}, want


def resize(mode: str, corners: bool) -> Callable[[Rng], Trial]:
    def trial(rng: Rng) -> Trial:
        x, sizes = draw(rng, 1, 2, 4, 5), [int(each) for each in rng.integers(2, 9, size=2)]
        want = functional.interpolate(t(x), sizes, mode="bilinear", align_corners=corners)
        return {"x": x, "target_size_height": sizes[0], "target_size_width": sizes[1], "sampling_mode": mode}, want

    return trial


def resize_nearest(rng: Rng) -> Trial:
    x, sizes = draw(rng, 1, 2, 4, 5), [int(each) for each in rng.integers(2, 9, size=2)]
    want = functional.interpolate(t(x), sizes, mode="nearest")
    return {"x": x, "target_size_height": sizes[0], "target_size_width": sizes[1]}, want


def resize_to_shape(rng: Rng) -> Trial:
    x = draw(rng, 1, 2, 4, 5)
    want = functional.interpolate(t(x), (7, 5), mode="bilinear", align_corners=False)
    operands = {"x": x, "shape": np.array([9, 7, 0]), "resized_dims": 2, "interpolation_mode": "LINEAR"}
    return {**operands, "sampling_mode": "UNALIGN_CORNERS"}, want


def resample(rng: Rng) -> Trial:
    x, grid, corners = draw(rng, 2, 3, 4, 5), rng.uniform(-1.3, 1.3, size=(2, 3, 4, 2)), bool(rng.integers(2))
    theirs = str(rng.choice(["zeros", "border", "reflection"]))
    mine = {"zeros": "constant", "border": "border", "reflection": "reflection" if corners else "symmetric"}[theirs]
    want = functional.grid_sample(t(x), t(grid), "bilinear", theirs, corners)
    how = {"sampling_mode": "bilinear", "padding_mode": mine, "padding_value": 0.0}
    return {
        "x": x,
        "coordinates": grid,
        **how,
        "coordinates_mode": "normalized_minus_one_to_one",
        "align_corners": corners,
    }, want


def affine(rng: Rng) -> Trial:
    x, theta = draw(rng, 1, 2, 4, 5), draw(rng, 1, 2, 3) / 3.0
    places = functional.affine_grid(t(theta), [1, 2, 3, 6], align_corners=True)
    want = functional.grid_sample(t(x), places, "bilinear", "zeros", align_corners=True)
    how = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0, "output_height": 3}
    operands = {"x": x, "transform_matrix": theta.reshape(1, 6), "output_width": 6, **how}
    return {**operands, "coordinates_mode": "normalized_minus_one_to_one", "align_corners": True}, want


def crop_resize(rng: Rng) -> Trial:
    x = draw(rng, 1, 2, 4, 5)
    want = functional.interpolate(t(x)[:, :, 1:3, 0:4], (3, 5), mode="bilinear", align_corners=True)[None]
    operands = {"x": x, "roi": np.array([1.0, 0.0, 2.0, 3.0]).reshape(1, 1, 4, 1, 1), "target_height": 3}
    return {**operands, "target_width": 5, "sampling_mode": "STRICT_ALIGN_CORNERS"}, want


def upsample(function: str, **settings: Any) -> Callable[[Rng], Trial]:
    def trial(rng: Rng) -> Trial:
        x = draw(rng, 1, 2, 4, 5)
        mode = "nearest" if function == "nearest" else "bilinear"
        corners = settings.get("align_corners")
        want = functional.interpolate(t(x), (8, 15), mode=mode, align_corners=corners)
        return {"x": x, "scale_factor_height": 2, "scale_factor_width": 3, **settings}, want

    return trial


def quantize(rng: Rng) -> Trial:
    x, scale, zero = draw(rng, 2, 3) * 40, rng.uniform(0.2, 1.0, size=3), rng.integers(-5, 5, size=3)
    done = torch.clamp(torch.round(t(x / scale)) + t(zero), -128, 127).long()
    return {"input": x, "scale": scale, "zero_point": zero, "axis": 1, "output_dtype": "int8"}, done


def dequantize(rng: Rng) -> Trial:
    q, scale, zero = rng.integers(-128, 128, size=(2, 3)), rng.uniform(0.2, 1.0, size=2), rng.integers(-5, 5, size=2)
    return {"input": q, "scale": scale, "zero_point": zero, "axis": 0}, t(scale[:, None] * (q - zero[:, None]))


def affine_dequantize(rng: Rng) -> Trial:
    operands, want = dequantize(rng)
    return {"quantized_data": operands.pop("input"), **operands}, want


def blockwise(rng: Rng) -> Trial:
    q, scale, offset = rng.integers(-8, 8, size=(4, 6)), draw(rng, 2, 3), rng.integers(-3, 3, size=(2, 3))
    spread = [np.kron(each, np.ones((2, 2))) for each in (scale, offset)]
    return {"data": q, "scale": scale, "offset": offset}, t(spread[0] * (q - spread[1]))


def packed_table(rng: Rng) -> Trial:
    indices, table = rng.integers(0, 4, size=(3, 5)), draw(rng, 4)
    bits = (indices.reshape(-1, 1) >> np.arange(2)) & 1
    packed = np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little").astype(np.int64)
    return {"indices": packed, "lut": table, "shape": np.array([3, 5])}, t(table[indices])


def packed_sparse(rng: Rng) -> Trial:
    dense = np.where(rng.random((3, 5)) < 0.5, draw(rng, 3, 5), 0.0)
    packed = np.packbits((dense != 0).reshape(-1), bitorder="little").astype(np.int64)
    return {"nonzero_data": dense[dense != 0], "mask": packed, "shape": np.array([3, 5])}, t(dense)


def sparse_table(rng: Rng) -> Trial:
    mask, table = (rng.random((3, 4)) < 0.5).astype(np.int64), draw(rng, 1, 1, 4, 1)
    indices = rng.integers(0, 4, size=int(mask.sum()))
    return {"indices_mask": mask, "indices_nonzero_data": indices, "lut": table}, (t(mask), t(table[0, 0, indices, 0]))


def sparse_blockwise(rng: Rng) -> Trial:
    mask, scale = (rng.random((3, 4)) < 0.5).astype(np.int64), draw(rng, 3, 1)
    values = rng.integers(-8, 8, size=int(mask.sum()))
    want = values * np.broadcast_to(scale, (3, 4))[mask != 0]
    return {"data_mask": mask, "nonzero_data": values, "scale": scale}, (t(mask), t(want))


def concat_interleaved(rng: Rng) -> Trial:
    x, y = draw(rng, 2, 3, 4), draw(rng, 2, 3, 4)
    want = torch.stack([t(x), t(y)], 2).reshape(2, 6, 4)
    return {"values": (x, y), "axis": 1, "interleave": True}, want


def reverse_sequence(rng: Rng) -> Trial:
    x, lengths = draw(rng, 3, 5), rng.integers(0, 6, size=3)
    want = torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(t(x), lengths, strict=True)])
    return {"x": x, "lengths": lengths, "seq_axis": 1, "batch_axis": 0}, want


def space_to_batch(rng: Rng) -> Trial:
    x = draw(rng, 1, 2, 4, 6)
    want = torch.cat([t(x)[:, :, i::2, j::3] for i in range(2) for j in range(3)])
    return {"x": x, "block_shape": np.array([2, 3]), "paddings": np.zeros((2, 2))}, want


def batch_to_space(rng: Rng) -> Trial:
    operands, want = space_to_batch(rng)
    return {"x": want.numpy(), "block_shape": np.array([2, 3]), "crops": np.zeros((2, 2))}, t(operands["x"])


def _depth_to_space(x: torch.Tensor, block_size: int) -> torch.Tensor:
    """As pixel_shuffle with the channels of each block far apart."""
    n, c, h, w = x.shape
    blocks = block_size**2
    near = x.reshape(n, blocks, c // blocks, h, w).transpose(1, 2).reshape(n, c, h, w)
    return functional.pixel_shuffle(near, block_size)


def _space_to_depth(x: torch.Tensor, block_size: int) -> torch.Tensor:
    near = functional.pixel_unshuffle(x, block_size)
    n, c, h, w = near.shape
    blocks = block_size**2
    return near.reshape(n, c // blocks, blocks, h, w).transpose(1, 2).reshape(n, c, h, w)


MORE: dict[str, Callable[[Rng], Trial]] = {
    "acos": bounded(torch.acos),
    "affine": affine,
    "argsort": per_axis(lambda x, axis: torch.argsort(x, axis), ascending=True),
    "asin": bounded(torch.asin),
    "atan": of_x(torch.atan),
    "atanh": bounded(torch.atanh),
    "band_part": of_x(lambda x, lower, upper: torch.triu(torch.tril(x, upper), -lower), 2, 4, 5, lower=1, upper=2),
    "batch_to_space": batch_to_space,
    "ceil": of_x(torch.ceil),
    "clamped_relu": of_x(lambda x, alpha, beta: functional.leaky_relu(x, alpha).clamp(max=beta), alpha=0.1, beta=2.0),
    "concat interleaved": concat_interleaved,
    "constexpr_affine_dequantize": affine_dequantize,
    "constexpr_blockwise_shift_scale": blockwise,
    "constexpr_lut_to_dense": packed_table,
    "constexpr_lut_to_sparse": sparse_table,
    "constexpr_sparse_blockwise_shift_scale": sparse_blockwise,
    "constexpr_sparse_to_dense": packed_sparse,
    "conv_transpose": conv_transpose,
    "cos": of_x(torch.cos),
    "cosh": of_x(torch.cosh),
    "crop": of_x(
        lambda x, crop_height, crop_width: x[..., 1:4, 2:5],
        1,
        2,
        5,
        5,
        crop_height=np.array([1, 1]),
        crop_width=np.array([2, 0]),
    ),
    "crop_resize": crop_resize,
    "cumsum": cumsum,
    "depth_to_space": of_x(_depth_to_space, 1, 8, 2, 3, block_size=2),
    "dequantize": dequantize,
    "einsum": einsum,
    "elu": of_x(lambda x, alpha: functional.elu(x, alpha), alpha=0.7),
    "erf": of_x(torch.erf),
    "fill": lambda _: ({"shape": np.array([2, 3]), "value": 1.5}, torch.full((2, 3), 1.5, dtype=torch.float64)),
    "flatten2d": of_x(lambda x, axis: x.reshape(6, 4), axis=2),
    "floor": of_x(torch.floor),
    "floor_div": division(lambda x, y: torch.div(x, y, rounding_mode="floor")),
    "gather": gather,
    "gather in batches": gather_in_batches,
    "gather_along_axis": gather_along,
    "gather_nd": gather_nd,
    "gelu": of_x(lambda x, mode: functional.gelu(x), mode="EXACT"),
    "gelu with tanh": of_x(lambda x, mode: functional.gelu(x, approximate="tanh"), mode="TANH_APPROXIMATION"),
    "gelu with sigmoid": of_x(lambda x, mode: x * torch.sigmoid(1.702 * x), mode="SIGMOID_APPROXIMATION"),
    "gru": gru,
    "instance_norm": instance_norm,
    "l2_norm": l2_norm,
    "l2_pool": l2_pool,
    "layer_norm": layer_norm,
    "leaky_relu": of_x(lambda x, alpha: functional.leaky_relu(x, alpha), alpha=0.2),
    "linear_activation": of_x(lambda x, alpha, beta: alpha * x + beta, alpha=0.5, beta=1.5),
    "local_response_norm": response_norm,
    "logical_and": logical(torch.logical_and),
    "logical_or": logical(torch.logical_or),
    "logical_xor": logical(torch.logical_xor),
    "lstm": lstm,
    "mod": division(torch.remainder),
    "non_zero": lambda rng: (lambda x: ({"x": x}, torch.nonzero(t(x))))(rng.random((3, 4)) < 0.5),
    "one_hot": one_hot,
    "pad": pad,
    "pixel_shuffle": of_x(lambda x, upscale_factor: functional.pixel_shuffle(x, 2), 1, 8, 2, 3, upscale_factor=2),
    "pixel_unshuffle": of_x(
        lambda x, downscale_factor: functional.pixel_unshuffle(x, 2), 1, 2, 4, 6, downscale_factor=2
    ),
    "prelu": of_x(lambda x, alpha: functional.prelu(x, t(alpha)), 2, 3, 4, alpha=np.array([0.1, 0.2, 0.3])),
    "quantize": quantize,
    "range_1d": lambda _: ({"start": 1.0, "end": 7.0, "step": 1.5}, torch.arange(1.0, 7.0, 1.5, dtype=torch.float64)),
    "reduce_argmax": per_axis(lambda x, axis: torch.argmax(x, axis)),
    "reduce_argmin": per_axis(lambda x, axis: torch.argmin(x, axis, keepdim=True), keep_dims=True),
    "reduce_l1_norm": reduction(lambda x, axis, keep: torch.linalg.vector_norm(x, 1, axis, keep)),
    "reduce_l2_norm": reduction(lambda x, axis, keep: torch.linalg.vector_norm(x, 2, axis, keep)),
    "reduce_log_sum": reduction(lambda x, axis, keep: x.sum(axis, keep).log()),
    "reduce_prod": reduction(lambda x, axis, keep: x.prod(axis, keep)),
    "reduce_sum_square": reduction(lambda x, axis, keep: x.square().sum(axis, keep)),
    "resample": resample,
    "resize": resize_to_shape,
    "resize_bilinear": resize("STRICT_ALIGN_CORNERS", corners=True),
    "resize_bilinear of areas": resize("UNALIGN_CORNERS", corners=False),
    "resize_nearest_neighbor": resize_nearest,
    "reverse": of_x(lambda x, axes: x.flip((0, 2)), axes=np.array([0, 2])),
    "reverse_sequence": reverse_sequence,
    "rnn": rnn,
    "round": of_x(torch.round),
    "scaled_dot_product_attention": attention,
    "scaled_tanh": of_x(lambda x, alpha, beta: alpha * torch.tanh(beta * x), alpha=1.5, beta=0.5),
    "scatter": scatter,
    "scatter_along_axis": scatter_along,
    "scatter_nd": scatter_nd,
    "sign": of_x(torch.sign),
    "sin": of_x(torch.sin),
    "sinh": of_x(torch.sinh),
    "slice_by_size": slice_by_size,
    "slice_update": slice_update,
    "sliding_windows": of_x(
        lambda x, axis, size, stride: x.unfold(1, 3, 2).movedim(-1, 2), 2, 7, 3, axis=1, size=3, stride=2
    ),
    "softmax": per_axis(torch.softmax),
    "softsign": of_x(functional.softsign),
    "space_to_batch": space_to_batch,
    "space_to_depth": of_x(_space_to_depth, 1, 2, 4, 6, block_size=2),
    "stack": lambda rng: (lambda x: ({"values": (x, -x), "axis": 1}, torch.stack([t(x), -t(x)], 1)))(draw(rng, 2, 3)),
    "tan": bounded(torch.tan),
    "threshold": of_x(lambda x, alpha: x.clamp(min=alpha), alpha=0.5),
    "thresholded_relu": of_x(lambda x, alpha: torch.where(x >= alpha, x, 0.0), alpha=0.5),
    "tile": of_x(lambda x, reps: x.repeat(1, 2, 3), reps=np.array([1, 2, 3])),
    "topk": topk,
    "upsample_bilinear": upsample("bilinear", align_corners=True),
    "upsample_bilinear of areas": upsample("bilinear", align_corners=False),
    "upsample_nearest_neighbor": upsample("nearest"),
}
