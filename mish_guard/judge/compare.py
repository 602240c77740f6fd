"""The figures of one measurement against those it is compared with. Pure functions; ceilings are in `numerics`.

Where a cell ran is no figure: what a cell that left the Neural Engine is worth is for `status` to say.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass

from mish_guard.records import Figures, Measurement

# An error in units in the last place grew if it did by more than this. A quarter is what another order of rounding may
# cost; half a unit is the rounding of the output itself.
GREW_RELATIVE = 0.25
GREW_ULP = 0.5

# Above this size an error that grew is worse: `material` is its ratio to 2**-11 + 2**-11 * |want|. Without the limit a
# lowering that is better by every other figure would be called worse for 1e-7 at x = -0.0003.
MATERIAL = 1.0

_OVERALL = "all outputs"


class Change(str, enum.Enum):
    """How a cell moved; PRECISION grew somewhere, by less than matters."""

    SAME = "same"
    WITHIN = "within"
    BETTER = "better"
    PRECISION = "precision changed"
    WORSE = "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A binade, or the whole of a cell without binades, with its max_ulp before and after; None where unknown.

    `at` is the input of the larger of the two, None for a cell without binades. `material` is the size of the error
    after, in units of 2**-11 + 2**-11 * |want|, `material_before` that of before for a cell without binades.
    """

    name: str
    before: float | None
    after: float | None
    at: float | None = None
    material: float = 0.0
    material_before: float | None = None

    @property
    def grew(self) -> bool:
        """Whether the error grew by more than the limit; one that is gone, or no number, did."""
        if self.after is None or self.before is None:
            return self.after is None
        return not self.after <= self.before * (1 + GREW_RELATIVE) + GREW_ULP

    @property
    def shrank(self) -> bool:
        """Whether the error shrank by more than the limit."""
        if self.after is None or self.before is None:
            return False
        return not self.before <= self.after * (1 + GREW_RELATIVE) + GREW_ULP

    @property
    def is_worse(self) -> bool:
        """Whether the error grew, and to a size that matters.

        Where an output cancels, its units in the last place are arbitrary: of whole outputs the size must grow too.
        """
        if self.material_before is not None and self.material <= self.material_before * (1 + GREW_RELATIVE):
            return False
        return self.grew and (self.after is None or not self.material <= MATERIAL)

    @property
    def words(self) -> str:
        """Before and after in one line."""
        return f"{self.name}: {_ulp(self.after)} ulp, {_ulp(self.before)} before"


def change(got: Measurement, before: Measurement) -> Change:
    """How `got` moved from `before`; a cell that lost its figures is worse, equal output bits end the comparison."""
    new, old = got.figures, before.figures
    if new is None or old is None or differences(got, before):
        return Change.WORSE
    if new.digest == old.digest:
        return Change.SAME
    moves = moves_of(new, old)
    if any(each.grew for each in moves):
        return Change.PRECISION
    covers_more = new.n_covered > old.n_covered or new.n_over_ceiling < old.n_over_ceiling
    return Change.BETTER if covers_more or any(each.shrank for each in moves) else Change.WITHIN


def differences(got: Measurement, before: Measurement) -> list[str]:
    """Everything in which a measurement is materially worse, in words, the largest first; empty if nothing is."""
    if got.figures is None or before.figures is None:
        return ["one of the two has no figures"]
    return list(_differences(got.figures, before.figures))


def _differences(new: Figures, old: Figures) -> Iterator[str]:
    if new.n_covered < old.n_covered:
        yield f"{new.n_covered} inputs covered, {old.n_covered} before"
    if new.n_over_ceiling > old.n_over_ceiling:
        yield f"{new.n_over_ceiling} outputs over the ceiling, {old.n_over_ceiling} before"
    yield from special_differences(new, old)
    worse = (each for each in moves_of(new, old) if each.is_worse)
    yield from (each.words for each in sorted(worse, key=_distance, reverse=True))


def special_differences(new: Figures, old: Figures) -> Iterator[str]:
    """The inputs that are not finite and give another kind of number; +0 and -0 are one kind."""
    for name in sorted(new.specials.keys() | old.specials.keys()):
        after, before = new.specials.get(name, "nothing"), old.specials.get(name, "nothing")
        if _kinds(after) != _kinds(before):
            yield f"{name} gives {after}, {before} before"


def _kinds(classes: str) -> frozenset[str]:
    return frozenset("0" if each in ("+0", "-0") else each for each in classes.split())


def moves_of(new: Figures, old: Figures) -> tuple[Moved, ...]:
    """The largest errors after and before: per binade where there are any, else overall."""
    if not old.binades:
        after = new.max_ulp.value
        before = old.max_ulp.value
        return (Moved(name=_OVERALL, before=before, after=after, material=new.material, material_before=old.material),)
    return tuple(_moved(name, new, old) for name in old.binades)


def _moved(name: str, new: Figures, old: Figures) -> Moved:
    before, after = old.binades[name], new.binades.get(name)
    if after is None:
        return Moved(name=name, before=before.max_ulp, after=None, at=before.at)
    at = after.at if after.max_ulp >= before.max_ulp else before.at
    return Moved(name=name, before=before.max_ulp, after=after.max_ulp, at=at, material=after.material)


def moved(got: Measurement | None, before: Measurement | None) -> Moved | None:
    """The binade that changed most, one that is worse before all others; without binades the largest error.

    Where one of the two has no figures, the largest error of the other.
    """
    new, old = (None if cell is None else cell.figures for cell in (got, before))
    if new is not None and old is not None:
        return max(moves_of(new, old), key=lambda each: (each.is_worse, each.grew, _distance(each)))
    only = new or old
    if only is None:
        return None
    name, ulp, at = _largest(only)
    return Moved(name=name, before=None if old is None else ulp, after=None if new is None else ulp, at=at)


def _largest(figures: Figures) -> tuple[str, float, float | None]:
    if not figures.binades:
        return _OVERALL, figures.max_ulp.value, None
    name, binade = max(figures.binades.items(), key=lambda item: item[1].max_ulp)
    return name, binade.max_ulp, binade.at


def _distance(move: Moved) -> float:
    """How far two errors are apart; half a unit is the rounding of the output, below which nothing matters."""
    if move.before is None or move.after is None or not math.isfinite(move.after):
        return math.inf
    return abs(math.log((move.after + GREW_ULP) / (move.before + GREW_ULP)))


def _ulp(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def placed(measurement: Measurement) -> bool:
    """Whether the activation ran, or was planned, on a Neural Engine and nowhere else."""
    return measurement.placement is not None and measurement.placement.is_on_neural_engine
