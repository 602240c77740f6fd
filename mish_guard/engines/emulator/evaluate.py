"""Walk a graph operation by operation."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from mish_guard.engines.emulator import ops
from mish_guard.engines.emulator.arithmetic import Arithmetic, Exact
from mish_guard.engines.emulator.graph import Array, Graph, Node, Operand, Ref, widen
from mish_guard.errors import UnsupportedOpError, UsageError


def evaluate(graph: Graph, feeds: Mapping[str, Any], arithmetic: Arithmetic) -> dict[str, Array]:
    """Every tensor of `graph` by name, float64 on the grid of its declared type.

    Raises UnsupportedOpError naming an operation or a parameter the emulator does not know, UsageError for a feed
    that is missing or has the wrong shape.
    """
    values: dict[str, Any] = {}
    for tensor in graph.inputs:
        if tensor.name not in feeds:
            msg = f"The model wants an input '{tensor.name}'; got {sorted(feeds) or 'none'}."
            raise UsageError(msg)
        fed = widen(feeds[tensor.name])
        if tensor.shape is not None and fed.shape != tensor.shape:
            msg = f"Input '{tensor.name}' must have shape {tensor.shape}, not {fed.shape}."
            raise UsageError(msg)
        values[tensor.name] = arithmetic.store(tensor, fed)
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            for tensor, value in zip(node.outputs, _run(node, graph, values, arithmetic), strict=True):
                values[tensor.name] = arithmetic.store(tensor, value)
    return values


def exactly(node: Node, graph: Graph, values: Mapping[str, Any]) -> tuple[tuple[Array, Array], ...]:
    """What an operation gives in float64 for the operands it was given, and the size of what it had to add up.

    The size is the same operation on absolute operands where sums may cancel, elsewhere that of the result.
    """
    resolved = {name: _resolve(operand, graph, values) for name, operand in node.operands.items()}
    with np.errstate(all="ignore"):
        exact = _several(_call(node, resolved, Exact()))
        if node.op not in ops.ACCUMULATING and node.op not in _CANCELLING:
            return tuple((each, np.abs(each) if each.dtype.kind == "f" else each) for each in exact)
        sizes = {name: _absolute(value) for name, value in resolved.items()}
        op = dataclasses.replace(node, op="add") if node.op == "sub" else node
        return tuple(zip(exact, map(np.abs, _several(_call(op, sizes, Exact()))), strict=True))


# Operations besides products of sums whose result may be far smaller than what goes into it.
_CANCELLING = frozenset({"add", "sub", "reduce_sum", "reduce_mean"})


def _absolute(value: Any) -> Any:
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return np.abs(value) if is_float else value


def _several(result: ops.Result) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


def _run(node: Node, graph: Graph, values: Mapping[str, Any], arithmetic: Arithmetic) -> tuple[Array, ...]:
    resolved = {name: _resolve(operand, graph, values) for name, operand in node.operands.items()}
    operands = arithmetic.enter(node, resolved)
    constants = {name for name, operand in node.operands.items() if _is_constant(operand, graph)}
    results = _several(_call(node, operands, arithmetic))
    return tuple(arithmetic.leave(node, operands, constants, each) for each in results)


def _call(node: Node, operands: Mapping[str, Any], arithmetic: Arithmetic) -> ops.Result:
    operation, extra = _operation(node, arithmetic)
    try:
        inspect.signature(operation).bind(**operands, **extra)
    except TypeError as error:
        msg = f"The emulator does not know a parameter of '{node.op}' ('{node.name}'): {error}"
        raise UnsupportedOpError(msg) from error
    return operation(**operands, **extra)


def _operation(node: Node, arithmetic: Arithmetic) -> tuple[ops.Operation, dict[str, Any]]:
    """The function of an operation, and what it takes besides its operands."""
    if node.op in ops.ACCUMULATING:
        return ops.ACCUMULATING[node.op], {"accumulator": arithmetic.accumulator(node)}
    if node.op in ops.OPS:
        return ops.OPS[node.op], {}
    msg = (
        f"The emulator does not know the operation '{node.op}' ('{node.name}'). It never guesses: add it to "
        "mish_guard/engines/emulator/ops.py with a test against PyTorch."
    )
    raise UnsupportedOpError(msg)


def _resolve(operand: Operand, graph: Graph, values: Mapping[str, Any]) -> Any:
    if isinstance(operand, tuple):
        return tuple(_resolve(each, graph, values) for each in operand)
    if not isinstance(operand, Ref):
        return operand
    return values[operand.name] if operand.name in values else graph.constants[operand.name]


def _is_constant(operand: Operand, graph: Graph) -> bool:
    return not isinstance(operand, Ref) or operand.name in graph.constants
