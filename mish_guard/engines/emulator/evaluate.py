"""Walk a graph operation by operation."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mish_guard.engines.emulator import fast, ops
from mish_guard.engines.emulator.arithmetic import Arithmetic, Exact
from mish_guard.engines.emulator.graph import MAX_ELEMENTS, Array, DType, Graph, Node, Operand, Ref, Tensor
from mish_guard.engines.emulator.products import Operands
from mish_guard.errors import EvaluationError, UnsupportedOpError, UsageError

# What numpy and PyTorch raise for operands that do not fit together.
_MISFITS = (ValueError, IndexError, KeyError, TypeError, RuntimeError, ArithmeticError, AttributeError)

# Loops of a model that never end must not be ours: so many operations are run in all loops together.
_MOST_IN_LOOPS = 100_000


def evaluate(
    graph: Graph,
    feeds: Mapping[str, ArrayLike],
    arithmetic: Arithmetic,
    state: MutableMapping[str, Array] | None = None,
    known: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Every tensor of `graph` by name, float64 on the grid of its declared type.

    `state` holds the model's states by name and is updated in place; without it they begin as zeros and are lost.
    `known` are tensors that need not be computed: `up_to` of another evaluation.
    Raises UnsupportedOpError naming an operation or a parameter the emulator does not know, UsageError for a feed
    that is missing or has the wrong shape, EvaluationError for a model that contradicts itself.
    """
    run = _Run(arithmetic, {} if state is None else state, known or {})
    values: dict[str, Any] = {tensor.name: _stored(tensor, feeds, arithmetic) for tensor in graph.inputs}
    for tensor in graph.states:
        run.state.setdefault(tensor.name, np.zeros([size or 0 for size in tensor.shape or ()]))
    with np.errstate(all="ignore"):
        run.block(graph, values, ChainMap({}))
    for name in graph.outputs:
        if name not in values:
            values[name] = _constant(graph, name)
    return values


def up_to(tensor: str, graph: Graph, values: Mapping[str, Array]) -> dict[str, Array]:
    """Of the tensors that were evaluated, those that a graph computes before `tensor`.

    None where the order does not tell what depends on what: with states, in control flow, where a name is used twice.
    """
    names = [each.name for node in graph.nodes for each in node.outputs]
    every = [*names, *(each.name for each in graph.inputs)]
    if tensor not in names or len(set(every)) < len(every) or graph.states or any(node.blocks for node in graph.nodes):
        return {}
    return {name: values[name] for name in names[: names.index(tensor)]}


def exactly(node: Node, graph: Graph, values: Mapping[str, Any]) -> tuple[tuple[Array, Array], ...]:
    """What an operation gives in float64 for the operands it was given, and the size of what it had to add up.

    The size is the same operation on absolute operands where sums may cancel, elsewhere that of the result. What
    control flow and states give is taken as it is: they compute nothing themselves.
    """
    if node.op in _FLOW:
        return tuple((values[tensor.name], _absolute(values[tensor.name])) for tensor in node.outputs)
    resolved = {name: _resolve(operand, values, graph.constants) for name, operand in node.operands.items()}
    with np.errstate(all="ignore"):
        exact = _as_tuple(_call(node, resolved, Exact()), node)
        if node.op not in ops.ACCUMULATING and node.op not in _CANCELLING:
            return tuple((each, _absolute(each)) for each in exact)
        sizes = {name: _absolute(value) for name, value in resolved.items()}
        op = dataclasses.replace(node, op="add") if node.op == "sub" else node
        return tuple(zip(exact, map(np.abs, _as_tuple(_call(op, sizes, Exact()), node)), strict=True))


# Operations besides products of sums whose result may be far smaller than what goes into it.
_CANCELLING = frozenset({"add", "sub", "reduce_sum", "reduce_mean"})

_FLOW = frozenset({"cond", "while_loop", "nn_branch", "nn_loop", "read_state", "write_state"})


def _absolute(value: Any) -> Any:
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return np.abs(value) if is_float else value


def _stored(tensor: Tensor, feeds: Mapping[str, ArrayLike], arithmetic: Arithmetic) -> Array:
    """What an input holds: half precision that is fed to half precision needs no rounding."""
    fed = _fed(tensor, feeds)
    is_half = tensor.dtype is DType.FP16 and getattr(feeds.get(tensor.name), "dtype", None) == np.float16
    return fed if is_half else arithmetic.store(tensor, fed)


def _fed(tensor: Tensor, feeds: Mapping[str, ArrayLike]) -> Array:
    if tensor.name not in feeds and tensor.default is not None:
        value, shape = tensor.default
        return _typed(tensor, np.full(shape, value))
    if tensor.name not in feeds:
        msg = f"The model wants an input '{tensor.name}'; got {sorted(feeds) or 'none'}."
        raise UsageError(msg)
    fed = fast.widen(feeds[tensor.name])
    if not tensor.admits(fed.shape):
        msg = f"Input '{tensor.name}' must have shape {tensor.spelled}, not {fed.shape}."
        raise UsageError(msg)
    return _typed(tensor, fed)


