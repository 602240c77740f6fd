"""Why and where: the signature of a bad measurement, and the known defect it matches. Pure functions."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mish_guard import files
from mish_guard.judge import compare
from mish_guard.records import BadInterval, Family, Measurement, Stage

DEFECTS = files.DATA / "defects.yml"

# The cliff begins where exp(x) reaches 2**15 (coremltools #2687) and no later than where exp(x) overflows half
# precision, 11.09375.
_CLIFF_FIRST = 10.3984375
_CLIFF_LAST = 11.09375

# Left of here mish falls to nothing, by a factor of e for each unit of x.
_TAIL = -4.0


class Signature(str, enum.Enum):
    """What kind of error a finding is."""

    SOFTPLUS_CLIFF = "softplus-cliff"
    EXP_OVERFLOW = "exp-overflow"
    NEGATIVE_TAIL = "negative-tail"
    SPECIAL_VALUES = "special-values"
    PRECISION = "precision"
    COVERAGE = "coverage"
    PLACEMENT = "placement"
    CONVERSION = "conversion"
    ENGINE = "engine"
    CONTROL = "control"
    ASSUMPTION = "assumption"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A known defect: how to recognise it and where it was found.

    `figure` names a field of Figures that was `before` with the defect and is `after` without it; from `limit` on a
    measurement of one of `cases` shows it; one of `families` shows it by its signature, since what stands behind the
    activation there may hide the figure. `starts_at` is the first bad input above zero.
    """

    id: str
    title: str
    signature: Signature
    cases: tuple[str, ...]
    families: tuple[Family, ...]
    starts_at: float
    figure: str
    before: float
    after: float
    limit: float
    found: tuple[str, ...]


def load_defects(path: Path = DEFECTS) -> tuple[Defect, ...]:
    """The known defects; raises UnreadableFileError for a file that does not follow its schema."""
    document = files.read_yaml(path)
    files.validate(document, "defects", path)
    return tuple(
        Defect(
            id=each["id"],
            title=each["title"],
            signature=Signature(each["signature"]),
            cases=tuple(each["cases"]),
            families=tuple(map(Family, each["families"])),
            starts_at=each["starts_at"],
            figure=each["figure"],
            before=each["before"],
            after=each["after"],
            limit=each["limit"],
            found=tuple(each["found"]),
        )
        for each in document["defects"]
    )


def signature(measurement: Measurement) -> Signature:
    """The kind of error of a measurement that is over the ceiling, or that has no figures."""
    if measurement.failure is not None:
        return Signature.CONVERSION if measurement.failure.stage is Stage.CONVERT else Signature.ENGINE
    interval = main_interval(measurement)
    culprit = measurement.culprit
    if interval is not None and interval.last <= _TAIL:
        return Signature.NEGATIVE_TAIL
    if interval is not None and _CLIFF_FIRST <= interval.first <= _CLIFF_LAST:
        return Signature.SOFTPLUS_CLIFF
    if interval is None and culprit is not None and culprit.op == "softplus":
        return Signature.SOFTPLUS_CLIFF
    if culprit is not None and culprit.op == "reduce_log_sum_exp":
        # Its sum overflows inside; what comes out is 0.
        return Signature.EXP_OVERFLOW
    if culprit is not None and not math.isfinite(culprit.got):
        return Signature.EXP_OVERFLOW
    return Signature.PRECISION


def changed_signature(measurement: Measurement, before: Measurement | None) -> Signature:
    """The kind of a change against what the cell is compared with."""
    new, old = measurement.figures, None if before is None else before.figures
    if before is None or new is None or old is None:
        return Signature.PRECISION
    if new.n_covered < old.n_covered:
        return Signature.COVERAGE
    if next(compare.special_differences(new, old), None) is not None:
        return Signature.SPECIAL_VALUES
    moves = compare.moves_of(new, old)
    grown = [each for each in moves if each.is_worse] or [each for each in moves if each.grew]
    if not grown and compare.placed(before) and not compare.placed(measurement):
        return Signature.PLACEMENT
    in_tail = [each.at is not None and each.at <= _TAIL for each in grown]
    return Signature.NEGATIVE_TAIL if in_tail and all(in_tail) else Signature.PRECISION


def main_interval(measurement: Measurement) -> BadInterval | None:
    """The widest run of bad inputs, if the cell has inputs to speak of."""
    if measurement.figures is None:
        return None
    return max(measurement.figures.bad_intervals, key=lambda interval: interval.count, default=None)


def defect(measurement: Measurement, defects: Sequence[Defect]) -> Defect | None:
    """The known defect that a measurement over the ceiling shows, if any."""
    figures, key = measurement.figures, measurement.key
    if figures is None:
        return None
    kind = signature(measurement)
    for each in defects:
        named = key.case in each.cases and getattr(figures, each.figure) >= each.limit
        if each.signature is kind and (named or key.family in each.families):
            return each
    return None
