"""Core ML itself, through coremltools' public API, one worker process for each model.

`worker` talks to Core ML and may die of it; `process` starts it, waits, kills, and says how it ended. What Core ML
prefers for an operation is not proof of where it ran (the negative control is), and a compute unit whose workers hang
is given up, so that a run ends.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mish_guard import records
from mish_guard.engines.base import Execution, Feed
from mish_guard.engines.coreml import machine, process
from mish_guard.engines.coreml.machine import Device
from mish_guard.engines.placement import summary
from mish_guard.errors import MachineError, UsageError
from mish_guard.records import Culprit, Document, Placed, Step, Times

NEURAL_ENGINE = "cpu-and-ne"

# Never ALL: it says nothing about which unit is judged.
UNITS = {"cpu-only": "CPU_ONLY", "cpu-and-gpu": "CPU_AND_GPU", NEURAL_ENGINE: "CPU_AND_NE"}

# Loading one of these small models takes seconds, on a virtual machine without a Neural Engine it can take half an
# hour (https://github.com/soniqo/speech-swift/pull/286). MISH_GUARD_TIMEOUT sets another number of seconds.
TIMEOUT_SECONDS = 180.0
_TIMEOUT_VARIABLE = "MISH_GUARD_TIMEOUT"

# So many hangs in a row, and a compute unit is not asked again; one that has answered before is given another model.
_PATIENCE = 2
_PATIENCE_WITH_ONE_THAT_ANSWERED = 4


class CoreMLEngine:
    """Implements `mish_guard.engines.Engine` for the compute units named in `places`; none: all that can be used.

    Raises MachineError where there is no Core ML, UsageError for a place that is no compute unit or a timeout that is
    no number.
    """

    name = "coreml"

    def __init__(self, places: tuple[str, ...] = ()) -> None:
        self._timeout = _timeout_seconds()
        for place in places:
            if place not in UNITS:
                msg = f"No compute unit is called '{place}'. Choose from: {', '.join(UNITS)}."
                raise UsageError(msg)
        require()
        self._notes: list[str] = []
        self._named = bool(places)
        self._places = places or usable_places(self._listed["devices"], is_vm=self._identity.hardware.is_vm is True)
        self._hangs = dict.fromkeys(self._places, 0)
        self._answered: set[str] = set()
        self._plan_errors: set[str] = set()

    def places(self) -> tuple[str, ...]:
        return self._places

    def engines(self) -> Mapping[str, str]:
        return {}

    def is_neural_engine(self, place: str) -> bool:
        return place == NEURAL_ENGINE

    def is_hardware(self, place: str) -> bool:
        del place
        return True

    def device(self) -> Document:
        return {
            "kind": self.name,
            "compute_devices": self._listed["devices"],
            "plan_errors": sorted(self._plan_errors),
            "timeout_seconds": self._timeout,
            "notes": list(self._notes),
            **self._identity.to_json(),
        }

    def run(self, package: Path, feeds: Sequence[Feed], place: str, output: int | None = None) -> Execution:
        """As the protocol says; raises MachineError when Core ML fails, aborts or hangs twice, or has hung too often.

        One failure is tried once more; that a second try was needed is among the notes of `device`.
        """
        if self._is_given_up(place):
            msg = f"Not tried: Core ML hung {self._hangs[place]} times in a row at {place}."
            raise MachineError(msg)
        request = {
            "task": "run",
            "package": str(package.resolve()),
            "compute_unit": UNITS[place],
            "repeats": 2 if self.is_neural_engine(place) else 1,
        }
        answer = self._tried_twice(lambda: self._counted(request, feeds, place), f"{package.name} at {place}")
        execution = self._execution(answer, len(feeds))
        if output is None:
            return execution
        return dataclasses.replace(execution, predictions=tuple((each[output],) for each in execution.predictions))

    def first_wrong(
        self,
        package: Path,
        feed: Feed,
        place: str,
        index: tuple[int, ...] | None,
        output: int | None = None,
    ) -> Culprit | None:
        del package, feed, place, index, output
        return None

    def trace(
        self,
        package: Path,
        feed: Feed,
        place: str,
        index: tuple[int, ...] | None,
        output: int | None = None,
    ) -> tuple[Step, ...]:
        del package, feed, place, index, output
        return ()

    @functools.cached_property
    def _listed(self) -> Document:
        """The compute devices that Core ML lists, and the cores of its Neural Engine.

        Where places were named a list is not needed: why there is none is then a note.
        """
        try:
            return self._tried_twice(lambda: self._ask({"task": "devices"}, ()), "The list of compute devices").content
        except MachineError as error:
            if not self._named:
                raise
            self._notes.append(f"The compute devices could not be listed: {error}")
            return {"devices": [], "ne_cores": None}

    @functools.cached_property
    def _identity(self) -> Device:
        return machine.identify(ne_cores=self._listed["ne_cores"])

    def _is_given_up(self, place: str) -> bool:
        return self._hangs[place] >= (_PATIENCE_WITH_ONE_THAT_ANSWERED if place in self._answered else _PATIENCE)

    def _counted(self, request: Document, feeds: Sequence[Feed], place: str) -> process.Answer:
        """An answer at a place, its hangs counted."""
        try:
            answer = self._ask(request, feeds)
        except process.WorkerTimeoutError:
            self._hangs[place] += 1
            raise
        self._hangs[place] = 0
        self._answered.add(place)
        return answer

    def _tried_twice(self, ask: Callable[[], process.Answer], what: str) -> process.Answer:
        """Whatever `ask` gives at its first or second try."""
        try:
            answer = ask()
        except MachineError as error:
            answer = ask()
            self._notes.append(f"{what} was tried twice, the first time failed: {error}")
        if answer.note is not None:
            self._notes.append(f"{what}: {answer.note}")
        return answer

    def _ask(self, request: Document, feeds: Sequence[Feed]) -> process.Answer:
        return process.ask(request, feeds, timeout_seconds=self._timeout)

    def _execution(self, answer: process.Answer, n_feeds: int) -> Execution:
        if len(answer.predictions) != n_feeds:
            msg = f"Core ML made {len(answer.predictions)} predictions; expected {n_feeds}."
            raise MachineError(msg)
        if answer.content["plan_error"] is not None:
            self._plan_errors.add(answer.content["plan_error"])
        operations = tuple(
            Placed(**{**each, "device": records.Device(each["device"])}) for each in answer.content["operations"]
        )
        return Execution(
            predictions=answer.predictions,
            placement=summary(operations),
            repeats_agree=answer.content["repeats_agree"],
            operations=operations,
            times=Times(load=answer.content["load_seconds"], predict=answer.content["predict_seconds"]),
        )


def usable_places(devices: Sequence[str], *, is_vm: bool) -> tuple[str, ...]:
    """The compute units worth asking for: a virtual machine has no Neural Engine, and asking for it can hang."""
    absent = {"cpu-and-gpu"} if "gpu" not in devices else set()
    absent |= {NEURAL_ENGINE} if is_vm or "ne" not in devices else set()
    return tuple(place for place in UNITS if place not in absent)


def require() -> None:
    """Raise MachineError, saying what is missing, where Core ML cannot be used."""
    if not machine.is_mac():
        msg = (
            "The engine 'coreml' needs a Mac: there is no Core ML on this system. "
            "Run the gate on a Mac, or use --engine emulator."
        )
        raise MachineError(msg)
    from mish_guard.convert.conversion import quiet  # loads torch, which the worker beside this file does without

    try:
        with quiet():
            importlib.import_module("coremltools.libcoremlpython")
    except ImportError as error:
        msg = (
            f"coremltools has no usable Core ML bindings (libcoremlpython): {error}. Install a released wheel for this "
            "Python and architecture, or rebuild the tree; `mish-guard doctor` says which part is missing."
        )
        raise MachineError(msg) from error


def _timeout_seconds() -> float:
    text = os.environ.get(_TIMEOUT_VARIABLE, str(TIMEOUT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        msg = f"{_TIMEOUT_VARIABLE} must be a number of seconds above 0, not '{text}'."
        raise UsageError(msg)
    return seconds
