"""The outputs of the headline cells at every half-precision input, so that a report can draw what happened.

They lie in a file beside the results. Nothing is judged by them, and none is shown that is not what was judged: the
digest of a curve is the digest of the cell's figures. An output is stored as the step from the one before, which for
a function without jumps is a small number, and packed.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mish_guard import files
from mish_guard.errors import UnreadableFileError
from mish_guard.numerics import figures, fp16
from mish_guard.records import Document, Run, Step
from mish_guard.results import run_file

Half = NDArray[np.float16]

NAME = "curves.json"
COUNT = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Every operation of a model at the input `x`, in the order of its graph."""

    x: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Outputs by cell, float16 (65536,): of the finite inputs in ascending order, then of those that are not finite.

    `bars` are the largest errors, in units in the last place, that accuracies measured on silicon allow an emulated
    cell, by cell and binade; a cell without error bars has none.
    """

    outputs: Mapping[str, Half] = field(default_factory=dict)
    traces: Mapping[str, Trace] = field(default_factory=dict)
    bars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def text_of(curves: Curves) -> str:
    """The file, sealed against truncation as results are."""
    document = {
        "outputs": {cell: pack(values) for cell, values in curves.outputs.items()},
        "traces": {
            cell: {"x": trace.x, "steps": [_step_to_json(step) for step in trace.steps]}
            for cell, trace in curves.traces.items()
        },
        "bars": curves.bars,
    }
    return files.readable_json(run_file.sealed(document))


def read(path: Path, run: Run) -> Curves:
    """The curves in a file that belong to `run`; raises UnreadableFileError for a file that is not as written.

    A file that is not there holds none.
    """
    if not path.exists():
        return Curves()
    document = run_file.opened(files.read_json(path), path)
    files.validate(document, "curves", path)
    outputs = {cell: _unpacked(cell, packed, path) for cell, packed in document["outputs"].items()}
    return Curves(
        outputs={cell: values for cell, values in outputs.items() if _belongs(cell, values, run)},
        traces={cell: _trace(each) for cell, each in document["traces"].items()},
        bars=document.get("bars", {}),
    )


def pack(values: Half) -> str:
    """Outputs as text."""
    bits = np.ascontiguousarray(values).view(np.uint16)
    steps = np.diff(bits, prepend=np.uint16(0)).astype("<u2")
    return base64.b64encode(zlib.compress(steps.tobytes())).decode()


def unpack(packed: str) -> Half:
    """The inverse of `pack`; raises ValueError for what it cannot have made."""
    size = 2 * COUNT
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(content) != size:
        msg = f"{len(content)} bytes, expected {size}"
        raise ValueError(msg)
    return np.cumsum(np.frombuffer(content, "<u2"), dtype=np.uint16).view(np.float16)


def finite(values: Half) -> Half:
    """The outputs of the 63,488 finite inputs, in the order of `fp16.finite_values`."""
    return values[: len(fp16.finite_values())]


def _unpacked(cell: str, packed: str, path: Path) -> Half:
    try:
        return unpack(packed)
    except ValueError as error:
        msg = f"'{path}' does not hold the outputs of {files.printable(cell)}: {error}. Measure again."
        raise UnreadableFileError(msg) from error


def _belongs(cell: str, values: Half, run: Run) -> bool:
    """Whether these are the outputs that the cell's figures are made of."""
    measured = run.measurements.get(cell)
    return measured is not None and measured.figures is not None and measured.figures.digest == figures.digest(values)


def _step_to_json(step: Step) -> Document:
    """JSON has no infinities and no NaN: they are their names."""
    numbers = {name: getattr(step, name) for name in ("got", "want")}
    named = {name: value if math.isfinite(value) else str(value) for name, value in numbers.items()}
    return {**dataclasses.asdict(step), **named}


def _trace(document: Document) -> Trace:
    steps: Sequence[Document] = document["steps"]
    made = (Step(**{**step, "got": float(step["got"]), "want": float(step["want"])}) for step in steps)
    return Trace(x=document["x"], steps=tuple(made))
