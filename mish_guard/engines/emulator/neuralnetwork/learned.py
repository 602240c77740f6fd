"""Layers with weights: convolutions, products, pooling windows, embeddings and recurrent layers."""

from __future__ import annotations

import numpy as np

from mish_guard.engines.emulator.graph import Array, Operand
from mish_guard.engines.emulator.neuralnetwork.plain import Translator, number, whole
from mish_guard.engines.emulator.neuralnetwork.settings import PREVIOUS, Layer, Settings, Step
from mish_guard.engines.emulator.neuralnetwork.shapes import borders


def _convolution(layer: Layer) -> list[Step]:
    settings = layer.settings
    kernel = [int(size) for size in settings.kernelSize] or [3, 3]
    operands: dict[str, Operand] = {
        "x": layer.input(0),
        "weight": _kernel(layer, kernel),
        "strides": whole(settings.stride or [1, 1]),
        "dilations": whole(settings.dilationFactor or [1, 1]),
        "groups": np.asarray(int(settings.nGroups or 1)),
        **_padding(layer, "ConvolutionPaddingType"),
    }
    if settings.hasBias:
        operands["bias"] = layer.weights(settings.bias, (int(settings.outputChannels),))
    if not settings.isDeconvolution:
        return [("conv", operands)]
    if settings.outputShape:
        operands["output_shape"] = whole([0, 0, *settings.outputShape])
    return [("conv_transpose", operands)]


