"""Where to look into a model: the input that shows what is wrong, and where it lies in the activation's tensor."""

from __future__ import annotations

from dataclasses import dataclass

from mish_guard.judge import defects
from mish_guard.models import networks
from mish_guard.records import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Input `x` in feed number `feed`, at index `place` of the activation's tensor; no place where inputs are mixed."""

    x: float
    feed: int
    place: tuple[int, ...] | None


def spot(case: networks.Case, measured: Measurement, x: float | None = None) -> Spot:
    """The first input of the widest bad interval, or of the largest error; or `x`, where one is asked for."""
    interval = defects.main_interval(measured)
    at = x
    if at is None:
        largest = 0.0 if measured.figures is None else measured.figures.max_abs.at
        at = largest if interval is None else interval.first
    located = case.locate(at)
    feed, place = (0, None) if located is None else located
    return Spot(x=at, feed=feed, place=place)
