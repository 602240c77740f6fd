"""A package is the file of a stranger: whatever is in it, it is read, or refused in one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import package
from mish_guard.engines.emulator.blobs import BlobFile
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
    from coremltools.proto import Model_pb2

    message = Model_pb2.Model()
    _network(message)
    path = tmp_path / "net.mlmodel"
    path.write_bytes(message.SerializeToString())
    assert [node.op for node in package.load(path).nodes] == ["softplus"]
    edit(message)
    path.write_bytes(message.SerializeToString())
    with pytest.raises(UnreadableFileError, match=complaint):
        package.load(path)


VALUES: dict[str, Any] = {
    "fp16": np.linspace(-3, 3, 9).astype(np.float16).view(np.uint16),
    "float": np.linspace(-3, 3, 7).astype(np.float32),
    "int8": np.arange(-5, 6, dtype=np.int8),
    "uint8": np.arange(250, 256, dtype=np.uint8),
    "int16": np.arange(-400, -390, dtype=np.int16),
    "int32": np.arange(-7, 4, dtype=np.int32) * 10**8,
    "int4": np.arange(-8, 7, dtype=np.int8),
    "uint4": np.arange(15, dtype=np.uint8),
    "uint6": np.arange(11, dtype=np.uint8) * 6,
    "uint3": np.arange(11, dtype=np.uint8) % 8,
    "uint2": np.arange(7, dtype=np.uint8) % 4,
    "uint1": np.arange(13, dtype=np.uint8) % 2,
}


def test_weights_read_back_as_coremltools_wrote_them(tmp_path: Path) -> None:
    storage = pytest.importorskip("coremltools.libmilstoragepython")
    path = tmp_path / "weight.bin"
    writer = storage._BlobStorageWriter(str(path))
    offsets = {name: getattr(writer, f"write_{name}_data")(values) for name, values in VALUES.items()}
    del writer
    for name, values in VALUES.items():
        read = BlobFile(path).read(offsets[name])
        assert (read.view(np.uint16) if name == "fp16" else read).tolist() == values.tolist(), name
