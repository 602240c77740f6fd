"""One cell against what it is compared with: the status of every row that a verdict rests on. Pure functions."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mish_guard.judge import compare
from mish_guard.numerics import ceiling
from mish_guard.records import Measurement, Role, Run, Stage
from mish_guard.results.baseline import Baseline


class Status(str, enum.Enum):
    """One cell against its baseline, or against the base tree of the same run."""

    SAME = "same"
    WITHIN = "within"
    PRECISION = "precision changed"
    BETTER = "better"
    WORSE = "worse"
    OVER_CEILING = "over ceiling"
    FAILS = "no longer works"
    AS_BASE = "as the base"
    KNOWN_GAP = "known gap"
    ASSUMED = "rests on an assumption"
    LOST = "lost"
    NEW = "new"
    NOT_COMPARABLE = "not comparable"
    NO_BASELINE = "no baseline"
    NO_EVIDENCE = "no evidence"
    NOT_JUDGED = "not judged"
    CONTROL_OK = "control ok"
    CONTROL_FAILED = "control failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell with its status; `baseline` is what it was compared with, in `--against` the base tree's figures."""

    cell: str
    status: Status
    measurement: Measurement | None
    baseline: Measurement | None

    @property
    def role(self) -> Role | None:
        """What a measured cell judges; None for one that was not measured."""
        return None if self.measurement is None else self.measurement.key.role


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceState:
    """How a place did in its own test: its controls, and why nothing that was measured there counts, if so.

    `negative` and `positive` are how many controls of the kind did what they must, of how many. A place is armed when
    it plays a Neural Engine and had at least one control of each kind, none of which failed.
    """

    place: str
    is_neural_engine: bool
    negative: tuple[int, int]
    positive: tuple[int, int]
    broken: str | None

    @property
    def armed(self) -> bool:
        """Whether an error of the candidate would have been seen here."""
        good = all(0 < ok == of for ok, of in (self.negative, self.positive))
        return self.is_neural_engine and self.broken is None and good

    @property
    def sees(self) -> bool:
        """Whether every negative control, one at least, was caught here."""
        ok, of = self.negative
        return self.is_neural_engine and 0 < ok == of


_RUNNING = frozenset({Stage.LOAD, Stage.PREDICT})
_COMPARED = frozenset(
    {Status.SAME, Status.WITHIN, Status.PRECISION, Status.BETTER, Status.KNOWN_GAP, Status.AS_BASE, Status.WORSE}
)
_PASSES = frozenset({Status.SAME, Status.WITHIN, Status.PRECISION, Status.BETTER})


def places(run: Run) -> tuple[PlaceState, ...]:
    """The state of every place that the run was asked for."""
    return tuple(_place(run, name) for name in run.engines)


def _place(run: Run, name: str) -> PlaceState:
    cells = [cell for cell in run.measurements.values() if cell.key.place == name]
    positive, negative = (
        [ceiling.complaint(cell) is None for cell in cells if cell.key.role is role]
        for role in (Role.POSITIVE_CONTROL, Role.NEGATIVE_CONTROL)
    )
    failed = [cell.failure.reason for cell in cells if cell.failure and cell.failure.stage is Stage.MACHINE]
    broken = None
    if not all(positive):
        broken = "the positive control fails: the machine or the engine is at fault, not the candidate"
    elif failed:
        broken = f"the machine failed: {failed[0]}"
    return PlaceState(
        place=name,
        is_neural_engine=run.engines[name].is_neural_engine,
        negative=(sum(negative), len(negative)),
        positive=(sum(positive), len(positive)),
        broken=broken,
    )


def rows(run: Run, baselines: Mapping[str, Baseline]) -> Iterator[Row]:
    """Every cell that the run set out to measure, did measure, or that is there to compare with.

    With `--against` the base tree's figures are compared with before any baseline's. A partial run has only the cells
    that it set out to measure.
    """
    states = {each.place: each for each in places(run)}
    stored = {key: cell for baseline in baselines.values() for key, cell in baseline.cells.items()}
    base = {} if run.against is None else run.against.measurements
    known = {**({} if base else stored), **base}
    wanted = {*run.expected, *run.measurements, *(() if run.partial else known)}
    for key in sorted(wanted):
        measurement, before = run.measurements.get(key), known.get(key, stored.get(key))
        found = Status.LOST
        if measurement is not None:
            found = _status(measurement, before, is_against=key in base, has_baseline=_has(measurement, baselines))
            found = _at_place(found, measurement, before, states.get(measurement.key.place))
        yield Row(cell=key, status=found, measurement=measurement, baseline=before)


