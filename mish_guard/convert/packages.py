"""What a witness leaves, taken over by the court: copied into a folder that the witness does not know."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from mish_guard.errors import ConversionError

# A saved model of the matrix has a few files and megabytes.
_MOST_FILES = 1000
_MOST_BYTES = 1 << 30


def take(left: Path, kept: Path) -> Path:
    """Copy the saved model `left` to `kept`; raises ConversionError for anything but regular files within bounds."""
    if not os.path.lexists(left):
        msg = "the conversion left no package"
        raise ConversionError(msg)
    count = size = 0
    for path in _entries(left):
        mode = path.lstat()
        if not (stat.S_ISREG(mode.st_mode) or stat.S_ISDIR(mode.st_mode)):
            msg = f"the package holds '{path.name}', which is neither a file nor a folder"
            raise ConversionError(msg)
        count, size = count + 1, size + mode.st_size
        if count > _MOST_FILES or size > _MOST_BYTES:
            msg = f"the package has more than {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB"
            raise ConversionError(msg)
    if left.is_dir():
        shutil.copytree(left, kept, symlinks=True)
    else:
        shutil.copyfile(left, kept, follow_symlinks=False)
    return kept


def _entries(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for entry in sorted(path.iterdir()):
            yield from _entries(entry)
