"""Layers of neural networks: every field is read or refused, and what they mean by small nets made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from mish_guard.engines.emulator import neuralnetwork, profiles, specification
from mish_guard.engines.emulator.arithmetic import Arithmetic, Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.neuralnetwork.settings import Layer, Settings
from mish_guard.errors import EvaluationError, GuardError, UnreadableFileError, UnsupportedOpError, UsageError

_MESSAGE = 11  # descriptor.proto, FieldDescriptorProto.Type


def _layers() -> Any:
    return specification.model().neuralNetwork.layers


def _kinds() -> Iterator[tuple[str, str]]:
    """Each layer that is known, with each of its fields."""
    fields = _layers().add().DESCRIPTOR.fields_by_name
    for kind in sorted(neuralnetwork.LAYERS):
        for field in fields[kind].message_type.fields:
            yield kind, field.name


def _set(message: Any, field: Any) -> None:
    """Something else than the default."""
    repeated = hasattr(getattr(message, field.name), "append")
    value: Any = {"string": "x", "bytes": b"x"}.get({9: "string", 12: "bytes"}.get(field.type, ""), 1)
    if field.type == _MESSAGE and repeated:
        getattr(message, field.name).add()
    elif field.type == _MESSAGE:
        getattr(message, field.name).SetInParent()
    elif repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


@pytest.mark.parametrize(("kind", "field"), list(_kinds()))
def test_every_field_of_every_known_layer_is_read_or_refused(kind: str, field: str) -> None:
    message = _layers().add(name="layer", input=["a", "b", "c", "d", "e"], output=["y"])
    getattr(message, kind).SetInParent()
    settings = getattr(message, kind)
    _set(settings, settings.DESCRIPTOR.fields_by_name[field])
    layer = Layer(message, half=True)
    try:
        neuralnetwork.steps(layer)
    except (GuardError, ValueError, IndexError, KeyError):
        return
    assert [path for path in layer.settings.unread() if path.startswith(f"{kind}.{field}")] == []


def test_a_field_that_nothing_reads_is_named() -> None:
    message = _layers().add(name="head", input=["x"], output=["y"])
    message.innerProduct.inputChannels, message.innerProduct.outputChannels = 2, 1
    message.innerProduct.weights.floatValue.extend([1, 2])
    assert neuralnetwork.steps(Layer(message, half=True))
    message.innerProduct.bias.floatValue.append(1)  # and hasBias is not set
    with pytest.raises(UnsupportedOpError, match=r"setting innerProduct\.bias.*head"):
        neuralnetwork.steps(Layer(message, half=True))


def _net(fill: Callable[[Any], None], *inputs: tuple[str, tuple[int, ...]], names: tuple[str, ...] = ("y",)) -> Any:
    """A spec of one layer."""
    spec = specification.model()
    spec.specificationVersion = 4
    spec.neuralNetwork.arrayInputShapeMapping = 1
    for name, shape in inputs:
        feature = spec.description.input.add(name=name)
        feature.type.multiArrayType.shape.extend(shape)
    for name in names:
        spec.description.output.add(name=name)
    fill(spec.neuralNetwork.layers.add(name="layer", input=[name for name, _ in inputs], output=names))
    return spec


def _run(spec: Any, **feeds: Any) -> Any:
    return _under(Exact(), spec, feeds)


def _in_half(spec: Any, **feeds: Any) -> Any:
    """What half precision makes of it, which rounds wherever it may."""
    return _under(Emulated(profiles.PROFILES["ieee-fp16"]), spec, feeds)


def _under(arithmetic: Arithmetic, spec: Any, feeds: dict[str, Any]) -> Any:
    return evaluate(neuralnetwork.read(spec), feeds, arithmetic)[spec.description.output[0].name]


def _unread(path: str, *read: str, asked: str = "", **fields: Any) -> list[str]:
    """What is left of a layer's fields when some are read."""
    message = getattr(_layers().add(), path)
    for name, value in fields.items():
        if isinstance(value, float):
            setattr(message, name, value)
        else:
            value(getattr(message, name))
    settings = Settings(message, path)
    if asked:
        settings.which(asked)
    for name in read:
        getattr(settings, name)
    return list(settings.unread())


def _is_set(message: Any) -> None:
    message.SetInParent()


def _is_nine(message: Any) -> None:
    message.value = 9.0


def _has_a_border(message: Any) -> None:
    message.borderAmounts.add().startEdgeSize = 1


def test_what_is_not_read_is_named_by_its_path() -> None:
    assert _unread("softmaxND") == []
    assert _unread("constantPad", value=1.0) == ["constantPad.value"]
    assert _unread("constantPad", "value", value=1.0) == []
    # Inside of what was read, or in one of several.
    assert _unread("padding", "constant", constant=_is_nine) == ["padding.constant.value"]
    assert _unread("crop", "cropAmounts", cropAmounts=_has_a_border) == ["crop.cropAmounts.borderAmounts"]
    # That a member of a oneof is set is read by asking which is; what it says beside is not.
    assert _unread("padding", reflection=_is_set) == ["padding.reflection"]
    assert _unread("padding", asked="PaddingType", reflection=_is_set) == []
    assert _unread("padding", asked="PaddingType", constant=_is_nine) == ["padding.constant"]
    assert _unread("padding", asked="PaddingType", paddingAmounts=_is_set) == ["padding.paddingAmounts"]


