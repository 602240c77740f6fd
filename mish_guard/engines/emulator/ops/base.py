"""What the families of operations share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from mish_guard.engines.emulator.graph import Array
from mish_guard.errors import UnsupportedOpError

# An array, text, several of them, a list that holds some: what the model declares says which.
Result: TypeAlias = Any
Operation = Callable[..., Result]

# A number or a flag, as Python has it or as an array; where there is one for each channel, of so many elements.
Number: TypeAlias = Array | float
Several: TypeAlias = tuple[Array, ...] | Array


def refuse(op: str, setting: str) -> UnsupportedOpError:
    """The error for a setting of an operation that the emulator does not know."""
    return UnsupportedOpError(f"The emulator does not know `{op}` with {setting}.")


def ints(values: ArrayLike) -> list[int]:
    """A list of axes, sizes or the like, given as a number or an array."""
    return [int(value) for value in np.atleast_1d(np.asarray(values))]


def integers(*arrays: Array) -> bool:
    """Whether all operands are whole numbers by type."""
    return all(np.asarray(array).dtype.kind in "iub" for array in arrays)


def per_channel(parameter: Number, x: Array) -> Array:
    """One value per channel (axis 1), or one for all, shaped to broadcast against `x`; with axes already, as it is."""
    values = np.asarray(parameter)
    if values.ndim > 1:
        return values
    return values.reshape(1, -1, *([1] * (x.ndim - 2))) if values.size > 1 else values.reshape(())


def many(values: Several) -> tuple[Array, ...]:
    """The members of an operand that takes several tensors."""
    return values if isinstance(values, tuple) else (values,)
