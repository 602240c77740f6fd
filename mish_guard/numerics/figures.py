"""Outputs → figures. Compares what an engine returned with the float64 reference; sets no limit of its own.

Every error is in the unit of the output; `ulp` means units in the last place of half precision at the reference
value. It says little where the reference is tiny, so `max_abs` stands beside it. Outputs that are not finite count as
an error of 65504, the largest half-precision number, so that every figure stays a number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mish_guard.errors import NotComparableError
from mish_guard.numerics import fp16
from mish_guard.numerics.ceiling import CEILING, Ceiling
from mish_guard.records import BadInterval, BinadeFigures, Figures, Worst

# An error of half precision itself: half a unit in the last place at 1 and above, and as much below.
MATERIAL = 2.0**-11

Half = NDArray[np.float16]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]


def sweep(
    inputs: Half, got: Half, want: Doubles, *, covered: Mask, specials: Mapping[str, Half], ceiling: Ceiling = CEILING
) -> Figures:
    """Figures of an element-wise model over ascending finite `inputs`, all arrays of one shape (n,).

    `covered` marks the inputs that reached the activation unchanged; the others count for nothing but coverage.
    `specials` holds the outputs for inputs that are not finite, by the class of the input. Raises NotComparableError
    for shapes, types or an emptiness that make a comparison meaningless.
    """
    _check(got, want)
    if inputs.shape != got.shape or covered.shape != got.shape:
        msg = f"Inputs {inputs.shape}, coverage {covered.shape} and outputs {got.shape} must have one shape."
        raise NotComparableError(msg)
    errors = _Errors(got[covered], want[covered], np.abs(want[covered]), ceiling)
    at = inputs[covered].astype(np.float64)
    return replace(
        errors.figures(at, n_total=len(got), digest=digest(got, *specials.values())),
        binades=_binades(at, errors),
        bad_intervals=bad_intervals(inputs[covered], errors.over),
        specials={name: _classes(values) for name, values in specials.items()},
    )


def outputs(got: Half, want: Doubles, *, ceiling: Ceiling = CEILING) -> Figures:
    """Figures of a whole model's outputs, any shape; places are indices into the flattened output."""
    _check(got, want)
    largest = np.full(want.size, np.abs(want).max())
    errors = _Errors(got.ravel(), want.ravel(), largest, ceiling)
    index = np.arange(got.size, dtype=np.float64)
    return errors.figures(index, n_total=got.size, digest=digest(got))


def bad_intervals(inputs: Half, over: Mask) -> tuple[BadInterval, ...]:
    """Runs of neighbours in `inputs` (ascending) that are `over` the ceiling."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], over, [False])).astype(np.int8)))
    return tuple(
        BadInterval(first=float(inputs[start]), last=float(inputs[stop - 1]), count=int(stop - start))
        for start, stop in edges.reshape(-1, 2)
    )


class _Errors:
    """Errors of the covered outputs; empty when nothing was covered."""

    def __init__(self, got: Half, want: Doubles, size: Doubles, ceiling: Ceiling) -> None:
        values = got.astype(np.float64)
        self.finite = np.isfinite(values)
        self.abs = np.where(self.finite, np.abs(np.where(self.finite, values, 0.0) - want), fp16.MAX_FINITE)
        self.ulp = self.abs / fp16.spacing(want)
        self.material = self.abs / (MATERIAL + MATERIAL * size)
        self.over = ~ceiling.within(values, want, size)
        self.collapsed = ceiling.collapsed(values, want, size)

    def figures(self, at: Doubles, *, n_total: int, digest: str) -> Figures:
        """The figures that every kind of cell has."""
        return Figures(
            n_total=n_total,
            n_covered=len(at),
            n_nonfinite=int(np.count_nonzero(~self.finite)),
            n_collapsed=int(np.count_nonzero(self.collapsed)),
            n_over_ceiling=int(np.count_nonzero(self.over)),
            max_abs=_worst(self.abs, at),
            max_ulp=_worst(self.ulp, at),
            mean_abs=float(self.abs.mean()) if len(at) else 0.0,
            material=float(self.material.max()) if len(at) else 0.0,
            digest=digest,
        )


def _check(got: Half, want: Doubles) -> None:
    if got.dtype != np.float16 or want.dtype != np.float64:
        msg = f"Outputs must be float16 and the reference float64, not {got.dtype} and {want.dtype}."
        raise NotComparableError(msg)
    if got.shape != want.shape or got.size == 0:
        msg = f"The output has shape {got.shape}; the reference says {want.shape}."
        raise NotComparableError(msg)
    if not np.isfinite(want).all():
        msg = "The reference is not finite everywhere; such inputs belong to the specials."
        raise NotComparableError(msg)


def _worst(errors: Doubles, at: Doubles) -> Worst:
    if not len(errors):
        return Worst(value=0.0, at=0.0)
    place = int(np.argmax(errors))
    return Worst(value=float(errors[place]), at=float(at[place]))


def _binades(at: Doubles, errors: _Errors) -> dict[str, BinadeFigures]:
    if not len(at):
        return {}
    numbers = fp16.binade(at)
    starts = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))
    stops = (*starts[1:], len(at))
    return {
        fp16.binade_name(int(numbers[start])): _binade(at[start:stop], errors, slice(start, stop))
        for start, stop in zip(starts, stops, strict=True)
    }


def _binade(at: Doubles, errors: _Errors, here: slice) -> BinadeFigures:
    worst = _worst(errors.ulp[here], at)
    return BinadeFigures(
        count=len(at),
        max_ulp=worst.value,
        mean_abs=float(errors.abs[here].mean()),
        at=worst.at,
        material=float(errors.material[here].max()),
    )


def _classes(values: Half) -> str:
    """The class of every value, or all classes that occur."""
    return " ".join(sorted({fp16.classify(float(value)).value for value in np.unique(values)}))


def digest(*arrays: Half) -> str:
    """sha256 of output bits, as hexadecimal text; every NaN counts as one, since payloads mean nothing."""
    hashed = hashlib.sha256()
    for array in arrays:
        canonical = np.where(np.isnan(array), np.float16(np.nan), array)
        hashed.update(np.ascontiguousarray(canonical).astype("<f2").tobytes())
    return hashed.hexdigest()
