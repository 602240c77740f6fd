"""Figures as series for charts: the largest error of every binade, ordered as the inputs are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mish_guard.records import BinadeFigures


def ordered(binades: Mapping[str, BinadeFigures]) -> list[tuple[float, str, float]]:
    """Edge nearest zero (signed), name and max_ulp of every binade, from the most negative to the most positive."""
    named = [(edge(name), name, each.max_ulp) for name, each in binades.items()]
    # Both binades of zero have the edge 0; the sign of the name keeps them apart.
    return sorted(named, key=lambda item: (item[0], item[1][0] == "+"))


def edge(name: str) -> float:
    """The edge nearest zero of a binade such as "-[8, 16)", here -8.0."""
    low = name[2:].partition(",")[0]
    value = 2.0 ** int(low.removeprefix("2^")) if low.startswith("2^") else float(low)
    return -value if name.startswith("-") else value


def around(binades: Mapping[str, BinadeFigures], largest: float = 16.0, least: float = 0.25) -> list[tuple[str, float]]:
    """Label and log2(1 + max_ulp) of the binades with edges from `least` to `largest`, of both signs."""
    return [
        (f"{low:g}", round(math.log2(1 + ulp), 3)) for low, _, ulp in ordered(binades) if least <= abs(low) <= largest
    ]


def aligned(labels: Sequence[str], series: Sequence[tuple[str, float]]) -> list[float]:
    """The values of a series at `labels`; 0 where it has none."""
    values = dict(series)
    return [values.get(label, 0.0) for label in labels]
