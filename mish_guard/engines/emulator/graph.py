"""A saved model as a list of operations: what the evaluator walks through.

`mlprogram` and `neuralnetwork` make a `Graph` from the two kinds of model Core ML stores.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

# The least and the largest size of each axis; None where there is no largest.
Sizes = tuple[tuple[int, int | None], ...]

# More elements than this in one tensor would take half a gigabyte of float64.
MAX_ELEMENTS = 2**26


class DType(str, enum.Enum):
    """The element types an operation may declare."""

    FP16 = "fp16"
    FP32 = "fp32"
    INT = "int"
    BOOL = "bool"
    STRING = "string"
    OBJECT = "object"  # lists of tensors, dictionaries of probabilities

    @property
    def is_float(self) -> bool:
        """Whether values of this type are rounded."""
        return self in (DType.FP16, DType.FP32)


@dataclass(frozen=True, slots=True)
class Ref:
    """An operand that names a graph input, a constant or the output of an earlier operation."""

    name: str


# An operand is a reference, an immediate value, or several of either (`concat` takes a list).
Operand = Ref | Array | str | tuple["Operand", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A named tensor with the type the model declares for it.

    A dimension that the model leaves open is None, and so is `shape` where not even the rank is declared. An input may
    have several `sizes` of its last axes to choose from, and a value and a shape by `default`.
    """

    name: str
    dtype: DType
    shape: tuple[int | None, ...] | None
    sizes: tuple[Sizes, ...] = ()
    default: tuple[float, tuple[int, ...]] | None = None

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a value of this shape is what the model declares."""
        if self.sizes and not any(_within(shape, each) for each in self.sizes):
            return False
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            declared in (None, size) for declared, size in zip(self.shape, shape, strict=True)
        )

    @property
    def spelled(self) -> str:
        """The shape that is declared, `?` for a dimension that is open, or every shape that may be chosen."""
        declared = tuple("?" if size is None else str(size) for size in self.shape or ())
        shapes = [(*declared[: -len(each)], *map(_spelled, each)) for each in self.sizes] or [declared]
        if self.shape is None and not self.sizes:
            return "of any rank"
        return " or ".join(f"({each[0]},)" if len(each) == 1 else f"({', '.join(each)})" for each in shapes)


def _within(shape: tuple[int, ...], sizes: Sizes) -> bool:
    last = shape[len(shape) - len(sizes) :] if len(shape) >= len(sizes) else ()
    return len(last) == len(sizes) and all(
        low <= size and (high is None or size <= high) for size, (low, high) in zip(last, sizes, strict=True)
    )


def _spelled(span: tuple[int, int | None]) -> str:
    low, high = span
    return str(low) if low == high else f"{low}..{'' if high is None else high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation: MIL's name for it, its operands by parameter name, and what it declares to return.

    `opset` is the iOS version whose definition of the operation holds (0: the format before ML programs); `blocks`
    are the graphs that control flow chooses from.
    """

    op: str
    name: str
    operands: Mapping[str, Operand]
    outputs: tuple[Tensor, ...]
    opset: int = 0
    blocks: tuple[Graph, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A model, or a block of one.

    Inputs, constants (float64, int64, bool or str), operations in execution order, output names, and the tensors
    that keep their value from one prediction to the next.
    """

    inputs: tuple[Tensor, ...]
    constants: Mapping[str, Array | str]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    states: tuple[Tensor, ...] = ()


def widen(values: ArrayLike) -> Array:
    """`values` as the evaluator keeps them: floats as float64, integers as int64, booleans as they are."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    return array
