"""One file with all that a volunteer's Mac measured: what its owner sends, without anything that names them.

It holds a results file without paths, the checks of `doctor`, and the answers to what only hardware can settle. A file
that comes back is a stranger's: it is read with every check that a results file gets, and with those that a baseline
of it needs.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mish_guard import files
from mish_guard.errors import MachineError, UnreadableFileError
from mish_guard.records import Document, Run
from mish_guard.results import run_file

KIND = "mish-guard measurement"
NAME = "measurement.json"

# Anything that looks like the path of a file, blanks and all; keys of cells have no leading slash.
_PATH = re.compile(r"(?<![\w.])~?/(?:[\w.@+-][\w.@+ ()-]*/)+[\w.@+ -]*")
_KEPT = ("exitcode", "mish_guard", "summary")
_KEPT_OF_TESTS = ("metadata", "nodeid", "outcome")


def write(path: Path, results: Path, checks: Sequence[Document], answers: Sequence[Sequence[str]]) -> None:
    """Write the file atomically; raises MachineError, and writes nothing, should the user's name still be in it."""
    document = files.read_json(results)
    tests = [{name: test[name] for name in _KEPT_OF_TESTS if name in test} for test in document["tests"]]
    kept = {**{name: document[name] for name in _KEPT}, "tests": tests}
    clean = run_file.sealed(_without_paths(kept))
    body = {"kind": KIND, "doctor": _without_paths(list(checks)), "answers": list(answers), "results": clean}
    text = files.readable_json(run_file.sealed(body))
    named = _names_in(text)
    if named:
        msg = f"The file would name you ({', '.join(named)}); nothing was written. Please report this line alone."
        raise MachineError(msg)
    files.write_atomically(path, text)


def read(path: Path, scratch: Path) -> Run:
    """The run in a file; raises UnreadableFileError for one that is not whole or contradicts itself.

    The answers beside it are for whoever looks at the file: its figures give them again.
    """
    document = run_file.check_seal(files.read_json(path), path)
    if document.get("kind") != KIND or not isinstance(document.get("results"), dict):
        msg = f"'{path}' is no measurement of `mish-guard measure`. Ask for the measurement.json that it leaves."
        raise UnreadableFileError(msg)
    inner = scratch / "results.json"
    inner.write_text(files.readable_json(document["results"]), encoding="utf-8")
    return run_file.read_run(inner)


def _without_paths(value: object) -> Any:
    if isinstance(value, str):
        return _PATH.sub("(path)", value)
    if isinstance(value, Mapping):
        return {key: _without_paths(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(each) for each in value]
    return value


def _names_in(text: str) -> list[str]:
    """What of the user is still in a text: the home folder, or the login as a word, unless it is a common one."""
    found = [str(Path.home())] if len(Path.home().parts) > 2 and str(Path.home()) in text else []
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        return found
    common = {"root", "runner", "admin", "user", "test"}
    if login not in common and re.search(rf"\b{re.escape(login)}\b", text):
        found.append("your login")
    return found
