"""Measure new baselines with the coremltools of ci/coremltools.yml, and show what changes.

    python3 ci/refresh_baselines.py --reason 'why the figures change' [options of `mish-guard refresh`]

Builds and proves the tree first, with the Xcode that MISH_GUARD_XCODE names, runs the whole matrix three times, and
stores nothing if a cell is over a ceiling, is gone, or gave different bits. `mish-guard-out/changes.md` holds the table
of before and after, `mish-guard-out/baselines` the files that changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINES = ROOT / "mish_guard" / "data" / "baselines"


def main(options: Sequence[str]) -> int:
    """Build, measure, store, show; returns the exit code of the first step that fails."""
    if os.environ.get("MISH_GUARD_XCODE"):  # an empty DEVELOPER_DIR is no Xcode to what macOS starts
        os.environ["DEVELOPER_DIR"] = os.environ["MISH_GUARD_XCODE"]
    built = subprocess.run([str(ROOT / "ci" / "candidate")], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode:
        return built.returncode
    environment = subprocess.run([str(ROOT / "ci" / "environment")], stdout=subprocess.PIPE, text=True, check=True)
    guard = [f"{environment.stdout.strip()}/bin/python", "-I", "-m", "mish_guard"]
    folder = Path(os.environ.get("MISH_GUARD_OUT") or "mish-guard-out").resolve()
    changes = folder / "changes.md"
    changes.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        before = Path(scratch) / "before"
        shutil.copytree(BASELINES, before)
        refreshed = subprocess.run([*guard, "refresh", "--candidate", built.stdout.strip(), *options], check=False)
        if refreshed.returncode:
            return refreshed.returncode
        _keep_changed(before, folder / "baselines")
        shown = [*guard, "diff-baselines", "--format", "markdown", str(before), str(BASELINES)]
        table = subprocess.run(shown, stdout=subprocess.PIPE, text=True, check=False)
    if table.returncode == 0:
        folder.mkdir(parents=True, exist_ok=True)
        changes.write_text(table.stdout, encoding="utf-8")
    return table.returncode


def _keep_changed(before: Path, kept: Path) -> None:
    """Copy the baselines that are new or other than they were: what a pull request is made of."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for path in sorted(BASELINES.glob("*.json")):
        old = before / path.name
        if not old.exists() or old.read_bytes() != path.read_bytes():
            shutil.copy2(path, kept)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
