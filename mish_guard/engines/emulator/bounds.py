"""Error bars: the worst error that the accuracies measured on silicon allow.

The emulator rounds exact values; the engine uses tables (F52). Here every tensor is an interval: an operation takes
the interval of its operands, and delivers any half-precision number within the relative error that was measured of it
(F38, F40, F41, F43-F46, F78), or the exact value rounded, whichever is wider. Errors of different operations count as
independent, so a bound may be wider than the engine, never narrower, as long as the measured accuracies hold where
they were not measured: at large inputs.

Intervals are pairs of float64 arrays of one shape; both ends belong to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mish_guard.engines.emulator import accuracy
from mish_guard.engines.emulator.graph import Array, DType, Graph, Node, Operand, Ref, Tensor
from mish_guard.engines.emulator.hazards import LIMIT, LOG_OF_ZERO, overflow
from mish_guard.engines.emulator.products import Operands
from mish_guard.engines.emulator.profiles import Profile
from mish_guard.engines.emulator.sketch import sketch
from mish_guard.errors import UnsupportedOpError
from mish_guard.models.lowerings import Build
from mish_guard.numerics import fp16, reference
from mish_guard.numerics.ceiling import CEILING
from mish_guard.records import Worst

Interval = tuple[Array, Array]
_NOTHING: Interval = (np.zeros(()), np.zeros(()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The worst error over all finite half-precision inputs that the measured accuracies allow.

    `max_abs` is in units of the output. `share` is the error divided by what the ceiling allows at that input, so a
    lowering is `is_robust` where the share stays at 1 or below and nothing allowed is infinite or collapsed.
    """

    max_abs: Worst
    share: Worst
    is_robust: bool


def of_lowering(build: Build, profile: Profile) -> Bound:
    """The bound of a lowering of mish; raises UnsupportedOpError for an operation without a measured accuracy."""
    return of_activation(sketch(build), profile)


def of_activation(graph: Graph, profile: Profile) -> Bound:
    """The bound of a graph of element-wise operations that computes mish of its only input."""
    inputs = fp16.finite_values().astype(np.float64)
    (tensor,), (output,) = graph.inputs, graph.outputs
    return judge(enclosure(graph, {tensor.name: (inputs, inputs)}, profile)[output], inputs)


def between(graph: Graph, source: str, target: str) -> Graph:
    """The part of a graph that makes tensor `target` of tensor `source`, as a graph of its own."""
    producers = {tensor.name: node for node in graph.nodes for tensor in node.outputs}
    wanted, waiting = set(), [target]
    while waiting:
        name = waiting.pop()
        if name == source or name in wanted or name not in producers:
            continue
        wanted.add(name)
        waiting.extend(each.name for each in producers[name].operands.values() if isinstance(each, Ref))
    nodes = tuple(node for node in graph.nodes if node.outputs[0].name in wanted)
    start = Tensor(name=source, dtype=DType.FP16, shape=None)
    return Graph(inputs=(start,), constants=graph.constants, nodes=nodes, outputs=(target,))


def judge(interval: Interval, inputs: Array) -> Bound:
    """How far the ends of an interval are from mish of `inputs`, in the ceiling's measure.

    Where the result itself is 2**15 and more, an end beyond 65504 counts as 65504: a last unit too much is there an
    overflow by definition, and accuracies were measured far below.
    """
    want = reference.mish(inputs)
    size = np.abs(want)
    ends = [np.where(size >= LIMIT, _limited(end), end) for end in interval]
    error = _error(interval, want)
    share = error / (CEILING.absolute + CEILING.relative * size)
    within = np.logical_and(*(CEILING.within(end, want, size) for end in ends))
    return Bound(max_abs=_worst(error, inputs), share=_worst(share, inputs), is_robust=bool(within.all()))


def bars(graph: Graph, profile: Profile) -> dict[str, float]:
    """The largest error in units in the last place that the measured accuracies allow, by binade of the input.

    `graph` computes mish of its only input. Empty where that has no error bars: nothing, or an operation of which no
    accuracy was measured, leads from one to the other.
    """
    inputs = fp16.finite_values().astype(np.float64)
    want = reference.mish(inputs)
    (tensor,), (output,) = graph.inputs, graph.outputs
    try:
        error = _error(enclosure(graph, {tensor.name: (inputs, inputs)}, profile)[output], want)
    except (UnsupportedOpError, LookupError):
        return {}
    numbers, starts = np.unique(fp16.binade(inputs), return_index=True)
    worst = np.maximum.reduceat(error / fp16.spacing(want), starts)
    return {fp16.binade_name(int(number)): float(each) for number, each in zip(numbers, worst, strict=True)}


def _limited(end: Array) -> Array:
    return np.asarray(np.clip(end, -fp16.MAX_FINITE, fp16.MAX_FINITE))


