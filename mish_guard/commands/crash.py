"""A crash report: what a bug report needs, in a file, so that the screen keeps one line."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from mish_guard import files
from mish_guard.errors import UnwritableFileError

_PACKAGES = ("mish-guard", "coremltools", "torch", "numpy", "pytest", "pytest-json-report")


def write(error: BaseException, arguments: Sequence[str], folder: Path) -> Path | None:
    """Write the Markdown report of `error` into `folder`, or where temporary files go.

    Returns its path; None if neither can be written.
    """
    now = dt.datetime.now(dt.timezone.utc)
    text = _text(error, arguments)
    for place in (folder, Path(tempfile.gettempdir())):
        path = place / f"mish-guard-crash-{now:%Y%m%dT%H%M%S}.md"
        try:
            files.write_atomically(path, text)
        except UnwritableFileError:
            continue
        return path
    return None


def _text(error: BaseException, arguments: Sequence[str]) -> str:
    trace = "".join(traceback.format_exception(error))
    versions = "\n".join(f"- {name} {_version(name)}" for name in _PACKAGES)
    return (
        f"# mish-guard crashed: {type(error).__name__}\n\n"
        f"Command: `mish-guard {shlex.join(arguments)}`\n\n"
        f"- Python {platform.python_version()} on {platform.platform()}\n{versions}\n\n"
        f"```\n{trace}```\n"
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
