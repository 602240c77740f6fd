"""Artifacts as folders below STAND_IN_ARTIFACTS. Uploading nothing, and fetching nothing, fail as on GitHub."""

import fnmatch
import glob
import os
import shutil
import sys
from pathlib import Path

STORE = Path(os.environ["STAND_IN_ARTIFACTS"])


def upload(name: str, paths: str) -> None:
    """Several paths keep their place below the workspace, one loses it."""
    lines = [line.strip() for line in paths.splitlines() if line.strip()]
    given = [Path(found) for line in lines for found in (sorted(glob.glob(line)) or [line])]
    target = STORE / name
    for path in given:
        if not path.exists():
            sys.exit(f"No files were found with the provided path: {path}")
        place = target / (path if len(given) > 1 else "")
        if path.is_dir():
            shutil.copytree(path, place, dirs_exist_ok=True)
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)


def download(name: str, pattern: str, folder: str, run: str, token: str) -> None:
    """By name into the folder; by pattern into one folder for each artifact. Another run's takes a token."""
    if run:
        if not token:
            sys.exit("Unable to download the artifact of another run without a token")
        with Path(os.environ["STAND_IN_LOG"]).open("a") as stream:
            stream.write(f"artifact {name} of run {run}\n")
    kept = sorted(each.name for each in STORE.iterdir()) if STORE.exists() else []
    if name and name not in kept:
        sys.exit(f"Artifact not found for name: {name}")
    for each in [name] if name else fnmatch.filter(kept, pattern):
        shutil.copytree(STORE / each, Path(folder) / ("" if name else each), dirs_exist_ok=True)


if __name__ == "__main__":
    if sys.argv[1] == "upload":
        upload(*sys.argv[2:])
    else:
        download(*sys.argv[2:])
