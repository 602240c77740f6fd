"""`rebuild-controls`: convert the stored control packages anew."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from pathlib import Path

import click

from mish_guard import files
from mish_guard.convert import conversion
from mish_guard.errors import ExitCode, UsageError
from mish_guard.models import controls, networks
from mish_guard.records import Backend, Document, Frontend


def rebuild(folder: Path, *, reason: str) -> ExitCode:
    """Replace the controls in `folder` by conversions of the imported coremltools; raises UsageError without reason.

    A tree with local changes (a local version such as 9.0+mine) is refused: a control must not have passed through a
    tree under test.
    """
    if not reason.strip():
        msg = "Controls need a reason: mish-guard rebuild-controls --reason 'why they change'."
        raise UsageError(msg)
    who = conversion.describe()
    if "+" in who["coremltools"]:
        msg = f"coremltools {who['coremltools']} is not a release. Install a release and run rebuild-controls again."
        raise UsageError(msg)
    now = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
    provenance = {
        **{name: who[name] for name in ("coremltools", "torch", "numpy", "python")},
        "created": now.isoformat(),
        "reason": reason,
    }
    _replace(folder, provenance)
    click.echo(f"STORED: the controls in {folder}, by coremltools {who['coremltools']}")
    click.echo("Next: run the gate, then commit the folder.")
    return ExitCode.PASS


def _replace(folder: Path, provenance: Document) -> None:
    """Convert the controls anew with the imported coremltools and replace `folder` as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        fresh = Path(scratch) / folder.name
        fresh.mkdir()
        for lowering in controls.LOWERING.values():
            for name in controls.CASES:
                for case in networks.on_every_rung(networks.case(name)):
                    conversion.convert(
                        case.build(),
                        case.feeds()[0],
                        lowering=lowering,
                        frontend=Frontend.TORCHSCRIPT,
                        backend=Backend.MLPROGRAM_FP16,
                        stem=fresh / f"{lowering}-{case.model}",
                    )
        manifest = {"files": controls.hashes(fresh), "provenance": provenance}
        files.write_atomically(fresh / controls.MANIFEST, files.readable_json(manifest))
        if folder.exists():
            shutil.move(folder, Path(scratch) / "old")
        shutil.move(fresh, folder)
