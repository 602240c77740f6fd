"""Core ML and the emulator in one run: every place belongs to one of them, by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mish_guard.engines.base import Engine, Execution, Feed
from mish_guard.engines.coreml import UNITS, CoreMLEngine, machine
from mish_guard.engines.emulator import EmulatorEngine, profiles
from mish_guard.errors import UsageError
from mish_guard.records import Culprit, Document, Step


def check(places: Sequence[str]) -> None:
    """Raise UsageError, with the names there are, for a place that is neither a profile nor a compute unit."""
    unknown = [place for place in places if place not in UNITS and place not in profiles.PROFILES]
    if unknown:
        choice = ", ".join((*profiles.PROFILES, *UNITS))
        msg = f"No profile is called '{unknown[0]}', nor a compute unit. Choose from: {choice}."
        raise UsageError(msg)


def create_auto(places: tuple[str, ...]) -> Engine:
    """All that this machine offers, or the engines of the places named.

    Without names: the emulator, and on a Mac Core ML before it. Raises MachineError where a compute unit is named off
    a Mac, and where Core ML cannot be used on one; UsageError for a name that is neither.
    """
    check(places)
    units = tuple(place for place in places if place in UNITS)
    emulated = tuple(place for place in places if place in profiles.PROFILES)
    engines: list[Engine] = []
    if units or (not places and machine.is_mac()):
        engines.append(CoreMLEngine(units))
    if emulated or not places:
        engines.append(EmulatorEngine(emulated or tuple(profiles.PROFILES)))
    return engines[0] if len(engines) == 1 else Engines(tuple(engines))


class Engines:
    """Implements `mish_guard.engines.Engine` by handing every place to the engine that it belongs to."""

    name = "auto"

    def __init__(self, engines: tuple[Engine, ...]) -> None:
        self._engines = engines
        self._by_place = {place: engine for engine in engines for place in engine.places()}

    def places(self) -> tuple[str, ...]:
        return tuple(self._by_place)

    def engines(self) -> Mapping[str, str]:
        return {place: engine.name for place, engine in self._by_place.items()}

    def is_neural_engine(self, place: str) -> bool:
        return self._by_place[place].is_neural_engine(place)

    def is_hardware(self, place: str) -> bool:
        return self._by_place[place].is_hardware(place)

    def device(self) -> Document:
        return {engine.name: engine.device() for engine in self._engines}

    def run(self, package: Path, feeds: Sequence[Feed], place: str, output: int | None = None) -> Execution:
        return self._by_place[place].run(package, feeds, place, output)

    def first_wrong(
        self,
        package: Path,
        feed: Feed,
        place: str,
        index: tuple[int, ...] | None,
        output: int | None = None,
    ) -> Culprit | None:
        return self._by_place[place].first_wrong(package, feed, place, index, output)

    def trace(
        self,
        package: Path,
        feed: Feed,
        place: str,
        index: tuple[int, ...] | None,
        output: int | None = None,
    ) -> tuple[Step, ...]:
        return self._by_place[place].trace(package, feed, place, index, output)
