"""`compare A B`: two runs, two baselines, or one of each, beside each other. Judges nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mish_guard import files
from mish_guard.commands import screen
from mish_guard.errors import ExitCode, UsageError
from mish_guard.judge import baseline_diff
from mish_guard.judge.baseline_diff import Changes
from mish_guard.records import CellKey, Measurement
from mish_guard.report import differences
from mish_guard.report.formats import Format
from mish_guard.results import baseline, run_file


def compare(before: Path, after: Path, *, form: Format) -> ExitCode:
    """Print what changed from `before` to `after`, each a results file, a baseline or a `*.obtained.json`.

    Cells at different places are matched by their road where each side holds one place only, so that two chips, or
    two profiles, can be laid beside each other. Raises UnreadableFileError, or UsageError where nothing is in common.
    """
    old, new = _cells(before), _cells(after)
    if not old.keys() & new.keys():
        old, new = _by_road(old), _by_road(new)
    if not old.keys() & new.keys():
        msg = f"'{before}' and '{after}' have no cell in common; compare runs of one matrix."
        raise UsageError(msg)
    found = baseline_diff.between(old, new)
    click.echo(_written(found, old, new, form), nl=False)
    return ExitCode.PASS


def _written(found: Changes, old: dict[str, Measurement], new: dict[str, Measurement], form: Format) -> str:
    if form is Format.JSON:
        return json.dumps(differences.document(found), indent=1, allow_nan=False) + "\n"
    if form is Format.MARKDOWN:
        return differences.markdown(found)
    if form is Format.SVG:
        return differences.picture(old, new) + "\n"
    if form is Format.HTML:
        return differences.page(found, old, new) + "\n"
    return differences.text(found, width=screen.width()) + "\n"


def _cells(path: Path) -> dict[str, Measurement]:
    """The cells of a file by name, controls apart."""
    document = files.read_json(path)
    if isinstance(document, dict) and "provenance" in document:
        found = dict(baseline.load(path).cells)
    else:
        found = dict(run_file.read_run(path).measurements)
    return {name: cell for name, cell in found.items() if not cell.key.role.is_control}


def _by_road(cells: dict[str, Measurement]) -> dict[str, Measurement]:
    """Cells without their place, where all have the same; else as they are."""
    places = {CellKey.parse(name).place for name in cells}
    return {name.rpartition("@")[0]: cell for name, cell in cells.items()} if len(places) == 1 else cells
