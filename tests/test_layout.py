"""Imports go downward only: a module imports nothing from its own level or above, a package keeps its own house."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mish_guard

PACKAGE = Path(mish_guard.__file__).parent

# From the bottom up; what stands on one line may not import each other. A package counts as one.
LEVELS = (
    ("mish_guard",),
    ("errors",),
    ("records", "files", "processes"),
    ("guardian", "commands_to_type"),
    ("numerics",),
    ("models",),
    ("convert",),
    ("engines",),
    ("scan", "emulated_core_ml"),
    ("candidate",),
    ("results",),
    ("judge",),
    ("matrix",),
    ("report", "github"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}


# Lines of the package on which the type `Any` stands: JSON of others, protobuf, coremltools, and what control flow of a
# model carries. The number may only fall.
MOST_ANY = 96


def _unit(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


@functools.cache
def _nodes(path: Path) -> list[ast.AST]:
    """Everything in the syntax of a file."""
    return list(ast.walk(ast.parse(path.read_text())))


def _imported(path: Path) -> Iterator[str]:
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "mish_guard")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mish_guard":
            for alias in node.names:
                is_module = (PACKAGE / alias.name).is_dir() or (PACKAGE / f"{alias.name}.py").exists()
                yield f"mish_guard.{alias.name}" if node.module == "mish_guard" and is_module else str(node.module)


def _edges() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        unit = relative.parts[0].removesuffix(".py")
        importer = "mish_guard" if unit == "__init__" else unit
        for module in _imported(path):
            if _unit(module) != importer:
                yield importer, _unit(module)


def test_every_module_has_a_level() -> None:
    units = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert units - {"__init__"} == LEVEL.keys() - {"mish_guard"}


def test_imports_go_downward() -> None:
    edges = set(_edges())
    assert len(edges) > 30
    assert [f"{low} imports {high}" for low, high in sorted(edges) if LEVEL[high] >= LEVEL[low]] == []


def test_neither_commands_nor_reports_load_torch_before_they_need_it() -> None:
    """So that help, errors and reports are there at once; whoever rebuilds controls converts in any case."""
    paths = (PACKAGE / "commands").glob("[a-z]*.py")
    commands = sorted(f"commands.{path.stem}" for path in paths if path.stem != "rebuild_controls")
    names = ", ".join(f"mish_guard.{each}" for each in ["cli", "judge.verdict", "report.faces", *commands])
    code = f"import sys, {names}; print('torch' in sys.modules, 'coremltools' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_any_stands_on_no_more_lines_than_before() -> None:
    found = {
        (path, node.lineno)
        for path in PACKAGE.rglob("*.py")
        for node in _nodes(path)
        if isinstance(node, ast.Name) and node.id == "Any"
    }
    assert 0 < len(found) <= MOST_ANY
