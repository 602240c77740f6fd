"""What few models ask for: preprocessing of images, functions by name, branches without another, narrow constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import mlprogram, neuralnetwork, replay, sequence, specification
from mish_guard.engines.emulator.arithmetic import Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.errors import UnreadableFileError, UnsupportedOpError
from mish_guard.scan import trial


def _of_image(space: str, feature: str = "") -> Any:
    """A network that hands its image on, scaled."""
    spec = specification.model()
    spec.specificationVersion = 4
    image = spec.description.input.add(name="x").type.imageType
    image.width, image.height = 1, 1
    image.colorSpace = image.ColorSpace.Value(space)
    spec.description.output.add(name="y")
    network = spec.neuralNetwork
    network.layers.add(name="same", input=["x"], output=["y"]).activation.linear.alpha = 1.0
    scaler = network.preprocessing.add(featureName=feature).scaler
    scaler.channelScale = 2.0
    scaler.redBias, scaler.greenBias, scaler.blueBias, scaler.grayBias = 1.0, 2.0, 3.0, 4.0
    return spec


@pytest.mark.parametrize(
    ("space", "feature", "want"),
    [
        ("RGB", "", [21, 22, 23]),
        ("RGB", "x", [21, 22, 23]),
        ("BGR", "", [23, 22, 21]),
        ("GRAYSCALE", "", [24]),
        ("RGB", "other", [10, 10, 10]),
    ],
)
def test_an_image_is_scaled_and_moved_by_the_bias_of_each_colour(space: str, feature: str, want: list[float]) -> None:
    graph = neuralnetwork.read(_of_image(space, feature))
    got = evaluate(graph, {"x": np.full((1, len(want), 1, 1), 10.0)}, Exact())["y"]
    assert np.ravel(got).tolist() == want


def test_a_mean_image_is_refused() -> None:
    spec = _of_image("RGB")
    spec.neuralNetwork.preprocessing[0].meanImage.meanImage.extend([0.0])
    with pytest.raises(UnsupportedOpError, match="meanImage"):
        neuralnetwork.read(spec)


def _network(text: str, outputs: tuple[str, ...] = ("y",), **shapes: tuple[int, ...]) -> Any:
    """A spec whose network stands in protobuf's text."""
    from google.protobuf import text_format

    spec = specification.model()
    spec.specificationVersion = 4
    text_format.Parse(text, spec)
    for name, shape in shapes.items():
        spec.description.input.add(name=name).type.multiArrayType.shape.extend(shape)
    for name in outputs:
        spec.description.output.add(name=name)
    return spec


SAME = 'layers { name: "same" input: "x" output: "y" activation { linear { alpha: 1 } } } '
THEN = (
    'layers { name: "idle" input: "x" output: "w" activation { ReLU {} } } '
    'layers { name: "turned" input: "x" output: "z" activation { linear { alpha: -1 } } } '
)


@pytest.mark.parametrize(
    ("labels", "which", "want"),
    [
        ('stringClassLabels { vector: ["cat", "dog"] }', "", "cat"),
        ('stringClassLabels { vector: ["cat", "dog"] } labelProbabilityLayerName: "y"', "y", "dog"),
        ("int64ClassLabels { vector: [3, 7] }", "", 3),
    ],
)
def test_a_classifier_names_the_most_probable_class_of_its_last_layer_or_of_another(
    labels: str, which: str, want: str | int
) -> None:
    text = f"neuralNetworkClassifier {{ arrayInputShapeMapping: 1 {SAME} {THEN} {labels} }}"
    spec = _network(text, ("label", "shares"), x=(2,))
    spec.description.predictedFeatureName, spec.description.predictedProbabilitiesName = "label", "shares"
    graph = neuralnetwork.read(spec)
    got = evaluate(graph, {"x": np.array([0.25, 0.75])}, Exact())
    assert got["label"] == want
    shares: Any = got["shares"]
    assert list(shares.values()) == ([0.25, 0.75] if which else [-0.25, -0.75])
    named = graph.nodes[-1]
    assert (named.name, {(each.dtype, each.shape) for each in named.outputs}) == ("label", {(DType.OBJECT, None)})


def test_a_classifier_without_classes_is_refused() -> None:
    with pytest.raises(UnreadableFileError, match="names no classes"):
        neuralnetwork.read(_network(f"neuralNetworkClassifier {{ arrayInputShapeMapping: 1 {SAME} }}", x=(2,)))


def test_a_regressor_is_a_network_and_a_pipeline_is_none() -> None:
    graph = neuralnetwork.read(_network(f"neuralNetworkRegressor {{ arrayInputShapeMapping: 1 {SAME} }}", x=(2,)))
    assert evaluate(graph, {"x": np.array([1.0, 2.0])}, Exact())["y"].tolist() == [1.0, 2.0]
    with pytest.raises(UnsupportedOpError, match="type 'pipeline' is no neural network"):
        neuralnetwork.read(_network("pipeline {}", x=(2,)))


