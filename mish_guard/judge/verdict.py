"""The verdict: a pure function of a run, its baselines and the ceilings. It reads no file and prints nothing.

The table of the verdict stands in `rules`. Lack of evidence is never green, and a place that failed its own check
takes nothing back that was seen at another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mish_guard.errors import ExitCode, Verdict
from mish_guard.judge import rules, status
from mish_guard.judge.defects import Defect, defect
from mish_guard.judge.findings import Finding, findings
from mish_guard.judge.rules import Case, untaken_ladders
from mish_guard.judge.status import PlaceState, Row, Status, seeing
from mish_guard.records import Run
from mish_guard.results.baseline import Baseline

__all__ = ["Finding", "Judgement", "Verdict", "judge", "measured_neural_engines", "untaken_ladders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict with everything it rests on.

    `places` says of every place how its controls did; `gap_defects` names the known defect that a known gap, or a cell
    that is as bad as the base tree's, shows, by cell.
    """

    verdict: Verdict
    exit_code: ExitCode
    reason: str
    armed: bool
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    run: Run
    baselines: Mapping[str, Baseline]
    places: tuple[PlaceState, ...] = ()
    gap_defects: Mapping[str, str] = field(default_factory=dict)

    @property
    def lacks_only_a_neural_engine(self) -> bool:
        """Whether nothing speaks against the tree but that no place of the run is, or plays, a Neural Engine."""
        assumed = any(row.status is Status.ASSUMED for row in self.rows)
        unarmed = not self.run.neural_engines and self.run.partial is None and not assumed
        return self.exit_code is ExitCode.INCONCLUSIVE and unarmed

    @property
    def worst(self) -> Finding | None:
        """The finding that a reader should have explained first."""
        return min(self.findings, key=lambda each: each.severity, default=None)


def judge(run: Run, baselines: Mapping[str, Baseline], defects: Sequence[Defect]) -> Judgement:
    """Judge a run against the baselines of its places (by place; a place may be missing)."""
    rows = tuple(status.rows(run, baselines))
    case = Case(run=run, places=status.places(run), rows=rows, findings=findings(rows, defects))
    gaps = _gap_defects(rows, defects)
    rule, reason = rules.decide(case)
    shown = ", ".join(sorted({gaps[row.cell] for row in rows if row.status is Status.AS_BASE and row.cell in gaps}))
    reason += f"; the base tree itself shows {shown}" if shown else ""
    return Judgement(
        verdict=rule.verdict,
        exit_code=rule.exit_code,
        reason=reason,
        armed=case.armed,
        rows=rows,
        findings=case.findings,
        run=run,
        baselines=baselines,
        places=case.places,
        gap_defects=gaps,
    )


def _gap_defects(rows: Sequence[Row], defects: Sequence[Defect]) -> dict[str, str]:
    gaps = [row for row in rows if row.status in (Status.KNOWN_GAP, Status.AS_BASE)]
    known = {row.cell: defect(row.measurement, defects) for row in gaps if row.measurement is not None}
    return {cell: found.id for cell, found in known.items() if found is not None}


def measured_neural_engines(run: Run) -> list[str]:
    """The real Neural Engines of a run that showed the defect of the negative control and ran the candidate."""
    seen = seeing(run) & rules.used_neural_engines(run)
    return sorted(place for place in seen if run.is_hardware(place))
