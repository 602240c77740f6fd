"""`explain`: one cell measured again, before and after, with every operation at the input that shows the error."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from mish_guard import commands_to_type, files, processes
from mish_guard.candidate import identify, locate
from mish_guard.commands.gate import RESULTS
from mish_guard.convert.witnesses import Witnesses
from mish_guard.engines import registry
from mish_guard.engines.base import Engine
from mish_guard.engines.emulator import profiles
from mish_guard.errors import ExitCode, UsageError
from mish_guard.judge import compare, defects
from mish_guard.matrix import plan
from mish_guard.matrix.plan import Place
from mish_guard.models import lowerings
from mish_guard.numerics import ceiling, fp16
from mish_guard.records import Candidate, CellKey, EngineName, Figures, Measurement
from mish_guard.report import table, words
from mish_guard.results import baseline, run_file
from mish_guard.results.baseline import Baseline

if TYPE_CHECKING:
    from mish_guard.matrix.measurer import Measurer
    from mish_guard.matrix.spot import Spot

_WORST_BINADES = 5


def show(
    name: str,
    *,
    lowering: str | None,
    x: float | None,
    candidate: Path | None,
    baselines: Path | None,
    matrix_file: Path | None,
    out: Path,
) -> ExitCode:
    """Measure the cell called `name` and print how its error comes about.

    What is measured is the tree that the last run in `out` judged, with its lowering unless another is asked for.
    Raises UsageError for a name that is no cell, an input that no half-precision number is, and a tree that is not
    the run's.
    """
    key = CellKey.parse(name)
    _check_input(x)
    last = _last_candidate(out)
    interpreter = locate.interpreter(candidate)  # before the matrix, whose cases import torch
    engine = registry.create("emulator" if key.place in profiles.PROFILES else "coreml", [key.place])
    stored = _stored(engine, key, baselines or baseline.SHIPPED)
    place = Place(name=key.place, is_neural_engine=engine.is_neural_engine(key.place))
    cells = plan.load(matrix_file or plan.DEFAULT, [place])
    cell = next((cell for cell in cells if cell.key == key), plan.Cell(key=key, known_gap=None))
    used = lowering or (lowerings.AS_IS if last is None else last.lowering)
    who = identify.identify(interpreter, used)
    _check_tree(who, last, out)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(Witnesses(interpreter, Path(folder), mark=processes.new_mark(), jobs=1)) as witnesses,
    ):
        witnesses.summon()
        from mish_guard.matrix.measurer import Measurer  # imports torch: every mistake has been told by now

        measurer = Measurer(engine, used, witnesses, files.DATA / "controls", judges=cells)
        measured = measurer.measure(cell)
        before = None if stored is None else stored.cells.get(str(key))
        for line in (*_lines(measured, before), *_before_and_after(measured, stored, before)):
            click.echo(line)
        for line in _placed(measured) if engine.is_hardware(key.place) else ():
            click.echo(line)
        click.echo(f"coremltools {who.coremltools}, lowering {used}: {who.path}")
        if measured.figures is not None:
            _echo_trace(measurer, engine, measured, _spot(measurer, measured, before, x))
    click.echo("")
    click.echo(f"Again: {commands_to_type.explain(str(key), lowering=used)}")
    return ExitCode.PASS


def _check_input(x: float | None) -> None:
    """Raise UsageError, with its neighbours, for a number that half precision does not have."""
    if x is None or not math.isfinite(x):
        return
    known = np.array([-math.inf, *np.unique(fp16.finite_values().astype(np.float64) + 0.0), math.inf])
    place = int(np.searchsorted(known, x))
    if known[place] == x:
        return
    low, high = (float(each) for each in known[place - 1 : place + 1])
    msg = f"{x!r} is no half-precision number, nor inf, -inf or nan. The nearest are {low!r} and {high!r}."
    raise UsageError(msg)


def _last_candidate(out: Path) -> Candidate | None:
    """Who was judged by the last run in `out`; None where there was none. Raises UnreadableFileError for a bad file."""
    path = out / RESULTS
    return run_file.read_run(path).candidate if path.exists() else None


def _check_tree(who: Candidate, last: Candidate | None, out: Path) -> None:
    if last is None or last.tree_sha256 in (None, who.tree_sha256):
        return
    msg = (
        f"The last run in '{out}' judged another coremltools than the one that would be explained here. Name the same "
        "one with --candidate, or another folder with --out."
    )
    raise UsageError(msg)


def _stored(engine: Engine, key: CellKey, folder: Path) -> Baseline | None:
    path = baseline.path_of(folder, EngineName(engine.name), key.place, engine.device())
    return baseline.load(path) if path.exists() else None


def _lines(measured: Measurement, before: Measurement | None) -> Iterator[str]:
    figures = measured.figures
    yield f"{measured.key}: {_verdict(measured, before)}"
    if figures is None:
        return
    if measured.rung is not None:
        yield f"shape        {measured.rung}"
    yield from _figures(figures)
    known = defects.defect(measured, defects.load_defects())
    if not ceiling.is_within(figures):
        yield f"signature    {defects.signature(measured).value}"
    if measured.assumptions:
        yield f"rests on     {', '.join(measured.assumptions)}, which nobody has measured"
    if measured.known_gap is not None:
        yield f"known gap    {measured.known_gap}"
    if known is not None:
        yield f"defect       {known.id}: {known.title}"
        yield f"             {known.figure} {known.before:g} with it, {known.after:g} without, limit {known.limit:g}"
        yield from (f"             {link}" for link in known.found)


def _verdict(measured: Measurement, before: Measurement | None) -> str:
    """What is wrong with the cell, alone or against its baseline, in one line."""
    complaint = ceiling.complaint(measured)
    if complaint is not None:
        return complaint
    if before is None or not _comparable(measured, before):
        return "inside its ceiling" if ceiling.fault(measured) is None else "over its ceiling, as the matrix expects"
    changed = compare.change(measured, before)
    if changed is compare.Change.WORSE:
        return f"worse than the baseline: {'; '.join(compare.differences(measured, before)[:3])}"
    return f"{'inside its ceiling' if ceiling.fault(measured) is None else 'a known gap'}; {changed.value}"


def _comparable(measured: Measurement, before: Measurement) -> bool:
    return (measured.instrument, measured.rung) == (before.instrument, before.rung) and before.figures is not None


def _before_and_after(measured: Measurement, stored: Baseline | None, before: Measurement | None) -> Iterator[str]:
    """The cell beside its baseline, and the binade that changed most."""
    new, old = measured.figures, None if before is None else before.figures
    if stored is None or before is None or new is None or old is None:
        yield "baseline     none for this cell"
        return
    given = stored.provenance
    yield f"baseline     {given['candidate']['lowering']}, measured {given['created']}"
    if not _comparable(measured, before):
        yield "             measured by another emulator, or in another shape: not comparable"
    change = compare.moved(measured, before)
    rows = [
        ("over the ceiling", str(old.n_over_ceiling), str(new.n_over_ceiling)),
        ("max_ulp", words.worst_ulp(old), words.worst_ulp(new)),
        ("mean_abs", words.number(old.mean_abs), words.number(new.mean_abs)),
    ]
    if change is not None and change.at is not None:
        rows.append((f"max_ulp in {change.name}", words.number(change.before), words.number(change.after)))
    rows += [
        (f"special {name}", old.specials.get(name, "-"), new.specials.get(name, "-"))
        for name in sorted(new.specials)
        if new.specials.get(name) != old.specials.get(name)
    ]
    yield from table.render(("", "before", "after"), rows).splitlines()


def _placed(measured: Measurement) -> Iterator[str]:
    """Where the plan of Core ML puts each operation, which is what a figure of hardware rests on."""
    placement = measured.placement
    if placement is None or not placement.is_known:
        yield "placement    Core ML told no plan: where this ran is not known"
        return
    yield f"placement    the activation is planned on: {placement.activation}"
    rows = [(name, device.value) for name, device in placement.ops.items()]
    yield from table.render(("operation", "device"), rows).splitlines()


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


def _spot(measurer: Measurer, measured: Measurement, before: Measurement | None, x: float | None) -> Spot:
    """Where to look: as asked, else where the ceiling is broken, else where the cell is worse than before."""
    is_within = measured.figures is not None and ceiling.is_within(measured.figures)
    change = compare.moved(measured, before) if is_within and before is not None else None
    if x is None and change is not None and change.grew:
        x = change.at
    from mish_guard.matrix.spot import spot

    return spot(measurer.case(measured.key), measured, x)


def _echo_trace(measurer: Measurer, engine: Engine, measured: Measurement, here: Spot) -> None:
    case = measurer.case(measured.key)
    feed = case.feeds()[here.feed]
    steps = engine.trace(measurer.package(measured.key), feed, measured.key.place, here.place, case.output)
    if not steps:
        click.echo(f"The engine '{engine.name}' cannot look between operations.")
        return
    culprit = measured.culprit
    click.echo("")
    where = f"at x = {here.x!r} ({fp16.hex_bits(here.x)})" if here.place is not None else "where each is worst"
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
