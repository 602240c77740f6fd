"""Random numbers: only where chance has no say, which no generator can tell apart; others are refused."""

from __future__ import annotations

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, ints
from mish_guard.errors import UnsupportedOpError

WHY = "Its numbers are random: no two runs give the same, so there is nothing to compare."


def random_bernoulli(*, shape: Array, prob: Number = 0.5, seed: Number = -1) -> Array:
    """Ones with a probability of 1, zeros with one of 0."""
    return _certain("random_bernoulli", shape, prob, is_certain=float(prob) in (0.0, 1.0), seed=seed)


def random_normal(*, shape: Array, mean: Number = 0.0, stddev: Number = 1.0, seed: Number = -1) -> Array:
    """The mean, where nothing deviates from it."""
    return _certain("random_normal", shape, mean, is_certain=float(stddev) == 0.0, seed=seed)


def random_uniform(*, shape: Array, low: Number = 0.0, high: Number = 1.0, seed: Number = -1) -> Array:
    """The only number between two that are equal."""
    return _certain("random_uniform", shape, low, is_certain=float(low) == float(high), seed=seed)


def _certain(op: str, shape: Array, value: Number, *, is_certain: bool, seed: Number) -> Array:
    del seed
    if not is_certain:
        msg = f"The emulator does not know the operation '{op}'. {WHY}"
        raise UnsupportedOpError(msg)
    return np.full(ints(shape), float(value))


OPS: dict[str, Operation] = {
    "random_bernoulli": random_bernoulli,
    "random_normal": random_normal,
    "random_uniform": random_uniform,
}
