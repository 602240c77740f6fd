"""What is wrong with this machine: one check for each failure met in the field, each with its fix.

Nothing here prints. `examine` gathers the checks, `exit_code` says what they allow: 0 everything, 20 everything but
the Neural Engine, 21 no Core ML.
"""

from __future__ import annotations

import enum
import importlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mish_guard import files
from mish_guard.engines.base import Feed
from mish_guard.engines.coreml import UNITS, machine, process
from mish_guard.engines.coreml.machine import Device
from mish_guard.errors import ExitCode, MachineError
from mish_guard.models import controls
from mish_guard.records import Document, Role

SAVING = ("libmilstoragepython", "libmodelpackage")
LIBRARIES = ("libcoremlpython", *SAVING)

# MLComputePlan came with macOS 14.4: https://developer.apple.com/documentation/coreml/mlcomputeplan
_OLDEST_MACOS = (14, 0)
_OLDEST_PLAN = (14, 4)

# The newest torch that a release of coremltools was tested with, from its coremltools/_deps/__init__.py.
TESTED_TORCH = {"8.3": (2, 5), "9.0": (2, 7), "9.1": (2, 8)}

# Compiled models and coremltools' temporary packages of a run of the whole matrix take well under this.
_FREE_BYTES = 2 * 1024**3
_PREDICTION_SECONDS = 120.0
_TOLERANCE = 2.0**-8

_WHEEL = "Install a released wheel of coremltools for this Python and architecture, or rebuild the tree for it."


class Outcome(str, enum.Enum):
    """How a check ended; a warning changes no exit code."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what was found, and what to do unless it is ok. `neural_engine`: only the Neural Engine needs it."""

    name: str
    outcome: Outcome
    detail: str
    fix: str | None = None
    neural_engine: bool = False

    def to_json(self) -> Document:
        """The check as JSON types."""
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "detail": self.detail,
            "fix": self.fix,
            "neural_engine": self.neural_engine,
        }


def examine(*, run: machine.Runner | None = None) -> tuple[Check, ...]:
    """Every check, in the order in which one would repair things. Starts two worker processes on a Mac, or four."""
    here = machine.identify(run=run)
    libraries = tuple(library(name) for name in LIBRARIES)
    usable = machine.is_mac() and all(check.outcome is Outcome.OK for check in libraries)
    return (
        macos(here),
        native_python(here),
        *libraries,
        torch_combination(here.environment.packages),
        temporary_folder(Path(tempfile.gettempdir())),
        disk_space(shutil.disk_usage(tempfile.gettempdir()).free),
        physical(here),
        *((neural_engine(), *predictions()) if usable else _not_tried()),
    )


def exit_code(checks: Iterable[Check], *, neural_engine: bool = True) -> ExitCode:
    """PASS: ready for what is asked. INCONCLUSIVE: ready for all but the Neural Engine. BROKEN: not for Core ML.

    Without `neural_engine` nothing is asked of it, and what only it needs does not count.
    """
    counted = [check for check in checks if neural_engine or not check.neural_engine]
    failed = [check for check in counted if check.outcome is Outcome.FAIL]
    if not failed:
        return ExitCode.PASS
    return ExitCode.INCONCLUSIVE if all(check.neural_engine for check in failed) else ExitCode.BROKEN


def macos(here: Device) -> Check:
    """Version 14 or later; 14.4 for the compute plan."""
    name, version = "macOS", here.environment.macos
    if not machine.is_mac() or version is None:
        return _failed(name, "this is not macOS: there is no Core ML", "Run on a Mac, or use --engine emulator.")
    number = tuple(int(part) for part in version.split(".")[:2])
    detail = f"{version} ({here.environment.build or 'build unknown'})"
    if number < _OLDEST_MACOS:
        return _failed(name, f"{detail} is older than 14", "Update macOS.")
    if number < _OLDEST_PLAN:
        fix = "Update macOS: the compute plan, which shows where operations run, came with 14.4."
        return Check(name=name, outcome=Outcome.FAIL, detail=detail, fix=fix, neural_engine=True)
    return _passed(name, detail)


