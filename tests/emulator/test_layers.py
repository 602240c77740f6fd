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
from mish_guard.engines.emulator.neuralnetwork.settings import Layer
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
