"""Operations on a few numbers each, with what they give as MIL defines it, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import ops
from mish_guard.errors import UnsupportedOpError

E, PI, LN2, LN3 = math.e, math.pi, math.log(2.0), math.log(3.0)
INF = math.inf
A34 = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0]]
TEN = list(map(float, range(10)))
EIGHT = np.arange(8.0)

Row = tuple[str, dict[str, Any], Any]


def run(op: str, operands: dict[str, Any], opset: int = 18) -> Any:
    """An operation on operands where lists stand for arrays."""
    given = {name: np.array(value) if isinstance(value, list) else value for name, value in operands.items()}
    found = ops.ACCUMULATING.get(op) or ops.find(op, opset)
    assert found is not None
    if op in ops.ACCUMULATING:
        given["accumulator"] = np.float64
    with np.errstate(all="ignore"):
        return found(**given)


def check(got: Any, want: Any) -> None:
    if isinstance(want, tuple):
        assert len(got) == len(want)
        for mine, theirs in zip(got, want, strict=True):
            check(mine, theirs)
        return
    wanted = np.array(want)
    assert np.asarray(got).shape == wanted.shape
    assert np.asarray(got).dtype.kind == wanted.dtype.kind
    np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-11, atol=1e-13)


def of(op: str, x: Any, want: Any, **operands: Any) -> Row:
    return op, {"x": x, **operands}, want


ELEMENTWISE: list[Row] = [
    of("floor_div", [1], [10.0], y=[0.1]),
    of("gelu", [2.0], [2 / (1 + math.exp(-3.404))], mode="SIGMOID_APPROXIMATION"),
    of("prelu", [0.5, -2.0], [0.5, -1.0], alpha=[0.5]),
    of("abs", [-2.0, 0.5], [2.0, 0.5]),
    of("acos", [1.0, 0.0, -1.0], [0.0, PI / 2, PI]),
    of("add", [1.0, 2.0], [4.0, 5.0], y=3.0),
    of("asin", [1.0, -1.0], [PI / 2, -PI / 2]),
    of("atan", [1.0], [PI / 4]),
    of("atanh", [0.5], [LN3 / 2]),
    of("cast", [-1.7, 0.0, 2.5], [-1, 0, 2], dtype="int32"),
    of("cast", [-1.7, 0.0, 2.5], [True, False, True], dtype="bool"),
    of("cast", [-1.7, 0.0], [-1.7, 0.0], dtype="fp16"),
    of("cast", [3, 0], [3.0, 0.0], dtype="fp32"),
    of("cast", [True, False], [1, 0], dtype="int8"),
    of("ceil", [0.5, -0.5], [1.0, 0.0]),
    of("clamped_relu", [-4.0, 0.0, 2.0, 5.0], [-2.0, 0.0, 2.0, 3.0], alpha=0.5, beta=3.0),
    of("clamped_relu", [0.0], [0.0], alpha=INF, beta=3.0),
    of("clip", [-2.0, 0.5, 9.0], [0.0, 0.5, 6.0], alpha=0.0, beta=6.0),
    of("cos", [0.0, PI], [1.0, -1.0]),
    of("cosh", [1.0], [(E + 1 / E) / 2]),
    (
        "dequantize",
        {"input": [[1, 2], [3, 4]], "scale": [2.0, 10.0], "zero_point": [1, 0], "axis": 1},
        [[0.0, 20.0], [4.0, 40.0]],
    ),
    ("dequantize", {"input": [[1, 2], [3, 4]], "scale": [2.0, 10.0], "zero_point": [1, 0]}, [[0.0, 2.0], [30.0, 40.0]]),
    ("dequantize", {"input": [[1, 2]], "scale": 3.0}, [[3.0, 6.0]]),
    of("elu", [-1.0, 0.0, 2.0], [0.5 * (1 / E - 1), 0.0, 2.0], alpha=0.5),
    of("elu", [0.0], [0.0], alpha=INF),
    of("equal", [1.0, 2.0], [True, False], y=1.0),
    of("erf", [0.5, -1.0], [math.erf(0.5), math.erf(-1.0)]),
    of("exp", [0.0, 1.0], [1.0, E]),
    of("exp2", [3.0, -1.0], [8.0, 0.5]),
    of("floor", [0.5, -0.5], [0.0, -1.0]),
    of("floor_div", [7.0, -7.0, 1.0], [3.0, -4.0, INF], y=[2.0, 2.0, 0.0]),
    of("floor_div", [7, -7], [3, -4], y=[2, 2]),
    of("floor_div", [7.0], [3.0], y=[2]),
    of("gelu", [1.0, -2.0], [(1 + math.erf(0.5**0.5)) / 2, -(1 + math.erf(-(2**0.5)))]),
    of("gelu", [1.0], [(1 + math.tanh((2 / PI) ** 0.5 * 1.044715)) / 2], mode="TANH_APPROXIMATION"),
    of("gelu", [2.0], [1 + math.tanh((2 / PI) ** 0.5 * (2 + 0.35772))], mode="TANH_APPROXIMATION"),
    of("gelu", [1.0], [1 / (1 + math.exp(-1.702))], mode="SIGMOID_APPROXIMATION"),
    of("greater", [1.0, 2.0, 3.0], [False, False, True], y=2.0),
    of("greater_equal", [1.0, 2.0, 3.0], [False, True, True], y=2.0),
    of("identity", [1.0, 2.0], [1.0, 2.0]),
    of("inverse", [2.0, 0.0], [0.5, INF]),
    of("inverse", [2.0], [0.25], epsilon=2.0),
    of("leaky_relu", [-4.0, 0.0, 2.0], [-2.0, 0.0, 2.0], alpha=0.5),
    of("leaky_relu", [0.0], [0.0], alpha=INF),
    of("less", [1.0, 2.0, 3.0], [True, False, False], y=2.0),
    of("less_equal", [1.0, 2.0, 3.0], [True, True, False], y=2.0),
    of("linear_activation", [-1.0, 4.0], [1.0, 11.0], alpha=2.0, beta=3.0),
    of("log", [E, 0.0], [1.0, -INF]),
    of("log", [E - 1], [1.0], epsilon=1.0),
    of("logical_and", [True, True, False], [True, False, False], y=[True, False, False]),
    of("logical_not", [True, False], [False, True]),
    of("logical_or", [True, True, False], [True, True, False], y=[True, False, False]),
    of("logical_xor", [True, True, False], [False, True, False], y=[True, False, False]),
    of("maximum", [1.0, 5.0], [3.0, 5.0], y=3.0),
    of("minimum", [1.0, 5.0], [1.0, 3.0], y=3.0),
    of("mod", [7.0, -7.0, 7.0], [1.0, 2.0, -2.0], y=[3.0, 3.0, -3.0]),
    of("mul", [2.0, -3.0], [8.0, -12.0], y=4.0),
    of("not_equal", [1.0, 2.0], [False, True], y=1.0),
    of("pow", [2, 4], [0.5, 16.0], y=[-1, 2]),
    of("prelu", [[[-2.0, 3.0], [-4.0, 5.0]]], [[[-1.0, 3.0], [-1.0, 5.0]]], alpha=[0.5, 0.25]),
    of("prelu", [-2.0, 3.0], [-1.0, 3.0], alpha=[0.5]),
    of("prelu", [[-2.0, 3.0], [-4.0, -8.0]], [[-1.0, 3.0], [-1.0, -1.0]], alpha=[[0.5, 0.5], [0.25, 0.125]]),
    (
        "quantize",
        {"input": [[3.0, 30.0]], "scale": [2.0, 10.0], "zero_point": [1, 0], "axis": 1, "output_dtype": "int8"},
        [[3, 3]],
    ),
    (
        "quantize",
        {"input": [[3.0, 30.0], [50.0, 10.0]], "scale": [2.0, 10.0], "output_dtype": "int8"},
        [[2, 15], [5, 1]],
    ),
    ("quantize", {"input": [-1e4, -128.0, 127.0, 1e4], "scale": 1.0, "output_dtype": "int8"}, [-128, -128, 127, 127]),
    ("quantize", {"input": [-1e4, 0.0, 255.0, 1e4], "scale": 1.0, "output_dtype": "uint8"}, [0, 0, 255, 255]),
    of("real_div", [1, 6], [0.5, 3.0], y=[2, 2]),
    of("relu", [-1.0, 0.0, 7.0], [0.0, 0.0, 7.0]),
    of("relu6", [-1.0, 3.0, 7.0], [0.0, 3.0, 6.0]),
    of("round", [0.5, 1.5, -2.5], [0.0, 2.0, -2.0]),
    of("rsqrt", [4.0, 0.0], [0.5, INF]),
    of("rsqrt", [4.0], [1 / 3], epsilon=5.0),
    of("scaled_tanh", [2 * LN2], [6.0], alpha=10.0, beta=0.5),
    ("select", {"cond": [True, False], "a": [1.0, 2.0], "b": [3.0, 4.0]}, [1.0, 4.0]),
    of("sigmoid", [LN3, -LN3, 0.0, -1000.0, 1000.0], [0.75, 0.25, 0.5, 0.0, 1.0]),
    of("sigmoid_hard", [0.0, 1.0, 5.0, -5.0], [0.5, 0.7, 1.0, 0.0]),
    of("sigmoid_hard", [0.25], [0.75], alpha=1.0, beta=0.5),
    of("sign", [-3.0, 0.0, 2.0], [-1.0, 0.0, 1.0]),
    of("silu", [LN3], [0.75 * LN3]),
    of("sin", [PI / 2, 0.0], [1.0, 0.0]),
    of("sinh", [1.0], [(E - 1 / E) / 2]),
    of("softplus", [0.0, LN3], [LN2, 2 * LN2]),
    of("softplus_parametric", [[[0.0], [2 * LN3]]], [[[2 * LN2], [6 * LN2]]], alpha=[2.0, 3.0], beta=[1.0, 0.5]),
    of("softplus_parametric", [[[0.0], [2 * LN3]]], [[[2 * LN2], [6 * LN2]]], alpha=[[2.0], [3.0]], beta=0.5),
    of("softsign", [-3.0, 1.0], [-0.75, 0.5]),
    of("sqrt", [9.0], [3.0]),
    of("square", [-3.0], [9.0]),
    of("sub", [1.0, 5.0], [-2.0, 2.0], y=3.0),
    of("tan", [PI / 4], [1.0]),
    of("tanh", [LN2], [0.6]),
    of("threshold", [0.0, 1.0], [0.5, 1.0], alpha=0.5),
    of("thresholded_relu", [0.5, 1.0, 2.0], [0.0, 1.0, 2.0], alpha=1.0),
]

SHAPES: list[Row] = [
    of("band_part", [A34], [[[1.0, 0.0, 0.0, 0.0], [5.0, 6.0, 0.0, 0.0], [9.0, 10.0, 11.0, 0.0]]], upper=0),
    ("concat", {"values": (np.array([1.0, 2.0]), np.array([3.0, 4.0])), "axis": 0}, [1.0, 2.0, 3.0, 4.0]),
    (
        "concat",
        {"values": (np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])), "axis": 1, "interleave": True},
        [[1.0, 3.0, 2.0, 4.0]],
    ),
    ("one_hot", {"indices": [[0], [1]], "one_hot_vector_size": 2}, [[[1, 0]], [[0, 1]]]),
    of("band_part", A34, [[1.0, 2.0, 3.0, 4.0], [0.0, 6.0, 7.0, 8.0], [0.0, 0.0, 11.0, 12.0]], lower=0),
    of("band_part", A34, [[1.0, 0.0, 0.0, 0.0], [5.0, 6.0, 0.0, 0.0], [9.0, 10.0, 11.0, 0.0]], upper=0),
    of("band_part", A34, [[1.0, 2.0, 0.0, 0.0], [5.0, 6.0, 7.0, 0.0], [0.0, 10.0, 11.0, 12.0]], lower=1, upper=1),
    of("band_part", A34, A34),
    ("concat", {"values": (np.array(1.0), np.array(2.0)), "axis": 0}, [1.0, 2.0]),
    ("concat", {"values": [[1.0, 2.0]], "axis": 0}, [[1.0, 2.0]]),
    (
        "concat",
        {"values": (np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])), "axis": -2, "interleave": True},
        [[1.0], [3.0], [2.0], [4.0]],
    ),
    of(
        "depth_to_space",
        EIGHT.reshape(1, 8, 1, 1),
        [[[[0.0, 2.0], [4.0, 6.0]], [[1.0, 3.0], [5.0, 7.0]]]],
        block_size=2,
    ),
    of("depth_to_space", EIGHT.reshape(1, 4, 1, 2), [[[[0.0, 2.0, 1.0, 3.0], [4.0, 6.0, 5.0, 7.0]]]], block_size=2),
    of(
        "depth_to_space",
        EIGHT.reshape(2, 4, 1, 1),
        [[[[0.0, 1.0], [2.0, 3.0]]], [[[4.0, 5.0], [6.0, 7.0]]]],
        block_size=2,
    ),
    of("expand_dims", [1.0, 2.0], [[[1.0], [2.0]]], axes=[0, 2]),
    ("fill", {"shape": [2, 1], "value": 1.5}, [[1.5], [1.5]]),
    ("fill", {"shape": [2]}, [0.0, 0.0]),
    ("fill_like", {"ref_tensor": [[1.0], [2.0]], "value": 1.5}, [[1.5], [1.5]]),
    ("fill_like", {"ref_tensor": [1.0]}, [0.0]),
    of("flatten2d", EIGHT.reshape(2, 2, 2), [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]),
    of("flatten2d", EIGHT.reshape(2, 2, 2), [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]], axis=-1),
    of("flatten2d", EIGHT.reshape(2, 2, 2), [TEN[:8]], axis=0),
    of("flatten2d", [1.0, 2.0], [[1.0], [2.0]], axis=1),
    of("non_zero", [[0.0, 1.0], [2.0, 0.0]], [[0, 1], [1, 0]]),
    ("one_hot", {"indices": [0, -1, 3], "one_hot_vector_size": 3}, [[1, 0, 0], [0, 0, 1], [0, 0, 0]]),
    (
        "one_hot",
        {"indices": [1, -2], "one_hot_vector_size": 2, "axis": 0, "on_value": 5.0, "off_value": -1.0},
        [[-1.0, 5.0], [5.0, -1.0]],
    ),
    of("pad", [[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0, 2.0], [0.0, 3.0, 4.0]], pad=[1, 0]),
    of("pad", [[1.0]], [[5.0, 5.0, 5.0], [1.0, 5.0, 5.0]], pad=[1, 0, 0, 2], constant_val=5.0),
    of("pad", [1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 2.0, 3.0, 2.0], pad=[2, 1], mode="reflect"),
    of("pad", [1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 2.0, 3.0, 3.0], pad=[2, 1], mode="replicate"),
    of(
        "pixel_shuffle",
        EIGHT.reshape(1, 8, 1, 1),
        [[[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]],
        upscale_factor=2,
    ),
    of("pixel_shuffle", EIGHT.reshape(1, 4, 1, 2), [[[[0.0, 2.0, 1.0, 3.0], [4.0, 6.0, 5.0, 7.0]]]], upscale_factor=2),
    of("pixel_unshuffle", EIGHT.reshape(1, 2, 2, 2), EIGHT.reshape(1, 8, 1, 1), downscale_factor=2),
    of(
        "pixel_unshuffle",
        EIGHT.reshape(1, 1, 2, 4),
        [[[[0.0, 2.0]], [[1.0, 3.0]], [[4.0, 6.0]], [[5.0, 7.0]]]],
        downscale_factor=2,
    ),
    ("range_1d", {"start": 1.0, "end": 7.0, "step": 2.0}, [1.0, 3.0, 5.0]),
    of("reshape", np.arange(24.0).reshape(2, 3, 4), np.arange(24.0).reshape(3, 8), shape=[0, -1]),
    of("reshape", TEN, [TEN], shape=[0, 0]),
    of("reshape", TEN, [TEN[:5], TEN[5:]], shape=[2, 5]),
    (
        "reshape_like",
        {
            "x": np.arange(12.0),
            "ref_tensors": (np.zeros((5, 2, 3)), np.zeros((9, 2, 7))),
            "begins": (np.array(1), np.array(1)),
            "ends": (np.array(2), np.array(2)),
            "end_masks": (np.array(True), np.array(False)),
        },
        np.arange(12.0).reshape(2, 3, 2),
    ),
    of("reverse", [[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]),
    of("reverse", [[1.0, 2.0], [3.0, 4.0]], [[2.0, 1.0], [4.0, 3.0]], axes=[1]),
    of(
        "reverse_sequence",
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
        [[2.0, 1.0, 3.0], [6.0, 5.0, 4.0]],
        lengths=[2, 3],
        seq_axis=1,
    ),
    of(
        "reverse_sequence",
        [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]],
        [[2.0, 6.0], [1.0, 5.0], [3.0, 4.0]],
        lengths=[2, 3],
        batch_axis=1,
    ),
    of("shape", [[1.0, 2.0, 3.0]], [1, 3]),
    of("slice_by_index", TEN, [1.0, 4.0, 7.0], begin=[1], end=[8], stride=[3]),
    of("slice_by_index", TEN, [0.0, 3.0, 6.0], begin=[1], end=[8], stride=[3], begin_mask=[True]),
    of("slice_by_index", TEN, [7.0, 8.0, 9.0], begin=[7], end=[8], end_mask=[True]),
    of("slice_by_index", TEN, [7.0], begin=[7], end=[8]),
    of("slice_by_index", A34, [[6.0, 7.0]], begin=[1, 1], end=[2, 3]),
    of("slice_by_index", A34, [6.0, 7.0], begin=[1, 1], end=[2, 3], squeeze_mask=[True, False]),
    of("slice_by_index", TEN, [3.0, 2.0], begin=[3], end=[1], stride=[-1]),
    of("slice_by_size", TEN, [7.0, 8.0], begin=[-3], size=[2]),
    of("slice_by_size", TEN, [0.0, 1.0], begin=[0], size=[2]),
    of("slice_by_size", TEN, [8.0, 9.0], begin=[8], size=[-1]),
    of("slice_by_size", TEN, [8.0], begin=[8], size=[1]),
    of("slice_update", [1.0, 2.0, 3.0, 4.0], [1.0, 8.0, 9.0, 4.0], update=[8.0, 9.0], begin=[1], end=[3]),
    of(
        "slice_update",
        [1.0, 2.0, 3.0, 4.0],
        [8.0, 2.0, 9.0, 4.0],
        update=[8.0, 9.0],
        begin=[1],
        end=[3],
        stride=[2],
        begin_mask=[True],
        end_mask=[True],
    ),
    of(
        "slice_update",
        [[1.0, 2.0], [3.0, 4.0]],
        [[1.0, 2.0], [8.0, 9.0]],
        update=[[8.0, 9.0]],
        begin=[1, 0],
        end=[2, 2],
        squeeze_mask=[True, False],
    ),
    of("sliding_windows", TEN[:4], [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]], axis=0, size=2),
    of("sliding_windows", [TEN[:5]], [[[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]], axis=-1, size=3, stride=2),
    of(
        "sliding_windows",
        [[0.0, 5.0], [1.0, 6.0], [2.0, 7.0]],
        [[[0.0, 5.0], [1.0, 6.0]], [[1.0, 6.0], [2.0, 7.0]]],
        axis=-2,
        size=2,
    ),
    of(
        "space_to_batch",
        [[[[1.0, 2.0], [3.0, 4.0]]]],
        [
            [[[0.0, 0.0], [0.0, 3.0]]],
            [[[0.0, 0.0], [0.0, 4.0]]],
            [[[0.0, 1.0], [0.0, 0.0]]],
            [[[0.0, 2.0], [0.0, 0.0]]],
        ],
        block_shape=[2, 2],
        paddings=[[1, 1], [2, 0]],
    ),
    of(
        "space_to_batch",
        EIGHT.reshape(1, 2, 1, 4),
        [[[[0.0, 2.0]], [[4.0, 6.0]]], [[[1.0, 3.0]], [[5.0, 7.0]]]],
        block_shape=[1, 2],
        paddings=[[0, 0], [0, 0]],
    ),
    of(
        "batch_to_space",
        [[[[0.0, 2.0]], [[4.0, 6.0]]], [[[1.0, 3.0]], [[5.0, 7.0]]]],
        EIGHT.reshape(1, 2, 1, 4),
        block_shape=[1, 2],
        crops=[[0, 0], [0, 0]],
    ),
    of(
        "batch_to_space",
        EIGHT.reshape(2, 1, 2, 2),
        [[[[1.0], [5.0], [3.0]]]],
        block_shape=[2, 1],
        crops=[[0, 1], [1, 0]],
    ),
    of("crop", [A34], [[[7.0, 8.0]]], crop_height=[1, 1], crop_width=[2, 0]),
    of(
        "space_to_depth",
        EIGHT.reshape(1, 2, 2, 2),
        np.array([0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]).reshape(1, 8, 1, 1),
        block_size=2,
    ),
    of(
        "space_to_depth",
        EIGHT.reshape(1, 1, 2, 4),
        [[[[0.0, 2.0]], [[1.0, 3.0]], [[4.0, 6.0]], [[5.0, 7.0]]]],
        block_size=2,
    ),
    of("split", TEN[:4], ([0.0, 1.0], [2.0, 3.0]), axis=0, num_splits=2),
    of("split", TEN[:4], ([0.0], [1.0, 2.0], [3.0]), axis=-1, split_sizes=[1, 2, 1]),
    of("squeeze", [[[1.0], [2.0]]], [1.0, 2.0]),
    of("squeeze", [[[1.0], [2.0]]], [[1.0, 2.0]], axes=[2]),
    ("stack", {"values": (np.array([1.0, 2.0]), np.array([3.0, 4.0])), "axis": -1}, [[1.0, 3.0], [2.0, 4.0]]),
    of("tile", [[1.0, 2.0]], [[1.0, 2.0, 1.0, 2.0], [1.0, 2.0, 1.0, 2.0]], reps=[2, 2]),
    of("transpose", [[1.0, 2.0]], [[1.0], [2.0]], perm=[1, 0]),
]

X23 = [[3.0, 1.0, 2.0], [1.0, 5.0, 4.0]]
REDUCTIONS: list[Row] = [
    of("reduce_argmax", [X23], [[0, 1]]),
    of("reduce_log_sum_exp", [[0.0, LN3, -INF], [LN2, LN2, LN2 * 2]], [2 * LN2, 3 * LN2], axes=[1]),
    of("argsort", X23, [[0, 2, 1], [1, 2, 0]]),
    of("argsort", X23, [[1, 0, 0], [0, 1, 1]], axis=0, ascending=True),
    of("argsort", [2.0, 2.0, 3.0], [2, 0, 1]),
    of("cumsum", X23, [[3.0, 1.0, 2.0], [4.0, 6.0, 6.0]]),
    of("cumsum", X23, [[0.0, 3.0, 4.0], [0.0, 1.0, 6.0]], axis=1, exclusive=True),
    of("cumsum", X23, [[6.0, 3.0, 2.0], [10.0, 9.0, 4.0]], axis=1, reverse=True),
    of("cumsum", X23, [[3.0, 2.0, 0.0], [9.0, 4.0, 0.0]], axis=1, reverse=True, exclusive=True),
    of("reduce_argmax", X23, [0, 1]),
    of("reduce_argmax", X23, [[0, 1, 1]], axis=0, keep_dims=True),
    of("reduce_argmin", X23, [1, 0]),
    of("reduce_argmin", X23, [1, 0, 0], axis=0),
    of("reduce_l1_norm", [[-3.0, 4.0]], [7.0], axes=[1]),
    of("reduce_l2_norm", [[-3.0, 4.0]], [[5.0]], axes=[1], keep_dims=True),
    of("reduce_log_sum", [1.0, E - 1], 1.0),
    of("reduce_log_sum_exp", [[0.0, LN3]], [2 * LN2], axes=[1]),
    of("reduce_log_sum_exp", [[1000.0, 1000.0]], [[1000 + LN2]], axes=[-1], keep_dims=True),
    of("reduce_log_sum_exp", [-INF, -INF], -INF),
    of("reduce_log_sum_exp", [INF, 0.0], INF),
    of("reduce_max", X23, 5.0),
    of("reduce_max", X23, [3.0, 5.0, 4.0], axes=[0]),
    of("reduce_mean", X23, [2.0, 10 / 3], axes=[1]),
    of("reduce_min", X23, [[1.0], [1.0]], axes=[1], keep_dims=True),
    of("reduce_prod", X23, [6.0, 20.0], axes=[1]),
    of("reduce_sum", X23, [4.0, 6.0, 6.0], axes=[0]),
    of("reduce_sum_square", [[-3.0, 4.0]], [25.0], axes=[1]),
    of("topk", X23, ([[3.0], [5.0]], [[0], [1]])),
    of("topk", X23, ([[1.0, 1.0, 2.0]], [[1, 0, 0]]), k=1, axis=0, ascending=True),
    of("topk", [2.0, 9.0, 4.0], ([9.0, 4.0, 2.0], [1, 2, 0]), k=-1),
    of("topk", [2.0, 9.0, 4.0], ([9.0, 4.0],), k=2, return_indices=False),
]

D43 = [[1.0, 2.0], [3.0, 4.0]]
GATHERS: list[Row] = [
    ("scatter", {"data": D43, "indices": [1], "updates": [[5.0, 6.0]]}, [[1.0, 2.0], [8.0, 10.0]]),
    of("gather_nd", D43, [[3.0, 4.0]], indices=[[[1, 0], [1, 1]]]),
    of(
        "gather_nd", [D43, [[5.0, 6.0], [7.0, 8.0]]], [[[3.0, 4.0]], [[5.0, 6.0]]], indices=[[[1]], [[0]]], batch_dims=1
    ),
    of("gather_nd", [[[1.0, 2.0], [3.0, 4.0]]], [[2.0, 3.0]], indices=[[[1], [0]]], batch_dims=2),
    of("gather", [[[1.0, 2.0], [3.0, 4.0]]], [[[2.0], [3.0]]], indices=[[[1], [0]]], axis=2, batch_dims=2),
    ("scatter_nd", {"data": D43, "indices": [[[1, 0], [1, 1]]], "updates": [[5.0, 6.0]]}, [[1.0, 2.0], [8.0, 10.0]]),
    of("gather", D43, [[3.0, 4.0], [1.0, 2.0]], indices=[1, -2]),
    of("gather", D43, [[2.0], [4.0]], indices=[1], axis=1),
    of("gather", D43, [[3.0, 4.0]], indices=[1], validate_indices=True),
    of(
        "gather",
        [D43, [[5.0, 6.0], [7.0, 8.0]]],
        [[[3.0, 4.0]], [[5.0, 6.0]]],
        indices=[[1], [0]],
        axis=1,
        batch_dims=1,
    ),
    of(
        "gather",
        [D43, [[5.0, 6.0], [7.0, 8.0]]],
        [[[2.0], [4.0]], [[5.0], [7.0]]],
        indices=[[1], [0]],
        axis=-1,
        batch_dims=1,
    ),
    of("gather_along_axis", D43, [[3.0, 2.0]], indices=[[1, 0]]),
    of("gather_along_axis", D43, [[2.0], [3.0]], indices=[[1], [0]], axis=1),
    of("gather_nd", D43, [3.0, 2.0], indices=[[1, 0], [0, 1]]),
    of("gather_nd", D43, [[3.0, 4.0]], indices=[[1]]),
    of("gather_nd", D43, [2.0, 3.0], indices=[[1], [0]], batch_dims=1),
    *[
        (
            "scatter",
            {"data": [6.0, 8.0], "indices": [1], "updates": [2.0], "mode": mode},
            [6.0, value],
        )
        for mode, value in {
            "add": 10.0,
            "div": 4.0,
            "max": 8.0,
            "min": 2.0,
            "mul": 16.0,
            "sub": 6.0,
            "update": 2.0,
        }.items()
    ],
    ("scatter", {"data": [6.0, 8.0], "indices": [1, 1], "updates": [2.0, 3.0]}, [6.0, 13.0]),
    ("scatter", {"data": [6, 9], "indices": [1], "updates": [2], "mode": "div"}, [6.0, 4.5]),
    ("scatter", {"data": [6, 9], "indices": [1], "updates": [2]}, [6, 11]),
    ("scatter", {"data": D43, "indices": [1], "updates": [[5.0], [6.0]], "axis": -1}, [[1.0, 7.0], [3.0, 10.0]]),
    ("scatter", {"data": D43, "indices": [1], "updates": [[5.0, 6.0]], "axis": 0}, [[1.0, 2.0], [8.0, 10.0]]),
    ("scatter_along_axis", {"data": D43, "indices": [[1, 0]], "updates": [[5.0, 6.0]]}, [[1.0, 8.0], [8.0, 4.0]]),
    (
        "scatter_along_axis",
        {"data": D43, "indices": [[1], [0]], "updates": [[5.0], [6.0]], "axis": 1, "mode": "update"},
        [[1.0, 5.0], [6.0, 4.0]],
    ),
    ("scatter_nd", {"data": D43, "indices": [[1, 0], [1, 0]], "updates": [5.0, 6.0]}, [[1.0, 2.0], [14.0, 4.0]]),
    ("scatter_nd", {"data": D43, "indices": [[1]], "updates": [[5.0, 6.0]], "mode": "max"}, [[1.0, 2.0], [5.0, 6.0]]),
]

S1, S2 = math.sqrt(1e-5), math.sqrt(2.0)
NORMS: list[Row] = [
    of("softmax", [[0.0, LN3, -INF], [LN2, LN2, 2 * LN2]], [[0.25, 0.75, 0.0], [0.25, 0.25, 0.5]]),
    of(
        "l2_norm",
        np.array([3.0, 4.0, 0.0, 5.0]).reshape(2, 1, 2, 1),
        np.array([0.5, 4 / 6, 0.0, 5 / 6]).reshape(2, 1, 2, 1),
        epsilon=11.0,
    ),
    of("batch_norm", [[[3.0], [5.0]]], [[[1 / S1], [2 / math.sqrt(4 + 1e-5)]]], mean=[2.0, 3.0], variance=[0.0, 4.0]),
    of(
        "batch_norm",
        [[[3.0], [5.0]]],
        [[[12.0], [6.0]]],
        mean=[2.0, 3.0],
        variance=[0.0, 3.0],
        gamma=[5.0, 0.5],
        beta=[7.0, 5.5],
        epsilon=1.0,
    ),
    of("instance_norm", [[[1.0, 3.0], [5.0, 5.0]]], [[[-1 / S2, 1 / S2], [0.0, 0.0]]], epsilon=1.0),
    of("instance_norm", [[[0.0, 2e-3]]], [[[-1e-3 / math.sqrt(1.1e-5), 1e-3 / math.sqrt(1.1e-5)]]]),
    of(
        "instance_norm",
        [[[1.0, 3.0], [5.0, 7.0]]],
        [[[3 - S2, 3 + S2], [4 - 2 * S2, 4 + 2 * S2]]],
        gamma=[2.0, 4.0],
        beta=[3.0, 4.0],
        epsilon=1.0,
    ),
    of("layer_norm", [[1.0, 3.0], [5.0, 7.0]], [[-1 / S2, 1 / S2], [-1 / S2, 1 / S2]], axes=[-1], epsilon=1.0),
    of("layer_norm", [[0.0, 0.0], [2e-3, 2e-3]], [[-1e-3 / math.sqrt(1.1e-5)] * 2, [1e-3 / math.sqrt(1.1e-5)] * 2]),
    of(
        "layer_norm", [[1.0], [3.0]], [[3 - S2], [4 + 2 * S2]], axes=[0], gamma=[2.0, 4.0], beta=[3.0, 4.0], epsilon=1.0
    ),
    of("l2_norm", [[[[3e-3, 4e-3]]]], [[[[3e-3 / math.sqrt(26e-6), 4e-3 / math.sqrt(26e-6)]]]]),
    of("l2_norm", [[[[3.0]], [[4.0]]]], [[[[0.5]], [[4.0 / 6.0]]]], epsilon=11.0),
    of(
        "local_response_norm",
        [[[100.0], [200.0], [300.0]]],
        [[[100 / 1.5**0.75], [200 / 3.5**0.75], [300 / 7.5**0.75]]],
        size=2,
    ),
    of(
        "nn_local_response_norm",
        [[[1.0]], [[2.0]], [[3.0]]],
        [[[1 / 7.0]], [[2 / 16.0]], [[3 / 15.0]]],
        size=3,
        alpha=3.0,
        beta=1.0,
        k=2.0,
    ),
    of("softmax", [[0.0, LN3]], [[0.25, 0.75]]),
    of("softmax", [[1000.0], [1000.0 + LN3]], [[0.25], [0.75]], axis=0),
]

TABLE = np.array([10.0, 20.0, 30.0, 40.0])
CONSTANTS: list[Row] = [
    (
        "constexpr_lut_to_dense",
        {"indices": [[2, 0]], "lut": np.arange(6.0).reshape(1, 1, 3, 2), "vector_axis": 1},
        [[4.0, 5.0, 0.0, 1.0]],
    ),
    (
        "constexpr_affine_dequantize",
        {"quantized_data": [[1, 2]], "zero_point": [1, 0], "scale": [2.0, 5.0], "axis": 1},
        [[0.0, 10.0]],
    ),
    ("constexpr_cast", {"source_val": [1.0], "output_dtype": "fp32"}, [1.0]),
    (
        "constexpr_lut_to_dense",
        {"indices": [[1, 0], [3, 2]], "lut": TABLE.reshape(1, 1, 4, 1)},
        [[20.0, 10.0], [40.0, 30.0]],
    ),
    (
        "constexpr_lut_to_dense",
        {"indices": [[1, 0], [1, 0]], "lut": TABLE.reshape(2, 1, 2, 1)},
        [[20.0, 10.0], [40.0, 30.0]],
    ),
    (
        "constexpr_lut_to_dense",
        {"indices": [[1, 0, 1, 0]], "lut": TABLE.reshape(1, 2, 2, 1)},
        [[20.0, 10.0, 40.0, 30.0]],
    ),
    (
        "constexpr_lut_to_dense",
        {"indices": [[1, 0]], "lut": TABLE.reshape(1, 1, 2, 2), "vector_axis": 0},
        [[30.0, 10.0], [40.0, 20.0]],
    ),
    (
        "constexpr_lut_to_dense",
        {"indices": [[1, 0]], "lut": TABLE.reshape(1, 1, 2, 2), "vector_axis": -1},
        [[30.0, 40.0, 10.0, 20.0]],
    ),
    ("constexpr_sparse_to_dense", {"nonzero_data": [5.0, 6.0], "mask": [[1, 0], [0, 1]]}, [[5.0, 0.0], [0.0, 6.0]]),
    (
        "constexpr_lut_to_sparse",
        {"indices_mask": [[1, 0, 1]], "indices_nonzero_data": [2, 1], "lut": TABLE.reshape(1, 1, 4, 1)},
        ([[1, 0, 1]], [30.0, 20.0]),
    ),
    (
        "constexpr_lut_to_sparse",
        {"indices_mask": [[1, 0]], "indices_nonzero_data": [1], "lut": TABLE.reshape(1, 1, 2, 2), "vector_axis": 1},
        ([[1, 1, 0, 0]], [30.0, 40.0]),
    ),
    ("constexpr_blockwise_shift_scale", {"data": [[1, 2, 3, 4]], "scale": [[2.0, 10.0]]}, [[2.0, 4.0, 30.0, 40.0]]),
    (
        "constexpr_blockwise_shift_scale",
        {"data": [[1, 2, 3, 4]], "scale": [[2.0, 10.0]], "offset": [[1, 3]]},
        [[0.0, 2.0, 0.0, 10.0]],
    ),
    (
        "constexpr_sparse_blockwise_shift_scale",
        {"data_mask": [[1, 0, 1, 0]], "nonzero_data": [3, 4], "scale": [[2.0, 10.0]], "offset": [[1, 3]]},
        ([[1, 0, 1, 0]], [4.0, 10.0]),
    ),
]

LIST = ops.lists.Held([np.array([1.0]), np.array([2.0])])
LISTS: list[Row] = [
    ("list_gather", {"ls": LIST, "indices": [1, 0]}, [[2.0], [1.0]]),
    ("list_length", {"ls": LIST}, 2),
    ("list_read", {"ls": LIST, "index": 1}, [2.0]),
    ("list_scatter", {"ls": LIST, "indices": [3, 0], "value": [[5.0], [6.0]]}, [[6.0], [2.0], [0.0], [5.0]]),
    ("list_write", {"ls": LIST, "index": 1, "value": [7.0]}, [[1.0], [7.0]]),
    ("list_write", {"ls": LIST, "index": 2, "value": [7.0]}, [[1.0], [2.0], [7.0]]),
    ("make_list", {"elem_shape": [2, 1]}, [[[0.0], [0.0]]]),
    ("make_list", {"elem_shape": (np.array(1), np.array(2)), "init_length": 2}, [[[0.0, 0.0]], [[0.0, 0.0]]]),
    (
        "non_maximum_suppression",
        {
            "boxes": [[[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0], [4.0, 0.0, 2.0, 2.0], [4.0, 0.5, 2.0, 2.0]]],
            "scores": [[[0.9], [0.8], [0.7], [0.6]]],
            "iou_threshold": 1 / 3,  # the first two share 2 of 6, the last two 3 of 5
            "max_boxes": 4,
        },
        (
            [[[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0], [4.0, 0.0, 2.0, 2.0], [0.0] * 4]],
            [[[0.9], [0.8], [0.7], [0.0]]],
            [[0, 1, 2, -1]],
            [3],
        ),
    ),
    (
        "non_maximum_suppression",
        {
            "boxes": [[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]],
            "scores": [[[0.5], [0.4]]],
            "iou_threshold": 0.0,
            "max_boxes": 2,
            "score_threshold": 0.5,
        },
        ([[[0.0] * 4] * 2], [[[0.5], [0.0]]], [[0, -1]], [1]),
    ),
]

NETWORKS: list[Row] = [
    of("nn_features", EIGHT.reshape(2, 1, 2, 2), [TEN[:4], TEN[4:8]]),
    of("nn_features", EIGHT.reshape(2, 2, 2), EIGHT.reshape(2, 2, 2)),
    of("nn_spread_features", EIGHT.reshape(2, 4), EIGHT.reshape(2, 4, 1, 1), like=np.zeros((1, 2, 2, 2))),
    of("nn_spread_features", EIGHT.reshape(1, 2, 4), EIGHT.reshape(1, 2, 4, 1, 1), like=np.zeros((1, 1, 2, 2, 2))),
    of("nn_spread_features", [[1.0]], [[1.0]], like=np.zeros((1, 2, 2))),
    of("nn_broadcast", [[1.0], [2.0]], [[1.0, 1.0], [2.0, 2.0]], shape=[2, 2]),
    of("nn_slice", A34, [[2.0, 4.0], [6.0, 8.0], [10.0, 12.0]], axis=1, start=1, end=4, step=2),
    of("nn_slice_by_size", A34, [[5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0]], axis=0, start=[1], size=2),
]

OTHERS: list[Row] = [
    ("random_normal", {"shape": [2], "stddev": 0.0}, [0.0, 0.0]),
    ("random_uniform", {"shape": [2], "low": 1.0}, [1.0, 1.0]),
    ("random_uniform", {"shape": [1], "high": 0.0}, [0.0]),
    ("einsum", {"values": (np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])), "equation": "ab, bc -> ac"}, [[11.0]]),
    ("linear", {"x": [[1.0, 2.0]], "weight": [[3.0, 4.0]], "bias": [0.5]}, [[11.5]]),
    ("matmul", {"x": [[1.0, 2.0]], "y": [[3.0], [4.0]]}, [[11.0]]),
    (
        "scaled_dot_product_attention",
        {"query": [[[2 * LN3, 0.0, 0.0, 0.0]]], "key": [[[1.0, 0, 0, 0], [0.0, 0, 0, 0]]], "value": [[[4.0], [8.0]]]},
        [[[5.0]]],
    ),
    (
        "scaled_dot_product_attention",
        {
            "query": [[[2 * LN3, 0.0, 0.0, 0.0]]],
            "key": [[[1.0, 0, 0, 0], [0.0, 0, 0, 0]]],
            "value": [[[4.0], [8.0]]],
            "attn_mask": [[LN2, LN2 + LN3]],
        },
        [[[6.0]]],
    ),
    (
        "scaled_dot_product_attention",
        {"query": [[[1.0]]], "key": [[[1.0], [0.0]]], "value": [[[4.0], [8.0]]], "attn_mask": [[False, True]]},
        [[[8.0]]],
    ),
]

RECTANGLE = np.arange(1.0, 16.0).reshape(1, 1, 3, 5)
LINE = np.array([0.0, 3.0]).reshape(1, 1, 1, 2)
PLANE = np.arange(32.0).reshape(2, 1, 4, 4)  # 16 * image + 4 * row + column, which interpolation keeps


def line(values: list[float]) -> Any:
    return np.array(values).reshape(1, 1, 1, -1)


def roi(*box: float) -> Any:
    return np.array(box).reshape(1, 1, -1, 1, 1)


def at(*points: tuple[float, float], **settings: Any) -> dict[str, Any]:
    """Where to read `PLANE`, by pixels if nothing else is said, and 100 outside."""
    how = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 100.0}
    places = {"x": PLANE[:1] + 1.0, "coordinates": np.array(points).reshape(1, 1, -1, 2)}
    return {**how, **places, "coordinates_mode": "unnormalized", "align_corners": True, **settings}


def mapped(matrix: list[float], **settings: Any) -> dict[str, Any]:
    how = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0, "align_corners": True}
    how |= {"x": PLANE, "transform_matrix": np.array(matrix), "output_height": 4, "output_width": 4}
    return {**how, "coordinates_mode": "normalized_minus_one_to_one", **settings}


FOUR = np.array([4.0, 7.0, 8.0, 11.0]).reshape(1, 1, 1, 2, 2)
TWICE = {"target_height": 2, "target_width": 2, "sampling_mode": "STRICT_ALIGN_CORNERS"}
SAME = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
RESIZES: list[Row] = [
    ("resize", {"x": EIGHT.reshape(1, 2, 4), "shape": [0], "resized_dims": 1}, EIGHT.reshape(1, 2, 4)),
    (
        "resize",
        {
            "x": line([7.0]),
            "shape": [2],
            "resized_dims": 1,
            "interpolation_mode": "NEAREST_NEIGHBOR",
            "sampling_mode": "OFFSET_CORNERS",
        },
        line([7.0, 7.0]),
    ),
    ("upsample_nearest_neighbor", {"x": PLANE, "scale_factor_height": 2}, np.repeat(PLANE, 2, axis=2)),
    (
        "resample",
        at((-1.0, 0.0), (5.0, 1.0), (0.0, -1.0), (2.0, 3.0), x=RECTANGLE, padding_mode="reflection"),
        [[[[2.0, 9.0, 6.0, 8.0]]]],
    ),
    ("resample", at((4.0, 0.0), (4.0, 2.0), (5.0, 0.0), x=RECTANGLE), [[[[5.0, 15.0, 100.0]]]]),
    ("resample", at((3.25, 0.0), (0.0, 3.25), padding_mode="symmetric", align_corners=False), [[[[4.0, 13.0]]]]),
    ("affine", mapped(SAME, output_height=2, output_width=2), PLANE[:, :, ::3, ::3]),
    ("affine", mapped([*SAME, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]), np.stack([PLANE[0], np.swapaxes(PLANE[1], -1, -2)])),
    ("resize_bilinear", {"x": PLANE, "target_size_height": 2}, np.array([0.0, 8.0, 16.0, 24.0]).reshape(2, 1, 2, 1)),
    ("resize_bilinear", {"x": PLANE, "target_size_width": 2}, np.array([0.0, 2.0, 16.0, 18.0]).reshape(2, 1, 1, 2)),
    ("resize_bilinear", {"x": line([INF, 3.0]), "target_size_width": 2}, line([INF, 3.0])),
    (
        "resize_bilinear",
        {"x": line([0.0, 3.0, 6.0]), "target_size_width": 5, "sampling_mode": "ALIGN_CORNERS"},
        line([0.0, 1.5, 3.0, 4.5, 6.0]),
    ),
    (
        "resize_bilinear",
        {"x": line([0.0, 1.0, 2.0, 3.0]), "target_size_width": 2, "sampling_mode": "OFFSET_CORNERS"},
        line([0.75, 2.25]),
    ),
    (
        "resize_nearest_neighbor",
        {"x": LINE, "target_size_height": 2, "target_size_width": 4},
        [[[[0.0, 0.0, 3.0, 3.0]] * 2]],
    ),
    (
        "resize_nearest_neighbor",
        {"x": line(TEN[:3]), "target_size_height": 1, "target_size_width": 2},
        line([0.0, 1.0]),
    ),
    (
        "resize",
        {"x": line(TEN[:3]), "shape": [9, 0, 5], "resized_dims": 2, "sampling_mode": "STRICT_ALIGN_CORNERS"},
        line([0.0, 0.5, 1.0, 1.5, 2.0]),
    ),
    ("resize", {"x": line(TEN[:4]), "shape": [0, 2], "resized_dims": 2}, line([0.0, 2.0])),
    (
        "resize",
        {
            "x": line(TEN[:3]),
            "shape": [5],
            "resized_dims": 1,
            "interpolation_mode": "NEAREST_NEIGHBOR",
            "sampling_mode": "STRICT_ALIGN_CORNERS",
        },
        line([0.0, 1.0, 1.0, 2.0, 2.0]),
    ),
    ("upsample_nearest_neighbor", {"x": LINE}, LINE),
    (
        "upsample_nearest_neighbor",
        {"x": LINE, "scale_factor_height": 2, "scale_factor_width": 1.5},
        [[[[0.0, 0.0, 3.0]] * 2]],
    ),
    ("upsample_bilinear", {"x": LINE}, LINE),
    ("upsample_bilinear", {"x": LINE, "scale_factor_width": 2}, line([0.0, 1.0, 2.0, 3.0])),
    ("upsample_bilinear", {"x": LINE, "scale_factor_width": 2, "align_corners": False}, line([0.0, 0.75, 2.25, 3.0])),
    (
        "upsample_bilinear",
        {"x": LINE, "scale_factor_width": 2, "align_corners": False, "half_pixel_centers": True},
        line([0.0, 0.75, 2.25, 3.0]),
    ),
    (
        "upsample_bilinear",
        {"x": LINE, "scale_factor_width": 2, "align_corners": False, "half_pixel_centers": False},
        line([0.0, 1.5, 3.0, 3.0]),
    ),
    ("resample", at((1.5, 2.0), (0.25, 0.5), (3.0, 3.0)), [[[[10.5, 3.25, 16.0]]]]),
    ("resample", at((-0.25, 0.0), (0.0, 3.25), (-1.0, 0.0), (0.0, 4.0)), [[[[25.75, 34.75, 100.0, 100.0]]]]),
    ("resample", at((1.6, 2.4), (-0.6, 0.0), sampling_mode="nearest"), [[[[11.0, 100.0]]]]),
    (
        "resample",
        at((-1.0, -1.0), (1.0, 1.0), (0.0, 1.0), coordinates_mode="normalized_minus_one_to_one"),
        [[[[1.0, 16.0, 14.5]]]],
    ),
    ("resample", at((0.5, 1.0), coordinates_mode="normalized_zero_to_one"), [[[[14.5]]]]),
    (
        "resample",
        at((0.5, 0.625), coordinates_mode="normalized_zero_to_one", align_corners=False),
        [[[[10.5]]]],
    ),
    ("resample", at((-2.0, 5.0), (9.0, -1.0), padding_mode="border"), [[[[13.0, 4.0]]]]),
    ("resample", at((-2.0, 5.0), (9.0, -1.0), padding_mode="replicate"), [[[[13.0, 4.0]]]]),
    (
        "resample",
        at((-1.0, 0.0), (4.0, 0.0), (0.0, 5.0), (7.5, 0.0), padding_mode="reflection"),
        [[[[2.0, 3.0, 5.0, 2.5]]]],
    ),
    (
        "resample",
        at((-1.0, 0.0), (4.0, 0.0), (-2.0, 0.0), (5.0, 0.0), padding_mode="symmetric", align_corners=False),
        [[[[1.0, 4.0, 2.0, 3.0]]]],
    ),
    ("resample", at((-1.0, 0.0), padding_mode="symmetric"), [[[[2.0]]]]),
    ("resample", at((-1.0, 0.0), padding_mode="reflection", align_corners=False), [[[[2.0]]]]),
    ("resample", at((5.0, 1.0), padding_mode="reflection", x=line([7.0]).reshape(1, 1, 1, 1)), [[[[7.0]]]]),
    ("affine", mapped(SAME), PLANE),
    ("affine", mapped(SAME, align_corners=False), PLANE),
    ("affine", mapped(SAME, coordinates_mode="normalized_zero_to_one"), PLANE),
    ("affine", mapped(SAME, coordinates_mode="unnormalized"), PLANE),
    ("affine", mapped([0.0, 1.0, 0.0, 1.0, 0.0, 0.0]), np.swapaxes(PLANE, -1, -2)),
    (
        "affine",
        mapped(SAME, output_height=1, output_width=3),
        np.array([[0.0, 1.5, 3.0], [16.0, 17.5, 19.0]])[:, None, None],
    ),
    (
        "affine",
        mapped([1.0, 0.0, 1.0, 0.0, 1.0, 2.0], output_height=2, output_width=1, coordinates_mode="unnormalized"),
        np.array([9.0, 13.0, 25.0, 29.0]).reshape(2, 1, 2, 1),
    ),
]

CROPS: list[Row] = [
    (
        "crop_resize",
        {
            "x": PLANE,
            "roi": np.array([[1.0, 1.0, 0.0, 2.0, 3.0], [0.0, 1.0, 0.0, 2.0, 3.0]]).reshape(2, 1, 5, 1, 1),
            **TWICE,
        },
        np.concatenate([FOUR + 16, FOUR]),
    ),
    ("crop_resize", {"x": PLANE[:1], "roi": roi(1.0, 0.0, 2.0, 3.0), **TWICE}, FOUR),
    ("crop_resize", {"x": PLANE, "roi": roi(1.0, 1.0, 0.0, 2.0, 3.0), **TWICE}, FOUR + 16),
    ("crop_resize", {"x": PLANE, "roi": roi(1.0, 0.0, 2.0, 3.0), **TWICE}, np.concatenate([FOUR, FOUR + 16], axis=1)),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(0.0, 1.0, 3.0, 2.0), **TWICE, "box_coordinate_mode": "CORNERS_WIDTH_FIRST"},
        FOUR,
    ),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(1.5, 1.5, 1.0, 3.0), **TWICE, "box_coordinate_mode": "CENTER_SIZE_HEIGHT_FIRST"},
        FOUR,
    ),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(1.5, 1.5, 3.0, 1.0), **TWICE, "box_coordinate_mode": "CENTER_SIZE_WIDTH_FIRST"},
        FOUR,
    ),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(1 / 3, 0.0, 2 / 3, 1.0), **TWICE, "normalized_coordinates": True},
        FOUR,
    ),
    ("crop_resize", {"x": PLANE[:1], "roi": roi(2.0, 0.0, 4.0, 6.0), **TWICE, "spatial_scale": 0.5}, FOUR),
    ("crop_resize", {"x": PLANE[:1], "roi": roi(1.0, 2.0, 3.0, 3.0)}, [[[[[6.0]]]]]),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(1.0, -1.0, 1.0, 5.0), **TWICE, "target_width": 3, "pad_value": 9.0},
        [[[[[9.0, 6.0, 9.0]] * 2]]],
    ),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(-1.0, 0.0, 5.0, 0.0), **TWICE, "target_height": 3},
        [[[[[0.0, 0.0], [8.0, 8.0], [0.0, 0.0]]]]],
    ),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(0.0, 0.0, 2.0, 2.0), **TWICE, "sampling_mode": "OFFSET_CORNERS"},
        [[[[[2.5, 3.5], [6.5, 7.5]]]]],
    ),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(2.0, 1.0, 1.0, 3.0), **TWICE, "sampling_mode": "OFFSET_CORNERS"},
        [[[[[9.5, 10.5], [9.5, 10.5]]]]],
    ),
    (
        "crop_resize",
        {"x": PLANE[:1], "roi": roi(1.0, 1.0, 1.0, 1.0), "sampling_mode": "UNALIGN_CORNERS"},
        [[[[[5.0]]]]],
    ),
]
BY_INDEX: list[Row] = [
    (
        "crop_resize",
        {"x": PLANE, "boxes": [[1.0, 0.0, 2.0, 3.0]] * 2, "box_indices": [1, 0], **TWICE},
        np.concatenate([FOUR[0] + 16, FOUR[0]]),
    ),
    (
        "crop_resize",
        {"x": PLANE, "boxes": [[1.0, 0.0, 2.0, 3.0]] * 2, **TWICE},
        np.concatenate([FOUR[0], FOUR[0] + 16]),
    ),
    ("crop_resize", {"x": PLANE, "boxes": [[2.0, 4.0, 9.0, 9.0]], "spatial_scale": 0.5}, [[[[6.0]]]]),
    ("crop_resize", {"x": PLANE, "boxes": [[1 / 3, 1.0, 1.0, 1.0]], "normalized_coordinates": True}, [[[[7.0]]]]),
    ("crop_resize", {"x": PLANE, "boxes": [[-1.0, 0.0, 1.0, 1.0]]}, [[[[0.0]]]]),
    ("crop_resize", {"x": PLANE, "boxes": [[-1.0, 0.0, 1.0, 1.0]], "pad_value": 9.0}, [[[[9.0]]]]),
]

POOLS: list[Row] = [
    of(
        "max_pool",
        [[[1.0, 2.0, 3.0]]],
        [[[2.0]]],
        kernel_sizes=[2],
        strides=[3],
        ceil_mode=True,
        pad_type="custom",
        pad=[0, 1],
    ),
    of(
        "max_pool",
        [[[1.0, 2.0, 3.0]]],
        [[[1.0, 3.0]]],
        kernel_sizes=[2],
        strides=[3],
        ceil_mode=True,
        pad_type="custom",
        pad=[1, 0],
    ),
    of("avg_pool", [[[2.0, 4.0, 6.0]]], [[[1.0, 3.0, 5.0]]], kernel_sizes=[2], pad_type="custom", pad=[1, 0]),
    of(
        "avg_pool",
        [[[2.0, 4.0, 6.0]]],
        [[[2.0, 3.0, 5.0]]],
        kernel_sizes=[2],
        pad_type="custom",
        pad=[1, 0],
        exclude_padding_from_average=True,
    ),
    of("avg_pool", [[[1.0, 2.0, 3.0, 4.0]]], [[[2.0, 3.5]]], kernel_sizes=[3], strides=[2], ceil_mode=True),
    of("avg_pool", [[[1.0, 2.0, 3.0, 4.0]]], [[[2.0]]], kernel_sizes=[3], strides=[2]),
    of(
        "avg_pool", [[[3.0, 6.0]]], [[[1.0, 3.0, 3.0]]], kernel_sizes=[3], ceil_mode=True, pad_type="custom", pad=[2, 1]
    ),
    of("avg_pool", [[A34]], [[[[3.5, 5.5]]]], kernel_sizes=[2, 2], strides=[2, 2]),
    of(
        "max_pool",
        [[[-3.0, -1.0, -2.0]]],
        [[[-3.0, -1.0, -1.0, -2.0]]],
        kernel_sizes=[2],
        pad_type="custom",
        pad=[1, 1],
    ),
    of("max_pool", [[[1.0, 2.0, 3.0, 4.0]]], [[[3.0, 4.0]]], kernel_sizes=[3], strides=[2], ceil_mode=True),
    of("max_pool", [[[1.0, 2.0, 3.0]]], [[[2.0]]], kernel_sizes=[2], strides=[3], ceil_mode=True),
    of(
        "max_pool",
        [[[1.0, 2.0, 3.0]]],
        [[[1.0]]],
        kernel_sizes=[2],
        strides=[4],
        ceil_mode=True,
        pad_type="custom",
        pad=[1, 1],
    ),
    of(
        "max_pool",
        [[[1.0, 2.0, 3.0]]],
        [[[1.0, 3.0]]],
        kernel_sizes=[2],
        strides=[3],
        ceil_mode=True,
        pad_type="custom",
        pad=[1, 1],
    ),
    of("max_pool", [[[1.0, 2.0, 3.0]]], [[[2.0, 3.0]]], kernel_sizes=[2], ceil_mode=True),
    of("max_pool", [[A34]], [[[[6.0, 8.0]]]], kernel_sizes=[2, 2], strides=[2, 2]),
    of("max_pool", [[A34]], [[[[5.0, 6.0, 7.0, 8.0], [9.0, 10.0, 11.0, 12.0]]]], kernel_sizes=[2, 1]),
    of("l2_pool", [[[3.0, 4.0]]], [[[3.0, 5.0, 4.0]]], kernel_sizes=[2], pad_type="custom", pad=[1, 1]),
    of("l2_pool", [[[3.0, 4.0, 12.0]]], [[[5.0, 12.0]]], kernel_sizes=[2], strides=[2], ceil_mode=True),
    of("l2_pool", [[[3.0, 4.0, 12.0]]], [[[5.0]]], kernel_sizes=[2], strides=[2]),
]

# x (1, 1, 2) and weights (1, 1, 2) of two taps: 1 * [3, 4] and 2 * [3, 4] one place on.
T12, T34 = [[[1.0, 2.0]]], [[[3.0, 4.0]]]
# With four taps of 1: [[1, 3, 2], [4, 10, 6], [3, 7, 4]].
SQUARE, ONES = [[[[1.0, 2.0], [3.0, 4.0]]]], np.ones((1, 1, 2, 2))
TRANSPOSED: list[Row] = [
    of("conv_transpose", T12, [[[10.0]]], weight=T34, pad_type="custom", pad=[1, 1]),
    of(
        "conv_transpose",
        T12,
        [[[3.5, 10.5, 8.5], [6.0, 17.0, 13.0]]],
        weight=[[[3.0, 4.0], [5.0, 6.0]]],
        bias=[0.5, 1.0],
    ),
    of("conv_transpose", T12, [[[3.0, 10.0, 8.0]]], weight=T34, pad_type="custom"),
    of("conv_transpose", SQUARE, [[[[3.0, 2.0], [10.0, 6.0]]]], weight=ONES, pad_type="custom", pad=[0, 1, 1, 0]),
    of("conv_transpose", SQUARE, [[[[1.0, 3.0, 2.0], [4.0, 10.0, 6.0]]]], weight=ONES, output_shape=[1, 1, 2, 3]),
    of("conv_transpose", T12, [[[3.0, 10.0, 8.0]]], weight=T34),
    of("conv_transpose", T12, [[[3.5, 10.5, 8.5]]], weight=T34, bias=[0.5]),
    of("conv_transpose", T12, [[[3.0, 4.0, 6.0, 8.0]]], weight=T34, strides=[2]),
    of("conv_transpose", T12, [[[3.0, 6.0, 4.0, 8.0]]], weight=T34, dilations=[2]),
    of("conv_transpose", T12, [[[10.0, 8.0]]], weight=T34, pad_type="custom", pad=[1, 0]),
    of("conv_transpose", T12, [[[3.0, 10.0]]], weight=T34, pad_type="custom", pad=[0, 1]),
    of("conv_transpose", T12, [[[3.0, 10.0, 8.0]]], weight=T34, pad=[0, 1]),
    of("conv_transpose", T12, [[[3.0, 10.0]]], weight=T34, pad_type="same"),
    of("conv_transpose", T12, [[[5.0, 11.0]]], weight=[[[1.0, 3.0, 5.0]]], pad_type="same"),
    of("conv_transpose", T12, [[[3.0, 4.0, 6.0, 8.0, 0.0]]], weight=T34, strides=[2], output_shape=[1, 1, 5]),
    of("conv_transpose", T12, [[[3.0, 4.0, 6.0, 8.0]]], weight=T34, strides=[2], pad_type="same"),
    of("conv_transpose", T12, [[[1.0, 0.0, 2.0, 0.0]]], weight=[[[1.0]]], strides=[2], pad_type="same"),
    of("conv_transpose", [[[1.0], [2.0]]], [[[3.0], [8.0]]], weight=[[[3.0]], [[4.0]]], groups=2),
    of("conv_transpose", [[[[1.0, 2.0]]]], [[[[3.5, 6.5], [4.5, 8.5]]]], weight=[[[[3.0], [4.0]]]], bias=[0.5]),
    of(
        "conv_transpose",
        [[[[1.0, 2.0]]]],
        [[[[4.0, 8.0]]]],
        weight=[[[[3.0], [4.0]]]],
        pad_type="custom",
        pad=[1, 0, 0, 0],
    ),
]

ROWS = [
    *ELEMENTWISE,
    *SHAPES,
    *REDUCTIONS,
    *GATHERS,
    *NORMS,
    *CONSTANTS,
    *NETWORKS,
    *OTHERS,
    *RESIZES,
    *POOLS,
    *TRANSPOSED,
]


def named(rows: list[Row]) -> list[str]:
    return [op for op, _, _ in rows]


@pytest.mark.parametrize(("op", "operands", "want"), ROWS, ids=named(ROWS))
def test_an_operation_gives_what_its_definition_gives(op: str, operands: dict[str, Any], want: Any) -> None:
    check(run(op, operands), want)


@pytest.mark.parametrize(("op", "operands", "want"), CROPS, ids=named(CROPS))
def test_a_box_is_cut_out_up_to_ios_16(op: str, operands: dict[str, Any], want: Any) -> None:
    check(run(op, operands, 16), want)


@pytest.mark.parametrize(("op", "operands", "want"), BY_INDEX, ids=named(BY_INDEX))
def test_a_box_is_cut_out_from_ios_17_on(op: str, operands: dict[str, Any], want: Any) -> None:
    check(run(op, operands, 17), want)


@pytest.mark.parametrize(("op", "operands", "want"), LISTS, ids=named(LISTS))
def test_a_list_holds_what_is_put_into_it(op: str, operands: dict[str, Any], want: Any) -> None:
    check(run(op, operands), want)
    assert [each.tolist() for each in LIST] == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("mode", "source", "target", "want"),
    [
        ("OFFSET_CORNERS", 1, 2, [0.25, 0.75]),
        ("OFFSET_CORNERS", 4, 2, [0.75, 2.25]),
        ("UNALIGN_CORNERS", 4, 2, [0.5, 2.5]),
        ("DEFAULT", 4, 3, [0.0, 4 / 3, 8 / 3]),
        ("DEFAULT", 4, 1, [0.0]),
        ("ALIGN_CORNERS", 4, 1, [1.5]),
        ("ALIGN_CORNERS", 5, 2, [0.0, 4.0]),
        ("STRICT_ALIGN_CORNERS", 4, 1, [0.0]),
    ],
)
def test_samples_lie_where_their_mode_says(mode: str, source: int, target: int, want: list[float]) -> None:
    assert ops.resize.grid(mode, source, target).tolist() == pytest.approx(want)


def test_a_sample_just_below_the_middle_is_the_element_before() -> None:
    nearest = ops.resize._nearest_grid("STRICT_ALIGN_CORNERS", 200, 401)
    assert (nearest[1], nearest[3]) == (0.0, 1.0)  # 0.4975 and 1.4925


def test_a_class_has_its_probability() -> None:
    found = run("classify", {"probabilities": [0.75, 0.25], "classes": np.array([7, 8])})
    assert found == (7, {7: 0.75, 8: 0.25})
    assert type(found[0]) is int
    assert run("classify", {"probabilities": [0.75], "classes": ("a",)}) == ("a", {"a": 0.75})


@pytest.mark.parametrize(
    ("one", "other", "want"),
    [
        ([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0], 1 / 3),
        ([0.0, 0.0, 2.0, 2.0], [0.0, 1.0, 2.0, 2.0], 1 / 3),
        ([0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 2.0, 2.0], 1 / 4),
        ([0.0, 0.0, 1.0, 4.0], [0.0, 1.0, 2.0, 2.0], 1 / 3),
        ([0.0, 0.0, 2.0, 2.0], [5.0, 0.0, 2.0, 2.0], 0.0),
        ([0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 2.0, 2.0], 0.0),
        ([0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5], 1.0),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_boxes_share_what_both_cover(one: list[float], other: list[float], want: float) -> None:
    assert ops.lists._overlap(np.array(one), np.array(other)) == pytest.approx(want)
    assert ops.lists._overlap(np.array(other), np.array(one)) == pytest.approx(want)


@pytest.mark.parametrize(("per_class", "want"), [(False, [0]), (True, [0, 1])])
def test_boxes_of_two_classes_are_rivals_unless_each_class_is_for_itself(per_class: bool, want: list[int]) -> None:
    boxes, scores = np.tile([0.0, 0.0, 1.0, 1.0], (3, 1)), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert ops.lists._kept(boxes, scores, 0.5, 0.0, per_class) == want


def test_boxes_of_all_classes_are_rivals_if_nothing_else_is_said() -> None:
    two = {"boxes": np.tile([0.0, 0.0, 1.0, 1.0], (1, 2, 1)), "scores": np.array([[[0.9, 0.1], [0.2, 0.8]]])}
    assert run("non_maximum_suppression", {**two, "iou_threshold": 0.5, "max_boxes": 2})[2].tolist() == [[0, -1]]


def of_shape(*shape: int) -> Any:
    return np.zeros(shape)


@pytest.mark.parametrize(
    ("op", "operands", "want"),
    [
        ("add", {"x": of_shape(3, 1), "y": of_shape(1, 4)}, 12),
        ("pow", {"x": of_shape(3, 1), "y": of_shape(4)}, 12),
        ("real_div", {"x": of_shape(3, 2), "y": of_shape(3, 2)}, 0),
        ("greater", {"x": of_shape(3, 2), "y": of_shape()}, 0),
        ("mul", {"x": of_shape(), "y": of_shape(3, 2)}, 0),
        ("clip", {"x": of_shape(3), "alpha": 1.0, "beta": 2.0}, 0),
        ("relu", {"x": of_shape(3)}, 0),
        ("fill", {"shape": [2, 3], "value": 1.0}, 6),
        ("nn_broadcast", {"x": of_shape(1), "shape": [2, 3]}, 6),
        *((name, {"shape": [2, 3]}, 6) for name in ("random_bernoulli", "random_normal", "random_uniform")),
        ("list_scatter", {"indices": [4, 1], "value": of_shape(2, 3)}, 30),
        ("list_scatter", {"indices": [], "value": of_shape(2, 3)}, 6),
        ("list_write", {"index": 2, "value": of_shape(3)}, 9),
        ("local_response_norm", {"x": of_shape(1, 3, 2), "size": 5}, 36),
        ("nn_local_response_norm", {"x": of_shape(1, 3, 2), "size": 5}, 36),
        ("make_list", {"elem_shape": [2, 3], "init_length": 4}, 24),
        ("one_hot", {"indices": of_shape(2, 2), "one_hot_vector_size": 5}, 20),
        ("pad", {"x": of_shape(2, 3), "pad": [1, 0]}, 8),
        ("pad", {"x": of_shape(2, 3), "pad": [1, 2, 3, 4]}, 50),
        ("pad", {"x": of_shape(5, 1, 2, 3), "pad": [1, 0]}, 40),
        ("resize", {"x": of_shape(2, 5, 4), "shape": [8], "resized_dims": 1}, 80),
        ("resize", {"x": of_shape(2, 5, 40), "shape": [8], "resized_dims": 1}, 400),
        ("range_1d", {"start": 1.0, "end": 7.0, "step": 2.0}, 3),
        ("resize", {"x": of_shape(1, 2, 4, 4), "shape": [9, 8, 3], "resized_dims": 2}, 64),
        ("resize", {"x": of_shape(5, 4), "shape": [8], "resized_dims": 1}, 40),
        *(
            (name, {"x": of_shape(2, 4, 5), "target_size_height": height, "target_size_width": 7}, want)
            for name in ("resize_bilinear", "resize_nearest_neighbor")
            for height, want in ((3, 56), (6, 84))
        ),
        *(
            (name, {"x": of_shape(2, 4, 5), **scales}, want)
            for name in ("upsample_bilinear", "upsample_nearest_neighbor")
            for scales, want in (
                ({}, 40),
                ({"scale_factor_height": 2, "scale_factor_width": 3}, 240),
                ({"scale_factor_height": 0.5}, 40),
            )
        ),
        ("tile", {"x": of_shape(2, 3), "reps": [2, 2]}, 24),
        ("topk", {"x": of_shape(2), "k": 7}, 7),
    ],
)
def test_the_elements_of_a_result_are_counted_before_it_is_made(op: str, operands: dict[str, Any], want: int) -> None:
    given = {name: np.array(value) if isinstance(value, list) else value for name, value in operands.items()}
    assert ops.sizes.elements(op, given) == want


PACKED: list[Row] = [
    (
        "constexpr_lut_to_dense",
        {"indices": [0b11100100, 0b01], "lut": TABLE, "shape": [1, 5]},
        [[10.0, 20.0, 30.0, 40.0, 20.0]],
    ),
    ("constexpr_lut_to_dense", {"indices": [0b101], "lut": TABLE[:2], "shape": [3]}, [20.0, 10.0, 20.0]),
    (
        "constexpr_sparse_to_dense",
        {"nonzero_data": [5.0, 6.0], "mask": [0b1001], "shape": [2, 2]},
        [[5.0, 0.0], [0.0, 6.0]],
    ),
    ("reshape", {"x": np.arange(24.0).reshape(2, 3, 4), "shape": [0, -1]}, np.arange(24.0).reshape(2, 12)),
    ("reshape", {"x": EIGHT, "shape": [2, 4]}, EIGHT.reshape(2, 4)),
]


@pytest.mark.parametrize(("op", "operands", "want"), PACKED, ids=named(PACKED))
def test_an_operation_of_ios_16_means_what_it_meant(op: str, operands: dict[str, Any], want: Any) -> None:
    check(run(op, operands, 16), want)


@pytest.mark.parametrize(
    ("op", "since"),
    [("constexpr_lut_to_dense", 18), ("constexpr_sparse_to_dense", 18), ("crop_resize", 17), ("reshape", 17)],
)
def test_an_operation_means_something_else_from_an_opset_on(op: str, since: int) -> None:
    assert ops.find(op, since - 1) is ops.OPS[op]
    assert ops.find(op, since) is not ops.OPS[op]
    assert ops.find(op, since + 1) is ops.find(op, since)


def test_an_operation_that_there_is_not_is_not_found() -> None:
    assert ops.find("fft", 18) is None
    assert "code of the application" in ops.REFUSED["custom_layer"]
    assert "random" in ops.REFUSED["random_categorical"]


@pytest.mark.parametrize(
    ("op", "operands", "words"),
    [
        (
            "conv_transpose",
            {"x": of_shape(1, 1, 2), "weight": of_shape(1, 1, 2), "pad_type": "mirror"},
            "`conv_transpose`.*padding mirror",
        ),
        (
            "crop_resize",
            {"x": PLANE[:1], "roi": roi(2.0, 0.0, 1.0, 1.0), "sampling_mode": "UNALIGN_CORNERS"},
            "`crop_resize`.*box that ends before",
        ),
        ("resize_bilinear", {"x": PLANE, "sampling_mode": "ROUGH"}, "`resize`.*sampling mode ROUGH"),
        ("resample", at((0.0, 0.0), sampling_mode="cubic"), "`resample`.*sampling mode cubic"),
        ("resample", at((0.0, 0.0), padding_mode="wrap"), "`resample`.*padding mode wrap"),
        ("scatter", {"data": [1.0], "indices": [0], "updates": [1.0], "mode": "xor"}, "`scatter`.*mode xor"),
        ("pad", {"x": [1.0], "pad": [1, 1], "mode": "wrap"}, "`pad`.*mode wrap"),
        ("gelu", {"x": [1.0], "mode": "ROUGH"}, "`gelu`.*mode ROUGH"),
        ("random_uniform", {"shape": [1]}, "'random_uniform'.*random"),
        ("random_normal", {"shape": [1]}, "'random_normal'.*random"),
        ("random_bernoulli", {"shape": [1]}, "'random_bernoulli'.*random"),
    ],
)
def test_a_setting_that_is_not_known_is_named(op: str, operands: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedOpError, match=words):
        run(op, operands, 16)


@pytest.mark.parametrize(
    "op", ["gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd"]
)
def test_an_index_from_the_end_is_no_index_where_indices_are_validated(op: str) -> None:
    operands: dict[str, Any] = {"indices": [-1, 0] if op in ("gather", "scatter") else [[-1], [0]]}
    operands |= {"data": D43, "updates": D43} if op.startswith("scatter") else {"x": D43}
    if op == "scatter_along_axis":
        operands["updates"] = [[1.0], [1.0]]
    run(op, operands)
    run(op, {**operands, "indices": np.abs(operands["indices"]), "validate_indices": True})
    with pytest.raises(IndexError, match="the index -1 is below 0"):
        run(op, {**operands, "validate_indices": True})
