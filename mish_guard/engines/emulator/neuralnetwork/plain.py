"""Layers that are MIL operations on the elements, axes and shape of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import SupportsInt

import numpy as np

from mish_guard.engines.emulator.graph import Operand, Ref
from mish_guard.engines.emulator.neuralnetwork.settings import PREVIOUS, Layer, Settings, Step

Translator = Callable[[Layer], list[Step]]

_SAME_NAME = ("acos", "asin", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp2", "floor", "round", "sign", "sin")

_ONE_INPUT = {
    **{name: name for name in _SAME_NAME},
    "copy": "identity",
    "getShape": "shape",
    "logicalNot": "logical_not",
    "sinh": "sinh",
    "tan": "tan",
    "tanh": "tanh",
    "whereNonZero": "non_zero",
}

_TWO_INPUTS = {
    "addBroadcastable": "add",
    "divideBroadcastable": "real_div",
    "floorDivBroadcastable": "floor_div",
    "logicalAnd": "logical_and",
    "logicalOr": "logical_or",
    "logicalXor": "logical_xor",
    "modBroadcastable": "mod",
    "multiplyBroadcastable": "mul",
    "powBroadcastable": "pow",
    "subtractBroadcastable": "sub",
}

# With one input the other is `alpha`.
_COMPARISONS = {
    "equal": "equal",
    "greaterEqual": "greater_equal",
    "greaterThan": "greater",
    "lessEqual": "less_equal",
    "lessThan": "less",
    "notEqual": "not_equal",
}

# Of any number of inputs, one after the other.
_MANY_INPUTS = {
    "add": "add",
    "max": "maximum",
    "maxBroadcastable": "maximum",
    "min": "minimum",
    "minBroadcastable": "minimum",
    "multiply": "mul",
}

_REDUCTIONS = {
    "reduceL1": "reduce_l1_norm",
    "reduceL2": "reduce_l2_norm",
    "reduceLogSum": "reduce_log_sum",
    "reduceLogSumExp": "reduce_log_sum_exp",
    "reduceMax": "reduce_max",
    "reduceMean": "reduce_mean",
    "reduceMin": "reduce_min",
    "reduceProd": "reduce_prod",
    "reduceSum": "reduce_sum",
    "reduceSumSquare": "reduce_sum_square",
}

_PLAIN_ACTIVATIONS = {
    "ReLU": "relu",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "softsign": "softsign",
    "tanh": "tanh",
}


def number(value: float) -> Operand:
    """A number as an operand."""
    return np.asarray(float(value))


def whole(values: Iterable[SupportsInt]) -> Operand:
    """Axes, sizes and the like as an operand."""
    return np.asarray([int(each) for each in values], dtype=np.int64)


def _one_input(op: str) -> Translator:
    return lambda layer: [(op, {"x": layer.input(0)})]


def _two_inputs(op: str) -> Translator:
    return lambda layer: [(op, {"x": layer.input(0), "y": layer.input(1)})]


def _comparison(op: str) -> Translator:
    def steps(layer: Layer) -> list[Step]:
        other = layer.input(1) if len(layer.inputs) > 1 else number(layer.settings.alpha)
        return [(op, {"x": layer.input(0), "y": other})]

    return steps


def _many_inputs(op: str) -> Translator:
    def steps(layer: Layer) -> list[Step]:
        first: Ref = layer.input(0)
        if len(layer.inputs) == 1:
            if layer.kind not in ("add", "multiply"):
                raise layer.unknown("one input")
            return [(op, {"x": first, "y": number(layer.settings.alpha)})]
        done: list[Step] = []
        for other in layer.inputs[1:]:
            done.append((op, {"x": PREVIOUS if done else first, "y": other}))
        return done

    return steps


def _reduction(op: str) -> Translator:
    def steps(layer: Layer) -> list[Step]:
        operands: dict[str, Operand] = {"x": layer.input(0), "keep_dims": np.asarray(layer.settings.keepDims)}
        axes, every = list(layer.settings.axes), bool(layer.settings.reduceAll)
        if axes and not every:
            operands["axes"] = whole(axes)
        return [(op, operands)]

    return steps


def activation(layer: Layer) -> list[Step]:
    """The nonlinearity that the layer chooses."""
    x, kind = layer.input(0), layer.settings.which("NonlinearityType")
    if kind in _PLAIN_ACTIVATIONS:
        return [(_PLAIN_ACTIVATIONS[kind], {"x": x})]
    chosen: Settings = getattr(layer.settings, kind) if kind else layer.settings
    if kind == "linear":
        scaled: Step = ("mul", {"x": x, "y": number(chosen.alpha)})
        offset: Step = ("add", {"x": PREVIOUS, "y": number(chosen.beta)})
        return [scaled, offset] if chosen.beta else [scaled]
    if kind == "PReLU":
        return [("prelu", {"x": x, "alpha": _channels(layer, chosen.alpha)})]
    if kind == "parametricSoftplus":
        per = {"alpha": layer.weights(chosen.alpha, (-1,)), "beta": layer.weights(chosen.beta, (-1,))}
        return [("softplus_parametric", {"x": x, **per})]
    one = {"ELU": "elu", "leakyReLU": "leaky_relu", "thresholdedReLU": "thresholded_relu"}
    if kind in one:
        return [(one[kind], {"x": x, "alpha": number(chosen.alpha)})]
    two = {"scaledTanh": "scaled_tanh", "sigmoidHard": "sigmoid_hard"}
    if kind in two:
        return [(two[kind], {"x": x, "alpha": number(chosen.alpha), "beta": number(chosen.beta)})]
    raise layer.unknown(kind or "no nonlinearity")


def _channels(layer: Layer, weights: Settings) -> Operand:
    """One value per channel, the third axis from the end."""
    return layer.weights(weights, (-1, 1, 1))


def _unary(layer: Layer) -> list[Step]:
    """A function of scale * x + shift."""
    settings, steps = layer.settings, list[Step]()
    x: Ref = layer.input(0)
    if settings.scale not in (0.0, 1.0):
        steps.append(("mul", {"x": x, "y": number(settings.scale)}))
        x = PREVIOUS
    if settings.shift:
        steps.append(("add", {"x": x, "y": number(settings.shift)}))
        x = PREVIOUS
    known: dict[str, Callable[[], Step]] = {
        "ABS": lambda: ("abs", {"x": x}),
        "EXP": lambda: ("exp", {"x": x}),
        "INVERSE": lambda: ("inverse", {"x": x, "epsilon": number(settings.epsilon)}),
        "LOG": lambda: ("log", {"x": x, "epsilon": number(settings.epsilon)}),
        "POWER": lambda: ("pow", {"x": x, "y": number(settings.alpha)}),
        "RSQRT": lambda: ("rsqrt", {"x": x, "epsilon": number(settings.epsilon)}),
        "SQRT": lambda: ("sqrt", {"x": x}),
        "THRESHOLD": lambda: ("threshold", {"x": x, "alpha": number(settings.alpha)}),
    }
    kind = settings.named("type")
    if kind not in known:
        raise layer.unknown(kind)
    _ = settings.epsilon, settings.alpha  # given with every function, used by some
    return [*steps, known[kind]()]


def _gelu(layer: Layer) -> list[Step]:
    return [("gelu", {"x": layer.input(0), "mode": layer.settings.named("mode")})]


def _clip(layer: Layer) -> list[Step]:
    limits = {"alpha": number(layer.settings.minVal), "beta": number(layer.settings.maxVal)}
    return [("clip", {"x": layer.input(0), **limits})]


def _clamped_relu(layer: Layer) -> list[Step]:
    limits = {"alpha": number(layer.settings.alpha), "beta": number(layer.settings.beta)}
    return [("clamped_relu", {"x": layer.input(0), **limits})]


def _average(layer: Layer) -> list[Step]:
    total: list[Step] = []
    for other in layer.inputs[1:]:
        total.append(("add", {"x": PREVIOUS if total else layer.input(0), "y": other}))
    return (
        [*total, ("mul", {"x": PREVIOUS, "y": number(1.0 / len(layer.inputs))})]
        if total
        else _one_input("identity")(layer)
    )


def _select(layer: Layer) -> list[Step]:
    return [("select", {"cond": layer.input(0), "a": layer.input(1), "b": layer.input(2)})]


def _softmax(layer: Layer) -> list[Step]:
    axis = layer.settings.axis if layer.kind == "softmaxND" else -3
    return [("softmax", {"x": layer.input(0), "axis": np.asarray(axis)})]


def _arg(op: str) -> Translator:
    def steps(layer: Layer) -> list[Step]:
        settings = layer.settings
        keep = np.asarray(not settings.removeDim)
        return [(op, {"x": layer.input(0), "axis": np.asarray(settings.axis), "keep_dims": keep})]

    return steps


def _argsort(layer: Layer) -> list[Step]:
    ascending = np.asarray(not layer.settings.descending)
    return [("argsort", {"x": layer.input(0), "axis": np.asarray(layer.settings.axis), "ascending": ascending})]


def _topk(layer: Layer) -> list[Step]:
    settings = layer.settings
    count: Operand = layer.input(1) if len(layer.inputs) > 1 else np.asarray(int(settings.K))
    order = {"axis": np.asarray(settings.axis), "ascending": np.asarray(settings.useBottomK)}
    both = {"return_indices": np.asarray(len(layer.outputs) > 1)}
    return [("topk", {"x": layer.input(0), "k": count, **order, **both})]


def _cumsum(layer: Layer) -> list[Step]:
    settings = layer.settings
    if len(layer.inputs) > 1:
        raise layer.unknown("an axis that is data")
    how = {"exclusive": np.asarray(settings.excludeFinalSum), "reverse": np.asarray(settings.reverse)}
    return [("cumsum", {"x": layer.input(0), "axis": np.asarray(settings.axis), **how})]


def _gather(op: str) -> Translator:
    def steps(layer: Layer) -> list[Step]:
        operands: dict[str, Operand] = {"x": layer.input(0), "indices": layer.input(1)}
        if op != "gather_nd":
            operands["axis"] = np.asarray(layer.settings.axis)
        return [(op, operands)]

    return steps


def _scatter(op: str) -> Translator:
    def steps(layer: Layer) -> list[Step]:
        names = ("data", "indices", "updates")
        operands: dict[str, Operand] = {name: layer.input(index) for index, name in enumerate(names)}
        operands["mode"] = layer.settings.named("mode").removeprefix("SCATTER_").lower()
        if op != "scatter_nd":
            operands["axis"] = np.asarray(layer.settings.axis)
        return [(op, operands)]

    return steps


def _one_hot(layer: Layer) -> list[Step]:
    settings = layer.settings
    size: Operand = layer.input(1) if len(layer.inputs) > 1 else np.asarray(int(settings.oneHotVectorSize))
    values = {"on_value": number(settings.onValue), "off_value": number(settings.offValue)}
    operands: dict[str, Operand] = {"indices": layer.input(0), "one_hot_vector_size": size, **values}
    return [("one_hot", {**operands, "axis": np.asarray(settings.axis)})]


def _band_part(layer: Layer) -> list[Step]:
    limits = {"lower": np.asarray(layer.settings.numLower), "upper": np.asarray(layer.settings.numUpper)}
    return [("band_part", {"x": layer.input(0), **limits})]


def _layer_norm(layer: Layer) -> list[Step]:
    settings = layer.settings
    shape = tuple(settings.normalizedShape)
    weights = {"gamma": layer.weights(settings.gamma, shape), "beta": layer.weights(settings.beta, shape)}
    axes = whole(range(-len(shape), 0))
    return [("layer_norm", {"x": layer.input(0), "axes": axes, **weights, "epsilon": number(settings.eps)})]


def _mvn(layer: Layer) -> list[Step]:
    if not layer.settings.normalizeVariance:
        raise layer.unknown("without variance")
    axes = whole((-3, -2, -1) if layer.settings.acrossChannels else (-2, -1))
    return [("layer_norm", {"x": layer.input(0), "axes": axes, "epsilon": number(layer.settings.epsilon)})]


def _l2_normalize(layer: Layer) -> list[Step]:
    return [("l2_norm", {"x": layer.input(0), "epsilon": number(layer.settings.epsilon)})]


def _lrn(layer: Layer) -> list[Step]:
    settings = layer.settings
    operands: dict[str, Operand] = {"x": layer.input(0), "size": np.asarray(int(settings.localSize))}
    return [
        (
            "nn_local_response_norm",
            {**operands, "alpha": number(settings.alpha), "beta": number(settings.beta), "k": number(settings.k)},
        )
    ]


def _batch_norm(layer: Layer) -> list[Step]:
    settings = layer.settings
    scale = {"gamma": _channels(layer, settings.gamma), "beta": _channels(layer, settings.beta)}
    operands: dict[str, Operand] = {"x": layer.input(0), **scale, "epsilon": number(settings.epsilon)}
    _ = settings.channels
    if settings.instanceNormalization and settings.computeMeanVar:
        return [("instance_norm", operands)]
    if settings.instanceNormalization or settings.computeMeanVar:
        raise layer.unknown("statistics of the batch")
    operands |= {"mean": _channels(layer, settings.mean), "variance": _channels(layer, settings.variance)}
    return [("batch_norm", operands)]


def _scale(layer: Layer) -> list[Step]:
    settings = layer.settings
    steps: list[Step] = [("mul", {"x": layer.input(0), "y": _shaped(layer, settings.scale, settings.shapeScale)})]
    if settings.hasBias:
        steps.append(("add", {"x": PREVIOUS, "y": _shaped(layer, settings.bias, settings.shapeBias)}))
    return steps


def _bias(layer: Layer) -> list[Step]:
    return [("add", {"x": layer.input(0), "y": _shaped(layer, layer.settings.bias, layer.settings.shape)})]


def _shaped(layer: Layer, weights: Settings, shape: Iterable[SupportsInt]) -> Operand:
    """[C] is one per channel, [1] one for all, [C, H, W] as it stands."""
    sizes = tuple(int(size) for size in shape)
    return layer.weights(weights, (sizes[0], 1, 1) if len(sizes) == 1 else sizes)


PLAIN: dict[str, Translator] = {
    **{kind: _one_input(op) for kind, op in _ONE_INPUT.items()},
    **{kind: _two_inputs(op) for kind, op in _TWO_INPUTS.items()},
    **{kind: _comparison(op) for kind, op in _COMPARISONS.items()},
    **{kind: _many_inputs(op) for kind, op in _MANY_INPUTS.items()},
    **{kind: _reduction(op) for kind, op in _REDUCTIONS.items()},
    "activation": activation,
    "argMax": _arg("reduce_argmax"),
    "argMin": _arg("reduce_argmin"),
    "argSort": _argsort,
    "average": _average,
    "batchnorm": _batch_norm,
    "bias": _bias,
    "clampedReLU": _clamped_relu,
    "clip": _clip,
    "cumSum": _cumsum,
    "gather": _gather("gather"),
    "gatherAlongAxis": _gather("gather_along_axis"),
    "gatherND": _gather("gather_nd"),
    "gelu": _gelu,
    "l2normalize": _l2_normalize,
    "layerNormalization": _layer_norm,
    "lrn": _lrn,
    "matrixBandPart": _band_part,
    "mvn": _mvn,
    "oneHot": _one_hot,
    "scale": _scale,
    "scatter": _scatter("scatter"),
    "scatterAlongAxis": _scatter("scatter_along_axis"),
    "scatterND": _scatter("scatter_nd"),
    "softmax": _softmax,
    "softmaxND": _softmax,
    "topK": _topk,
    "unary": _unary,
    "whereBroadcastable": _select,
}
