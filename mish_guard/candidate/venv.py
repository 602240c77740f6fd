"""An environment of its own for a built wheel, in seconds: torch and all else come from the running environment.

A virtual environment without pip whose site-packages names those of the running one; the wheel's coremltools stands
before theirs.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
import venv
from pathlib import Path

from mish_guard.candidate.source import run


def create(folder: Path, wheel: Path) -> Path:
    """Make `folder` anew with `wheel` installed; returns the path of its Python."""
    python = empty(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--force-reinstall"]
    run([*pip, "--no-index", "--prefix", str(folder), str(wheel)])
    return python


def empty(folder: Path) -> Path:
    """Make `folder` anew as an environment that sees the packages of the running one; returns its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    python = python_of(folder)
    packages = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    base = sysconfig.get_path("purelib")
    # addsitedir, and not the bare path, also honours the .pth files of an editable install there.
    (packages / "base.pth").write_text(f"import site; site.addsitedir({base!r})\n", encoding="utf-8")
    return python


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / "bin" / "python"
