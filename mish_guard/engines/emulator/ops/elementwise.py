"""Operations on each element by itself, and on pairs of elements that broadcast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, integers, per_channel, refuse
from mish_guard.numerics import reference


def cast(*, x: Array, dtype: str) -> Array:
    """To a float type nothing happens here: the declared type rounds. To an integer the fraction is cut off."""
    dtype = str(dtype)
    if dtype.startswith("fp"):
        return x.astype(np.float64)
    if dtype == "bool":
        return np.asarray(x != 0)
    return np.asarray(np.trunc(x).astype(np.int64)) if x.dtype.kind == "f" else x.astype(np.int64)


def clip(*, x: Array, alpha: Number, beta: Number) -> Array:
    raised = np.asarray(np.maximum(x, alpha))
    return np.asarray(np.minimum(raised, beta, out=raised))  # in place: a large tensor is not made twice


def log(*, x: Array, epsilon: Number = 0.0) -> Array:
    return np.asarray(np.log(x + epsilon))


def inverse(*, x: Array, epsilon: Number = 0.0) -> Array:
    return np.asarray(1.0 / (x + epsilon))


def rsqrt(*, x: Array, epsilon: Number = 0.0) -> Array:
    return np.asarray(1.0 / np.sqrt(x + epsilon))


def erf(*, x: Array) -> Array:
    import torch

    return np.asarray(torch.erf(torch.from_numpy(np.array(x, dtype=np.float64))).numpy())


def threshold(*, x: Array, alpha: Number) -> Array:
    return np.asarray(np.maximum(x, alpha))


def sigmoid(*, x: Array) -> Array:
    t = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + t), t / (1.0 + t))


def sigmoid_hard(*, x: Array, alpha: Number = 0.2, beta: Number = 0.5) -> Array:
    return np.asarray(np.clip(alpha * x + beta, 0.0, 1.0))


def silu(*, x: Array) -> Array:
    return x * sigmoid(x=x)


def gelu(*, x: Array, mode: str = "EXACT") -> Array:
    mode = str(mode)
    if mode == "EXACT":
        return 0.5 * x * (1.0 + erf(x=x / np.sqrt(2.0)))
    if mode == "TANH_APPROXIMATION":
        return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))))
    if mode == "SIGMOID_APPROXIMATION":
        return x * sigmoid(x=1.702 * x)
    raise refuse("gelu", f"mode {mode}")


def softplus_parametric(*, x: Array, alpha: Array, beta: Array) -> Array:
    """Alpha * softplus(beta * x), one alpha and beta per channel (axis 1)."""
    return np.asarray(per_channel(alpha, x) * reference.softplus(per_channel(beta, x) * x))


def softsign(*, x: Array) -> Array:
    return np.asarray(x / (1.0 + np.abs(x)))


def scaled_tanh(*, x: Array, alpha: Number, beta: Number) -> Array:
    return np.asarray(alpha * np.tanh(beta * x))


def linear_activation(*, x: Array, alpha: Number, beta: Number) -> Array:
    return np.asarray(alpha * x + beta)


def leaky_relu(*, x: Array, alpha: Number) -> Array:
    return np.where(x >= 0, x, alpha * x)


def thresholded_relu(*, x: Array, alpha: Number) -> Array:
    return np.where(x >= alpha, x, 0.0)


def clamped_relu(*, x: Array, alpha: Number, beta: Number) -> Array:
    return np.asarray(np.minimum(beta, np.where(x >= 0, x, alpha * x)))


def elu(*, x: Array, alpha: Number) -> Array:
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def prelu(*, x: Array, alpha: Array) -> Array:
    return np.where(x > 0, x, per_channel(alpha, x) * x)


def real_div(*, x: Array, y: Array) -> Array:
    return np.asarray(np.true_divide(x, y))


def floor_div(*, x: Array, y: Array) -> Array:
    """Floor of the quotient; over floats as a quotient that is rounded down, so that x // 0 is infinite."""
    return np.asarray(np.floor_divide(x, y) if integers(x, y) else np.floor(np.true_divide(x, y)))


