"""Read a saved model from disk: `.mlpackage` or `.mlmodel` → Graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mish_guard.engines.emulator import mlprogram, neuralnetwork
from mish_guard.engines.emulator.graph import Graph
from mish_guard.errors import UnreadableFileError, UnsupportedOpError


def load(path: Path) -> Graph:
    """The graph of the model saved at `path`.

    Raises UnreadableFileError if there is no readable model, UnsupportedOpError for a model the emulator cannot
    express.
    """
    spec = _spec(_specification_file(path))
    kind = spec.WhichOneof("Type")
    if kind == "mlProgram":
        return mlprogram.read(spec, path / "Data" / "com.apple.CoreML" / "weights")
    if kind == "neuralNetwork":
        return neuralnetwork.read(spec)
    msg = f"'{path}' holds a model of type '{kind}'; the emulator runs ML programs and neural networks."
    raise UnsupportedOpError(msg)


def _specification_file(path: Path) -> Path:
    """The file with the protobuf: the model itself, or the root item of the package's manifest."""
    if path.is_file():
        return path
    try:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, KeyError) as error:
        msg = f"'{path}' is not a Core ML package: {error!r}. Expected a folder with a Manifest.json, or a .mlmodel."
        raise UnreadableFileError(msg) from error
    return path / "Data" / str(root)


def _spec(path: Path) -> Any:
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        msg = f"'{path}' cannot be read as a Core ML model: {error}."
        raise UnreadableFileError(msg) from error
    return spec
