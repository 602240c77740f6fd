"""Layers that move, cut, repeat or make elements."""

from __future__ import annotations

import numpy as np

from mish_guard.engines.emulator.graph import Operand
from mish_guard.engines.emulator.neuralnetwork.plain import Translator, number, whole
from mish_guard.engines.emulator.neuralnetwork.settings import PREVIOUS, Layer, Settings, Step


def _concat(layer: Layer) -> list[Step]:
    axis = -5 if layer.settings.sequenceConcat else -3
    return [("concat", {"values": layer.inputs, "axis": np.asarray(axis)})]


def _concat_nd(layer: Layer) -> list[Step]:
    settings = layer.settings
    how = {"axis": np.asarray(settings.axis), "interleave": np.asarray(settings.interleave)}
    return [("concat", {"values": layer.inputs, **how})]


def _stack(layer: Layer) -> list[Step]:
    return [("stack", {"values": layer.inputs, "axis": np.asarray(layer.settings.axis)})]


def _split_nd(layer: Layer) -> list[Step]:
    settings = layer.settings
    operands: dict[str, Operand] = {"x": layer.input(0), "axis": np.asarray(settings.axis)}
    if settings.splitSizes:
        _ = settings.numSplits
        return [("split", {**operands, "split_sizes": whole(settings.splitSizes)})]
    return [("split", {**operands, "num_splits": np.asarray(int(settings.numSplits or len(layer.outputs)))})]


def _axes(op: str) -> Translator:
    return lambda layer: [(op, {"x": layer.input(0), "axes": whole(layer.settings.axes)})]


def _squeeze(layer: Layer) -> list[Step]:
    axes = list(layer.settings.axes)
    if layer.settings.squeezeAll:
        return [("squeeze", {"x": layer.input(0)})]
    return [("squeeze", {"x": layer.input(0), "axes": whole(axes)})]


def _transpose(layer: Layer) -> list[Step]:
    return [("transpose", {"x": layer.input(0), "perm": whole(layer.settings.axes)})]


def _reshape(layer: Layer) -> list[Step]:
    return [("reshape", {"x": layer.input(0), "shape": whole(layer.settings.targetShape)})]


def _reshape_dynamic(layer: Layer) -> list[Step]:
    return [("reshape", {"x": layer.input(0), "shape": layer.input(1)})]


def _reshape_like(layer: Layer) -> list[Step]:
    return [("shape", {"x": layer.input(1)}), ("reshape", {"x": layer.input(0), "shape": PREVIOUS})]


def _flatten(layer: Layer) -> list[Step]:
    return [("flatten2d", {"x": layer.input(0), "axis": np.asarray(layer.settings.axis)})]


def _tile(layer: Layer) -> list[Step]:
    reps: Operand = layer.input(1) if len(layer.inputs) > 1 else whole(layer.settings.reps)
    return [("tile", {"x": layer.input(0), "reps": reps})]


def _reverse(layer: Layer) -> list[Step]:
    axes = [axis for axis, turned in enumerate(layer.settings.reverseDim) if turned]
    return [("reverse", {"x": layer.input(0), "axes": whole(axes)})]


def _reverse_sequence(layer: Layer) -> list[Step]:
    axes = {
        "seq_axis": np.asarray(layer.settings.sequenceAxis),
        "batch_axis": np.asarray(layer.settings.batchAxis),
    }
    return [("reverse_sequence", {"x": layer.input(0), "lengths": layer.input(1), **axes})]


def _masks(settings: Settings) -> dict[str, Operand]:
    names = {"begin_mask": settings.beginMasks, "end_mask": settings.endMasks, "squeeze_mask": settings.squeezeMasks}
    given: dict[str, Operand] = {name: whole(mask) for name, mask in names.items() if mask}
    return {**given, "stride": whole(settings.strides)} if settings.strides else given


def _slice_static(layer: Layer) -> list[Step]:
    settings = layer.settings
    ends = {"begin": whole(settings.beginIds), "end": whole(settings.endIds)}
    return [("slice_by_index", {"x": layer.input(0), **ends, **_masks(settings)})]


def _slice_dynamic(layer: Layer) -> list[Step]:
    settings = layer.settings
    if len(layer.inputs) > 3:
        raise layer.unknown("strides or masks that are data")
    ends = settings.endIds  # written beside a third input too, which then counts
    end: Operand = layer.input(2) if len(layer.inputs) > 2 else whole(ends)
    return [("slice_by_index", {"x": layer.input(0), "begin": layer.input(1), "end": end, **_masks(settings)})]