def test_arrays_of_rank_5_whatever_they_are_declared_are_refused() -> None:
    with pytest.raises(UnsupportedOpError, match="map arrays to rank 5"):
        neuralnetwork.read(_network(f"neuralNetwork {{ {SAME} }}", x=(2,)))


def test_a_layer_without_an_output_is_refused() -> None:
    text = 'neuralNetwork { arrayInputShapeMapping: 1 layers { name: "end" input: "x" softmax {} } }'
    with pytest.raises(UnreadableFileError, match=r"'end' \(softmax\) has no output"):
        neuralnetwork.read(_network(text, x=(2,)))


_FOUND = """neuralNetwork { arrayInputShapeMapping: 1
    layers { name: "table" output: "table" loadConstantND { shape: 2 data { floatValue: [5, 7] } } }
    layers { name: "found" input: "table" input: "x" output: "y" gather {} } }"""


@pytest.mark.parametrize(
    ("single", "place", "found"), [(False, DType.FP32, DType.FP16), (True, DType.FP32, DType.FP32)]
)
def test_a_place_keeps_its_digits_and_all_do_in_single_precision(single: bool, place: DType, found: DType) -> None:
    graph = neuralnetwork.read(_network(_FOUND, x=(1,)), single=single)
    (node,) = graph.nodes
    assert (graph.inputs[0].dtype, node.outputs[0].dtype) == (place, found)


def test_a_whole_input_is_of_whole_numbers_and_another_is_not() -> None:
    spec = _network(f"neuralNetwork {{ arrayInputShapeMapping: 1 {SAME} }}", x=(1,), i=(1,))
    spec.description.input[1].type.multiArrayType.dataType = 131104  # FeatureTypes.proto, INT32
    assert [each.dtype for each in neuralnetwork.read(spec).inputs] == [DType.FP16, DType.INT]


@pytest.mark.parametrize("kind", ["loadConstant", "loadConstantND"])
def test_a_constant_of_either_kind_is_one(kind: str) -> None:
    text = f'layers {{ name: "c" output: "y" {kind} {{ shape: [1, 1, 2] data {{ floatValue: [1, 2] }} }} }}'
    graph = neuralnetwork.read(_network(f"neuralNetwork {{ {text} }}"))
    assert evaluate(graph, {}, Exact())["y"].tolist() == [[[1.0, 2.0]]]


MOVED = 'layers { name: "moved" input: "y" output: "y" add { alpha: 2 } } '
TURNED = 'layers { name: "turned" input: "y" output: "y" multiply { alpha: -1 } } '


@pytest.mark.parametrize(
    ("other", "taken", "want"), [("", 1.0, 7.0), ("", 0.0, 5.0), (TURNED, 1.0, 7.0), (TURNED, 0.0, -5.0)]
)
def test_a_branch_of_a_network_is_taken_or_the_other(other: str, taken: float, want: float) -> None:
    inside = f"ifBranch {{ {MOVED} }} " + (f"elseBranch {{ {other} }}" if other else "")
    text = f'{SAME} layers {{ name: "fork" input: "p" branch {{ {inside} }} }}'
    graph = neuralnetwork.read(_network(f"neuralNetwork {{ arrayInputShapeMapping: 1 {text} }}", x=(1,), p=(1,)))
    assert len(graph.nodes[-1].blocks) == (2 if other else 1)
    got = evaluate(graph, {"x": np.array([5.0]), "p": np.array([taken])}, Exact())
    assert got["y"].tolist() == [want]


@pytest.mark.parametrize(("most", "want"), [(0, [6.0]), (9, [6.0]), (2, [4.0])])
def test_a_loop_of_a_network_ends_by_its_condition_or_after_so_many_turns(most: int, want: list[float]) -> None:
    condition = 'conditionVar: "on" conditionNetwork { layers { input: "y" output: "on" lessThan { alpha: 5 } } }'
    text = f"loop {{ maxLoopIterations: {most} {condition} bodyNetwork {{ {MOVED} }} }}"
    text = f'neuralNetwork {{ arrayInputShapeMapping: 1 {SAME} layers {{ name: "again" {text} }} }}'
    graph = neuralnetwork.read(_network(text, x=(1,)))
    assert (graph.nodes[-1].op, graph.nodes[-1].name) == ("nn_loop", "again")
    assert evaluate(graph, {"x": np.array([0.0])}, Exact())["y"].tolist() == want


