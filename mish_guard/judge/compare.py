"""The figures of one measurement against its baseline's. Pure functions; ceilings are in `limits`.

Where a cell ran is no figure: what a cell that left the Neural Engine is worth is for `verdict` to say.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from mish_guard.records import Figures, Measurement

# Worse than the baseline: a largest error in units in the last place that grew by more than this. A quarter is what
# another order of rounding may cost; half a unit is the rounding of the output itself.
WORSE_RELATIVE = 0.25
WORSE_ULP = 0.5


class Change(str, enum.Enum):
    """How a cell moved."""

    SAME = "same"
    WITHIN = "within"
    BETTER = "better"
    WORSE = "worse"


def change(got: Measurement, baseline: Measurement) -> Change:
    """How `got` moved from `baseline`; a cell that lost its figures is worse, equal output bits end the comparison."""
    new, old = got.figures, baseline.figures
    if new is None or old is None or differences(got, baseline):
        return Change.WORSE
    if new.digest == old.digest:
        return Change.SAME
    return Change.BETTER if _is_better(new, old) else Change.WITHIN


def differences(got: Measurement, baseline: Measurement) -> list[str]:
    """Everything in which a measurement is worse than its baseline, in words; empty if nothing is."""
    if got.figures is None or baseline.figures is None:
        return ["one of the two has no figures"]
    return list(_differences(got.figures, baseline.figures))


def _differences(new: Figures, old: Figures) -> Iterator[str]:
    if new.n_covered < old.n_covered:
        yield f"{new.n_covered} inputs covered, {old.n_covered} before"
    if new.n_over_ceiling > old.n_over_ceiling:
        yield f"{new.n_over_ceiling} outputs over the ceiling, {old.n_over_ceiling} before"
    for name in sorted(new.specials.keys() | old.specials.keys()):
        if new.specials.get(name) != old.specials.get(name):
            yield f"{name} gives {new.specials.get(name, 'nothing')}, {old.specials.get(name, 'nothing')} before"
    for name, before, after in ulps(new, old):
        if _exceeds(after, before):
            yield f"{name}: {after:.4g} ulp, {before:.4g} before"


def ulps(new: Figures, old: Figures) -> Iterator[tuple[str, float, float]]:
    """Name, before and after of the largest errors: per binade where there are any, else overall.

    A binade that is gone is infinite.
    """
    if not old.binades:
        yield "largest error", old.max_ulp.value, new.max_ulp.value
    for name, before in old.binades.items():
        after = new.binades.get(name)
        yield f"binade {name}", before.max_ulp, float("inf") if after is None else after.max_ulp


def _is_better(new: Figures, old: Figures) -> bool:
    shrunk = (_exceeds(before, after) for _, before, after in ulps(new, old))
    return new.n_covered > old.n_covered or new.n_over_ceiling < old.n_over_ceiling or any(shrunk)


def worse_binades(new: Figures, old: Figures) -> list[str]:
    """The binades whose largest error grew by more than the limit."""
    return [name for name, before, after in ulps(new, old) if _exceeds(after, before)]


def _exceeds(after: float, before: float) -> bool:
    return not after <= before * (1 + WORSE_RELATIVE) + WORSE_ULP


def placed(measurement: Measurement) -> bool:
    """Whether the activation ran, or was planned, on a Neural Engine and nowhere else."""
    return measurement.placement is not None and measurement.placement.is_on_neural_engine
