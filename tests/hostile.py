"""Packages as a stranger could write them: each made by editing a good one."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mish_guard import files
from mish_guard.engines.emulator import specification

GOOD = files.DATA / "controls" / "softplus-mish-k3-8x8x32.mlpackage"
SPECIFICATION = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS = Path("Data/com.apple.CoreML/weights/weight.bin")

Edit = Callable[[Path], Any]


def spec(edit: Callable[[Any], Any]) -> Edit:
    """Edit the protobuf of a package."""

    def apply(package: Path) -> None:
        message = specification.model()
        message.ParseFromString((package / SPECIFICATION).read_bytes())
        edit(message)
        (package / SPECIFICATION).write_bytes(message.SerializeToString())

    return apply


def block(edit: Callable[[Any], Any]) -> Edit:
    """Edit the block of the only function."""

    def apply(message: Any) -> None:
        (function,) = message.mlProgram.functions.values()
        edit(function.block_specializations[function.opset])

    return spec(apply)


def operation(kind: str, edit: Callable[[Any], Any]) -> Edit:
    """Edit the first operation of this kind."""
    return block(lambda body: edit(next(each for each in body.operations if each.type == kind)))


def blob_offset(offset: int) -> Edit:
    def apply(body: Any) -> None:
        _first_blob(body).blobFileValue.offset = offset

    return block(apply)


def blob_file(name: str) -> Edit:
    def apply(body: Any) -> None:
        _first_blob(body).blobFileValue.fileName = name

    return block(apply)


def _first_blob(body: Any) -> Any:
    values = (each.attributes["val"] for each in body.operations if each.type == "const")
    return next(value for value in values if value.WhichOneof("value") == "blobFileValue")


def manifest(content: Any) -> Edit:
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    raw = text if isinstance(text, bytes) else text.encode()
    return lambda package: (package / "Manifest.json").write_bytes(raw)


def root(path: Any) -> Edit:
    return manifest({"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": path}}})


def patched(offset: int, data: bytes) -> Edit:
    def apply(package: Path) -> None:
        raw = bytearray((package / WEIGHTS).read_bytes())
        raw[offset : offset + len(data)] = data
        (package / WEIGHTS).write_bytes(raw)

    return apply


def cut(file: Path, size: int) -> Edit:
    return lambda package: os.truncate(package / file, size)


def linked(file: Path) -> Edit:
    def apply(package: Path) -> None:
        elsewhere = package.parent / "elsewhere"
        shutil.move(package / file, elsewhere)
        (package / file).symlink_to(elsewhere)

    return apply


def replaced_by_pipe(package: Path) -> None:
    (package / WEIGHTS).unlink()
    os.mkfifo(package / WEIGHTS)


def cycle(body: Any) -> None:
    first = next(each for each in body.operations if each.type == "softplus")
    first.inputs["x"].arguments[0].name = "activated"


def undefined(each: Any) -> None:
    each.inputs["x"].arguments[0].name = "nowhere"


def twice(body: Any) -> None:
    body.operations.append(body.operations[-1])


def without_value(body: Any) -> None:
    del body.operations[0].attributes["val"]


def huge_input(message: Any) -> None:
    message.description.input[0].type.multiArrayType.shape[:] = [10**9]


def huge_result(each: Any) -> None:
    each.outputs[0].type.tensorType.dimensions[1].constant.size = 10**9


def huge_constant(body: Any) -> None:
    tensor = body.operations[1].attributes["val"].type.tensorType
    tensor.dimensions[0].constant.size = 10**9


def other_shape(body: Any) -> None:
    _first_blob(body).type.tensorType.dimensions[0].constant.size = 7


def other_type(body: Any) -> None:
    _first_blob(body).type.tensorType.dataType = 11


def short_constant(body: Any) -> None:
    """A list of two numbers that says it has three."""
    body.operations[1].attributes["val"].type.tensorType.dimensions[0].constant.size = 3


def nested(body: Any) -> None:
    inner = body.operations[-1]
    for _ in range(20):
        inner = inner.blocks.add().operations.add()
        inner.type = "cond"


def unknown_output(message: Any) -> None:
    message.description.output[0].name = "nowhere"


def other_input(message: Any) -> None:
    message.description.input[0].name = "y"


def version(number: int) -> Edit:
    return spec(lambda message: setattr(message, "specificationVersion", number))


HOSTILE: dict[str, tuple[Edit, str]] = {
    "weights-missing": (lambda package: (package / WEIGHTS).unlink(), "cannot be read"),
    "weights-cut-in-a-blob": (cut(WEIGHTS, 500), "claims"),
    "weights-cut-in-the-header": (cut(WEIGHTS, 7), "ends inside its header"),
    "weights-empty": (cut(WEIGHTS, 0), "ends inside its header"),
    "weights-linked": (linked(WEIGHTS), "is a link"),
    "weights-a-pipe": (replaced_by_pipe, "is no file"),
    "weights-of-another-version": (patched(4, struct.pack("<I", 9)), "version 9"),
    "weights-without-sentinel": (patched(64, b"\0\0\0\0"), "there is no blob at 64"),
    "weights-of-unknown-type": (patched(68, struct.pack("<I", 99)), "there is no blob at 64"),
    "weights-larger-than-the-file": (patched(72, struct.pack("<Q", 2**63)), "claims"),
    "weights-that-start-behind-the-file": (patched(80, struct.pack("<Q", 2**40)), "claims"),
    "weights-all-padding": (patched(88, struct.pack("<Q", 2**40)), "hold 0 elements"),
    "blob-past-the-end": (blob_offset(2**40), "ends inside"),
    "blob-past-every-end": (blob_offset(2**63), "ends inside"),
    "blob-between-two-places": (blob_offset(65), "cannot be"),
    "blob-in-the-header": (blob_offset(0), "cannot be"),
    "blob-file-outside": (blob_file("@model_path/../../../etc/passwd"), "points outside itself"),
    "blob-file-absolute": (blob_file("/etc/passwd"), "names weights outside itself"),
    "blob-file-with-a-zero": (blob_file("@model_path/weights/\0"), "points outside itself"),
    "blob-file-a-folder": (blob_file("@model_path/weights"), "is no file"),
    "blob-of-another-shape": (block(other_shape), "its weights hold"),
    "blob-of-another-type": (block(other_type), "another type"),
    "graph-with-a-cycle": (block(cycle), "a cycle"),
    "graph-with-a-loose-end": (operation("tanh", undefined), "which nothing makes"),
    "graph-with-one-name-twice": (block(twice), "made twice"),
    "graph-without-a-function": (spec(lambda message: message.mlProgram.functions.clear()), "no function"),
    "graph-without-a-block": (
        spec(lambda message: setattr(next(iter(message.mlProgram.functions.values())), "opset", "none")),
        "no block",
    ),
    "graph-nested-deep": (block(nested), "nested"),
    "constant-without-a-value": (block(without_value), "no value"),
    "constant-too-short": (block(short_constant), "declares the shape (3,)"),
    "output-unknown": (spec(unknown_output), "makes its output 'nowhere'"),
    "output-of-the-block-unknown": (block(lambda body: body.outputs.append("nowhere")), "makes its output 'nowhere'"),
    "input-unknown": (spec(other_input), "takes no 'y'"),
    "shape-of-the-input-huge": (spec(huge_input), "more than"),
    "shape-of-a-result-huge": (operation("mul", huge_result), "more than"),
    "shape-of-a-constant-huge": (block(huge_constant), "more than"),
    "manifest-a-list": (manifest([1, 2]), "manifest names no model"),
    "manifest-a-number": (manifest("7"), "manifest names no model"),
    "manifest-deep": (manifest("[" * 100_000), "manifest names no model"),
    "manifest-not-text": (manifest(b"\xff\xfe\x00"), "manifest names no model"),
    "manifest-without-the-root": (manifest({"itemInfoEntries": {}}), "manifest names no model"),
    "manifest-with-a-list-as-key": (
        manifest({"rootModelIdentifier": [1], "itemInfoEntries": {}}),
        "manifest names no model",
    ),
    "manifest-missing": (lambda package: (package / "Manifest.json").unlink(), "cannot be read"),
    "manifest-linked": (linked(Path("Manifest.json")), "is a link"),
    "root-outside": (root("../../outside"), "points outside itself"),
    "root-absolute": (root("/etc/passwd"), "points outside itself"),
    "root-a-number": (root(7), "points outside itself"),
    "root-a-folder": (root("com.apple.CoreML"), "is no file"),
    "data-linked": (linked(Path("Data")), "is a link"),
    "specification-linked": (linked(SPECIFICATION), "is a link"),
    "specification-empty": (cut(SPECIFICATION, 0), "is empty"),
    "specification-cut": (cut(SPECIFICATION, 1000), "cannot be read as a Core ML model"),
    "specification-noise": (
        lambda package: (package / SPECIFICATION).write_bytes(bytes(range(256)) * 4),
        "cannot be read as a Core ML model",
    ),
    "specification-too-large": (cut(SPECIFICATION, 2**40), "at most"),
    "version-999": (version(999), "specification version 999"),
    "version-0": (version(0), "specification version 0"),
    "version-negative": (version(-1), "specification version -1"),
}


def made(name: str, folder: Path) -> Path:
    """The hostile package called `name`, in `folder`."""
    package = folder / "model.mlpackage"
    shutil.copytree(GOOD, package)
    HOSTILE[name][0](package)
    return package


def listing(folder: Path) -> list[tuple[str, int, int]]:
    """Everything in a folder with its size and time of change."""
    found = sorted(folder.rglob("*"))
    return [(str(each.relative_to(folder)), each.lstat().st_size, each.lstat().st_mtime_ns) for each in found]
