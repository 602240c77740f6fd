"""The stability matrix: which cells there are. Its measurement is a pytest run of the `test_*.py` beside this file."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mish_guard import files
from mish_guard.errors import UnreadableFileError, UsageError
from mish_guard.records import Backend, CellKey, Family, Frontend, Role

DEFAULT = Path(__file__).parent / "matrix.yml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the matrix, and the reason if it is a known gap where it is measured."""

    key: CellKey
    known_gap: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where cells are measured: a profile or compute unit, and whether it is, or plays, a Neural Engine."""

    name: str
    is_neural_engine: bool


def load(path: Path, places: Sequence[Place]) -> tuple[Cell, ...]:
    """Every cell of the matrix file at every place, in the file's order.

    The negative control and the known gaps concern the Neural Engine only: elsewhere the control is left out and a
    gap is an ordinary cell. Raises UnreadableFileError for a file that does not follow the schema or names a cell
    twice.
    """
    document = files.read_yaml(path)
    files.validate(document, "matrix", path)
    cells = tuple(cell for group in document["groups"] for cell in _cells(group, places))
    keys = [str(cell.key) for cell in cells]
    repeated = next((key for key in keys if keys.count(key) > 1), None)
    if repeated is not None:
        msg = f"'{path}' names the cell {repeated} twice. Remove one of them."
        raise UnreadableFileError(msg)
    return cells


def chosen(cells: Sequence[Cell], pattern: str | None) -> tuple[Cell, ...]:
    """The cells whose names match a glob, and every control: without them nothing is proven.

    Raises UsageError, with a name there is, for a glob that no cell of the candidate matches.
    """
    if pattern is None:
        return tuple(cells)
    found = tuple(cell for cell in cells if cell.key.role.is_control or matches(str(cell.key), pattern))
    if all(cell.key.role.is_control for cell in found):
        some = next((str(cell.key) for cell in cells if not cell.key.role.is_control), "none")
        msg = f"No cell matches '{pattern}'. There are {len(cells)}, such as '{some}'; mish-guard cells lists them."
        raise UsageError(msg)
    return found


def matches(name: str, pattern: str) -> bool:
    """Whether a cell is meant by a glob: its whole name, or a part of it."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"*{pattern}*")


def digest(path: Path) -> str:
    """The sha256 of a matrix as it is understood: comments and layout do not count."""
    return files.sha256(files.canonical_json(files.read_yaml(path)))


def _cells(group: dict[str, Any], places: Sequence[Place]) -> Iterator[Cell]:
    role = Role(group.get("role", Role.CANDIDATE.value))
    for case in group["cases"]:
        for frontend in group["frontends"]:
            for backend in group["backends"]:
                for place in places:
                    if role is Role.NEGATIVE_CONTROL and not place.is_neural_engine:
                        continue
                    key = CellKey(
                        family=Family(group["family"]),
                        case=case,
                        frontend=Frontend(frontend),
                        backend=Backend(backend),
                        place=place.name,
                        role=role,
                    )
                    yield Cell(key=key, known_gap=group.get("known_gap") if place.is_neural_engine else None)
