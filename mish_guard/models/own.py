"""Activations of a user: a class of torch and its reference, named in a matrix file and read from beside it.

Only the one top-level module or package that is named is taken from that folder: a matrix file may lie in the very tree
that is judged, and nothing else of it is imported. While it is read and while the reference is computed, coremltools
cannot be imported where it is not at work anyway: a reference that asks the tree what is right would prove nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mish_guard.errors import UsageError
from mish_guard.numerics import fp16
from mish_guard.records import Document

if TYPE_CHECKING:
    from torch import nn

# Names that are taken: what a file of a user is called must not stand in for them.
_TAKEN = frozenset({"coremltools", "mish_guard", "numpy", "torch", *sys.stdlib_module_names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """One activation: what cases call it, its class and its reference as `package.name`, and the folder of both."""

    name: str
    module: str
    reference: str
    folder: str

    def build(self) -> nn.Module:
        """The torch module; raises UsageError where there is none, with what its file said."""
        from torch import nn

        made = self._used(self.module, lambda found: found())
        if not isinstance(made, nn.Module):
            msg = f"'{self.module}' of the activation '{self.name}' makes no torch.nn.Module."
            raise UsageError(msg)
        return made

    def want(self, x: ArrayLike) -> NDArray[np.float64]:
        """What the activation should give for float64 values of any shape, float64; raises UsageError."""
        given = np.array(x, dtype=np.float64)
        got = np.asarray(self._used(self.reference, lambda found: found(given.copy())))
        if got.shape != given.shape or got.dtype.kind != "f":
            msg = f"'{self.reference}' gave {got.dtype} of shape {got.shape} for float64 of shape {given.shape}."
            raise UsageError(msg)
        return got.astype(np.float64)

    def check(self) -> None:
        """Raise UsageError unless the class can be made and the reference is finite for every finite input."""
        self.build()
        if not np.isfinite(self.want(fp16.finite_values())).all():
            msg = f"'{self.reference}' is not finite for every finite half-precision number."
            raise UsageError(msg)

    def _used(self, dotted: str, use: Callable[[Any], object]) -> object:
        """What `use` makes of the object that is called so; whatever a user's file raises becomes a UsageError."""
        module, _, attribute = dotted.rpartition(".")
        top = dotted.partition(".")[0]
        if top in _TAKEN:
            msg = f"The activation '{self.name}' names '{dotted}': a file of yours must not be called '{top}'."
            raise UsageError(msg)
        try:
            with _only(top, self.folder):
                return use(getattr(importlib.import_module(module), attribute))
        except Exception as error:
            msg = f"'{dotted}' of the activation '{self.name}' fails: {type(error).__name__}: {error}"
            raise UsageError(msg) from error


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one top-level module in one folder, and refuses coremltools."""

    def __init__(self, top: str, folder: str) -> None:
        self._top, self._folder = top, folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname == "coremltools":
            msg = "an activation and its reference must not import coremltools, which is what they judge"
            raise ImportError(msg)
        return importlib.machinery.PathFinder.find_spec(fullname, [self._folder]) if fullname == self._top else None


@contextlib.contextmanager
def _only(top: str, folder: str) -> Iterator[None]:
    """The module `top` comes from `folder` inside the block."""
    finder = _Finder(top, folder)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def of(document: Document, path: Path) -> tuple[Own, ...]:
    """The activations of a matrix file, read from the folder that it lies in."""
    folder = str(path.resolve().parent)
    return tuple(Own(name=name, folder=folder, **each) for name, each in document.get("activations", {}).items())
