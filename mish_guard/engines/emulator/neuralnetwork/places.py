"""Which tensors of a neural network hold places and sizes: whole numbers, which no half precision rounds.

This format has one type for all tensors, and half precision holds every whole number up to 2048 only. Layers that look
something up are none for the Neural Engine (F78), so what they are given keeps its digits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np

from mish_guard.engines.emulator.graph import Array, Node, Operand, Ref

# Half precision holds every whole number up to the first, single precision up to the second.
_COUNTED = 2**11
_COUNTED_IN_SINGLE = 2**24

# Operations whose result is a place or a size whatever they are given; of `topk` the second.
_FOUND = frozenset({"argsort", "non_zero", "reduce_argmax", "reduce_argmin", "shape"})

# Operations that make whole numbers of whole numbers.
_KEPT = frozenset(
    "abs add clip concat crop expand_dims flatten2d gather gather_along_axis gather_nd identity maximum minimum mul "  # noqa: SIM905
    "nn_broadcast nn_slice nn_slice_by_size pad range_1d reduce_max reduce_min reduce_prod reduce_sum reshape reverse "
    "select slice_by_index split squeeze stack sub tile transpose".split()
)

# Operands that are in the result; others say where.
_HELD = frozenset({"x", "y", "values", "a", "b", "alpha", "beta", "constant_val"})
_HELD_BY = {"range_1d": frozenset({"start", "end", "step"})}

# The operand that says where, of every operation that looks something up.
_WHERE = "indices"


class Whole:
    """The names of the tensors that hold whole numbers, as they become known."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._constants: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def constant(self, name: str, values: Array) -> bool:
        """Remember a constant of whole numbers; whether only single precision counts up to it."""
        if not _are_whole(values):
            return False
        self._constants.add(name)
        return _COUNTED < float(np.abs(values).max(initial=0.0)) <= _COUNTED_IN_SINGLE

    def follow(self, op: str, operands: Mapping[str, Operand], outputs: tuple[str, ...]) -> None:
        """Remember which results of an operation hold whole numbers."""
        if op == "topk":
            self._names.update(outputs[1:])
        elif op in _FOUND or (op in _KEPT and self._makes_whole(op, operands)):
            self._names.update(outputs)

    def _makes_whole(self, op: str, operands: Mapping[str, Operand]) -> bool:
        parts = [part for name, value in operands.items() if _is_held(op, name) for part in _parts(value)]
        named = [part.name for part in parts if isinstance(part, Ref)]
        known = all(name in self._names or name in self._constants for name in named)
        return known and (not named or any(name in self._names for name in named)) and all(map(_is_whole, parts))


def looked_up(nodes: Iterable[Node], outputs: Iterable[str]) -> frozenset[str]:
    """The tensors that are used for nothing but to say where: places, whatever type the model declares for them."""
    used: set[str] = set()
    values = set(outputs)
    for node in reversed(list(nodes)):
        made = [each.name for each in node.outputs]
        passes_on = node.op in _KEPT and used.issuperset(made) and values.isdisjoint(made)
        for name, operand in node.operands.items():
            named = _names(operand)
            used.update(named)
            if name != _WHERE and not (passes_on and _is_held(node.op, name)):
                values.update(named)
        # What a branch or a loop reads may be anything.
        values.update(name for block in node.blocks for name in _read_in(block.nodes))
    return frozenset(used - values)


def _read_in(nodes: Iterable[Node]) -> Iterator[str]:
    for node in nodes:
        yield from (name for operand in node.operands.values() for name in _names(operand))
        yield from (name for block in node.blocks for name in _read_in(block.nodes))


def _is_held(op: str, operand: str) -> bool:
    return operand in _HELD_BY.get(op, _HELD)


def _names(operand: Operand) -> Collection[str]:
    return [part.name for part in _parts(operand) if isinstance(part, Ref)]


def _parts(operand: Operand) -> tuple[Operand, ...]:
    return operand if isinstance(operand, tuple) else (operand,)


def _is_whole(part: Operand) -> bool:
    return isinstance(part, (Ref, str)) or _are_whole(np.asarray(part))


def _are_whole(values: Array) -> bool:
    return bool(np.all(values == np.rint(values)))
