"""One cell against its baseline: the status of every row that a verdict rests on. Pure functions."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mish_guard.judge import compare
from mish_guard.numerics import ceiling
from mish_guard.records import Measurement, Role, Run, Stage
from mish_guard.results.baseline import Baseline


class Status(str, enum.Enum):
    """One cell against its baseline."""

    SAME = "same"
    WITHIN = "within"
    BETTER = "better"
    WORSE = "worse"
    OVER_CEILING = "over ceiling"
    LOST = "lost"
    NEW = "new"
    NOT_COMPARABLE = "not comparable"
    NO_BASELINE = "no baseline"
    KNOWN_GAP = "known gap"
    GAP_CLOSED = "gap closed"
    NO_EVIDENCE = "no evidence"
    CONTROL_OK = "control ok"
    CONTROL_FAILED = "control failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell of run or baseline with its status."""

    cell: str
    status: Status
    measurement: Measurement | None
    baseline: Measurement | None


_COMPARED = frozenset({Status.SAME, Status.WITHIN, Status.BETTER, Status.KNOWN_GAP, Status.WORSE})
_UNLIKE_BEFORE = frozenset({Status.WORSE, Status.GAP_CLOSED})


def rows(run: Run, baselines: Mapping[str, Baseline]) -> Iterator[Row]:
    """Every cell that the run set out to measure, did measure, or that a baseline (by place) holds."""
    seen = seeing(run)
    stored = {key: cell for baseline in baselines.values() for key, cell in baseline.cells.items()}
    for key in sorted({*run.expected, *run.measurements, *stored}):
        measurement, baseline = run.measurements.get(key), stored.get(key)
        found = Status.LOST
        if measurement is not None:
            found = _status(measurement, baseline, baselines)
            if measurement.key.place in run.neural_engines:
                found = _at_neural_engine(found, measurement, baseline, sees=measurement.key.place in seen)
        yield Row(cell=key, status=found, measurement=measurement, baseline=baseline)


def _status(measurement: Measurement, baseline: Measurement | None, baselines: Mapping[str, Baseline]) -> Status:
    """One cell that was measured, by its figures alone."""
    if measurement.key.role.is_control:
        return Status.CONTROL_OK if ceiling.complaint(measurement) is None else Status.CONTROL_FAILED
    if measurement.failure is not None and measurement.failure.stage is not Stage.CONVERT:
        return Status.LOST
    if ceiling.complaint(measurement) is not None:
        return Status.GAP_CLOSED if ceiling.is_closed_gap(measurement) else Status.OVER_CEILING
    there = baselines.get(measurement.key.place)
    if baseline is None:
        return Status.NO_BASELINE if there is None else Status.NEW
    if (
        there is None
        or measurement.instrument != baseline.instrument
        or measurement.figures is None
        or baseline.figures is None
    ):
        return Status.NOT_COMPARABLE
    if measurement.rung != baseline.rung:
        # Another shape is another model: figures that agree, or do not, say nothing about a change of the tree.
        return Status.NOT_COMPARABLE
    changed = Status(compare.change(measurement, baseline).value)
    is_gap = measurement.known_gap is not None and changed in (Status.SAME, Status.WITHIN)
    return Status.KNOWN_GAP if is_gap else changed


def _at_neural_engine(found: Status, measurement: Measurement, baseline: Measurement | None, *, sees: bool) -> Status:
    """What a status is worth at a Neural Engine that sees the defect or not, and that the cell may never have used.

    An engine that does not see the defect is not the one its baseline was measured on: what is worse there, or a gap
    that passes, says nothing. A cell that left the engine is worse where it is known to run elsewhere and the engine
    takes the controls.
    """
    if found in _UNLIKE_BEFORE and not sees:
        return Status.NO_EVIDENCE
    if found is Status.GAP_CLOSED and not compare.placed(measurement):
        return Status.NO_EVIDENCE
    left = baseline is not None and compare.placed(baseline) and not compare.placed(measurement)
    if not left or found not in _COMPARED:
        return found
    elsewhere = measurement.placement is not None and measurement.placement.is_known
    return Status.WORSE if sees and elsewhere else Status.NO_EVIDENCE


def seeing(run: Run) -> frozenset[str]:
    """The Neural Engines of a run that caught every negative control they were given, one at least."""
    caught: dict[str, bool] = {}
    for measurement in run.measurements.values():
        if measurement.key.role is Role.NEGATIVE_CONTROL:
            where = measurement.key.place
            caught[where] = caught.get(where, True) and ceiling.complaint(measurement) is None
    return frozenset(where for where in run.neural_engines if caught.get(where, False))
