"""A graph of a few operations, recorded from the builder of a lowering: nothing is converted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mish_guard.engines.emulator.graph import DType, Graph, Node, Operand, Ref, Tensor, widen
from mish_guard.models.lowerings import Build
from mish_guard.numerics import fp16

INPUT = "x"
OUTPUT = "y"

# What the body of a lowering may write as an operand.
_Given = Ref | ArrayLike | Sequence[Ref]


def sketch(build: Build) -> Graph:
    """What `build(mb, x, name)` makes of one input, as a half-precision graph from `x` to `y` of any shape."""
    recorder = _Recorder()
    result = build(recorder, Ref(INPUT), OUTPUT)
    return Graph(inputs=(_half(INPUT),), constants={}, nodes=tuple(recorder.nodes), outputs=(result.name,))


class _Recorder:
    """Stands in for coremltools' builder: every attribute is an operation that is written down."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def __getattr__(self, op: str) -> Callable[..., Ref]:
        def record(*, name: str | None = None, **operands: _Given) -> Ref:
            result = name or f"{op}_{len(self.nodes)}"
            self.nodes.append(Node(op=op, name=result, operands=_kept(operands), outputs=(_half(result),)))
            return Ref(result)

        return record


def _half(name: str) -> Tensor:
    return Tensor(name=name, dtype=DType.FP16, shape=None)


def _kept(operands: Mapping[str, _Given]) -> dict[str, Operand]:
    return {key: value if isinstance(value, (Ref, str)) else _constant(value) for key, value in operands.items()}


def _constant(value: ArrayLike | Sequence[Ref]) -> Operand:
    """Numbers as a conversion to half precision stores them; lists of names and flags as they are."""
    if isinstance(value, (tuple, list)) and any(isinstance(each, Ref) for each in value):
        return tuple(value)
    array = np.asarray(value)
    return fp16.to_fp16(array).astype(np.float64) if array.dtype.kind == "f" else widen(array)
