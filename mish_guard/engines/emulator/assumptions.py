"""What nobody has measured on a Neural Engine, or two sources tell differently: two readings each.

The friendly reading is what the profiles compute. The pessimistic one is what the same stage does elsewhere, or the
worst figure published. A verdict that holds under the first only rests on the assumption. Fact numbers are those of
`data/evidence.yml`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mish_guard.engines.emulator import fast, products
from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.hazards import LIMIT, Call, Rule, overflow
from mish_guard.numerics import fp16


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One open question: for which operations, what either reading says, and the facts that leave it open."""

    id: str
    ops: frozenset[str]
    friendly: str
    pessimistic: str
    evidence: tuple[str, ...]
    read: Rule

    def differs(self, call: Call, result: Array) -> Array | None:
        """The result read pessimistically; None where that changes nothing."""
        other = self.read(call, result)
        if other is result or np.array_equal(other, result):
            return None
        return None if fast.has_nan(result) and np.array_equal(other, result, equal_nan=True) else other


TABLE: dict[str, Assumption] = {}


def of(op: str) -> tuple[Assumption, ...]:
    """The assumptions about one operation."""
    return _BY_OP.get(op, ())


def _assumption(*ops: str, friendly: str, pessimistic: str, evidence: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        name = rule.__name__.replace("_", "-")
        TABLE[name] = Assumption(
            id=name,
            ops=frozenset(ops),
            friendly=friendly,
            pessimistic=pessimistic,
            evidence=tuple(evidence.split()),
            read=rule,
        )
        return rule

    return register


@_assumption(
    "softplus_parametric",
    friendly="softplus_parametric has no cliff",
    pessimistic="it is 0 where exp(beta x) reaches 2^15, as native softplus is",
    evidence="U1 F6",
)
def parametric_softplus_range(call: Call, result: Array) -> Array:
    """As for native softplus."""
    x = call.x
    beta = np.reshape(call.operands["beta"], (1, -1, *([1] * (x.ndim - 2))))
    return np.where(beta * x >= np.log(LIMIT), 0.0, result)


@_assumption(
    "exp2", friendly="exp2 reaches 65504, as exp does", pessimistic="it is inf from 2^15 on", evidence="U2 F37 F38"
)
def exp2_range(call: Call, result: Array) -> Array:
    """As for the stage of sums."""
    del call
    return overflow(result)


@_assumption(
    "mul",
    "real_div",
    friendly="a product with a constant reaches 65504, as one of two tensors does",
    pessimistic="it stands on the stage of sums, as a sum with a constant does: inf from 2^15 on",
    evidence="U3 F34 F54",
)
def constant_gain_range(call: Call, result: Array) -> Array:
    """As for the stage of sums."""
    return overflow(result) if call.constants else result


@_assumption(
    "conv_transpose",
    "einsum",
    "scaled_dot_product_attention",
    friendly="only conv, linear and matmul are limited at 2^15",
    pessimistic="every sum of products is: inf from 2^15 on",
    evidence="U6 F30 F31",
)
def other_products_range(call: Call, result: Array) -> Array:
    """As for the stage of sums."""
    del call
    return overflow(result)


@_assumption(
    "conv",
    "linear",
    "matmul",
    friendly="a sum of products keeps the sign of its first infinity",
    pessimistic="infinities of both signs leave +0, as where two elements are added",
    evidence="U7 F31 F48",
)
def opposed_infinities(call: Call, result: Array) -> Array:
    """Infinite products, or a partial sum and a product, of both signs."""
    if call.is_single_tap or call.is_below_limit or not fast.has_infinite(result):
        return result
    met = products.opposed(call.op, call.operands, result, LIMIT)
    return result if met is None else np.where(met, 0.0, result)


@_assumption(
    "cast",
    friendly="a number beyond 65504 becomes inf when it is cast to half precision",
    pessimistic="it becomes 65504",
    evidence="F60 F61",
)
def cast_saturation(call: Call, result: Array) -> Array:
    """The two sources say one each."""
    del call
    return np.where(np.isfinite(result), np.clip(result, -fp16.MAX_FINITE, fp16.MAX_FINITE), result)


@_assumption(
    "real_div",
    friendly="inf / inf is +0, as inf - inf and 0 * inf are",
    pessimistic="it is inf",
    evidence="U4 F48",
)
def infinite_ratio(call: Call, result: Array) -> Array:
    """The quotient of two infinities."""
    x, y = call.x, np.asarray(call.operands["y"])
    if not (fast.has_infinite(x) and fast.has_infinite(y)):
        return result
    both = np.isinf(x) & np.isinf(y)
    return np.where(both, np.copysign(np.inf, np.sign(x) * np.sign(y)), result) if both.any() else result


@_assumption(
    "log",
    friendly="log(+inf) is 0, which native softplus suggests",
    pessimistic="it is inf",
    evidence="U5 F5 F55",
)
def infinite_logarithm(call: Call, result: Array) -> Array:
    """The logarithm of infinity itself."""
    return np.where(np.isposinf(call.x), np.inf, result)


@_assumption(
    "silu",
    friendly="native silu is rounded like everything else",
    pessimistic="it is off by 1.34 %",
    evidence="F69 F42",
)
def silu_accuracy(call: Call, result: Array) -> Array:
    """The largest relative error published."""
    del call
    return np.asarray(result * (1 - 0.0134))


@_assumption(
    "gelu",
    friendly="native gelu is rounded like everything else",
    pessimistic="it is off by 2.735 %",
    evidence="F70 F42",
)
def gelu_accuracy(call: Call, result: Array) -> Array:
    """The largest relative error published."""
    del call
    return np.asarray(result * (1 - 0.02735))


@_assumption(
    "sigmoid_hard",
    friendly="hard-swish of a tensor of rank 2 is as right as of one of rank 4",
    pessimistic="it is off by 3.92 %",
    evidence="F73",
)
def rank_2_hard_swish(call: Call, result: Array) -> Array:
    """The relative error published, on the factor that makes a hard sigmoid a hard-swish."""
    return np.asarray(result * (1 - 0.0392)) if call.x.ndim == 2 else result


_BY_OP: dict[str, tuple[Assumption, ...]] = {
    op: tuple(each for each in TABLE.values() if op in each.ops)
    for op in sorted({op for each in TABLE.values() for op in each.ops})
}
