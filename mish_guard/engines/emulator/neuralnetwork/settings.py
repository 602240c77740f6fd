"""What a layer says of itself, read so that nothing it says is overlooked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array, Operand, Ref
from mish_guard.engines.emulator.specification import Message
from mish_guard.errors import UnreadableFileError, UnsupportedOpError

# A layer becomes one or more steps: MIL operation and its operands. A step's result is the operand of the next,
# which names it PREVIOUS.
PREVIOUS = Ref("")
Step = tuple[str, dict[str, Operand]]

# Fields that concern training only.
_SILENT = frozenset({"isUpdatable"})


class Settings:
    """A protobuf message that remembers which of its fields were read; a field is an attribute."""

    def __init__(self, message: Message | None, path: str) -> None:
        self._message: Any = message
        self._path = path
        self._read: dict[str, Any] = {}
        self._asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name not in self._read:
            self._read[name] = self._wrapped(name)
        return self._read[name]

    def _wrapped(self, name: str) -> Any:
        value = getattr(self._message, name)
        if self._message.DESCRIPTOR.fields_by_name[name].message_type is None:
            return value
        path = f"{self._path}.{name}"
        return Settings(value, path) if hasattr(value, "DESCRIPTOR") else [Settings(each, path) for each in value]

    def which(self, oneof: str) -> str:
        """The member of a oneof that is set; empty if none is."""
        self._asked.add(oneof)
        return self._message.WhichOneof(oneof) or ""

    def named(self, field: str) -> str:
        """The name of an enumeration's value."""
        number = getattr(self, field)
        kind = self._message.DESCRIPTOR.fields_by_name[field].enum_type
        if number not in kind.values_by_number:
            return str(number)
        return str(kind.values_by_number[number].name)

    def unread(self) -> Iterator[str]:
        """The paths of fields that are set and were not read."""
        for field, value in self._message.ListFields():
            read = self._read.get(field.name)
            if isinstance(read, Settings):
                yield from read.unread()
            elif isinstance(read, list):
                for each in read:
                    yield from each.unread()
            elif field.name not in self._read and not self._is_silent(field, value):
                yield f"{self._path}.{field.name}"

    def _is_silent(self, field: Any, value: Any) -> bool:
        """A member of a oneof without fields of its own says all by being set."""
        chosen = field.containing_oneof is not None and field.containing_oneof.name in self._asked
        return field.name in _SILENT or (chosen and field.message_type is not None and not value.ListFields())


class Layer:
    """One layer: its kind, settings and tensors, and the precision in which its numbers are kept."""

    def __init__(self, message: Message, *, half: bool) -> None:
        self.kind: str = message.WhichOneof("layer") or ""
        self.name: str = message.name
        self.inputs = tuple(Ref(name) for name in message.input)
        self.outputs = tuple(message.output)
        self.half = half
        self.settings = Settings(getattr(message, self.kind, None), self.kind)
        self.input_rank = int(message.inputTensor[0].rank) if message.inputTensor else 0
        self.output_ranks = tuple(int(each.rank) for each in message.outputTensor)

    def input(self, index: int) -> Ref:
        """An input; raises UnreadableFileError if the layer has fewer."""
        if index >= len(self.inputs):
            msg = f"The layer '{self.name}' ({self.kind}) has {len(self.inputs)} inputs and needs more."
            raise UnreadableFileError(msg)
        return self.inputs[index]

    def weights(self, parameters: Settings, shape: tuple[int, ...]) -> Array:
        """Weight parameters in the precision of the net, as float64."""
        values = _weights(parameters, shape, self.name)
        return values.astype(np.float16 if self.half else np.float32).astype(np.float64)

    def unknown(self, what: str = "") -> UnsupportedOpError:
        """The error for a layer, or something in it, that the emulator does not know."""
        where = f" ('{self.name}')" if self.name else ""
        kind = f"{self.kind}: {what}" if what else self.kind
        return UnsupportedOpError(
            f"The emulator does not know the neural network layer '{kind}'{where}. It never guesses: add it to "
            "mish_guard/engines/emulator/neuralnetwork with a test."
        )


def _weights(parameters: Settings, shape: tuple[int, ...], name: str) -> Array:
    if parameters.float16Value:
        values = np.frombuffer(parameters.float16Value, np.float16).astype(np.float64)
    elif parameters.rawValue:
        return _dequantized(parameters, shape, name)
    elif parameters.int8RawValue:
        msg = f"The emulator does not know weights for dynamic int8 products (layer '{name}')."
        raise UnsupportedOpError(msg)
    else:
        values = np.asarray(parameters.floatValue, np.float32).astype(np.float64)
    if values.size != abs(int(np.prod(shape))) and -1 not in shape:
        msg = f"The layer '{name}' holds {values.size} weights where its shape {shape} wants {int(np.prod(shape))}."
        raise UnreadableFileError(msg)
    return values.reshape(shape)


def _dequantized(parameters: Settings, shape: tuple[int, ...], name: str) -> Array:
    """Integers of a few bits, packed from the most significant bit on, times a scale or into a table."""
    quantization = parameters.quantization
    bits = int(quantization.numberOfBits)
    packed = np.unpackbits(np.frombuffer(parameters.rawValue, np.uint8))
    if not 1 <= bits <= 8 or -1 in shape or packed.size < bits * int(np.prod(shape)):
        msg = f"The quantised weights of layer '{name}' are not as many as its shape {shape} wants."
        raise UnreadableFileError(msg)
    count = int(np.prod(shape))
    steps = packed[: count * bits].reshape(count, bits).astype(np.int64) @ (1 << np.arange(bits)[::-1])
    if quantization.which("QuantizationType") == "lookupTableQuantization":
        table = np.asarray(quantization.lookupTableQuantization.floatValue, np.float32).astype(np.float64)
        return np.asarray(table[steps].reshape(shape))
    linear = quantization.linearQuantization
    per_output = (-1, *([1] * (len(shape) - 1)))
    scale = np.asarray(linear.scale, np.float64).reshape(per_output)
    bias = np.asarray(linear.bias, np.float64).reshape(per_output) if linear.bias else np.zeros(())
    return np.asarray(steps.reshape(shape) * scale + bias)
