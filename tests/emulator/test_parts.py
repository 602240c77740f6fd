"""What stands around the walk: parts of a graph, descriptions, tables, sketches, and whether a model hangs together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import (
    EmulatorEngine,
    accuracy,
    described,
    mlprogram,
    neuralnetwork,
    package,
    reader,
    sequence,
    soundness,
    specification,
)
from mish_guard.engines.emulator.graph import MAX_ELEMENTS, DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.sketch import sketch
from mish_guard.errors import UnreadableFileError
from mish_guard.records import Device

X = Ref("x")
PATH = Path("model")


def _tensor(name: str, dtype: DType = DType.FP16) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=None)


def _node(op: str, *gives: str, dtype: DType = DType.FP16, **operands: Any) -> Node:
    name = gives[0] if gives else op
    return Node(op=op, name=name, operands=operands, outputs=tuple(_tensor(each, dtype) for each in gives), opset=18)


def _graph(*nodes: Node, inputs: str = "x", outputs: str = "y", **more: Any) -> Graph:
    constants = more.pop("constants", {})
    given = tuple(map(_tensor, inputs.split()))
    return Graph(inputs=given, constants=constants, nodes=nodes, outputs=tuple(outputs.split()), **more)


def _ops(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def test_what_an_output_needs_is_all_that_leads_to_it_and_to_the_states_it_reads() -> None:
    nodes = (
        _node("relu", "a", x=X),
        Node(op="write_state", name="kept", operands={"input": Ref("s"), "data": Ref("a")}, outputs=()),
        Node(op="write_state", name="lost", operands={"input": Ref("t"), "data": X}, outputs=()),
        _node("read_state", "b", input=Ref("s")),
        _node("split", "c", "d", x=Ref("b")),
        _node("relu", "e", x=Ref("c")),
        _node("concat", "y", values=(Ref("d"), Ref("z"))),
    )
    part = sequence.pruned(_graph(*nodes, inputs="x z unused"), "y")
    assert _ops(part) == ["a", "kept", "b", "c", "y"]
    assert [each.name for each in part.inputs] == ["x", "z"]
    handed_on = sequence.pruned(_graph(*nodes, outputs="x"), "x")
    assert ([each.name for each in handed_on.inputs], _ops(handed_on)) == (["x"], [])


def test_nothing_beyond_a_tensor_that_is_a_stop_is_needed() -> None:
    graph = _graph(_node("relu", "a", x=X), _node("relu", "b", x=Ref("a")), _node("relu", "y", x=Ref("b")))
    needed = [[node.name for node in sequence._needed(graph, "y", frozenset(stop))] for stop in ((), ("a",), ("b",))]
    assert needed == [["a", "b", "y"], ["b", "y"], ["y"]]


@pytest.mark.parametrize(
    ("value", "wanted", "is_equal"),
    [
        ([1.0, -2.0], [-2.0, 1.0], True),
        ([[1.0], [-2.0]], [-2.0, 1.0], True),
        ([1.0009999], [1.0], True),
        ([1.0010001], [1.0], False),
        ([-0.9990001], [-1.0], True),
        ([-0.9989999], [-1.0], False),
        ([0.999e-5], [0.0], True),
        ([1.001e-5], [0.0], False),
        ([1.0, 1.0], [1.0], False),
        ([1e-3 * 1e-2], [0.0], True),
        ([np.nan], [1.0], False),
        ([np.inf], [np.inf], False),
    ],
)
def test_tensors_are_equal_within_a_thousandth(value: list[Any], wanted: list[float], is_equal: bool) -> None:
    assert sequence._equal(np.array(value), np.array(wanted)) is is_equal


def test_integers_hold_no_values_of_mish() -> None:
    assert not sequence._equal(np.array([1, 2]), np.array([1.0, 2.0]))


def test_a_sequence_is_spelled_without_names() -> None:
    constants = {"half": np.array(0.5), "eight": np.arange(8.0), "nine": np.arange(9.0)}
    nodes = (
        _node("split", "a", "b", x=X, mode="same"),
        _node("add", "c", x=Ref("a"), y=Ref("half")),
        _node("concat", "d", values=(Ref("b"), Ref("c"), Ref("eight"))),
        Node(op="relu", name="e", operands={"x": Ref("nine")}, outputs=(_tensor("e", DType.FP32),)),
    )
    lines = sequence.spelled(_graph(*nodes, constants=constants), nodes, "x").splitlines()
    assert lines[:3] == [
        "split@18(mode='same', x=x) -> fp16, fp16",
        "add@18(x=t0, y=0.5) -> fp16",
        "concat@18(values=[t0.1, t1, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]) -> fp16",
    ]
    start, _, end = lines[3].partition("(9,) ")
    assert (start, len(end)) == ("relu(x=", len("0123456789abcdef) -> fp32"))


def test_operations_of_a_sweep_go_by_the_names_of_their_source() -> None:
    for name, measured in {"gelu": "gelu_exact", "exp": "exp"}.items():
        found = accuracy.of(name)
        assert found is not None
        assert found.op == measured
    assert accuracy.of("no such operation") is None
    standings = {each.value for each in accuracy.Standing}
    assert standings == {"reachable+correct", "reachable", "not-implemented-on-ANE", "compile-walled"}


def test_a_sketch_keeps_words_and_names_and_rounds_numbers_to_half_precision() -> None:
    def build(mb: Any, x: Any, name: str) -> Any:
        one = mb.concat(values=[x, x], axis=-1, mode="word", one=x)
        two = mb.concat(values=(x, one), scales=[0.1, 2.0], flags=(True, False))
        return mb.concat(values=[two, 0.5], name=name)

    graph = sketch(build)
    first, second, last = (node.operands for node in graph.nodes)
    assert [node.name for node in graph.nodes] == ["concat_0", "concat_1", "y"]
    assert ([each.name for each in graph.inputs], graph.outputs) == (["x"], ("y",))
    assert (first["values"], first["mode"], second["values"]) == ((X, X), "word", (X, Ref("concat_0")))
    assert (type(first["mode"]), type(first["one"])) == (str, Ref)
    assert last["values"] == (Ref("concat_1"), 0.5)
    for operand, want, kind in (
        (first["axis"], -1, np.int64),
        (second["scales"], [float(np.float16(0.1)), 2.0], np.float64),
        (second["flags"], [True, False], np.bool_),
    ):
        assert isinstance(operand, np.ndarray)
        assert (operand.tolist(), operand.dtype) == (want, np.dtype(kind))


def test_constants_of_a_model_that_was_read_can_no_longer_be_written_to() -> None:
    named, immediate, base = np.ones(2), np.ones(2), np.ones(4)
    view = base[:2]
    node = _node("conv", "y", x=X, weight=immediate, bias=view, pad_type="same")
    graph = _graph(node, constants={"named": named, "word": "same"})
    assert package._fixed(graph) is graph
    assert [each.flags.writeable for each in (named, immediate, view)] == [False, False, True]


def _spec(kind: str = "neuralNetwork") -> Any:
    spec = specification.model()
    spec.specificationVersion = 8
    getattr(spec, kind).SetInParent()
    return spec


def _model(spec: Any) -> reader.Model:
    return reader.Model(path=PATH, spec=spec, weights=reader.Weights(PATH, None))


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError, AttributeError, IndexError, KeyError, MemoryError, RecursionError, TypeError, ValueError],
)
@pytest.mark.parametrize(("kind", "translator"), [("mlProgram", mlprogram), ("neuralNetwork", neuralnetwork)])
def test_a_model_that_cannot_be_translated_contradicts_itself(
    error: type[Exception], kind: str, translator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "why"

    def fails(*_: Any, **__: Any) -> Graph:
        raise error(words)

    monkeypatch.setattr(translator, "read", fails)
    with pytest.raises(UnreadableFileError, match=rf"'model' contradicts itself: {error.__name__}: .*why"):
        package.translated(_model(_spec(kind)))


def test_a_network_is_kept_in_single_precision_on_demand_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read(_: Any, *, single: bool) -> Graph:
        asked.append(single)
        return _graph()

    monkeypatch.setattr(neuralnetwork, "read", read)
    monkeypatch.setattr(reader, "open_model", lambda _: _model(_spec()))
    package.translated(_model(_spec()))
    package.translated(_model(_spec()), single=True)
    package.load(PATH)
    package.load(PATH, single=True)
    assert asked == [False, True, False, True]


def test_the_description_is_that_of_the_function_that_is_asked_for_or_the_default() -> None:
    spec = _spec("mlProgram")
    spec.description.input.add(name="whole")
    assert described.of(spec).input[0].name == "whole"
    for name in ("first", "second"):
        spec.description.functions.add(name=name).input.add(name=f"of {name}")
    assert described.of(spec).input[0].name == "whole"
    spec.description.defaultFunctionName = "second"
    assert described.of(spec).input[0].name == "of second"
    assert described.of(spec, "first").input[0].name == "of first"
    assert described.of(spec, "third").input[0].name == "whole"


def test_an_input_that_declares_no_sizes_has_none_to_choose_from() -> None:
    description = _spec().description
    array, image, number = (description.input.add(name=name) for name in ("array", "image", "number"))
    array.type.multiArrayType.shape.extend([1, 3])
    image.type.imageType.width = 3
    number.type.doubleType.SetInParent()
    plain = _tensor("x")
    assert [described.described(plain, each) for each in (array, image, number)] == [plain] * 3


def test_a_size_is_open_where_its_largest_is_negative() -> None:
    description = _spec().description
    spans = description.input.add(name="x").type.multiArrayType.shapeRange.sizeRanges
    for low, high in ((0, 0), (2, 4), (1, -1)):
        spans.add(lowerBound=low, upperBound=high)
    assert described.described(_tensor("x"), description.input[0]).sizes == (((0, 0), (2, 4), (1, None)),)


def _complaints(spec: Any) -> list[str]:
    return list(soundness._complaints(_model(spec)))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3), ""),
        ((0, 3), ""),
        ((), ""),
        ((2**13, 2**13), ""),
        ((MAX_ELEMENTS, 1, 2), f"has the shape (67108864, 1, 2), more than {2**26} elements"),
        ((MAX_ELEMENTS + 1,), f"has the shape (67108865,), more than {2**26} elements"),
        ((-1, 3), "has the shape (-1, 3)"),
        ((3, -1), "has the shape (3, -1)"),
    ],
)
@pytest.mark.parametrize("side", ["input", "output"])
def test_a_feature_has_a_shape_that_can_be(side: str, shape: tuple[int, ...], words: str) -> None:
    spec = _spec("glmRegressor")
    getattr(spec.description, side).add(name="f").type.multiArrayType.shape.extend(shape)
    assert _complaints(spec) == ([f"'f' {words}"] if words else [])


def _layer(layers: Any, name: str, given: str, made: str) -> Any:
    return layers.add(name=name, input=given.split(), output=made.split())


PARTS = [("branch", "ifBranch"), ("branch", "elseBranch"), ("loop", "conditionNetwork"), ("loop", "bodyNetwork")]


@pytest.mark.parametrize(("kind", "part"), PARTS)
def test_what_the_layers_of_a_branch_or_a_loop_make_is_there_behind_it(kind: str, part: str) -> None:
    spec = _spec()
    spec.description.input.add(name="x")
    spec.description.output.add(name="y")
    layers = spec.neuralNetwork.layers
    inside = getattr(getattr(_layer(layers, "around", "x", ""), kind), part).layers
    _layer(inside, "direct", "x", "a").softmax.SetInParent()
    deeper = getattr(getattr(_layer(inside, "inner", "x", ""), kind), part).layers
    _layer(deeper, "deep", "x", "b")
    _layer(layers, "behind", "a b", "y")
    assert _complaints(spec) == []
    _layer(layers, "bare", "c", "d e")
    assert _complaints(spec) == ["layer 'bare' uses 'c', which nothing makes"]
    _layer(layers, "late", "x e", "c")
    assert _complaints(spec) == [
        "layer 'bare' uses 'c' before it is made: a cycle, or operations out of order",
    ]


@pytest.mark.parametrize(("kind", "is_fine"), [("neuralNetwork", False), ("neuralNetworkClassifier", True)])
def test_only_a_classifier_has_outputs_that_no_layer_makes(kind: str, is_fine: bool) -> None:
    spec = _spec(kind)
    spec.description.output.add(name="y")
    assert _complaints(spec) == ([] if is_fine else ["no layer makes its output 'y'"])


def _program(*functions: str, opset: str = "CoreML8") -> Any:
    """Functions that hand their only input on."""
    spec = _spec("mlProgram")
    for name in functions:
        function = spec.mlProgram.functions[name]
        function.opset = "CoreML8"
        function.inputs.add(name="x").type.tensorType.dataType = 11
        function.block_specializations[opset].outputs.append("x")
    return spec


def _operation(block: Any, kind: str, given: str, made: str) -> Any:
    operation = block.operations.add(type=kind)
    for name in given.split():
        operation.inputs["x"].arguments.add(name=name)
    for name in made.split():
        operation.outputs.add(name=name)
    return operation


def _body(spec: Any) -> Any:
    return spec.mlProgram.functions["main"].block_specializations["CoreML8"]


def _constant(block: Any, name: str) -> Any:
    constant = _operation(block, "const", "", name)
    constant.attributes["val"].type.tensorType.dataType = 11
    return constant


def test_a_program_has_functions_with_a_block_each() -> None:
    assert _complaints(_program("main")) == []
    assert _complaints(_program("main", "other")) == []
    assert _complaints(_program()) == ["it has no function"]
    assert _complaints(_program("main", opset="CoreML7")) == [
        "function 'main' has no block for its operation set 'CoreML8'"
    ]


def test_the_features_of_a_program_are_those_of_its_only_function() -> None:
    for functions, want in (
        (("main",), ["no operation makes its output 'w'", "its function takes no 'v'"]),
        (("main", "other"), []),
    ):
        spec = _program(*functions)
        for name in ("x", "v"):
            spec.description.input.add(name=name)
        for name in ("x", "w"):
            spec.description.output.add(name=name)
        assert _complaints(spec) == want


def test_blocks_are_nested_sixteen_deep_at_most() -> None:
    for depth, want in ((16, []), (17, ["its blocks are nested more than 16 deep"])):
        spec = _program("main")
        block = _body(spec)
        for _ in range(depth):
            block = _operation(block, "cond", "", "").blocks.add()
        assert _complaints(spec) == want


def test_a_name_is_made_once_and_before_it_is_used() -> None:
    spec = _program("main")
    block = _body(spec)
    _operation(block, "relu", "x", "a")
    inner = _operation(block, "cond", "a", "b").blocks.add()
    inner.inputs.add(name="given")
    _operation(inner, "relu", "given", "c")
    inner.outputs.append("c")
    _operation(block, "relu", "b", "d")
    assert _complaints(spec) == []
    _operation(block, "relu", "late", "a")
    _operation(block, "relu", "never c", "late")
    block.outputs.append("gone")
    assert _complaints(spec) == [
        "operation 'relu' uses 'late' before it is made: a cycle, or operations out of order",
        "'a' is made twice",
        "operation 'relu' uses 'never', which nothing makes",
        "operation 'relu' uses 'c', which nothing makes",
        "no operation makes its output 'gone'",
    ]


def test_a_constant_has_one_name_and_one_value() -> None:
    spec = _program("main")
    block = _body(spec)
    _constant(block, "fine")
    _constant(block, "two names")
    _operation(block, "const", "", "valueless")
    _operation(block, "relu", "x", "val")
    assert _complaints(spec) == ["a constant has no value or no name"] * 2


def test_shapes_inside_a_program_can_be() -> None:
    spec = _program("main")
    block = _body(spec)
    dimensions = _constant(block, "a").attributes["val"].type.tensorType.dimensions
    dimensions.add().constant.size = 2**27
    value = _operation(block, "relu", "", "b").inputs["x"].arguments.add().value
    value.type.tensorType.dimensions.add().constant.size = 2**28
    block.operations[1].outputs[0].type.tensorType.dimensions.add().constant.size = 2**29
    open_one = spec.mlProgram.functions["main"].inputs[0].type.tensorType.dimensions
    open_one.add().unknown.variadic = False
    held = spec.mlProgram.functions["main"].inputs.add(name="state").type.stateType.wrappedType
    held.tensorType.dimensions.add().constant.size = 2**30
    found = [each.partition(" has the shape ")[::2] for each in _complaints(spec)]
    assert found == [
        ("'state'", f"({2**30},), more than {2**26} elements"),
        ("a constant of operation 'const'", f"({2**27},), more than {2**26} elements"),
        ("a constant of operation 'relu'", f"({2**28},), more than {2**26} elements"),
        ("'b'", f"({2**29},), more than {2**26} elements"),
    ]


def _engine(graph: Graph) -> EmulatorEngine:
    engine = EmulatorEngine(("ieee-fp16", "ane"))
    engine._graphs[PATH] = graph
    return engine


def test_an_operation_of_single_precision_is_placed_on_the_cpu() -> None:
    half, single = _node("relu", "a", x=X), _node("relu", "y", dtype=DType.FP32, x=Ref("a"))
    graph = _graph(half, single)
    placements = [_engine(graph).run(PATH, [[np.ones(2)]], place).placement for place in ("ane", "ieee-fp16")]
    assert [dict(each.ops) for each in placements] == [
        {"a": Device.NE, "y": Device.CPU},
        {"a": Device.CPU, "y": Device.CPU},
    ]


def test_every_feed_is_read_pessimistically_where_it_differs() -> None:
    """2**15.5 is 46341, of which half precision has the neighbour 46336; beyond 2**15 it may be infinite."""
    nodes = (_node("exp2", "a", x=X), _node("silu", "b", x=X), _node("gelu", "c", x=X, mode="TANH_APPROXIMATION"))
    graph = _graph(*nodes, outputs="a")
    execution = _engine(graph).run(PATH, [[np.array([15.5])], [np.array([0.0])], [np.array([15.5])]], "ane")
    assert [each[0].tolist() for each in execution.predictions] == [[46336.0], [1.0], [46336.0]]
    assert list(execution.readings) == ["exp2-range", "gelu-accuracy", "silu-accuracy"]
    assert [each[0].tolist() for each in execution.readings["exp2-range"]()] == [[np.inf], [1.0], [np.inf]]


def test_a_feed_has_an_array_for_every_input() -> None:
    engine = _engine(_graph(_node("relu", "y", x=X), inputs="x z"))
    with pytest.raises(ValueError, match="shorter"):
        engine.run(PATH, [[np.ones(2)]], "ane")
    assert engine.name == "emulator"
    assert engine.places() == ("ieee-fp16", "ane")
    assert [engine.is_neural_engine(each) for each in engine.places()] == [False, True]
    assert engine.device() == {"kind": "emulator", "profiles": ["ieee-fp16", "ane"]}
