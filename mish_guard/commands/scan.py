"""`scan` and `predict`: what a Neural Engine would make of a user's own model."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from mish_guard import files
from mish_guard.engines.emulator import package, profiles, reader
from mish_guard.engines.emulator.graph import Array
from mish_guard.errors import ExitCode, UsageError
from mish_guard.report import scanned, table
from mish_guard.report.formats import Format
from mish_guard.report.scanned import Scanned
from mish_guard.scan import rules, trial
from mish_guard.scan.rules import RULES
from mish_guard.scan.trial import Trial
from mish_guard.scan.view import view


def show(model: Path, names: Sequence[str], *, given: str | None, form: Format) -> ExitCode:
    """Print every risk of a saved model, and with inputs what every profile makes of them.

    Ends with 0 for a clean one, 10 for one at risk, 20 where nothing was found and not everything could be seen.
    """
    opened = reader.open_model(model)
    seen = view(opened)
    trials: tuple[Trial, ...] = ()
    if given is not None:
        trials = trial.run_saved(opened, given, names)
    found = Scanned(model=model, view=seen, risks=rules.scan(seen), trials=trials)
    if form is Format.JSON:
        click.echo(json.dumps(_document(found), indent=1, sort_keys=True, allow_nan=False))
    elif form is Format.HTML:
        click.echo(scanned.page(found))
    else:
        _print(found)
    return ExitCode[found.verdict.value]


def predict(model: Path, profile: str, *, given: str, out: Path) -> ExitCode:
    """Write the outputs of a saved model under a profile to `out`, a .npz file by output name.

    A classifier's label is an array without axes, its probabilities are in the order of its classes. Raises UsageError
    for a name of another kind, UnwritableFileError, and what `trial` raises.
    """
    if out.suffix != ".npz":
        msg = f"'{out}' must end in .npz: outputs are written by name."
        raise UsageError(msg)
    graph = package.load(model, single=profiles.option(profile).keeps_single)
    predicted = trial.predict(graph, trial.feeds(graph, given), profile)
    outputs = {name: trial.array(value) for name, value in predicted.items()}
    _write(out, outputs)
    for name, values in outputs.items():
        click.echo(f"{name}: {values.dtype} {values.shape}, {_extremes(values)}")
    click.echo(f"Wrote {out}.")
    return ExitCode.PASS


def _write(out: Path, outputs: Mapping[str, Array]) -> None:
    """As `np.savez` does, which takes outputs with the names of its own parameters for those."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in outputs.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, values, allow_pickle=False)
    files.write_atomically(out, buffer.getvalue())


def _extremes(values: Array) -> str:
    if not values.size or values.dtype.kind != "f":
        return f"{values.size} values"
    lost = int(values.size - np.count_nonzero(np.isfinite(values)))
    return f"from {np.nanmin(values):.6g} to {np.nanmax(values):.6g}, {lost} not finite"


def _print(found: Scanned) -> None:
    click.echo(scanned.headline(found))
    if found.view.gap is not None:
        click.echo(f"Seen by the names of its operations only, without constants: {found.view.gap}")
    for rule, risks in found.by_rule.items():
        click.echo("")
        click.echo(f"{rule} ({', '.join(RULES[rule].evidence)})")
        rows = [(each.op, files.printable(each.name), each.detail) for each in risks]
        click.echo(table.render(("op", "name", "why"), rows))
        click.echo(f"    do: {RULES[rule].advice}")
    if found.trials:
        click.echo("")
        click.echo(table.render(scanned.COLUMNS, map(scanned.row, found.trials)))
    click.echo("")
    click.echo("Emulated from published measurements (docs/evidence.md): no hardware was measured.")


def _document(found: Scanned) -> dict[str, object]:
    return {
        "model": found.model.name,
        "operations": len(found.view.nodes),
        "gap": found.view.gap,
        "risks": [
            {
                "rule": each.rule,
                "op": each.op,
                "name": each.name,
                "detail": each.detail,
                "evidence": list(RULES[each.rule].evidence),
                "advice": RULES[each.rule].advice,
            }
            for each in found.risks
        ],
        "trials": [_trial(each) for each in found.trials],
    }


def _trial(each: Trial) -> dict[str, object]:
    wrong = each.culprit
    first = None
    if wrong is not None:
        first = {"op": wrong.op, "name": wrong.name, "got": _number(wrong.got), "float64": _number(wrong.want)}
    return {
        "profile": each.profile,
        "max_abs": _number(each.max_abs),
        "relative": _number(each.relative),
        "first_wrong": first,
        "assumptions": list(each.assumptions),
    }


def _number(value: float) -> float | str:
    """JSON has no word for what is not finite."""
    return value if np.isfinite(value) else str(value)
