"""Ceilings: limits that no baseline can move, and what each cell of the matrix is expected to do.

Pure functions over figures. The matrix's tests assert `complaint`, the verdict judges by the same function, so a
plain pytest run and the gate cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mish_guard.records import Figures, Measurement, Role

Doubles = NDArray[np.float64]

# The least part of its inputs that a control must be measured at. The narrowest engine known, the emulated one that
# flushes subnormals, carries 59,394 of 63,488 (`mish-guard gate` prints it); far less is a machine that loses inputs.
LEAST_COVERED = 7 / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """|error| <= absolute + relative * size, output finite where the reference is, and not collapsed.

    `size` is |want| for the outputs of an activation and the largest |want| for those of a whole model, whose sums
    cancel. 2**-8 is 4 half-precision units at 1: every form of mish that is free of a collapse stays inside (the
    coarsest, 1 + exp(-|x|) in half precision, errs by up to 0.0037 at -7.6; `mish-guard lowerings` prints it), every
    collapse leaves it. An output has collapsed when its relative error is at least one half although the reference is
    larger than 2**-6, where half precision resolves far finer steps than the reference itself.
    """

    absolute: float = 2.0**-8
    relative: float = 2.0**-8
    collapse_relative: float = 0.5
    collapse_from: float = 2.0**-6

    def within(self, got: Doubles, want: Doubles, size: Doubles) -> NDArray[np.bool_]:
        """Which outputs are inside; NaN is not. Arrays of one shape; `size` is what errors are relative to."""
        with np.errstate(invalid="ignore"):
            close: NDArray[np.bool_] = np.abs(got - want) <= self.absolute + self.relative * size
        return np.asarray(close & np.isfinite(got) & ~self.collapsed(got, want, size))

    def collapsed(self, got: Doubles, want: Doubles, size: Doubles) -> NDArray[np.bool_]:
        """Which outputs lost at least half of a reference that is not small."""
        with np.errstate(invalid="ignore"):
            kept: NDArray[np.bool_] = np.abs(got - want) < self.collapse_relative * size
        return (size >= self.collapse_from) & ~kept


CEILING = Ceiling()


def is_within(figures: Figures) -> bool:
    """Whether a cell measured something and every covered output is inside the ceiling."""
    return figures.n_covered > 0 and figures.n_over_ceiling == 0


def complaint(measurement: Measurement) -> str | None:
    """What is wrong with a cell by itself, without a baseline; None if it does what the matrix expects of it.

    Candidate, graft and positive control must be inside the ceiling; a known gap may be outside. A negative control
    must be outside: that shows that the engine can see the defect. Both controls must have been measured at nearly all
    inputs: a machine that loses them is not the candidate's fault.
    """
    figures = measurement.figures
    found = _unusable(measurement)
    if found is not None or figures is None:
        return found
    if measurement.key.role.is_control and not _is_covered(figures):
        return f"the control was measured at {figures.n_covered} of {figures.n_total} inputs"
    if measurement.key.role is Role.NEGATIVE_CONTROL:
        return "the negative control was not caught" if is_within(figures) else None
    return None if measurement.known_gap is not None else fault(measurement)


def fault(measurement: Measurement) -> str | None:
    """What is wrong with the figures of a cell, whatever is expected of it; None if it is inside the ceiling."""
    found = _unusable(measurement)
    if found is not None or measurement.figures is None:
        return found
    return None if is_within(measurement.figures) else _over_ceiling(measurement.figures)


def _unusable(measurement: Measurement) -> str | None:
    """Why there are no figures to speak of."""
    if measurement.failure is not None:
        return f"no figures: {measurement.failure.stage.value} failed: {measurement.failure.reason}"
    if measurement.figures is None or measurement.figures.n_covered == 0:
        return "nothing was measured: the model carried none of the inputs"
    if measurement.repeats_agree is False:
        return "two predictions of the same input gave different bits"
    return None


def _is_covered(figures: Figures) -> bool:
    return figures.n_covered >= LEAST_COVERED * figures.n_total


def _over_ceiling(figures: Figures) -> str:
    return (
        f"{figures.n_over_ceiling} of {figures.n_covered} outputs are over the ceiling "
        f"({figures.n_collapsed} collapsed, {figures.n_nonfinite} not finite)"
    )