def _slice(layer: Layer) -> list[Step]:
    settings = layer.settings
    axis = {"CHANNEL_AXIS": -3, "HEIGHT_AXIS": -2, "WIDTH_AXIS": -1}[settings.named("axis")]
    names = {"start": settings.startIndex, "end": settings.endIndex, "step": settings.stride or 1}
    operands: dict[str, Operand] = {name: np.asarray(int(value)) for name, value in names.items()}
    return [("nn_slice", {"x": layer.input(0), "axis": np.asarray(axis), **operands})]


def _slice_by_size(layer: Layer) -> list[Step]:
    settings = layer.settings
    operands: dict[str, Operand] = {"x": layer.input(0), "start": layer.input(1)}
    return [("nn_slice_by_size", {**operands, "size": np.asarray(settings.size), "axis": np.asarray(settings.axis)})]


def _sliding_windows(layer: Layer) -> list[Step]:
    settings = layer.settings
    sizes = {"size": np.asarray(int(settings.windowSize)), "stride": np.asarray(int(settings.step))}
    return [("sliding_windows", {"x": layer.input(0), "axis": np.asarray(settings.axis), **sizes})]


def _reorganize(layer: Layer) -> list[Step]:
    mode, size = layer.settings.named("mode"), np.asarray(int(layer.settings.blockSize))
    if mode == "PIXEL_SHUFFLE":
        return [("pixel_shuffle", {"x": layer.input(0), "upscale_factor": size})]
    if mode not in ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"):
        raise layer.unknown(mode)
    return [(mode.lower(), {"x": layer.input(0), "block_size": size})]


def borders(settings: Settings) -> list[int]:
    """Before and after, for each axis that is named."""
    return [int(amount) for border in settings.borderAmounts for amount in (border.startEdgeSize, border.endEdgeSize)]


def _padding(layer: Layer) -> list[Step]:
    settings = layer.settings
    kind = settings.which("PaddingType")
    modes = {"constant": "constant", "reflection": "reflect", "replication": "replicate"}
    if kind not in modes:
        raise layer.unknown("no kind of padding")
    operands: dict[str, Operand] = {"x": layer.input(0), "pad": whole(borders(settings.paddingAmounts))}
    if kind == "constant":
        operands["constant_val"] = number(settings.constant.value)
    return [("pad", {**operands, "mode": modes[kind]})]


def _constant_pad(layer: Layer) -> list[Step]:
    settings = layer.settings
    if settings.padToGivenOutputSizeMode:
        raise layer.unknown("padding to a given size")
    amounts: Operand = layer.input(1) if len(layer.inputs) > 1 else whole(settings.padAmounts)
    return [("pad", {"x": layer.input(0), "pad": amounts, "constant_val": number(settings.value)})]


def _crop(layer: Layer) -> list[Step]:
    if len(layer.inputs) > 1:
        raise layer.unknown("a reference to crop to")
    _ = layer.settings.offset
    amounts = borders(layer.settings.cropAmounts)
    return [("crop", {"x": layer.input(0), "crop_height": whole(amounts[:2]), "crop_width": whole(amounts[2:])})]


def _fill_static(layer: Layer) -> list[Step]:
    return [("fill", {"shape": whole(layer.settings.targetShape), "value": number(layer.settings.value)})]


def _fill_dynamic(layer: Layer) -> list[Step]:
    return [("fill", {"shape": layer.input(0), "value": number(layer.settings.value)})]


def _fill_like(layer: Layer) -> list[Step]:
    return [("fill_like", {"ref_tensor": layer.input(0), "value": number(layer.settings.value)})]


# What a random layer calls the parameters of the operation.
_RANDOM = {
    "Bernoulli": ("random_bernoulli", {"prob": "prob"}),
    "Normal": ("random_normal", {"mean": "mean", "stddev": "stdDev"}),
    "Uniform": ("random_uniform", {"low": "minVal", "high": "maxVal"}),
}


def _random(kind: str) -> Translator:
    op, fields = _RANDOM[kind]

    def steps(layer: Layer) -> list[Step]:
        settings = layer.settings
        shape: Operand = layer.input(0) if layer.inputs else whole(settings.outputShape)
        given = {name: number(getattr(settings, field)) for name, field in fields.items()}
        return [(op, {"shape": shape, **given, "seed": np.asarray(settings.seed)})]

    return steps


def _broadcast_static(layer: Layer) -> list[Step]:
    return [("nn_broadcast", {"x": layer.input(0), "shape": whole(layer.settings.targetShape)})]


def _broadcast_dynamic(layer: Layer) -> list[Step]:
    return [("nn_broadcast", {"x": layer.input(0), "shape": layer.input(1)})]


def _broadcast_like(layer: Layer) -> list[Step]:
    return [("shape", {"x": layer.input(1)}), ("nn_broadcast", {"x": layer.input(0), "shape": PREVIOUS})]


def _range_static(layer: Layer) -> list[Step]:
    settings = layer.settings
    ends = {"start": number(settings.startValue), "end": number(settings.endValue)}
    return [("range_1d", {**ends, "step": number(settings.stepSizeValue)})]


