"""`explain`: one cell measured again, with every operation at the input that shows the error."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from mish_guard import files, processes
from mish_guard.candidate import identify, locate
from mish_guard.commands.gate import RESULTS
from mish_guard.convert.witnesses import Witnesses
from mish_guard.engines import registry
from mish_guard.engines.base import Engine
from mish_guard.engines.emulator import profiles
from mish_guard.errors import ExitCode, GuardError
from mish_guard.judge import defects
from mish_guard.matrix import plan
from mish_guard.matrix.measurer import Measurer
from mish_guard.matrix.plan import Place
from mish_guard.models import lowerings
from mish_guard.numerics import ceiling, fp16
from mish_guard.records import CellKey, Figures, Measurement
from mish_guard.report import table, words
from mish_guard.results import run_file

_WORST_BINADES = 5


def show(name: str, *, lowering: str | None, x: float | None, matrix_file: Path | None, out: Path) -> ExitCode:
    """Measure the cell called `name` and print how its error comes about.

    Without `lowering`, the one of the last run in `out` is used. Raises UsageError for a name that is no cell.
    """
    key = CellKey.parse(name)
    engine = registry.create("emulator" if key.place in profiles.PROFILES else "coreml", [key.place])
    place = Place(name=key.place, is_neural_engine=engine.is_neural_engine(key.place))
    cells = plan.load(matrix_file or plan.DEFAULT, [place])
    cell = next((cell for cell in cells if cell.key == key), plan.Cell(key=key, known_gap=None))
    used = lowering or _last_lowering(out)
    interpreter = locate.interpreter(None)
    who = identify.identify(interpreter, None, used)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(Witnesses(interpreter, Path(folder), mark=processes.new_mark(), jobs=1)) as witnesses,
    ):
        measurer = Measurer(engine, used, witnesses, files.DATA / "controls", judges=cells)
        measured = measurer.measure(cell)
        for line in _lines(measured):
            click.echo(line)
        click.echo(f"coremltools {who.coremltools}, lowering {used}: {who.path}")
        if measured.figures is not None:
            _echo_trace(measurer, engine, measured, x)
    click.echo("")
    click.echo(f"Again: mish-guard explain '{key}' --lowering {used}")
    return ExitCode.PASS


def _last_lowering(out: Path) -> str:
    try:
        return run_file.read_run(out / RESULTS).candidate.lowering
    except GuardError:
        return lowerings.AS_IS


def _lines(measured: Measurement) -> Iterator[str]:
    complaint = ceiling.complaint(measured)
    yield f"{measured.key}: {complaint or 'as the matrix expects'}"
    figures = measured.figures
    if figures is None:
        return
    if measured.rung is not None:
        yield f"shape        {measured.rung}"
    yield from _figures(figures)
    known = defects.defect(measured, defects.load_defects())
    if not ceiling.is_within(figures):
        yield f"signature    {defects.signature(measured).value}"
    if measured.known_gap is not None:
        yield f"known gap    {measured.known_gap}"
    if known is not None:
        yield f"defect       {known.id}: {known.title}"
        yield f"             {known.figure} {known.before:g} with it, {known.after:g} without, limit {known.limit:g}"
        yield from (f"             {link}" for link in known.found)


def _figures(figures: Figures) -> Iterator[str]:
    yield f"covered      {figures.n_covered} of {figures.n_total}"
    for interval in figures.bad_intervals:
        yield f"over ceiling {words.interval(interval)}, {words.count(interval.count, 'input')}"
    yield f"max_abs      {figures.max_abs.value:.6g} at {figures.max_abs.at!r}"
    yield f"max_ulp      {figures.max_ulp.value:.6g} at {figures.max_ulp.at!r}"
    yield f"mean_abs     {figures.mean_abs:.6g}"
    for name, classes in figures.specials.items():
        yield f"special      {name} gives {classes}"
    worst = sorted(figures.binades.items(), key=lambda item: -item[1].max_ulp)[:_WORST_BINADES]
    for name, each in worst:
        yield f"binade       {name}: {each.max_ulp:.4g} ulp, mean_abs {each.mean_abs:.3g}"


def _echo_trace(measurer: Measurer, engine: Engine, measured: Measurement, x: float | None) -> None:
    case, figures, interval = measurer.case(measured.key), measured.figures, defects.main_interval(measured)
    if figures is None:
        return
    at = x if x is not None else (figures.max_abs.at if interval is None else interval.first)
    located = case.locate(at)
    feed, place = located if located is not None else (0, None)
    steps = engine.trace(measurer.package(measured.key), case.feeds()[feed], measured.key.place, place)
    if not steps:
        click.echo(f"The engine '{engine.name}' cannot look between operations.")
        return
    culprit = measured.culprit
    click.echo("")
    where = f"at x = {at!r} ({fp16.hex_bits(at)})" if located is not None else "where each is wrong, or largest"
    click.echo(f"every operation {where}, beside the same graph in float64:")
    rows = [
        (
            step.op,
            step.name,
            f"{step.got:.6g}",
            f"{step.want:.6g}",
            _mark(step.wrong, culprit is not None and step.name == culprit.name),
        )
        for step in steps
    ]
    click.echo(table.render(("op", "name", "got", "float64", ""), rows))


def _mark(wrong: bool, is_culprit: bool) -> str:
    return "<- the first wrong operation" if is_culprit else ("wrong" if wrong else "")
