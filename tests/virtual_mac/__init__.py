"""A Mac that is not there: coremltools runs its own Python on top of proxies that predict with the emulator.

`scenarios/*.yml` say which Mac it is, what its compute plan prefers, what really executes, and what goes wrong.
`environment` gives a process everything it needs to believe it; the program under test knows nothing of this.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
import sysconfig
import types
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:  # this module loads at the start of every process of a virtual Mac
    import pytest

HERE = Path(__file__).parent
SCENARIOS = HERE / "scenarios"
VARIABLE = "MISH_GUARD_VIRTUAL_MAC"
STATE = "MISH_GUARD_VIRTUAL_STATE"
# The Mac that a process has from its Python; another one in VARIABLE was chosen.
BAKED = "MISH_GUARD_BAKED_MAC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the machine says of itself."""

    chip: str
    model: str
    macos: str
    build: str
    python: str = "arm64"
    vm: bool = False
    rosetta: bool = False
    ne_cores: int = 16
    devices: tuple[str, ...] = ("cpu", "gpu", "ne")


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Which operations the plan gives to the Neural Engine: kinds by name ('*': all), from so many channels on."""

    operations: tuple[str, ...] = ("*",)
    min_channels: int = 1

    def takes(self, operation: str, shape: tuple[int | None, ...] | None) -> bool:
        channels = (shape[1] if shape is not None and len(shape) == 4 else None) or self.min_channels
        return any(fnmatch(operation, each) for each in self.operations) and channels >= self.min_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong with packages whose name matches, at one compute unit (None: at all).

    `once`: it strikes one process and never again.
    """

    kind: str
    package: str = "*"
    unit: str | None = None
    once: bool = False

    def strikes(self, kind: str, package: str, unit: str) -> bool:
        return self.kind == kind and fnmatch(package, self.package) and self.unit in (None, unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One virtual Mac, the story it is taken from, and how a run of the gate on it must end.

    Its baseline is what a healthy Mac measured, or its `own` run.
    """

    story: str
    source: str
    machine: Machine
    profile: str = "ane"
    routing: Routing = field(default_factory=Routing)
    falls_back: bool = False
    plan: str = "complete"
    faults: tuple[Fault, ...] = ()
    foreign_libraries: tuple[str, ...] = ()
    engine: str = "coreml"
    lowering: str = "exp"
    places: tuple[str, ...] = ("cpu-and-ne",)
    timeout_seconds: float = 60.0
    import_seconds: float = 0.0
    baseline: str = "healthy"
    expect: Mapping[str, Any] = field(default_factory=dict)


def load(path: Path) -> Scenario:
    """The scenario in a file; an unknown key is a TypeError that names it."""
    given: dict[str, Any] = yaml.safe_load(path.read_text())
    machine = {key: _frozen(value) for key, value in given.pop("machine").items()}
    routing = {key: _frozen(value) for key, value in given.pop("routing", {}).items()}
    faults = tuple(Fault(**each) for each in given.pop("faults", ()))
    rest = {key: _frozen(value) for key, value in given.items()}
    return Scenario(machine=Machine(**machine), routing=Routing(**routing), faults=faults, **rest)


def environment(path: Path, folder: Path) -> dict[str, str]:
    """The variables with which a process runs on the Mac of a scenario file; its commands are written to `folder`."""
    scenario = load(path)
    for name, answers in _commands(scenario.machine).items():
        _write_command(folder / name, answers)
    search = [str(HERE / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        VARIABLE: str(path.resolve()),
        STATE: str(folder),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(search),
        "MISH_GUARD_TIMEOUT": str(scenario.timeout_seconds),
    }


def interpreter(path: Path, folder: Path, packages: str | None = None) -> Path:
    """A Python that lives on the Mac of a scenario file, however isolated it is started; made in `folder`.

    It has the packages of the running one, or those below `packages`.
    """
    home = folder / "mac"
    commands = folder / "commands"
    commands.mkdir(parents=True, exist_ok=True)
    venv.EnvBuilder(with_pip=False, symlinks=True).create(home)
    bake(next(home.glob("lib/python*/site-packages")), environment(path, commands), packages)
    return home / "bin" / "python"


def bake(target: Path, variables: Mapping[str, str], packages: str | None = None) -> None:
    """Let every process whose packages are in `target` wake up on the Mac of these variables.

    Tests that run on such a Mac themselves make others: the Mac that a test chose for a process is left to it, the one
    that the process only inherited is not.
    """
    base = packages or sysconfig.get_path("purelib")
    woken = {name: value for name, value in variables.items() if name != "PYTHONPATH"}
    woken[BAKED] = woken[VARIABLE]
    (target / "a-packages.pth").write_text(f"import site; site.addsitedir({base!r})\n")
    inherited = f"os.environ.get({VARIABLE!r}) == os.environ.get({BAKED!r})"
    wake_up = f"import os, runpy; {inherited} and os.environ.update({woken!r}); "
    wake_up += f"runpy.run_path({str(HERE / 'site' / 'sitecustomize.py')!r})"
    (target / "b-virtual-mac.pth").write_text(f"{wake_up}\n")


def variant(base: str, folder: Path, **changes: Any) -> Path:
    """A scenario file in `folder`: one of the stored ones with other top-level keys."""
    given = yaml.safe_load((SCENARIOS / f"{base}.yml").read_text())
    path = folder / "scenario.yml"
    path.write_text(yaml.safe_dump({**given, **changes}))
    return path


def wake(monkeypatch: pytest.MonkeyPatch, path: Path, folder: Path) -> None:
    """This process, and all it starts, on the Mac of a scenario file; until the test ends.

    Bindings that load are an empty module here: this process has coremltools already, and only workers predict.
    """
    scenario = load(path)
    for name, value in environment(path, folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(platform, "mac_ver", lambda: (scenario.machine.macos, ("", "", ""), "arm64"))
    monkeypatch.setattr(platform, "machine", lambda: scenario.machine.python)
    bindings = "coremltools.libcoremlpython"
    monkeypatch.setitem(sys.modules, bindings, types.ModuleType(bindings))
    for library in scenario.foreign_libraries:
        monkeypatch.setitem(sys.modules, f"coremltools.{library}", None)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _commands(machine: Machine) -> dict[str, dict[str, str]]:
    return {
        "sysctl": {
            "-n machdep.cpu.brand_string": machine.chip,
            "-n hw.model": machine.model,
            "-n kern.hv_vmm_present": str(int(machine.vm)),
            "-n sysctl.proc_translated": str(int(machine.rosetta)),
        },
        "sw_vers": {"-productVersion": machine.macos, "-buildVersion": machine.build},
        "pmset": {"-g batt": "Now drawing from 'AC Power'"},
    }


def _write_command(path: Path, answers: Mapping[str, str]) -> None:
    cases = "".join(f"{shlex.quote(given)}) echo {shlex.quote(said)};;\n" for given, said in answers.items())
    path.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}*) exit 1;;\nesac\n')
    path.chmod(0o755)
