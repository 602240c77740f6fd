"""What makes large models fast: PyTorch's conversions, and what is known of constants, found once.

Nothing here changes a result: rounding to half precision is IEEE 754's, to nearest and half to even.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.numerics import fp16

# Loading PyTorch takes seconds: below this many elements numpy is used unless PyTorch is there already.
_WORTH_LOADING = 2**18
_WORTH_CALLING = 2**14

# Elements that are rounded at a time: few enough that PyTorch starts no threads, which would wait for each other for
# many times the work on a busy machine.
_CHUNK = 2**14

_remembered: dict[tuple[int, Any], tuple[weakref.ref[Array], Any]] = {}


def remembered(constant: Array, find: Callable[[Array], Any], key: Any = None) -> Any:
    """`find(constant)`, kept as long as the array lives if nobody can write to it; else found anew."""
    if constant.flags.writeable or constant.base is not None:
        return find(constant)
    name = (id(constant), key or find)
    if name not in _remembered:
        reference = weakref.ref(constant, lambda _: _remembered.pop(name, None))
        _remembered[name] = (reference, find(constant))
    return _remembered[name][1]


def kept(constant: Array, dtype: Any) -> Array:
    """An array in another type, converted once if it is a constant."""
    converted: Array = remembered(constant, lambda array: array.astype(dtype), ("as", dtype))
    return converted


def tensor(values: Array, dtype: Any) -> Any:
    """A tensor of PyTorch with these values."""
    import torch

    converted = np.ascontiguousarray(kept(values, dtype))
    return torch.from_numpy(converted if converted.flags.writeable else converted.copy())


def array(values: Any) -> Array:
    """A tensor of PyTorch as an array."""
    return np.asarray(values.numpy())


def has_nan(values: Array) -> bool:
    """Whether any value is NaN."""
    return bool(remembered(values, lambda each: each.size and np.isnan(each.max()), "nan"))


def largest(values: Array) -> float:
    """The largest magnitude; 0 of nothing, NaN if there is one."""
    return float(remembered(values, lambda each: max(each.max(), -each.min()) if each.size else 0.0, "largest"))


def rounded(values: Array) -> Array:
    """`values` rounded to half precision, as float64."""
    least = _WORTH_CALLING if "torch" in sys.modules else _WORTH_LOADING
    if values.size < least:
        return fp16.to_fp16(values).astype(np.float64)
    import torch

    given = np.ascontiguousarray(values).reshape(-1)
    result = np.empty(given.shape)
    for start in range(0, given.size, _CHUNK):
        _round(given[start : start + _CHUNK], result[start : start + _CHUNK], torch)
    return result.reshape(values.shape)


def _round(values: Array, result: Array, torch: Any) -> None:
    given = torch.from_numpy(values if values.flags.writeable else values.copy())
    half = given.half()
    if values.dtype == np.float64:
        _repair(given, half, torch)
    torch.from_numpy(result).copy_(half)


def _repair(given: Any, half: Any, torch: Any) -> None:
    """PyTorch rounds float64 by way of float32; where that lands on a tie which was none, round again."""
    single = given.float()
    ties = (single.view(torch.int32) & 0xFFF).eq(0)
    ties &= single.double().ne(given)
    if not ties.count_nonzero():
        return
    # Most are no ties of half precision: NaN, what single precision cannot hold, and what is far below 2**-25.
    size = single.abs()
    ties &= (size >= 2.0**-26) & (size < 2.0**17)
    if ties.count_nonzero():
        index = ties.nonzero(as_tuple=True)
        half[index] = torch.from_numpy(fp16.to_fp16(given[index].numpy()))
