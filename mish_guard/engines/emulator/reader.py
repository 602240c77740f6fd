"""A saved model as a file of a stranger: what is opened, how large it may be, and whether it hangs together.

Reads `.mlpackage` folders and `.mlmodel` files with the protobuf definitions in `specification`. What
cannot be trusted is one UnreadableFileError; nothing is written.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mish_guard.engines.emulator import specification
from mish_guard.engines.emulator.blobs import BlobFile
from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.specification import Message
from mish_guard.errors import UnreadableFileError

MAX_MANIFEST = 2**20
MAX_SPECIFICATION = 2**29
MAX_WEIGHTS = 2**34

# coremltools 9.0 writes specification versions 1 (iOS 11) to 10 (iOS 26).
VERSIONS = range(1, 11)

_MODEL_FOLDER = "@model_path/"


class Weights:
    """The weight files of one package; `folder` is None for a model that is a single file."""

    def __init__(self, package: Path, folder: PurePosixPath | None) -> None:
        self._package = package
        self._folder = folder
        self._files: dict[str, BlobFile] = {}

    def file(self, name: str) -> BlobFile:
        """The weight file that a model names; raises UnreadableFileError unless it lies in the package."""
        if name not in self._files:
            if self._folder is None or not name.startswith(_MODEL_FOLDER):
                msg = f"'{self._package}' names weights outside itself: {name!r}."
                raise UnreadableFileError(msg)
            relative = self._folder / name.removeprefix(_MODEL_FOLDER)
            self._files[name] = BlobFile(inside(self._package, str(relative), MAX_WEIGHTS))
        return self._files[name]

    def read(self, name: str, offset: int) -> Array:
        """The values of one blob, flat."""
        return self.file(name).read(offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as it was read: coremltools' protobuf message and where its weights lie."""

    path: Path
    spec: Message
    weights: Weights = field(repr=False)

    @property
    def kind(self) -> str:
        """The field of the message that holds the model."""
        return str(self.spec.WhichOneof("Type"))


def open_model(path: Path) -> Model:
    """The model saved at `path`, checked by `soundness`; raises UnreadableFileError."""
    from mish_guard.engines.emulator import soundness

    model = _opened(path)
    version = model.spec.specificationVersion
    if model.kind == "None":
        msg = f"'{path}' holds no model: its specification is empty."
        raise UnreadableFileError(msg)
    if version not in VERSIONS:
        msg = f"'{path}' has specification version {version}; {VERSIONS[0]} to {VERSIONS[-1]} can be read."
        raise UnreadableFileError(msg)
    soundness.check(model)
    return model


def inside(package: Path, relative: str, limit: int) -> Path:
    """The regular file at `relative`, which must lie in `package` without any link, at most `limit` bytes long."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or any(part == ".." or "\0" in part for part in parts):
        msg = f"'{package}' points outside itself: {relative!r}."
        raise UnreadableFileError(msg)
    for path in _steps(package, parts):
        if path.is_symlink():
            msg = f"'{path}' is a link; a package must hold its files itself."
            raise UnreadableFileError(msg)
    return checked(package.joinpath(*parts), limit)


def checked(path: Path, limit: int) -> Path:
    """`path`, a regular file of at most `limit` bytes."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        msg = f"'{path}' cannot be read: {error}."
        raise UnreadableFileError(msg) from error
    if not stat.S_ISREG(status.st_mode):
        msg = f"'{path}' is no file."
        raise UnreadableFileError(msg)
    if status.st_size > limit:
        msg = f"'{path}' has {status.st_size} bytes; at most {limit} are read."
        raise UnreadableFileError(msg)
    return path


def _steps(package: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    for count in range(1, len(parts) + 1):
        yield package.joinpath(*parts[:count])


def _opened(path: Path) -> Model:
    if path.suffix == ".mlmodelc":
        msg = f"'{path}' is compiled: it holds no specification any more. Give the .mlpackage or .mlmodel it came from."
        raise UnreadableFileError(msg)
    if not path.is_dir():
        return Model(path=path, spec=_specification(checked(path, MAX_SPECIFICATION)), weights=Weights(path, None))
    relative = PurePosixPath("Data") / _root(path)
    spec = _specification(inside(path, str(relative), MAX_SPECIFICATION))
    return Model(path=path, spec=spec, weights=Weights(path, relative.parent))


def _root(package: Path) -> str:
    """The path of the model's specification, from the package's manifest."""
    file = inside(package, "Manifest.json", MAX_MANIFEST)
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        msg = f"'{package}' is not a Core ML package: its manifest names no model ({type(error).__name__}: {error})."
        raise UnreadableFileError(msg) from error
    if not isinstance(root, str):
        msg = f"'{package}' points outside itself: {root!r}."
        raise UnreadableFileError(msg)
    return root


def _specification(path: Path) -> Message:
    from google.protobuf.message import DecodeError

    spec = specification.model()
    try:
        spec.ParseFromString(path.read_bytes())
    except (OSError, DecodeError, ValueError) as error:
        msg = f"'{path}' cannot be read as a Core ML model: {error}."
        raise UnreadableFileError(msg) from error
    return spec
