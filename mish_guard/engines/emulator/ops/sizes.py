"""How many elements an operation is about to make, where its operands are small and ask for a large result.

A model is the file of a stranger: what no machine could hold is refused before numpy asks the machine for it. The
counts are those of the largest array on the way; what is not here makes no more than a few times what it was given.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops import elementwise, random
from mish_guard.engines.emulator.ops.base import ints

Operands = Mapping[str, Array]


def elements(op: str, operands: Operands) -> int:
    """The elements of the largest array that the operation makes; 0 where its operands bound them."""
    return _COUNTS[op](operands) if op in _COUNTS else 0


def _number(operands: Operands, name: str) -> int:
    return int(np.asarray(operands[name]).item())


def _pair(operands: Operands) -> int:
    """Two operands that broadcast."""
    x, y = np.shape(operands["x"]), np.shape(operands["y"])
    return 0 if x == y or () in (x, y) else math.prod(np.broadcast_shapes(x, y))


def _tile(operands: Operands) -> int:
    return int(np.size(operands["x"])) * math.prod(ints(operands["reps"]))


def _range(operands: Operands) -> int:
    start, end, step = (float(np.asarray(operands[name]).item()) for name in ("start", "end", "step"))
    return int((end - start) / step)


def _pad(operands: Operands) -> int:
    amounts = [0, 0] * operands["x"].ndim + ints(operands["pad"])
    pairs = zip(amounts[::-2], amounts[-2::-2], strict=False)
    return math.prod(size + sum(pair) for size, pair in zip(reversed(operands["x"].shape), pairs, strict=False))


def _resized(operands: Operands, height: int, width: int) -> int:
    """The width is resized first."""
    *lead, rows, _ = operands["x"].shape
    return math.prod([*lead, max(rows, height), width])


def _upsampled(operands: Operands) -> int:
    rows, columns = operands["x"].shape[-2:]
    scales = (float(np.asarray(operands.get(f"scale_factor_{axis}", 1)).item()) for axis in ("height", "width"))
    return _resized(operands, *(int(size * scale) for size, scale in zip((rows, columns), scales, strict=True)))


def _targets(operands: Operands) -> tuple[int, int]:
    return _number(operands, "target_size_height"), _number(operands, "target_size_width")


def _to_shape(operands: Operands) -> int:
    count, x = _number(operands, "resized_dims"), operands["x"]
    sizes = ints(operands["shape"])[-count:]
    return math.prod([*x.shape[: x.ndim - count], *map(max, sizes, x.shape[-count:])])


def _local(operands: Operands) -> int:
    return int(np.size(operands["x"])) * (_number(operands, "size") + 1)


def _written(operands: Operands) -> int:
    """A list grows to hold what is written to it."""
    places = ints(operands["index" if "index" in operands else "indices"])
    return (max(places, default=0) + 1) * int(np.size(operands["value"]))


_PAIRS = [name for name, each in elementwise.OPS.items() if [*inspect.signature(each).parameters] == ["x", "y"]]

_COUNTS: dict[str, Callable[[Operands], int]] = {
    **dict.fromkeys(_PAIRS, _pair),
    **dict.fromkeys(["fill", "nn_broadcast", *random.OPS], lambda operands: math.prod(ints(operands["shape"]))),
    "list_scatter": _written,
    "list_write": _written,
    "local_response_norm": _local,
    "make_list": lambda operands: math.prod(ints(operands["elem_shape"])) * _number(operands, "init_length"),
    "nn_local_response_norm": _local,
    "one_hot": lambda operands: np.size(operands["indices"]) * _number(operands, "one_hot_vector_size"),
    "pad": _pad,
    "range_1d": _range,
    "resize": _to_shape,
    "resize_bilinear": lambda operands: _resized(operands, *_targets(operands)),
    "resize_nearest_neighbor": lambda operands: _resized(operands, *_targets(operands)),
    "tile": _tile,
    "topk": lambda operands: _number(operands, "k"),
    "upsample_bilinear": _upsampled,
    "upsample_nearest_neighbor": _upsampled,
}
