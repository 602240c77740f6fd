"""mish and softplus in float64, without cancellation.

Checked against mpmath at 50 digits over every finite half-precision input by tests/test_numerics.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]


def remembered(want: Callable[[NDArray[np.float16]], ArrayLike], inputs: NDArray[np.float16]) -> Doubles:
    """`want(inputs)` as float64 of the same shape, found once for equal inputs; nobody may write to it."""
    return _found(want, inputs.shape, np.ascontiguousarray(inputs).tobytes())


@functools.lru_cache(maxsize=16)
def _found(want: Callable[[NDArray[np.float16]], ArrayLike], shape: tuple[int, ...], inputs: bytes) -> Doubles:
    values = np.array(want(np.frombuffer(inputs, dtype=np.float16).reshape(shape)), dtype=np.float64)
    values.flags.writeable = False
    return values


def softplus(x: ArrayLike) -> Doubles:
    """log(1 + exp(x)) for any shape, float64, relative error a few 2**-53; NaN stays NaN, -inf gives 0."""
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(under="ignore", invalid="ignore"):
        return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


def mish(x: ArrayLike) -> Doubles:
    """x * tanh(softplus(x)) for any shape, float64, relative error a few 2**-53.

    tanh(log(1 + e)) = e(e + 2) / (e(e + 2) + 2) with e = exp(x): no logarithm, no subtraction. For positive x the
    same fraction in t = exp(-x), (1 + 2t) / (1 + 2t + 2t*t), never overflows. The limit at -inf is 0 (signed
    negative); NaN stays NaN.
    """
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(under="ignore", invalid="ignore"):
        t = np.exp(-np.abs(x))
        positive = (1 + 2 * t) / (1 + 2 * t + 2 * t * t)
        negative = t * (t + 2) / (t * (t + 2) + 2)
        product = x * np.where(x > 0, positive, negative)
    return np.asarray(np.where(np.isneginf(x), -0.0, product))
