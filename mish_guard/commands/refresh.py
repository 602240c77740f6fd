"""`refresh`: measure new baselines. The only thing that ever writes one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from mish_guard import files
from mish_guard.commands import screen
from mish_guard.commands.gate import check, measure
from mish_guard.errors import ExitCode, GuardError, OutdatedFileError, UsageError
from mish_guard.judge import baseline_diff, defects, verdict
from mish_guard.judge.status import Status
from mish_guard.judge.verdict import Judgement, Verdict
from mish_guard.matrix.order import Order
from mish_guard.records import Measurement, Run
from mish_guard.report import differences
from mish_guard.results import baseline
from mish_guard.results.baseline import Baseline


class RefusedError(GuardError):
    """A run that must not become a baseline."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def refresh(
    order: Order, *, baselines: Path, out: Path, reason: str, repeats: int, allow_fewer_cells: bool
) -> ExitCode:
    """Measure `repeats` times and replace the baselines of every place, or none of them.

    Raises UsageError for an empty reason, UnwritableFileError for a folder that cannot be, RefusedError for a run
    with a cell over its ceiling, with a broken or unarmed engine, with fewer cells than before, or whose repeats
    give different bits.
    """
    if not reason.strip():
        msg = "A baseline needs a reason: mish-guard refresh --reason 'why the figures changed'."
        raise UsageError(msg)
    # The folder itself is made when there is something to store.
    check(order, out, next(each for each in (baselines, *baselines.absolute().parents) if each.exists()))
    with contextlib.suppress(OutdatedFileError):
        baseline.load_all(baselines)  # a mistake in one is told now; one of an older mish-guard is replaced
    with files.locked(out, "results"):
        runs = [measure(order, out) for _ in range(repeats)]
    run = runs[-1]
    old = _stored(run, baselines)
    judgement = verdict.judge(run, old, defects.load_defects())
    _refuse_bad(judgement)
    _refuse_unrepeatable(runs)
    if not allow_fewer_cells:
        _refuse_fewer_cells(judgement)
    texts = _texts(run, baselines, reason=reason, repeats=repeats)
    for path, content in texts.items():
        files.write_atomically(path, content)
    _show(run, old, texts)
    return ExitCode.PASS


def _stored(run: Run, folder: Path) -> dict[str, Baseline]:
    """What the folder holds for the places of a run; nothing where an older mish-guard wrote it: this replaces it."""
    try:
        return baseline.load_for(run, folder)
    except OutdatedFileError as error:
        click.echo(f"{error} It is replaced; nothing can be compared with it.", err=True)
        return {}


def _refuse_bad(judgement: Judgement) -> None:
    if judgement.run.partial is not None:
        msg = "Nothing was stored: a baseline is of the whole matrix. Leave --only out."
        raise RefusedError(msg, ExitCode.USAGE)
    broken = [f"{each.place}: {each.broken}" for each in judgement.places if each.broken is not None]
    if broken or judgement.verdict is Verdict.BROKEN:
        msg = f"Nothing was stored: {broken[0] if broken else judgement.reason}."
        raise RefusedError(msg, ExitCode.BROKEN)
    over = [row.cell for row in judgement.rows if row.status in (Status.OVER_CEILING, Status.FAILS)]
    if over:
        msg = f"Nothing was stored: {len(over)} cells are over a ceiling, first {over[0]}. No baseline moves a ceiling."
        raise RefusedError(msg, ExitCode.FAIL)
    if judgement.run.neural_engines and not judgement.armed:
        msg = "Nothing was stored: the negative control was not caught, so the run proves nothing."
        raise RefusedError(msg, ExitCode.INCONCLUSIVE)


def _refuse_fewer_cells(judgement: Judgement) -> None:
    lost = [row.cell for row in judgement.rows if row.status is Status.LOST]
    if lost:
        msg = (
            f"Nothing was stored: {len(lost)} cells of the old baseline were not measured, first {lost[0]}. "
            "If they shall go, say so: --allow-fewer-cells."
        )
        raise RefusedError(msg, ExitCode.LOST)


def _refuse_unrepeatable(runs: Sequence[Run]) -> None:
    digests = [{key: _digest(cell) for key, cell in run.measurements.items()} for run in runs]
    changed = sorted(key for key in digests[0] if any(each.get(key) != digests[0][key] for each in digests))
    if changed:
        msg = f"Nothing was stored: {len(changed)} cells gave different bits when repeated, first {changed[0]}."
        raise RefusedError(msg, ExitCode.BROKEN)


def _digest(cell: Measurement) -> str | None:
    return None if cell.figures is None else cell.figures.digest


def _texts(run: Run, folder: Path, *, reason: str, repeats: int) -> dict[Path, str]:
    places = sorted({measurement.key.place for measurement in run.measurements.values()})
    return {
        baseline.path_of(folder, run.engine_at(place), place, run.device_at(place)): baseline.text_of(
            run, place, reason=reason, repeats=repeats
        )
        for place in places
    }


def _show(run: Run, old: Mapping[str, Baseline], texts: Mapping[Path, str]) -> None:
    click.echo(f"STORED: {len(texts)} baselines")
    after = {key: cell for key, cell in run.measurements.items() if not cell.key.role.is_control}
    click.echo(differences.text(baseline_diff.between(baseline_diff.cells_of(old), after), width=screen.width()))
    click.echo("")
    for path in texts:
        click.echo(f"wrote {path}")
    click.echo("Next: look at the table, commit the files.")
