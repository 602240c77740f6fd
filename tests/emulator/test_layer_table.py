"""Layers of neural networks one by one, with settings that are not the defaults, and what numpy says of them.

The formulas are those of Core ML's NeuralNetwork.proto, where the parameters of each layer are described.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import neuralnetwork, specification
from mish_guard.engines.emulator.arithmetic import Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.errors import UnsupportedOpError

# The layer as protobuf writes text, what goes into it, and what comes out: several arrays if it has several outputs.
_Case = tuple[str, dict[str, Any], Any]


def _spec(text: str, feeds: dict[str, Any], outputs: int = 1) -> Any:
    """A net of one layer."""
    from google.protobuf import text_format

    spec = specification.model()
    spec.specificationVersion = 4
    spec.neuralNetwork.arrayInputShapeMapping = 1
    for name, value in feeds.items():
        spec.description.input.add(name=name).type.multiArrayType.shape.extend(np.shape(value))
    names = [f"y{number}" for number in range(outputs)]
    for name in names:
        spec.description.output.add(name=name)
    text_format.Parse(text, spec.neuralNetwork.layers.add(name="layer", input=list(feeds), output=names))
    return spec


def _check(text: str, feeds: dict[str, Any], want: Any) -> None:
    """That the layer gives what is wanted, of the same shape."""
    wanted = list(want) if isinstance(want, tuple) else [want]
    spec = _spec(text, feeds, len(wanted))
    given = {name: np.asarray(value, np.float64) for name, value in feeds.items()}
    got = evaluate(neuralnetwork.read(spec), given, Exact())
    for number, each in enumerate(wanted):
        result = np.asarray(got[f"y{number}"])
        assert result.shape == np.shape(each)
        assert result == pytest.approx(np.asarray(each, np.float64), rel=1e-6, abs=1e-9)


def _listed(values: Any) -> str:
    """An array as protobuf writes the values of a repeated field."""
    return f"[{', '.join(str(float(each)) for each in np.ravel(values))}]"


def _held(name: str, values: Any) -> str:
    """Weight parameters."""
    return f"{name} {{ floatValue: {_listed(values)} }} "


X = np.array([-3.0, -1.5, -0.25, 0.0, 0.5, 2.0])
SMALL = np.array([-0.75, -0.25, 0.0, 0.5])
LEFT, RIGHT = np.array([-3.0, 0.0, 2.0, 7.0]), np.array([2.0, 0.0, 2.0, -2.0])
YES, NO = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])
POSITIVE = np.array([0.5, 1.0, 3.0])


def _erf(x: Any) -> Any:
    return np.array([math.erf(each) for each in np.ravel(x)]).reshape(np.shape(x))


def _sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.asarray(x)))


ONE_INPUT: dict[str, tuple[Any, Any]] = {
    "acos": (SMALL, np.arccos),
    "asin": (SMALL, np.arcsin),
    "atan": (X, np.arctan),
    "atanh": (SMALL, np.arctanh),
    "ceil": (X, np.ceil),
    "copy": (X, lambda x: x),
    "cos": (X, np.cos),
    "cosh": (X, np.cosh),
    "erf": (X, _erf),
    "exp2": (X, np.exp2),
    "floor": (X, np.floor),
    "getShape": (np.zeros((2, 3)), np.shape),
    "logicalNot": (NO, lambda x: x == 0),
    "round": (np.array([-1.75, 0.25, 0.75]), np.round),
    "sign": (X, np.sign),
    "sin": (X, np.sin),
    "sinh": (X, np.sinh),
    "tan": (X, np.tan),
    "tanh": (X, np.tanh),
    "whereNonZero": (np.array([[0.0, 2.0], [3.0, 0.0]]), lambda _: [[0, 1], [1, 0]]),
}


@pytest.mark.parametrize("kind", ONE_INPUT)
def test_a_layer_of_one_input_is_a_function_of_its_elements(kind: str) -> None:
    x, function = ONE_INPUT[kind]
    _check(f"{kind} {{}}", {"x": x}, np.array(function(x)))


TWO_INPUTS: dict[str, tuple[Any, Any, Any]] = {
    "addBroadcastable": (LEFT, RIGHT, np.add),
    "divideBroadcastable": (LEFT, POSITIVE[:1], np.divide),
    "equal": (LEFT, RIGHT, np.equal),
    "floorDivBroadcastable": (LEFT, POSITIVE[2:], np.floor_divide),
    "greaterEqual": (LEFT, RIGHT, np.greater_equal),
    "greaterThan": (LEFT, RIGHT, np.greater),
    "lessEqual": (LEFT, RIGHT, np.less_equal),
    "lessThan": (LEFT, RIGHT, np.less),
    "logicalAnd": (YES, NO, np.logical_and),
    "logicalOr": (YES, NO, np.logical_or),
    "logicalXor": (YES, NO, np.logical_xor),
    "max": (LEFT, RIGHT, np.maximum),
    "maxBroadcastable": (LEFT, RIGHT, np.maximum),
    "min": (LEFT, RIGHT, np.minimum),
    "minBroadcastable": (LEFT, RIGHT, np.minimum),
    "modBroadcastable": (LEFT, POSITIVE[2:], np.mod),
    "multiply": (LEFT, RIGHT, np.multiply),
    "multiplyBroadcastable": (LEFT, RIGHT, np.multiply),
    "notEqual": (LEFT, RIGHT, np.not_equal),
    "powBroadcastable": (POSITIVE, np.array([2.0, 3.0, -1.0]), np.power),
    "subtractBroadcastable": (LEFT, RIGHT, np.subtract),
}


@pytest.mark.parametrize("kind", TWO_INPUTS)
def test_a_layer_of_two_inputs_is_a_function_of_both_in_their_order(kind: str) -> None:
    a, b, function = TWO_INPUTS[kind]
    _check(f"{kind} {{}}", {"a": a, "b": b}, function(a, b))


@pytest.mark.parametrize("kind", ["equal", "greaterEqual", "greaterThan", "lessEqual", "lessThan", "notEqual"])
def test_a_comparison_with_one_input_is_one_with_alpha(kind: str) -> None:
    _check(f"{kind} {{ alpha: 2 }}", {"x": LEFT}, TWO_INPUTS[kind][2](LEFT, 2.0))


A, B, C = np.array([1.0, 5.0, -2.0]), np.array([4.0, -3.0, 0.5]), np.array([2.0, 8.0, -7.0])
MANY_INPUTS: dict[str, Any] = {
    "add": A + B + C,
    "average": (A + B + C) / 3,
    "max": [4.0, 8.0, 0.5],
    "maxBroadcastable": [4.0, 8.0, 0.5],
    "min": [1.0, -3.0, -7.0],
    "minBroadcastable": [1.0, -3.0, -7.0],
    "multiply": A * B * C,
}


@pytest.mark.parametrize("kind", MANY_INPUTS)
def test_a_layer_of_many_inputs_takes_one_after_the_other(kind: str) -> None:
    _check(f"{kind} {{}}", {"a": A, "b": B, "c": C}, MANY_INPUTS[kind])


TABLE = np.array([[1.0, 2.0, 0.5], [4.0, 0.25, 3.0]])
REDUCTIONS: dict[str, Any] = {
    "reduceL1": lambda x, axis: np.abs(x).sum(axis),
    "reduceL2": lambda x, axis: np.sqrt(np.square(x).sum(axis)),
    "reduceLogSum": lambda x, axis: np.log(x.sum(axis)),
    "reduceLogSumExp": lambda x, axis: np.log(np.exp(x).sum(axis)),
    "reduceMax": lambda x, axis: x.max(axis),
    "reduceMean": lambda x, axis: x.mean(axis),
    "reduceMin": lambda x, axis: x.min(axis),
    "reduceProd": lambda x, axis: x.prod(axis),
    "reduceSum": lambda x, axis: x.sum(axis),
    "reduceSumSquare": lambda x, axis: np.square(x).sum(axis),
}


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_a_reduction_goes_along_its_axes_and_keeps_them_if_asked(kind: str) -> None:
    want = REDUCTIONS[kind](TABLE, 1)
    _check(f"{kind} {{ axes: [1] }}", {"x": TABLE}, want)
    _check(f"{kind} {{ axes: [-1] keepDims: true }}", {"x": TABLE}, want[:, None])


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_a_reduction_without_axes_goes_along_all(kind: str) -> None:
    _check(f"{kind} {{ keepDims: true }}", {"x": TABLE}, [[REDUCTIONS[kind](TABLE, None)]])


V = 2.0 * np.array([0.5, 1.0, 4.0]) + 0.5
UNARY: dict[str, tuple[str, Any]] = {
    "ABS": ("", V),
    "EXP": ("", np.exp(V)),
    "INVERSE": ("epsilon: 0.25", 1.0 / (V + 0.25)),
    "LOG": ("epsilon: 0.25", np.log(V + 0.25)),
    "POWER": ("alpha: 3", V**3),
    "RSQRT": ("epsilon: 0.25", 1.0 / np.sqrt(V + 0.25)),
    "SQRT": ("epsilon: 0.25 alpha: 3", np.sqrt(V)),
    "THRESHOLD": ("alpha: 4", np.maximum(V, 4.0)),
}


@pytest.mark.parametrize("kind", UNARY)
def test_a_unary_function_is_one_of_what_is_scaled_and_shifted(kind: str) -> None:
    settings, want = UNARY[kind]
    _check(f"unary {{ type: {kind} scale: 2 shift: 0.5 {settings} }}", {"x": np.array([0.5, 1.0, 4.0])}, want)


@pytest.mark.parametrize(
    ("settings", "want", "operations"),
    [
        ("", [2.0, 1.0], ["abs"]),
        ("scale: 1", [2.0, 1.0], ["abs"]),
        ("shift: 0.5", [1.5, 1.5], ["add", "abs"]),
        ("scale: -3", [6.0, 3.0], ["mul", "abs"]),
    ],
)
def test_a_scale_of_one_or_a_shift_of_zero_is_no_operation(
    settings: str, want: list[float], operations: list[str]
) -> None:
    x = np.array([-2.0, 1.0])
    _check(f"unary {{ type: ABS {settings} }}", {"x": x}, want)
    nodes = neuralnetwork.read(_spec(f"unary {{ type: ABS {settings} }}", {"x": x})).nodes
    assert [node.op for node in nodes] == operations


@pytest.mark.parametrize(("linear", "operations"), [("alpha: 2", ["mul"]), ("alpha: 2 beta: 0.5", ["mul", "add"])])
def test_a_linear_activation_adds_only_what_it_has(linear: str, operations: list[str]) -> None:
    nodes = neuralnetwork.read(_spec(f"activation {{ linear {{ {linear} }} }}", {"x": X})).nodes
    assert [node.op for node in nodes] == operations


CHANNELS = np.arange(16.0).reshape(1, 4, 2, 2)
IMAGE = np.arange(24.0).reshape(1, 2, 3, 4) / 8 - 1
GAMMA, BETA, MEAN, VARIANCE = np.array([2.0, 0.5]), np.array([1.0, -1.0]), np.array([0.25, -0.5]), np.array([3.5, 8.5])


def _normal(x: Any, axes: tuple[int, ...], epsilon: float) -> Any:
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + epsilon)


def _softmax(x: Any, axis: int) -> Any:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


def _by_channel(values: Any) -> Any:
    return np.reshape(values, (2, 1, 1))


def _neighbours(x: Any, size: int) -> Any:
    """The sum of squares of the channels around each."""
    reach, last = size // 2, x.shape[1]
    sums = [np.square(x[:, max(at - reach, 0) : at + reach + 1]).sum(1) for at in range(last)]
    return np.stack(sums, 1)


_NORM = _held("gamma", GAMMA) + _held("beta", BETA)
NUMBERS: dict[str, _Case] = {
    "activation-linear": ("activation { linear { alpha: 2 beta: 0.5 } }", {"x": X}, 2 * X + 0.5),
    "activation-relu": ("activation { ReLU {} }", {"x": X}, np.maximum(X, 0)),
    "activation-sigmoid": ("activation { sigmoid {} }", {"x": X}, _sigmoid(X)),
    "activation-tanh": ("activation { tanh {} }", {"x": X}, np.tanh(X)),
    "activation-softplus": ("activation { softplus {} }", {"x": X}, np.log1p(np.exp(X))),
    "activation-softsign": ("activation { softsign {} }", {"x": X}, X / (1 + np.abs(X))),
    "activation-prelu": (
        "activation { PReLU { " + _held("alpha", [0.5, 0.25]) + "} }",
        {"x": IMAGE},
        np.where(IMAGE > 0, IMAGE, IMAGE * _by_channel([0.5, 0.25])),
    ),
    "activation-parametric-softplus": (
        "activation { parametricSoftplus { " + _held("alpha", [0.5, 2.0]) + _held("beta", [2.0, 4.0]) + "} }",
        {"x": IMAGE},
        _by_channel([0.5, 2.0]) * np.log1p(np.exp(_by_channel([2.0, 4.0]) * IMAGE)),
    ),
    "activation-elu": ("activation { ELU { alpha: 0.5 } }", {"x": X}, np.where(X > 0, X, 0.5 * np.expm1(X))),
    "activation-leaky": ("activation { leakyReLU { alpha: 0.25 } }", {"x": X}, np.where(X > 0, X, 0.25 * X)),
    "activation-thresholded": ("activation { thresholdedReLU { alpha: 1 } }", {"x": X}, np.where(X >= 1, X, 0)),
    "activation-scaled-tanh": ("activation { scaledTanh { alpha: 2 beta: 0.5 } }", {"x": X}, 2 * np.tanh(0.5 * X)),
    "activation-hard-sigmoid": (
        "activation { sigmoidHard { alpha: 0.25 beta: 0.625 } }",
        {"x": X},
        np.clip(0.25 * X + 0.625, 0, 1),
    ),
    "gelu": ("gelu { mode: EXACT }", {"x": X}, 0.5 * X * (1 + _erf(X / np.sqrt(2)))),
    "gelu-tanh": (
        "gelu { mode: TANH_APPROXIMATION }",
        {"x": X},
        0.5 * X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))),
    ),
    "gelu-sigmoid": ("gelu { mode: SIGMOID_APPROXIMATION }", {"x": X}, X * _sigmoid(1.702 * X)),
    "clip": ("clip { minVal: -1 maxVal: 1.5 }", {"x": X}, np.clip(X, -1, 1.5)),
    "clamped-relu": (
        "clampedReLU { alpha: 0.5 beta: 1.5 }",
        {"x": X},
        np.minimum(np.where(X >= 0, X, 0.5 * X), 1.5),
    ),
    "add-alpha": ("add { alpha: 2 }", {"x": X}, X + 2),
    "multiply-alpha": ("multiply { alpha: 3 }", {"x": X}, X * 3),
    "average-of-one": ("average {}", {"x": X}, X),
    "select": ("whereBroadcastable {}", {"c": NO, "a": LEFT, "b": RIGHT}, np.where(NO, LEFT, RIGHT)),
    "softmax": ("softmax {}", {"x": IMAGE}, _softmax(IMAGE, 1)),
    "softmax-nd": ("softmaxND { axis: 2 }", {"x": IMAGE}, _softmax(IMAGE, 2)),
    "layer-norm": (
        "layerNormalization { normalizedShape: [2, 3] eps: 0.5 "
        + _held("gamma", np.arange(6) + 1)
        + _held("beta", np.arange(6) / 2)
        + "}",
        {"x": np.arange(12.0).reshape(2, 2, 3)},
        _normal(np.arange(12.0).reshape(2, 2, 3), (1, 2), 0.5) * (np.arange(6) + 1).reshape(2, 3)
        + np.arange(6).reshape(2, 3) / 2,
    ),
    "mvn": ("mvn { normalizeVariance: true epsilon: 0.5 }", {"x": IMAGE[0]}, _normal(IMAGE[0], (1, 2), 0.5)),
    "mvn-of-one": (
        "mvn { acrossChannels: true normalizeVariance: true epsilon: 0.5 }",
        {"x": IMAGE[0]},
        _normal(IMAGE[0], (0, 1, 2), 0.5),
    ),
    "mvn-across": (
        "mvn { acrossChannels: true normalizeVariance: true epsilon: 0.5 }",
        {"x": np.concatenate([IMAGE, 3 * IMAGE])},
        _normal(np.concatenate([IMAGE, 3 * IMAGE]), (1, 2, 3), 0.5),
    ),
    "l2-norm": (
        "l2normalize { epsilon: 2 }",
        {"x": np.concatenate([IMAGE, 3 * IMAGE])},
        np.concatenate([each / np.sqrt(np.square(each).sum() + 2) for each in (IMAGE, 3 * IMAGE)]),
    ),
    "lrn": (
        "lrn { alpha: 0.5 beta: 0.75 localSize: 3 k: 2 }",
        {"x": CHANNELS},
        CHANNELS / (2 + 0.5 / 3 * _neighbours(CHANNELS, 3)) ** 0.75,
    ),
    "batch-norm": (
        "batchnorm { channels: 2 epsilon: 0.5 " + _NORM + _held("mean", MEAN) + _held("variance", VARIANCE) + "}",
        {"x": IMAGE},
        _by_channel(GAMMA) * (IMAGE - _by_channel(MEAN)) / np.sqrt(_by_channel(VARIANCE) + 0.5) + _by_channel(BETA),
    ),
    "instance-norm": (
        "batchnorm { channels: 2 computeMeanVar: true instanceNormalization: true epsilon: 0.5 " + _NORM + "}",
        {"x": IMAGE},
        _by_channel(GAMMA) * _normal(IMAGE, (2, 3), 0.5) + _by_channel(BETA),
    ),
    "scale-by-channel": (
        "scale { shapeScale: [2] hasBias: true shapeBias: [2] " + _held("scale", GAMMA) + _held("bias", BETA) + "}",
        {"x": IMAGE},
        IMAGE * _by_channel(GAMMA) + _by_channel(BETA),
    ),
    "scale-alone": ("scale { shapeScale: [1] " + _held("scale", [3.0]) + "}", {"x": IMAGE}, IMAGE * 3),
    "bias-by-channel": ("bias { shape: [2] " + _held("bias", BETA) + "}", {"x": IMAGE}, IMAGE + _by_channel(BETA)),
    "bias-by-place": (
        "bias { shape: [1, 3, 4] " + _held("bias", np.arange(12.0)) + "}",
        {"x": IMAGE},
        IMAGE + np.arange(12.0).reshape(1, 3, 4),
    ),
}

MIXED = np.array([[3.0, 1.0, 2.0, 0.0], [0.5, 4.0, -1.0, 5.0], [1.5, 0.0, 7.0, -2.0]])
INDEX = np.array([2.0, 0.0])
ALONG = np.array([[1.0, 0.0, 2.0, 1.0], [2.0, 2.0, 0.0, 0.0]])
PLACES: dict[str, _Case] = {
    "argmax": ("argMax { axis: 0 removeDim: true }", {"x": MIXED}, MIXED.argmax(0)),
    "argmax-kept": ("argMax { axis: 1 }", {"x": MIXED}, MIXED.argmax(1)[:, None]),
    "argmin": ("argMin { axis: 0 removeDim: true }", {"x": MIXED}, MIXED.argmin(0)),
    "argsort": ("argSort { axis: 0 }", {"x": MIXED}, MIXED.argsort(0)),
    "argsort-descending": ("argSort { axis: 1 descending: true }", {"x": MIXED}, (-MIXED).argsort(1)),
    "topk": (
        "topK { axis: 0 K: 2 }",
        {"x": MIXED},
        (-np.sort(-MIXED, 0)[:2], (-MIXED).argsort(0)[:2]),
    ),
    "topk-bottom": ("topK { axis: 1 K: 3 useBottomK: true }", {"x": MIXED}, np.sort(MIXED, 1)[:, :3]),
    "topk-of-data": ("topK { axis: 1 }", {"x": MIXED, "k": [2.0]}, (-np.sort(-MIXED, 1)[:, :2],)),
    "cumsum": ("cumSum { axis: 0 }", {"x": MIXED}, MIXED.cumsum(0)),
    "cumsum-exclusive": ("cumSum { axis: 1 excludeFinalSum: true }", {"x": MIXED}, MIXED.cumsum(1) - MIXED),
    "cumsum-reverse": ("cumSum { axis: 1 reverse: true }", {"x": MIXED}, MIXED[:, ::-1].cumsum(1)[:, ::-1]),
    "gather": ("gather { axis: 1 }", {"x": MIXED, "i": INDEX}, MIXED[:, [2, 0]]),
    "gather-along": (
        "gatherAlongAxis { axis: 0 }",
        {"x": MIXED, "i": ALONG},
        np.take_along_axis(MIXED, ALONG.astype(int), 0),
    ),
    "gather-nd": ("gatherND {}", {"x": MIXED, "i": [[0.0, 2.0], [2.0, 1.0]]}, [2.0, 0.0]),
    "band-part": ("matrixBandPart { numLower: 0 numUpper: 1 }", {"x": MIXED}, np.triu(np.tril(MIXED, 1))),
    "band-part-lower": ("matrixBandPart { numLower: 1 numUpper: -1 }", {"x": MIXED}, np.triu(MIXED, -1)),
    "one-hot-of-data": ("oneHot { axis: -1 onValue: 1 }", {"x": [1.0], "n": [2.0]}, [[0.0, 1.0]]),
    "one-hot": (
        "oneHot { oneHotVectorSize: 3 axis: 0 onValue: 5 offValue: -1 }",
        {"x": INDEX},
        [[-1.0, 5.0], [-1.0, -1.0], [5.0, -1.0]],
    ),
}

_CUBE = np.arange(24.0).reshape(2, 3, 4)
_FIVE = np.arange(8.0).reshape(2, 1, 2, 1, 2)
_BLOCKS = np.arange(32.0).reshape(1, 8, 2, 2)
_EDGES = "paddingAmounts { borderAmounts: [{startEdgeSize: 1 endEdgeSize: 2}, {startEdgeSize: 2 endEdgeSize: 1}] }"
_AROUND = [(0, 0), (0, 0), (1, 2), (2, 1)]
SHAPES: dict[str, _Case] = {
    "concat": ("concat {}", {"a": IMAGE, "b": 2 * IMAGE}, np.concatenate([IMAGE, 2 * IMAGE], 1)),
    "concat-sequence": (
        "concat { sequenceConcat: true }",
        {"a": _FIVE, "b": 2 * _FIVE},
        np.concatenate([_FIVE, 2 * _FIVE], 0),
    ),
    "concat-interleaved": ("concatND { axis: 0 interleave: true }", {"a": A, "b": B}, np.stack([A, B], 1).ravel()),
    "concat-nd": ("concatND { axis: 2 }", {"a": IMAGE, "b": IMAGE}, np.concatenate([IMAGE, IMAGE], 2)),
    "stack": ("stack { axis: 1 }", {"a": A, "b": B}, np.stack([A, B], 1)),
    "split-by-sizes": (
        "splitND { axis: 2 numSplits: 2 splitSizes: [1, 3] }",
        {"x": _CUBE},
        (_CUBE[..., :1], _CUBE[..., 1:]),
    ),
    "split-by-number": ("splitND { axis: 2 numSplits: 2 }", {"x": _CUBE}, (_CUBE[..., :2], _CUBE[..., 2:])),
    "split-by-outputs": (
        "splitND { axis: 1 }",
        {"x": _CUBE},
        (_CUBE[:, :1], _CUBE[:, 1:2], _CUBE[:, 2:]),
    ),
    "expand-dims": ("expandDims { axes: [0, 2] }", {"x": A}, A.reshape(1, 3, 1)),
    "squeeze": ("squeeze { axes: [1] }", {"x": _FIVE}, _FIVE.reshape(2, 2, 1, 2)),
    "transpose": ("transpose { axes: [2, 0, 1] }", {"x": _CUBE}, _CUBE.transpose(2, 0, 1)),
    "reshape": ("reshapeStatic { targetShape: [4, 6] }", {"x": _CUBE}, _CUBE.reshape(4, 6)),
    "reshape-kept": ("rankPreservingReshape { targetShape: [0, -1, 1] }", {"x": _CUBE}, _CUBE.reshape(2, 12, 1)),
    "reshape-dynamic": ("reshapeDynamic {}", {"x": _CUBE, "s": [3.0, 8.0]}, _CUBE.reshape(3, 8)),
    "reshape-like": ("reshapeLike {}", {"x": _CUBE, "like": np.zeros((6, 4))}, _CUBE.reshape(6, 4)),
    "flatten": ("flattenTo2D { axis: 2 }", {"x": _CUBE}, _CUBE.reshape(6, 4)),
    "tile": ("tile { reps: [2, 3] }", {"x": MIXED}, np.tile(MIXED, (2, 3))),
    "tile-of-data": ("tile {}", {"x": MIXED, "reps": [2.0, 1.0]}, np.tile(MIXED, (2, 1))),
    "reverse": ("reverse { reverseDim: [false, true, true] }", {"x": _CUBE}, _CUBE[:, ::-1, ::-1]),
    "reverse-sequence": (
        "reverseSeq { batchAxis: 2 sequenceAxis: 1 }",
        {"x": _CUBE[..., :2], "n": [2.0, 3.0]},
        np.stack([_CUBE[:, [1, 0, 2], 0], _CUBE[:, [2, 1, 0], 1]], -1),
    ),
    "slice-static": (
        (
            "sliceStatic { beginIds: [1, 2, 3] endIds: [2, 3, 0] strides: [1, 1, -2] beginMasks: [false, true, false]"
            " endMasks: [false, false, true] squeezeMasks: [true, false, false] }"
        ),
        {"x": _CUBE},
        _CUBE[1, :3, 3::-2],
    ),
    "slice-static-plain": (
        "sliceStatic { beginIds: [0, 1, 0] endIds: [1, 3, 2] }",
        {"x": _CUBE},
        _CUBE[0:1, 1:3, 0:2],
    ),
    "slice-dynamic": (
        "sliceDynamic { endIds: [2, 3] strides: [1, 2] endMasks: [true, false] }",
        {"x": MIXED, "begin": [1.0, 0.0]},
        MIXED[1:, 0:3:2],
    ),
    "slice-dynamic-end": (
        "sliceDynamic { endIds: [1, 1] }",
        {"x": MIXED, "begin": [1.0, 0.0], "end": [3.0, 2.0]},
        MIXED[1:3, :2],
    ),
    "slice-by-height": ("slice { startIndex: 1 endIndex: 2 axis: HEIGHT_AXIS }", {"x": _CUBE}, _CUBE[:, 1:2]),
    "slice-by-size": ("sliceBySize { size: 2 axis: 1 }", {"x": MIXED, "begin": [1.0]}, MIXED[:, 1:3]),
    "sliding-windows": (
        "slidingWindows { axis: 1 windowSize: 2 step: 2 }",
        {"x": MIXED},
        np.stack([MIXED[:, :2], MIXED[:, 2:]], 1),
    ),
    "space-to-depth": (
        "reorganizeData { mode: SPACE_TO_DEPTH blockSize: 2 }",
        {"x": _BLOCKS},
        np.concatenate([_BLOCKS[:, :, down : down + 1, right : right + 1] for down in (0, 1) for right in (0, 1)], 1),
    ),
    "depth-to-space": (
        "reorganizeData { mode: DEPTH_TO_SPACE blockSize: 2 }",
        {"x": np.arange(8.0).reshape(1, 8, 1, 1)},
        [[[[0.0, 2.0], [4.0, 6.0]], [[1.0, 3.0], [5.0, 7.0]]]],
    ),
    "pixel-shuffle": (
        "reorganizeData { mode: PIXEL_SHUFFLE blockSize: 2 }",
        {"x": np.arange(8.0).reshape(1, 8, 1, 1)},
        [[[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0], [6.0, 7.0]]]],
    ),
    "padding-constant": (
        f"padding {{ constant {{ value: 9 }} {_EDGES} }}",
        {"x": IMAGE},
        np.pad(IMAGE, _AROUND, constant_values=9.0),
    ),
    "padding-reflection": (
        f"padding {{ reflection {{}} {_EDGES} }}",
        {"x": IMAGE},
        np.pad(IMAGE, _AROUND, mode="reflect"),
    ),
    "padding-replication": (
        f"padding {{ replication {{}} {_EDGES} }}",
        {"x": IMAGE},
        np.pad(IMAGE, _AROUND, mode="edge"),
    ),
    "constant-pad": (
        "constantPad { value: 7 padAmounts: [1, 0, 2, 3] }",
        {"x": MIXED},
        np.pad(MIXED, [(1, 0), (2, 3)], constant_values=7.0),
    ),
    "constant-pad-of-data": (
        "constantPad { value: 7 }",
        {"x": MIXED, "pad": [0.0, 1.0, 1.0, 0.0]},
        np.pad(MIXED, [(0, 1), (1, 0)], constant_values=7.0),
    ),
    "crop": (
        "crop { cropAmounts { borderAmounts: [{startEdgeSize: 1}, {startEdgeSize: 2 endEdgeSize: 1}] } offset: 0 }",
        {"x": IMAGE},
        IMAGE[..., 1:, 2:3],
    ),
    "fill-static": ("fillStatic { value: 3 targetShape: [2, 5] }", {}, np.full((2, 5), 3.0)),
    "fill-dynamic": ("fillDynamic { value: 3 }", {"s": [5.0, 2.0]}, np.full((5, 2), 3.0)),
    "fill-like": ("fillLike { value: 3 }", {"x": MIXED}, np.full((3, 4), 3.0)),
    "broadcast-static": ("broadcastToStatic { targetShape: [2, 3] }", {"x": A}, np.stack([A, A])),
    "broadcast-dynamic": ("broadcastToDynamic {}", {"x": A, "s": [2.0, 3.0]}, np.stack([A, A])),
    "broadcast-like": ("broadcastToLike {}", {"x": A, "like": np.zeros((2, 3))}, np.stack([A, A])),
    "range-static": ("rangeStatic { startValue: 1 endValue: 8 stepSizeValue: 3 }", {}, [1.0, 4.0, 7.0]),
    "range-dynamic": ("rangeDynamic { startValue: 1 stepSizeValue: 3 }", {"end": [8.0]}, [1.0, 4.0, 7.0]),
    "range-dynamic-start": (
        "rangeDynamic { startValue: 1 stepSizeValue: 3 }",
        {"end": [8.0], "start": [2.0]},
        [2.0, 5.0],
    ),
    "range-dynamic-step": (
        "rangeDynamic { startValue: 1 stepSizeValue: 3 }",
        {"end": [8.0], "start": [2.0], "step": [2.0]},
        [2.0, 4.0, 6.0],
    ),
}

# Numbers that are random only where chance has a say.
CERTAIN: dict[str, _Case] = {
    "bernoulli": ("randomBernoulliStatic { seed: 3 prob: 1 outputShape: [2, 3] }", {}, np.ones((2, 3))),
    "bernoulli-dynamic": ("randomBernoulliDynamic { prob: 1 }", {"s": [3.0, 2.0]}, np.ones((3, 2))),
    "normal": ("randomNormalStatic { mean: 2 stdDev: 0 outputShape: [2, 3] }", {}, np.full((2, 3), 2.0)),
    "normal-dynamic": ("randomNormalDynamic { seed: 3 mean: 2 stdDev: 0 }", {"s": [2.0]}, [2.0, 2.0]),
    "uniform": ("randomUniformStatic { minVal: 5 maxVal: 5 outputShape: [4] }", {}, np.full(4, 5.0)),
    "uniform-dynamic": ("randomUniformDynamic { seed: 3 minVal: 5 maxVal: 5 }", {"s": [2.0]}, [5.0, 5.0]),
}

_ROW = np.array([0.0, 4.0, 8.0]).reshape(1, 1, 1, 3)
_GRID = np.arange(25.0).reshape(1, 1, 5, 5)
IMAGES: dict[str, _Case] = {
    "upsample-nearest": (
        "upsample { scalingFactor: [2, 3] mode: NN }",
        {"x": IMAGE},
        IMAGE.repeat(2, 2).repeat(3, 3),
    ),
    # The second column lies at a half of the way to the next element, and what is past the last is the last.
    "upsample-corner": (
        "upsample { scalingFactor: [1, 2] mode: BILINEAR }",
        {"x": _ROW},
        np.interp(np.arange(6) * (3 - 3 / 6) / 5, [0, 1, 2], _ROW.ravel()).reshape(1, 1, 1, 6),
    ),
    "upsample-aligned": (
        "upsample { scalingFactor: [1, 2] mode: BILINEAR linearUpsampleMode: ALIGN_CORNERS_TRUE }",
        {"x": _ROW},
        np.linspace(0, 8, 6).reshape(1, 1, 1, 6),
    ),
    "upsample-centred": (
        "upsample { fractionalScalingFactor: [1, 2] mode: BILINEAR linearUpsampleMode: ALIGN_CORNERS_FALSE }",
        {"x": _ROW},
        np.reshape([0.0, 1.0, 3.0, 5.0, 7.0, 8.0], (1, 1, 1, 6)),
    ),
    "resize-strict": (
        "resizeBilinear { targetSize: [1, 5] mode { samplingMethod: STRICT_ALIGN_ENDPOINTS_MODE } }",
        {"x": _ROW},
        np.linspace(0, 8, 5).reshape(1, 1, 1, 5),
    ),
    "resize-strict-to-one": (
        "resizeBilinear { targetSize: [1, 1] mode { samplingMethod: STRICT_ALIGN_ENDPOINTS_MODE } }",
        {"x": _ROW},
        [[[[0.0]]]],
    ),
    "resize-aligned-to-one": (
        "resizeBilinear { targetSize: [1, 1] mode { samplingMethod: ALIGN_ENDPOINTS_MODE } }",
        {"x": _ROW},
        [[[[4.0]]]],
    ),
    "resize-upsample": (
        "resizeBilinear { targetSize: [1, 2] mode { samplingMethod: UPSAMPLE_MODE } }",
        {"x": _ROW},
        [[[[0.0, 6.0]]]],
    ),
    "resize-roi": (
        "resizeBilinear { targetSize: [1, 2] mode { samplingMethod: ROI_ALIGN_MODE } }",
        {"x": _ROW},
        [[[[2.0, 6.0]]]],
    ),
    "resize-height": (
        "resizeBilinear { targetSize: [3, 1] mode { samplingMethod: STRICT_ALIGN_ENDPOINTS_MODE } }",
        {"x": _GRID},
        [[[[0.0], [10.0], [20.0]]]],
    ),
    # The box from row 1 to 3 and column 0 to 4; an element of the grid is five times its row plus its column.
    "crop-resize": (
        (
            "cropResize { targetSize: [2, 3] mode { samplingMethod: STRICT_ALIGN_ENDPOINTS_MODE }"
            " boxIndicesMode { boxMode: CORNERS_WIDTH_FIRST } spatialScale: 0.5 }"
        ),
        {"x": _GRID[None], "boxes": np.reshape([0.0, 2.0, 8.0, 6.0], (1, 1, 4, 1, 1))},
        np.reshape([[5.0, 7.0, 9.0], [15.0, 17.0, 19.0]], (1, 1, 1, 2, 3)),
    ),
    "crop-resize-shares": (
        (
            "cropResize { targetSize: [1, 2] normalizedCoordinates: true mode { samplingMethod: ROI_ALIGN_MODE }"
            " boxIndicesMode { boxMode: CENTER_SIZE_HEIGHT_FIRST } spatialScale: 1 }"
        ),
        {"x": np.stack([_GRID, 2 * _GRID], 1), "boxes": np.reshape([0.5, 0.5, 0.5, 1.0], (1, 1, 4, 1, 1))},
        np.reshape([11.0, 13.0, 22.0, 26.0], (1, 2, 1, 1, 2)),
    ),
}

_TABLES = {**NUMBERS, **PLACES, **SHAPES, **CERTAIN, **IMAGES}


@pytest.mark.parametrize("name", _TABLES)
def test_a_layer_does_what_its_settings_say(name: str) -> None:
    _check(*_TABLES[name])


_SCATTERED: dict[str, list[float]] = {
    "UPDATE": [8.0, 4.0, 2.0],
    "ADD": [16.0, 4.0, 8.0],
    "SUB": [0.0, 4.0, 4.0],
    "MUL": [64.0, 4.0, 12.0],
    "DIV": [1.0, 4.0, 3.0],
    "MAX": [8.0, 4.0, 6.0],
    "MIN": [8.0, 4.0, 2.0],
}


@pytest.mark.parametrize("mode", _SCATTERED)
def test_what_is_scattered_is_put_at_its_places_or_combined_with_what_is_there(mode: str) -> None:
    data, places, updates, want = [8.0, 4.0, 6.0], [2.0, 0.0], [2.0, 8.0], _SCATTERED[mode]
    nd = {"x": data, "i": [[each] for each in places], "u": updates}
    _check(f"scatterND {{ mode: SCATTER_{mode} }}", nd, want)
    along = {"x": [data], "i": [places], "u": [updates]}
    _check(f"scatter {{ axis: 1 mode: SCATTER_{mode} }}", {**along, "i": places}, [want])
    _check(f"scatterAlongAxis {{ axis: 1 mode: SCATTER_{mode} }}", along, [want])


def test_boxes_that_overlap_a_better_one_of_their_class_are_dropped() -> None:
    """The second shares three fifths with the first; the third is its like of another class; the last is alone."""
    boxes = [[[5.0, 5.0, 4.0, 4.0], [6.0, 5.0, 4.0, 4.0], [5.0, 5.0, 4.0, 4.0], [20.0, 5.0, 4.0, 4.0]]]
    scores = [[[0.9, 0.1], [0.8, 0.0], [0.1, 0.7], [0.25, 0.1]]]
    feeds = {"boxes": np.array(boxes), "scores": np.array(scores)}

    def kept(settings: str) -> list[int]:
        text = f"NonMaximumSuppression {{ {settings} }}"
        got = evaluate(neuralnetwork.read(_spec(text, feeds, 4)), feeds, Exact())
        assert np.asarray(got["y0"]).shape == (1, 4, 4)
        return [int(each) for each in np.ravel(got["y2"])]

    assert kept("iouThreshold: 0.5 scoreThreshold: 0.5 maxBoxes: 4") == [0, -1, -1, -1]
    assert kept("iouThreshold: 0.75 scoreThreshold: 0.5 maxBoxes: 4") == [0, 1, -1, -1]
    assert kept("iouThreshold: 0.5 scoreThreshold: 0.2 maxBoxes: 4") == [0, 3, -1, -1]
    assert kept("iouThreshold: 0.5 scoreThreshold: 0.5 maxBoxes: 4 perClassSuppression: true") == [0, 2, -1, -1]
    few = evaluate(
        neuralnetwork.read(_spec("NonMaximumSuppression { iouThreshold: 0.75 maxBoxes: 1 }", feeds, 4)), feeds, Exact()
    )
    assert np.ravel(few["y2"]).tolist() == [0]


_MATRIX = np.array([[1.0, 0.5, -2.0], [0.25, 3.0, 1.0]])
_OFFSET = np.array([0.5, -1.0])
_ROWS = np.array([[1.0, 2.0, 4.0], [-1.0, 0.5, 2.0]])
_PRODUCT = "innerProduct { inputChannels: 3 outputChannels: 2 hasBias: true " + _held("weights", _MATRIX)
_BATCHED = "batchedMatmul { weightMatrixFirstDimension: 3 weightMatrixSecondDimension: 2 " + _held("weights", _MATRIX)
_WORDS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])  # of a vocabulary of three
_EMBEDDING = "embeddingND { vocabSize: 3 embeddingSize: 2 " + _held("weights", _WORDS.T)
PRODUCTS: dict[str, _Case] = {
    "inner-product": (_PRODUCT + _held("bias", _OFFSET) + "}", {"x": _ROWS}, _ROWS @ _MATRIX.T + _OFFSET),
    "inner-product-of-images": (
        _PRODUCT + _held("bias", _OFFSET) + "}",
        {"x": _ROWS.reshape(2, 3, 1, 1)},
        (_ROWS @ _MATRIX.T + _OFFSET).reshape(2, 2, 1, 1),
    ),
    "batched": (_BATCHED + "}", {"x": _ROWS}, _ROWS @ _MATRIX.T),
    "batched-with-bias": (
        _BATCHED + "hasBias: true transposeA: true transposeB: true " + _held("bias", _OFFSET) + "}",
        {"x": _ROWS},
        _ROWS @ _MATRIX.T + _OFFSET,
    ),
    "embedding": (_EMBEDDING + "}", {"x": [[2.0], [0.0]]}, _WORDS[[2, 0]]),
    "embedding-with-bias": (
        _EMBEDDING + "hasBias: true " + _held("bias", _OFFSET) + "}",
        {"x": [[[2.0], [0.0]]]},
        (_WORDS[[2, 0]] + _OFFSET)[None],
    ),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_one_with_the_matrix_and_the_bias_that_it_holds(name: str) -> None:
    _check(*PRODUCTS[name])


@pytest.mark.parametrize(("rank", "operations"), [(0, 3), (1, 1), (3, 1), (4, 3), (5, 3)])
def test_a_product_whose_rank_is_declared_spreads_features_from_rank_4_on(rank: int, operations: int) -> None:
    text = f"inputTensor {{ rank: {rank} }} " if rank else ""
    spec = _spec(text + _PRODUCT + _held("bias", _OFFSET) + "}", {"x": _ROWS})
    assert len(neuralnetwork.read(spec).nodes) == operations
    _check(text + _PRODUCT + _held("bias", _OFFSET) + "}", {"x": _ROWS}, _ROWS @ _MATRIX.T + _OFFSET)


# Recurrent layers of three steps with a batch of two.
_IN, _OUT = 3, 2
_STEPS = np.random.default_rng(1).integers(-8, 9, (3, 2, _IN)) / 8
_SIZES = f"inputVectorSize: {_IN} outputVectorSize: {_OUT}"
_GATES = ("input", "forget", "output", "block", "reset", "update")


def _weights(seed: int) -> dict[str, dict[str, Any]]:
    """Weights for each gate, in eighths, which half precision holds."""
    random = np.random.default_rng(seed)
    sizes = {"Weight": (_OUT, _IN), "Recursion": (_OUT, _OUT), "Bias": (_OUT,), "Peephole": (_OUT,)}
    return {gate: {kind: random.integers(-8, 9, size) / 8 for kind, size in sizes.items()} for gate in _GATES}


def _written(weights: dict[str, dict[str, Any]], gates: tuple[str, ...], *, biased: bool, peeps: bool = False) -> str:
    kinds = {"Weight": "WeightMatrix", "Recursion": "RecursionMatrix"}
    text = ""
    for gate in gates:
        name = "blockInput" if gate == "block" else f"{gate}Gate"
        text += "".join(_held(f"{name}{field}", weights[gate][kind]) for kind, field in kinds.items())
        text += _held(f"{name}BiasVector", weights[gate]["Bias"]) if biased else ""
        text += _held(f"{name}PeepholeVector", weights[gate]["Peephole"]) if peeps and gate != "block" else ""
    return text


def _moved(weights: dict[str, Any], x: Any, h: Any, biased: bool) -> Any:
    return x @ weights["Weight"].T + h @ weights["Recursion"].T + (weights["Bias"] if biased else 0.0)


def _shown(states: list[Any], sequence: bool) -> Any:
    return np.stack(states if sequence else states[-1:])[..., None, None]


def _fed(names: tuple[str, ...], is_fed: bool) -> tuple[dict[str, Any], list[Any]]:
    """The inputs of a recurrent layer, and its states before the first step."""
    states = [np.array([[0.5, -0.25], [1.0, 0.75]]) * (number + 1) for number in range(len(names))]
    feeds = {"x": _STEPS[..., None, None]}
    if not is_fed:
        return feeds, [np.zeros((2, _OUT)) for _ in names]
    return {**feeds, **{name: state[None, ..., None, None] for name, state in zip(names, states, strict=True)}}, states


RECURRENT = pytest.mark.parametrize(
    ("reverse", "sequence", "biased", "is_fed"),
    [(False, True, False, False), (True, True, True, True), (False, False, True, True), (True, False, False, False)],
)


def _flags(reverse: bool, sequence: bool) -> str:
    given = {"reverseInput": reverse, "sequenceOutput": sequence}
    return "".join(f"{name}: true " for name, is_set in given.items() if is_set)


@RECURRENT
def test_a_simple_recurrent_layer(reverse: bool, sequence: bool, biased: bool, is_fed: bool) -> None:
    weights = _weights(2)["input"]
    text = f"simpleRecurrent {{ {_SIZES} activation {{ ReLU {{}} }} {_flags(reverse, sequence)}"
    text += _held("weightMatrix", weights["Weight"]) + _held("recursionMatrix", weights["Recursion"])
    text += ("hasBiasVector: true " + _held("biasVector", weights["Bias"]) if biased else "") + "}"
    feeds, (h,) = _fed(("h",), is_fed)
    states = []
    for x in _STEPS[:: -1 if reverse else 1]:
        h = np.maximum(_moved(weights, x, h, biased), 0.0)
        states.append(h)
    _check(text, feeds, (_shown(states, sequence), _shown(states, False)))


@RECURRENT
def test_a_gated_recurrent_unit(reverse: bool, sequence: bool, biased: bool, is_fed: bool) -> None:
    """h = (1 - z) * o + z * h, where o sees the state that the reset gate leaves."""
    weights = _weights(3)
    text = f"gru {{ {_SIZES} activations {{ sigmoid {{}} }} activations {{ tanh {{}} }} {_flags(reverse, sequence)}"
    text += f"hasBiasVectors: {str(biased).lower()} "
    text += _written(weights, ("update", "reset", "output"), biased=biased) + "}"
    feeds, (h,) = _fed(("h",), is_fed)
    states = []
    for x in _STEPS[:: -1 if reverse else 1]:
        z, r = (_sigmoid(_moved(weights[gate], x, h, biased)) for gate in ("update", "reset"))
        h = (1 - z) * np.tanh(_moved(weights["output"], x, r * h, biased)) + z * h
        states.append(h)
    _check(text, feeds, (_shown(states, sequence), _shown(states, False)))


_LSTM_ACTIVATIONS = ("sigmoid {}", "ReLU {}", "tanh {}")
_LSTM_GATES = ("input", "forget", "output", "block")


def _lstm(weights: Any, x: Any, h: Any, c: Any, biased: bool, peeps: bool, clip: float) -> tuple[list[Any], Any, Any]:
    """The states after each step, and the last of the cell, by the formulas of LSTMParams."""
    states = []

    def gate(name: str, cell: Any) -> Any:
        return _sigmoid(_moved(weights[name], step, h, biased) + (weights[name]["Peephole"] * cell if peeps else 0.0))

    for step in x:
        i, f = gate("input", c), gate("forget", c)
        c = f * c + i * np.maximum(_moved(weights["block"], step, h, biased), 0.0)
        c = np.clip(c, -clip, clip) if clip else c
        h = gate("output", c) * np.tanh(c)
        states.append(h)
    return states, h, c


def _activated(field: str) -> str:
    return "".join(f"{field} {{ {each} }} " for each in _LSTM_ACTIVATIONS)


def _params(sequence: bool, biased: bool, peeps: bool, clip: float) -> str:
    given = {"sequenceOutput": sequence, "hasBiasVectors": biased, "hasPeepholeVectors": peeps}
    flags = "".join(f"{name}: true " for name, is_set in given.items() if is_set)
    return f"params {{ {flags} cellClipThreshold: {clip} }} "


@RECURRENT
@pytest.mark.parametrize(("peeps", "clip"), [(True, 0.0), (False, 0.375)])
def test_a_long_short_term_memory(
    reverse: bool, sequence: bool, biased: bool, is_fed: bool, peeps: bool, clip: float
) -> None:
    weights = _weights(4)
    text = f"uniDirectionalLSTM {{ {_SIZES} {_activated('activations')} {_params(sequence, biased, peeps, clip)}"
    text += "reverseInput: true " if reverse else ""
    text += f"weightParams {{ {_written(weights, _LSTM_GATES, biased=biased, peeps=peeps)} }} }}"
    feeds, (h, c) = _fed(("h", "c"), is_fed)
    states, h, c = _lstm(weights, _STEPS[:: -1 if reverse else 1], h, c, biased, peeps, clip)
    _check(text, feeds, (_shown(states, sequence), _shown([h], False), _shown([c], False)))


@pytest.mark.parametrize(("biased", "is_fed", "peeps"), [(False, True, False), (True, False, True)])
def test_a_memory_in_both_directions_has_weights_and_states_for_each(biased: bool, is_fed: bool, peeps: bool) -> None:
    there, back = _weights(5), _weights(6)
    text = f"biDirectionalLSTM {{ {_SIZES} {_params(True, biased, peeps, 0.0)}"
    text += _activated("activationsForwardLSTM") + _activated("activationsBackwardLSTM")
    for weights in (there, back):
        text += f"weightParams {{ {_written(weights, _LSTM_GATES, biased=biased, peeps=peeps)} }} "
    feeds, (h, c, h_back, c_back) = _fed(("h", "c", "h_back", "c_back"), is_fed)
    first, h, c = _lstm(there, _STEPS, h, c, biased, peeps, 0.0)
    second, h_back, c_back = _lstm(back, _STEPS[::-1], h_back, c_back, biased, peeps, 0.0)
    both = np.concatenate([np.stack(first), np.stack(second[::-1])], -1)[..., None, None]
    _check(text + "}", feeds, (both, *(_shown([each], False) for each in (h, c, h_back, c_back))))


# Nothing is fed and nothing has weights but one number of the input: the state is the activation of it.
ACTIVATIONS: dict[str, Any] = {
    "linear { alpha: 1.000995 }": lambda x: x,  # within a thousandth it counts as the known one
    "linear { alpha: 1 }": lambda x: x,
    "ReLU {}": lambda x: np.maximum(x, 0.0),
    "scaledTanh { alpha: 1.7159 beta: 0.6666667 }": lambda x: 1.7159 * np.tanh(2 / 3 * x),
    "sigmoid {}": _sigmoid,
    "sigmoidHard { alpha: 0.2 beta: 0.5 }": lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0),
    "tanh {}": np.tanh,
}
_ONE = (
    "simpleRecurrent { inputVectorSize: 1 outputVectorSize: 1 sequenceOutput: true "
    + _held("weightMatrix", [1.0])
    + _held("recursionMatrix", [0.0])
)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_recurrent_layer_is_activated_as_it_says(activation: str) -> None:
    x = np.array([-1.0, 0.5, 2.0]).reshape(3, 1, 1, 1, 1)
    want = ACTIVATIONS[activation](x)
    _check(f"{_ONE} activation {{ {activation} }} }}", {"x": x}, (want, want[-1:]))


@pytest.mark.parametrize(
    "activation",
    [
        "linear { alpha: 1.001005 }",
        "linear { alpha: 1 beta: 0.005 }",
        "scaledTanh { alpha: 1.71 beta: 0.6666667 }",
        "scaledTanh { alpha: 1.7159 beta: 0.67 }",
        "sigmoidHard { alpha: 0.201 beta: 0.5 }",
        "sigmoidHard { alpha: 0.2 beta: 0.503 }",
        "softsign {}",
    ],
)
def test_an_activation_with_other_numbers_is_refused_in_a_recurrent_layer(activation: str) -> None:
    with pytest.raises(UnsupportedOpError, match=f"activation {activation.split(maxsplit=1)[0]}'"):
        neuralnetwork.read(_spec(f"{_ONE} activation {{ {activation} }} }}", {"x": np.zeros((3, 1, 1, 1, 1))}))


_HALVES = "weightParams { " + _written(_weights(5), _LSTM_GATES, biased=False) + "} "
_BOTH = f"biDirectionalLSTM {{ {_SIZES} "
_AHEAD, _BACK = _activated("activationsForwardLSTM"), _activated("activationsBackwardLSTM")
_OTHER = "".join(f"activationsBackwardLSTM {{ {each} {{}} }} " for each in ("sigmoid", "tanh", "tanh"))
_UNI = f"uniDirectionalLSTM {{ {_SIZES} {_HALVES} {_activated('activations')} "
_GRU_WEIGHTS = _written(_weights(3), ("update", "reset", "output"), biased=False)
REFUSED: dict[str, tuple[str, int, str]] = {
    "no activation": (f"{_ONE} activation {{}} }}", 1, "activation unset'"),
    "one activation for a gru": (
        f"gru {{ {_SIZES} activations {{ tanh {{}} }} {_GRU_WEIGHTS} }}",
        1,
        "1 activations",
    ),
    "one set of weights": (f"{_BOTH} {_HALVES} {_AHEAD} {_BACK} }}", 1, "1 sets of weights"),
    "three sets of weights": (f"{_BOTH} {_HALVES * 3} {_AHEAD} {_BACK} }}", 1, "3 sets of weights"),
    "other activations back": (f"{_BOTH} {_HALVES * 2} {_AHEAD} {_OTHER} }}", 1, "other activations backwards"),
    "forget bias": (f"{_UNI} params {{ forgetBias: true }} }}", 1, "a forget bias or coupled gates"),
    "coupled gates": (f"{_UNI} params {{ coupledInputAndForgetGate: true }} }}", 1, "a forget bias or coupled gates"),
    "int8 product": ("innerProduct { int8DynamicQuantize: true }", 1, "innerProduct: dynamic int8 products"),
    "int8 batches": ("batchedMatmul { int8DynamicQuantize: true }", 2, "batchedMatmul: dynamic int8 products"),
    "kernel of one axis": ("convolution { kernelSize: [3] valid {} }", 1, "a kernel of rank 1"),
    "no padding": ("convolution { kernelSize: [1, 1] }", 2, "padding unset'"),
    "one input": ("max {}", 1, "max: one input"),
    "no nonlinearity": ("activation {}", 1, "activation: no nonlinearity"),
    "no such pooling": ("pooling { globalPooling: true includeLastPixel {} }", 1, "padding includeLastPixel"),
    "axis of data": ("cumSum {}", 2, "an axis that is data"),
    "no variance": ("mvn { acrossChannels: true }", 1, "mvn: without variance"),
    "batch statistics": ("batchnorm { computeMeanVar: true }", 1, "statistics of the batch"),
    "instance without": ("batchnorm { instanceNormalization: true }", 1, "statistics of the batch"),
    "masks of data": ("sliceDynamic {}", 4, "strides or masks that are data"),
    "no kind of padding": ("padding {}", 1, "no kind of padding"),
    "padding to a size": ("constantPad { padToGivenOutputSizeMode: true }", 1, "padding to a given size"),
    "crop to another": ("crop {}", 2, "a reference to crop to"),
    "thresholds of data": ("NonMaximumSuppression {}", 3, "thresholds that are data"),
    "unknown function": ("unary { type: 9 }", 1, "unary: 9'"),
    "unknown order": ("reorganizeData { mode: 9 }", 1, "reorganizeData: 9'"),
    "unknown layer": ("name: 'last' custom {}", 1, r"'custom' \('last'\)"),
    "layer without a kind": ("name: ''", 1, r"layer ''\. It"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_layer_asks_for_in_vain_is_named(case: str) -> None:
    text, count, words = REFUSED[case]
    names = ("a", "b", "c", "d")[:count]
    spec = _spec("", dict.fromkeys(names, np.zeros((1, 1, 2, 2))))
    from google.protobuf import text_format

    del spec.neuralNetwork.layers[:]
    text_format.Parse(text, spec.neuralNetwork.layers.add(input=names, output=["y0"]))
    with pytest.raises(UnsupportedOpError, match=words):
        neuralnetwork.read(spec)
