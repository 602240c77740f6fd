"""Controls: stored packages that never passed through the tree under test.

The negative control holds the `softplus` lowering and must be caught; the positive control holds `exp` and must pass.
Both were converted once by a released coremltools; `controls.json` says by which, and the hash of every file.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mish_guard import files, lowerings
from mish_guard.errors import GuardError, MachineError
from mish_guard.model import Backend, Frontend, Role

LOWERING = {Role.NEGATIVE_CONTROL: "softplus", Role.POSITIVE_CONTROL: lowerings.SHIPPED}
CASES = ("mish-k3", "scale-11.0")
_MANIFEST = "controls.json"


def stored_package(role: Role, model: str, folder: Path) -> Path:
    """Where the control of a role for a model of the matrix lies; raises MachineError where there is none.

    A model on a rung of its ladder has a name of its own, and so a control of its own.
    """
    path = folder / f"{LOWERING[role]}-{model}.mlpackage"
    if not path.is_dir():
        msg = f"There is no stored {role.value} for the model '{model}' in '{folder}'."
        raise MachineError(msg)
    return path


def verify(folder: Path) -> None:
    """Check every stored file against its recorded hash; raises MachineError if one changed, is gone or is new."""
    try:
        recorded = files.read_json(folder / _MANIFEST)["files"]
    except (GuardError, KeyError, TypeError) as error:
        msg = f"The record of the controls in '{folder}' is unreadable: {error}. Restore it from version control."
        raise MachineError(msg) from error
    found = _hashes(folder)
    changed = sorted(name for name in recorded.keys() | found.keys() if recorded.get(name) != found.get(name))
    if changed:
        msg = (
            f"{len(changed)} control files differ from their recorded hashes, first '{changed[0]}'. Restore "
            f"'{folder}' from version control: a control that changed proves nothing."
        )
        raise MachineError(msg)


def rebuild(folder: Path, provenance: dict[str, Any]) -> None:
    """Convert the controls anew with the imported coremltools and replace `folder` as a whole."""
    from mish_guard import modules
    from mish_guard.convert import convert

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        fresh = Path(scratch) / folder.name
        fresh.mkdir()
        for lowering in LOWERING.values():
            for name in CASES:
                for case in modules.on_every_rung(modules.case(name)):
                    convert(
                        case.build(),
                        case.feeds()[0],
                        lowering=lowering,
                        frontend=Frontend.TORCHSCRIPT,
                        backend=Backend.MLPROGRAM_FP16,
                        stem=fresh / f"{lowering}-{case.model}",
                    )
        manifest = {"files": _hashes(fresh), "provenance": provenance}
        files.write_atomically(fresh / _MANIFEST, files.readable_json(manifest))
        if folder.exists():
            shutil.move(folder, Path(scratch) / "old")
        shutil.move(fresh, folder)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _MANIFEST
    }