def _range_dynamic(layer: Layer) -> list[Step]:
    settings = layer.settings
    start: Operand = layer.input(1) if len(layer.inputs) > 1 else number(settings.startValue)
    step: Operand = layer.input(2) if len(layer.inputs) > 2 else number(settings.stepSizeValue)
    _ = settings.startValue, settings.stepSizeValue
    return [("range_1d", {"end": layer.input(0), "start": start, "step": step})]


def _upsample(layer: Layer) -> list[Step]:
    settings = layer.settings
    height, width = [float(each) for each in settings.fractionalScalingFactor or settings.scalingFactor]
    operands: dict[str, Operand] = {"x": layer.input(0)}
    operands |= {"scale_factor_height": number(height), "scale_factor_width": number(width)}
    mode, linear = settings.named("mode"), settings.named("linearUpsampleMode")
    if mode == "NN":
        return [("upsample_nearest_neighbor", operands)]
    operands["align_corners"] = np.asarray(linear == "ALIGN_CORNERS_TRUE")
    if linear == "DEFAULT":
        operands["half_pixel_centers"] = np.asarray(False)
    return [("upsample_bilinear", operands)]


_SAMPLING = {
    "STRICT_ALIGN_ENDPOINTS_MODE": "STRICT_ALIGN_CORNERS",
    "ALIGN_ENDPOINTS_MODE": "ALIGN_CORNERS",
    "UPSAMPLE_MODE": "DEFAULT",
    "ROI_ALIGN_MODE": "OFFSET_CORNERS",
}


def _resize_bilinear(layer: Layer) -> list[Step]:
    settings = layer.settings
    height, width = [np.asarray(int(size)) for size in settings.targetSize]
    mode = _SAMPLING[settings.mode.named("samplingMethod")]
    sizes: dict[str, Operand] = {"target_size_height": height, "target_size_width": width}
    return [("resize_bilinear", {"x": layer.input(0), **sizes, "sampling_mode": mode})]


def _crop_resize(layer: Layer) -> list[Step]:
    settings = layer.settings
    height, width = [np.asarray(int(size)) for size in settings.targetSize]
    how: dict[str, Operand] = {
        "target_height": height,
        "target_width": width,
        "normalized_coordinates": np.asarray(settings.normalizedCoordinates),
        "spatial_scale": number(settings.spatialScale),
        "box_coordinate_mode": settings.boxIndicesMode.named("boxMode"),
        "sampling_mode": _SAMPLING[settings.mode.named("samplingMethod")],
    }
    images: Step = ("squeeze", {"x": layer.input(0), "axes": whole([0])})
    return [images, ("crop_resize", {"x": PREVIOUS, "roi": layer.input(1), **how})]


def _nms(layer: Layer) -> list[Step]:
    settings = layer.settings
    if len(layer.inputs) > 2:
        raise layer.unknown("thresholds that are data")
    limits: dict[str, Operand] = {
        "iou_threshold": number(settings.iouThreshold),
        "score_threshold": number(settings.scoreThreshold),
        "max_boxes": np.asarray(int(settings.maxBoxes)),
        "per_class_suppression": np.asarray(settings.perClassSuppression),
    }
    return [("non_maximum_suppression", {"boxes": layer.input(0), "scores": layer.input(1), **limits})]


SHAPES: dict[str, Translator] = {
    "NonMaximumSuppression": _nms,
    "broadcastToDynamic": _broadcast_dynamic,
    "broadcastToLike": _broadcast_like,
    "broadcastToStatic": _broadcast_static,
    "concat": _concat,
    "concatND": _concat_nd,
    "constantPad": _constant_pad,
    "crop": _crop,
    "cropResize": _crop_resize,
    "expandDims": _axes("expand_dims"),
    "fillDynamic": _fill_dynamic,
    "fillLike": _fill_like,
    "fillStatic": _fill_static,
    "flattenTo2D": _flatten,
    "padding": _padding,
    **{f"random{kind}{shape}": _random(kind) for kind in _RANDOM for shape in ("Dynamic", "Static")},
    "rangeDynamic": _range_dynamic,
    "rangeStatic": _range_static,
    "rankPreservingReshape": _reshape,
    "reorganizeData": _reorganize,
    "reshapeDynamic": _reshape_dynamic,
    "reshapeLike": _reshape_like,
    "reshapeStatic": _reshape,
    "resizeBilinear": _resize_bilinear,
    "reverse": _reverse,
    "reverseSeq": _reverse_sequence,
    "slice": _slice,
    "sliceBySize": _slice_by_size,
    "sliceDynamic": _slice_dynamic,
    "sliceStatic": _slice_static,
    "slidingWindows": _sliding_windows,
    "splitND": _split_nd,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "upsample": _upsample,
}
