"""Walk a graph operation by operation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from mish_guard.engines.emulator import ops
from mish_guard.engines.emulator.arithmetic import Arithmetic
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


def _run(node: Node, graph: Graph, values: Mapping[str, Any], arithmetic: Arithmetic) -> tuple[Array, ...]:
    resolved = {name: _resolve(operand, graph, values) for name, operand in node.operands.items()}
    operands = arithmetic.enter(node, resolved)
    constants = {name for name, operand in node.operands.items() if _is_constant(operand, graph)}
    result = _call(node, operands, arithmetic)
    results = result if isinstance(result, tuple) else (result,)
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
