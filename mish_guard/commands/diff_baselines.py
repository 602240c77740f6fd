"""`diff-baselines`: the cells of two folders of baselines beside each other."""

from __future__ import annotations

from pathlib import Path

import click

from mish_guard.commands import screen
from mish_guard.errors import ExitCode, UsageError
from mish_guard.judge import baseline_diff
from mish_guard.report import differences
from mish_guard.report.formats import Format
from mish_guard.results import baseline


def show(before: Path, after: Path, *, form: Format) -> ExitCode:
    """Print what changed; raises UsageError for a folder that is not there: a typing error is no empty baseline."""
    for folder in (before, after):
        if not folder.is_dir():
            msg = f"There is no folder '{folder}'. Call mish-guard diff-baselines BEFORE AFTER."
            raise UsageError(msg)
    old, new = (baseline.load_all(folder) for folder in (before, after))
    found = baseline_diff.between(baseline_diff.cells_of(old), baseline_diff.cells_of(new))
    if form is Format.MARKDOWN:
        click.echo(differences.markdown(found, "Baselines"), nl=False)
    else:
        click.echo(differences.text(found, width=screen.width()))
    return ExitCode.PASS
