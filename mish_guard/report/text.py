"""Facts in a terminal: the first line says what happened, the last what to do, one sentence between what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mish_guard.judge.compare import Moved
from mish_guard.judge.verdict import Finding, Verdict
from mish_guard.report import words
from mish_guard.report.facts import Facts, Strip, next_step

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# A pipe has no width: lines stay whole there, and whoever reads them wraps them.
UNLIMITED = 1000

_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow", Verdict.BROKEN: "magenta"}

# What a log of GitHub Actions would obey, at the start of a line or, in its old form, anywhere.
_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)


def render(facts: Facts, *, width: int = UNLIMITED, colour: bool = False, verbose: bool = False) -> str:
    """The report, `width` columns wide; `verbose` lists every finding and every known gap. No newline at the end."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        # First and last line stay whole: one is looked for by programs, the other copied by people.
        console.print(Text(facts.headline, style=f"bold {_COLOURS[facts.verdict]}"), soft_wrap=True)
        console.print()
        console.print(Text(facts.meaning, style="bold"))
        console.print()
        _body(console, facts, verbose=verbose)
        console.print(Text(next_step(facts)), soft_wrap=True)
    return harmless("\n".join(line.rstrip() for line in captured.get().splitlines()))


def harmless(report: str) -> str:
    """A report without a line that a log of GitHub Actions takes for a command."""
    return _COMMAND.sub(r"\1: :", report).replace("##[", "## [")


def _body(console: Console, facts: Facts, *, verbose: bool) -> None:
    for number, strip in enumerate(facts.strips):
        console.print(_named("controls" if number == 0 else "", _strip(strip)))
    if facts.worst:
        console.print()
    for number, each in enumerate(facts.worst):
        console.print(_named("worst" if number == 0 else "", _worst(each)))
    if len(facts.findings) > len(facts.worst):
        more = words.count(len(facts.findings) - len(facts.worst), "more cell")
        console.print(_named("", f"and {more}" + ("" if verbose else "; -v lists every one")))
    console.print()
    for name, value in _rest(facts, verbose=verbose):
        console.print(_named(name, value))
    if verbose:
        _everything(console, facts)
    for line in facts.plan:
        console.print(line, soft_wrap=True)
    console.print()


def _named(name: str, value: RenderableType) -> RenderableType:
    """A value behind its name; what does not fit on a line goes on under the value."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=10, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(name, value)
    return grid


def _strip(strip: Strip) -> RenderableType:
    from rich.text import Text

    mark, style = ("yes", "green") if strip.works else ("NO", "red") if strip.of else ("-", "dim")
    who = f"{strip.role.value.replace('-', ' '):<16} {strip.must:<6} "
    return Text.assemble(who, (f"{mark:<3}", style), f" {strip.good} of {strip.of}")


def _worst(finding: Finding) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    what = [finding.status.value, finding.signature.value]
    what += [words.interval(finding.interval)] if finding.interval else []
    what += [f"first wrong op {finding.first_wrong_op}"] if finding.first_wrong_op else []
    what += [f"reintroduces {finding.defect}"] if finding.defect else []
    below = [", ".join(what), finding.message, *_moved(finding.moved)]
    return Group(Text(finding.cell, style="bold"), *(Padding(Text(line), (0, 0, 0, 2)) for line in below))


def _moved(change: Moved | None) -> Iterator[str]:
    if change is not None:
        yield f"{change.name}: {words.number(change.before)} ulp before, {words.number(change.after)} after"


def _rest(facts: Facts, *, verbose: bool) -> Iterator[tuple[str, str]]:
    """What the verdict rests on, by name."""
    candidate = facts.candidate
    yield "evidence", facts.evidence.statement
    if facts.controls_error is not None:
        yield "", facts.controls_error
    if facts.shapes:
        yield "shapes", ", ".join(f"{ladder} at {rung}" for ladder, rung in facts.shapes.items())
    yield from (("note", note) for note in facts.notes)
    yield "candidate", f"coremltools {candidate.coremltools}, lowering {candidate.lowering}"
    if candidate.commit is not None:
        built = f"built from {candidate.source}, {candidate.commit[:19]}, native libraries: {candidate.native}"
        yield "", built
    yield "", candidate.path
    if facts.partial is not None:
        yield "partial", f"only cells that match '{facts.partial}' were measured"
    counts = ", ".join(f"{count} {name}" for name, count in facts.counts.items())
    yield "cells", f"{len(facts.rows)}: {counts}"
    if facts.covered:
        yield "roads", f"{words.count(len(facts.covered), 'more road')} converted to operations that were measured"
    if facts.conversions:
        yield "work", f"{words.count(facts.conversions, 'conversion')}, {words.count(facts.measured, 'measurement')}"
    for origin in facts.origins:
        yield "baseline", f"{', '.join(origin.places)}: {origin.lowering}, measured {origin.created}: {origin.reason}"
    n_gaps = sum(len(gap.cells) for gap in facts.gaps)
    if n_gaps:
        folded = "" if verbose else "; -v lists them"
        yield "known gaps", f"{words.count(n_gaps, 'cell')} wrong whatever the lowering of mish, as expected{folded}"


def _everything(console: Console, facts: Facts) -> None:
    """Every finding by kind, and every known gap."""
    for kind in facts.kinds:
        console.print()
        console.print(f"{kind.name} ({words.count(len(kind.members), 'cell')})")
        console.print(f"  {kind.members[0].message}")
        for finding in kind.members:
            console.print(f"  {finding.cell}", soft_wrap=True)
    for gap in facts.gaps:
        console.print()
        console.print(f"known gap: {gap.name} ({words.count(len(gap.cells), 'cell')})")
        console.print(f"  {gap.reason}")
        for row in gap.cells:
            console.print(f"  {row.cell} {' '.join(_intervals(row.measurement))}".rstrip(), soft_wrap=True)
        if gap.defects:
            console.print(f"  shows {', '.join(gap.defects)}")


def _intervals(cell: object) -> Sequence[str]:
    figures = getattr(cell, "figures", None)
    return [] if figures is None else [words.interval(each) for each in figures.bad_intervals]
