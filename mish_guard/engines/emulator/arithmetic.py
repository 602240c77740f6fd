"""Arithmetic: how the result of an operation is rounded, and what a profile adds to it.

`Exact` evaluates in float64 and rounds nothing: it is what a graph would give without half precision. `Emulated`
rounds each result to its declared type and adds the hazards of a profile to half-precision operations. All values
travel as float64 that lie on the grid of their type.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np

from mish_guard.engines.emulator import products
from mish_guard.engines.emulator.graph import Array, DType, Node, Tensor
from mish_guard.engines.emulator.profiles import Profile, Softplus
from mish_guard.numerics import fp16

_MAC_OPS = frozenset({"conv", "linear", "matmul"})
_CONSTANT_OFFSET_OPS = frozenset({"add", "sub"})
_CONSTANT_GAIN_OPS = frozenset({"mul", "real_div"})


class Arithmetic(Protocol):
    """What the evaluator asks around each operation."""

    def accumulator(self, node: Node) -> Any:
        """The numpy type in which convolutions and matrix products sum up."""

    def enter(self, node: Node, operands: Mapping[str, Any]) -> Mapping[str, Any]:
        """The operands as the unit sees them."""

    def leave(self, node: Node, operands: Mapping[str, Any], constants: Collection[str], result: Array) -> Array:
        """The result as the unit delivers it; `constants` names the operands that are constants."""

    def store(self, tensor: Tensor, values: Array) -> Array:
        """`values` on the grid of the tensor's declared type."""


class Exact:
    """float64 throughout."""

    def accumulator(self, node: Node) -> Any:
        del node
        return np.float64

    def enter(self, node: Node, operands: Mapping[str, Any]) -> Mapping[str, Any]:
        del node
        return operands

    def leave(self, node: Node, operands: Mapping[str, Any], constants: Collection[str], result: Array) -> Array:
        del node, operands, constants
        return result

    def store(self, tensor: Tensor, values: Array) -> Array:
        return values.astype(np.float64) if tensor.dtype.is_float else values


