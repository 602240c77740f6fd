"""Who am I: the machine that a Core ML run was measured on.

`hardware` identifies the machine and is hashed; `environment` is only recorded. What a machine does not tell stays
None and never enters the hash, so that two unknown machines are not taken for the same.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mish_guard import files
from mish_guard.records import Document

# Runs a command: its output without the last newline, or None where there is no such command or it failed.
Runner = Callable[[Sequence[str]], "str | None"]

_PACKAGES = ("coremltools", "torch", "numpy")
_SECONDS = 10.0
_HASH_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What does not change with software; `chip` and `model` in Apple's words, e.g. Apple M3 Max, Mac15,9."""

    chip: str | None
    model: str | None
    ne_cores: int | None
    is_vm: bool | None

    @property
    def id(self) -> str | None:
        """A hash of what is known, 12 hex digits; None where nothing is."""
        known = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return files.sha256(files.canonical_json(known))[:_HASH_DIGITS] if known else None

    @property
    def variant(self) -> str | None:
        """The chip in one word, e.g. m3-max for an Apple M3 Max; None for another maker's or an unknown chip.

        M3, M3 Pro and M3 Max are three chips: what one was measured to do is not known of another.
        """
        match = re.match(r"Apple (M\d+)(?: (Pro|Max|Ultra))?\b", self.chip or "")
        return "-".join(filter(None, match.groups())).lower() if match else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What changes without a screwdriver: versions, the architecture of this Python, Rosetta, the power source."""

    macos: str | None
    build: str | None
    architecture: str
    is_rosetta: bool | None
    power: str | None
    python: str
    packages: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The machine, as a run records it."""

    hardware: Hardware
    environment: Environment

    @property
    def baseline_key(self) -> str | None:
        """The name of the baselines that this machine compares with, e.g. m3-max-macos26; None where a part is unknown.

        A virtual machine has baselines of its own, vm-macos26: it has no Neural Engine, its GPU is not the chip's, and
        the chip below it is whichever its owner happens to lend; the record holds that one.
        """
        variant, macos = self.hardware.variant, self.environment.macos
        if variant is None or macos is None:
            return None
        return f"{'vm' if self.hardware.is_vm else variant}-macos{macos.partition('.')[0]}"

    def to_json(self) -> Document:
        """The record as JSON types."""
        return {
            "baseline_key": self.baseline_key,
            "hardware": {"id": self.hardware.id, **dataclasses.asdict(self.hardware)},
            "environment": dataclasses.asdict(self.environment),
        }


def is_mac() -> bool:
    """Whether this is macOS, of any age or kind."""
    return bool(platform.mac_ver()[0])


def identify(*, ne_cores: int | None = None, run: Runner | None = None) -> Device:
    """The machine this runs on. Core ML alone knows the number of Neural Engine cores: `ne_cores` is what it said."""
    run = run or command_output
    return Device(
        hardware=Hardware(
            chip=run(["sysctl", "-n", "machdep.cpu.brand_string"]),
            model=run(["sysctl", "-n", "hw.model"]),
            ne_cores=ne_cores,
            is_vm=_flag(run(["sysctl", "-n", "kern.hv_vmm_present"])),
        ),
        environment=Environment(
            macos=run(["sw_vers", "-productVersion"]),
            build=run(["sw_vers", "-buildVersion"]),
            architecture=platform.machine(),
            # There is no such key on an Intel Mac, which has nothing to translate.
            is_rosetta=_flag(run(["sysctl", "-n", "sysctl.proc_translated"])),
            power=_power(run(["pmset", "-g", "batt"])),
            python=platform.python_version(),
            packages={name: _version(name) for name in _PACKAGES},
        ),
    )


def command_output(command: Sequence[str]) -> str | None:
    """What a command prints; None where there is no such command, it fails, or it says nothing within 10 s."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands of this module, no shell
            [program, *command[1:]], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _flag(text: str | None) -> bool | None:
    return {"0": False, "1": True}.get(text or "")


def _power(text: str | None) -> str | None:
    """`ac` or `battery`, from the first line of pmset: Now drawing from 'AC Power'."""
    match = re.search(r"drawing from '(AC|Battery) Power'", text or "")
    return match[1].lower() if match else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
