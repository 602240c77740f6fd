"""A crash report: what a bug report needs, in a file, so that the screen keeps one line."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path

from mish_guard import files

_PACKAGES = ("mish-guard", "coremltools", "torch", "numpy", "pytest", "pytest-json-report")


def write(error: BaseException, arguments: Sequence[str], folder: Path) -> Path:
    """Write the Markdown report of `error` into `folder`; returns its path."""
    now = dt.datetime.now(dt.timezone.utc)
    path = folder / f"mish-guard-crash-{now:%Y%m%dT%H%M%S}.md"
    trace = "".join(traceback.format_exception(error))
    versions = "\n".join(f"- {name} {_version(name)}" for name in _PACKAGES)
    files.write_atomically(
        path,
        f"# mish-guard crashed: {type(error).__name__}\n\n"
        f"Command: `mish-guard {shlex.join(arguments)}`\n\n"
        f"- Python {platform.python_version()} on {platform.platform()}\n{versions}\n\n"
        f"```\n{trace}```\n",
    )
    return path


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
