"""What was measured of each MIL operation on a Neural Engine: whether it runs there, and its relative error (F78)."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass

from mish_guard import files

TABLE = files.DATA / "ane_ops.tsv"

# Names of the source for operations that MIL has by other names, and of ours for variants of one.
_SAME = {"gelu": "gelu_exact", "upsample_nearest_neighbor": "resize_nearest_neighbor"}


class Standing(str, enum.Enum):
    """What became of an operation that was compiled alone for the engine."""

    RIGHT = "reachable+correct"
    RUNS = "reachable"
    NOT_IMPLEMENTED = "not-implemented-on-ANE"
    STOPPED = "compile-walled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """One operation: its standing, and its relative error where it was judged."""

    op: str
    standing: Standing
    relative_error: float | None


@functools.cache
def table() -> Mapping[str, Accuracy]:
    """Every operation of the sweep by name."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")][1:]
    return {
        op: Accuracy(op=op, standing=Standing(standing), relative_error=float(error) if error else None)
        for op, standing, error in rows
    }


def of(op: str) -> Accuracy | None:
    """What was measured of an operation; None where it was not in the sweep."""
    return table().get(op) or table().get(_SAME.get(op, ""))
