"""Profiles: the numerical behaviour that an emulator run assumes, as a set of hazards.

What the hazards do, in which order and on what evidence: `hazards`. What nobody has measured is computed as
`assumptions` says: friendly in every profile of a Neural Engine, and the other way round on demand.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from mish_guard.engines.emulator import hazards
from mish_guard.engines.emulator.hazards import Hazard
from mish_guard.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The arithmetic of one kind of unit for half-precision operations: names of hazards, in any order."""

    name: str
    summary: str
    is_neural_engine: bool = False
    hazards: frozenset[str] = frozenset()

    # Neural networks, the format before ML programs, keep single precision. ML programs declare theirs.
    keeps_single: bool = False

    def entering(self, op: str) -> tuple[Hazard, ...]:
        """The hazards on the operands of an operation, in the order in which they apply."""
        return _chosen(self.hazards, op)[0]

    def leaving(self, op: str) -> tuple[Hazard, ...]:
        """The hazards on the result of an operation, in the order in which they apply."""
        return _chosen(self.hazards, op)[1]


@functools.cache
def _chosen(names: frozenset[str], op: str) -> tuple[tuple[Hazard, ...], tuple[Hazard, ...]]:
    own = [each for each in hazards.TABLE.values() if each.name in names and (each.ops is None or op in each.ops)]
    return tuple(each for each in own if each.enters), tuple(each for each in own if each.leaves)


_EVERY_ENGINE = frozenset(hazards.TABLE) - {"softplus-composed", "subnormals-flushed"}

IEEE_FP16 = Profile(name="ieee-fp16", summary="IEEE 754 half precision, nothing added")
ANE = Profile(name="ane", summary="Neural Engine, subnormals kept", is_neural_engine=True, hazards=_EVERY_ENGINE)
ANE_FTZ = Profile(
    name="ane-ftz",
    summary="Neural Engine, subnormals flushed on the multiply-accumulate path",
    is_neural_engine=True,
    hazards=_EVERY_ENGINE | {"subnormals-flushed"},
)
ANE_COARSE = Profile(
    name="ane-coarse",
    summary="Neural Engine, softplus composed in fp16",
    is_neural_engine=True,
    hazards=_EVERY_ENGINE | {"softplus-composed"},
)

# What a gate judges under.
PROFILES = {profile.name: profile for profile in (IEEE_FP16, ANE, ANE_FTZ, ANE_COARSE)}

CPU_FP32 = Profile(name="cpu-fp32", summary="CPU, neural networks in single precision", keeps_single=True)

# What a model may be run under by itself.
OPTIONS = {**PROFILES, CPU_FP32.name: CPU_FP32}


def get(name: str) -> Profile:
    """The profile called `name` that a gate can judge under; raises UsageError with the names there are."""
    return _named(name, PROFILES)


def option(name: str) -> Profile:
    """The profile called `name` that a model can be run under; raises UsageError with the names there are."""
    return _named(name, OPTIONS)


def _named(name: str, among: Mapping[str, Profile]) -> Profile:
    try:
        return among[name]
    except KeyError:
        msg = f"No profile is called '{name}'. Choose one of: {', '.join(among)}."
        raise UsageError(msg) from None
