"""`gate` and `run`: measure, judge, report."""

from __future__ import annotations

from pathlib import Path

import click

from mish_guard import files
from mish_guard.candidate import locate
from mish_guard.commands import judge, screen
from mish_guard.errors import ExitCode
from mish_guard.judge import defects, verdict
from mish_guard.judge.verdict import Judgement, Verdict
from mish_guard.matrix import plan
from mish_guard.matrix.order import CONTROLS, Order
from mish_guard.matrix.run import run_matrix
from mish_guard.models import controls
from mish_guard.records import Run
from mish_guard.report import as_json, facts, markdown
from mish_guard.report.formats import Format
from mish_guard.results import baseline, run_file

# What a gate run leaves in its folder; `candidate.diff` only where the tree under test was patched.
RESULTS, REPORT, SUMMARY, DIFF = "results.json", "report.json", "summary.md", "candidate.diff"


def gate(
    order: Order,
    *,
    baselines: Path,
    base: Path | None,
    out: Path,
    form: Format,
    allow_unarmed: bool,
    report: Path | None,
) -> ExitCode:
    """Measure the matrix, compare with the baselines, print the verdict and leave it in `out`.

    With `allow_unarmed` a run that only lacks a Neural Engine ends with 0; its verdict stays INCONCLUSIVE.
    `report` is a folder for every face of the report.
    """
    check(order, out, *([] if report is None else [report]))
    for folder in (baselines, *([] if base is None else [base])):
        baseline.load_all(folder)  # a mistake in one is told now, not when all is measured
    with files.locked(out, "results"), judge.without_collector():
        measured = measure(order, out)
        judgement = _judged(measured, baselines=baselines, base=base, out=out, form=form)
        if report is not None:
            judge.report_all(out / RESULTS, baselines=baselines, base=base, folder=report)
    return ExitCode.PASS if allow_unarmed and judgement.lacks_only_a_neural_engine else judgement.exit_code


def check(order: Order, *folders: Path) -> None:
    """Refuse, before anything is measured or written, what cannot go well: a matrix, controls, a tree, a folder.

    Raises UnreadableFileError, UnwritableFileError, UsageError.
    """
    if order.matrix is not None:
        plan.load(order.matrix, [plan.Place(name="ane", is_neural_engine=True)])
    if order.controls != CONTROLS:
        controls.recorded(order.controls)
    for tree in (order.candidate, order.against):
        locate.interpreter(tree)
    for folder in folders:
        files.check_writable(folder)


def run(order: Order, *, out: Path) -> ExitCode:
    """Measure the matrix and judge nothing."""
    check(order, out)
    with files.locked(out, "results"):
        measure(order, out)
    click.echo(f"Wrote {out / RESULTS}. Next: mish-guard judge {out / RESULTS}")
    return ExitCode.PASS


def _judged(measured: Run, *, baselines: Path, base: Path | None, out: Path, form: Format) -> Judgement:
    judgement = verdict.judge(measured, baseline.load_for(measured, baselines, base), defects.load_defects())
    _leave_reports(judgement, out)
    screen.show(facts.gather(judgement), form)
    return judgement


def measure(order: Order, out: Path) -> Run:
    """Measure the matrix into `out`; leftovers of an older run are removed first: they must not pass for this one's."""
    for leftover in (*out.glob("*.obtained.json"), *(out / name for name in (RESULTS, REPORT, SUMMARY, DIFF))):
        leftover.unlink(missing_ok=True)
    places = ", ".join(order.places) if order.places else "all places"
    if not order.quiet:
        click.echo(f"Measuring the matrix: engine {order.engine}, {places}, lowering {order.lowering}", err=True)
    run_matrix(order, out / RESULTS)
    return run_file.read_run(out / RESULTS)


def _leave_reports(judgement: Judgement, out: Path) -> None:
    """The verdict for programs and for GitHub, the patch of the tree, and what new baselines would hold."""
    told = facts.gather(judgement)
    files.write_atomically(out / REPORT, files.readable_json(as_json.document(told)))
    files.write_atomically(out / SUMMARY, markdown.summary(told))
    if judgement.run.candidate.diff:
        files.write_atomically(out / DIFF, judgement.run.candidate.diff)
    if judgement.verdict is Verdict.PASS:
        return
    run = judgement.run
    for place in sorted({measurement.key.place for measurement in run.measurements.values()}):
        name = baseline.path_of(out, run.engine_at(place), place, run.device_at(place)).with_suffix(".obtained.json")
        files.write_atomically(name, baseline.text_of(run, place, reason="obtained by a gate run", repeats=1))
