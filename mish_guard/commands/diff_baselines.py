"""`diff-baselines`: the cells of two folders of baselines beside each other."""

from __future__ import annotations

from pathlib import Path

import click

from mish_guard import baseline, changes
from mish_guard.errors import ExitCode, UsageError
from mish_guard.report import markdown, text


def show(before: Path, after: Path, *, as_markdown: bool) -> ExitCode:
    """Print what changed; raises UsageError for a folder that is not there: a typing error is no empty baseline."""
    for folder in (before, after):
        if not folder.is_dir():
            msg = f"There is no folder '{folder}'. Call mish-guard diff-baselines BEFORE AFTER."
            raise UsageError(msg)
    old, new = (baseline.load_all(folder) for folder in (before, after))
    found = changes.between(changes.cells_of(old), changes.cells_of(new))
    click.echo(markdown.changed(found).rstrip() if as_markdown else "\n".join(text.changed(found)))
    return ExitCode.PASS
