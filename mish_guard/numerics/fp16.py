"""The 65,536 half-precision bit patterns: classes, spacing, neighbours.

All arrays here are numpy; `bits` are uint16, `values` are float16. IEEE 754-2019 binary16: 1 sign bit, 5
exponent bits (bias 15), 10 fraction bits; largest finite value 65504, smallest subnormal 2**-24.
"""

from __future__ import annotations

import enum
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bits = NDArray[np.uint16]

MAX_FINITE = 65504.0
MIN_NORMAL = 2.0**-14
MIN_SUBNORMAL = 2.0**-24
SIGN_BIT = 0x8000


class FloatClass(str, enum.Enum):
    """What kind of number a value is; a special that moves from one class to another is a finding."""

    NAN = "nan"
    POSITIVE_INF = "+inf"
    NEGATIVE_INF = "-inf"
    POSITIVE_ZERO = "+0"
    NEGATIVE_ZERO = "-0"
    POSITIVE = "+finite"
    NEGATIVE = "-finite"


@cache
def all_bits() -> Bits:
    """Every bit pattern once, 0x0000 to 0xFFFF: shape (65536,), uint16, read-only."""
    bits = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    bits.setflags(write=False)
    return bits


@cache
def finite_values() -> NDArray[np.float16]:
    """The 63,488 finite values in ascending order, -0 before +0: float16, read-only."""
    values = all_bits().view(np.float16)
    finite = values[np.isfinite(values)]
    ordered: NDArray[np.float16] = finite[np.argsort(ordinal(finite), kind="stable")]
    ordered.setflags(write=False)
    return ordered


@cache
def special_values() -> NDArray[np.float16]:
    """The 2,048 patterns that are not finite: +inf, -inf and every NaN payload; float16, read-only."""
    values = all_bits().view(np.float16)
    special: NDArray[np.float16] = values[~np.isfinite(values)]
    special.setflags(write=False)
    return special


def bits_of(values: ArrayLike) -> Bits:
    """The bit patterns of `values`, which are rounded to float16 first (half to even, overflow to inf)."""
    half = to_fp16(values)
    return np.ascontiguousarray(half).view(np.uint16).reshape(half.shape)


def to_fp16(values: ArrayLike) -> NDArray[np.float16]:
    """`values` rounded to float16, half to even; what lies beyond 65504 by half a unit becomes inf."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(np.float16)


def ordinal(values: ArrayLike) -> NDArray[np.int32]:
    """Position on the number line, int32: neighbours differ by 1, -0 is -1 and +0 is 0. NaN has no meaning here."""
    bits = bits_of(values).astype(np.int32)
    return np.where(bits & SIGN_BIT, -1 - (bits & 0x7FFF), bits)


def spacing(values: ArrayLike) -> NDArray[np.float64]:
    """The unit in the last place of float16 at `values`, float64.

    It is 2**-24 everywhere below 2**-14 and 32 from 2**15 on; for inf and beyond it stays 32.
    """
    magnitude = np.clip(np.abs(np.asarray(values, dtype=np.float64)), MIN_NORMAL, MAX_FINITE)
    _, exponent = np.frexp(magnitude)
    unit: NDArray[np.float64] = np.ldexp(1.0, exponent - 11)
    return unit


def binade(values: ArrayLike) -> NDArray[np.int8]:
    """Sign and exponent of each finite value as one number, int8.

    The biased exponent 0..30 plus 1 (1 holds zero and the subnormals), negated for negative values: -31..-1 and
    1..31.
    """
    bits = bits_of(values)
    exponent = ((bits >> 10) & 0x1F).astype(np.int8) + np.int8(1)
    return np.asarray(np.where(bits & SIGN_BIT, -exponent, exponent))


def binade_name(number: int) -> str:
    """`binade` in words: the magnitudes it holds, such as "+[8, 16)" or "-[0, 2^-14)"."""
    sign, exponent = ("-" if number < 0 else "+"), abs(number) - 1
    if exponent == 0:
        return f"{sign}[0, 2^-14)"
    low = exponent - 15
    return f"{sign}[{_power(low)}, {_power(low + 1)})"


def _power(exponent: int) -> str:
    return f"2^{exponent}" if exponent < 0 else str(2**exponent)


def classify(value: float) -> FloatClass:
    """The class of one number."""
    if np.isnan(value):
        return FloatClass.NAN
    negative = bool(np.signbit(value))
    if np.isinf(value):
        return FloatClass.NEGATIVE_INF if negative else FloatClass.POSITIVE_INF
    if value == 0:
        return FloatClass.NEGATIVE_ZERO if negative else FloatClass.POSITIVE_ZERO
    return FloatClass.NEGATIVE if negative else FloatClass.POSITIVE


def hex_bits(value: float) -> str:
    """The bit pattern of a value as four hex digits, such as "0x4933" for 10.3984375."""
    return f"0x{int(bits_of(value).item()):04x}"