def _has(measurement: Measurement, baselines: Mapping[str, Baseline]) -> bool:
    return measurement.key.place in baselines


def _status(measurement: Measurement, before: Measurement | None, *, is_against: bool, has_baseline: bool) -> Status:
    """One cell that was measured, by its figures alone."""
    if measurement.key.role.is_control:
        return Status.CONTROL_OK if ceiling.complaint(measurement) is None else Status.CONTROL_FAILED
    if measurement.failure is not None:
        return _failed(measurement.failure.stage, before)
    if before is None:
        unknown = Status.NEW if has_baseline else Status.NO_BASELINE
        is_gap = measurement.known_gap is not None
        return unknown if is_gap or ceiling.complaint(measurement) is None else Status.OVER_CEILING
    comparable = measurement.instrument == before.instrument and measurement.rung == before.rung
    permitted = _is_permitted(measurement, before, is_against=is_against, comparable=comparable)
    if ceiling.fault(measurement) is not None and not permitted:
        return Status.OVER_CEILING
    if not comparable or (before.figures is None and not is_against):
        return Status.NOT_COMPARABLE
    if before.figures is None:
        return Status.BETTER
    return _compared(measurement, before, permitted=permitted)


def _failed(stage: Stage, before: Measurement | None) -> Status:
    """A cell without figures: the tree's doing where nothing converts, or where it ran before; else nobody's."""
    if before is not None and before.failure is not None:
        return Status.AS_BASE if before.failure.stage is stage else Status.NOT_COMPARABLE
    if stage is Stage.CONVERT:
        return Status.FAILS
    return Status.FAILS if stage in _RUNNING and before is not None else Status.LOST


def _is_permitted(measurement: Measurement, before: Measurement, *, is_against: bool, comparable: bool) -> bool:
    """Whether a cell may be over the ceiling: a known gap, or any against a base tree, if it was so before.

    What another instrument measured says nothing about before: the cell is then not comparable, rather than the tree's
    fault.
    """
    if measurement.repeats_agree is False:
        return False
    if not (is_against or measurement.known_gap is not None):
        return False
    was_over = before.figures is not None and not ceiling.is_within(before.figures)
    return was_over or not comparable


def _compared(measurement: Measurement, before: Measurement, *, permitted: bool) -> Status:
    changed = Status(compare.change(measurement, before).value)
    if ceiling.fault(measurement) is not None:
        if changed is Status.WORSE:
            return Status.WORSE
        return Status.KNOWN_GAP if measurement.known_gap is not None else Status.AS_BASE
    if permitted:
        return Status.BETTER
    if measurement.assumptions and changed in _PASSES:
        # A gap is a permission: one that may be open needs no more than one that is.
        return Status.ASSUMED if measurement.known_gap is None else Status.KNOWN_GAP
    return changed


def _at_place(found: Status, measurement: Measurement, before: Measurement | None, state: PlaceState | None) -> Status:
    """What a status is worth at its place: nothing at a broken one, little at an engine that cannot see the defect."""
    if state is None or measurement.key.role.is_control:
        return found
    if state.broken is not None:
        return Status.NOT_JUDGED
    return _at_neural_engine(found, measurement, before, sees=state.sees) if state.is_neural_engine else found


def _at_neural_engine(found: Status, measurement: Measurement, before: Measurement | None, *, sees: bool) -> Status:
    """What a status is worth at a Neural Engine that sees the defect or not, and that the cell may never have used.

    An engine that does not see the defect is not the one its baseline was measured on: what is worse there, or a gap
    that closes, says nothing. A cell that left the engine is worse where it is known to run elsewhere and the engine
    takes the controls.
    """
    closes = found is Status.BETTER and is_closed(measurement, before)
    if not sees and (found is Status.WORSE or closes):
        return Status.NO_EVIDENCE
    if closes and not compare.placed(measurement):
        return Status.NO_EVIDENCE
    left = before is not None and compare.placed(before) and not compare.placed(measurement)
    if not left or found not in _COMPARED:
        return found
    elsewhere = measurement.placement is not None and measurement.placement.is_known
    return Status.WORSE if sees and elsewhere else Status.NO_EVIDENCE


def is_closed(measurement: Measurement, before: Measurement | None) -> bool:
    """Whether a cell that was over the ceiling no longer is."""
    if measurement.figures is None or before is None or before.figures is None:
        return False
    return ceiling.is_within(measurement.figures) and not ceiling.is_within(before.figures)


def seeing(run: Run) -> frozenset[str]:
    """The Neural Engines of a run that caught every negative control they were given, one at least."""
    return frozenset(each.place for each in places(run) if each.sees)