class Emulated:
    """Each result rounded to its declared type, with the hazards of `profile` on half-precision operations."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def accumulator(self, node: Node) -> Any:
        del node
        return np.float32

    def on_neural_engine(self, node: Node) -> bool:
        """Operations on fp32 tensors stay on the CPU (P6), where no hazard applies."""
        return self.profile.is_neural_engine and all(tensor.dtype is not DType.FP32 for tensor in node.outputs)

    def enter(self, node: Node, operands: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.on_neural_engine(node):
            return operands
        admitted = {name: self._admit(value) for name, value in operands.items()}
        if self.profile.flush_subnormals and node.op in _MAC_OPS and not _single_tap(node, operands):
            admitted = {name: _flush(value) if _is_float(value) else value for name, value in admitted.items()}
        return admitted

    def leave(self, node: Node, operands: Mapping[str, Any], constants: Collection[str], result: Array) -> Array:
        if not self.on_neural_engine(node) or result.dtype.kind != "f":
            return result
        result = self._hazard(node, operands, result)
        if node.op in _MAC_OPS or (node.op in _CONSTANT_OFFSET_OPS and constants):
            result = self._multiply_accumulate_stage(node, operands, result)
        elif node.op in _CONSTANT_GAIN_OPS and constants:
            result = _overflow(result, self.profile.constant_gain_limit)
        return np.where(np.isnan(result), 0.0, result) if self.profile.nan_to_inf else result

    def store(self, tensor: Tensor, values: Array) -> Array:
        if tensor.dtype is DType.FP16:
            return fp16.to_fp16(values).astype(np.float64)
        if tensor.dtype is DType.FP32:
            with np.errstate(over="ignore", invalid="ignore"):
                return values.astype(np.float32).astype(np.float64)
        return values

    def _admit(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._admit(each) for each in value)
        if _is_float(value) and self.profile.nan_to_inf:
            return np.where(np.isnan(value), np.inf, value)
        return value

    def _hazard(self, node: Node, operands: Mapping[str, Any], result: Array) -> Array:
        profile = self.profile
        if node.op == "softplus":
            return self._softplus(operands["x"], result)
        if node.op == "softplus_parametric" and profile.softplus_parametric_limit is not None:
            return _softplus_parametric(operands, result, profile.softplus_parametric_limit)
        if node.op == "log":
            return self._log(operands["x"], float(operands.get("epsilon", 0.0)), result)
        if node.op == "reduce_log_sum_exp" and profile.log_sum_exp_limit is not None:
            return self._log_sum_exp(operands, result, profile.log_sum_exp_limit)
        if node.op == "exp2":
            return _overflow(result, profile.exp2_limit)
        if node.op == "cast" and profile.cast_saturates:
            return np.where(np.isfinite(result), np.clip(result, -fp16.MAX_FINITE, fp16.MAX_FINITE), result)
        return _without_sign_of_zero(node.op, operands, result) if profile.zero_loses_sign else result

    def _softplus(self, x: Array, result: Array) -> Array:
        if self.profile.softplus is Softplus.EXACT:
            return result
        with np.errstate(over="ignore", divide="ignore"):
            e = np.exp(x)
            if self.profile.softplus is Softplus.COMPOSED:
                result = np.log(fp16.to_fp16(fp16.to_fp16(e).astype(np.float64) + 1.0).astype(np.float64))
        return np.where(e >= (self.profile.mac_limit or np.inf), 0.0, result)

    def _log(self, x: Array, epsilon: float, result: Array) -> Array:
        profile = self.profile
        if profile.log_of_zero is not None:
            result = np.where(fp16.to_fp16(x + epsilon) == 0, profile.log_of_zero, result)
        if profile.log_of_inf is not None:
            limit = profile.mac_limit if epsilon >= fp16.MIN_SUBNORMAL and profile.mac_limit is not None else np.inf
            result = np.where(fp16.to_fp16(x + epsilon) >= limit, profile.log_of_inf, result)
        return result

    def _log_sum_exp(self, operands: Mapping[str, Any], result: Array, limit: float) -> Array:
        # Exponentials are rounded, then summed without a shift by the maximum (F20, F22).
        axes = operands.get("axes")
        over = None if axes is None else tuple(int(axis) for axis in np.atleast_1d(axes))
        terms = fp16.to_fp16(np.exp(operands["x"])).astype(np.float64)
        total = fp16.to_fp16(terms.sum(axis=over, keepdims=bool(operands.get("keep_dims", False))))
        if self.profile.log_of_zero is not None:
            result = np.where(total == 0, self.profile.log_of_zero, result)
        return np.where(total <= limit, result, 0.0)

    def _multiply_accumulate_stage(self, node: Node, operands: Mapping[str, Any], result: Array) -> Array:
        if _single_tap(node, operands):
            return result
        limit = self.profile.mac_limit
        if node.op not in _MAC_OPS:
            return _overflow(result, limit)
        if self.profile.flush_subnormals:
            result = _flush(result)
        if limit is not None and fp16.to_fp16(products.bound(node.op, operands)) >= limit:
            return products.overflow_partials(node.op, operands, result, limit)
        return result


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _flush(values: Array) -> Array:
    return np.where(np.abs(values) < fp16.MIN_NORMAL, np.copysign(0.0, values), values)


def _overflow(values: Array, limit: float | None) -> Array:
    """`values`, with infinity where the half-precision result would reach `limit`."""
    if limit is None:
        return values
    return np.where(np.abs(fp16.to_fp16(values)) >= limit, np.copysign(np.inf, values), values)


def _softplus_parametric(operands: Mapping[str, Any], result: Array, limit: float) -> Array:
    x, beta = operands["x"], operands["beta"]
    with np.errstate(over="ignore"):
        e = np.exp(beta.reshape(1, -1, *([1] * (x.ndim - 2))) * x)
    return np.where(e >= limit, 0.0, result)


def _without_sign_of_zero(op: str, operands: Mapping[str, Any], result: Array) -> Array:
    """-0 counts as +0 in front of a reciprocal and a root."""
    if op == "inverse":
        return np.where(np.isinf(result), np.abs(result), result)
    if op == "real_div":
        return np.where((operands["y"] == 0) & np.isinf(result), np.copysign(np.inf, operands["x"]), result)
    if op in ("rsqrt", "sqrt"):
        return np.where(operands["x"] == 0, np.abs(result), result)
    return result


def _single_tap(node: Node, operands: Mapping[str, Any]) -> bool:
    """A 1x1 convolution of one channel is not on the limited stage: it passes 60000 (F36)."""
    return node.op == "conv" and products.taps(operands["weight"]) == 1
