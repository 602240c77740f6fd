"""What the results of operations can be at most, whatever the input: enough to see what is clamped."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mish_guard.engines.emulator.graph import Node, Operand, Ref
from mish_guard.scan.view import View

Range = tuple[float, float]
ANYTHING: Range = (-math.inf, math.inf)

_PASSING = frozenset(
    "cast identity reshape transpose expand_dims squeeze max_pool avg_pool reduce_max reduce_min reduce_mean".split()  # noqa: SIM905
)
_FIXED: dict[str, Range] = {
    "sigmoid": (0.0, 1.0),
    "sigmoid_hard": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "erf": (-1.0, 1.0),
    "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, math.inf),
    "square": (0.0, math.inf),
    "sqrt": (0.0, math.inf),
}


class Ranges:
    """The ranges of one model, found once per tensor."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[str, Range] = {}

    def of(self, operand: Operand | None) -> Range:
        """The range of an operand; `ANYTHING` where nothing is known of it."""
        value = self._view.constant(operand)
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size:
            return float(value.min()), float(value.max())
        if not isinstance(operand, Ref) or operand.name not in self._view.producers:
            return ANYTHING
        if operand.name not in self._known:
            self._known[operand.name] = ANYTHING  # until it is known: whatever refers to itself
            self._known[operand.name] = self._result(self._view.producers[operand.name])
        return self._known[operand.name]

    def _result(self, node: Node) -> Range:
        if node.op in _FIXED:
            return _FIXED[node.op]
        x = self.of(node.operands.get("x"))
        if node.op in _PASSING:
            return x
        if node.op == "sub" and self._is_maximum(node.operands.get("y"), node.operands.get("x")):
            return -math.inf, 0.0
        if node.op in _TWO:
            return _TWO[node.op](x, self.of(node.operands.get("y")))
        if node.op == "clip":
            return _minimum(_maximum(x, self.of(node.operands.get("alpha"))), self.of(node.operands.get("beta")))
        return _ONE[node.op](x) if node.op in _ONE else ANYTHING

    def _is_maximum(self, maximum: Operand | None, of: Operand | None) -> bool:
        """Whether a tensor is the largest element of another: what is left below it is at most 0."""
        node = self._view.producer(maximum)
        return node is not None and node.op == "reduce_max" and node.operands.get("x") == of


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _corners(combine: Callable[[float, float], float]) -> Callable[[Range, Range], Range]:
    def combined(x: Range, y: Range) -> Range:
        corners = [combine(a, b) for a in x for b in y]
        return ANYTHING if any(map(math.isnan, corners)) else (min(corners), max(corners))

    return combined


def _product(a: float, b: float) -> float:
    return 0.0 if 0.0 in (a, b) else a * b


def _minimum(x: Range, y: Range) -> Range:
    return min(x[0], y[0]), min(x[1], y[1])


def _maximum(x: Range, y: Range) -> Range:
    return max(x[0], y[0]), max(x[1], y[1])


def _abs(x: Range) -> Range:
    return (0.0 if x[0] <= 0 <= x[1] else min(map(abs, x))), max(map(abs, x))


_ONE: dict[str, Callable[[Range], Range]] = {
    "abs": _abs,
    "exp": lambda x: (_exp(x[0]), _exp(x[1])),
    "relu": lambda x: (max(x[0], 0.0), max(x[1], 0.0)),
}
_TWO: dict[str, Callable[[Range, Range], Range]] = {
    "add": _corners(lambda a, b: a + b),
    "sub": _corners(lambda a, b: a - b),
    "mul": _corners(_product),
    "minimum": _minimum,
    "maximum": _maximum,
}
