"""What few models ask for: preprocessing of images, functions by name, branches without another, narrow constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import mlprogram, neuralnetwork, replay, sequence, specification
from mish_guard.engines.emulator.arithmetic import Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.errors import UnsupportedOpError
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
