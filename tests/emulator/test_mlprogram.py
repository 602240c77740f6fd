"""ML programs message by message: which are read, and what a constant and a type in them mean."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import mlprogram, specification
from mish_guard.engines.emulator.graph import DType, Ref
from mish_guard.errors import UnreadableFileError, UnsupportedOpError

OPSETS = {"CoreML5": 15, "CoreML6": 16, "CoreML7": 17, "CoreML8": 18, "CoreML9": 26}


class Stored:
    """A weight file of which every blob is its own offset."""

    def read(self, name: str, offset: int) -> Any:
        assert name == "weights"
        return np.array([offset, offset + 1], np.float32)


STORED: Any = Stored()


def program(opset: str = "CoreML7") -> Any:
    """A program of one function that gives relu of its input."""
    spec = specification.model()
    spec.mlProgram.version = 1
    function = spec.mlProgram.functions["main"]
    function.opset = opset
    given = function.inputs.add(name="x")
    typed(given.type, 10, 2, 3)
    block = function.block_specializations[opset]
    operation = block.operations.add(type="relu")
    typed(operation.outputs.add(name="y").type, 11)
    operation.inputs["x"].arguments.add(name="x")
    block.outputs.append("y")
    return spec


def typed(kind: Any, number: int, *shape: int) -> Any:
    kind.tensorType.dataType = number
    for size in shape:
        kind.tensorType.dimensions.add().constant.size = size
    kind.tensorType.rank = len(shape)
    return kind


def constant(number: int, field: str, values: Any, *shape: int) -> Any:
    """A value as it stands in a program."""
    value = specification.model().mlProgram.functions["f"].block_specializations["b"].operations.add().attributes["val"]
    typed(value.type, number, *shape)
    held = getattr(value.immediateValue.tensor, field)
    if field == "bytes":
        held.values = values
    else:
        held.values.extend(values)
    return value


def read(value: Any) -> Any:
    return mlprogram._Reader(STORED, 18).value(value)


@pytest.mark.parametrize(("opset", "number"), OPSETS.items())
def test_an_operation_knows_the_opset_of_its_program(opset: str, number: int) -> None:
    graph = mlprogram.read(program(opset), STORED)
    (node,) = graph.nodes
    assert (node.op, node.name, node.opset, node.operands) == ("relu", "y", number, {"x": Ref("x")})
    assert [(each.name, each.dtype, each.shape) for each in graph.inputs] == [("x", DType.FP16, (2, 3))]
    assert [(each.name, each.dtype, each.shape) for each in node.outputs] == [("y", DType.FP32, ())]
    assert (graph.outputs, graph.states) == (("y",), ())


def test_a_version_an_opset_and_a_block_that_are_not_known_are_named() -> None:
    spec = program()
    spec.mlProgram.version = 2
    with pytest.raises(UnsupportedOpError, match=r"version 2; the emulator knows 1\."):
        mlprogram.read(spec, STORED)
    known = "CoreML5, CoreML6, CoreML7, CoreML8, CoreML9"
    with pytest.raises(UnsupportedOpError, match=rf"the opset 'CoreML10'; the emulator knows {known}\."):
        mlprogram.read(program("CoreML10"), STORED)
    spec = program()
    spec.mlProgram.attributes["odd"].CopyFrom(constant(11, "floats", [1.0]))
    with pytest.raises(UnsupportedOpError, match=r"does not read program\.attributes\[odd\] of the model"):
        mlprogram.read(spec, STORED)
    spec = program()
    spec.mlProgram.functions["main"].opset = "CoreML8"
    with pytest.raises(UnreadableFileError, match="no block for its own opset 'CoreML8'"):
        mlprogram.read(spec, STORED)


def test_a_function_is_found_by_its_name_alone_or_by_default() -> None:
    spec = program()
    with pytest.raises(UnsupportedOpError, match=r"no function 'other'; it has: main\."):
        mlprogram._function(spec, "other")
    assert mlprogram._function(spec, "main") is mlprogram._function(spec, "")
    with pytest.raises(UnsupportedOpError, match=r"no function 'main'; it has: none\."):
        mlprogram._function(specification.model(), "")


def test_a_state_is_no_input() -> None:
    spec = program()
    state = spec.mlProgram.functions["main"].inputs.add(name="kept")
    typed(state.type.stateType.wrappedType, 23, 4)
    graph = mlprogram.read(spec, STORED)
    assert [each.name for each in graph.inputs] == ["x"]
    assert [(each.name, each.dtype, each.shape) for each in graph.states] == [("kept", DType.INT, (4,))]


def test_constants_attributes_and_blocks_belong_to_their_operation() -> None:
    spec = program()
    block = spec.mlProgram.functions["main"].block_specializations["CoreML7"]
    fixed = block.operations.add(type="const")
    fixed.outputs.add(name="c")
    fixed.attributes["val"].CopyFrom(constant(11, "floats", [2.5]))
    several = block.operations.add(type="concat")
    several.attributes["name"].CopyFrom(constant(2, "strings", ["called"]))
    several.attributes["scale"].CopyFrom(constant(11, "floats", [0.5]))
    several.inputs["values"].arguments.add(name="x")
    several.inputs["values"].arguments.add().value.CopyFrom(constant(11, "floats", [7.0]))
    inner = several.blocks.add()
    typed(inner.inputs.add(name="i").type, 1)
    inner.outputs.append("i")
    graph = mlprogram.read(spec, STORED)
    assert graph.constants == {"c": 2.5}
    node = graph.nodes[1]
    assert (node.op, node.name) == ("concat", "concat_2")
    assert node.operands == {"values": (Ref("x"), 7.0), "scale": 0.5}
    assert [(each.inputs[0].dtype, each.outputs) for each in node.blocks] == [(DType.BOOL, ("i",))]


@pytest.mark.parametrize(
    ("number", "field", "values", "want"),
    [
        (1, "bools", [True, False], np.array([True, False])),
        (10, "bytes", struct.pack("<2e", 0.5, -2.0), np.array([0.5, -2.0])),
        (11, "floats", [0.5, 0.25], np.array([0.5, 0.25])),
        (12, "doubles", [0.5, 1e-300], np.array([0.5, 1e-300])),
        (21, "bytes", b"\x01\xff", np.array([1, -1])),
        (22, "bytes", b"\x01\x00\xff\xff", np.array([1, -1])),
        (23, "ints", [1, -(2**31)], np.array([1, -(2**31)])),
        (24, "longInts", [1, -(2**40)], np.array([1, -(2**40)])),
        (25, "bytes", b"\x8f", np.array([-1, -8])),
        (31, "bytes", b"\x01\xff", np.array([1, 255])),
        (32, "bytes", b"\x01\x00\xff\xff", np.array([1, 65535])),
        (33, "bytes", b"\x01\x00\x00\x00\xff\xff\xff\xff", np.array([1, 2**32 - 1])),
        (34, "bytes", b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00", np.array([1, 2**32])),
        (35, "bytes", b"\x8f", np.array([15, 8])),
        (36, "bytes", b"\x0b", np.array([3, 2])),
        (37, "bytes", b"\x02", np.array([0, 1])),
        (38, "bytes", b"\xc1\x08", np.array([1, 35])),
        (39, "bytes", b"\x15", np.array([5, 2])),
    ],
)
def test_a_constant_is_what_its_type_says(number: int, field: str, values: Any, want: Any) -> None:
    got = read(constant(number, field, values, 2))
    assert got.dtype == want.dtype
    assert got.tolist() == want.tolist()
    kind = {"b": DType.BOOL, "f": DType.FP16 if number == 10 else DType.FP32, "i": DType.INT}[want.dtype.kind]
    tensor = specification.model().mlProgram.functions["f"].inputs.add(name="t")
    typed(tensor.type, number)
    assert mlprogram._tensor(tensor).dtype is kind


def test_text_is_text_and_several_texts_are_an_array() -> None:
    text = read(constant(2, "strings", ["a"]))
    assert (type(text), text) == (str, "a")
    assert read(constant(2, "strings", ["a", "b"], 2)).tolist() == ["a", "b"]
    words = specification.model().mlProgram.functions["f"].inputs.add(name="t")
    typed(words.type, 2)
    assert mlprogram._tensor(words).dtype is DType.STRING


def test_a_constant_has_the_shape_that_it_declares() -> None:
    assert read(constant(11, "floats", [1.0, 2.0], 2, 1)).tolist() == [[1.0], [2.0]]
    empty = constant(11, "floats", [], 0, 3)
    empty.immediateValue.tensor.ClearField("floats")
    assert read(empty).shape == (0, 3)
    with pytest.raises(UnreadableFileError, match=r"declares the shape \(3,\) and holds 2 values"):
        read(constant(11, "floats", [1.0, 2.0], 3))


def test_a_constant_may_lie_in_the_weight_file() -> None:
    value = constant(11, "floats", [], 1, 2)
    value.ClearField("immediateValue")
    value.blobFileValue.fileName = "weights"
    value.blobFileValue.offset = 64
    assert read(value).tolist() == [[64.0, 65.0]]


def test_a_list_is_read_and_a_dictionary_is_not() -> None:
    value = constant(11, "floats", [])
    for text in ("a", "b"):
        value.immediateValue.list.values.add().CopyFrom(constant(2, "strings", [text]))
    assert read(value).tolist() == ["a", "b"]
    value.immediateValue.dictionary.SetInParent()
    with pytest.raises(UnsupportedOpError, match="constants of kind 'dictionary'"):
        read(value)


def test_an_element_type_that_is_not_known_is_named() -> None:
    tensor = specification.model().mlProgram.functions["f"].inputs.add(name="t")
    typed(tensor.type, 40)
    with pytest.raises(UnsupportedOpError, match=r"element type 40 of MIL\."):
        mlprogram._tensor(tensor)
    tensor.type.tupleType.SetInParent()
    with pytest.raises(UnsupportedOpError, match="tensors only; 't' is a tupleType"):
        mlprogram._tensor(tensor)


@pytest.mark.parametrize("kind", ["listType", "dictionaryType"])
def test_what_is_no_tensor_is_an_object(kind: str) -> None:
    tensor = specification.model().mlProgram.functions["f"].inputs.add(name="t")
    getattr(tensor.type, kind).SetInParent()
    assert (mlprogram._tensor(tensor).dtype, mlprogram._tensor(tensor).shape) == (DType.OBJECT, None)


def test_a_size_or_a_rank_may_be_open() -> None:
    tensor = specification.model().mlProgram.functions["f"].inputs.add(name="t")
    typed(tensor.type, 10, 2)
    tensor.type.tensorType.dimensions.add().unknown.variadic = False
    assert mlprogram._tensor(tensor).shape == (2, None)
    tensor.type.tensorType.rank = 0
    assert mlprogram._tensor(tensor).shape == (2, None)
    tensor.type.tensorType.rank = -1
    assert mlprogram._tensor(tensor).shape is None
    tensor.type.tensorType.rank = 2
    tensor.type.tensorType.dimensions[1].unknown.variadic = True
    assert mlprogram._tensor(tensor).shape is None
