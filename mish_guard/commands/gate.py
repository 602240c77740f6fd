"""`gate`, `run` and `compare`: measure, judge, report."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from mish_guard import baseline, explain, files, record, verdict
from mish_guard.errors import ExitCode
from mish_guard.matrix.run import Order, run_matrix
from mish_guard.model import Run
from mish_guard.report import as_json, text
from mish_guard.verdict import Judgement, Verdict

RESULTS = "results.json"

_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow", Verdict.BROKEN: "magenta"}


def gate(order: Order, *, baselines: Path, out: Path, as_object: bool) -> ExitCode:
    """Measure the matrix, compare with the baselines, print the verdict."""
    measure(order, out)
    return compare(out / RESULTS, baselines=baselines, out=out, as_object=as_object)


def run(order: Order, *, out: Path) -> ExitCode:
    """Measure the matrix and judge nothing."""
    measure(order, out)
    click.echo(f"Wrote {out / RESULTS}. Next: mish-guard compare {out / RESULTS}")
    return ExitCode.PASS


def compare(results: Path, *, baselines: Path, out: Path | None, as_object: bool) -> ExitCode:
    """Judge a results file; with `out`, leave there what a new baseline would hold wherever the verdict is not PASS."""
    measured = record.read_run(results)
    judgement = verdict.judge(measured, baseline.load_for(measured, baselines), explain.load_defects())
    if out is not None:
        _store_obtained(judgement, out)
    _print(judgement, as_object=as_object)
    return judgement.exit_code


def measure(order: Order, out: Path) -> Run:
    """Measure the matrix into `out`; leftovers of an older run are removed first."""
    for leftover in out.glob("*.obtained.json"):
        leftover.unlink()
    places = ", ".join(order.profiles) if order.profiles else "all places"
    click.echo(f"Measuring the matrix: engine {order.engine}, {places}, lowering {order.lowering}", err=True)
    run_matrix(order, out / RESULTS)
    return record.read_run(out / RESULTS)


def _store_obtained(judgement: Judgement, out: Path) -> None:
    if judgement.verdict is Verdict.PASS:
        return
    run = judgement.run
    for where in sorted({measurement.key.where for measurement in run.measurements.values()}):
        name = baseline.path_of(out, run.engine_at(where), where, run.device_at(where)).with_suffix(".obtained.json")
        files.write_atomically(name, baseline.text_of(run, where, reason="obtained by a gate run", repeats=1))


def _print(judgement: Judgement, *, as_object: bool) -> None:
    if as_object:
        document: Mapping[str, object] = as_json.document(judgement)
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    first, *rest = text.lines(judgement)
    click.secho(first, fg=_COLOURS[judgement.verdict], bold=True)
    click.echo("\n".join(rest))
    sys.stdout.flush()
