"""Say what the distributions that were built lack, and what they hold that they should not.

    python ci/check_distributions.py dist

The wheel holds each tracked file of mish_guard/ and its own metadata, the sdist each tracked file: nothing half, and
nothing that lay about. The metadata are of a version that PyPI takes, of this name and version, and describe the
project in Markdown; their fields hatchling has checked. Only the standard library and git are needed, so that nothing
foreign touches what is released. Exits 1 with every difference.
"""

from __future__ import annotations

import email
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Versions of metadata that PyPI takes, https://packaging.python.org/specifications/core-metadata
TAKEN = ("2.1", "2.2", "2.3", "2.4")

METADATA = frozenset({"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"})


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Compare every distribution of a folder with what git tracks; returns the exit code."""
    (folder,) = map(Path, arguments or ["dist"])
    tracked = set(_git("ls-files", root=root))
    complaints = [*_wheels(folder, tracked), *_sdists(folder, tracked)]
    for each in complaints:
        print(f"ci/check_distributions.py: {each}", file=sys.stderr)
    return int(bool(complaints))


def _wheels(folder: Path, tracked: set[str]) -> Iterable[str]:
    paths = sorted(folder.glob("*.whl"))
    if not paths:
        yield f"there is no wheel in {folder}"
    wanted = {name for name in tracked if name.startswith("mish_guard/")}
    for path in paths:
        name, version = path.name.split("-")[:2]
        described = {f"{name}-{version}.dist-info/{each}" for each in METADATA}
        with zipfile.ZipFile(path) as archive:
            yield from _differences(path.name, set(archive.namelist()), wanted | described)
            yield from _undescribed(path.name, name, version, _text(archive, f"{name}-{version}.dist-info/METADATA"))


def _sdists(folder: Path, tracked: set[str]) -> Iterable[str]:
    paths = sorted(folder.glob("*.tar.gz"))
    if not paths:
        yield f"there is no sdist in {folder}"
    for path in paths:
        top = path.name.removesuffix(".tar.gz")
        with tarfile.open(path) as archive:
            held = {each.name.removeprefix(f"{top}/") for each in archive if not each.isdir()}
            told = archive.extractfile(f"{top}/PKG-INFO") if "PKG-INFO" in held else None
            text = "" if told is None else told.read().decode()
        yield from _differences(path.name, held - {"PKG-INFO"}, tracked)
        name, version = top.split("-", 1)
        yield from _undescribed(path.name, name, version, text)


def _text(archive: zipfile.ZipFile, name: str) -> str:
    return archive.read(name).decode() if name in archive.namelist() else ""


def _undescribed(file: str, name: str, version: str, text: str) -> Iterable[str]:
    """What PyPI would not take, or show, of the metadata of a distribution."""
    told = email.message_from_string(text)
    wanted = {"Name": name.replace("_", "-"), "Version": version, "Description-Content-Type": "text/markdown"}
    for field, value in wanted.items():
        if told[field] != value:
            yield f"the metadata of {file} say {field}: {told[field]}, not {value}"
    if told["Metadata-Version"] not in TAKEN:
        yield f"the metadata of {file} are of version {told['Metadata-Version']}, not one of {', '.join(TAKEN)}"
    if not str(told.get_payload()).strip():
        yield f"the metadata of {file} do not describe the project"


def _differences(name: str, held: set[str], wanted: set[str]) -> Iterable[str]:
    yield from (f"{name} lacks {each}" for each in sorted(wanted - held))
    yield from (f"{name} holds {each}, which is not tracked" for each in sorted(held - wanted))


def _git(*arguments: str, root: Path) -> list[str]:
    told = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout
    return told.splitlines()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
