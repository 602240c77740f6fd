"""What is opened of a saved model: which files, of which size, by which manifest."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from mish_guard.engines.emulator import fields, reader, specification
from mish_guard.engines.emulator.reader import Weights
from mish_guard.errors import UnreadableFileError
from tests import hostile


def test_a_package_is_its_specification_and_its_weights() -> None:
    model = reader.open_model(hostile.GOOD)
    assert (model.path, model.kind) == (hostile.GOOD, "mlProgram")
    assert "weights=" not in repr(model)
    weights = model.weights.file("@model_path/weights/weight.bin")
    assert model.weights.file("@model_path/weights/weight.bin") is weights
    assert model.weights.read("@model_path/weights/weight.bin", 64).tolist() == weights.read(64).tolist()


@pytest.mark.parametrize(
    ("folder", "name"),
    [(None, "@model_path/weights/weight.bin"), (PurePosixPath("Data"), "weights/weight.bin")],
)
def test_weights_lie_in_the_package(folder: PurePosixPath | None, name: str) -> None:
    with pytest.raises(UnreadableFileError, match=rf"names weights outside itself: '{name}'"):
        Weights(hostile.GOOD, folder).file(name)


@pytest.mark.parametrize("relative", ["", "/a", "//a", "a/../b", "..", "a\0b"])
def test_a_path_that_leaves_the_package_is_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(UnreadableFileError, match=f"points outside itself: {re.escape(repr(relative))}"):
        reader.inside(tmp_path, relative, 10)


def test_a_file_may_be_as_long_as_its_limit(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(10))
    assert reader.inside(tmp_path, "a/b", 10) == tmp_path / "a" / "b"
    with pytest.raises(UnreadableFileError, match="has 10 bytes; at most 9 are read"):
        reader.inside(tmp_path, "a/b", 9)
    with pytest.raises(UnreadableFileError, match="is no file"):
        reader.inside(tmp_path, "a", 10)
    with pytest.raises(UnreadableFileError, match="c' cannot be read: "):
        reader.inside(tmp_path, "a/c", 10)


@pytest.mark.parametrize("link", ["a", "a/b"])
def test_no_step_to_a_file_is_a_link(tmp_path: Path, link: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "b").write_text("x")
    package = tmp_path / "package"
    (package / link).parent.mkdir(parents=True)
    (package / link).symlink_to(tmp_path / "real" if link == "a" else tmp_path / "real" / "b")
    with pytest.raises(UnreadableFileError, match=f"{link}' is a link; a package must hold its files itself"):
        reader.inside(package, "a/b", 10)


def _of_version(folder: Path, version: int) -> Path:
    message = specification.model()
    message.specificationVersion = version
    message.identity.SetInParent()
    path = folder / "model.mlmodel"
    path.write_bytes(message.SerializeToString())
    return path


@pytest.mark.parametrize("version", [0, 11])
def test_versions_that_coremltools_does_not_write_are_refused(tmp_path: Path, version: int) -> None:
    with pytest.raises(UnreadableFileError, match=rf"has specification version {version}; 1 to 10 can be read"):
        reader.open_model(_of_version(tmp_path, version))


def test_a_file_that_holds_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.mlmodel").write_bytes(b"")
    with pytest.raises(UnreadableFileError, match="holds no model: its specification is empty"):
        reader.open_model(tmp_path / "empty.mlmodel")
    (tmp_path / "noise.mlmodel").write_bytes(b"\xff" * 40)
    with pytest.raises(UnreadableFileError, match="cannot be read as a Core ML model: "):
        reader.open_model(tmp_path / "noise.mlmodel")


def test_a_compiled_model_names_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "net.mlmodelc").mkdir()
    with pytest.raises(UnreadableFileError, match=r"is compiled: .* Give the \.mlpackage or \.mlmodel it came from"):
        reader.open_model(tmp_path / "net.mlmodelc")


def test_the_specification_lies_where_the_manifest_says(tmp_path: Path) -> None:
    package = tmp_path / "moved.mlpackage"
    shutil.copytree(hostile.GOOD, package)
    (package / "Data" / "com.apple.CoreML").rename(package / "Data" / "elsewhere")
    manifest = json.loads((package / "Manifest.json").read_text())
    entry = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
    entry["path"] = entry["path"].replace("com.apple.CoreML", "elsewhere")
    (package / "Manifest.json").write_text(json.dumps(manifest))
    model = reader.open_model(package)
    assert model.weights.read("@model_path/weights/weight.bin", 64).size > 0


def test_a_manifest_may_be_a_mebibyte_long(tmp_path: Path) -> None:
    package = tmp_path / "long.mlpackage"
    shutil.copytree(hostile.GOOD, package)
    text = (package / "Manifest.json").read_text()
    (package / "Manifest.json").write_text(text.ljust(2**20))
    reader.open_model(package)
    (package / "Manifest.json").write_text(text.ljust(2**20 + 1))
    with pytest.raises(UnreadableFileError, match="at most 1048576 are read"):
        reader.open_model(package)


@pytest.mark.parametrize("part", ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"])
def test_a_file_that_may_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    read = Path.open

    def refused(path: Path, *arguments: Any, **named: Any) -> Any:
        if path == hostile.GOOD / part:
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UnreadableFileError, match="Permission denied"):
        reader.open_model(hostile.GOOD)


def test_limits_are_those_that_a_model_of_any_phone_meets() -> None:
    assert (reader.MAX_SPECIFICATION, reader.MAX_WEIGHTS) == (2**29, 2**34)


def test_every_field_that_says_nothing_of_values_may_be_there() -> None:
    program = specification.model().mlProgram
    program.docString = "words"
    program.version = 1
    program.attributes["buildInfo"].docString = "who wrote it"
    function = program.functions["main"]
    function.attributes["FlexibleShapeInformation"].docString = "again"
    assert list(fields.overlooked(program, "program")) == []
    program.attributes["other"].docString = "?"
    function.attributes["other"].docString = "?"
    assert list(fields.overlooked(program, "program")) == [
        "program.functions.attributes[other]",
        "program.attributes[other]",
    ]