def power(*, x: Array, y: Array) -> Array:
    """As IEEE 754; over integers too, where numpy refuses negative exponents."""
    return np.asarray(np.power(np.asarray(x, dtype=np.float64), y))


def select(*, cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)


def quantize(*, input: Array, scale: Array, zero_point: Number = 0, axis: Number = 0, output_dtype: str) -> Array:  # noqa: A002
    """round(input / scale) + zero_point, clipped to the integer type."""
    low, high = {"int8": (-128, 127), "uint8": (0, 255)}[str(output_dtype)]
    steps = np.rint(input / _along(scale, input, axis)) + _along(zero_point, input, axis)
    return np.asarray(np.clip(steps, low, high).astype(np.int64))


def dequantize(*, input: Array, scale: Array, zero_point: Number = 0, axis: Number = 0) -> Array:  # noqa: A002
    return np.asarray(_along(scale, input, axis) * (input - _along(zero_point, input, axis)))


def _along(parameter: Number, x: Array, axis: Number) -> Array:
    values = np.asarray(parameter)
    if values.ndim == 0:
        return values
    shape = [1] * x.ndim
    shape[int(axis)] = -1
    return values.reshape(shape)


def _unary(function: Callable[[Array], ArrayLike]) -> Operation:
    return lambda *, x: np.asarray(function(x))


def _binary(function: Callable[[Array, Array], ArrayLike]) -> Operation:
    return lambda *, x, y: np.asarray(function(x, y))


OPS: dict[str, Operation] = {
    "abs": _unary(np.abs),
    "acos": _unary(np.arccos),
    "add": _binary(np.add),
    "asin": _unary(np.arcsin),
    "atan": _unary(np.arctan),
    "atanh": _unary(np.arctanh),
    "cast": cast,
    "ceil": _unary(np.ceil),
    "clamped_relu": clamped_relu,
    "clip": clip,
    "cos": _unary(np.cos),
    "cosh": _unary(np.cosh),
    "dequantize": dequantize,
    "elu": elu,
    "equal": _binary(np.equal),
    "erf": erf,
    "exp": _unary(np.exp),
    "exp2": _unary(np.exp2),
    "floor": _unary(np.floor),
    "floor_div": floor_div,
    "gelu": gelu,
    "greater": _binary(np.greater),
    "greater_equal": _binary(np.greater_equal),
    "identity": _unary(np.array),
    "inverse": inverse,
    "leaky_relu": leaky_relu,
    "less": _binary(np.less),
    "less_equal": _binary(np.less_equal),
    "linear_activation": linear_activation,
    "log": log,
    "logical_and": _binary(np.logical_and),
    "logical_not": _unary(np.logical_not),
    "logical_or": _binary(np.logical_or),
    "logical_xor": _binary(np.logical_xor),
    "maximum": _binary(np.maximum),
    "minimum": _binary(np.minimum),
    "mod": _binary(np.mod),
    "mul": _binary(np.multiply),
    "not_equal": _binary(np.not_equal),
    "pow": power,
    "prelu": prelu,
    "quantize": quantize,
    "real_div": real_div,
    "relu": _unary(lambda x: np.maximum(x, 0.0)),
    "relu6": _unary(lambda x: np.clip(x, 0.0, 6.0)),
    "round": _unary(np.rint),
    "rsqrt": rsqrt,
    "scaled_tanh": scaled_tanh,
    "select": select,
    "sigmoid": sigmoid,
    "sigmoid_hard": sigmoid_hard,
    "sign": _unary(np.sign),
    "silu": silu,
    "sin": _unary(np.sin),
    "sinh": _unary(np.sinh),
    "softplus": _unary(reference.softplus),
    "softplus_parametric": softplus_parametric,
    "softsign": softsign,
    "sqrt": _unary(np.sqrt),
    "square": _unary(np.square),
    "sub": _binary(np.subtract),
    "tan": _unary(np.tan),
    "tanh": _unary(np.tanh),
    "threshold": threshold,
    "thresholded_relu": thresholded_relu,
}
