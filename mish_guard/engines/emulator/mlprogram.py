"""ML programs: the MIL protobuf of a saved `.mlpackage` and its weight file → Graph.

The protobuf is read as it was written, not rebuilt through the builder of the coremltools tree under test: what is
evaluated is the artefact that would ship.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mish_guard.engines.emulator import described, fields
from mish_guard.engines.emulator.graph import Array, DType, Graph, Node, Operand, Ref, Tensor, widen
from mish_guard.engines.emulator.reader import Weights
from mish_guard.engines.emulator.specification import Message
from mish_guard.errors import UnreadableFileError, UnsupportedOpError

# Number of each element type in MIL.proto's DataType, as numpy and as the evaluator's type.
_TYPES: dict[int, tuple[type[np.generic], DType]] = {
    1: (np.bool_, DType.BOOL),
    2: (np.str_, DType.STRING),
    10: (np.float16, DType.FP16),
    11: (np.float32, DType.FP32),
    12: (np.float64, DType.FP32),
    21: (np.int8, DType.INT),
    22: (np.int16, DType.INT),
    23: (np.int32, DType.INT),
    24: (np.int64, DType.INT),
    31: (np.uint8, DType.INT),
    32: (np.uint16, DType.INT),
    33: (np.uint32, DType.INT),
    34: (np.uint64, DType.INT),
}

# Element types below a byte: bits, and whether they have a sign.
_NARROW: dict[int, tuple[int, bool]] = {
    25: (4, True),
    35: (4, False),
    36: (2, False),
    37: (1, False),
    38: (6, False),
    39: (3, False),
}

# The opsets of MIL programs, as the iOS version that brought them.
_OPSETS = {"CoreML5": 15, "CoreML6": 16, "CoreML7": 17, "CoreML8": 18, "CoreML9": 26}

# The version of the format that there is.
_VERSION = 1

# The attribute of an operation that says nothing about values.
_NAME = "name"


def read(spec: Message, weights: Weights, function: str = "") -> Graph:
    """A function of an ML program, by default the one there is or the default one.

    Raises UnsupportedOpError for what the emulator cannot express, UnreadableFileError for weights that are not there.
    """
    chosen = _function(spec, function)
    if spec.mlProgram.version != _VERSION:
        msg = f"The model is an ML program of version {spec.mlProgram.version}; the emulator knows {_VERSION}."
        raise UnsupportedOpError(msg)
    if chosen.opset not in _OPSETS:
        msg = f"The model speaks the opset '{chosen.opset}'; the emulator knows {', '.join(_OPSETS)}."
        raise UnsupportedOpError(msg)
    if chosen.opset not in chosen.block_specializations:
        msg = f"The model has no block for its own opset '{chosen.opset}'."
        raise UnreadableFileError(msg)
    overlooked = list(fields.overlooked(spec.mlProgram, "program"))
    if overlooked:
        msg = f"The emulator does not read {', '.join(overlooked)} of the model, and never guesses what it means."
        raise UnsupportedOpError(msg)
    reader = _Reader(weights, _OPSETS[chosen.opset])
    kinds = {each.name: each.type.WhichOneof("type") for each in chosen.inputs}
    features = {each.name: each for each in described.of(spec, function).input}
    return reader.graph(
        chosen.block_specializations[chosen.opset],
        inputs=tuple(_input(each, features) for each in chosen.inputs if kinds[each.name] != "stateType"),
        states=tuple(_tensor(each) for each in chosen.inputs if kinds[each.name] == "stateType"),
    )


def _function(spec: Message, name: str) -> Message:
    functions: Mapping[str, Message] = spec.mlProgram.functions
    wanted = name or spec.description.defaultFunctionName
    if not wanted and len(functions) == 1:
        return next(iter(functions.values()))
    if (wanted or "main") in functions:
        return functions[wanted or "main"]
    msg = f"The model has no function '{wanted or 'main'}'; it has: {', '.join(sorted(functions)) or 'none'}."
    raise UnsupportedOpError(msg)


class _Reader:
    """Values of one model."""

    def __init__(self, weights: Weights, opset: int) -> None:
        self._weights = weights
        self._opset = opset

    def graph(self, block: Message, *, inputs: tuple[Tensor, ...], states: tuple[Tensor, ...] = ()) -> Graph:
        """A block with its constants and operations."""
        constants: dict[str, Array | str] = {}
        nodes: list[Node] = []
        for index, operation in enumerate(block.operations):
            if operation.type == "const":
                constants[operation.outputs[0].name] = self.value(operation.attributes["val"])
            else:
                nodes.append(self.node(operation, index))
        return Graph(
            inputs=inputs, constants=constants, nodes=tuple(nodes), outputs=tuple(block.outputs), states=states
        )

    def node(self, operation: Message, index: int) -> Node:
        """One operation of a block; attributes other than its name are operands (compressed weights have them)."""
        outputs = tuple(_tensor(each) for each in operation.outputs)
        operands = {name: self._operand(argument) for name, argument in operation.inputs.items()}
        for name, value in operation.attributes.items():
            if name != _NAME:
                operands[name] = self.value(value)
        return Node(
            op=operation.type,
            name=outputs[0].name if outputs else f"{operation.type}_{index}",
            operands=operands,
            outputs=outputs,
            opset=self._opset,
            blocks=tuple(self.graph(each, inputs=tuple(map(_tensor, each.inputs))) for each in operation.blocks),
        )

    def _operand(self, argument: Message) -> Operand:
        bound = tuple(
            Ref(binding.name) if binding.WhichOneof("binding") == "name" else self.value(binding.value)
            for binding in argument.arguments
        )
        return bound[0] if len(bound) == 1 else bound

    def value(self, value: Message) -> Array | str:
        """A constant: an immediate value or one in the weight file, widened."""
        if value.WhichOneof("value") == "immediateValue":
            kind = value.immediateValue.WhichOneof("value")
            if kind == "list":
                return np.array([self.value(each) for each in value.immediateValue.list.values])
            if kind != "tensor":
                msg = f"The emulator does not read constants of kind '{kind}'."
                raise UnsupportedOpError(msg)
        tensor_type = value.type.tensorType
        shape = tuple(each.constant.size for each in tensor_type.dimensions)
        if value.WhichOneof("value") == "blobFileValue":
            blob = value.blobFileValue
            return self._shaped(self._weights.read(blob.fileName, blob.offset), shape)
        return self._immediate(value.immediateValue.tensor, tensor_type.dataType, shape)

    def _immediate(self, tensor: Message, number: int, shape: tuple[int, ...]) -> Array | str:
        field = tensor.WhichOneof("value")
        if field is None:  # protobuf leaves an empty list out
            return np.zeros(shape)
        values = getattr(tensor, field).values
        if number == _STRING:
            return self._shaped(np.array(list(values)), shape) if shape else str(values[0])
        if number in _NARROW:
            return self._shaped(_unpacked(values, number, int(np.prod(shape))), shape)
        numpy_type, _ = _element_type(number)
        if field == "bytes":
            return self._shaped(np.frombuffer(values, numpy_type), shape)
        return self._shaped(np.array(values, dtype=numpy_type), shape)

    @staticmethod
    def _shaped(values: Array, shape: tuple[int, ...]) -> Array:
        if values.size != int(np.prod(shape)):
            msg = f"A constant declares the shape {shape} and holds {values.size} values."
            raise UnreadableFileError(msg)
        return widen(values.reshape(shape))


_STRING = 2


def _unpacked(packed: bytes, number: int, count: int) -> Array:
    """Numbers narrower than a byte, packed from the least significant bit on."""
    bits, signed = _NARROW[number]
    single = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[: count * bits]
    values = single.reshape(-1, bits).astype(np.int64) @ (1 << np.arange(bits))
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values) if signed else np.asarray(values)


def _element_type(number: int) -> tuple[type[np.generic], DType]:
    if number in _NARROW:
        return np.int64, DType.INT
    try:
        return _TYPES[number]
    except KeyError:
        msg = f"The emulator does not know element type {number} of MIL."
        raise UnsupportedOpError(msg) from None


def _input(named: Message, features: Mapping[str, Message]) -> Tensor:
    """An input of a function, with what the description of the model says of it."""
    tensor = _tensor(named)
    return described.described(tensor, features[named.name]) if named.name in features else tensor


def _tensor(named: Message) -> Tensor:
    kind = named.type.WhichOneof("type")
    if kind in ("listType", "dictionaryType"):
        return Tensor(name=named.name, dtype=DType.OBJECT, shape=None)
    declared = named.type.stateType.wrappedType if kind == "stateType" else named.type
    if declared.WhichOneof("type") != "tensorType":
        msg = f"The emulator handles tensors only; '{named.name}' is a {kind}."
        raise UnsupportedOpError(msg)
    tensor_type = declared.tensorType
    shape = tuple(
        each.constant.size if each.WhichOneof("dimension") == "constant" else None for each in tensor_type.dimensions
    )
    open_rank = tensor_type.rank < 0 or any(each.unknown.variadic for each in tensor_type.dimensions)
    return Tensor(name=named.name, dtype=_element_type(tensor_type.dataType)[1], shape=None if open_rank else shape)
