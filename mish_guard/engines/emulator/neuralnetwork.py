"""Neural networks (the format before ML programs): the layers of a saved spec → Graph.

Every tensor is half precision: Core ML runs this format in fp16 on the Neural Engine whatever the model declares.
A layer or a setting that is not listed here is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array, DType, Graph, Node, Operand, Ref, Tensor
from mish_guard.errors import UnsupportedOpError

# A layer becomes one or more steps: MIL operation and its operands. A step's result is the operand of the next,
# which names it PREVIOUS.
PREVIOUS = Ref("")
Step = tuple[str, dict[str, Operand]]

_TWO_OPERANDS = {
    "add": "add",
    "addBroadcastable": "add",
    "divideBroadcastable": "real_div",
    "equal": "equal",
    "greaterEqual": "greater_equal",
    "greaterThan": "greater",
    "lessEqual": "less_equal",
    "lessThan": "less",
    "max": "maximum",
    "maxBroadcastable": "maximum",
    "min": "minimum",
    "minBroadcastable": "minimum",
    "multiply": "mul",
    "multiplyBroadcastable": "mul",
    "powBroadcastable": "pow",
    "subtractBroadcastable": "sub",
}
_BOOLEAN = {"equal", "greater", "greater_equal", "less", "less_equal"}
_PLAIN_ACTIVATIONS = {"ReLU": "relu", "sigmoid": "sigmoid", "softplus": "softplus", "tanh": "tanh"}


def read(spec: Any) -> Graph:
    """The graph of a neural network spec; raises UnsupportedOpError for a layer the emulator does not know."""
    constants: dict[str, Array | str] = {}
    nodes: list[Node] = []
    for layer in spec.neuralNetwork.layers:
        if layer.WhichOneof("layer") == "loadConstantND":
            constants[layer.output[0]] = _weights(layer.loadConstantND.data, tuple(layer.loadConstantND.shape))
        else:
            nodes.extend(_nodes(layer))
    return Graph(
        inputs=tuple(_half(each.name, _shape(each)) for each in spec.description.input),
        constants=constants,
        nodes=tuple(nodes),
        outputs=tuple(each.name for each in spec.description.output),
    )


def _nodes(layer: Any) -> list[Node]:
    steps = _steps(layer)
    nodes: list[Node] = []
    for position, (op, operands) in enumerate(steps):
        last = position == len(steps) - 1
        name = layer.output[0] if last else f"{layer.output[0]}.{position}"
        resolved = {key: Ref(nodes[-1].name) if value is PREVIOUS else value for key, value in operands.items()}
        dtype = DType.BOOL if op in _BOOLEAN else DType.FP16
        nodes.append(Node(op=op, name=name, operands=resolved, outputs=(Tensor(name=name, dtype=dtype, shape=None),)))
    return nodes


def _steps(layer: Any) -> list[Step]:
    kind = layer.WhichOneof("layer")
    inputs = tuple(Ref(name) for name in layer.input)
    settings = getattr(layer, kind)
    if kind in _TWO_OPERANDS:
        other: Operand = inputs[1] if len(inputs) == 2 else np.asarray(float(settings.alpha))
        return [(_TWO_OPERANDS[kind], {"x": inputs[0], "y": other})]
    if kind == "activation":
        return _activation(settings, inputs[0])
    if kind not in _LAYERS:
        raise _unknown(kind, layer.name)
    return _LAYERS[kind](settings, inputs)


def _activation(settings: Any, x: Ref) -> list[Step]:
    kind = settings.WhichOneof("NonlinearityType")
    if kind in _PLAIN_ACTIVATIONS:
        return [(_PLAIN_ACTIVATIONS[kind], {"x": x})]
    if kind == "linear":
        scaled: Step = ("mul", {"x": x, "y": np.asarray(float(settings.linear.alpha))})
        offset: Step = ("add", {"x": PREVIOUS, "y": np.asarray(float(settings.linear.beta))})
        return [scaled, offset] if settings.linear.beta else [scaled]
    if kind == "sigmoidHard":
        hard = settings.sigmoidHard
        return [("sigmoid_hard", {"x": x, "alpha": np.asarray(hard.alpha), "beta": np.asarray(hard.beta)})]
    if kind == "parametricSoftplus":
        parametric = settings.parametricSoftplus
        scales: dict[str, Operand] = {
            "alpha": _weights(parametric.alpha, (-1,)),
            "beta": _weights(parametric.beta, (-1,)),
        }
        return [("softplus_parametric", {"x": x, **scales})]
    raise _unknown(f"activation.{kind}", "")


def _unary(settings: Any, inputs: tuple[Ref, ...]) -> list[Step]:
    kind = type(settings).Operation.Name(settings.type)
    steps: list[Step] = []
    x: Ref = inputs[0]
    if settings.scale not in (0.0, 1.0):
        steps.append(("mul", {"x": x, "y": np.asarray(float(settings.scale))}))
        x = PREVIOUS
    if settings.shift:
        steps.append(("add", {"x": x, "y": np.asarray(float(settings.shift))}))
        x = PREVIOUS
    epsilon = np.asarray(float(settings.epsilon))
    known: dict[str, Step] = {
        "ABS": ("abs", {"x": x}),
        "EXP": ("exp", {"x": x}),
        "INVERSE": ("inverse", {"x": x, "epsilon": epsilon}),
        "LOG": ("log", {"x": x, "epsilon": epsilon}),
        "POWER": ("pow", {"x": x, "y": np.asarray(float(settings.alpha))}),
        "RSQRT": ("rsqrt", {"x": x, "epsilon": epsilon}),
        "SQRT": ("sqrt", {"x": x}),
    }
    if kind not in known:
        raise _unknown(f"unary.{kind}", "")
    return [*steps, known[kind]]


def _clip(settings: Any, inputs: tuple[Ref, ...]) -> list[Step]:
    limits: dict[str, Operand] = {"alpha": np.asarray(settings.minVal), "beta": np.asarray(settings.maxVal)}
    return [("clip", {"x": inputs[0], **limits})]


def _convolution(settings: Any, inputs: tuple[Ref, ...]) -> list[Step]:
    if settings.isDeconvolution or settings.WhichOneof("ConvolutionPaddingType") not in ("same", "valid"):
        raise _unknown("convolution with transposition or unset padding", "")
    if len(settings.kernelSize) != 2:
        raise _unknown(f"convolution with a kernel of rank {len(settings.kernelSize)}", "")
    out, per_group = settings.outputChannels, settings.kernelChannels
    operands: dict[str, Operand] = {
        "x": inputs[0],
        "weight": _weights(settings.weights, (out, per_group, *settings.kernelSize)),
        "strides": np.asarray(list(settings.stride) or [1, 1]),
        "dilations": np.asarray(list(settings.dilationFactor) or [1, 1]),
        "groups": np.asarray(settings.nGroups or 1),
        **_convolution_padding(settings),
    }
    if settings.hasBias:
        operands["bias"] = _weights(settings.bias, (-1,))
    return [("conv", operands)]


def _convolution_padding(settings: Any) -> dict[str, Operand]:
    if settings.WhichOneof("ConvolutionPaddingType") == "same":
        bottom_right_heavy = settings.same.asymmetryMode == 0
        return {"pad_type": "same" if bottom_right_heavy else "same_lower"}
    borders = settings.valid.paddingAmounts.borderAmounts
    amounts = [amount for border in borders for amount in (border.startEdgeSize, border.endEdgeSize)]
    return {"pad_type": "custom", "pad": np.asarray(amounts)} if any(amounts) else {"pad_type": "valid"}


def _inner_product(settings: Any, inputs: tuple[Ref, ...]) -> list[Step]:
    weight = _weights(settings.weights, (settings.outputChannels, settings.inputChannels))
    operands: dict[str, Operand] = {"x": inputs[0], "weight": weight}
    if settings.hasBias:
        operands["bias"] = _weights(settings.bias, (-1,))
    return [("linear", operands)]


def _batched_matmul(settings: Any, inputs: tuple[Ref, ...]) -> list[Step]:
    if len(inputs) != 2:
        weight = _weights(settings.weights, (settings.weightMatrixFirstDimension, settings.weightMatrixSecondDimension))
        operands: dict[str, Operand] = {"x": inputs[0], "weight": weight.T}
        if settings.hasBias:
            operands["bias"] = _weights(settings.bias, (-1,))
        return [("linear", operands)]
    flags = {"transpose_x": np.asarray(settings.transposeA), "transpose_y": np.asarray(settings.transposeB)}
    return [("matmul", {"x": inputs[0], "y": inputs[1], **flags})]


def _reduction(op: str) -> Callable[[Any, tuple[Ref, ...]], list[Step]]:
    def steps(settings: Any, inputs: tuple[Ref, ...]) -> list[Step]:
        operands: dict[str, Operand] = {"x": inputs[0], "keep_dims": np.asarray(settings.keepDims)}
        if not settings.reduceAll:
            operands["axes"] = np.asarray(list(settings.axes))
        return [(op, operands)]

    return steps


_LAYERS: dict[str, Callable[[Any, tuple[Ref, ...]], list[Step]]] = {
    "batchedMatmul": _batched_matmul,
    "clip": _clip,
    "concatND": lambda settings, inputs: [("concat", {"values": inputs, "axis": np.asarray(settings.axis)})],
    "convolution": _convolution,
    "expandDims": lambda settings, inputs: [("expand_dims", {"x": inputs[0], "axes": np.asarray(list(settings.axes))})],
    "innerProduct": _inner_product,
    "reduceMax": _reduction("reduce_max"),
    "reduceMean": _reduction("reduce_mean"),
    "reduceSum": _reduction("reduce_sum"),
    "reshapeStatic": lambda settings, inputs: [
        ("reshape", {"x": inputs[0], "shape": np.asarray(list(settings.targetShape))})
    ],
    "softplus": lambda _, inputs: [("softplus", {"x": inputs[0]})],
    "squeeze": lambda settings, inputs: [("squeeze", {"x": inputs[0], "axes": np.asarray(list(settings.axes))})],
    "transpose": lambda settings, inputs: [("transpose", {"x": inputs[0], "perm": np.asarray(list(settings.axes))})],
    "unary": _unary,
    "whereBroadcastable": lambda _, inputs: [("select", {"cond": inputs[0], "a": inputs[1], "b": inputs[2]})],
}


def _weights(weights: Any, shape: tuple[int, ...]) -> Array:
    """Weight parameters as half precision, in float64."""
    if weights.float16Value:
        values = np.frombuffer(weights.float16Value, np.float16)
    elif weights.rawValue:
        msg = "The emulator does not read quantised weights of neural networks."
        raise UnsupportedOpError(msg)
    else:
        values = np.asarray(weights.floatValue, np.float32).astype(np.float16)
    return values.astype(np.float64).reshape(shape)


def _half(name: str, shape: tuple[int, ...] | None) -> Tensor:
    return Tensor(name=name, dtype=DType.FP16, shape=shape)


def _shape(feature: Any) -> tuple[int, ...] | None:
    return tuple(feature.type.multiArrayType.shape) or None


def _unknown(kind: str, name: str) -> UnsupportedOpError:
    where = f" ('{name}')" if name else ""
    msg = (
        f"The emulator does not know the neural network layer '{kind}'{where}. It never guesses: add it to {__name__}."
    )
    return UnsupportedOpError(msg)