def test_of_a_list_each_is_read() -> None:
    message = _layers().add().crop
    message.cropAmounts.borderAmounts.add().startEdgeSize = 1
    settings = Settings(message, "crop")
    (border,) = settings.cropAmounts.borderAmounts
    assert list(settings.unread()) == ["crop.cropAmounts.borderAmounts.startEdgeSize"]
    assert (border.startEdgeSize, list(settings.unread())) == (1, [])


def test_what_concerns_training_only_needs_no_reader() -> None:
    message = _layers().add().innerProduct
    message.weights.floatValue.append(1.0)
    message.weights.isUpdatable = True
    settings = Settings(message, "innerProduct")
    assert list(settings.weights.floatValue) == [1.0]
    assert list(settings.unread()) == []


def test_a_number_that_a_oneof_holds_is_to_be_read() -> None:
    array = specification.model().description.input.add().type.multiArrayType
    array.floatDefaultValue = 2.0
    settings = Settings(array, "array")
    assert settings.which("defaultOptionalValue") == "floatDefaultValue"
    assert (settings.which("ShapeFlexibility"), list(settings.unread())) == ("", ["array.floatDefaultValue"])


def test_a_layer_with_too_few_inputs_is_named() -> None:
    for kind, given in (("softmax", []), ("gather", ["x"])):
        message = _layers().add(name="layer", input=given, output=["y"])
        getattr(message, kind).SetInParent()
        with pytest.raises(UnreadableFileError, match=rf"'layer' \({kind}\) has {len(given)} inputs and needs more"):
            neuralnetwork.steps(Layer(message, half=True))


def test_a_layer_without_a_name_is_told_by_its_kind() -> None:
    message = _layers().add(output=["y"])
    message.custom.SetInParent()
    with pytest.raises(UnsupportedOpError, match=r"layer 'custom'\. It never guesses"):
        neuralnetwork.steps(Layer(message, half=True))


@pytest.mark.parametrize("stored", ["floatValue", "float16Value"])
@pytest.mark.parametrize(("half", "kind"), [(True, np.float16), (False, np.float32)])
def test_weights_are_rounded_to_the_precision_of_the_net(stored: str, half: bool, kind: type[np.floating[Any]]) -> None:
    message = _layers().add(name="layer", input=["x"], output=["y"])
    message.bias.shape.append(1)
    if stored == "floatValue":
        message.bias.bias.floatValue.append(1 / 3)
    else:
        message.bias.bias.float16Value = np.float16(1 / 3).tobytes()
    ((_, operands),) = neuralnetwork.steps(Layer(message, half=half))
    assert np.ravel(np.asarray(operands["y"])) == [float(kind(1 / 3 if stored == "floatValue" else np.float16(1 / 3)))]


@pytest.mark.parametrize(
    ("shape", "held", "error", "words"),
    [
        ([3], {"floatValue": [1.0, 2.0]}, UnreadableFileError, r"holds 2 weights where its shape \(3, 1, 1\) wants 3"),
        ([1], {"int8RawValue": b"x"}, UnsupportedOpError, "weights for dynamic int8 products"),
        ([1], {"rawValue": b"xx", "bits": 9}, UnreadableFileError, "quantised weights"),
        ([1], {"rawValue": b"xx", "bits": 0}, UnreadableFileError, "quantised weights"),
        ([2], {"rawValue": b"x", "bits": 8}, UnreadableFileError, "quantised weights"),
    ],
)
def test_weights_that_are_not_what_the_shape_wants_are_refused(
    shape: list[int], held: dict[str, Any], error: type[GuardError], words: str
) -> None:
    message = _layers().add(name="layer", input=["x"], output=["y"])
    message.bias.shape.extend(shape)
    _hold(message.bias.bias, **held)
    with pytest.raises(error, match=words):
        neuralnetwork.steps(Layer(message, half=True))


def _hold(weights: Any, floatValue: Any = (), rawValue: bytes = b"", int8RawValue: bytes = b"", bits: int = 0) -> None:  # noqa: N803 - protobuf's names
    weights.floatValue.extend(floatValue)
    weights.rawValue, weights.int8RawValue = rawValue, int8RawValue
    if rawValue:
        weights.quantization.numberOfBits = bits
        weights.quantization.linearQuantization.scale.append(2.0)


def test_quantised_weights_of_a_size_that_is_not_known_are_refused() -> None:
    message = _layers().add(name="layer", input=["x"], output=["y"])
    _hold(message.activation.PReLU.alpha, rawValue=b"xx", bits=8)
    with pytest.raises(UnreadableFileError, match=r"not as many as its shape \(-1, 1, 1\) wants"):
        neuralnetwork.steps(Layer(message, half=True))


