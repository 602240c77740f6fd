"""Rows that need a reader: what is wrong, where, which operation, which known defect. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mish_guard.judge import compare
from mish_guard.judge.compare import Moved
from mish_guard.judge.defects import Defect, Signature, changed_signature, defect, main_interval, signature
from mish_guard.judge.status import Row, Status
from mish_guard.numerics import ceiling
from mish_guard.records import BadInterval, CellKey, Family, Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that needs a reader: what, where, which operation, which known defect.

    `moved` is the binade that changed most against what the cell was compared with.
    """

    cell: str
    status: Status
    signature: Signature
    message: str
    interval: BadInterval | None = None
    first_wrong_op: str | None = None
    defect: str | None = None
    moved: Moved | None = None

    @property
    def severity(self) -> tuple[int, bool, bool, bool, float]:
        """What a reader wants to see first comes first: the worst status, and among equals what has a name.

        Then known inputs, then the sweeps, whose outputs a run keeps to be drawn, then the largest change.
        """
        size = 0.0 if self.moved is None else self.moved.material
        is_drawn = CellKey.parse(self.cell).family is Family.SWEEP
        return _SEVERITY.index(self.status), self.defect is None, self.interval is None, not is_drawn, -size


_QUIET = frozenset(
    {
        Status.SAME,
        Status.WITHIN,
        Status.CONTROL_OK,
        Status.KNOWN_GAP,
        Status.AS_BASE,
        Status.NO_BASELINE,
        Status.NOT_JUDGED,
    }
)
_SEVERITY = (
    Status.CONTROL_FAILED,
    Status.OVER_CEILING,
    Status.FAILS,
    Status.WORSE,
    Status.LOST,
    Status.NOT_COMPARABLE,
    Status.NEW,
    Status.ASSUMED,
    Status.NO_EVIDENCE,
    Status.PRECISION,
    Status.BETTER,
)


def findings(rows: Sequence[Row], defects: Sequence[Defect]) -> tuple[Finding, ...]:
    """A finding for every row that needs a reader, in the order of the rows."""
    return tuple(_finding(row, defects) for row in rows if row.status not in _QUIET)


def _finding(row: Row, defects: Sequence[Defect]) -> Finding:
    measurement = row.measurement
    if measurement is None:
        return Finding(
            cell=row.cell, status=row.status, signature=Signature.COVERAGE, message="the run did not measure this cell"
        )
    known = defect(measurement, defects) if row.status is Status.OVER_CEILING else None
    return Finding(
        cell=row.cell,
        status=row.status,
        signature=_signature(row, measurement),
        message=_message(row, measurement),
        interval=main_interval(measurement),
        first_wrong_op=None if measurement.culprit is None else measurement.culprit.op,
        defect=None if known is None else known.id,
        moved=compare.moved(measurement, row.baseline),
    )


_SIGNATURES = {
    Status.CONTROL_FAILED: Signature.CONTROL,
    Status.NO_EVIDENCE: Signature.PLACEMENT,
    Status.NEW: Signature.COVERAGE,
    Status.NOT_COMPARABLE: Signature.COVERAGE,
    Status.ASSUMED: Signature.ASSUMPTION,
}


def _signature(row: Row, measurement: Measurement) -> Signature:
    if row.status in _SIGNATURES:
        return _SIGNATURES[row.status]
    if row.status in (Status.OVER_CEILING, Status.FAILS, Status.LOST):
        return signature(measurement)
    return changed_signature(measurement, row.baseline)


def _message(row: Row, measurement: Measurement) -> str:
    if row.status is Status.NEW:
        return "the baseline does not know this cell"
    if row.status is Status.NOT_COMPARABLE:
        return incomparable(measurement, row.baseline)
    if row.status is Status.ASSUMED:
        return f"passes only if what nobody has measured is kind: {', '.join(measurement.assumptions)}"
    if row.status is Status.NO_EVIDENCE:
        return f"not seen on the Neural Engine: the activation is placed on {_devices(measurement)}"
    if row.status in (Status.BETTER, Status.PRECISION, Status.WORSE) and row.baseline is not None:
        return _moved(row.status, measurement, row.baseline)
    return ceiling.fault(measurement) or ceiling.complaint(measurement) or ""


def _moved(status: Status, measurement: Measurement, before: Measurement) -> str:
    """Before and after of a cell that moved."""
    change = compare.moved(measurement, before)
    words = "" if change is None else change.words
    if status is Status.BETTER:
        if before.figures is not None and not ceiling.is_within(before.figures):
            return "was over the ceiling before and no longer is"
        return f"better than the baseline, which is stale: {words}"
    if status is Status.PRECISION:
        return f"by less than matters: {words}"
    changes = compare.differences(measurement, before)
    if compare.placed(before) and not compare.placed(measurement):
        changes.append(f"the activation left the Neural Engine: it is placed on {_devices(measurement)}")
    return "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")


def incomparable(measurement: Measurement, before: Measurement | None) -> str:
    """Why two measurements of a cell say nothing of each other."""
    if before is None:
        return "there is nothing to compare with"
    if measurement.rung != before.rung:
        return f"measured at {measurement.rung or 'the one shape'}, the baseline at {before.rung or 'the one shape'}"
    if measurement.instrument != before.instrument:
        return "the baseline was measured by another emulator, or with other inputs, ceilings or formulas"
    return "one of the two has no figures"


def _devices(measurement: Measurement) -> str:
    return "an unknown device" if measurement.placement is None else measurement.placement.activation
