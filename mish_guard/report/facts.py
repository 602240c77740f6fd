"""A judgement as frozen facts: what every face of a report says, decided once and written by none of them.

Faces (`text`, `as_json`, `markdown`, `html`, `sarif`, `junit`, `pictures`) are siblings: each reads these facts and
no other face.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mish_guard import commands_to_type
from mish_guard.errors import ExitCode
from mish_guard.judge.status import Row, Status
from mish_guard.judge.verdict import Finding, Judgement, Verdict, measured_neural_engines, untaken_ladders
from mish_guard.records import Attempt, Candidate, CellKey, Covered, Document, Family, Figures, Measurement, Role, Run
from mish_guard.report import meaning, routing
from mish_guard.report.findings import Kind, kinds

# How many of the worst cells a reader is shown at once.
MOST_WORST = 6

# What a tree did wrong; other findings say what could not be judged, or good news.
_BAD = frozenset({Status.OVER_CEILING, Status.FAILS, Status.WORSE, Status.LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the verdict rests on: the engine, its places, which of them are hardware, and that in one sentence.

    `neural_engines` are the real ones that showed the defect and ran the candidate: none of them, none was measured.
    """

    engine: str
    places: tuple[str, ...]
    hardware_places: tuple[str, ...]
    neural_engines: tuple[str, ...]
    device: Document
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One line of the test strip: how many cells of a role did what they must, of how many."""

    role: Role
    must: str
    good: int
    of: int

    @property
    def works(self) -> bool:
        """Whether there were any, and all of them did."""
        return 0 < self.of == self.good


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Cells that are wrong whatever the lowering of mish, for one reason, by one road."""

    name: str
    reason: str
    cells: tuple[Row, ...]
    defects: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The cell that pictures show: one whose inputs are known, the worst if one is bad; and the controls beside it."""

    row: Row
    negative: Row | None
    positive: Row | None

    @property
    def named(self) -> dict[str, Figures]:
        """Figures by binade to be drawn over each other, by name: candidate, baseline, negative control."""
        shown = {
            "candidate": self.row.measurement,
            "baseline": self.row.baseline,
            "negative control": None if self.negative is None else self.negative.measurement,
        }
        found = {name: _figures(each) for name, each in shown.items()}
        return {name: each for name, each in found.items() if each is not None and each.binades}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of `figures`."""
        return tuple(self.named)

    @property
    def figures(self) -> tuple[Figures, ...]:
        """The figures of `named`."""
        return tuple(self.named.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the baselines of some places come from."""

    places: tuple[str, ...]
    lowering: str
    created: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a report says.

    `headline` is the verdict and why, `meaning` what that means, `worst` the findings a reader should see first,
    `shapes` the rung of each ladder on which was measured, `plan` the lines of the plan where no rung was taken,
    `partial` the glob of a run of some cells only, `covered` the roads that were seen to be those of a measured cell.
    """

    verdict: Verdict
    exit_code: ExitCode
    armed: bool
    reason: str
    headline: str
    meaning: str
    evidence: Evidence
    candidate: Candidate
    strips: tuple[Strip, ...]
    controls_error: str | None
    counts: Mapping[str, int]
    findings: tuple[Finding, ...]
    kinds: tuple[Kind, ...]
    worst: tuple[Finding, ...]
    subject: Subject | None
    gaps: tuple[Gap, ...]
    gap_defects: Mapping[str, str]
    rows: tuple[Row, ...]
    origins: tuple[Origin, ...]
    shapes: Mapping[str, str]
    untaken: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    plan: tuple[str, ...]
    notes: tuple[str, ...]
    partial: str | None
    covered: tuple[Covered, ...]
    conversions: int
    created: str
    matrix_sha256: str

    @property
    def measured(self) -> int:
        """How many cells were run, rather than seen to be those of another."""
        return sum(row.measurement is not None and row.measurement.covered_by is None for row in self.rows)


def gather(judgement: Judgement) -> Facts:
    """The facts of a judgement."""
    run = judgement.run
    armed = "armed" if judgement.armed else "not armed"
    worst = _worst(judgement)
    return Facts(
        verdict=judgement.verdict,
        exit_code=judgement.exit_code,
        armed=judgement.armed,
        reason=judgement.reason,
        headline=f"{judgement.verdict.value} ({armed}): {judgement.reason}",
        meaning=meaning.sentence(judgement, worst),
        evidence=_evidence(run),
        candidate=run.candidate,
        strips=tuple(_strips(judgement)),
        controls_error=run.controls_error,
        counts=dict(Counter(row.status.value for row in judgement.rows).most_common()),
        findings=judgement.findings,
        kinds=kinds(judgement.findings),
        worst=worst,
        subject=_subject(judgement),
        gaps=tuple(_gaps(judgement)),
        gap_defects=judgement.gap_defects,
        rows=judgement.rows,
        origins=tuple(_origins(judgement)),
        shapes=routing.shapes(run),
        untaken=tuple(untaken_ladders(run)),
        attempts=run.attempts,
        plan=tuple(routing.lines(run)),
        notes=run.notes,
        partial=run.partial,
        covered=run.covered,
        conversions=run.conversions,
        created=run.created,
        matrix_sha256=run.matrix_sha256,
    )


def _figures(cell: Measurement | None) -> Figures | None:
    return None if cell is None else cell.figures


def next_step(facts: Facts) -> str:
    """One line that says what to do. No path of a run is part of a command that somebody may type."""
    if facts.verdict is Verdict.PASS:
        stale = Status.BETTER.value in facts.counts
        return f"Next: {commands_to_type.refresh()} to store the better figures." if stale else "Nothing to do."
    if facts.verdict is Verdict.BROKEN:
        return "Next: repair the machine or the installation; the candidate was not judged."
    if facts.exit_code is ExitCode.FAIL:
        only_worse = not any(each.status in (Status.OVER_CEILING, Status.FAILS) for each in facts.findings)
        intended = f"; if the change is meant: {commands_to_type.refresh()}" if only_worse else ""
        return f"Next: {commands_to_type.explain(facts.worst[0].cell)}{intended}"
    if facts.exit_code is ExitCode.LOST:
        return f"Next: restore the cells, or store a new baseline: {commands_to_type.refresh()}"
    # Where the negative control is not caught, `refresh` stores nothing either.
    if facts.exit_code is ExitCode.NO_BASELINE and Status.CONTROL_FAILED.value not in facts.counts:
        return f"Next: {commands_to_type.refresh()} to measure a baseline."
    if facts.partial is not None:
        return "Next: mish-guard gate, without --only, for the whole matrix."
    if Status.ASSUMED.value in facts.counts:
        return "Next: run on a Neural Engine, which measures what is assumed here: --engine coreml on a Mac."
    return "Next: run where the negative control can be caught: a profile ane…, or a Neural Engine."


def _evidence(run: Run) -> Evidence:
    places = sorted({measurement.key.place for measurement in run.measurements.values()})
    hardware = [place for place in places if run.is_hardware(place)]
    return Evidence(
        engine=" and ".join(sorted({run.engine_at(place).value for place in places})),
        places=tuple(places),
        hardware_places=tuple(hardware),
        neural_engines=tuple(measured_neural_engines(run)),
        device={run.engine_at(place).value: dict(run.device_at(place)) for place in places},
        statement=_statement(run, hardware, [place for place in places if place not in hardware]),
    )


def _statement(run: Run, hardware: Sequence[str], emulated: Sequence[str]) -> str:
    """What was measured where, and what was only emulated."""
    if not hardware:
        return f"emulator at {', '.join(emulated)}: emulated, no hardware was measured"
    machine = run.device_at(hardware[0])
    who = machine["hardware"]["chip"] or "an unknown chip"
    parts = [f"measured by Core ML at {', '.join(hardware)} on {who}, macOS {machine['environment']['macos']}"]
    parts += [f"emulated at {', '.join(emulated)}"] if emulated else []
    parts += [] if measured_neural_engines(run) else ["no Neural Engine was measured"]
    return "; ".join(parts)


def _strips(judgement: Judgement) -> Iterator[Strip]:
    bad = {finding.cell for finding in judgement.findings if finding.status in _BAD}
    for role, must in (
        (Role.NEGATIVE_CONTROL, "caught"),
        (Role.POSITIVE_CONTROL, "passes"),
        (Role.GRAFT, "within"),
    ):
        rows = [row for row in judgement.rows if row.measurement is not None and row.measurement.key.role is role]
        good = [row for row in rows if row.status is Status.CONTROL_OK or (not role.is_control and row.cell not in bad)]
        yield Strip(role=role, must=must, good=len(good), of=len(rows))


def _worst(judgement: Judgement) -> tuple[Finding, ...]:
    """The first finding of every kind, the most telling first; then more that are over a ceiling or worse."""
    ordered = kinds(judgement.findings)
    firsts = [kind.members[0] for kind in ordered]
    others = [
        each for kind in ordered for each in kind.members[1:] if each.status in (Status.OVER_CEILING, Status.WORSE)
    ]
    return tuple([*firsts, *others][:MOST_WORST])


def _subject(judgement: Judgement) -> Subject | None:
    """The worst cell with binades, else one of the candidate at a Neural Engine, else any of the candidate."""
    bad = {finding.cell: number for number, finding in enumerate(_worst(judgement)) if finding.status in _BAD}
    engines = judgement.run.neural_engines

    def order(row: Row) -> tuple[int, bool, bool, bool]:
        key = CellKey.parse(row.cell)
        least = key.place not in engines, key.family is not Family.SWEEP, key.role is not Role.CANDIDATE
        return bad.get(row.cell, MOST_WORST), *least

    shown = [row for row in judgement.rows if _has_binades(row) and not CellKey.parse(row.cell).role.is_control]
    if not shown:
        return None
    row = min((each for each in shown if each.status is not Status.KNOWN_GAP), key=order, default=min(shown, key=order))
    place = CellKey.parse(row.cell).place
    return Subject(
        row=row,
        negative=_control(judgement.rows, Role.NEGATIVE_CONTROL, place),
        positive=_control(judgement.rows, Role.POSITIVE_CONTROL, place),
    )


def _has_binades(row: Row) -> bool:
    figures = _figures(row.measurement)
    return figures is not None and bool(figures.binades)


def _control(rows: Sequence[Row], role: Role, place: str) -> Row | None:
    for row in rows:
        key = CellKey.parse(row.cell)
        if key.role is role and key.place == place and _has_binades(row):
            return row
    return None


def _gaps(judgement: Judgement) -> Iterator[Gap]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in judgement.rows:
        if row.status is Status.KNOWN_GAP and row.measurement is not None:
            key = row.measurement.key
            name = f"{key.case} by {key.frontend.value}"
            grouped.setdefault((name, row.measurement.known_gap or ""), []).append(row)
    for (name, reason), rows in grouped.items():
        shown = sorted({judgement.gap_defects.get(row.cell, "") for row in rows} - {""})
        yield Gap(name=name, reason=reason, cells=tuple(rows), defects=tuple(shown))


def _origins(judgement: Judgement) -> Iterator[Origin]:
    """Where the baselines come from; places that were measured together share one."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for place, baseline in sorted(judgement.baselines.items()):
        given = baseline.provenance
        grouped.setdefault((given["candidate"]["lowering"], given["created"], given["reason"]), []).append(place)
    for (lowering, created, reason), places in grouped.items():
        yield Origin(places=tuple(places), lowering=lowering, created=created, reason=reason)
