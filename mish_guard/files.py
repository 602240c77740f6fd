"""Files: package data, atomic writes, YAML and JSON that are checked before anyone relies on them."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mish_guard.errors import UnreadableFileError, UsageError

DATA = Path(__file__).parent / "data"


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader, or a crash, sees the old file or the new one and nothing between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Hold `folder` for this process alone; a second one waits and says for whom, `what` being what it is for.

    The lock goes with the process that holds it, however that ends. Raises UsageError for a folder that cannot be
    written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
    except OSError as error:
        msg = f"'{folder}' cannot be written: {error.strerror or error}. Choose another folder for {what}."
        raise UsageError(msg) from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"Waiting for another process, which holds '{folder}' for {what}.\n")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def canonical_json(document: Any) -> str:
    """JSON on one line with sorted keys; raises ValueError for NaN and infinities."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def readable_json(document: Any) -> str:
    """JSON for people and diffs: sorted keys, indented, newline at the end; raises ValueError as canonical_json."""
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n"


def sha256(text: str) -> str:
    """The sha256 of `text` in UTF-8, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path) -> Any:
    """The document in a JSON file; raises UnreadableFileError, which says where it stops making sense."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"'{path}' cannot be read: {error.strerror or error}."
        raise UnreadableFileError(msg) from error
    except ValueError as error:
        msg = f"'{path}' is not complete JSON ({error}). Restore it from version control or measure again."
        raise UnreadableFileError(msg) from error


def read_yaml(path: Path) -> Any:
    """The document in a YAML file; raises UnreadableFileError."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"'{path}' cannot be read: {error.strerror or error}."
        raise UnreadableFileError(msg) from error
    except yaml.YAMLError as error:
        msg = f"'{path}' is not valid YAML: {' '.join(str(error).split())}"
        raise UnreadableFileError(msg) from error


def validate(document: Any, schema_name: str, path: Path) -> None:
    """Check `document` against `data/schemas/<schema_name>.schema.json`; raises UnreadableFileError with the place."""
    error = next(iter(_validator(schema_name).iter_errors(document)), None)
    if error is not None:
        place = "/".join(str(part) for part in error.instance_path) or "the top level"
        msg = f"'{path}' does not follow the {schema_name} schema at {place}: {error.message[:300]}"
        raise UnreadableFileError(msg)


@functools.cache
def _validator(schema_name: str) -> Any:
    import jsonschema_rs  # a hundred times faster than jsonschema on a results file

    return jsonschema_rs.validator_for(read_json(DATA / "schemas" / f"{schema_name}.schema.json"))
