"""`upstream`: the repair of mish as a maintainer of coremltools would take it, in a folder."""

from __future__ import annotations

from pathlib import Path

import click

from mish_guard import files
from mish_guard.candidate import locate, patch
from mish_guard.engines.emulator import profiles, replay
from mish_guard.errors import ExitCode, UnreadableFileError, UsageError
from mish_guard.models import lowerings


def write(out: Path, *, lowering: str | None, candidate: Path | None) -> ExitCode:
    """Patch the converter of a coremltools on paper, measure every form, and write patch, test and pages to `out`.

    `lowering` is the recommended one by default, `candidate` the coremltools next to mish-guard; neither the candidate
    nor anything else but `out` is written. Raises UsageError for a candidate that holds a patched converter already.
    """
    name = lowerings.get(lowering).name if lowering else _recommended()
    tree = locate.tree(locate.interpreter(candidate))
    made = _patch(tree.parent / patch.OPS, name)
    files.check_writable(out)
    from mish_guard.matrix.survey import survey
    from mish_guard.report import upstream

    click.echo(f"Measuring {len(lowerings.TABLE)} forms of mish under {len(profiles.PROFILES)} profiles", err=True)
    measured = list(survey(list(lowerings.TABLE), list(profiles.PROFILES)))
    written = upstream.kit(made, name, measured, replay.load())
    for file, text in written.items():
        files.write_atomically(out / file, text)
    click.echo(f"Wrote {', '.join(written)} to {out}.")
    click.echo(f"Next, in a coremltools tree: git apply {(out / upstream.PATCH).resolve()}")
    return ExitCode.PASS


def _recommended() -> str:
    return next(each.name for each in lowerings.TABLE.values() if each.recommended)


def _patch(path: Path, lowering: str) -> patch.Patch:
    try:
        before = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"'{path}' cannot be read: {error}."
        raise UnreadableFileError(msg) from error
    made = patch.Patch(before=before, after=patch.patched(before, lowering))
    if not made.diff:
        msg = f"'{path}' holds the lowering '{lowering}' already. Name a coremltools that does not: --candidate PATH."
        raise UsageError(msg)
    return made
