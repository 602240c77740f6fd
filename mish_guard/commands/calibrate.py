"""`calibrate`: which public measurements of the Neural Engine the emulator reproduces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import click

from mish_guard.commands import screen
from mish_guard.engines.emulator import profiles, replay, stakes
from mish_guard.engines.emulator.replay import Outcome, Status
from mish_guard.engines.emulator.stakes import Stake
from mish_guard.errors import ExitCode
from mish_guard.models import lowerings
from mish_guard.report import table
from mish_guard.report.formats import Format


def show(names: Sequence[str], *, form: Format) -> ExitCode:
    """Replay the evidence under each profile; a contradiction is a failure, and nothing replayed is no evidence."""
    facts = replay.load()
    outcomes = {name: replay.replay(profiles.get(name), facts) for name in names}
    if form is Format.JSON:
        click.echo(json.dumps({name: [_document(each) for each in made] for name, made in outcomes.items()}, indent=1))
    else:
        _print(outcomes)
    if _having(outcomes, Status.CONTRADICTED):
        return ExitCode.FAIL
    return ExitCode.PASS if _having(outcomes, Status.REPRODUCED) else ExitCode.INCONCLUSIVE


def _print(outcomes: dict[str, tuple[Outcome, ...]]) -> None:
    """What contradicts first, then how much each profile rests on, then what nobody measured; -v adds every fact."""
    click.echo(_first_line(outcomes))
    for name, made in outcomes.items():
        for each in made:
            if each.status is Status.CONTRADICTED:
                click.echo(f"    {each.fact.id} under {name}: {each.detail}")
    click.echo("")
    click.echo(table.render(("profile", *(status.value for status in Status)), map(_counts, outcomes.items())))
    for found, names in _stakes(outcomes).items():
        click.echo("")
        _print_stakes(found, names)
    if screen.is_verbose():
        _print_facts(outcomes)
    click.echo("")
    click.echo("Sources of every fact: docs/evidence.md" + ("" if screen.is_verbose() else "; -v lists every one"))


def _counts(replayed: tuple[str, tuple[Outcome, ...]]) -> tuple[str, ...]:
    name, made = replayed
    return (name, *(str(sum(each.status is status for each in made)) for status in Status))


def _print_facts(outcomes: dict[str, tuple[Outcome, ...]]) -> None:
    for name, made in outcomes.items():
        click.echo("")
        click.echo(f"{name}: {len(made)} facts")
        ordered = sorted(made, key=lambda each: list(Status).index(each.status))
        rows = [(each.fact.id, each.status.value, each.fact.topic, _short(each.detail)) for each in ordered]
        click.echo(table.render(("fact", "status", "topic", "detail"), rows))


def _stakes(names: Iterable[str]) -> dict[tuple[Stake, ...], list[str]]:
    """What is at stake, with the profiles of which that is true."""
    builders = {row.name: row.build for row in lowerings.TABLE.values()}
    grouped: dict[tuple[Stake, ...], list[str]] = {}
    for name in names:
        found = stakes.stakes(profiles.get(name), builders)
        if found:
            grouped.setdefault(found, []).append(name)
    return grouped


def _print_stakes(found: Sequence[Stake], names: Sequence[str]) -> None:
    """What the verdicts under some profiles rest on that nobody has measured: what to measure first stands first."""
    click.echo(
        f"Not measured by anyone, or told differently by two sources; under {', '.join(names)}, first what most "
        "verdicts rest on:"
    )
    for each in found:
        assumed = each.assumption
        click.echo(f"{assumed.id}: {assumed.friendly}; or {assumed.pessimistic} ({', '.join(assumed.evidence)})")
        fall, met = (", ".join(names) or "none" for names in (each.would_fall, each.met_by))
        click.echo(f"    lowerings that would no longer pass: {fall}; that change: {met}")


def _having(outcomes: dict[str, tuple[Outcome, ...]], status: Status) -> list[str]:
    """Profile and fact of every outcome with this status."""
    return [f"{name}: {each.fact.id}" for name, made in outcomes.items() for each in made if each.status is status]


def _first_line(outcomes: dict[str, tuple[Outcome, ...]]) -> str:
    contradicted, reproduced = (_having(outcomes, each) for each in (Status.CONTRADICTED, Status.REPRODUCED))
    if contradicted:
        return f"CONTRADICTED: {'; '.join(contradicted)}"
    if not reproduced:
        return f"NOTHING REPLAYED: no fact is about {', '.join(outcomes)}"
    facts = {each.partition(": ")[2] for each in reproduced}
    return f"CALIBRATED: all {len(facts)} facts that can be replayed are reproduced"


def _short(detail: str) -> str:
    return detail if len(detail) <= 90 else detail[:89] + "…"


def _document(outcome: Outcome) -> dict[str, object]:
    return {
        "fact": outcome.fact.id,
        "status": outcome.status.value,
        "detail": outcome.detail,
        "statement": outcome.fact.statement,
        "sources": list(outcome.fact.sources),
    }
