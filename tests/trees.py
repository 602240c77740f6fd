"""Trees of coremltools with an edit: the installed package by hard links, the edited files as copies."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

OPS = "converters/mil/frontend/torch/ops.py"

_SPEC = importlib.util.find_spec("coremltools")
assert _SPEC is not None
assert _SPEC.origin is not None
INSTALLED = Path(_SPEC.origin).parent

RELEASED = """    softplus = mb.softplus(x=x)
    tanh = mb.tanh(x=softplus)
    res = mb.mul(x=x, y=tanh, name=node.name)
"""

GOOD = """    e = mb.exp(x=mb.clip(x=x, alpha=-100.0, beta=float("inf")))
    squared = mb.mul(x=e, y=mb.add(x=e, y=2.0))
    denominator = mb.add(x=mb.real_div(x=2.0, y=squared), y=1.0)
    res = mb.real_div(x=x, y=denominator, name=node.name)
"""


def tree(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder that holds the installed coremltools with `files` (path in the package: text) in place of its own."""
    package = folder / "coremltools"
    shutil.copytree(INSTALLED, package, copy_function=os.link, ignore=shutil.ignore_patterns("__pycache__", "test*"))
    for name, text in files.items():
        path = package / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def source(name: str = OPS) -> str:
    """The text of a file of the installed package."""
    return (INSTALLED / name).read_text()


def with_mish(body: str) -> dict[str, str]:
    """ops.py with another body of the converter of mish, four blanks deep, that leaves its result in `res`."""
    text = source()
    assert text.count(RELEASED) == 1
    return {OPS: text.replace(RELEASED, body)}


def with_import(code: str) -> dict[str, str]:
    """A package that executes `code` when it is imported, before anything else."""
    return {"__init__.py": f"{code}\n{source('__init__.py')}"}
