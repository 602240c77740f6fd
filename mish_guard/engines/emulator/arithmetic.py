"""Arithmetic: how the result of an operation is rounded, and what a profile adds to it.

`Exact` evaluates in float64 and rounds nothing: it is what a graph would give without half precision. `Emulated`
rounds each result to its declared type and adds the hazards of a profile to half-precision operations. All values
travel as float64 that lie on the grid of their type.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from mish_guard.engines.emulator import assumptions, fast, hazards
from mish_guard.engines.emulator.graph import Array, DType, Node, Tensor
from mish_guard.engines.emulator.hazards import Call, Hazard
from mish_guard.engines.emulator.products import Operands
from mish_guard.engines.emulator.profiles import Profile
from mish_guard.numerics import fp16

# Operations whose results are values of their half-precision operand, or 0 or 6.
_PASSING = frozenset(
    {"expand_dims", "identity", "max_pool", "relu", "relu6", "reshape", "slice_by_index", "squeeze", "transpose"}
)

# The same, if their other operands are half-precision numbers.
_CHOOSING = frozenset({"clip", "maximum", "minimum"})


class Arithmetic(Protocol):
    """What the evaluator asks around each operation."""

    def accumulator(self, node: Node) -> DTypeLike:
        """The numpy type in which convolutions and matrix products sum up."""

    def enter(self, node: Node, operands: Operands) -> Operands:
        """The operands as the unit sees them."""

    def leave(self, node: Node, operands: Operands, constants: Collection[str], result: Array) -> Array:
        """The result as the unit delivers it; `constants` names the operands that are constants."""

    def store(self, tensor: Tensor, values: Array) -> Array:
        """`values` on the grid of the tensor's declared type."""


class Exact:
    """float64 throughout."""

    def accumulator(self, node: Node) -> DTypeLike:
        del node
        return np.float64

    def enter(self, node: Node, operands: Operands) -> Operands:
        del node
        return operands

    def leave(self, node: Node, operands: Operands, constants: Collection[str], result: Array) -> Array:
        del node, operands, constants
        return result

    def store(self, tensor: Tensor, values: Array) -> Array:
        return values.astype(np.float64) if tensor.dtype.is_float else values


class Emulated:
    """Each result rounded to its declared type, with the hazards of `profile` on half-precision operations.

    `read_pessimistically` names the assumptions to read the other way. `met` collects those whose two readings differ
    somewhere in what was evaluated, each with the first tensor for which they do: what came out from there on depends
    on them.
    """

    def __init__(self, profile: Profile, read_pessimistically: Collection[str] = ()) -> None:
        self.profile = profile
        self.met: dict[str, str] = {}
        self._pessimistic = frozenset(read_pessimistically)
        self._on_grid: Array | None = None
        self._valid: Array | None = None
        self._lets_no_nan_out = hazards.invalid_forms_give_zero in [each.apply for each in profile.leaving("identity")]

    def accumulator(self, node: Node) -> DTypeLike:
        del node
        return np.float32

    def on_neural_engine(self, node: Node) -> bool:
        """Operations on fp32 tensors stay on the CPU (P6), where no hazard applies."""
        return self.profile.is_neural_engine and all(tensor.dtype is not DType.FP32 for tensor in node.outputs)

    def enter(self, node: Node, operands: Operands) -> Operands:
        if not self.on_neural_engine(node):
            return operands
        call = Call(op=node.op, operands=operands)
        return {name: _entered(self.profile.entering(node.op), call, value) for name, value in operands.items()}

    def leave(self, node: Node, operands: Operands, constants: Collection[str], result: Array) -> Array:
        self._on_grid = self._valid = None
        if not self.on_neural_engine(node) or result.dtype.kind != "f":
            self._on_grid = self._passed(node, operands, result)
            return result
        call = Call(op=node.op, operands=operands, constants=constants)
        for hazard in self.profile.leaving(node.op):
            result = hazard.apply(call, result)
        self._on_grid = self._passed(node, operands, result)
        self._valid = result if self._lets_no_nan_out else None
        for assumption in assumptions.of(node.op):
            result = self._assumed(assumption, node, call, result)
        return result

    def store(self, tensor: Tensor, values: Array) -> Array:
        if tensor.dtype is DType.FP16:
            on_grid = values if values is self._on_grid else fast.rounded(values)
            return fast.frozen_without_nan(on_grid) if values is self._valid else fast.frozen(on_grid)
        if tensor.dtype is DType.FP32:
            with np.errstate(over="ignore", invalid="ignore"):
                return values.astype(np.float32).astype(np.float64)
        return values

    def _passed(self, node: Node, operands: Operands, result: Array) -> Array | None:
        """A result that needs no rounding, since it holds nothing but values of its operands."""
        is_half = result.dtype == np.float64 and all(tensor.dtype is DType.FP16 for tensor in node.outputs)
        passes = node.op in _PASSING or (node.op in _CHOOSING and _are_half(operands))
        return result if is_half and passes else None

    def _assumed(self, assumption: assumptions.Assumption, node: Node, call: Call, result: Array) -> Array:
        if assumption.id in self.met and assumption.id not in self._pessimistic:
            return result
        other = assumption.differs(call, result)
        if other is None:
            return result
        self.met.setdefault(assumption.id, node.outputs[0].name)
        return other if assumption.id in self._pessimistic else result


def _entered(rules: tuple[Hazard, ...], call: Call, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_entered(rules, call, each) for each in value)
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    for hazard in rules:
        value = hazard.apply(call, value)
    return value


def _are_half(operands: Operands) -> bool:
    """Whether every constant is a half-precision number; tensors, which come from such a graph, are."""
    small = [np.asarray(value, dtype=np.float64) for value in operands.values() if np.size(value) == 1]
    return all(np.array_equal(fp16.to_fp16(each), each) for each in small) and len(small) >= len(operands) - 1
