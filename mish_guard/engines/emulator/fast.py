"""What makes large models fast: PyTorch's conversions, and what is known of constants, found once.

Nothing here changes a result: rounding to half precision is IEEE 754's, to nearest and half to even.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from mish_guard.engines.emulator import graph
from mish_guard.engines.emulator.graph import Array
from mish_guard.numerics import fp16

if TYPE_CHECKING:
    import torch

_T = TypeVar("_T")

# Loading PyTorch takes seconds: below this many elements numpy is used unless PyTorch is there already.
_WORTH_LOADING = 2**18
_WORTH_CALLING = 2**13

# Elements that are rounded at a time: the most for which PyTorch starts no threads, which would wait for each other
# for many times the work on a busy machine.
_CHUNK = 2**15

# The bits of a float64 that a float32 has no room for.
_DROPPED = np.int64(2**29 - 1)

_NAN = "nan"

_remembered: dict[tuple[int, Hashable], tuple[weakref.ref[Array], Any]] = {}


def remembered(constant: Array, find: Callable[[Array], _T], key: Hashable = None) -> _T:
    """`find(constant)`, kept as long as the array lives if nobody can write to it; else found anew."""
    if constant.flags.writeable or constant.base is not None:
        return find(constant)
    name = (id(constant), key or find)
    if name not in _remembered:
        _remember(constant, name, find(constant))
    found: _T = _remembered[name][1]
    return found


def _remember(constant: Array, name: tuple[int, Hashable], found: object) -> None:
    _remembered[name] = (weakref.ref(constant, lambda _: _remembered.pop(name, None)), found)


def kept(constant: Array, dtype: DTypeLike) -> Array:
    """An array in another type, converted once if it is a constant."""
    converted: Array = remembered(constant, lambda array: array.astype(dtype), ("as", dtype))
    return converted


def tensor(values: Array, dtype: DTypeLike) -> torch.Tensor:
    """A tensor of PyTorch with these values."""
    import torch

    converted = np.ascontiguousarray(kept(values, dtype))
    return torch.from_numpy(converted if converted.flags.writeable else converted.copy())


def array(values: torch.Tensor) -> Array:
    """A tensor of PyTorch as an array."""
    return np.asarray(values.numpy())


def frozen(values: Array) -> Array:
    """`values`, to which nobody writes any more, so that what is found of them can be remembered; a view stays."""
    if values.base is None:
        values.setflags(write=False)
    return values


def has_nan(values: Array) -> bool:
    """Whether any value is NaN."""
    return remembered(values, lambda each: bool(np.isnan(_most(each))), _NAN)


def frozen_without_nan(values: Array) -> Array:
    """`frozen(values)` of which the caller knows that none is NaN, so that nobody has to look again."""
    if frozen(values).base is None:
        _remember(values, (id(values), _NAN), found=False)
    return values


def has_infinite(values: Array) -> bool:
    """Whether any value is infinite or NaN."""
    return not np.isfinite(largest(values))


def largest(values: Array) -> float:
    """The largest magnitude; 0 of nothing, NaN if there is one."""
    return max(_most(values), -_least(values))


def _most(values: Array) -> float:
    """The largest value; 0 of nothing, NaN if there is one."""
    return float(remembered(values, lambda each: each.max() if each.size else 0.0, "most"))


def _least(values: Array) -> float:
    return float(remembered(values, lambda each: each.min() if each.size else 0.0, "least"))


def rounded(values: Array) -> Array:
    """`values` rounded to half precision, as float64."""
    if not _is_worthwhile(values):
        return fp16.to_fp16(values).astype(np.float64)
    return _in_chunks(_rounded_to_single, values, np.float64)


def narrowed(values: Array) -> NDArray[np.float16]:
    """`fp16.to_fp16` of what the arithmetic of a profile has stored: single precision holds it exactly."""
    if values.dtype != np.float64 or not _is_worthwhile(values):
        return fp16.to_fp16(values)
    return _in_chunks(lambda part: array(_halves(part.astype(np.float32))), values, np.float16)


def widen(values: ArrayLike) -> Array:
    """`values` as the evaluator keeps them: `graph.widen`, sooner for half precision."""
    if isinstance(values, np.ndarray) and values.dtype == np.float16 and _is_worthwhile(values):
        return _in_chunks(_widened, values, np.float64)
    return graph.widen(values)


def _is_worthwhile(values: Array) -> bool:
    """Whether PyTorch is there, or worth loading, for so many elements."""
    return values.size >= (_WORTH_CALLING if "torch" in sys.modules else _WORTH_LOADING)


def _in_chunks(convert: Callable[[Array], Array], values: Array, dtype: DTypeLike) -> Array:
    given = np.ascontiguousarray(values).reshape(-1)
    result = np.empty(values.shape, dtype)
    flat = result.reshape(-1)
    for start in range(0, given.size, _CHUNK):
        flat[start : start + _CHUNK] = convert(given[start : start + _CHUNK])
    return result


def _rounded_to_single(values: Array) -> Array:
    """The nearest of half precision as float32, which becomes float64 sooner than half precision does."""
    return array(_halves(values).float())


def _widened(values: Array) -> Array:
    import torch

    return array(torch.from_numpy(values if values.flags.writeable else values.copy()).float())


def _halves(values: Array) -> torch.Tensor:
    """A tensor of half precision, by way of single precision: PyTorch rounds from it much faster than numpy."""
    import torch

    single = _single(values) if values.dtype == np.float64 else values
    return torch.from_numpy(single if single.flags.writeable else single.copy()).half()


def _single(values: Array) -> Array:
    """float64 as float32, rounded to odd: what is rounded from there to half precision is as if rounded once.

    Boldo and Melquiond, https://doi.org/10.1109/TC.2007.70819. The bits that float32 has no room for leave a one
    behind if any of them is set, so the conversion is exact; where float32 ends, half precision has long ended.
    """
    bits = values.view(np.int64)
    odd = bits & _DROPPED
    odd += _DROPPED
    odd |= bits
    odd &= ~_DROPPED
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(odd.view(np.float64).astype(np.float32))
