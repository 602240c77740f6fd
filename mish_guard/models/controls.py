"""Controls: stored packages that never passed through the tree under test.

The negative control holds the `softplus` lowering and must be caught; the positive control holds `exp` and must pass.
Both were converted once by a released coremltools; `controls.json` says by which, and the hash of every file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from mish_guard import files
from mish_guard.errors import MachineError, UnreadableFileError
from mish_guard.models import lowerings
from mish_guard.records import Role

LOWERING = {Role.NEGATIVE_CONTROL: "softplus", Role.POSITIVE_CONTROL: lowerings.SHIPPED}
CASES = ("mish-k3", "scale-11.0")
MANIFEST = "controls.json"


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
    """Check every recorded file against its hash; raises MachineError if one changed or is gone.

    What else lies there, such as a .DS_Store, is part of no control: a package's own manifest says what it holds.
    """
    try:
        expected = recorded(folder)
    except UnreadableFileError as error:
        raise MachineError(str(error)) from error
    found = hashes(folder)
    changed = sorted(name for name in expected if expected[name] != found.get(name))
    if changed:
        msg = (
            f"{len(changed)} control files differ from their recorded hashes, first '{changed[0]}'. Restore "
            f"'{folder}' from version control: a control that changed proves nothing."
        )
        raise MachineError(msg)


def recorded(folder: Path) -> dict[str, str]:
    """The sha256 of every file as the manifest of the controls has it; raises UnreadableFileError where it has none."""
    path = folder / MANIFEST
    document = files.read_json(path)
    found = document.get("files") if isinstance(document, dict) else None
    if not isinstance(found, dict) or not found:
        msg = f"'{path}' records no files of controls. Restore it from version control."
        raise UnreadableFileError(msg)
    return found


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file below `folder` but the manifest, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
