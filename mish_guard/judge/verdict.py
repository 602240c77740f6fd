"""The verdict: a pure function of a run, its baselines and the ceilings. It reads no file and prints nothing.

| candidate and graft                          | negative control | positive control | verdict               |
|----------------------------------------------|------------------|------------------|-----------------------|
| within ceilings and baseline                 | caught           | passes           | PASS                  |
| one over a ceiling                           | any              | passes           | FAIL                  |
| one worse than baseline, or a gap that closed| caught           | passes           | FAIL                  |
| within                                       | not caught       | passes           | INCONCLUSIVE          |
| within, but not placed on the Neural Engine  | caught           | passes           | INCONCLUSIVE          |
| any                                          | any              | fails            | BROKEN                |

A run that lost cells or has no baseline is INCONCLUSIVE too, with an exit code of its own: lack of evidence is never
green.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mish_guard.errors import ExitCode
from mish_guard.judge import compare, status
from mish_guard.judge.defects import Defect, Signature, defect, main_interval, signature
from mish_guard.judge.status import Row, Status, seeing
from mish_guard.numerics import ceiling
from mish_guard.records import BadInterval, Family, Measurement, Role, Run
from mish_guard.results.baseline import Baseline


class Verdict(str, enum.Enum):
    """What the gate says."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that needs a reader: what, where, which operation, which known defect."""

    cell: str
    status: Status
    signature: Signature
    message: str
    interval: BadInterval | None = None
    first_wrong_op: str | None = None
    defect: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict with everything it rests on; `gap_defects` names the known defect that a known gap shows, by cell."""

    verdict: Verdict
    exit_code: ExitCode
    reason: str
    armed: bool
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    run: Run
    baselines: Mapping[str, Baseline]
    gap_defects: Mapping[str, str] = field(default_factory=dict)


def judge(run: Run, baselines: Mapping[str, Baseline], defects: Sequence[Defect]) -> Judgement:
    """Judge a run against the baselines of its places (by place; a place may be missing)."""
    rows = tuple(status.rows(run, baselines))
    findings = tuple(_finding(row, defects) for row in rows if _needs_reader(row))
    armed = _armed(run, rows)
    verdict, exit_code, reason = _conclude(run, rows, findings, armed=armed)
    return Judgement(
        verdict=verdict,
        exit_code=exit_code,
        reason=reason,
        armed=armed,
        rows=rows,
        findings=findings,
        run=run,
        baselines=baselines,
        gap_defects=_gap_defects(rows, defects),
    )


def _gap_defects(rows: Sequence[Row], defects: Sequence[Defect]) -> dict[str, str]:
    gaps = [row for row in rows if row.status is Status.KNOWN_GAP and row.measurement is not None]
    known = {row.cell: defect(row.measurement, defects) for row in gaps if row.measurement is not None}
    return {cell: found.id for cell, found in known.items() if found is not None}


def _armed(run: Run, rows: Sequence[Row]) -> bool:
    """Every Neural Engine of the run had at least one control of each kind, and every control did what it must."""
    controls = [row for row in rows if row.measurement is not None and row.measurement.key.role.is_control]
    there = {(row.measurement.key.role, row.measurement.key.place) for row in controls if row.measurement is not None}
    wanted = {(role, where) for role in (Role.NEGATIVE_CONTROL, Role.POSITIVE_CONTROL) for where in run.neural_engines}
    return (
        run.controls_error is None
        and bool(run.neural_engines)
        and wanted <= there
        and all(row.status is Status.CONTROL_OK for row in controls)
    )


def _conclude(
    run: Run, rows: Sequence[Row], findings: Sequence[Finding], *, armed: bool
) -> tuple[Verdict, ExitCode, str]:
    """The first rule that applies; PASS is what is left when nothing speaks against it."""
    count = {each: sum(row.status is each for row in rows) for each in Status}
    uncompared = count[Status.LOST] + count[Status.NEW] + count[Status.NOT_COMPARABLE]
    broken = run.controls_error or _positive_control_reason(rows)
    rules = (
        (broken is not None, Verdict.BROKEN, ExitCode.BROKEN, broken),
        (
            count[Status.OVER_CEILING] + count[Status.GAP_CLOSED] + count[Status.WORSE] > 0,
            Verdict.FAIL,
            ExitCode.FAIL,
            _failure_reason(count, findings),
        ),
        (
            uncompared > 0,
            Verdict.INCONCLUSIVE,
            ExitCode.LOST,
            f"{uncompared} cells are lost, new or not comparable with the baseline",
        ),
        (
            not _judges_the_tree(run, rows),
            Verdict.INCONCLUSIVE,
            ExitCode.LOST,
            "no cell of the candidate was measured: nothing was judged",
        ),
        (
            count[Status.NO_BASELINE] > 0,
            Verdict.INCONCLUSIVE,
            ExitCode.NO_BASELINE,
            f"{count[Status.NO_BASELINE]} cells have no baseline",
        ),
        (not armed, Verdict.INCONCLUSIVE, ExitCode.INCONCLUSIVE, _unarmed_reason(run, rows)),
        (
            count[Status.NO_EVIDENCE] > 0 or _used_neural_engines(run) != set(run.neural_engines),
            Verdict.INCONCLUSIVE,
            ExitCode.INCONCLUSIVE,
            "the candidate was not placed on the Neural Engine: its figures are no evidence of it",
        ),
    )
    for applies, verdict, exit_code, reason in rules:
        if applies:
            return verdict, exit_code, reason or ""
    stale = f"; {count[Status.BETTER]} better than the baseline, which is stale" if count[Status.BETTER] else ""
    return Verdict.PASS, ExitCode.PASS, f"every cell within its ceiling and its baseline{stale}"


def _judges_the_tree(run: Run, rows: Sequence[Row]) -> bool:
    """Every Neural Engine of the run measured a cell of the candidate; without one, any place did."""
    places = {
        row.measurement.key.place for row in rows if row.measurement and row.measurement.key.role is Role.CANDIDATE
    }
    return bool(places) and set(run.neural_engines) <= places


def _used_neural_engines(run: Run) -> set[str]:
    """The Neural Engines of the run on which at least one cell of the candidate's mish was placed."""
    judged = [cell for cell in run.measurements.values() if cell.key.role is Role.CANDIDATE]
    used = {cell.key.place for cell in judged if cell.key.family is not Family.SURFACE and compare.placed(cell)}
    return used & set(run.neural_engines)


