"""ML programs: every field of every message is read, refused by name, or known to say nothing about values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import fields, mlprogram, specification
from mish_guard.errors import UnreadableFileError, UnsupportedOpError

_TENSORS = {
    "floats": (11, [1.5, 2.5]),
    "ints": (23, [1, 2]),
    "bools": (1, [True, False]),
    "strings": (2, ["a", "b"]),
    "longInts": (24, [1, 2]),
    "doubles": (12, [1.5, 2.5]),
    "bytes": (10, np.array([1.5, 2.5], np.float16).tobytes()),
}


class _Recorder:
    """A message that writes down which of its fields, and of those of the messages in it, were asked for."""

    def __init__(self, message: Any, seen: set[tuple[str, str]]) -> None:
        self._message = message
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._message, name)
        if name not in self._message.DESCRIPTOR.fields_by_name:
            return value
        self._seen.add((self._message.DESCRIPTOR.name, name))
        return self._wrapped(value)

    def _wrapped(self, value: Any) -> Any:
        if hasattr(value, "items"):
            return {key: self._wrapped(each) for key, each in value.items()}
        if hasattr(value, "append"):
            return [self._wrapped(each) for each in value]
        return _Recorder(value, self._seen) if hasattr(value, "DESCRIPTOR") else value

    def WhichOneof(self, oneof: str) -> str | None:  # noqa: N802 - protobuf's name
        chosen: str | None = self._message.WhichOneof(oneof)
        if chosen:
            self._seen.add((self._message.DESCRIPTOR.name, chosen))
        return chosen


class _Weights:
    """A weight file of two numbers."""

    def read(self, name: str, offset: int) -> Any:
        assert (name, offset) == ("weights", 64)
        return np.array([1.0, 2.0])


def _tensor(kind: Any, *sizes: int, number: int = 10) -> None:
    kind.tensorType.dataType, kind.tensorType.rank = number, len(sizes)
    for size in sizes:
        kind.tensorType.dimensions.add().constant.size = size


def _constant(block: Any, name: str) -> Any:
    """A new constant; its value."""
    operation = block.operations.add(type="const")
    _tensor(operation.outputs.add(name=name).type, 2)
    return operation.attributes["val"]


def _block(block: Any) -> None:
    for field, (number, values) in _TENSORS.items():
        value = _constant(block, field)
        _tensor(value.type, 2, number=number)
        tensor = getattr(value.immediateValue.tensor, field)
        if field == "bytes":
            tensor.values = values
        else:
            tensor.values.extend(values)
    blob = _constant(block, "blob")
    _tensor(blob.type, 2)
    blob.blobFileValue.fileName, blob.blobFileValue.offset = "weights", 64
    _constant(block, "list").immediateValue.list.values.add().CopyFrom(blob)


def _model() -> Any:
    """A program with everything in it that is read."""
    spec = specification.model()
    spec.mlProgram.version = 1
    function = spec.mlProgram.functions["main"]
    function.opset = "CoreML7"
    _tensor(function.inputs.add(name="x").type, 2)
    _tensor(function.inputs.add(name="state").type.stateType.wrappedType, 2)
    block = function.block_specializations["CoreML7"]
    _block(block)
    operation = block.operations.add(type="anything")
    operation.inputs["x"].arguments.add(name="x")
    _tensor(operation.inputs["y"].arguments.add().value.type, 2)
    operation.inputs["y"].arguments[0].value.immediateValue.tensor.floats.values.extend([1, 2])
    _tensor(operation.blocks.add().inputs.add(name="inner").type, 2)
    operation.outputs.add(name="several").type.listType.type.tensorType.dataType = 10
    operation.outputs.add(name="named").type.dictionaryType.keyType.tensorType.dataType = 2
    operation.outputs.add(name="open").type.tensorType.dimensions.add().unknown.variadic = True
    operation.outputs[2].type.tensorType.dataType = 10
    block.outputs.append("open")
    return spec


def test_the_fields_that_count_as_read_are_those_that_are_read() -> None:
    seen: set[tuple[str, str]] = set()
    graph = mlprogram.read(_Recorder(_model(), seen), _Weights())  # type: ignore[arg-type]
    assert {name: np.asarray(graph.constants[name]).tolist() for name in _TENSORS} == {
        **{name: values for name, (_, values) in _TENSORS.items()},
        "bytes": [1.5, 2.5],
    }
    kinds = set(_messages(specification.model().mlProgram.DESCRIPTOR))
    assert {each for each in seen if each[0] in {kind.name for kind in kinds}} == {
        (kind, field) for kind, names in fields.READ.items() for field in names
    }


def _messages(kind: Any, found: dict[Any, None] | None = None) -> dict[Any, None]:
    """Every message that can be in one of this kind; those that protobuf makes for maps are looked through."""
    found = {} if found is None else found
    if kind not in found:
        found[kind] = None
        for field in kind.fields:
            if field.message_type is not None:
                _messages(field.message_type, found)
    return found


def _fields() -> Iterator[tuple[Any, Any]]:
    for kind in _messages(specification.model().mlProgram.DESCRIPTOR):
        if not kind.GetOptions().map_entry:
            yield from ((kind, field) for field in kind.fields)


def _set(message: Any, field: Any) -> None:
    value = getattr(message, field.name)
    if field.name == "attributes":
        value["unheard"].SetInParent()
    elif hasattr(value, "items"):
        value["key"].SetInParent()
    elif hasattr(value, "append"):
        value.add() if field.message_type else value.append(1 if field.cpp_type != field.CPPTYPE_STRING else "x")
    elif field.message_type:
        value.SetInParent()
    else:
        setattr(message, field.name, type(value)(1) if not isinstance(value, bytes) else b"x")


def test_a_field_that_is_not_read_is_refused_or_says_nothing_about_values() -> None:
    from google.protobuf import message_factory

    refused = set()
    for kind, field in _fields():
        message = message_factory.GetMessageClass(kind)()
        _set(message, field)
        assert message.ListFields(), (kind.name, field.name)
        named = list(fields.overlooked(message, kind.name))
        known = field.name in fields.READ.get(kind.name, ()) or field.name in fields.SILENT.get(kind.name, ())
        assert bool(named) != known, (kind.name, field.name)
        if named:
            refused.add(f"{kind.name}.{field.name}")
    assert refused == {
        "Program.attributes",
        "Function.attributes",
        "Block.attributes",
        "TensorType.attributes",
        "ValueType.tupleType",
        "TupleType.types",
        "ImmediateValue.tuple",
        "ImmediateValue.dictionary",
        "TupleValue.values",
        "DictionaryValue.values",
        "KeyValuePair.key",
        "KeyValuePair.value",
    }


def test_a_program_that_says_more_than_is_read_is_refused_by_name() -> None:
    spec = _model()
    spec.mlProgram.attributes["buildInfo"].docString = "who wrote it"
    assert mlprogram.read(spec, _Weights())  # type: ignore[arg-type]
    spec.mlProgram.functions["main"].inputs[0].type.tensorType.attributes["layout"].SetInParent()
    with pytest.raises(UnsupportedOpError, match=r"functions\.inputs\.type\.tensorType\.attributes\[layout\]"):
        mlprogram.read(spec, _Weights())  # type: ignore[arg-type]


def test_a_program_of_another_version_is_refused() -> None:
    spec = _model()
    spec.mlProgram.version = 2
    with pytest.raises(UnsupportedOpError, match="version 2"):
        mlprogram.read(spec, _Weights())  # type: ignore[arg-type]


def test_a_constant_of_another_size_than_declared_is_an_error() -> None:
    spec = _model()
    block = spec.mlProgram.functions["main"].block_specializations["CoreML7"]
    block.operations[0].attributes["val"].immediateValue.tensor.floats.values.append(1)
    with pytest.raises(UnreadableFileError, match="holds 3 values"):
        mlprogram.read(spec, _Weights())  # type: ignore[arg-type]
