"""What of an ML program's protobuf is read, and what may be left unread because it says nothing about values.

A field that a model sets and that is in neither table is named by `overlooked`, and the model is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mish_guard.engines.emulator.specification import Message

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

# Numbers of one kind, of which there may be millions: nothing else can be in them.
_NUMBERS = "TensorValue"


def overlooked(message: Message, path: str) -> Iterator[str]:
    """The paths of all fields that are set and that nothing reads, from `message` downwards."""
    kind = message.DESCRIPTOR.name
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        if field.name == "attributes" and kind not in READ_ATTRIBUTES:
            yield from (f"{name}[{each}]" for each in value if each not in SILENT_ATTRIBUTES.get(kind, ()))
        elif field.name in READ.get(kind, ()):
            for each in _messages(field, value) if kind != _NUMBERS else ():
                yield from overlooked(each, name)
        elif field.name not in SILENT.get(kind, ()):
            yield name


# Where attributes are operands.
READ_ATTRIBUTES = frozenset({"Operation"})


def _messages(field: Any, value: Any) -> Iterable[Message]:
    """The messages that a field holds: one, several, those of a map, or none."""
    if field.message_type is None:
        return ()
    if hasattr(value, "DESCRIPTOR"):
        return (value,)
    held: Iterable[Message] = value.values() if field.message_type.GetOptions().map_entry else value
    return held