def _positive_control_reason(rows: Sequence[Row]) -> str | None:
    if any(_is_failed(row, Role.POSITIVE_CONTROL) for row in rows):
        return "the positive control fails: the machine or the engine is at fault, not the candidate"
    return None


def _failure_reason(count: Mapping[Status, int], findings: Sequence[Finding]) -> str:
    names = sorted({finding.defect for finding in findings if finding.defect})
    known = f"reintroduces {', '.join(names)}: " if names else ""
    parts = [
        f"{number} cells {words}"
        for number, words in (
            (count[Status.OVER_CEILING], "over a ceiling"),
            (count[Status.GAP_CLOSED], "known as gaps that pass"),
            (count[Status.WORSE], "worse than the baseline"),
        )
        if number
    ]
    return known + ", ".join(parts)


def _unarmed_reason(run: Run, rows: Sequence[Row]) -> str:
    if not run.neural_engines:
        return "no Neural Engine took part: nothing here can show the defect"
    failed = {row.cell for row in rows if _is_failed(row, Role.NEGATIVE_CONTROL)}
    if failed:
        offered = {each.ladder for each in run.attempts if each.cell in failed}
        untaken = [ladder for ladder in untaken_ladders(run) if ladder in offered]
        why = f"no shape of {', '.join(untaken)} was placed on it" if untaken else "this engine cannot show the defect"
        return f"the negative control was not caught: {why}"
    return "a control is missing at a Neural Engine"


