"""Put the stand-in where coremltools looks for its native bindings, and let coremltools alone see a Mac."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from pathlib import Path

from mish_guard.errors import UsageError

BINDINGS = "coremltools.libcoremlpython"

_DEPENDENCIES = "coremltools._deps"
_UTILS = "coremltools.models.utils"

# The macOS that coremltools sees.
MACOS = (15, 5)


def install() -> None:
    """Raises UsageError if coremltools was imported before the stand-in was there."""
    if any(isinstance(each, Finder) for each in sys.meta_path):
        return
    if "coremltools" in sys.modules:
        msg = (
            "coremltools was imported before the emulated Core ML: load the plugin first "
            "(-p mish_guard.emulated_core_ml), or call install() before importing coremltools."
        )
        raise UsageError(msg)
    sys.meta_path.insert(0, Finder())


class Finder(importlib.abc.MetaPathFinder):
    """Finds the bindings here, and loads what asks for the system so that it sees a Mac."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == BINDINGS:
            return importlib.util.spec_from_file_location(fullname, Path(__file__).with_name("proxies.py"))
        if fullname in (_DEPENDENCIES, _UTILS):
            spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _OfVersion(spec.loader)
            return spec
        return None


class OnMac(importlib.abc.Loader):
    """Runs a module of coremltools with a `sys` whose platform is darwin.

    torch and the standard library must go on seeing the platform whose libraries they load.
    """

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        created: types.ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: types.ModuleType) -> None:
        self._loader.exec_module(module)
        darwin = types.ModuleType("sys")
        darwin.__dict__.update(vars(sys), platform="darwin")
        vars(module)["_sys"] = darwin


class _OfVersion(OnMac):
    """The same on a macOS of the stand-in's version, and for the module that asked for the system before."""

    def exec_module(self, module: types.ModuleType) -> None:
        super().exec_module(module)
        vars(module)["_macos_version"] = lambda: MACOS
        vars(module)["_IS_MACOS"] = True
