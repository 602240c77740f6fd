"""Arithmetic: how the result of an operation is rounded, and what a profile adds to it.

`Exact` evaluates in float64 and rounds nothing: it is what a graph would give without half precision. `Emulated`
rounds each result to its declared type and adds the hazards of a profile to half-precision operations. All values
travel as float64 that lie on the grid of their type.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np

from mish_guard import fp16
from mish_guard.engines.emulator import products
from mish_guard.engines.emulator.graph import Array, DType, Node, Tensor
from mish_guard.engines.emulator.profiles import Profile, Softplus

_MAC_OPS = frozenset({"conv", "linear", "matmul"})
_CONSTANT_OFFSET_OPS = frozenset({"add", "sub"})


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
        return np.where(np.isnan(result), 0.0, result) if self.profile.nan_to_inf else result

    def store(self, tensor: Tensor, values: Array) -> Array:
        if tensor.dtype is DType.FP16:
            return fp16.to_fp16(values).astype(np.float64)
        if tensor.dtype is DType.FP32:
            with np.errstate(over="ignore"):
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
        if node.op == "log":
            return self._log(operands["x"], float(operands.get("epsilon", 0.0)), result)
        if node.op == "reduce_log_sum_exp" and profile.log_sum_exp_limit is not None:
            # The sum is exp(result); it is rounded before the logarithm, without a shift by the maximum.
            with np.errstate(over="ignore"):
                total = fp16.to_fp16(np.exp(result))
            return np.where(total > profile.log_sum_exp_limit, 0.0, result)
        if node.op in ("real_div", "inverse") and profile.zero_loses_sign:
            divisor = operands["y" if node.op == "real_div" else "x"]
            return np.where((divisor == 0) & np.signbit(divisor), -result, result)
        return result

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

    def _multiply_accumulate_stage(self, node: Node, operands: Mapping[str, Any], result: Array) -> Array:
        if _single_tap(node, operands):
            return result
        if self.profile.flush_subnormals:
            result = _flush(result)
        if self.profile.mac_limit is None:
            return result
        if node.op in _MAC_OPS and products.bound(node.op, operands) >= self.profile.mac_limit:
            return products.overflow_partials(node.op, operands, result, self.profile.mac_limit)
        over = np.abs(fp16.to_fp16(result)) >= self.profile.mac_limit
        return np.where(over, np.copysign(np.inf, result), result)


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _flush(values: Array) -> Array:
    return np.where(np.abs(values) < fp16.MIN_NORMAL, np.copysign(0.0, values), values)


def _single_tap(node: Node, operands: Mapping[str, Any]) -> bool:
    """A 1x1 convolution of one channel is not on the limited stage: it passes 60000 (F36)."""
    return node.op == "conv" and products.taps(operands["weight"]) == 1