def measured_neural_engines(run: Run) -> list[str]:
    """The real Neural Engines of a run that showed the defect of the negative control and ran the candidate."""
    seen = seeing(run) & _used_neural_engines(run)
    return sorted(where for where in seen if run.is_hardware(where))


def untaken_ladders(run: Run) -> list[str]:
    """The routing ladders on no rung of which the Neural Engine took every model that it was offered."""
    ladders: dict[str, dict[str, bool]] = {}
    for each in run.attempts:
        rungs = ladders.setdefault(each.ladder, {})
        rungs[each.rung] = rungs.get(each.rung, True) and each.is_placed
    return [ladder for ladder, rungs in ladders.items() if not any(rungs.values())]


def _is_failed(row: Row, role: Role) -> bool:
    return row.status is Status.CONTROL_FAILED and row.measurement is not None and row.measurement.key.role is role


_QUIET = frozenset({Status.SAME, Status.WITHIN, Status.CONTROL_OK, Status.KNOWN_GAP, Status.NO_BASELINE})


def _needs_reader(row: Row) -> bool:
    return row.status not in _QUIET


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
    )


def _signature(row: Row, measurement: Measurement) -> Signature:
    if row.status is Status.CONTROL_FAILED:
        return Signature.CONTROL
    if row.status is Status.NO_EVIDENCE:
        return Signature.PLACEMENT
    if row.status in (Status.NEW, Status.NOT_COMPARABLE):
        return Signature.COVERAGE
    if row.status is Status.GAP_CLOSED:
        return Signature.GAP_CLOSED
    if row.status in (Status.OVER_CEILING, Status.LOST):
        return signature(measurement)
    return _changed_signature(measurement, row.baseline)


def _changed_signature(measurement: Measurement, baseline: Measurement | None) -> Signature:
    """The kind of a change against the baseline."""
    new, old = measurement.figures, None if baseline is None else baseline.figures
    if baseline is None or new is None or old is None:
        return Signature.PRECISION
    if new.n_covered < old.n_covered:
        return Signature.COVERAGE
    if dict(new.specials) != dict(old.specials):
        return Signature.SPECIAL_VALUES
    binades = compare.worse_binades(new, old)
    if not binades and compare.placed(baseline) and not compare.placed(measurement):
        return Signature.PLACEMENT
    negative = binades and all(name.startswith("binade -") for name in binades)
    return Signature.NEGATIVE_TAIL if negative else Signature.PRECISION


def _message(row: Row, measurement: Measurement) -> str:
    if row.status is Status.NEW:
        return "the baseline does not know this cell"
    if row.status is Status.NOT_COMPARABLE:
        return _incomparable(measurement, row.baseline)
    if row.status is Status.BETTER:
        return "better than the baseline, which is stale"
    if row.status is Status.NO_EVIDENCE:
        return f"not seen on the Neural Engine: the activation is placed on {_devices(measurement)}"
    if row.status is Status.WORSE and row.baseline is not None:
        changes = compare.differences(measurement, row.baseline)
        if compare.placed(row.baseline) and not compare.placed(measurement):
            changes.append(f"the activation left the Neural Engine: it is placed on {_devices(measurement)}")
        return "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")
    return ceiling.complaint(measurement) or ""


def _incomparable(measurement: Measurement, baseline: Measurement | None) -> str:
    if baseline is not None and measurement.rung != baseline.rung:
        return f"measured at {measurement.rung or 'the one shape'}, the baseline at {baseline.rung or 'the one shape'}"
    return "the baseline was measured by another emulator, or by other formulas"


def _devices(measurement: Measurement) -> str:
    return "an unknown device" if measurement.placement is None else measurement.placement.activation