def test_a_loop_without_a_condition_is_refused() -> None:
    text = (
        f'neuralNetwork {{ arrayInputShapeMapping: 1 layers {{ name: "again" loop {{ bodyNetwork {{ {MOVED} }} }} }} }}'
    )
    with pytest.raises(UnsupportedOpError, match=r"a loop without a condition \('again'\)"):
        neuralnetwork.read(_network(text, x=(1,)))


@pytest.mark.parametrize(
    ("declared", "want"),
    [
        ("outputTensor { rank: 2 }", [("y.0", None), ("y", (None, None))]),
        ("outputTensor { rank: 1 }", [("y.0", None), ("y", (None,))]),
        ("outputTensor {}", [("y.0", None), ("y", None)]),
        ("outputTensor { rank: 1 } outputTensor { rank: 2 }", [("y.0", None), ("y", None)]),
        ("", [("y.0", None), ("y", None)]),
    ],
)
def test_the_rank_that_a_layer_declares_is_that_of_its_last_operation(
    declared: str, want: list[tuple[str, tuple[None, ...] | None]]
) -> None:
    layer = f'layers {{ input: "x" output: "y" {declared} activation {{ linear {{ alpha: 2 beta: 1 }} }} }}'
    graph = neuralnetwork.read(_network(f"neuralNetwork {{ arrayInputShapeMapping: 1 {layer} }}", x=(1,)))
    assert [(node.name, node.outputs[0].shape) for node in graph.nodes] == want
    assert [(node.outputs[0].name, node.op) for node in graph.nodes] == [("y.0", "mul"), ("y", "add")]


_RANGES = "shapeRange { sizeRanges { lowerBound: 1 upperBound: 1 } sizeRanges { lowerBound: 2 upperBound: 4 } }"
_SIZES = "imageSizeRange { heightRange { lowerBound: 1 upperBound: 2 } widthRange { lowerBound: 1 upperBound: 2 } }"


@pytest.mark.parametrize(
    ("declared", "want"),
    [
        ("multiArrayType { shape: [2, 3] }", (2, 3)),
        ("multiArrayType {}", None),
        (f"multiArrayType {{ shape: [1, 2] {_RANGES} }}", (1, None)),
        ("multiArrayType { enumeratedShapes { shapes { shape: [4, 5] } } }", (4, 5)),
        ("multiArrayType { enumeratedShapes { shapes { shape: [4, 5] } shapes { shape: [3, 5] } } }", (None, 5)),
        ("multiArrayType { enumeratedShapes { shapes { shape: [4, 5] } shapes { shape: [3] } } }", None),
        ("imageType { height: 2 width: 3 colorSpace: RGB }", (1, 3, 2, 3)),
        ("imageType { height: 2 width: 3 colorSpace: GRAYSCALE }", (1, 1, 2, 3)),
        ("imageType { height: 2 width: 3 colorSpace: GRAYSCALE_FLOAT16 }", (1, 1, 2, 3)),
        (f"imageType {{ height: 2 width: 3 colorSpace: BGR {_SIZES} }}", (1, 3, None, None)),
    ],
)
def test_an_input_has_the_shape_that_is_declared_and_what_may_vary_is_open(
    declared: str, want: tuple[int | None, ...] | None
) -> None:
    text = f'description {{ input {{ name: "x" type {{ {declared} }} }} }} '
    graph = neuralnetwork.read(_network(f"{text} neuralNetwork {{ arrayInputShapeMapping: 1 {SAME} }}"))
    assert [each.shape for each in graph.inputs] == [want]


@pytest.mark.parametrize(("taken", "want"), [(1.0, 7.0), (0.0, 5.0)])
def test_a_branch_without_another_is_taken_or_does_nothing(taken: float, want: float) -> None:
    out = Tensor(name="y", dtype=DType.FP32, shape=None)
    inner = Node(op="add", name="y", operands={"x": Ref("y"), "y": np.array(2.0)}, outputs=(out,))
    first = Node(op="add", name="y", operands={"x": Ref("x"), "y": np.array(0.0)}, outputs=(out,))
    branch = Node(
        op="nn_branch",
        name="branch",
        operands={"pred": np.array([taken])},
        outputs=(),
        blocks=(Graph(inputs=(), constants={}, nodes=(inner,), outputs=()),),
    )
    given = Tensor(name="x", dtype=DType.FP32, shape=None)
    graph = Graph(inputs=(given,), constants={}, nodes=(first, branch), outputs=("y",))
    assert evaluate(graph, {"x": np.array([5.0])}, Exact())["y"].item() == want