def test_a_quantised_weight_may_have_a_single_bit() -> None:
    message = _layers().add(name="layer", input=["x"], output=["y"])
    message.bias.shape.append(3)
    _hold(message.bias.bias, rawValue=bytes([0b10100000]), bits=1)
    ((_, operands),) = neuralnetwork.steps(Layer(message, half=True))
    assert np.asarray(operands["y"]).tolist() == [[[2.0]], [[0.0]], [[2.0]]]


def test_weights_of_a_product_over_rank_4_are_the_matrix_by_columns() -> None:
    def product(layer: Any) -> None:
        layer.batchedMatmul.weightMatrixFirstDimension = 3
        layer.batchedMatmul.weightMatrixSecondDimension = 2
        layer.batchedMatmul.weights.floatValue.extend(np.arange(6.0).reshape(3, 2).T.reshape(-1))

    got = _run(_net(product, ("x", (1, 1, 1, 3))), x=np.array([[[[1.0, 10.0, 100.0]]]]))
    assert got.ravel().tolist() == [420.0, 531.0]


@pytest.mark.parametrize(("shape", "wanted"), [((2, 3), (2, 2)), ((2, 3, 1, 1), (2, 2, 1, 1))])
def test_an_inner_product_takes_the_last_axes_as_features(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    def product(layer: Any) -> None:
        layer.innerProduct.inputChannels, layer.innerProduct.outputChannels = 3, 2
        layer.innerProduct.weights.floatValue.extend([1, 10, 100, 1, 1, 1])

    got = _run(_net(product, ("x", shape)), x=np.arange(6.0).reshape(shape))
    assert got.shape == wanted
    assert got.ravel().tolist() == [210.0, 3.0, 543.0, 12.0]


def test_concat_interleaves() -> None:
    def concat(layer: Any) -> None:
        layer.concatND.axis, layer.concatND.interleave = 1, True

    got = _run(_net(concat, ("a", (1, 2)), ("b", (1, 2))), a=np.array([[1.0, 2.0]]), b=np.array([[3.0, 4.0]]))
    assert got.tolist() == [[1.0, 3.0, 2.0, 4.0]]


@pytest.mark.parametrize(("axes", "wanted"), [([], [[7.0]]), ([0], [[7.0]]), ([1], [[2.0], [7.0]])])
def test_reduce_all_outweighs_the_axes(axes: list[int], wanted: list[list[float]]) -> None:
    def largest(layer: Any) -> None:
        layer.reduceMax.keepDims, layer.reduceMax.reduceAll = True, axes != [1]
        layer.reduceMax.axes.extend(axes)

    assert _run(_net(largest, ("x", (2, 2))), x=np.array([[1.0, 2.0], [3.0, 7.0]])).tolist() == wanted


def test_squeeze_all_leaves_no_axis_of_one() -> None:
    def squeeze(layer: Any) -> None:
        layer.squeeze.squeezeAll = True

    assert _run(_net(squeeze, ("x", (1, 2, 1, 3))), x=np.zeros((1, 2, 1, 3))).shape == (2, 3)


def test_weights_of_a_convolution_may_be_data() -> None:
    def convolution(layer: Any) -> None:
        layer.convolution.outputChannels, layer.convolution.kernelChannels = 1, 1
        layer.convolution.kernelSize.extend([1, 2])
        layer.convolution.valid.SetInParent()

    spec = _net(convolution, ("x", (1, 1, 1, 3)), ("w", (1, 1, 1, 2)))
    got = _run(spec, x=np.array([[[[1.0, 2.0, 3.0]]]]), w=np.array([[[[10.0, 1.0]]]]))
    assert got.ravel().tolist() == [12.0, 23.0]


@pytest.mark.parametrize("padding", ["VALID", "CUSTOM"])
def test_a_convolution_over_three_axes(padding: str) -> None:
    weight, bias = np.arange(24.0).reshape(2, 1, 3, 2, 2), [1.0, -1.0]

    def convolution(layer: Any) -> None:
        settings = layer.convolution3d
        settings.outputChannels, settings.inputChannels, settings.nGroups = 2, 2, 2
        settings.kernelDepth, settings.kernelHeight, settings.kernelWidth = 3, 2, 2
        settings.strideDepth, settings.strideHeight, settings.strideWidth = 1, 2, 1
        settings.paddingType = settings.PaddingType.Value(padding)
        settings.customPaddingFront, settings.customPaddingBack = 1, 1
        settings.customPaddingLeft, settings.customPaddingRight = 2, 2
        settings.hasBias = True
        settings.weights.floatValue.extend(weight.ravel())
        settings.bias.floatValue.extend(bias)

    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4, 5))
    given = torch.tensor(x)
    if padding == "CUSTOM":
        given = functional.pad(given, (2, 2, 0, 0, 1, 1))
    want = functional.conv3d(given, torch.tensor(weight), torch.tensor(bias, dtype=torch.float64), (1, 2, 1), groups=2)
    assert _run(_net(convolution, ("x", x.shape)), x=x) == pytest.approx(want.numpy())


def _eighths(*shape: int) -> Any:
    """Numbers that half precision holds."""
    return np.random.default_rng(len(shape)).integers(-16, 17, shape) / 8


