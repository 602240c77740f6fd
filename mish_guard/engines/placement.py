"""Where the activation of a model ran: what both engines say of every operation, in one word."""

from __future__ import annotations

from collections.abc import Iterable

from mish_guard.records import Device, Placed, Placement

# What stands between the activation and the model's inputs and outputs, by MIL's names; all else is activation.
STRUCTURAL = frozenset({"cast", "conv", "linear", "matmul", "reshape", "expand_dims", "squeeze", "transpose"})

NEURAL_ENGINE = Device.NE.value
UNKNOWN = Device.UNKNOWN.value


def summary(operations: Iterable[Placed]) -> Placement:
    """The placement of a model: every operation, and the devices of the activation joined by '+', `none` without one.

    No operation at all is no placement: the activation is then `unknown`.
    """
    placed = tuple(operations)
    devices = {each.device.value for each in placed if each.op not in STRUCTURAL}
    activation = "+".join(sorted(devices)) or ("none" if placed else UNKNOWN)
    return Placement(activation=activation, ops={each.name: each.device for each in placed})
