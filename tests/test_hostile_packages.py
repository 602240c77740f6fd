"""A package is the file of a stranger: whatever is in it, it is read, or refused in one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mish_guard.engines.emulator import package, specification
from mish_guard.errors import ExitCode, UnreadableFileError
from tests import hostile


@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_a_hostile_package_is_one_clear_error(name: str, tmp_path: Path) -> None:
    path = hostile.made(name, tmp_path)
    before = hostile.listing(tmp_path)
    with pytest.raises(UnreadableFileError) as caught:
        package.load(path)
    assert hostile.HOSTILE[name][1] in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert hostile.listing(tmp_path) == before


def test_the_package_that_is_edited_is_good(tmp_path: Path) -> None:
    (tmp_path / "link.mlpackage").symlink_to(hostile.GOOD)
    for path in (hostile.GOOD, tmp_path / "link.mlpackage"):
        assert [node.op for node in package.load(path).nodes][:2] == ["conv", "softplus"]


@pytest.mark.parametrize("name", ["nowhere.mlpackage", "nowhere.mlmodel", "compiled.mlmodelc", "folder", "no\0de"])
def test_what_is_no_model_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnreadableFileError):
        package.load(tmp_path / name)


def _network(message: Any) -> None:
    message.specificationVersion = 4
    message.neuralNetwork.arrayInputShapeMapping = 1  # arrays as they are
    message.description.input.add(name="x").type.multiArrayType.shape[:] = [3]
    message.description.output.add(name="y")
    layer = message.neuralNetwork.layers.add(name="first", input=["x"], output=["y"])
    layer.activation.softplus.SetInParent()


def _loose(message: Any) -> None:
    message.neuralNetwork.layers[0].input[0] = "z"


def _circle(message: Any) -> None:
    _loose(message)
    message.neuralNetwork.layers.add(name="second", input=["y"], output=["z"]).activation.softplus.SetInParent()


def _torn(message: Any) -> None:
    product = message.neuralNetwork.layers[0].innerProduct
    product.outputChannels, product.inputChannels = 4, 3


NETWORKS = [
    (_loose, "uses 'z', which nothing makes"),
    (_circle, "a cycle"),
    (lambda message: message.description.output.add(name="w"), "makes its output 'w'"),
    (lambda message: message.description.input[0].type.multiArrayType.shape.append(10**9), "more than"),
    (lambda message: message.description.input[0].type.multiArrayType.shape.append(-1), "has the shape"),
    (_torn, "holds 0 weights"),
]


@pytest.mark.parametrize(("edit", "complaint"), NETWORKS)
def test_a_hostile_neural_network_is_one_clear_error(edit: Any, complaint: str, tmp_path: Path) -> None:
    message = specification.model()
    _network(message)
    path = tmp_path / "net.mlmodel"
    path.write_bytes(message.SerializeToString())
    assert [node.op for node in package.load(path).nodes] == ["softplus"]
    edit(message)
    path.write_bytes(message.SerializeToString())
    with pytest.raises(UnreadableFileError, match=complaint):
        package.load(path)
