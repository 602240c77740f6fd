"""`rebuild-controls`: convert the stored control packages anew."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from mish_guard import candidate, controls, lowerings
from mish_guard.errors import ExitCode, UsageError


def rebuild(folder: Path, *, reason: str) -> ExitCode:
    """Replace the controls in `folder` by conversions of the imported coremltools; raises UsageError without reason.

    A tree with local changes (a local version such as 9.0+mine) is refused: a control must not have passed through a
    tree under test.
    """
    if not reason.strip():
        msg = "Controls need a reason: mish-guard rebuild-controls --reason 'why they change'."
        raise UsageError(msg)
    who = candidate.identify(lowerings.AS_IS)
    if "+" in who.coremltools or who.commit is not None:
        msg = f"coremltools {who.coremltools} is not a release. Install a release and run rebuild-controls again."
        raise UsageError(msg)
    now = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
    provenance = {
        "coremltools": who.coremltools,
        "torch": who.torch,
        "numpy": who.numpy,
        "python": who.python,
        "created": now.isoformat(),
        "reason": reason,
    }
    controls.rebuild(folder, provenance)
    click.echo(f"STORED: the controls in {folder}, by coremltools {who.coremltools}")
    click.echo("Next: run the gate, then commit the folder.")
    return ExitCode.PASS
