"""The first wrong operation: the same graph in float64 says which result is wrong, the graph says where it began."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mish_guard.engines.emulator.evaluate import exactly
from mish_guard.engines.emulator.graph import Array, Graph, Node
from mish_guard.engines.emulator.sequence import references
from mish_guard.numerics import fp16
from mish_guard.records import Culprit, Step

# A result is wrong when it misses the float64 result by more than half its size: far above any rounding of half
# precision, far below a collapse.
_WRONG_RELATIVE = 0.5

# Relative errors this much below the smallest normal number are rounding, whatever their ratio.
_WRONG_ABSOLUTE = fp16.MIN_NORMAL

# What half precision may lose of what it adds up: four roundings of 2**-11.
_ROUNDING = 2.0**-9

Index = tuple[int, ...] | None


def find(graph: Graph, got: Mapping[str, Array], want: Mapping[str, Array], index: Index) -> Culprit | None:
    """The earliest operation on the way to a wrong output that gave a wrong result for what it was given.

    An error is measured against what went into the operation: one that hands a wrong value on, or whose sum cancels
    what others rounded, is not blamed. Overflows that later operations absorb (2 / inf = 0) lead to no wrong output and
    are not blamed either. `index` is that of the bad element in tensors of its rank; elsewhere the whole tensor
    counts. When every operation is right by itself and only their roundings add up, there is none.
    """
    producers = {tensor.name: node for node in graph.nodes for tensor in node.outputs}
    wrong = {name for name in producers if _difference(got[name], want[name], index) is not None}
    behind = _behind(_wrong_outputs(graph, wrong, got, index), wrong, producers)
    for node in graph.nodes:
        if node.name in behind and _is_at_fault(node, graph, got, index):
            return _culprit(node, wrong, got, want, index)
    return None


def _is_at_fault(node: Node, graph: Graph, got: Mapping[str, Array], index: Index) -> bool:
    """Whether an operation gave something else than it does in float64 for the same operands."""
    results = zip(node.outputs, exactly(node, graph, got), strict=True)
    return any(_difference(got[tensor.name], exact, index, size) is not None for tensor, (exact, size) in results)


def trace(graph: Graph, got: Mapping[str, Array], want: Mapping[str, Array], index: Index) -> tuple[Step, ...]:
    """Every operation in order, at `index` where its result has one, else where it is wrong or largest."""
    shown = (node for node in graph.nodes if node.outputs and isinstance(got[node.outputs[0].name], np.ndarray))
    return tuple(_step(node, got, want, index) for node in shown)


def _step(node: Node, got: Mapping[str, Array], want: Mapping[str, Array], index: Index) -> Step:
    name = node.outputs[0].name
    difference = _difference(got[name], want[name], index)
    shown = difference or _shown(got[name], want[name], index)
    return Step(op=node.op, name=node.name, got=shown[0], want=shown[1], wrong=difference is not None)


def _shown(got: Array, want: Array, index: Index) -> tuple[float, float]:
    if index is not None and _holds(got, index):
        return float(got[index]), float(want[index])
    largest = int(np.argmax(np.abs(np.nan_to_num(want.astype(np.float64)))))
    return float(np.ravel(got)[largest]), float(np.ravel(want)[largest])


def _wrong_outputs(graph: Graph, wrong: set[str], got: Mapping[str, Array], index: Index) -> list[str]:
    """The wrong outputs that hold `index`; all wrong ones if none does."""
    outputs = [name for name in graph.outputs if name in wrong]
    return [name for name in outputs if _holds(got[name], index)] or outputs


def _behind(outputs: list[str], wrong: set[str], producers: Mapping[str, Node]) -> set[str]:
    """The nodes behind `outputs`, walked through wrong tensors only."""
    seen: set[str] = set()
    waiting = list(outputs)
    while waiting:
        node = producers[waiting.pop()]
        if node.name in seen:
            continue
        seen.add(node.name)
        waiting.extend(name for operand in node.operands.values() for name in references(operand) if name in wrong)
    return seen


def _culprit(node: Node, wrong: set[str], got: Mapping[str, Array], want: Mapping[str, Array], index: Index) -> Culprit:
    name = next(tensor.name for tensor in node.outputs if tensor.name in wrong)
    got_here, want_here = _difference(got[name], want[name], index) or (np.nan, np.nan)
    return Culprit(op=node.op, name=node.name, got=got_here, want=want_here)


def _holds(values: Array, index: Index) -> bool:
    return (
        index is not None
        and len(index) == values.ndim
        and all(at < size for at, size in zip(index, values.shape, strict=True))
    )


def _difference(got: Array, want: Array, index: Index, size: Array | None = None) -> tuple[float, float] | None:
    """The first wrong value and what it should be; None if all are right or there is nothing to round.

    `size` (the shape of `want`) is that of what was added up, whose rounding is no error of the sum.
    """
    if not isinstance(got, np.ndarray) or got.dtype.kind != "f":
        return None
    if index is not None and _holds(got, index):
        got, want = got[index], want[index]
        size = None if size is None else size[index]
    allowed = 0.0 if size is None else _ROUNDING * np.nan_to_num(size, posinf=0.0)
    with np.errstate(invalid="ignore"):
        right = np.abs(got - want) <= _WRONG_RELATIVE * np.abs(want) + _WRONG_ABSOLUTE + allowed
        right |= (got == want) | (np.isnan(got) & np.isnan(want))
    if right.all():
        return None
    first = np.argmin(right)
    return float(np.ravel(got)[first]), float(np.ravel(want)[first])
