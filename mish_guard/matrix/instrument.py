"""What measured a cell, as one digest: everything on the measuring side that can change a figure.

The arithmetic of the emulator and the profile that it plays, the inputs and weights of the case, the reference, the
ceiling and the formulas. Comments and docstrings do not count; any other change of these files makes figures that are
compared with nothing measured before.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from mish_guard import engines, files, numerics
from mish_guard.engines.emulator import profiles
from mish_guard.models import networks, tiles
from mish_guard.models.roads import RoadCase
from mish_guard.models.shapes import LADDERS
from mish_guard.numerics import fp16
from mish_guard.numerics.ceiling import CEILING
from mish_guard.records import CellKey

# The modules of the emulator through which a figure passes, and those that turn outputs into figures.
_EMULATOR = ("arithmetic", "evaluate", "graph", "hazards", "mlprogram", "neuralnetwork", "ops", "products")
_EMULATOR_FOLDER = Path(engines.__file__).parent / "emulator"
_NUMERICS = ("ceiling", "figures", "fp16", "reference")

# What Python's own tokenizer finds, in a tenth of the time.
_STRING = "|".join(rf"{quote}(?:\\.|[^\\])*?{quote}" for quote in ('"""', "'''", '"', "'"))
_STRING_OR_COMMENT = re.compile(rf"(?P<string>{_STRING})|#[^\n]*", re.DOTALL)


def of(key: CellKey, rung: str | None = None) -> str:
    """The digest of what measures a cell, on a rung of its ladder; 64 hex digits."""
    return _digest(_arithmetic(key.place), _formulas(), _case(key.case, rung))


def text_that_counts(source: str) -> str:
    """Python without comments, docstrings, blank lines and ends of lines."""
    lines = _STRING_OR_COMMENT.sub(lambda found: found["string"] or "", source).splitlines()
    for first, last in _docstrings(ast.parse(source)):
        lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """The lines that each docstring takes, first and last."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            yield node.body[0].lineno, node.body[0].end_lineno or node.body[0].lineno
        # Nothing in an expression has a docstring, and most of a tree is expressions.
        waiting += [each for each in ast.iter_child_nodes(node) if not isinstance(each, ast.expr)]


@functools.cache
def _arithmetic(place: str) -> str:
    """The emulator under one profile; the hardware of a compute unit is named by its device."""
    profile = profiles.PROFILES.get(place)
    if profile is None:
        return place
    played = files.canonical_json([profile.is_neural_engine, *sorted(profile.hazards)])
    return _digest(played, *_texts(_EMULATOR_FOLDER, _EMULATOR))


@functools.cache
def _formulas() -> str:
    ceiling = files.canonical_json(dataclasses.asdict(CEILING))
    return _digest(ceiling, *_texts(Path(numerics.__file__).parent, _NUMERICS))


@functools.cache
def _texts(folder: Path, names: tuple[str, ...]) -> list[str]:
    """The text of modules; a package is all that is in it."""
    paths = [path for name in names for path in (*folder.glob(f"{name}.py"), *sorted((folder / name).glob("*.py")))]
    return [text_that_counts(path.read_text(encoding="utf-8")) for path in paths]


@functools.cache
def _case(name: str, rung: str | None) -> str:
    """The inputs and the weights of a case."""
    case = networks.case(name)
    if isinstance(case, RoadCase):
        return _road(case)
    if rung is not None and case.ladder is not None:
        case = case.on(next(each for each in LADDERS[case.ladder] if str(each) == rung))
    total = hashlib.sha256()
    own = networks.own(name)
    if own is not None:
        total.update(own.want(fp16.finite_values()).tobytes())
    for feed in case.feeds():
        for array in feed:
            total.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    for weight, value in sorted(case.build().state_dict().items()):
        total.update(f"{weight}{tuple(value.shape)}".encode() + value.numpy().tobytes())
    return total.hexdigest()


def _road(case: RoadCase) -> str:
    """The inputs of a branch. Its shape does not count: another branch, of another shape, may cover it."""
    mixed = case.branch.name if case.branch.mixes else ""
    return hashlib.sha256(mixed.encode() + tiles.carried().tobytes()).hexdigest()


def _digest(*parts: str) -> str:
    return files.sha256("\0".join(parts))
