"""MIL operations on numpy arrays, by MIL's own names and parameters.

Definitions follow coremltools' MIL operation reference
(https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html). Operands are float64,
int64, bool or str; results are exact to float64 and are rounded by the evaluator. Functions that need the
accumulator of the arithmetic are in `algebra` and in `products`.
"""

from __future__ import annotations

from mish_guard.engines.emulator.ops import (
    algebra,
    constexpr,
    elementwise,
    gather,
    lists,
    network,
    normalization,
    pooling,
    random,
    recurrent,
    reduction,
    resize,
    shape,
    sizes,
)
from mish_guard.engines.emulator.ops.base import Operation, Result

__all__ = ["ACCUMULATING", "OPS", "REFUSED", "REVISIONS", "Operation", "Result", "find", "sizes"]

# Sums of products take the accumulator of the arithmetic.
ACCUMULATING: dict[str, Operation] = algebra.ACCUMULATING

OPS: dict[str, Operation] = {
    **constexpr.OPS,
    **elementwise.OPS,
    **gather.OPS,
    **lists.OPS,
    **network.OPS,
    **normalization.OPS,
    **pooling.OPS,
    **random.OPS,
    **recurrent.OPS,
    **reduction.OPS,
    **resize.OPS,
    **shape.OPS,
}

# Operations that mean something else from an opset (iOS version) on.
REVISIONS: dict[str, tuple[tuple[int, Operation], ...]] = {
    **constexpr.REVISIONS,
    **resize.REVISIONS,
    **shape.REVISIONS,
}

# Why an operation is not there on purpose.
REFUSED: dict[str, str] = {
    "custom_layer": "It is code of the application that ships it.",
    "random_categorical": random.WHY,
}


def find(op: str, opset: int) -> Operation | None:
    """The function of an operation as an opset defines it; None if there is none."""
    found = OPS.get(op)
    for since, operation in REVISIONS.get(op, ()):
        if opset >= since:
            found = operation
    return found