def _error(interval: Interval, want: Array) -> Array:
    """How far either end is from `want`; one that is infinite counts as 65504."""
    low, high = (np.abs(_limited(end) - want) for end in interval)
    return np.asarray(np.maximum(low, high))


def enclosure(graph: Graph, feeds: Mapping[str, Interval], profile: Profile) -> dict[str, Interval]:
    """Every tensor of `graph` as an interval; raises UnsupportedOpError for an operation it cannot bound."""
    known: dict[str, Interval] = dict(feeds)
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            operands = {key: _operand(value, known, graph) for key, value in node.operands.items()}
            try:
                result = _RULES[node.op](**operands) if node.op in _RULES else _refuse(node)
                known[node.outputs[0].name] = _stored(node, operands, result, profile, graph)
            except (TypeError, ValueError):  # a constant of another shape, or an operand that no rule has
                _refuse(node)
    return known


def _refuse(node: Node) -> Interval:
    msg = f"There are no error bars for '{node.op}' ('{node.name}')."
    raise UnsupportedOpError(msg)


def _operand(operand: Operand, known: Mapping[str, Interval], graph: Graph) -> Interval | Operand:
    if isinstance(operand, Ref):
        if operand.name in known:
            return known[operand.name]
        return _operand(graph.constants[operand.name], known, graph)
    if isinstance(operand, np.ndarray) and operand.dtype.kind == "f":
        return operand, operand
    return operand


def _stored(node: Node, operands: Operands, exact: Interval, profile: Profile, graph: Graph) -> Interval:
    """The interval of a result as it is delivered, with the hazards of a Neural Engine."""
    if node.outputs[0].dtype is not DType.FP16:
        return exact
    if not profile.is_neural_engine:
        return _rounded(exact)
    result = _HAZARDS.get(node.op, _unharmed)(operands, _delivered(node.op, exact))
    if node.op in ("add", "sub") and any(_is_constant(each, graph) for each in node.operands.values()):
        return overflow(result[0]), overflow(result[1])
    return result


def _delivered(op: str, interval: Interval) -> Interval:
    """What the engine may deliver: the exact value rounded, or any half-precision number within the error measured."""
    rounded = _rounded(interval)
    measured = accuracy.of(op)
    if measured is None or not measured.relative_error:
        return rounded
    low, high = interval
    lowest = _up(low - measured.relative_error * np.abs(low))
    highest = -_up(-high - measured.relative_error * np.abs(high))
    return _finite_or(np.minimum(lowest, rounded[0]), rounded[0]), _finite_or(
        np.maximum(highest, rounded[1]), rounded[1]
    )


def _up(values: Array) -> Array:
    """The least half-precision number that is not below each value."""
    half = fp16.to_fp16(values)
    below = half.astype(np.float64) < values
    return np.where(below, np.nextafter(half, np.float16(np.inf)), half).astype(np.float64)


def _finite_or(values: Array, rounded: Array) -> Array:
    """An inaccuracy is not an overflow: it never makes an infinity, nor a NaN of one."""
    return np.where(np.isfinite(values), values, rounded)


def _rounded(interval: Interval) -> Interval:
    """Rounding is monotonic: the ends of what is rounded are the ends rounded."""
    low, high = (fp16.to_fp16(end).astype(np.float64) for end in interval)
    return low, high


def _is_constant(operand: Operand, graph: Graph) -> bool:
    return not isinstance(operand, Ref) or operand.name in graph.constants


def _worst(values: Array, at: Array) -> Worst:
    place = int(np.argmax(values))
    return Worst(value=float(values[place]), at=float(at[place]))


def _rising(function: Callable[[Array], ArrayLike]) -> Callable[..., Interval]:
    return lambda *, x: (np.asarray(function(x[0])), np.asarray(function(x[1])))


def _hull(candidates: list[Array]) -> Interval:
    """The least interval around some values; what is not a number counts as 0, as the engine has it."""
    stacked = np.stack(np.broadcast_arrays(*(np.where(np.isnan(each), 0.0, each) for each in candidates)))
    return stacked.min(axis=0), stacked.max(axis=0)


def _mul(*, x: Interval, y: Interval) -> Interval:
    return _hull([a * b for a in x for b in y])


def _real_div(*, x: Interval, y: Interval) -> Interval:
    low, high = _hull([np.where(b == 0, np.copysign(np.inf, a) * (a != 0), a / b) for a in x for b in y])
    straddles = (y[0] < 0) & (y[1] >= 0)
    return np.where(straddles, -np.inf, low), np.where(straddles, np.inf, high)


def _inverse(*, x: Interval, epsilon: Interval = _NOTHING) -> Interval:
    one = np.ones_like(x[0])
    return _real_div(x=(one, one), y=_add(x=x, y=epsilon))


