"""Commands that a reader may type, made in one place.

A results file may come from a stranger. So nothing of it becomes a word of a command but what has one of the forms
below, and every word is quoted for a shell.
"""

from __future__ import annotations

import re
import shlex

from mish_guard.errors import UsageError
from mish_guard.records import CellKey

PROGRAM = "mish-guard"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


def explain(cell: str, *, lowering: str | None = None) -> str:
    """How to see one cell operation by operation; how to list the cells, for a name that is none."""
    try:
        # The form of a key leaves nothing that a shell would read.
        known = f"{PROGRAM} explain '{CellKey.parse(cell)}'"
    except UsageError:
        return _line("cells")
    return known + (f" --lowering {lowering}" if lowering is not None and _NAME.fullmatch(lowering) else "")


def gate(places: tuple[str, ...] = ()) -> str:
    """How to measure and judge again at the places that have the form of a name."""
    return _line("gate", *(word for place in places if _NAME.fullmatch(place) for word in ("--profile", place)))


def refresh() -> str:
    """How to store new baselines; the reason is the reader's."""
    return f"{PROGRAM} refresh --reason '…'"


def _line(*words: str) -> str:
    return shlex.join([PROGRAM, *words])
