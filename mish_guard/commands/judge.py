"""`judge` and `report`: a results file judged again, and written in the form that is wanted. Measures nothing."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mish_guard import files
from mish_guard.commands import screen
from mish_guard.errors import ExitCode
from mish_guard.judge import defects, verdict
from mish_guard.records import Run
from mish_guard.report import facts
from mish_guard.report.facts import Facts
from mish_guard.report.formats import Format
from mish_guard.results import baseline, run_file

if TYPE_CHECKING:
    from mish_guard.results.curves import Curves


def judge(results: Path, *, baselines: Path, base: Path | None, form: Format) -> ExitCode:
    """Judge a results file and print the verdict."""
    told, _ = _told(results, baselines, base)
    screen.show(told, form)
    return told.exit_code


def report(results: Path, *, baselines: Path, base: Path | None, form: Format, out: Path | None) -> ExitCode:
    """Write the report of a results file in one form: to `out`, or to standard output.

    Ends with 0 whatever the verdict: the report is what was asked for.
    """
    from mish_guard.report import faces  # with all that draws

    told, run = _told(results, baselines, base)
    content = faces.write(told, _kept(results, run), form)
    if out is None:
        click.echo(content, nl=False)
    else:
        files.write_atomically(out, content)
        click.echo(f"Wrote {out}", err=True)
    return ExitCode.PASS


def report_all(results: Path, *, baselines: Path, base: Path | None, folder: Path) -> None:
    """Write every face of a results file into a folder."""
    from mish_guard.report import faces

    told, run = _told(results, baselines, base)
    faces.write_all(told, _kept(results, run), folder)


def _told(results: Path, baselines: Path, base: Path | None) -> tuple[Facts, Run]:
    """What there is to tell of a results file, and the run in it."""
    with without_collector():
        run = run_file.read_run(results)
        judgement = verdict.judge(run, baseline.load_for(run, baselines, base), defects.load_defects())
        return facts.gather(judgement), run


def _kept(results: Path, run: Run) -> Curves:
    """The curves that lie beside a results file."""
    from mish_guard.results import curves

    return curves.read(results.with_name(curves.NAME), run)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """What is read here is a tree of small objects that all stay: looking through them for cycles is a third of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
