"""Put the proxies where coremltools looks for its native bindings, and macOS where it looks for the system."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import platform
import sys
import types
from collections.abc import Sequence
from pathlib import Path

from mish_guard.emulated_core_ml import finder
from tests import virtual_mac

_UTILS = "coremltools.models.utils"
_NATIVE = {finder.BINDINGS, "coremltools.libmilstoragepython", "coremltools.libmodelpackage"}


def install(path: Path) -> None:
    """From here on this process runs on the Mac of a scenario file."""
    scenario = virtual_mac.load(path)
    platform.mac_ver = lambda *_, **__: (scenario.machine.macos, ("", "", ""), "arm64")
    platform.machine = lambda: scenario.machine.python
    sys.meta_path.insert(0, _Finder(frozenset(scenario.foreign_libraries)))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the bindings here, refuses libraries of another architecture, and lets utils see a Mac."""

    def __init__(self, foreign: frozenset[str]) -> None:
        self._foreign = foreign

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in _NATIVE and fullname.rpartition(".")[2] in self._foreign:
            return importlib.util.spec_from_loader(fullname, _Foreign())
        if fullname == finder.BINDINGS:
            return importlib.util.spec_from_file_location(fullname, virtual_mac.HERE / "proxies.py")
        if fullname == _UTILS:
            spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = finder.OnMac(spec.loader)
            return spec
        return None


class _Foreign(importlib.abc.Loader):
    """dyld's words for a library built for another architecture."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        library = f"{spec.name.rpartition('.')[2]}.so"
        msg = f"dlopen({library}): mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64')"
        raise ImportError(msg)

    def exec_module(self, module: types.ModuleType) -> None:
        raise NotImplementedError