def _parsed(text: str, **weights: Any) -> Callable[[Any], None]:
    """What fills a layer with protobuf's text, where a word in capitals stands for weights."""
    from google.protobuf import text_format

    for name, values in weights.items():
        text = text.replace(name, f"{{ floatValue: [{', '.join(str(each) for each in np.ravel(values))}] }}")

    def fill(layer: Any) -> None:
        text_format.Parse(text, layer)

    return fill


FLAT, DEEP = _eighths(2, 2, 5, 6), _eighths(1, 2, 3, 4, 3)
W33, W32, W22, W333 = _eighths(3, 2, 3, 3), _eighths(3, 2, 3, 2), _eighths(1, 2, 2, 2), _eighths(2, 2, 2, 3, 2)
TURNED, DEEP_TURNED = _eighths(2, 2, 3, 2), _eighths(2, 2, 2, 2, 1)
BY_GROUP, B3, B4 = _eighths(4, 1, 3, 3), np.array([0.5, -1.0, 2.0]), np.array([0.5, -1.0, 2.0, 0.25])
_CUSTOM = "valid { paddingAmounts { borderAmounts: [{startEdgeSize: 1 endEdgeSize: 2}, {endEdgeSize: 1}] } }"
_TURNED = "isDeconvolution: true outputChannels: 4 kernelChannels: 2 nGroups: 2 kernelSize: [3, 2] stride: [2, 3]"
_DEEP = "kernelDepth: 2 kernelHeight: 3 kernelWidth: 2 outputChannels: 2 inputChannels: 2"
_DEEP_TURNED = (
    "isDeconvolution: true outputChannels: 4 inputChannels: 2 nGroups: 2 kernelDepth: 2 kernelHeight: 2 kernelWidth: 1"
    " strideDepth: 2 strideHeight: 3 strideWidth: 1"
)


def _padded(x: Any, *amounts: int) -> Any:
    """By the last axis first, before and after."""
    return functional.pad(torch.tensor(x), amounts)


def _flat(x: Any, weight: Any, bias: Any = None, **how: Any) -> Any:
    return functional.conv2d(
        torch.as_tensor(x), torch.tensor(weight), None if bias is None else torch.tensor(bias), **how
    )


def _back(weight: Any, bias: Any, **how: Any) -> Any:
    return functional.conv_transpose2d(torch.tensor(FLAT), torch.tensor(weight), torch.tensor(bias), groups=2, **how)


