"""Profiles: the numerical behaviour that an emulator run assumes, each hazard with the facts that support it.

Fact numbers (F1, P6, …) are those of `data/evidence.yml`. None in the profile of a Neural Engine means that nobody
has measured it: the evaluator then computes what IEEE 754 says and `mish-guard calibrate` lists the gap.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

from mish_guard.errors import UsageError


class Softplus(str, enum.Enum):
    """How the engine computes its native softplus."""

    EXACT = "exact"
    CLIFF = "cliff"
    COMPOSED = "composed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The arithmetic of one kind of unit for half-precision operations.

    softplus          CLIFF: 0 where exp(x) >= 2**15 (F1-F4). COMPOSED: fp16 exp, add 1, log, which is the mechanism
                      inferred in F55.
    mac_limit         A multi-tap convolution, linear or matmul result, one of its partial sums, or a sum with a
                      constant on that stage becomes inf from this magnitude on (F30, F31, F54).
    log_sum_exp_limit reduce_log_sum_exp is 0 once its sum, taken without a shift by the maximum, exceeds this
                      (F19, F20).
    log_of_zero       log(0) (F39).
    log_of_inf        log(+inf) (inferred from F5 and F55: log(1 + exp(x)) written out falls off the same cliff).
    nan_to_inf        NaN enters as +inf, and inf-inf, 0*inf, inf/inf, log(-1) give +0: no NaN leaves (F47, F48).
    zero_loses_sign   1 / -0 and 1 / sqrt(-0) are +inf, sqrt(-0) is +0 (F43).
    flush_subnormals  Subnormals are flushed to 0 in convolution, linear and matmul (F49: M1 yes, M5 no; adding or
                      multiplying element by element keeps them on both).

    Not measured, or measured with contradictory results; a number set here takes effect:

    softplus_parametric_limit  softplus_parametric is 0 where exp(beta * x) reaches this (U1).
    exp2_limit                 exp2 is inf from this magnitude on (U2).
    constant_gain_limit        mul or real_div with a constant is inf from this magnitude on (U3).
    cast_saturates             A finite value beyond 65504 becomes 65504 when cast to half precision (F60, F61).
    """

    name: str
    summary: str
    is_neural_engine: bool = False
    softplus: Softplus = Softplus.EXACT
    mac_limit: float | None = None
    log_sum_exp_limit: float | None = None
    log_of_zero: float | None = None
    log_of_inf: float | None = None
    nan_to_inf: bool = False
    zero_loses_sign: bool = False
    flush_subnormals: bool | None = False
    softplus_parametric_limit: float | None = None
    exp2_limit: float | None = None
    constant_gain_limit: float | None = None
    cast_saturates: bool | None = None


IEEE_FP16 = Profile(name="ieee-fp16", summary="IEEE 754 half precision, nothing added")
ANE = Profile(
    name="ane",
    summary="Neural Engine, subnormals kept",
    is_neural_engine=True,
    softplus=Softplus.CLIFF,
    mac_limit=2.0**15,
    log_sum_exp_limit=65504.0,
    log_of_zero=-45440.0,
    log_of_inf=0.0,
    nan_to_inf=True,
    zero_loses_sign=True,
)
ANE_FTZ = dataclasses.replace(
    ANE,
    name="ane-ftz",
    summary="Neural Engine, subnormals flushed on the multiply-accumulate path",
    flush_subnormals=True,
)
ANE_COARSE = dataclasses.replace(
    ANE, name="ane-coarse", summary="Neural Engine, softplus composed in fp16", softplus=Softplus.COMPOSED
)

PROFILES = {profile.name: profile for profile in (IEEE_FP16, ANE, ANE_FTZ, ANE_COARSE)}


def get(name: str) -> Profile:
    """The profile called `name`; raises UsageError with the names there are."""
    try:
        return PROFILES[name]
    except KeyError:
        msg = f"No profile is called '{name}'. Choose one of: {', '.join(PROFILES)}."
        raise UsageError(msg) from None
