"""What a converted model does between the input of mish and its output, as text that can be compared.

Names say nothing here. The tensor that enters mish is found by its values: in exact arithmetic it holds those that the
torch module hands to its activation, and the tensor that leaves holds the mish of them. What lies between is written
down operation by operation, with opsets, constants and types, so that two models with equal sequences compute mish
alike. Where the two tensors cannot be found, or more than one tensor enters, there is no sequence.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mish_guard.engines.emulator.arithmetic import Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import Array, Graph, Node, Operand, Ref
from mish_guard.models.tiles import Probe

# Weights are rounded to half precision on the way, and approximations of mish differ from it by less than this.
_TOLERANCE = 1e-3

# Constants of more elements are written down by their hash.
_FEW = 8


def pruned(graph: Graph, output: str) -> Graph:
    """The part of a graph that one output depends on; its other inputs and operations are left away."""
    nodes = tuple(_needed(graph, output, stop=frozenset()))
    used = {output, *(name for node in nodes for name in _names(node))}
    inputs = tuple(tensor for tensor in graph.inputs if tensor.name in used)
    return dataclasses.replace(graph, inputs=inputs, nodes=nodes, outputs=(output,))


def between(graph: Graph, output: str, probes: Sequence[Probe]) -> str | None:
    """The sequence from the tensor in which mish begins to the first that holds its result; None without one.

    Places of the values do not count: they are compared in ascending order. Raises UnsupportedOpError for an
    operation that the emulator does not know.
    """
    part = pruned(graph, output)
    seen = [_values(graph, part, probe) for probe in probes]
    order = [tensor.name for tensor in part.inputs] + [each.name for node in part.nodes for each in node.outputs]
    begins = [place for place, name in enumerate(order) if _holds(name, seen, [each.entering for each in probes])]
    ends = [place for place, name in enumerate(order) if _holds(name, seen, [each.leaving for each in probes])]
    for begin in reversed(begins):
        end = next((place for place in ends if place > begin), None)
        if end is None:
            continue
        nodes = tuple(_needed(part, order[end], stop=frozenset({order[begin]})))
        if nodes and _is_isolated(part, nodes, order[begin]):
            return spelled(part, nodes, order[begin])
    return None


def spelled(graph: Graph, nodes: Sequence[Node], entry: str) -> str:
    """Operations as text without names, a line each; `x` is the tensor that enters. Raises KeyError if another does."""
    return "\n".join(_lines(graph, nodes, entry))


def _values(graph: Graph, part: Graph, probe: Probe) -> dict[str, Array]:
    feeds = {tensor.name: fed for tensor, fed in zip(graph.inputs, probe.feeds, strict=True)}
    return evaluate(part, {tensor.name: feeds[tensor.name] for tensor in part.inputs}, Exact())


def _holds(name: str, seen: Sequence[Mapping[str, Array]], wanted: Sequence[Array]) -> bool:
    return all(_equal(values[name], each) for values, each in zip(seen, wanted, strict=True))


def _equal(value: Array, wanted: Array) -> bool:
    array = np.asarray(value)
    if array.dtype.kind != "f" or array.size != wanted.size or not np.isfinite(array).all():
        return False
    got, want = np.sort(array, axis=None), np.sort(wanted, axis=None)
    return bool((np.abs(got - want) <= _TOLERANCE * np.maximum(np.abs(want), 1e-2)).all())


def _needed(graph: Graph, name: str, stop: frozenset[str]) -> Iterator[Node]:
    """The operations that yield a tensor, in the order of the graph, none of them beyond the tensors in `stop`.

    What writes a state that is read later yields nothing by name, and is needed all the same.
    """
    wanted, kept = {name}, []
    for node in reversed(graph.nodes):
        writes = node.op == "write_state" and not wanted.isdisjoint(references(node.operands["input"]))
        if writes or any(tensor.name in wanted and tensor.name not in stop for tensor in node.outputs):
            kept.append(node)
            wanted.update(_names(node))
    yield from reversed(kept)


def _is_isolated(graph: Graph, nodes: Sequence[Node], entry: str) -> bool:
    """Whether the operations use nothing but the tensor that enters, constants, and each other."""
    known = {entry, *graph.constants, *(tensor.name for node in nodes for tensor in node.outputs)}
    return all(name in known for node in nodes for name in _names(node))


def _names(node: Node) -> Iterator[str]:
    for operand in node.operands.values():
        yield from references(operand)


def references(operand: Operand) -> Iterator[str]:
    """The tensors that an operand names."""
    if isinstance(operand, Ref):
        yield operand.name
    elif isinstance(operand, tuple):
        for each in operand:
            yield from references(each)


def _lines(graph: Graph, nodes: Sequence[Node], entry: str) -> Iterator[str]:
    """One line for each operation; tensors are numbered in order, `x` is the one that enters."""
    labels = {entry: "x"}
    for number, node in enumerate(nodes):
        operands = ", ".join(
            f"{name}={_spelled(operand, graph, labels)}" for name, operand in sorted(node.operands.items())
        )
        for place, tensor in enumerate(node.outputs):
            labels[tensor.name] = f"t{number}" if place == 0 else f"t{number}.{place}"
        types = ", ".join(tensor.dtype.value for tensor in node.outputs)
        # Neural networks have no opsets.
        opset = node.opset
        yield f"{node.op}{f'@{opset}' if opset else ''}({operands}) -> {types}"


def _spelled(operand: Operand, graph: Graph, labels: Mapping[str, str]) -> str:
    if isinstance(operand, tuple):
        return f"[{', '.join(_spelled(each, graph, labels) for each in operand)}]"
    if isinstance(operand, Ref):
        if operand.name in labels:
            return labels[operand.name]
        return _constant(graph.constants[operand.name])
    return _constant(operand)


def _constant(value: Array | str) -> str:
    if isinstance(value, str):
        return repr(value)
    array = np.asarray(value)
    if array.size <= _FEW:
        return f"{array.tolist()}"
    return f"{array.shape} {hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]}"