def _add(*, x: Interval, y: Interval) -> Interval:
    low, high = np.asarray(x[0] + y[0]), np.asarray(x[1] + y[1])
    lost = np.isnan(low) | np.isnan(high)
    return np.where(lost, -np.inf, low), np.where(lost, np.inf, high)


def _sub(*, x: Interval, y: Interval) -> Interval:
    return _add(x=x, y=(-y[1], -y[0]))


def _abs(*, x: Interval) -> Interval:
    low, high = np.abs(x[0]), np.abs(x[1])
    straddles = (x[0] <= 0) & (x[1] >= 0)
    return np.where(straddles, 0.0, np.minimum(low, high)), np.maximum(low, high)


def _square(*, x: Interval) -> Interval:
    low, high = _abs(x=x)
    return np.square(low), np.square(high)


def _log(*, x: Interval, epsilon: Interval = _NOTHING) -> Interval:
    low, high = (np.where(fp16.to_fp16(end) > 0, np.log(end), LOG_OF_ZERO) for end in _add(x=x, y=epsilon))
    return low, high


def _clip(*, x: Interval, alpha: Interval, beta: Interval) -> Interval:
    return _minimum(x=_maximum(x=x, y=alpha), y=beta)


def _minimum(*, x: Interval, y: Interval) -> Interval:
    return np.minimum(x[0], y[0]), np.minimum(x[1], y[1])


def _maximum(*, x: Interval, y: Interval) -> Interval:
    return np.maximum(x[0], y[0]), np.maximum(x[1], y[1])


def _less_equal(*, x: Interval, y: Interval) -> Interval:
    """Certainly, and possibly: as numbers, so that 0 and 1 are the ends."""
    return (x[1] <= y[0]).astype(np.float64), (x[0] <= y[1]).astype(np.float64)


def _less(*, x: Interval, y: Interval) -> Interval:
    return (x[1] < y[0]).astype(np.float64), (x[0] < y[1]).astype(np.float64)


def _select(*, cond: Interval, a: Interval, b: Interval) -> Interval:
    certain, possible = cond[0] != 0, cond[1] != 0
    low = np.where(certain, a[0], np.where(possible, np.minimum(a[0], b[0]), b[0]))
    return low, np.where(certain, a[1], np.where(possible, np.maximum(a[1], b[1]), b[1]))


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def _cast(*, x: Interval, dtype: str) -> Interval:
    if not str(dtype).startswith("fp"):
        msg = f"There are no error bars for a cast to {dtype}."
        raise UnsupportedOpError(msg)
    return x


_RULES: dict[str, Callable[..., Interval]] = {
    "abs": _abs,
    "add": _add,
    "cast": _cast,
    "clip": _clip,
    "exp": _rising(np.exp),
    "exp2": _rising(np.exp2),
    "greater": lambda *, x, y: _less(x=y, y=x),
    "greater_equal": lambda *, x, y: _less_equal(x=y, y=x),
    "identity": _rising(np.array),
    "inverse": _inverse,
    "less": _less,
    "less_equal": _less_equal,
    "log": _log,
    "maximum": _maximum,
    "minimum": _minimum,
    "mul": _mul,
    "real_div": _real_div,
    "relu": _rising(lambda x: np.maximum(x, 0.0)),
    "relu6": _rising(lambda x: np.clip(x, 0.0, 6.0)),
    "select": _select,
    "sigmoid": _rising(_sigmoid),
    "softplus": _rising(reference.softplus),
    "sqrt": _rising(lambda x: np.sqrt(np.maximum(x, 0.0))),
    "square": _square,
    "sub": _sub,
    "tanh": _rising(np.tanh),
}


def _unharmed(operands: Operands, interval: Interval) -> Interval:
    del operands
    return interval


def _softplus_hazard(operands: Operands, interval: Interval) -> Interval:
    """0 where exp(x) >= 2**15, and perhaps 0 where the operand may lie on either side."""
    low, high = operands["x"]
    edge = np.log(LIMIT)
    return np.where(high >= edge, 0.0, interval[0]), np.where(low >= edge, 0.0, interval[1])


def _log_hazard(operands: Operands, interval: Interval) -> Interval:
    """log(+inf) and log of a negative number are 0; an epsilon is added on the limited stage."""
    x, epsilon = operands["x"], operands.get("epsilon", _NOTHING)
    low, high = _add(x=x, y=epsilon)
    edge = LIMIT if np.max(epsilon[0]) >= fp16.MIN_SUBNORMAL else np.inf
    may_be_zero = (high >= edge) | (low < 0)
    is_zero = (low >= edge) | (high < 0)
    lower = np.where(may_be_zero, np.minimum(interval[0], 0.0), interval[0])
    upper = np.where(may_be_zero, np.maximum(interval[1], 0.0), interval[1])
    return np.where(is_zero, 0.0, lower), np.where(is_zero, 0.0, upper)


_HAZARDS = {"softplus": _softplus_hazard, "log": _log_hazard}
