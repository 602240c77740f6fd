"""Built native libraries by their key, so that an edit of Python alone compiles nothing.

`<folder>/<key>/` holds the files that a build put into the package, and `manifest.json` with the hash of each. An
entry is complete or absent: it is written beside its place and renamed. The hashes show damage, not malice.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mish_guard import files
from mish_guard.errors import UnreadableFileError

MANIFEST = "manifest.json"

# What is kept is what stands below this name in an entry, and in a tree.
PACKAGE = "coremltools"

Hashes = Mapping[str, str]


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder by its path in it; compiled Python does not count."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def restore(folder: Path, key: str, tree: Path) -> bool:
    """Copy what is kept under `key` into the tree's package; False, and nothing is copied, unless it is all intact."""
    entry = folder / key
    try:
        manifest = files.read_json(entry / MANIFEST)
    except UnreadableFileError:
        return False
    wanted = {"key": key, "files": hashes(entry / PACKAGE)}
    if manifest != wanted or not wanted["files"]:
        return False
    shutil.copytree(entry / PACKAGE, tree / PACKAGE, dirs_exist_ok=True)
    return True


def keep(folder: Path, key: str, tree: Path, before: Hashes) -> None:
    """Keep under `key` what the tree's package holds beyond, or other than, `before`; replaces a damaged entry."""
    made = {name: digest for name, digest in hashes(tree / PACKAGE).items() if before.get(name) != digest}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        entry = Path(scratch) / key
        for name in made:
            target = entry / PACKAGE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / PACKAGE / name, target)
        files.write_atomically(entry / MANIFEST, files.readable_json({"key": key, "files": made}))
        if (folder / key).exists():
            (folder / key).rename(Path(scratch) / "replaced")
        entry.rename(folder / key)