def native_python(here: Device) -> Check:
    """An arm64 Python that Rosetta does not translate."""
    name, architecture = "native Python", here.environment.architecture
    if here.environment.is_rosetta:
        fix = "Install an arm64 Python and start it from a terminal that does not run under Rosetta."
        return _failed(name, f"{architecture}, translated by Rosetta", fix)
    if architecture != "arm64":
        return _failed(name, f"{architecture}, not arm64", "Use an arm64 Python on a Mac with Apple silicon.")
    return _passed(name, architecture)


def library(name: str) -> Check:
    """One native library of coremltools loads, which no library of another architecture does."""
    from mish_guard.convert.conversion import quiet  # imports torch, which `store` has no use for

    try:
        with quiet():
            importlib.import_module(f"coremltools.{name}")
    except Exception as error:  # noqa: BLE001 - coremltools itself may fail to import, for whatever reason
        return _failed(name, " ".join(f"{type(error).__name__}: {error}".split()), f"{_CONSEQUENCE[name]} {_WHEEL}")
    return _passed(name, "loads")


# What coremltools says, later and elsewhere, when a library does not load.
_CONSEQUENCE = {
    "libcoremlpython": "Without it coremltools says 'Unable to load CoreML.framework'.",
    "libmilstoragepython": "Without it coremltools says 'BlobWriter not loaded'.",
    "libmodelpackage": "Without it coremltools cannot save a package.",
}


def torch_combination(packages: Mapping[str, str | None]) -> Check:
    """The installed torch is one that this coremltools was tested with."""
    name, torch, coremltools = "torch and coremltools", packages.get("torch"), packages.get("coremltools")
    if torch is None or coremltools is None:
        missing = "torch" if torch is None else "coremltools"
        return _failed(name, f"{missing} is not installed", f"Install {missing}.")
    detail = f"torch {torch}, coremltools {coremltools}"
    newest = TESTED_TORCH.get(".".join(coremltools.partition("+")[0].split(".")[:2]))
    if newest is None:
        return _warned(name, f"{detail}: not known to this program", "Watch for failed conversions.")
    if _minor(torch) > newest:
        tested = ".".join(map(str, newest))
        return _warned(name, f"{detail}, which was tested up to {tested}", f"If conversions fail, use torch {tested}.")
    return _passed(name, detail)


def temporary_folder(folder: Path) -> Check:
    """Files can be written where Core ML compiles models."""
    name = "temporary folder"
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            (Path(scratch) / "file").write_text("")
    except OSError as error:
        return _failed(name, f"'{folder}' cannot be written: {error.strerror}", "Set TMPDIR to a folder that can.")
    return _passed(name, str(folder))


def disk_space(free_bytes: int) -> Check:
    """Room for compiled models."""
    name, detail = "disk space", f"{free_bytes / 1024**3:.1f} GB free for temporary files"
    if free_bytes < _FREE_BYTES:
        return _failed(name, detail, f"Free {_FREE_BYTES // 1024**3} GB: compiled models need room.")
    return _passed(name, detail)


def predictions() -> tuple[Check, Check]:
    """A stored package predicts mish(0) = 0 on the CPU, and its plan names a device for every operation."""
    name, plan = "Core ML predicts", "compute plan"
    try:
        answer, note = _asked(*_trivial())
    except MachineError as error:
        fix = "Check that this user may run Core ML and that macOS is intact; run `mish-guard doctor` again."
        not_tried = Check(name=plan, outcome=Outcome.FAIL, detail="not tried", fix=fix, neural_engine=True)
        return _failed(name, str(error), fix), not_tried
    ((output, *_),) = answer.predictions
    right = np.all(np.abs(np.asarray(output, dtype=np.float64)) <= _TOLERANCE)
    predicted = (
        _passed(name, f"a small model on the CPU, correctly{note}")
        if right
        else _failed(name, f"mish(0) came out as {np.ravel(output)[0]}", "The machine or macOS is at fault.")
    )
    return predicted, compute_plan(answer.content["operations"], answer.content["plan_error"])


