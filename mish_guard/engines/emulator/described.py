"""What the description of a model says of an input beside its type: the sizes it may have, and its value by default."""

from __future__ import annotations

import dataclasses

from mish_guard.engines.emulator.graph import Sizes, Tensor
from mish_guard.engines.emulator.specification import Message


def of(spec: Message, function: str = "") -> Message:
    """The description of a model, or of one function of it: its inputs and outputs."""
    wanted = function or spec.description.defaultFunctionName
    named: Message | None = next((each for each in spec.description.functions if each.name == wanted), None)
    return named or spec.description


def described(tensor: Tensor, feature: Message) -> Tensor:
    """An input with the sizes and the default value that its feature declares."""
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        return dataclasses.replace(tensor, sizes=_image_sizes(feature.type.imageType))
    if kind != "multiArrayType":
        return tensor
    array = feature.type.multiArrayType
    return dataclasses.replace(tensor, sizes=_array_sizes(array), default=_default(array))


def _array_sizes(array: Message) -> tuple[Sizes, ...]:
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "shapeRange":
        return (tuple(_span(each) for each in array.shapeRange.sizeRanges),)
    if kind == "enumeratedShapes":
        return tuple(tuple((int(size), int(size)) for size in each.shape) for each in array.enumeratedShapes.shapes)
    return ()


def _image_sizes(image: Message) -> tuple[Sizes, ...]:
    """The last two axes."""
    kind = image.WhichOneof("SizeFlexibility")
    if kind == "imageSizeRange":
        return ((_span(image.imageSizeRange.heightRange), _span(image.imageSizeRange.widthRange)),)
    if kind == "enumeratedSizes":
        return tuple(
            tuple((int(size), int(size)) for size in (each.height, each.width)) for each in image.enumeratedSizes.sizes
        )
    return ()


def _span(sizes: Message) -> tuple[int, int | None]:
    """The least and the largest size; a negative largest one is none."""
    return int(sizes.lowerBound), int(sizes.upperBound) if sizes.upperBound >= 0 else None


def _default(array: Message) -> tuple[float, tuple[int, ...]] | None:
    kind = array.WhichOneof("defaultOptionalValue")
    return (float(getattr(array, kind)), tuple(map(int, array.shape))) if kind else None