_BACK = _back(TURNED, B4, stride=(2, 3), output_padding=1)
CONVOLUTIONS: dict[str, tuple[str, Any, Any]] = {
    "as it is by default": (
        "convolution { outputChannels: 3 kernelChannels: 2 weights W33 valid {} }",
        FLAT,
        _flat(FLAT, W33),
    ),
    "by groups": (
        "convolution { outputChannels: 4 kernelChannels: 1 nGroups: 2 weights BY_GROUP valid {} }",
        FLAT,
        _flat(FLAT, BY_GROUP, groups=2),
    ),
    "with steps, holes, borders and a bias": (
        (
            "convolution { outputChannels: 3 kernelChannels: 2 kernelSize: [3, 2] stride: [2, 1] "
            f"dilationFactor: [1, 2] weights W32 hasBias: true bias B3 {_CUSTOM} }}"
        ),
        FLAT,
        _flat(_padded(FLAT, 0, 1, 1, 2), W32, B3, stride=(2, 1), dilation=(1, 2)),
    ),
    "of the same size, more at the end": (
        "convolution { outputChannels: 1 kernelChannels: 2 kernelSize: [2, 2] weights W22 same {} }",
        FLAT,
        _flat(_padded(FLAT, 0, 1, 0, 1), W22),
    ),
    "of the same size, more at the beginning": (
        (
            "convolution { outputChannels: 1 kernelChannels: 2 kernelSize: [2, 2] weights W22 "
            "same { asymmetryMode: TOP_LEFT_HEAVY } }"
        ),
        FLAT,
        _flat(_padded(FLAT, 1, 0, 1, 0), W22),
    ),
    "turned round": (
        f"convolution {{ {_TURNED} weights FLIPPED hasBias: true bias B4 valid {{}} }}",
        FLAT,
        _BACK[..., :-1, :-1],
    ),
    "turned round to a size": (
        f"convolution {{ {_TURNED} weights FLIPPED hasBias: true bias B4 outputShape: [12, 18] valid {{}} }}",
        FLAT,
        _BACK,
    ),
    "turned round and cut": (
        f"convolution {{ {_TURNED} weights FLIPPED hasBias: true bias B4 {_CUSTOM} }}",
        FLAT,
        _BACK[..., 1:-3, :-2],
    ),
    "turned round without groups": (
        (
            "convolution { isDeconvolution: true outputChannels: 2 kernelChannels: 2 kernelSize: [3, 2] "
            "weights FLIPPED valid {} }"
        ),
        FLAT,
        functional.conv_transpose2d(torch.tensor(FLAT), torch.tensor(TURNED)),
    ),
    "over three axes with steps and holes": (
        (
            f"convolution3d {{ {_DEEP} strideDepth: 1 strideHeight: 1 strideWidth: 2 dilationDepth: 2 weights W333 "
            "paddingType: VALID }"
        ),
        DEEP,
        functional.conv3d(torch.tensor(DEEP), torch.tensor(W333), stride=(1, 1, 2), dilation=(2, 1, 1)),
    ),
    "over three axes of the same size": (
        f"convolution3d {{ {_DEEP} weights W333 paddingType: SAME }}",
        DEEP,
        functional.conv3d(_padded(DEEP, 0, 1, 1, 1, 0, 1), torch.tensor(W333)),
    ),
    "over three axes turned round": (
        f"convolution3d {{ {_DEEP_TURNED} weights DEEP_TURNED paddingType: VALID }}",
        DEEP,
        functional.conv_transpose3d(
            torch.tensor(DEEP), torch.tensor(DEEP_TURNED.swapaxes(0, 1)), None, (2, 3, 1), groups=2
        ),
    ),
    "over three axes turned round to a size": (
        (
            f"convolution3d {{ {_DEEP_TURNED} weights DEEP_TURNED hasBias: true bias B4 outputShape: [7, 12, 3] "
            "paddingType: VALID }"
        ),
        DEEP,
        functional.conv_transpose3d(
            torch.tensor(DEEP), torch.tensor(DEEP_TURNED.swapaxes(0, 1)), torch.tensor(B4), (2, 3, 1), 0, (1, 1, 0), 2
        ),
    ),
    "pooling by default": ("pooling { type: MAX valid {} }", FLAT, functional.max_pool2d(torch.tensor(FLAT), 3, 1)),
    "pooling to the same size": (
        "pooling { type: MAX kernelSize: [2, 2] same {} }",
        FLAT,
        functional.max_pool2d(functional.pad(torch.tensor(FLAT), (0, 1, 0, 1), value=-np.inf), 2, 1),
    ),
    "pooling of squares": (
        "pooling { type: L2 kernelSize: [2, 3] stride: [1, 2] valid {} }",
        FLAT,
        (functional.avg_pool2d(torch.tensor(FLAT) ** 2, (2, 3), (1, 2)) * 6).sqrt(),
    ),
    "pooling with the padding": (
        f"pooling {{ type: AVERAGE kernelSize: [2, 3] stride: [2, 1] {_CUSTOM} }}",
        FLAT,
        functional.avg_pool2d(_padded(FLAT, 0, 1, 1, 2), (2, 3), (2, 1)),
    ),
    "pooling without the padding": (
        (
            "pooling { type: AVERAGE kernelSize: [2, 3] avgPoolExcludePadding: true valid { paddingAmounts { "
            "borderAmounts: [{startEdgeSize: 1}, {endEdgeSize: 1}] } } }"
        ),
        FLAT,
        functional.avg_pool2d(_padded(FLAT, 0, 1, 1, 0), (2, 3), 1)
        / functional.avg_pool2d(_padded(np.ones_like(FLAT), 0, 1, 1, 0), (2, 3), 1),
    ),
    "pooling to the last pixel": (
        "pooling { type: MAX kernelSize: [3, 2] stride: [2, 3] includeLastPixel { paddingAmounts: [1, 0] } }",
        FLAT,
        functional.max_pool2d(torch.tensor(FLAT), (3, 2), (2, 3), (1, 0), ceil_mode=True),
    ),
    "pooling to the last pixel without padding": (
        "pooling { type: MAX kernelSize: [2, 2] stride: [2, 2] includeLastPixel {} }",
        FLAT,
        functional.max_pool2d(torch.tensor(FLAT), 2, 2, ceil_mode=True),
    ),
    "pooling over all whatever else is set": (
        (
            "pooling { type: MAX globalPooling: true kernelSize: [2, 2] stride: [2, 2] avgPoolExcludePadding: true "
            "valid {} }"
        ),
        FLAT,
        FLAT.max((2, 3), keepdims=True),
    ),
    "pooling over all of a sequence": (
        "pooling { type: MAX globalPooling: true valid {} }",
        DEEP,
        DEEP.max((3, 4), keepdims=True),
    ),
    "pooling over all three axes": ("globalPooling3d { type: AVERAGE }", DEEP, DEEP.mean((2, 3, 4), keepdims=True)),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_what_a_window_sees_is_as_torch_says(case: str) -> None:
    text, x, want = CONVOLUTIONS[case]
    weights = {
        "DEEP_TURNED": DEEP_TURNED,
        "FLIPPED": TURNED,
        "BY_GROUP": BY_GROUP,
        "W333": W333,
        "W33": W33,
        "W32": W32,
        "W22": W22,
        "B3": B3,
        "B4": B4,
    }
    got = _run(_net(_parsed(text, **weights), ("x", x.shape)), x=x)
    assert got.shape == want.shape
    assert got == pytest.approx(np.asarray(want))


@pytest.mark.parametrize(("kind", "want"), [("AVERAGE", 2.5), ("MAX", 4.0), ("L2", 30.0**0.5)])
def test_pooling_over_everything(kind: str, want: float) -> None:
    def flat(layer: Any) -> None:
        layer.pooling.globalPooling = True
        layer.pooling.type = layer.pooling.PoolingType.Value(kind)
        layer.pooling.valid.SetInParent()

    def deep(layer: Any) -> None:
        layer.globalPooling3d.type = layer.globalPooling3d.GlobalPoolingType3D.Value(kind)

    x = np.array([1.0, 2.0, 3.0, 4.0])
    got = _run(_net(flat, ("x", (1, 1, 2, 2))), x=x.reshape(1, 1, 2, 2))
    assert (got.shape, got.item()) == ((1, 1, 1, 1), pytest.approx(want))
    if kind != "L2":
        got = _run(_net(deep, ("x", (1, 1, 1, 2, 2))), x=x.reshape(1, 1, 1, 2, 2))
        assert (got.shape, got.item()) == ((1, 1, 1, 1, 1), want)


@pytest.mark.parametrize(("kind", "excludes"), [("MAX", False), ("AVERAGE", True), ("AVERAGE", False)])
def test_pooling_over_three_axes(kind: str, excludes: bool) -> None:
    def pooling(layer: Any) -> None:
        settings = layer.pooling3d
        settings.type = settings.PoolingType3D.Value(kind)
        settings.kernelDepth, settings.kernelHeight, settings.kernelWidth = 1, 2, 3
        settings.strideDepth, settings.strideHeight, settings.strideWidth = 1, 1, 2
        settings.paddingType = settings.Pooling3DPaddingType.Value("CUSTOM")
        settings.customPaddingTop = settings.customPaddingBottom = 1
        settings.customPaddingLeft = settings.customPaddingRight = 1
        settings.countExcludePadding = excludes

    x = np.random.default_rng(0).standard_normal((1, 1, 2, 4, 5))
    size, steps, borders = (1, 2, 3), (1, 1, 2), (0, 1, 1)
    if kind == "MAX":
        want = functional.max_pool3d(torch.tensor(x), size, steps, borders)
    else:
        want = functional.avg_pool3d(torch.tensor(x), size, steps, borders, count_include_pad=not excludes)
    assert _run(_net(pooling, ("x", x.shape)), x=x) == pytest.approx(want.numpy())


@pytest.mark.parametrize(("turns_a", "turns_b"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_product_of_two_tensors_turns_either(turns_a: bool, turns_b: bool) -> None:
    def product(layer: Any) -> None:
        layer.batchedMatmul.transposeA, layer.batchedMatmul.transposeB = turns_a, turns_b

    a, b = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4)
    first, second = a.T if turns_a else a, b.T if turns_b else b
    got = _run(_net(product, ("a", first.shape), ("b", second.shape)), a=first, b=second)
    assert got.tolist() == (a @ b).tolist()


@pytest.mark.parametrize(("bits", "raw"), [(8, [1, 2, 3, 4, 5, 6]), (4, [0x12, 0x34, 0x56])])
@pytest.mark.parametrize("kind", ["scaled", "scaled and moved", "by table"])
def test_quantised_weights_have_a_scale_for_each_output_or_a_table(bits: int, raw: list[int], kind: str) -> None:
    def product(layer: Any) -> None:
        layer.innerProduct.inputChannels, layer.innerProduct.outputChannels = 3, 2
        weights = layer.innerProduct.weights
        weights.rawValue = bytes(raw)
        weights.quantization.numberOfBits = bits
        if kind == "by table":
            weights.quantization.lookupTableQuantization.floatValue.extend(np.arange(2.0**bits) * 10)
            return
        weights.quantization.linearQuantization.scale.extend([2.0, 3.0])
        if kind == "scaled and moved":
            weights.quantization.linearQuantization.bias.extend([0.5, -1.0])

    stored = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    scaled = stored * [[2.0], [3.0]]
    want = {"scaled": scaled, "scaled and moved": np.add(scaled, [[0.5], [-1.0]]), "by table": stored * 10}[kind]
    got = [_run(_net(product, ("x", (1, 3))), x=each[None]).ravel() for each in np.eye(3)]
    assert np.transpose(got).tolist() == want.tolist()


@pytest.mark.parametrize("mode", ["NN", "BILINEAR"])
def test_upsampling_has_a_factor_for_each_axis(mode: str) -> None:
    def upsample(layer: Any) -> None:
        layer.upsample.scalingFactor.extend([2, 3])
        layer.upsample.mode = layer.upsample.InterpolationMode.Value(mode)
        if mode == "BILINEAR":
            layer.upsample.linearUpsampleMode = layer.upsample.LinearUpsampleMode.Value("ALIGN_CORNERS_TRUE")

    x = np.random.default_rng(0).standard_normal((1, 2, 3, 2))
    aligned = {"mode": "bilinear", "align_corners": True} if mode == "BILINEAR" else {"mode": "nearest"}
    interpolate: Any = functional.interpolate
    want = interpolate(torch.tensor(x), scale_factor=(2, 3), **aligned)
    assert _run(_net(upsample, ("x", x.shape)), x=x) == pytest.approx(want.numpy())


@pytest.mark.parametrize(("axis", "at"), [("CHANNEL_AXIS", 1), ("HEIGHT_AXIS", 2), ("WIDTH_AXIS", 3)])
@pytest.mark.parametrize(("end", "step"), [(4, 2), (-1, 1), (3, 0)])
def test_a_slice_begins_ends_and_steps_along_its_axis(axis: str, at: int, end: int, step: int) -> None:
    def part(layer: Any) -> None:
        layer.slice.startIndex, layer.slice.endIndex, layer.slice.stride = 1, end, step
        layer.slice.axis = layer.slice.SliceAxis.Value(axis)

    x = np.arange(625.0).reshape(1, 5, 5, 25)
    want = np.moveaxis(np.moveaxis(x, at, 0)[1 : end : step or 1], 0, at)
    assert _run(_net(part, ("x", x.shape)), x=x).tolist() == want.tolist()


def test_quantised_weights_that_are_too_few_are_refused() -> None:
    def product(layer: Any) -> None:
        layer.innerProduct.inputChannels, layer.innerProduct.outputChannels = 3, 2
        layer.innerProduct.weights.rawValue = bytes(5)
        layer.innerProduct.weights.quantization.numberOfBits = 8

    with pytest.raises(UnreadableFileError, match="quantised weights of layer 'layer' are not as many"):
        neuralnetwork.read(_net(product, ("x", (1, 3))))


def test_an_activation_has_its_parameters_by_channel() -> None:
    def prelu(layer: Any) -> None:
        layer.activation.PReLU.alpha.floatValue.extend([0.5, 0.25])

    def softplus(layer: Any) -> None:
        layer.activation.parametricSoftplus.alpha.floatValue.extend([0.5, 0.25])
        layer.activation.parametricSoftplus.beta.floatValue.extend([2.0, 4.0])

    x = np.array([-4.0, 4.0, -8.0, 8.0]).reshape(1, 2, 1, 2)
    assert _run(_net(prelu, ("x", x.shape)), x=x).ravel().tolist() == [-2.0, 4.0, -2.0, 8.0]
    alpha, beta = (np.array(each).reshape(1, 2, 1, 1) for each in ([0.5, 0.25], [2.0, 4.0]))
    want = alpha * np.log1p(np.exp(beta * x))
    assert _run(_net(softplus, ("x", x.shape)), x=x) == pytest.approx(want)


def test_a_bias_and_a_scale_have_a_shape_of_their_own() -> None:
    def bias(layer: Any) -> None:
        layer.bias.shape.extend([2, 1, 1])
        layer.bias.bias.floatValue.extend([1.0, -1.0])

    def scale(layer: Any) -> None:
        layer.scale.shapeScale.extend([2, 1, 1])
        layer.scale.scale.floatValue.extend([2.0, 3.0])
        layer.scale.hasBias = True
        layer.scale.shapeBias.extend([1])
        layer.scale.bias.floatValue.append(0.5)

    x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 2, 1, 2)
    assert _run(_net(bias, ("x", x.shape)), x=x).ravel().tolist() == [2.0, 3.0, 2.0, 3.0]
    assert _run(_net(scale, ("x", x.shape)), x=x).ravel().tolist() == [2.5, 4.5, 9.5, 12.5]


@pytest.mark.parametrize("is_fed", [True, False])
def test_one_hot_has_its_size_from_an_input_or_from_itself(is_fed: bool) -> None:
    def one_hot(layer: Any) -> None:
        layer.oneHot.oneHotVectorSize, layer.oneHot.axis = 0 if is_fed else 3, -1
        layer.oneHot.onValue, layer.oneHot.offValue = 5.0, -1.0

    inputs: list[tuple[str, tuple[int, ...]]] = [("x", (2,)), ("size", (1,))]
    feeds = {"x": np.array([2.0, 0.0]), "size": np.array([4.0])}
    chosen = inputs if is_fed else inputs[:1]
    got = _run(_net(one_hot, *chosen), **{name: feeds[name] for name, _ in chosen})
    off = [-1.0] * (4 if is_fed else 3)
    assert got.tolist() == [[*off[:2], 5.0, *off[3:]], [5.0, *off[1:]]]


def test_a_padding_that_is_not_set_is_refused() -> None:
    def pooling(layer: Any) -> None:
        layer.pooling.kernelSize.extend([2, 2])

    def everything(layer: Any) -> None:
        layer.pooling.globalPooling = True
        layer.pooling.includeLastPixel.SetInParent()

    for fill, words in ((pooling, "padding unset"), (everything, "padding includeLastPixel")):
        with pytest.raises(UnsupportedOpError, match=words):
            neuralnetwork.read(_net(fill, ("x", (1, 1, 2, 2))))


def test_an_input_may_have_any_size_of_its_range() -> None:
    spec = _net(lambda layer: layer.activation.ReLU.SetInParent(), ("x", (1, 3)))
    for low, high in ((1, 1), (1, 10)):
        spec.description.input[0].type.multiArrayType.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    assert _run(spec, x=np.ones((1, 5))).shape == (1, 5)
    with pytest.raises(UsageError, match=r"\(1, 1\.\.10\)"):
        _run(spec, x=np.ones((2, 5)))


LONG = 5000


def test_a_place_beyond_what_half_precision_counts_is_found() -> None:
    """Half precision holds every whole number up to 2048 only: 2049 would be 2048, and 4999 would be 5000."""
    spec = _net(lambda layer: layer.argMax.SetInParent(), ("x", (LONG,)))
    x = np.zeros(LONG)
    x[2049] = 1.0
    assert _in_half(spec, x=x).tolist() == [2049]


@pytest.mark.parametrize("declared", [131104, 65568, 65600], ids=["INT32", "FLOAT32", "DOUBLE"])
def test_a_place_that_is_computed_is_exact(declared: int) -> None:
    """Of the last element: the last place that counts, from the end, and back; as a vocabulary is looked up."""
    spec = _net(lambda layer: layer.loadConstantND.SetInParent(), ("i", (1,)), names=("table",))
    spec.description.input[0].type.multiArrayType.dataType = declared  # FeatureTypes.proto, ArrayDataType
    spec.description.output[0].name = "y"
    (table,) = spec.neuralNetwork.layers
    del table.input[:]
    table.loadConstantND.shape.append(LONG)
    table.loadConstantND.data.floatValue.extend(np.arange(LONG) % 100)
    length = spec.neuralNetwork.layers.add(name="length", output=["length"]).loadConstantND
    length.shape.append(1)
    length.data.floatValue.append(LONG - 1)
    ahead = spec.neuralNetwork.layers.add(name="ahead", input=["length", "i"], output=["ahead"])
    ahead.subtractBroadcastable.SetInParent()
    spec.neuralNetwork.layers.add(name="y", input=["table", "ahead"], output=["y"]).gather.SetInParent()
    assert [_in_half(spec, i=np.array([each])).tolist() for each in (0, 1, 2049)] == [[99.0], [98.0], [50.0]]


def test_a_number_that_is_more_than_a_place_is_rounded_like_any_other() -> None:
    """What the index is beyond 2047 is added to what it finds: a value, and half precision holds 2048 for 2049."""
    spec = _net(lambda layer: layer.loadConstantND.SetInParent(), ("i", (1,)), names=("table",))
    (table,) = spec.neuralNetwork.layers
    del table.input[:]
    table.loadConstantND.shape.append(LONG)
    table.loadConstantND.data.floatValue.extend([0.0] * LONG)
    spec.neuralNetwork.layers.add(name="found", input=["table", "i"], output=["found"]).gather.SetInParent()
    spec.neuralNetwork.layers.add(name="rest", input=["i"], output=["rest"]).add.alpha = -2047.0
    spec.neuralNetwork.layers.add(name="y", input=["found", "rest"], output=["y"]).addBroadcastable.SetInParent()
    spec.description.output[0].name = "y"
    assert _in_half(spec, i=np.array([2049.0])).tolist() == [1.0]


def test_a_fraction_of_a_place_is_none() -> None:
    def half(layer: Any) -> None:
        layer.multiply.alpha = 0.5

    spec = _net(half, ("i", (1,)))
    spec.description.input[0].type.multiArrayType.dataType = 131104
    assert _run(spec, i=np.array([3])).tolist() == [1.5]


@pytest.mark.parametrize(
    ("opset", "shape", "asked", "wanted"),
    [
        (15, (2, 3, 4), [0, -1], (2, 12)),
        (17, (2, 3, 4), [0, -1], (3, 8)),
        (17, (2, 3), [1, 0, -1, 0], (1, 1, 2, 3)),
    ],
)
def test_a_zero_of_reshape_counts_from_the_right_since_ios_17(
    opset: int, shape: tuple[int, ...], asked: list[int], wanted: tuple[int, ...]
) -> None:
    assert _reshaped(opset, shape, asked, None).shape == wanted


def test_a_shape_that_an_operation_does_not_yield_is_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"\(2, 12\).*declares \(3, 8\)"):
        _reshaped(15, (2, 3, 4), [0, -1], (3, 8))


def _reshaped(opset: int, shape: tuple[int, ...], asked: list[int], declared: tuple[int, ...] | None) -> Any:
    node = Node(
        op="reshape",
        name="y",
        operands={"x": Ref("x"), "shape": np.array(asked)},
        outputs=(Tensor(name="y", dtype=DType.FP16, shape=declared),),
        opset=opset,
    )
    graph = Graph(
        inputs=(Tensor(name="x", dtype=DType.FP16, shape=shape),), constants={}, nodes=(node,), outputs=("y",)
    )
    return evaluate(graph, {"x": np.zeros(shape)}, Exact())["y"]


def test_an_output_may_be_a_constant() -> None:
    graph = Graph(inputs=(), constants={"c": np.array([1.0, 2.0])}, nodes=(), outputs=("c",))
    assert evaluate(graph, {}, Exact())["c"].tolist() == [1.0, 2.0]