def compute_plan(operations: Sequence[Mapping[str, str]], error: str | None) -> Check:
    """The plan names a device for every operation; without it nothing shows what ran on the Neural Engine.

    A cast without one is no fault: Core ML may fold it into its neighbour.
    """
    name = "compute plan"
    unplaced = sum(each["device"] == "unknown" and each["op"] != "cast" for each in operations)
    if operations and not unplaced and error is None:
        return _passed(name, f"{len(operations)} operations, each with a device")
    detail = error or f"{unplaced} of {len(operations)} operations have no device"
    fix = "Use macOS 14.4 or later and models for macOS 14 or later."
    return Check(name=name, outcome=Outcome.FAIL, detail=detail, fix=fix, neural_engine=True)


def neural_engine() -> Check:
    """Core ML lists a Neural Engine."""
    try:
        answer, note = _asked({"task": "devices"}, ())
        listed = answer.content["devices"]
        detail = f"Core ML lists {', '.join(listed)}{note}"
    except MachineError as error:
        listed, detail = [], str(error)
    return Check(
        name="Neural Engine",
        outcome=Outcome.OK if "ne" in listed else Outcome.FAIL,
        detail=detail,
        fix=None if "ne" in listed else "Use a physical Mac with Apple silicon.",
        neural_engine=True,
    )


def physical(here: Device) -> Check:
    """Not a virtual machine: those have no Neural Engine, and asking for it there can hang."""
    is_vm = here.hardware.is_vm
    words = {True: "a virtual machine", False: "physical", None: "macOS does not say"}
    return Check(
        name="physical machine",
        outcome=Outcome.FAIL if is_vm else Outcome.OK if is_vm is False else Outcome.WARN,
        detail=f"{words[is_vm]} ({here.hardware.model or 'model unknown'}, {here.hardware.chip or 'chip unknown'})",
        fix=None if is_vm is False else "Only a physical Mac shows the error; hosted runners are virtual.",
        neural_engine=True,
    )


def _asked(request: Document, feeds: Sequence[Feed]) -> tuple[process.Answer, str]:
    """The answer of a worker, or of a second one if the first fails, and what is to be said of that."""
    try:
        return process.ask(request, feeds, timeout_seconds=_PREDICTION_SECONDS), ""
    except MachineError as error:
        answer = process.ask(request, feeds, timeout_seconds=_PREDICTION_SECONDS)
        return answer, f"; the first try failed: {error}"


def _trivial() -> tuple[Document, tuple[Feed, ...]]:
    """A request for the stored model with the exp form of mish, and an input of zeros."""
    package = controls.stored_package(Role.POSITIVE_CONTROL, "stability", files.DATA / "controls")
    request = {"task": "run", "package": str(package), "compute_unit": UNITS["cpu-only"], "repeats": 1}
    return request, ((np.zeros((1, 1, 28, 28), dtype=np.float16),),)


def _not_tried() -> tuple[Check, ...]:
    names = (("Neural Engine", True), ("Core ML predicts", False), ("compute plan", True))
    detail, fix = "not tried", "Repair what failed above first."
    return tuple(
        Check(name=name, outcome=Outcome.FAIL, detail=detail, fix=fix, neural_engine=only) for name, only in names
    )


def _minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _passed(name: str, detail: str) -> Check:
    return Check(name=name, outcome=Outcome.OK, detail=detail)


def _warned(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, outcome=Outcome.WARN, detail=detail, fix=fix)


def _failed(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, outcome=Outcome.FAIL, detail=detail, fix=fix)
