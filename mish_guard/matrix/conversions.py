"""The packages of a run: each recipe converted once, where that is safe with a second process that converts ahead.

Conversion takes most of a run's time and is pure Python. The second process is forked before this one computes
anything, works through the recipes from the last to the first, and meets this one somewhere in the middle; a claim
file per recipe keeps them apart.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mish_guard import files
from mish_guard.convert.conversion import convert
from mish_guard.errors import ConversionError
from mish_guard.models import networks
from mish_guard.models.shapes import Rung
from mish_guard.records import Backend, Frontend

# Apple's frameworks do not survive a fork.
CAN_FORK = sys.platform == "linux"

_POLL_SECONDS = 0.005


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a conversion depends on; cells that share it share one package.

    `case` and `rung` say how to build the model, whose name says the same.
    """

    model: str
    lowering: str
    frontend: Frontend
    backend: Backend
    case: str = dataclasses.field(compare=False)
    rung: Rung | None = dataclasses.field(default=None, compare=False)


class Conversions:
    """Packages by recipe, kept in `folder`."""

    def __init__(self, recipes: Sequence[Recipe], folder: Path, *, ahead: bool = CAN_FORK) -> None:
        self._numbers = {recipe: number for number, recipe in enumerate(dict.fromkeys(recipes))}
        self._folder = folder
        self._helper: multiprocessing.process.BaseProcess | None = None
        if ahead and len(self._numbers) > 1:
            backwards = [(number, recipe) for recipe, number in reversed(self._numbers.items())]
            context = multiprocessing.get_context("fork")
            self._helper = context.Process(target=_convert_unclaimed, args=(backwards, folder), daemon=True)
            self._helper.start()

    def package(self, recipe: Recipe) -> Path:
        """The saved model of a recipe; raises ConversionError with coremltools' reason."""
        number = self._numbers.setdefault(recipe, len(self._numbers))
        if _claim(number, self._folder):
            _convert(number, recipe, self._folder)
        while not _done_file(number, self._folder).exists():
            if self._helper is None or not self._helper.is_alive():
                # It died over this recipe; nothing is lost.
                _convert(number, recipe, self._folder)
            time.sleep(_POLL_SECONDS)
        done = files.read_json(_done_file(number, self._folder))
        if "error" in done:
            raise ConversionError(done["error"])
        return Path(done["package"])

    def close(self) -> None:
        """Stop converting ahead."""
        if self._helper is not None:
            self._helper.kill()
            self._helper.join()


def _convert_unclaimed(recipes: Sequence[tuple[int, Recipe]], folder: Path) -> None:
    # coremltools removes its temporary packages when the interpreter ends, which a forked process does not live to see.
    tempfile.tempdir = str(folder)
    for number, recipe in recipes:
        if _claim(number, folder):
            _convert(number, recipe, folder)


def _claim(number: int, folder: Path) -> bool:
    """Whether this process is the first to take the recipe."""
    try:
        (folder / f"{number:03d}.claim").open("x").close()
    except FileExistsError:
        return False
    return True


def _done_file(number: int, folder: Path) -> Path:
    return folder / f"{number:03d}.json"


def _convert(number: int, recipe: Recipe, folder: Path) -> None:
    """Convert one recipe and say where the package is, or why there is none."""
    case = networks.case(recipe.case)
    if recipe.rung is not None:
        case = case.on(recipe.rung)
    try:
        package = convert(
            case.build(),
            case.feeds()[0],
            lowering=recipe.lowering,
            frontend=recipe.frontend,
            backend=recipe.backend,
            stem=folder / f"{number:03d}-{recipe.model}",
        )
        done = {"package": str(package)}
    except ConversionError as error:
        done = {"error": str(error)}
    files.write_atomically(_done_file(number, folder), json.dumps(done))
