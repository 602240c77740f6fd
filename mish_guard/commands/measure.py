"""`measure`: all that this Mac can tell, in one file to send, and in plain words; `store`: take such a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from mish_guard import files
from mish_guard.commands import gate
from mish_guard.engines.coreml import NEURAL_ENGINE, TIMEOUT_SECONDS, doctor, require
from mish_guard.engines.coreml.doctor import Check, Outcome
from mish_guard.errors import ExitCode, UnreadableFileError
from mish_guard.judge import compare
from mish_guard.matrix import plan
from mish_guard.matrix.order import Order
from mish_guard.numerics import ceiling
from mish_guard.records import EngineName, Role, Run
from mish_guard.report import chip, chips
from mish_guard.report.words import count
from mish_guard.results import baseline, measurement

_SEND = "Next: attach {path} to a new issue at {url}"
ISSUES = "https://github.com/mish-guard/mish-guard/issues/new?template=measurement.yml"


def measure(order: Order, out: Path) -> ExitCode:
    """Examine the machine, measure on the CPU and the Neural Engine, say what it did, leave the file in `out`.

    Where doctor finds no usable Neural Engine none is asked for, since that can hang; why, is said twice.
    Raises MachineError off a Mac.
    """
    gate.check(order, out)
    require()
    checks = doctor.examine()
    left_out = _left_out(checks)
    places = ("cpu-only",) if left_out else ("cpu-only", NEURAL_ENGINE)
    _announce(order, places, left_out)
    chosen = Order(
        engine="coreml", places=places, lowering=order.lowering, matrix=order.matrix, candidate=order.candidate
    )
    with files.locked(out, "results"):
        run = gate.measure(chosen, out)
    path = out / measurement.NAME
    asked = [list(each) for each in chip.answers(run)]
    measurement.write(path, out / gate.RESULTS, [check.to_json() for check in checks], asked)
    for line in [*chip.words(run), *left_out, *(f"{question} {answer}" for question, answer in asked)]:
        click.echo(line)
    click.echo(_SEND.format(path=path, url=ISSUES))
    return ExitCode.PASS


def _left_out(checks: Sequence[Check]) -> list[str]:
    """Why the Neural Engine is not asked for, a line for each check that failed; none: it is."""
    failed = [check for check in checks if check.outcome is Outcome.FAIL]
    return [f"The Neural Engine was not asked for: {check.name}: {check.detail.rstrip('.')}." for check in failed]


def _announce(order: Order, places: tuple[str, ...], left_out: list[str]) -> None:
    """What it will take, before it starts; nobody has measured how long a Mac needs, so only the bound is told."""
    for line in left_out:
        click.echo(line, err=True)
    asked = [plan.Place(name=place, is_neural_engine=place == NEURAL_ENGINE) for place in places]
    n_cells = len(plan.load(order.matrix or plan.DEFAULT, asked))
    click.echo(
        f"Measuring {n_cells} cells at {' and '.join(places)}; each loads one small model, and is given up after "
        f"{TIMEOUT_SECONDS:g} s. The file will be about {max(1, n_cells * 8 // 1024)} MB and holds chip, model, macOS "
        "and figures: no serial number, no user name, no path. Interrupt it whenever you like.",
        err=True,
    )


def store(file: Path, *, baselines: Path, reason: str) -> ExitCode:
    """Show what a stranger's file says, write a baseline for each of its places, and the row of its chip.

    Raises UnreadableFileError for a file that is damaged, contradicts itself, or proves nothing; then nothing is
    written. What it says is told from its figures: words of its own are not repeated.
    """
    with tempfile.TemporaryDirectory() as scratch:
        run = measurement.read(file, Path(scratch))
    _refuse_inconsistent(run, file)
    for line in [*chip.words(run), *(f"{question} {answer}" for question, answer in chip.answers(run))]:
        click.echo(files.printable(line))
    baselines.mkdir(parents=True, exist_ok=True)
    for place in sorted(run.engines):
        target = baseline.path_of(baselines, run.engine_at(place), place, run.device_at(place))
        files.write_atomically(target, baseline.text_of(run, place, reason=reason, repeats=1))
        click.echo(f"Wrote {target.name}")
    if baselines == baseline.SHIPPED and chips.PAGE.exists():
        files.write_atomically(chips.PAGE, chips.page(chips.PAGE.read_text(encoding="utf-8"), baselines))
        click.echo(f"Wrote the table of {chips.PAGE.name}. Next: propose both as a pull request")
    else:
        click.echo(chips.table(baselines))
    return ExitCode.PASS


def _refuse_inconsistent(run: Run, file: Path) -> None:
    complaint = next(_complaints(run), None)
    if complaint is not None:
        msg = f"'{file}' is not stored: {complaint}."
        raise UnreadableFileError(msg)


def _complaints(run: Run) -> Iterator[str]:
    if any(each.engine is not EngineName.COREML or not each.is_hardware for each in run.engines.values()):
        yield "it holds places that are not Core ML on a Mac"
    devices = [each.device for each in run.engines.values()]
    if any(str(device.get("hardware", {}).get("chip")).startswith("Intel") for device in devices):
        yield "it is of a Mac with an Intel processor, which has no Neural Engine and no baseline"
        return
    if not devices or not all(device.get("baseline_key") for device in devices):
        yield "the machine does not say which chip and macOS it has"
        return
    if any(device != devices[0] for device in devices):
        yield "its places were measured on different machines"
    hardware = devices[0]["hardware"]
    if hardware.get("is_vm") and NEURAL_ENGINE in run.engines:
        yield "a virtual machine has no Neural Engine, and this one claims one"
    if run.partial is not None or set(run.expected) != run.measurements.keys():
        yield "cells of the matrix are missing"
    if run.broken or run.controls_error:
        yield f"the run proves nothing: {run.broken or run.controls_error}"
    if {cell.key.place for cell in run.measurements.values()} != run.engines.keys():
        yield "cells and places do not agree"
    for place in run.engines:
        yield from _wrong_controls(run, place)
    yield from _no_baseline(run)


def _no_baseline(run: Run) -> Iterator[str]:
    """What `refresh` would not store either: a baseline excuses nothing that it did not measure, twice alike."""
    required = [cell for cell in run.measurements.values() if cell.known_gap is None and not cell.key.role.is_control]
    failed = [cell for cell in required if cell.figures is None]
    if failed:
        yield f"{count(len(failed), 'cell')} gave no figures, first {failed[0].key}"
    over = [cell for cell in required if cell.figures is not None and not ceiling.is_within(cell.figures)]
    if over:
        yield f"{count(len(over), 'cell')} over a ceiling, first {over[0].key}, and no baseline moves one"
    changed = [cell for cell in run.measurements.values() if cell.repeats_agree is False]
    if changed:
        yield f"{count(len(changed), 'cell')} gave other bits when asked again, first {changed[0].key}"
    asked = [cell for cell in run.measurements.values() if cell.key.place == NEURAL_ENGINE and cell.figures is not None]
    silent = [cell for cell in asked if cell.repeats_agree is None]
    if silent:
        which = f"{count(len(silent), 'cell')}, first {silent[0].key}"
        yield f"it does not say of {which}, whether the same bits came when asked again"


def _wrong_controls(run: Run, place: str) -> Iterator[str]:
    cells = [cell for cell in run.measurements.values() if cell.key.place == place]
    good = [cell for cell in cells if cell.key.role is Role.POSITIVE_CONTROL]
    if not good or not all(cell.figures is not None and ceiling.is_within(cell.figures) for cell in good):
        yield f"the positive control does not pass at {place}"
    bad = [cell for cell in cells if cell.key.role is Role.NEGATIVE_CONTROL and cell.figures is not None]
    caught = any(cell.figures is not None and not ceiling.is_within(cell.figures) for cell in bad)
    if place != NEURAL_ENGINE and caught:
        yield f"native softplus is wrong at {place}, where no cliff has been seen on any Mac"
    if place == NEURAL_ENGINE and caught and not any(compare.placed(cell) for cell in bad):
        yield "the cliff shows although nothing was placed on the Neural Engine"