def _program(*functions: str, default: str = "") -> Any:
    """A program with functions that each give a constant: 0 for the first, 1 for the second."""
    spec = specification.model()
    spec.specificationVersion = 9
    spec.description.defaultFunctionName = default
    spec.mlProgram.version = 1
    for number, name in enumerate(functions):
        function = spec.mlProgram.functions[name]
        function.opset = "CoreML8"
        block = function.block_specializations["CoreML8"]
        constant = block.operations.add(type="const")
        for kind in (constant.outputs.add(name="y").type, constant.attributes["val"].type):
            kind.tensorType.dataType = 11
        constant.attributes["val"].immediateValue.tensor.floats.values.append(number)
        block.outputs.append("y")
        if len(functions) > 1:
            spec.description.functions.add(name=name).output.add(name="y")
    return spec


@pytest.mark.parametrize(
    ("functions", "default", "asked", "want"),
    [
        (("alone",), "", "", 0),
        (("main", "other"), "", "", 0),
        (("first", "second"), "second", "", 1),
        (("first", "second"), "second", "first", 0),
    ],
)
def test_the_function_is_the_one_that_is_asked_for_the_default_the_only_one_or_main(
    functions: tuple[str, ...], default: str, asked: str, want: float
) -> None:
    chosen = mlprogram._function(_program(*functions, default=default), asked)
    (constant,) = chosen.block_specializations["CoreML8"].operations
    assert constant.attributes["val"].immediateValue.tensor.floats.values[0] == want


@pytest.mark.parametrize(
    ("asked", "words"), [("third", "no function 'third'; it has: a, b"), ("", "no function 'main'")]
)
def test_a_function_that_is_not_there_is_named_with_those_that_are(asked: str, words: str) -> None:
    with pytest.raises(UnsupportedOpError, match=words):
        mlprogram._function(_program("b", "a"), asked)


@pytest.mark.parametrize(
    ("number", "packed", "want"),
    [
        (25, [0xF1, 0x07], [1, -1, 7]),
        (35, [0xF1, 0x07], [1, 15, 7]),
        (36, [0b101101], [1, 3, 2]),
        (37, [0b101], [1, 0, 1]),
    ],
)
def test_narrow_constants_are_unpacked_with_their_sign(number: int, packed: list[int], want: list[int]) -> None:
    assert mlprogram._unpacked(bytes(packed), number, 3).tolist() == want


def test_a_shape_is_spelled_as_it_is_declared() -> None:
    def spelled(**declared: Any) -> str:
        return Tensor(name="x", dtype=DType.FP16, **declared).spelled

    assert spelled(shape=None) == "of any rank"
    assert spelled(shape=(3,)) == "(3,)"
    assert spelled(shape=(None, 3)) == "(?, 3)"
    assert spelled(shape=None, sizes=(((2, 2), (3, 3)), ((4, 4), (5, 5)))) == "(2, 3) or (4, 5)"


def test_a_pruned_graph_keeps_the_inputs_that_its_output_needs() -> None:
    names = {name: Tensor(name=name, dtype=DType.FP16, shape=None) for name in ("x", "unused", "y", "other")}
    relu = Node(op="relu", name="y", operands={"x": Ref("x")}, outputs=(names["y"],))
    other = Node(op="relu", name="other", operands={"x": Ref("unused")}, outputs=(names["other"],))
    graph = Graph(inputs=(names["x"], names["unused"]), constants={}, nodes=(relu, other), outputs=("y", "other"))
    left = sequence.pruned(graph, "y")
    assert (left.inputs, left.nodes, left.outputs) == ((names["x"],), (relu,), ("y",))


def test_many_numbers_are_told_by_the_first_and_how_many_they_are() -> None:
    assert replay._numbers(np.array([[1.0, 0.1]])) == "1, 0.0999755859"
    assert replay._numbers(np.arange(9.0)) == "0, 1, 2, 3, 4, 5, 6, 7, … (9 values)"
    assert replay._numbers(np.arange(8.0)) == "0, 1, 2, 3, 4, 5, 6, 7"


def test_what_a_prediction_gives_is_the_callers_to_write_to() -> None:
    given, half = (Tensor(name=name, dtype=DType.FP16, shape=(1, 2)) for name in ("x", "half"))
    place = Tensor(name="place", dtype=DType.INT, shape=(1,))
    where: dict[str, Any] = {"x": Ref("x"), "axis": np.array(1), "keep_dims": np.array(False)}
    nodes = (
        Node(op="relu", name="half", operands={"x": Ref("x")}, outputs=(half,)),
        Node(op="reduce_argmax", name="place", operands=where, outputs=(place,)),
    )
    stored = np.array([5])
    graph = Graph(inputs=(given,), constants={"stored": stored}, nodes=nodes, outputs=("half", "place", "stored"))
    for array in trial.predict(graph, {"x": np.ones((1, 2), np.float16)}, "ane").values():
        array[...] = 7
    assert stored.tolist() == [5]
