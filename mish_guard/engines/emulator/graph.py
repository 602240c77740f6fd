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

    A dimension that the model leaves open is None, and so is `shape` where not even the rank is declared.
    """

    name: str
    dtype: DType
    shape: tuple[int | None, ...] | None

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a value of this shape is what the model declares."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            declared in (None, size) for declared, size in zip(self.shape, shape, strict=True)
        )


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
