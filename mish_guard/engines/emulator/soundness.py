"""Whether a model that was read hangs together: names, order, outputs, shapes, and weights that are there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from mish_guard.engines.emulator.graph import MAX_ELEMENTS
from mish_guard.engines.emulator.specification import Message
from mish_guard.errors import UnreadableFileError

if TYPE_CHECKING:
    from mish_guard.engines.emulator.reader import Model, Weights

_MAX_DEPTH = 16


def check(model: Model) -> None:
    """Raise UnreadableFileError, with the path and the place, for a model that contradicts itself."""
    complaint = next(_complaints(model), None)
    if complaint is not None:
        msg = f"'{model.path}' contradicts itself: {complaint}."
        raise UnreadableFileError(msg)


def _complaints(model: Model) -> Iterator[str]:
    yield from _features(model.spec.description)
    if model.kind == "mlProgram":
        yield from _Program(model.weights).complaints(model.spec)
    elif model.kind.startswith("neuralNetwork"):
        yield from _network(model.spec, getattr(model.spec, model.kind))


def _features(description: Message) -> Iterator[str]:
    for feature in (*description.input, *description.output):
        shape = tuple(feature.type.multiArrayType.shape)
        if shape:
            yield from _shape(shape, f"'{feature.name}'")


def _shape(shape: Iterable[int], what: str) -> Iterator[str]:
    sizes = tuple(shape)
    if any(size < 0 for size in sizes):
        yield f"{what} has the shape {sizes}"
    elif math.prod(sizes) > MAX_ELEMENTS:
        yield f"{what} has the shape {sizes}, more than {MAX_ELEMENTS} elements"


def _network(spec: Message, network: Message) -> Iterator[str]:
    known = {each.name for each in spec.description.input}
    made = {name for layer in network.layers for name in layer.output}
    for layer in network.layers:
        for name in layer.input:
            if name not in known:
                yield _missing(f"layer '{layer.name}'", name, made)
        known |= set(layer.output) | set(_inner_outputs(layer))
    for output in spec.description.output:
        if output.name not in known and spec.WhichOneof("Type") == "neuralNetwork":
            yield f"no layer makes its output '{output.name}'"


def _inner_outputs(layer: Message) -> Iterator[str]:
    """What the layers inside a branch or a loop make, which is visible behind it."""
    settings = getattr(layer, layer.WhichOneof("layer") or "", None)
    for part in ("ifBranch", "elseBranch", "conditionNetwork", "bodyNetwork"):
        for inner in getattr(getattr(settings, part, None), "layers", ()):
            yield from inner.output
            yield from _inner_outputs(inner)


def _missing(user: str, name: str, made: set[str]) -> str:
    if name in made:
        return f"{user} uses '{name}' before it is made: a cycle, or operations out of order"
    return f"{user} uses '{name}', which nothing makes"


class _Program:
    """The checks of an ML program, with the weights its constants lie in."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def complaints(self, spec: Message) -> Iterator[str]:
        """Everything that is wrong, lazily: what comes later may rest on what came before."""
        program = spec.mlProgram
        if not program.functions:
            yield "it has no function"
        for name, function in program.functions.items():
            if function.opset not in function.block_specializations:
                yield f"function '{name}' has no block for its operation set '{function.opset}'"
                return
            yield from self._function(function)
        if len(program.functions) == 1:
            (function,) = program.functions.values()
            yield from _described(spec.description, function)

    def _function(self, function: Message) -> Iterator[str]:
        for each in function.inputs:
            yield from _declared(each)
        block = function.block_specializations[function.opset]
        yield from self._block(block, {each.name for each in function.inputs}, 0)

    def _block(self, block: Message, scope: set[str], depth: int) -> Iterator[str]:
        if depth > _MAX_DEPTH:
            yield f"its blocks are nested more than {_MAX_DEPTH} deep"
            return
        known = scope | {each.name for each in block.inputs}
        made = {each.name for operation in block.operations for each in operation.outputs}
        for operation in block.operations:
            yield from self._operation(operation, known, made, depth)
            for each in operation.outputs:
                if each.name in known:
                    yield f"'{each.name}' is made twice"
                known.add(each.name)
        for name in block.outputs:
            if name not in known:
                yield f"no operation makes its output '{name}'"

    def _operation(self, operation: Message, known: set[str], made: set[str], depth: int) -> Iterator[str]:
        what = f"operation '{operation.type}'"
        if operation.type == "const" and ("val" not in operation.attributes or len(operation.outputs) != 1):
            yield "a constant has no value or no name"
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.WhichOneof("binding") == "value":
                    yield from self._value(binding.value, what)
                elif binding.name not in known:
                    yield _missing(what, binding.name, made)
        for value in operation.attributes.values():
            yield from self._value(value, what)
        for each in operation.outputs:
            yield from _declared(each)
        for block in operation.blocks:
            yield from self._block(block, known, depth + 1)

    def _value(self, value: Message, what: str) -> Iterator[str]:
        if value.type.WhichOneof("type") != "tensorType":
            return
        shape = tuple(each.constant.size for each in value.type.tensorType.dimensions)
        yield from _shape(shape, f"a constant of {what}")
        if value.WhichOneof("value") == "blobFileValue":
            yield from self._blob(value, shape, what)

    def _blob(self, value: Message, shape: tuple[int, ...], what: str) -> Iterator[str]:
        blob = self._weights.file(value.blobFileValue.fileName).find(value.blobFileValue.offset)
        if blob.type.mil != value.type.tensorType.dataType:
            yield f"a constant of {what} has another type than its weights"
        elif blob.count != math.prod(shape):
            yield f"a constant of {what} has the shape {shape}, its weights hold {blob.count} elements"


def _declared(named: Message) -> Iterator[str]:
    kind = named.type.stateType.wrappedType if named.type.WhichOneof("type") == "stateType" else named.type
    if kind.WhichOneof("type") == "tensorType":
        dimensions = kind.tensorType.dimensions
        constant = [each.constant.size for each in dimensions if each.WhichOneof("dimension") == "constant"]
        yield from _shape(constant, f"'{named.name}'")


def _described(description: Message, function: Message) -> Iterator[str]:
    """The description, which Core ML goes by, names the inputs and outputs of the function."""
    outputs = set(function.block_specializations[function.opset].outputs)
    for each in description.output:
        if each.name not in outputs:
            yield f"no operation makes its output '{each.name}'"
    inputs = {each.name for each in function.inputs}
    for each in description.input:
        if each.name not in inputs:
            yield f"its function takes no '{each.name}'"
