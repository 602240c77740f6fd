"""The machine that the stand-in plays: which arithmetic runs where. Both of its callers are in one process."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mish_guard.engines.emulator import profiles
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.graph import DType, Node

NEWEST_SPECIFICATION = 10

_NEURAL_ENGINE_UNITS = ("ALL", "CPU_AND_NE")


@dataclass(frozen=True, slots=True)
class Machine:
    """The profile of the Neural Engine and the units there are."""

    profile: str = "ieee-fp16"
    devices: tuple[str, ...] = ("cpu", "gpu", "ne")
    ne_cores: int = 16


_used = [Machine()]


def use(profile: str) -> None:
    """Play a machine whose Neural Engine has this arithmetic; raises UsageError for an unknown profile."""
    profiles.get(profile)
    _used[0] = dataclasses.replace(_used[0], profile=profile)


def current() -> Machine:
    """The machine in use."""
    return _used[0]


def preferred(node: Node, unit: str) -> str:
    """The device that an operation runs on under a compute unit; fp32 is not for the Neural Engine."""
    if unit == "CPU_AND_GPU":
        return "gpu"
    half = all(tensor.dtype is not DType.FP32 for tensor in node.outputs)
    return "ne" if unit in _NEURAL_ENGINE_UNITS and half else "cpu"


def arithmetic(unit: str) -> Emulated:
    """How a model that was loaded for a compute unit computes."""
    on_neural_engine = unit in _NEURAL_ENGINE_UNITS
    return Emulated(profiles.get(current().profile) if on_neural_engine else profiles.IEEE_FP16)
