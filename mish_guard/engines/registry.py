"""The engines by name: `emulator` runs anywhere, `coreml` needs a Mac, `auto` is both on a Mac, else the emulator."""

from __future__ import annotations

from collections.abc import Sequence

from mish_guard.engines.base import Engine
from mish_guard.errors import UsageError


def create(name: str, places: Sequence[str]) -> Engine:
    """The engine called `name` for `places`; none: for all that it has and that can be used here.

    Raises UsageError for an unknown name or place, MachineError for an engine that cannot run here: nothing falls back.
    """
    if name == "auto":
        from mish_guard.engines.both import create_auto

        return create_auto(tuple(places))
    if name == "emulator":
        from mish_guard.engines.emulator import EmulatorEngine, profiles

        return EmulatorEngine(tuple(places) or tuple(profiles.PROFILES))
    if name == "coreml":
        from mish_guard.engines.coreml import CoreMLEngine

        return CoreMLEngine(tuple(places))
    msg = f"No engine is called '{name}'. Choose auto, emulator or coreml."
    raise UsageError(msg)
