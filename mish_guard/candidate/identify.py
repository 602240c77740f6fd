"""The candidate: which coremltools is judged, by the hash of its files, and with which converter it converts."""

from __future__ import annotations

import dataclasses
import platform
import re
from pathlib import Path

from mish_guard import files
from mish_guard.candidate import locate
from mish_guard.convert.witnesses import Hello, Interpreter
from mish_guard.errors import UnreadableFileError
from mish_guard.models import lowerings
from mish_guard.records import CONVERTERS, Candidate


def identify(who: Interpreter, lowering: str) -> Candidate:
    """What is judged, by its files alone: nothing is imported. Raises as `locate` does."""
    folder = locate.tree(who)
    locate.check_libraries(folder)
    tree_sha256 = locate.digest(folder)
    build = locate.build_record(who, tree_sha256)
    return Candidate(
        coremltools=locate.version(folder),
        path=str(folder),
        lowering=lowering,
        converter_sha256="",
        torch="unknown",
        numpy="unknown",
        python=platform.python_version(),
        source=build.get("source"),
        commit=build.get("commit"),
        native=build.get("native"),
        diff=build.get("diff"),
        tree_sha256=tree_sha256,
        replaced=_replaced(lowering, build.get("lowering", lowerings.AS_IS)),
    )


def as_told(candidate: Candidate, hello: Hello) -> Candidate:
    """A candidate with what its witnesses say of themselves."""
    return dataclasses.replace(
        candidate,
        coremltools=hello.coremltools,
        converter_sha256=hello.converter or "",
        converter_line=_converter_line(Path(candidate.path)),
        torch=hello.torch,
        numpy=hello.numpy,
        python=hello.python,
    )


def _converter_line(folder: Path) -> int | None:
    """The line of the tree's converter of mish in the file that reports point to; None where it stands elsewhere."""
    try:
        text = files.read_text(folder.parent / CONVERTERS)
    except UnreadableFileError:
        return None
    found = re.search(r"^def mish\(", text, re.MULTILINE)
    return None if found is None else text.count("\n", 0, found.start()) + 1


def still(candidate: Candidate, who: Interpreter) -> bool:
    """Whether the files of the tree are those that were identified."""
    return locate.digest(Path(candidate.path)) == candidate.tree_sha256 and str(locate.tree(who)) == candidate.path


def _replaced(asked: str, built: str) -> str | None:
    """The lowering that stands in the place of the tree's own converter, if one does."""
    return next((name for name in (asked, built) if name != lowerings.AS_IS), None)
