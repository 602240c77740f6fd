"""The stability matrix: which cells there are. Its measurement is a pytest run of the `test_*.py` beside this file."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mish_guard import files
from mish_guard.errors import UnreadableFileError, UsageError
from mish_guard.records import Backend, CellKey, Document, Family, Frontend, Offered, Role

# The calls that stand for one call for each deployment target of the tree, and for each ready-made pipeline.
EVERY_TARGET = "target-*"
EVERY_PIPELINE = "pipeline-*"

# The deployment targets whose models are neural networks.
_BEFORE_ML_PROGRAMS = frozenset({"iOS13", "iOS14"})

DEFAULT = Path(__file__).parent / "matrix.yml"

_ROLES = (Role.NEGATIVE_CONTROL, Role.POSITIVE_CONTROL, Role.GRAFT, Role.CANDIDATE)

NOTHING = Offered(targets=(), pipelines=())


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


def load(path: Path, places: Sequence[Place], offered: Offered = NOTHING) -> tuple[Cell, ...]:
    """Every cell of the matrix file at every place, in the order in which they are measured.

    Controls come first, the negative one before all: it is the first that a routing ladder offers to a Neural Engine.
    Candidates follow in the file's order, roads last.

    `offered` is what the tree offers, for the roads that take each deployment target or pipeline of passes.

    The negative control and the known gaps concern the Neural Engine only: elsewhere the control is left out and a
    gap is an ordinary cell. Raises UnreadableFileError for a file that does not follow the schema or names a cell
    twice.
    """
    document = files.read_yaml(path)
    files.validate(document, "matrix", path)
    _add_own(document, path)
    groups = [*document["groups"], *_routes(document.get("roads"), offered)]
    found = (cell for group in groups for cell in _cells(group, places))
    cells = tuple(sorted(found, key=lambda cell: _ROLES.index(cell.key.role)))
    repeated = next((key for key, count in Counter(str(cell.key) for cell in cells).items() if count > 1), None)
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


def _add_own(document: Document, path: Path) -> None:
    """Let the activations of a matrix be known by name; nothing of them is imported yet."""
    if "activations" in document:
        from mish_guard.models import networks, own

        for each in own.of(document, path):
            networks.add(each)


def _routes(section: Document | None, offered: Offered) -> Iterator[Document]:
    """The routes of the section `roads` as groups of cells."""
    if section is None:
        return
    from mish_guard.models import roads

    for route in section["routes"]:
        for backend in route["backends"]:
            calls = [each for call in route["calls"] for each in _calls(call, Backend(backend), offered)]
            yield {
                "family": Family.ROADS.value,
                "cases": [case for call in calls for net in route["nets"] for case in roads.names(call, net)],
                "frontends": route["frontends"],
                "backends": [backend],
                "places": section["places"],
                **{name: route[name] for name in ("known_gap",) if name in route},
            }


def _calls(call: str, backend: Backend, offered: Offered) -> Iterator[str]:
    """The call itself; for one that stands for many, those that the tree offers and the backend can have."""
    if call == EVERY_TARGET:
        wanted = backend is Backend.NEURALNETWORK
        yield from (f"target-{name}" for name in offered.targets if (name in _BEFORE_ML_PROGRAMS) is wanted)
    elif call == EVERY_PIPELINE:
        yield from (f"pipeline-{name.replace('_', '-')}" for name in offered.pipelines)
    else:
        yield call


def _cells(group: Document, places: Sequence[Place]) -> Iterator[Cell]:
    role = Role(group.get("role", Role.CANDIDATE.value))
    for case in group["cases"]:
        for frontend in group["frontends"]:
            for backend in group["backends"]:
                for place in places:
                    if place.name not in group.get("places", [place.name]):
                        continue
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
