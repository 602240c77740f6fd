"""Reports on the screen: as wide as it is, in colours only where somebody can see them."""

from __future__ import annotations

import json
import os
import shutil
import sys

import click

from mish_guard.report import as_json, markdown, text
from mish_guard.report.facts import Facts
from mish_guard.report.formats import Format

_NARROWEST = 40


def show(facts: Facts, form: Format) -> None:
    """Print facts on standard output in one of the forms that are read there."""
    if form is Format.JSON:
        click.echo(json.dumps(as_json.document(facts), indent=1, allow_nan=False))
    elif form is Format.MARKDOWN:
        click.echo(markdown.summary(facts), nl=False)
    else:
        coloured = is_coloured()
        click.echo(text.render(facts, width=width(), colour=coloured, verbose=is_verbose()), color=coloured)


def width() -> int:
    """The columns of the terminal; of a pipe, those that COLUMNS names, or no limit."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return max(_NARROWEST, shutil.get_terminal_size((80, 24)).columns)
    return text.UNLIMITED


def is_coloured() -> bool:
    """Whether standard output gets colours: as --color says, else where it is a terminal."""
    context = click.get_current_context(silent=True)
    asked = None if context is None else context.find_root().color
    return sys.stdout.isatty() if asked is None else asked


def is_verbose() -> bool:
    """Whether -v was given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().meta.get("verbose"))