def _kernel(layer: Layer, kernel: list[int]) -> Operand:
    """(out, in / groups, *kernel), of a transposed convolution (in, out / groups, *kernel); data if a second input."""
    settings = layer.settings
    if len(kernel) != 2:
        raise layer.unknown(f"a kernel of rank {len(kernel)}")
    out, inner, groups = int(settings.outputChannels), int(settings.kernelChannels), int(settings.nGroups or 1)
    if len(layer.inputs) > 1:
        return layer.input(1)
    first = (inner, out // groups) if settings.isDeconvolution else (out, inner)
    return layer.weights(settings.weights, (*first, *kernel))


def _padding(layer: Layer, oneof: str) -> dict[str, Operand]:
    settings = layer.settings
    kind = settings.which(oneof)
    if kind == "same":
        heavy = settings.same.named("asymmetryMode") == "BOTTOM_RIGHT_HEAVY"
        return {"pad_type": "same" if heavy else "same_lower"}
    if kind != "valid":
        raise layer.unknown(f"padding {kind or 'unset'}")
    amounts = borders(settings.valid.paddingAmounts)
    return {"pad_type": "custom", "pad": whole(amounts)} if any(amounts) else {"pad_type": "valid"}


_AXES_3D = ("Depth", "Height", "Width")
_EDGES_3D = ("Front", "Back", "Top", "Bottom", "Left", "Right")


def _padding_3d(layer: Layer) -> dict[str, Operand]:
    kind = layer.settings.named("paddingType")
    amounts = [int(getattr(layer.settings, f"customPadding{edge}")) for edge in _EDGES_3D]
    return {"pad_type": kind.lower(), "pad": whole(amounts)} if kind == "CUSTOM" else {"pad_type": kind.lower()}


def _convolution_3d(layer: Layer) -> list[Step]:
    settings = layer.settings
    kernel, steps, holes = (
        [int(getattr(settings, f"{what}{axis}")) for axis in _AXES_3D] for what in ("kernel", "stride", "dilation")
    )
    out, inner, groups = int(settings.outputChannels), int(settings.inputChannels), int(settings.nGroups or 1)
    operands: dict[str, Operand] = {"x": layer.input(0), "groups": np.asarray(groups), **_padding_3d(layer)}
    operands |= {"strides": whole(each or 1 for each in steps), "dilations": whole(each or 1 for each in holes)}
    if settings.hasBias:
        operands["bias"] = layer.weights(settings.bias, (out,))
    if not settings.isDeconvolution:
        return [("conv", {**operands, "weight": layer.weights(settings.weights, (out, inner // groups, *kernel))})]
    # (out / groups, in, ...) in the file.
    weight = np.swapaxes(layer.weights(settings.weights, (out // groups, inner, *kernel)), 0, 1)
    if settings.outputShape:
        operands["output_shape"] = whole([0, 0, *settings.outputShape])
    return [("conv_transpose", {**operands, "weight": weight})]


_POOLS = {"AVERAGE": "avg_pool", "L2": "l2_pool", "MAX": "max_pool"}


def _pooling(layer: Layer) -> list[Step]:
    settings = layer.settings
    kind = settings.named("type")
    if settings.globalPooling:
        return _global_pooling(layer, (-2, -1))
    operands: dict[str, Operand] = {
        "x": layer.input(0),
        "kernel_sizes": whole(settings.kernelSize or [3, 3]),
        "strides": whole(settings.stride or [1, 1]),
    }
    if settings.which("PoolingPaddingType") == "includeLastPixel":
        amounts = [int(amount) for amount in settings.includeLastPixel.paddingAmounts] or [0, 0]
        operands |= {"pad_type": "custom", "pad": whole(np.repeat(amounts, 2)), "ceil_mode": np.asarray(True)}
    else:
        operands |= _padding(layer, "PoolingPaddingType")
    excludes = settings.avgPoolExcludePadding
    if kind == "AVERAGE":
        operands["exclude_padding_from_average"] = np.asarray(excludes)
    return [(_POOLS[kind], operands)]


def _global_pooling(layer: Layer, axes: tuple[int, ...]) -> list[Step]:
    settings = layer.settings
    op = {"AVERAGE": "reduce_mean", "L2": "reduce_l2_norm", "MAX": "reduce_max"}[settings.named("type")]
    if layer.kind == "pooling":
        _ = settings.kernelSize, settings.stride, settings.avgPoolExcludePadding
        _padding(layer, "PoolingPaddingType")
    return [(op, {"x": layer.input(0), "axes": whole(axes), "keep_dims": np.asarray(True)})]


def _pooling_3d(layer: Layer) -> list[Step]:
    settings = layer.settings
    kernel, steps = ([int(getattr(settings, f"{what}{axis}")) for axis in _AXES_3D] for what in ("kernel", "stride"))
    operands: dict[str, Operand] = {"x": layer.input(0), "kernel_sizes": whole(kernel), "strides": whole(steps)}
    operands |= _padding_3d(layer)
    excludes = settings.countExcludePadding
    if settings.named("type") == "AVERAGE":
        operands["exclude_padding_from_average"] = np.asarray(excludes)
    return [(_POOLS[settings.named("type")], operands)]


def _inner_product(layer: Layer) -> list[Step]:
    """Over the last axis up to rank 3; from rank 4 on the last three axes are the features."""
    settings = layer.settings
    if settings.int8DynamicQuantize:
        raise layer.unknown("dynamic int8 products")
    out, inner = int(settings.outputChannels), int(settings.inputChannels)
    operands: dict[str, Operand] = {"x": layer.input(0), "weight": layer.weights(settings.weights, (out, inner))}
    if settings.hasBias:
        operands["bias"] = layer.weights(settings.bias, (out,))
    if 0 < layer.input_rank < 4:
        return [("linear", operands)]
    flat: Step = ("nn_features", {"x": layer.input(0)})
    back: Step = ("nn_spread_features", {"x": PREVIOUS, "like": layer.input(0)})
    return [flat, ("linear", {**operands, "x": PREVIOUS}), back]


def _batched_matmul(layer: Layer) -> list[Step]:
    settings = layer.settings
    if settings.int8DynamicQuantize:
        raise layer.unknown("dynamic int8 products")
    if len(layer.inputs) > 1:
        flags = {"transpose_x": np.asarray(settings.transposeA), "transpose_y": np.asarray(settings.transposeB)}
        return [("matmul", {"x": layer.input(0), "y": layer.input(1), **flags})]
    inner, out = int(settings.weightMatrixFirstDimension), int(settings.weightMatrixSecondDimension)
    # The file holds the matrix (inner, out) column by column.
    operands: dict[str, Operand] = {"x": layer.input(0), "weight": layer.weights(settings.weights, (out, inner))}
    if settings.hasBias:
        operands["bias"] = layer.weights(settings.bias, (out,))
    # The writer sets these also where it has transposed the operand itself.
    _ = settings.transposeA, settings.transposeB
    return [("linear", operands)]


def _embedding_nd(layer: Layer) -> list[Step]:
    settings = layer.settings
    size, count = int(settings.embeddingSize), int(settings.vocabSize)
    table = layer.weights(settings.weights, (size, count)).T
    if settings.hasBias:
        table = table + layer.weights(settings.bias, (size,))
    place: Step = ("squeeze", {"x": layer.input(0), "axes": whole([-1])})
    return [place, ("gather", {"x": table, "indices": PREVIOUS, "axis": np.asarray(0)})]


_ACTIVATIONS = {"ReLU": "relu", "sigmoid": "sigmoid", "tanh": "tanh"}

# An activation with parameters is known with these.
_PARAMETERS = {
    "linear": ("linear", (1.0, 0.0)),
    "scaledTanh": ("scaled_tanh", (1.7159, 2.0 / 3.0)),
    "sigmoidHard": ("hard_sigmoid", (0.2, 0.5)),
}


def _recurrent_activation(layer: Layer, settings: Settings) -> str:
    kind = settings.which("NonlinearityType")
    if kind in _ACTIVATIONS:
        return _ACTIVATIONS[kind]
    if kind in _PARAMETERS:
        chosen = getattr(settings, kind)
        name, known = _PARAMETERS[kind]
        if np.allclose((chosen.alpha, chosen.beta), known, rtol=1e-3):
            return name
    raise layer.unknown(f"activation {kind or 'unset'}")


def _states(layer: Layer, *names: str) -> dict[str, Operand]:
    """The initial states that are inputs."""
    return {name: layer.inputs[index] for index, name in enumerate(names, start=1) if index < len(layer.inputs)}


def _direction(settings: Settings) -> str:
    return "reverse" if settings.reverseInput else "forward"


def _simple_recurrent(layer: Layer) -> list[Step]:
    settings = layer.settings
    inner, out = int(settings.inputVectorSize), int(settings.outputVectorSize)
    operands: dict[str, Operand] = {
        "x": layer.input(0),
        **_states(layer, "initial_h"),
        "weight_ih": layer.weights(settings.weightMatrix, (out, inner)),
        "weight_hh": layer.weights(settings.recursionMatrix, (out, out)),
        "activation": _recurrent_activation(layer, settings.activation),
        "direction": _direction(settings),
        "output_sequence": np.asarray(settings.sequenceOutput),
    }
    if settings.hasBiasVector:
        operands["bias"] = layer.weights(settings.biasVector, (out,))
    return [("nn_rnn", operands)]


def _gru(layer: Layer) -> list[Step]:
    settings = layer.settings
    gates = ("resetGate", "outputGate", "updateGate")
    operands: dict[str, Operand] = {
        "x": layer.input(0),
        **_states(layer, "initial_h"),
        **_gate_weights(layer, settings, gates, biased=bool(settings.hasBiasVectors)),
        **_gate_activations(layer, settings.activations, ("recurrent_activation", "activation")),
        "direction": _direction(settings),
        "output_sequence": np.asarray(settings.sequenceOutput),
    }
    return [("nn_gru", operands)]


def _gate_weights(layer: Layer, weights: Settings, gates: tuple[str, ...], *, biased: bool) -> dict[str, Operand]:
    """Weights of the gates one below the other, in the order that MIL wants."""
    inner, out = int(layer.settings.inputVectorSize), int(layer.settings.outputVectorSize)

    def stacked(suffix: str, shape: tuple[int, ...]) -> Array:
        return np.concatenate([layer.weights(getattr(weights, f"{gate}{suffix}"), shape) for gate in gates])

    found: dict[str, Operand] = {
        "weight_ih": stacked("WeightMatrix", (out, inner)),
        "weight_hh": stacked("RecursionMatrix", (out, out)),
    }
    return {**found, "bias": stacked("BiasVector", (out,))} if biased else found


def _gate_activations(layer: Layer, given: list[Settings], names: tuple[str, ...]) -> dict[str, Operand]:
    if len(given) != len(names):
        raise layer.unknown(f"{len(given)} activations")
    return {name: _recurrent_activation(layer, each) for name, each in zip(names, given, strict=True)}


_LSTM_GATES = ("inputGate", "forgetGate", "outputGate", "blockInput")
_LSTM_ACTIVATIONS = ("recurrent_activation", "cell_activation", "activation")


def _lstm_weights(layer: Layer, weights: Settings) -> dict[str, Operand]:
    params = layer.settings.params
    found = _gate_weights(layer, weights, _LSTM_GATES, biased=bool(params.hasBiasVectors))
    if params.hasPeepholeVectors:
        size = (int(layer.settings.outputVectorSize),)
        parts = [layer.weights(getattr(weights, f"{gate}PeepholeVector"), size) for gate in _LSTM_GATES[:3]]
        found["peephole"] = np.concatenate(parts)
    return found


def _lstm_settings(layer: Layer) -> dict[str, Operand]:
    params = layer.settings.params
    if params.forgetBias or params.coupledInputAndForgetGate:
        raise layer.unknown("a forget bias or coupled gates")
    found: dict[str, Operand] = {"output_sequence": np.asarray(params.sequenceOutput)}
    return {**found, "clip": number(params.cellClipThreshold)} if params.cellClipThreshold else found


def _lstm(layer: Layer) -> list[Step]:
    settings = layer.settings
    operands: dict[str, Operand] = {
        "x": layer.input(0),
        **_states(layer, "initial_h", "initial_c"),
        **_lstm_weights(layer, settings.weightParams),
        **_lstm_settings(layer),
        **_gate_activations(layer, settings.activations, _LSTM_ACTIVATIONS),
        "direction": _direction(settings),
    }
    return [("nn_lstm", operands)]


def _bidirectional_lstm(layer: Layer) -> list[Step]:
    settings = layer.settings
    if len(settings.weightParams) != 2:
        raise layer.unknown(f"{len(settings.weightParams)} sets of weights")
    ahead, back = (_lstm_weights(layer, weights) for weights in settings.weightParams)
    activations = _gate_activations(layer, settings.activationsForwardLSTM, _LSTM_ACTIVATIONS)
    if activations != _gate_activations(layer, settings.activationsBackwardLSTM, _LSTM_ACTIVATIONS):
        raise layer.unknown("other activations backwards")
    operands: dict[str, Operand] = {
        "x": layer.input(0),
        **_states(layer, "initial_h", "initial_c", "initial_h_back", "initial_c_back"),
        **ahead,
        **{f"{name}_back": value for name, value in back.items()},
        **_lstm_settings(layer),
        **activations,
    }
    return [("nn_bidirectional_lstm", operands)]


def _global_pooling_3d(layer: Layer) -> list[Step]:
    return _global_pooling(layer, (-3, -2, -1))


LEARNED: dict[str, Translator] = {
    "batchedMatmul": _batched_matmul,
    "biDirectionalLSTM": _bidirectional_lstm,
    "convolution": _convolution,
    "convolution3d": _convolution_3d,
    "embeddingND": _embedding_nd,
    "globalPooling3d": _global_pooling_3d,
    "gru": _gru,
    "innerProduct": _inner_product,
    "pooling": _pooling,
    "pooling3d": _pooling_3d,
    "simpleRecurrent": _simple_recurrent,
    "uniDirectionalLSTM": _lstm,
}
