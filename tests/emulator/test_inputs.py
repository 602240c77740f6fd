"""What a model says of its inputs beside their type: sizes that may vary, and what an input is that is not given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mish_guard
from mish_guard.engines.emulator import specification
from mish_guard.errors import ExitCode, UsageError
from tests.conftest import Invoke


def _network(feature: Callable[[Any], None]) -> Any:
    """ReLU as a neural network."""
    spec = specification.model()
    spec.specificationVersion = 4
    spec.neuralNetwork.arrayInputShapeMapping = 1
    spec.neuralNetwork.layers.add(name="relu", input=["x"], output=["y"]).activation.ReLU.SetInParent()
    _describe(spec, feature)
    return spec


def _program(feature: Callable[[Any], None]) -> Any:
    """ReLU, and two constants, as an ML program."""
    spec = specification.model()
    spec.specificationVersion = 8
    spec.mlProgram.version = 1
    function = spec.mlProgram.functions["main"]
    function.opset = "CoreML7"
    block = function.block_specializations["CoreML7"]
    rank = len(_described(feature).multiArrayType.shape) or 4
    _open(function.inputs.add(name="x"), rank)
    operation = block.operations.add(type="relu")
    operation.inputs["x"].arguments.add(name="x")
    _open(operation.outputs.add(name="y"), rank)
    for name, number, field, value in (("third", 11, "floats", 1 / 3), ("large", 23, "ints", 70_000)):
        constant = block.operations.add(type="const")
        for kind in (constant.outputs.add(name=name).type, constant.attributes["val"].type):
            kind.tensorType.dataType = number
        getattr(constant.attributes["val"].immediateValue.tensor, field).values.append(value)
    block.outputs.extend(["y", "third", "large"])
    _describe(spec, feature)
    return spec


def _described(feature: Callable[[Any], None]) -> Any:
    description = specification.model().description.input.add()
    feature(description.type)
    return description.type


def _describe(spec: Any, feature: Callable[[Any], None]) -> None:
    feature(spec.description.input.add(name="x").type)
    spec.description.output.add(name="y")


def _open(named: Any, rank: int) -> None:
    named.type.tensorType.dataType, named.type.tensorType.rank = 11, rank
    for _ in range(rank):
        named.type.tensorType.dimensions.add().unknown.variadic = False


def _range(kind: Any) -> None:
    kind.multiArrayType.shape.extend([1, 3])
    for low, high in ((2, 10), (3, 3)):
        kind.multiArrayType.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)


def _open_range(kind: Any) -> None:
    kind.multiArrayType.shape.extend([1, 3])
    for low, high in ((2, -1), (3, 3)):
        kind.multiArrayType.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)


def _enumeration(kind: Any) -> None:
    kind.multiArrayType.shape.extend([1, 3])
    for shape in ((1, 3), (4, 3)):
        kind.multiArrayType.enumeratedShapes.shapes.add(shape=shape)


def _image(kind: Any) -> None:
    kind.imageType.height = kind.imageType.width = 2
    kind.imageType.colorSpace = kind.imageType.ColorSpace.Value("RGB")


def _image_range(kind: Any) -> None:
    _image(kind)
    sizes = kind.imageType.imageSizeRange
    sizes.heightRange.lowerBound, sizes.heightRange.upperBound = 2, 4
    sizes.widthRange.lowerBound, sizes.widthRange.upperBound = 2, -1


def _image_sizes(kind: Any) -> None:
    _image(kind)
    for size in (2, 4):
        kind.imageType.enumeratedSizes.sizes.add(height=size, width=size)


SIZES: dict[str, tuple[Callable[[Any], None], list[tuple[int, ...]], list[tuple[int, ...]], str]] = {
    "range": (_range, [(2, 3), (10, 3)], [(1, 3), (11, 3), (2, 4)], r"\(2\.\.10, 3\)"),
    "open-range": (_open_range, [(2, 3), (99, 3)], [(1, 3), (2, 4)], r"\(2\.\., 3\)"),
    "enumeration": (_enumeration, [(1, 3), (4, 3)], [(2, 3), (1, 1, 3)], r"\(1, 3\) or \(4, 3\)"),
    "images": (
        _image_range,
        [(1, 3, 2, 2), (1, 3, 4, 99)],
        [(1, 3, 5, 2), (1, 3, 2, 1)],
        r", 2\.\.4, 2\.\.\)",
    ),
    "sizes-of-images": (_image_sizes, [(1, 3, 2, 2), (1, 3, 4, 4)], [(1, 3, 2, 4)], "or"),
}
MODELS = {"neuralnetwork": _network, "mlprogram": _program}


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("form", MODELS)
def test_an_input_has_one_of_the_sizes_that_the_model_allows(form: str, kind: str, tmp_path: Path) -> None:
    feature, taken, refused, spelled = SIZES[kind]
    model = _saved(MODELS[form](feature), tmp_path)
    for shape in taken:
        assert mish_guard.predict(model, {"x": np.ones(shape)}, profile="ane")["y"].shape == shape
    for shape in refused:
        with pytest.raises(UsageError, match=spelled):
            mish_guard.predict(model, {"x": np.ones(shape)}, profile="ane")


def _saved(spec: Any, folder: Path) -> Path:
    path = folder / "model.mlmodel"
    path.write_bytes(spec.SerializeToString())
    return path


def _with_default(kind: Any) -> None:
    kind.multiArrayType.shape.extend([1, 3])
    kind.multiArrayType.floatDefaultValue = 2.5


@pytest.mark.parametrize("form", MODELS)
def test_an_input_that_is_not_given_is_what_the_model_says(form: str, tmp_path: Path, invoke: Invoke) -> None:
    model = _saved(MODELS[form](_with_default), tmp_path)
    assert mish_guard.predict(model, {}, profile="ane")["y"].tolist() == [[2.5, 2.5, 2.5]]
    np.savez(tmp_path / "nothing.npz")
    out = tmp_path / "out.npz"
    ended = invoke("predict", model, "--input", tmp_path / "nothing.npz", "--profile", "ane", "--out", out)
    assert ended.code == ExitCode.PASS, ended.err
    assert np.load(out)["y"].tolist() == [[2.5, 2.5, 2.5]]


def test_a_constant_comes_out_as_exact_as_it_went_in(tmp_path: Path) -> None:
    outputs = mish_guard.predict(_saved(_program(_range), tmp_path), {"x": np.ones((2, 3))}, profile="ane")
    assert outputs["third"] == np.float32(1 / 3)
    assert outputs["large"] == 70_000
