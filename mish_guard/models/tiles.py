"""The inputs of a road: half-precision numbers in tiles of any shape, and probes that show where mish is.

Neighbours of mish carry what a sum of products carries on every known engine: numbers below 2**15 (F30 of
docs/evidence.md) that are not subnormal (F49). The other inputs are swept behind no neighbour at all, in other
families.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mish_guard.numerics import fp16

Half = NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Inputs of a model, float64, and what then enters mish on the way to one output and what leaves it."""

    feeds: tuple[NDArray[np.generic], ...]
    entering: NDArray[np.float64]
    leaving: NDArray[np.float64]


MOST = 2.0**15

# A shape of few elements would take one prediction for each of them.
MOST_TILES = 400

# What tells one function from another, both signs and the ends of the range.
PROBE = (
    -65504.0,
    -1000.0,
    -101.0,
    -20.25,
    -9.5,
    -4.0,
    -1.5,
    -0.25,
    0.0,
    0.5,
    1.75,
    3.0,
    6.5,
    11.0,
    30.0,
    500.0,
    65504.0,
)


@functools.cache
def carried() -> Half:
    """What every neighbour carries, in ascending order: ±0 and 2**-14 <= |x| < 2**15; float16, read-only."""
    values = fp16.finite_values()
    size = np.abs(values.astype(np.float64))
    kept: Half = values[(size == 0) | ((size >= fp16.MIN_NORMAL) & (size < MOST))]
    kept.setflags(write=False)
    return kept


def inputs(shape: Sequence[int]) -> Half:
    """The inputs that tiles of `shape` hold: all that are carried, or an even choice of them for a small shape."""
    most = math.prod(shape) * MOST_TILES
    values = carried()
    if len(values) <= most:
        return values
    places = np.linspace(0, len(values) - 1, most).round().astype(np.intp)
    return np.asarray(values[places], dtype=np.float16)


def tiles(shape: Sequence[int]) -> list[Half]:
    """`inputs(shape)` in arrays of `shape`, the last filled up with zeros."""
    values, size = inputs(shape), math.prod(shape)
    padded = np.zeros(-(-len(values) // size) * size, dtype=np.float16)
    padded[: len(values)] = values
    return [tile.reshape(tuple(shape)) for tile in padded.reshape(-1, size)]


def wave(shape: Sequence[int], largest: float) -> Half:
    """Evenly spaced values in [-largest, largest] as one array of `shape`, so ordered that each row has all sizes."""
    count = math.prod(shape)
    step = next(each for each in range(int(count * 0.618), count + 1) if math.gcd(each, count) == 1)
    values = np.linspace(-largest, largest, count)[np.arange(count) * step % count]
    return fp16.to_fp16(values.reshape(tuple(shape)))


def probes(shape: Sequence[int]) -> list[NDArray[np.float64]]:
    """All probing values in arrays of `shape`, over and over where one holds more, float64."""
    size = math.prod(shape)
    count = -(-len(PROBE) // size)
    return list(np.resize(np.asarray(PROBE, dtype=np.float64), (count, *shape)))


def joined(tiles_got: Sequence[ArrayLike], shape: Sequence[int]) -> Half:
    """What came out for each of `tiles(shape)`, element by element, for `inputs(shape)`."""
    values = np.concatenate([np.asarray(tile, dtype=np.float16).ravel() for tile in tiles_got])
    return np.asarray(values[: len(inputs(shape))])
