"""What of an ML program's protobuf is read, and what may be left unread because it says nothing about values.

A field that a model sets and that is in neither table is named by `overlooked`, and the model is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# By message of MIL.proto: the fields that `mlprogram` reads.
READ: dict[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "Program": "version functions",
        "Function": "inputs opset block_specializations",
        "Block": "inputs outputs operations",
        "Operation": "type inputs outputs blocks attributes",
        "Argument": "arguments",
        "Binding": "name value",
        "NamedValueType": "name type",
        "ValueType": "tensorType listType dictionaryType stateType",
        "StateType": "wrappedType",
        "TensorType": "dataType rank dimensions",
        "Dimension": "constant unknown",
        "ConstantDimension": "size",
        "UnknownDimension": "variadic",
        "Value": "type immediateValue blobFileValue",
        "ImmediateValue": "tensor list",
        "TensorValue": "floats ints bools strings longInts doubles bytes",
        "RepeatedFloats": "values",
        "RepeatedInts": "values",
        "RepeatedBools": "values",
        "RepeatedStrings": "values",
        "RepeatedLongInts": "values",
        "RepeatedDoubles": "values",
        "RepeatedBytes": "values",
        "ListValue": "values",
        "BlobFileValue": "fileName offset",
    }.items()
}

# Fields without a bearing on values: descriptions, and the types inside a list or a dictionary, which the operation
# that makes one decides.
SILENT: dict[str, frozenset[str]] = {
    "Program": frozenset({"docString"}),
    "Value": frozenset({"docString"}),
    "ListType": frozenset({"type", "length"}),
    "DictionaryType": frozenset({"keyType", "valueType"}),
}

# Attributes, by name, that say who wrote a model, or again which shapes its inputs may have.
SILENT_ATTRIBUTES: dict[str, frozenset[str]] = {
    "Program": frozenset({"buildInfo"}),
    "Function": frozenset({"FlexibleShapeInformation"}),
}

# Where attributes are operands.
READ_ATTRIBUTES = frozenset({"Operation"})

# Numbers of one kind, of which there may be millions: nothing else can be in them.
_NUMBERS = "TensorValue"

_Below = Callable[[Any], Iterable[Any]]


def overlooked(message: Any, path: str) -> Iterator[str]:
    """The paths of all fields that are set and that nothing reads, from `message` downwards."""
    if _is_read(message):  # nearly every model; names are made for the others only
        return
    kind = message.DESCRIPTOR
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        below = _below(kind, field)
        if below is None:
            yield name
        elif _is_attributes(kind, field):
            yield from (f"{name}[{each}]" for each in value if each not in SILENT_ATTRIBUTES.get(kind.name, ()))
        else:
            for each in below(value):
                yield from overlooked(each, name)


def _is_read(message: Any) -> bool:
    """Whether every field that is set, from `message` downwards, is read or says nothing."""
    kind = message.DESCRIPTOR
    for field, value in message.ListFields():
        below = _below(kind, field)
        if below is None:
            return False
        if _is_attributes(kind, field):
            if not SILENT_ATTRIBUTES.get(kind.name, frozenset()).issuperset(value):
                return False
        elif not all(_is_read(each) for each in below(value)):
            return False
    return True


@functools.cache
def _is_attributes(kind: Any, field: Any) -> bool:
    """Whether a field holds attributes that are no operands."""
    return field.name == "attributes" and kind.name not in READ_ATTRIBUTES


@functools.cache
def _below(kind: Any, field: Any) -> _Below | None:
    """What gives the messages that a field of such a message holds; None for a field that nothing reads."""
    if _is_attributes(kind, field):
        return lambda _: ()
    if field.name in READ.get(kind.name, ()):
        return (lambda _: ()) if kind.name == _NUMBERS else _messages(field)
    return (lambda _: ()) if field.name in SILENT.get(kind.name, ()) else None


def _messages(field: Any) -> _Below:
    """What gives the messages in the value of a field: one, several, those of a map, or none."""
    if field.message_type is None:
        return lambda _: ()
    if field.message_type.GetOptions().map_entry:
        return lambda value: value.values()
    return lambda value: (value,) if hasattr(value, "DESCRIPTOR") else value
