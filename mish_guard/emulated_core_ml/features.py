"""Between the features that coremltools passes in and out and the tensors of the emulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mish_guard.engines.emulator.graph import Array, Tensor
from mish_guard.engines.emulator.specification import Message
from mish_guard.errors import UnsupportedOpError, UsageError

if TYPE_CHECKING:
    from PIL import Image

# FeatureTypes.proto, ArrayFeatureType.ArrayDataType; what Core ML hands out for each.
_ARRAYS: dict[int, type[np.generic]] = {
    65552: np.float16,
    65568: np.float32,
    65600: np.float64,
    131080: np.int8,
    131104: np.int32,
}


def zeros(tensor: Tensor) -> Array:
    """A state at the beginning."""
    return np.zeros([size or 0 for size in tensor.shape or ()])


def feeds(described: Message, data: Mapping[str, object], inputs: Iterable[Tensor]) -> dict[str, Array]:
    """The inputs of a prediction as arrays in the shapes of the model."""
    wanted = {tensor.name: tensor for tensor in inputs}
    found: dict[str, Array] = {}
    for feature in described.input:
        if feature.name in data:
            found[feature.name] = _fed(feature, data[feature.name], wanted.get(feature.name))
    return found


def _fed(feature: Message, value: Any, tensor: Tensor | None) -> Array:
    if feature.type.WhichOneof("Type") == "imageType":
        return _pixels(feature, value)
    array = np.asarray(value)
    number = feature.type.multiArrayType.dataType
    if number in (65552, 131104, 131080):
        array = np.asarray(array.astype(_ARRAYS[number]))
    # Core ML has no scalars: a feature of one element stands for one.
    if tensor is not None and tensor.shape == () and array.size == 1:
        return array.reshape(())
    return array


def _pixels(feature: Message, image: Image.Image) -> Array:
    """(1, channels, height, width) of a PIL image."""
    kind = feature.type.imageType
    size = (int(kind.width), int(kind.height))
    if image.size != size and not kind.WhichOneof("SizeFlexibility"):
        msg = f"The image '{feature.name}' must be {size[0]} x {size[1]}, not {image.size[0]} x {image.size[1]}."
        raise UsageError(msg)
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim == 2:
        return pixels[None, None]
    ordered = pixels[..., ::-1] if kind.ColorSpace.Name(kind.colorSpace) == "BGR" else pixels
    return np.moveaxis(ordered, -1, 0)[None]


def output(described: Message, name: str, value: object) -> object:
    """A result as Core ML hands it out."""
    feature = next((each for each in described.output if each.name == name), None)
    if not isinstance(value, np.ndarray):
        return value
    kind = None if feature is None else feature.type.WhichOneof("Type")
    if kind == "imageType":
        return _image(feature.type.imageType, value)  # type: ignore[union-attr]
    if kind not in (None, "multiArrayType"):
        msg = f"The emulated Core ML has no outputs of type '{kind}' ('{name}')."
        raise UnsupportedOpError(msg)
    dtype = _ARRAYS.get(0 if feature is None else feature.type.multiArrayType.dataType, np.float32)
    array = value.astype(dtype)
    return array.reshape(1) if array.ndim == 0 else array


def _image(kind: Message, value: Array) -> Image.Image:
    from PIL import Image

    colours = kind.ColorSpace.Name(kind.colorSpace)
    pixels = value.reshape(value.shape[-3:])
    if colours == "GRAYSCALE_FLOAT16":
        return Image.fromarray(pixels[0].astype(np.float32), "F")
    levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    if colours == "GRAYSCALE":
        return Image.fromarray(levels[0], "L")
    ordered = levels[::-1] if colours == "BGR" else levels
    opaque = np.full((1, *ordered.shape[1:]), 255, np.uint8)
    return Image.fromarray(np.moveaxis(np.concatenate([ordered, opaque]), 0, -1), "RGBA")
