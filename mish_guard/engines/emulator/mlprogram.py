"""ML programs: the MIL protobuf of a saved `.mlpackage` and its weight file → Graph.

The protobuf is read as it was written, not rebuilt through the builder of the coremltools tree under test: what is
evaluated is the artefact that would ship.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array, DType, Graph, Node, Operand, Ref, Tensor, widen
from mish_guard.engines.emulator.reader import Weights
from mish_guard.errors import UnsupportedOpError

# Number of each element type in MIL.proto's DataType, as numpy and as the evaluator's type.
_TYPES: dict[int, tuple[Any, DType]] = {
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


def read(spec: Any, weights: Weights) -> Graph:
    """The main function of an ML program; raises UnsupportedOpError for what the emulator cannot express."""
    program = spec.mlProgram
    if len(program.functions) != 1:
        msg = f"The model has {len(program.functions)} functions; the emulator runs models with one."
        raise UnsupportedOpError(msg)
    (function,) = program.functions.values()
    block = function.block_specializations[function.opset]
    reader = _Reader(weights)
    constants: dict[str, Array | str] = {}
    nodes: list[Node] = []
    for index, operation in enumerate(block.operations):
        if operation.type == "const":
            constants[operation.outputs[0].name] = reader.value(operation.attributes["val"])
        else:
            nodes.append(reader.node(operation, index))
    return Graph(
        inputs=tuple(_tensor(each) for each in function.inputs),
        constants=constants,
        nodes=tuple(nodes),
        outputs=tuple(block.outputs),
    )


class _Reader:
    """Values of one model."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def node(self, operation: Any, index: int) -> Node:
        """One operation of a block."""
        if operation.blocks:
            msg = f"The emulator has no control flow: operation '{operation.type}' holds blocks of its own."
            raise UnsupportedOpError(msg)
        outputs = tuple(_tensor(each) for each in operation.outputs)
        operands = {name: self._operand(argument) for name, argument in operation.inputs.items()}
        name = outputs[0].name if outputs else f"{operation.type}_{index}"
        return Node(op=operation.type, name=name, operands=operands, outputs=outputs)

    def _operand(self, argument: Any) -> Operand:
        bound = tuple(
            Ref(binding.name) if binding.WhichOneof("binding") == "name" else self.value(binding.value)
            for binding in argument.arguments
        )
        return bound[0] if len(bound) == 1 else bound

    def value(self, value: Any) -> Array | str:
        """A constant: an immediate value or one in the weight file, widened."""
        tensor_type = value.type.tensorType
        numpy_type, dtype = _element_type(tensor_type.dataType)
        shape = tuple(each.constant.size for each in tensor_type.dimensions)
        if value.WhichOneof("value") == "blobFileValue":
            blob = value.blobFileValue
            return widen(self._weights.read(blob.fileName, blob.offset).reshape(shape))
        tensor = value.immediateValue.tensor
        field = tensor.WhichOneof("value")
        if field is None:  # protobuf leaves an empty list out
            return np.zeros(shape)
        values = getattr(tensor, field).values
        if dtype is DType.STRING:
            return str(values[0])
        if field == "bytes":
            return widen(np.frombuffer(values, numpy_type).reshape(shape))
        return widen(np.array(values, dtype=numpy_type).reshape(shape))


def _element_type(number: int) -> tuple[Any, DType]:
    try:
        return _TYPES[number]
    except KeyError:
        msg = f"The emulator does not know element type {number} of MIL."
        raise UnsupportedOpError(msg) from None


def _tensor(named: Any) -> Tensor:
    kind = named.type.WhichOneof("type")
    if kind != "tensorType":
        msg = f"The emulator handles tensors only; '{named.name}' is a {kind}."
        raise UnsupportedOpError(msg)
    tensor_type = named.type.tensorType
    sizes = [
        each.constant.size if each.WhichOneof("dimension") == "constant" else None for each in tensor_type.dimensions
    ]
    shape = None if None in sizes else tuple(size for size in sizes if size is not None)
    return Tensor(name=named.name, dtype=_element_type(tensor_type.dataType)[1], shape=shape)
