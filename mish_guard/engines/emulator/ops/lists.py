"""Lists of tensors, class labels, and the choice of boxes: results that are more than an array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops.base import Number, Operation, Several, ints


class Held(list[Array]):
    """A list of tensors: one value, where a tuple is several results."""


def make_list(
    *, elem_shape: Several, init_length: Number = 1, dynamic_length: Number = True, dtype: str = "fp32"
) -> Held:
    """So many elements of zeros; an axis whose size is only known later is left out until it is written."""
    del dynamic_length, dtype
    parts = elem_shape if isinstance(elem_shape, tuple) else np.atleast_1d(np.asarray(elem_shape))
    sizes = [int(np.asarray(each).item()) for each in parts]
    return Held(np.zeros(sizes) for _ in range(int(np.asarray(init_length).item())))


def list_write(*, ls: Held, index: Number, value: Array) -> Held:
    return _put(ls, [int(np.asarray(index).item())], [value])


def list_scatter(*, ls: Held, indices: Array, value: Array) -> Held:
    return _put(ls, ints(indices), list(value))


def _put(ls: Held, places: list[int], values: list[Array]) -> Held:
    """A list grows to hold what is written to it."""
    elements = list(ls)
    for place, value in zip(places, values, strict=True):
        elements.extend(np.zeros_like(value) for _ in range(place + 1 - len(elements)))
        elements[place] = value
    return Held(elements)


def list_read(*, ls: Held, index: Number) -> Array:
    return ls[int(np.asarray(index).item())]


def list_gather(*, ls: Held, indices: Array) -> Array:
    return np.stack([ls[place] for place in ints(indices)])


def list_length(*, ls: Held) -> Array:
    return np.asarray(len(ls))


def classify(*, probabilities: Array, classes: Iterable[object]) -> tuple[object, dict[object, float]]:
    """The most probable class, and the probability of each."""
    labels = [label.item() if hasattr(label, "item") else label for label in classes]
    flat = probabilities.reshape(-1)
    return labels[int(np.argmax(flat))], {label: float(share) for label, share in zip(labels, flat, strict=True)}


def non_maximum_suppression(
    *,
    boxes: Array,
    scores: Array,
    iou_threshold: Number,
    max_boxes: Number,
    score_threshold: Number = -np.inf,
    per_class_suppression: Number = False,
) -> tuple[Array, Array, Array, Array]:
    """The best boxes (centre, size) that do not overlap a better one, padded to `max_boxes`."""
    most = int(max_boxes)
    kept = [
        _kept(each, score, float(iou_threshold), float(score_threshold), bool(per_class_suppression))[:most]
        for each, score in zip(boxes, scores, strict=True)
    ]
    places = np.full((len(boxes), most), -1, dtype=np.int64)
    chosen = np.zeros((len(boxes), most, 4))
    rated = np.zeros((len(boxes), most, scores.shape[-1]))
    for batch, best in enumerate(kept):
        places[batch, : len(best)] = best
        chosen[batch, : len(best)] = boxes[batch][best]
        rated[batch, : len(best)] = scores[batch][best]
    return chosen, rated, places, np.array([len(best) for best in kept])


def _kept(boxes: Array, scores: Array, overlap: float, least: float, per_class: bool) -> list[int]:
    top, owner = scores.max(axis=-1), scores.argmax(axis=-1)
    kept: list[int] = []
    for place in np.argsort(-top, kind="stable"):
        rivals = [other for other in kept if not per_class or owner[other] == owner[place]]
        if top[place] >= least and all(_overlap(boxes[place], boxes[other]) <= overlap for other in rivals):
            kept.append(int(place))
    return kept


def _overlap(one: Array, other: Array) -> float:
    """Intersection over union."""
    low = np.maximum(one[:2] - one[2:] / 2, other[:2] - other[2:] / 2)
    high = np.minimum(one[:2] + one[2:] / 2, other[:2] + other[2:] / 2)
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    total = float(np.prod(one[2:]) + np.prod(other[2:])) - shared
    return shared / total if total > 0 else 0.0


OPS: dict[str, Operation] = {
    "classify": classify,
    "list_gather": list_gather,
    "list_length": list_length,
    "list_read": list_read,
    "list_scatter": list_scatter,
    "list_write": list_write,
    "make_list": make_list,
    "non_maximum_suppression": non_maximum_suppression,
}
