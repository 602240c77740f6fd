"""Which coremltools is meant by a path, and which files it consists of: found without importing any of them."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from mish_guard import files, processes
from mish_guard.convert.witnesses import Interpreter
from mish_guard.errors import MachineError, UnreadableFileError, UsageError
from mish_guard.records import Offered

# What `ci/build_coremltools.py` leaves in an environment that it made, beside the folder of the tree.
RECORD = "mish-guard-build.json"

# The version of a tree that tells none.
UNKNOWN = "unknown"

_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)["']""", re.MULTILINE)
_FIND = "import importlib.util as u; s = u.find_spec('coremltools'); print(s.origin if s else '')"
_SECONDS = 60.0

# The native libraries without which coremltools saves no model.
_SAVING = ("libmilstoragepython", "libmodelpackage")

# How the names of those pipelines begin that coremltools runs before and after the one that a user may choose.
_STAGES = ("frontend_", "backend_")


def interpreter(path: Path | None) -> Interpreter:
    """Who converts for `--candidate PATH`: a Python, or a folder that holds `coremltools`; None: the running Python.

    Raises UsageError for anything else.
    """
    if path is None:
        return Interpreter(python=Path(sys.executable), folder=None)
    if (path / "coremltools" / "__init__.py").is_file():
        return Interpreter(python=Path(sys.executable), folder=path.resolve())
    if path.is_file() and os.access(path, os.X_OK):
        # Not resolved: the Python of a virtual environment is a link whose place says which environment.
        return Interpreter(python=path.absolute(), folder=None)
    if (path / "bin" / "python").exists():
        return Interpreter(python=path.absolute() / "bin" / "python", folder=None)
    msg = (
        f"'{path}' is no candidate. Name a Python that has coremltools, or a folder that holds the package "
        "'coremltools' with its libraries."
    )
    raise UsageError(msg)


def tree(who: Interpreter) -> Path:
    """The folder of the coremltools that `who` imports; raises MachineError where there is none."""
    if who.folder is not None:
        return who.folder / "coremltools"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            done = subprocess.run(  # noqa: S603 - the Python that the user names, no shell
                [str(who.python), "-I", "-c", _FIND],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                cwd=scratch,
                env=processes.neutral_environment(Path(scratch), "locate"),
                timeout=_SECONDS,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"'{who.python}' does not run as a Python: {error}."
        raise MachineError(msg) from error
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    found = Path(lines[-1]) if lines else Path()
    if done.returncode or found.name != "__init__.py" or not found.is_file():
        msg = f"'{who.python}' has no coremltools. Install one there, or name another candidate."
        raise MachineError(msg)
    return found.parent


def check_libraries(folder: Path) -> None:
    """Raise MachineError for a coremltools without the native libraries that save a model, as a plain clone is."""
    missing = [name for name in _SAVING if not any(folder.glob(f"{name}*"))]
    if missing:
        msg = (
            f"'{folder}' holds no {' and no '.join(missing)}: without its native libraries coremltools saves no model. "
            f"A plain clone has none; `ci/gate --coremltools dir:{folder.parent}` supplies them."
        )
        raise MachineError(msg)


def digest(folder: Path) -> str:
    """The sha256 over every file of an installed coremltools by name and content; compiled Python does not count."""
    total = hashlib.sha256()
    for name, path in sorted(_files(folder)):
        total.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def version(folder: Path) -> str:
    """What the tree's version.py says of itself, read and not imported; `UNKNOWN` where it says nothing."""
    try:
        found = _VERSION.search((folder / "version.py").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
    return UNKNOWN if found is None else found[1]


def offered(folder: Path) -> Offered:
    """What a tree offers to those who call it: read from its files, not imported; nothing where they are unreadable."""
    return Offered(targets=_targets(folder), pipelines=_pipelines(folder))


def _targets(folder: Path) -> tuple[str, ...]:
    """The deployment targets, each by its first name."""
    named: dict[str, str] = {}
    for name, value in _assigned(folder / "converters/mil/_deployment_compatibility.py", "AvailableTarget"):
        named.setdefault(ast.unparse(value), name)
    return tuple(named.values())


def _pipelines(folder: Path) -> tuple[str, ...]:
    """The ready-made pipelines of passes that are for users; the others are stages of a conversion."""
    for name, value in _assigned(folder / "converters/mil/mil/passes/pass_pipeline.py", "PassPipeline"):
        if name == "_PIPELINE_NAME_TO_PASSES" and isinstance(value, ast.Dict):
            keys = [str(key.value) for key in value.keys if isinstance(key, ast.Constant)]
            return tuple(key for key in keys if not key.startswith(_STAGES))
    return ()


def _assigned(path: Path, name: str) -> list[tuple[str, ast.expr]]:
    """What the body of a class assigns to plain names."""
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        return []
    found = [each for each in ast.walk(module) if isinstance(each, ast.ClassDef) and each.name == name]
    return [
        (line.targets[0].id, line.value)
        for line in (found[0].body if found else ())
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)
    ]


def build_record(who: Interpreter, tree_sha256: str) -> dict[str, str]:
    """What the build left about the environment of `who`; empty for one that was not built here.

    Raises UnreadableFileError where the tree is not any more what was built and proved.
    """
    path = who.python.parent.parent / RECORD
    if who.folder is not None or not path.exists():
        return {}
    record = files.read_json(path)
    if not isinstance(record, dict) or record.get("tree_sha256") != tree_sha256:
        msg = (
            f"The coremltools in '{path.parent}' is not the one that was built and proved there: its files changed. "
            "Remove that folder and build it again."
        )
        raise UnreadableFileError(msg)
    return record


def _files(folder: Path) -> list[tuple[str, Path]]:
    return [
        (path.relative_to(folder).as_posix(), path)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
