"""`cells`: the cells of the matrix by name, and the names that the command line completes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from mish_guard.candidate import locate
from mish_guard.engines import both
from mish_guard.engines.coreml import NEURAL_ENGINE, UNITS
from mish_guard.engines.emulator import profiles
from mish_guard.errors import ExitCode, MachineError, UsageError
from mish_guard.matrix import plan
from mish_guard.matrix.plan import Place
from mish_guard.models import lowerings
from mish_guard.records import Offered


def show(pattern: str | None, places: Sequence[str], matrix: Path | None) -> ExitCode:
    """Print every cell whose name matches `pattern`; raises UsageError where none does."""
    both.check(places)
    found = names(places, matrix)
    chosen = [name for name in found if pattern is None or plan.matches(name, pattern)]
    if not chosen:
        msg = f"No cell matches '{pattern}'. There are {len(found)}, such as '{found[0]}'; * stands for anything."
        raise UsageError(msg)
    click.echo("\n".join(chosen))
    return ExitCode.PASS


def names(places: Sequence[str] = (), matrix: Path | None = None) -> list[str]:
    """The names of all cells at `places`; none: at every profile of the emulator."""
    chosen = tuple(places) or tuple(profiles.PROFILES)
    made = [Place(name=name, is_neural_engine=_is_neural_engine(name)) for name in chosen]
    return [str(cell.key) for cell in plan.load(matrix or plan.DEFAULT, made, _offered())]


def _offered() -> Offered:
    """What the coremltools beside mish-guard offers; nothing where there is none."""
    try:
        return locate.offered(locate.tree(locate.interpreter(None)))
    except MachineError:
        return plan.NOTHING


def known(what: str) -> list[str]:
    """The names that a shell completes: `cells`, `places`, `profiles` or `lowerings`."""
    if what == "cells":
        return names()
    if what == "lowerings":
        return [lowerings.AS_IS, *lowerings.TABLE]
    if what == "options":
        return list(profiles.OPTIONS)
    return [*profiles.PROFILES, *(UNITS if what == "places" else ())]


def _is_neural_engine(place: str) -> bool:
    return place == NEURAL_ENGINE or (place in profiles.PROFILES and place != profiles.IEEE_FP16.name)