def _constant(graph: Graph, name: str) -> Any:
    if name not in graph.constants:
        msg = f"The model declares an output '{name}' that nothing in it yields."
        raise EvaluationError(msg)
    return graph.constants[name]


class _Run:
    """One evaluation: the arithmetic, the states, and what control flow needs of both."""

    def __init__(self, arithmetic: Arithmetic, state: MutableMapping[str, Array], known: Mapping[str, Array]) -> None:
        self.state = state
        self._arithmetic = arithmetic
        self._known = known
        self._in_loops = 0
        self._control: dict[str, Callable[[Node, Any, Any], Any]] = {
            "cond": self._cond,
            "while_loop": self._while_loop,
            "nn_branch": self._branch,
            "nn_loop": self._loop,
            "read_state": lambda node, *_: self.state[_state_name(node)],
            "write_state": self._write_state,
        }

    def block(self, graph: Graph, values: MutableMapping[str, Any], constants: ChainMap[str, Any]) -> None:
        """Add everything that `graph` computes to `values`."""
        constants = constants.new_child(dict(graph.constants))
        for node in graph.nodes:
            kept = self._already(node) or self._computed(node, values, constants)
            values.update(kept)
            if node.op.startswith("constexpr_"):
                constants.update(kept)

    def _already(self, node: Node) -> dict[str, Array]:
        """What is known of a node's results: all of them or nothing."""
        return {tensor.name: self._known[tensor.name] for tensor in node.outputs if tensor.name in self._known}

    def _computed(
        self, node: Node, values: MutableMapping[str, Array], constants: ChainMap[str, Array]
    ) -> dict[str, Array]:
        results = self._node(node, values, constants)
        return {
            tensor.name: self._kept(node, tensor, value) for tensor, value in zip(node.outputs, results, strict=True)
        }

    def _node(self, node: Node, values: MutableMapping[str, Any], constants: ChainMap[str, Any]) -> tuple[Any, ...]:
        if node.op in self._control:
            return self._flow(node, values, constants)
        resolved = {name: _resolve(operand, values, constants) for name, operand in node.operands.items()}
        operands = self._arithmetic.enter(node, resolved)
        known = {name for name, operand in node.operands.items() if _is_constant(operand, constants)}
        results = _as_tuple(_call(node, operands, self._arithmetic), node)
        return tuple(
            self._arithmetic.leave(node, operands, known, fast.frozen(each)) if isinstance(each, np.ndarray) else each
            for each in results
        )

    def _flow(
        self, node: Node, values: MutableMapping[str, Array], constants: ChainMap[str, Array]
    ) -> tuple[object, ...]:
        try:
            return _as_tuple(self._control[node.op](node, values, constants), node)
        except _MISFITS as error:
            raise _unfit(node, error) from error

    def _kept(self, node: Node, tensor: Tensor, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        if node.opset == 0 and value.ndim == 0:  # the format before ML programs has no scalars
            value = value.reshape(1)
        if not tensor.admits(value.shape):
            msg = (
                f"'{node.op}' ('{tensor.name}') yields the shape {value.shape}, and the model declares "
                f"{tensor.spelled}."
            )
            raise EvaluationError(msg)
        return self._arithmetic.store(tensor, _typed(tensor, value))

    def _cond(self, node: Node, values: Any, constants: Any) -> tuple[Any, ...]:
        taken = np.asarray(_resolve(node.operands["pred"], values, constants)).item()
        return self._outputs(node.blocks[0 if taken else 1], (), values, constants)

    def _while_loop(self, node: Node, values: Any, constants: Any) -> tuple[Any, ...]:
        given = _resolve(node.operands["loop_vars"], values, constants)
        carried = given if isinstance(given, tuple) else (given,)
        condition, body = node.blocks
        while True:
            self._turn(node)
            (goes_on,) = self._outputs(condition, carried, values, constants)
            if not np.asarray(goes_on).item():
                return carried
            carried = self._outputs(body, carried, values, constants)

    def _turn(self, node: Node) -> None:
        """One more turn of a loop; an empty one counts too."""
        self._in_loops += 1 + sum(len(block.nodes) for block in node.blocks)
        if self._in_loops > _MOST_IN_LOOPS:
            msg = f"'{node.name}' does not end: the loops of a model run {_MOST_IN_LOOPS} operations at most."
            raise EvaluationError(msg)

    def _outputs(self, block: Graph, given: tuple[Any, ...], values: Any, constants: Any) -> tuple[Any, ...]:
        """What a block yields; what it computes stays inside."""
        inside: ChainMap[str, Any] = ChainMap({}, values)
        inside.update(zip((tensor.name for tensor in block.inputs), given, strict=True))
        self.block(block, inside, constants)
        inner = constants.new_child(dict(block.constants))
        return tuple(_resolve(Ref(name), inside, inner) for name in block.outputs)

    def _branch(self, node: Node, values: Any, constants: Any) -> tuple[()]:
        """A branch of a neural network writes to the tensors around it."""
        taken = np.asarray(_resolve(node.operands["pred"], values, constants)).any()
        if taken or len(node.blocks) > 1:
            self._around(node.blocks[0 if taken else 1], values, constants)
        return ()

    def _loop(self, node: Node, values: Any, constants: Any) -> tuple[()]:
        """A loop of a neural network: it too writes to the tensors around it."""
        condition, body = node.blocks
        most = int(np.asarray(node.operands["max_iterations"]))
        for _ in range(most) if most else itertools.count():
            self._turn(node)
            self._around(condition, values, constants)
            (goes_on,) = condition.outputs
            if not np.asarray(values[goes_on]).any():
                break
            self._around(body, values, constants)
        return ()

    def _around(self, block: Graph, values: MutableMapping[str, Array | str], constants: ChainMap[str, Array]) -> None:
        values.update(block.constants)
        self.block(block, values, constants)

    def _write_state(self, node: Node, values: Any, constants: Any) -> tuple[()]:
        self.state[_state_name(node)] = np.array(_resolve(node.operands["data"], values, constants))
        return ()


def _as_tuple(result: Any, node: Node) -> tuple[Any, ...]:
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(node.outputs):
        msg = f"'{node.op}' ('{node.name}') yields {len(results)} results, and the model declares {len(node.outputs)}."
        raise EvaluationError(msg)
    return results


def _typed(tensor: Tensor, value: Array) -> Array:
    """`value` as the kind of number that is declared; rounding is the arithmetic's."""
    kind = value.dtype.kind
    if tensor.dtype is DType.INT and kind != "i":
        return np.trunc(value).astype(np.int64) if kind == "f" else value.astype(np.int64)
    if tensor.dtype is DType.BOOL and kind != "b":
        return np.asarray(value != 0)
    if tensor.dtype.is_float and kind in "ib":
        return value.astype(np.float64)
    return value


def _call(node: Node, operands: Operands, arithmetic: Arithmetic) -> ops.Result:
    operation, extra = _operation(node, arithmetic)
    try:
        _fits(operation, (*operands, *extra))
    except TypeError as error:
        msg = f"The emulator does not know a parameter of '{node.op}' ('{node.name}'): {error}"
        raise UnsupportedOpError(msg) from error
    try:
        if (count := ops.sizes.elements(node.op, operands)) > MAX_ELEMENTS:
            msg = f"'{node.op}' ('{node.name}') makes {count} elements, more than {MAX_ELEMENTS}."
            raise EvaluationError(msg)
        return operation(**operands, **extra)
    except _MISFITS as error:
        raise _unfit(node, error) from error


def _unfit(node: Node, error: Exception) -> EvaluationError:
    return EvaluationError(f"'{node.op}' ('{node.name}') cannot take its operands: {type(error).__name__}: {error}")


@functools.lru_cache(maxsize=4096)
def _fits(operation: ops.Operation, names: tuple[str, ...]) -> None:
    """Raises TypeError if the operation does not take these parameters, or needs others."""
    inspect.signature(operation).bind(**dict.fromkeys(names))


def _operation(node: Node, arithmetic: Arithmetic) -> tuple[ops.Operation, dict[str, Any]]:
    """The function of an operation in its opset, and what it takes besides its operands."""
    if node.op in ops.ACCUMULATING:
        return ops.ACCUMULATING[node.op], {"accumulator": arithmetic.accumulator(node)}
    found = ops.find(node.op, node.opset)
    if found is not None:
        return found, {}
    reason = ops.REFUSED.get(node.op, "It never guesses: add it to mish_guard/engines/emulator/ops with a test.")
    msg = f"The emulator does not know the operation '{node.op}' ('{node.name}'). {reason}"
    raise UnsupportedOpError(msg)


def _state_name(node: Node) -> str:
    state = node.operands["input"]
    if not isinstance(state, Ref):
        msg = f"'{node.op}' ('{node.name}') names no state."
        raise EvaluationError(msg)
    return state.name


def _resolve(operand: Operand, values: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
    if isinstance(operand, tuple):
        return tuple(_resolve(each, values, constants) for each in operand)
    if not isinstance(operand, Ref):
        return operand
    if operand.name in values:
        return values[operand.name]
    if operand.name in constants:
        return constants[operand.name]
    msg = f"The model uses '{operand.name}' before anything yields it."
    raise EvaluationError(msg)


def _is_constant(operand: Operand, constants: Mapping[str, Any]) -> bool:
    return not isinstance(operand, Ref) or operand.name in constants
