"""What a Neural Engine does that IEEE 754 does not: one function each, with the facts that support it.

The order of this file is the order in which hazards are applied: first what happens to operands as they enter an
operation, then what happens to its result. A profile is a set of their names. Fact numbers are those of
`data/evidence.yml`. A hazard sees float64 values of half-precision operations; what it returns is rounded afterwards.
What nobody has measured is not here but in `assumptions`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from mish_guard.engines.emulator import fast, products
from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.products import Operands
from mish_guard.numerics import fp16

# The stage of sums overflows where a half-precision result would reach 2**15: from 32760 on values round to it.
LIMIT = 2.0**15
ROUNDS_TO_LIMIT = 32760.0

LOG_OF_ZERO = -45440.0

PRODUCTS = frozenset({"conv", "linear", "matmul"})


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operation as it runs: its operands by parameter name, and which of them are constants."""

    op: str
    operands: Operands
    constants: Collection[str] = ()

    @property
    def x(self) -> Array:
        """The operand that MIL calls x."""
        return np.asarray(self.operands["x"])

    @property
    def is_single_tap(self) -> bool:
        """A 1x1 convolution of one channel is not on the limited stage: it passes 60000 (F36)."""
        return self.op == "conv" and products.taps(self.operands["weight"]) == 1

    @functools.cached_property
    def is_below_limit(self) -> bool:
        """Whether no sum of products here can reach the limit, whatever the order; so it is neither inf nor NaN."""
        return self.op in PRODUCTS and products.bound(self.op, self.operands) < ROUNDS_TO_LIMIT

    @functools.cached_property
    def argument(self) -> Array:
        """What a logarithm is taken of: x and the epsilon that is added to it, in half precision."""
        return fast.rounded(np.asarray(self.x + float(self.operands.get("epsilon", 0.0))))

    @functools.cached_property
    def unshifted_sum(self) -> Array:
        """The sum of exponentials, each rounded, in half precision."""
        axes = self.operands.get("axes")
        over = None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes))
        terms = fast.rounded(np.exp(self.x))
        return fast.rounded(np.asarray(terms.sum(axis=over, keepdims=bool(self.operands.get("keep_dims", False)))))


# A rule takes the call and an operand or a result, and gives what the engine makes of it.
Rule = Callable[[Call, Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """A rule by name, for the operations `ops` (None: all), on what enters them, on what leaves them, or on both."""

    name: str
    ops: frozenset[str] | None
    enters: bool
    leaves: bool
    apply: Rule

    @property
    def evidence(self) -> tuple[str, ...]:
        """The facts named in the documentation of the rule."""
        return tuple(re.findall(r"\b[FUC]\d+[a-z]?\b", self.apply.__doc__ or ""))


TABLE: dict[str, Hazard] = {}


def _hazard(*ops: str, enters: bool = False, leaves: bool = True) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        name = rule.__name__.replace("_", "-")
        TABLE[name] = Hazard(name=name, ops=frozenset(ops) or None, enters=enters, leaves=leaves, apply=rule)
        return rule

    return register


@_hazard(enters=True, leaves=False)
def nan_enters_as_infinity(call: Call, operand: Array) -> Array:
    """NaN counts as +inf where it enters (F47)."""
    del call
    return np.where(np.isnan(operand), np.inf, operand) if fast.has_nan(operand) else operand


@_hazard(*PRODUCTS, enters=True)
def subnormals_flushed(call: Call, values: Array) -> Array:
    """Sums of products flush subnormals to 0 (F49: M1 yes, M5 no; adding and multiplying elements keeps them)."""
    if call.is_single_tap:
        return values
    return np.where(np.abs(values) < fp16.MIN_NORMAL, np.copysign(0.0, values), values)


@_hazard("softplus")
def softplus_composed(call: Call, result: Array) -> Array:
    """Native softplus is exp, add 1 and log in half precision: the mechanism inferred in F55."""
    del result
    return np.asarray(np.log(fast.rounded(fast.rounded(np.exp(call.x)) + 1.0)))


@_hazard("softplus")
def softplus_cliff(call: Call, result: Array) -> Array:
    """Native softplus is 0 where exp(x) >= 2**15 (F1, F2, F3, F4, F5)."""
    return np.where(call.x >= np.log(LIMIT), 0.0, result)


@_hazard("log", "reduce_log_sum_exp")
def log_of_zero(call: Call, result: Array) -> Array:
    """log(0) is -45440 (F39)."""
    summed = call.argument if call.op == "log" else call.unshifted_sum
    return np.where(summed == 0, LOG_OF_ZERO, result)


@_hazard("log")
def log_of_infinity(call: Call, result: Array) -> Array:
    """log(+inf) is 0; an epsilon is added on the limited stage, where 2**15 is infinite.

    Inferred from F5 and F55: log(1 + exp(x)) written out falls off the same cliff as softplus (C1).
    """
    has_offset = float(call.operands.get("epsilon", 0.0)) >= fp16.MIN_SUBNORMAL
    return np.where(call.argument >= (LIMIT if has_offset else np.inf), 0.0, result)


@_hazard("reduce_log_sum_exp")
def log_sum_exp_overflow(call: Call, result: Array) -> Array:
    """reduce_log_sum_exp is 0 once its sum, taken without a shift by the maximum, exceeds 65504 (F19, F20, F22)."""
    return np.where(call.unshifted_sum <= fp16.MAX_FINITE, result, 0.0)


@_hazard("inverse", "real_div", "rsqrt", "sqrt")
def zero_loses_its_sign(call: Call, result: Array) -> Array:
    """-0 counts as +0 in front of a reciprocal and a root: 1 / -0 is +inf (F43)."""
    if call.op in ("inverse", "real_div", "rsqrt") and not fast.has_infinite(result):
        return result
    if call.op == "inverse":
        return np.where(np.isinf(result), np.abs(result), result)
    if call.op == "real_div":
        at = (call.operands["y"] == 0) & np.isinf(result)
        if not at.any():
            return result
        result = np.array(result)
        result[at] = np.copysign(np.inf, np.broadcast_to(call.x, result.shape)[at])
        return result
    return np.where(call.x == 0, np.abs(result), result)


@_hazard(*PRODUCTS)
def products_overflow(call: Call, result: Array) -> Array:
    """A sum of several products, or one of its partial sums, is inf from 2**15 on (F30, F31, F32).

    A product of 0 and inf adds nothing to it (F48).
    """
    if call.is_single_tap or call.is_below_limit:
        return result
    return products.overflow_partials(call.op, call.operands, result, LIMIT)


@_hazard("add", "sub")
def offsets_overflow(call: Call, result: Array) -> Array:
    """A constant is added on the stage of sums, which is limited at 2**15 (F54, F55)."""
    return overflow(result) if call.constants else result


@_hazard()
def invalid_forms_give_zero(call: Call, result: Array) -> Array:
    """Inf - inf, 0 * inf, inf / inf, sqrt(-1) and log(-1) give +0: no NaN leaves (F47, F48)."""
    if call.is_below_limit or not fast.has_nan(result):
        return result
    return np.where(np.isnan(result), 0.0, result)


def overflow(values: Array) -> Array:
    """`values`, with infinity where the half-precision result would reach 2**15."""
    if fast.largest(values) < ROUNDS_TO_LIMIT:
        return values
    limited = np.array(values)
    limited[values >= ROUNDS_TO_LIMIT] = np.inf
    if not values.min() > -ROUNDS_TO_LIMIT:  # NaN says nothing of the others
        limited[values <= -ROUNDS_TO_LIMIT] = -np.inf
    return limited
