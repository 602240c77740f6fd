"""Files: package data, atomic writes, YAML and JSON that are checked before anyone relies on them."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import math
import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from mish_guard.errors import UnreadableFileError, UnwritableFileError
from mish_guard.files import yaml_subset

DATA = Path(__file__).parent.parent / "data"

# The results of the whole matrix take a tenth of it; a larger file is none of ours.
MOST_BYTES = 64_000_000

# Escape sequences of terminals: those with parameters, those that carry text up to a bell or a backslash, the rest.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b.?|\x9b[0-?]*[ -/]*[@-~]", re.DOTALL
)
# In JSON: a character that is written as an escape, other than a quotation mark and a backslash.
_ESCAPED = re.compile(r'\\[^"\\]')
# Characters that show nothing, or that change how their neighbours are shown: controls, formats (bidi marks among
# them), lone surrogates, private use, unassigned, line and paragraph separators.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str) -> str:
    """`text` on one line, without anything that a terminal or a browser would obey instead of show."""
    if text.isascii() and text.isprintable():
        return text
    kept = " ".join(_ESCAPES.sub("", text).split())
    return "".join(each for each in kept if unicodedata.category(each) not in _UNSHOWN)


def printable_document(document: Any) -> Any:
    """A document of JSON's types with every text, and every key, made printable."""
    if isinstance(document, str):
        return printable(document)
    if isinstance(document, dict):
        return {printable(key): printable_document(value) for key, value in document.items()}
    return [printable_document(each) for each in document] if isinstance(document, list) else document


def is_printable_json(text: str) -> bool:
    """Whether nothing in a document has to be made printable, told by its JSON; False where that cannot be told.

    JSON escapes what is not ASCII and every control character but one, which is not printable.
    """
    return text.isprintable() and not _ESCAPED.search(text)


def check_writable(folder: Path) -> None:
    """Make `folder`, and sure that a file can be written there; raises UnwritableFileError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        msg = f"Nothing can be written to '{folder}': {error.strerror or error}. Choose another folder."
        raise UnwritableFileError(msg) from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one and nothing between.

    Text is written in UTF-8, its line ends as they are. Raises UnwritableFileError.
    """
    try:
        _write(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        msg = f"'{path}' cannot be written: {error.strerror or error}."
        raise UnwritableFileError(msg) from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
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

    The lock goes with the process that holds it, however that ends. Raises UnwritableFileError for a folder that
    cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
    except OSError as error:
        msg = f"'{folder}' cannot be written: {error.strerror or error}. Choose another folder for {what}."
        raise UnwritableFileError(msg) from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"Waiting for another process, which holds '{folder}' for {what}.\n")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def canonical_json(document: object) -> str:
    """JSON on one line with sorted keys; raises ValueError for NaN and infinities."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def readable_json(document: object) -> str:
    """JSON for people and diffs: sorted keys, indented, newline at the end; raises ValueError as canonical_json."""
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n"


def sha256(text: str) -> str:
    """The sha256 of `text` in UTF-8, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """The text of a file in UTF-8; raises UnreadableFileError for one that is not there, too large or no text."""
    try:
        with path.open("rb") as stream:
            content = stream.read(most_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        msg = f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error}."
        raise UnreadableFileError(msg) from error
    if len(content) > most_bytes:
        msg = f"'{path}' is larger than {most_bytes:,} bytes: it is no file of mish-guard."
        raise UnreadableFileError(msg)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"'{path}' is not text in UTF-8: byte {error.start} is 0x{content[error.start]:02x}. Save it as UTF-8."
        raise UnreadableFileError(msg) from error


def read_json(path: Path) -> Any:
    """The document in a JSON file; raises UnreadableFileError, which says where it stops making sense."""
    text = read_text(path)
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(document, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except ValueError as error:
        msg = f"'{path}' is not complete JSON ({error}). Restore it from version control or measure again."
        raise UnreadableFileError(msg) from error
    except RecursionError as error:
        msg = f"'{path}' is nested too deep: it is no file of mish-guard."
        raise UnreadableFileError(msg) from error
    return document


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not a number in JSON"
    raise ValueError(msg)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        msg = f"{digits[:20]} is too large for a number"
        raise ValueError(msg)
    return value


def read_yaml(path: Path) -> Any:
    """The document in a YAML file; raises UnreadableFileError. Only the subset of `yaml_subset` is understood."""
    try:
        return yaml_subset.load(read_text(path))
    except yaml_subset.SubsetError as error:
        msg = f"'{path}' is not valid YAML: {error}"
        raise UnreadableFileError(msg) from error


def validate(document: object, schema_name: str, path: Path) -> None:
    """Check `document` against `data/schemas/<schema_name>.schema.json`; raises UnreadableFileError with the place."""
    try:
        error = next(iter(_validator(schema_name).iter_errors(document)), None)
    except (ValueError, RecursionError) as unfit:  # nested deeper than the validator goes
        msg = f"'{path}' does not follow the {schema_name} schema: {unfit}"
        raise UnreadableFileError(msg) from unfit
    if error is not None:
        place = "/".join(str(part) for part in error.instance_path) or "the top level"
        msg = f"'{path}' does not follow the {schema_name} schema at {place}: {printable(error.message[:300])}"
        raise UnreadableFileError(msg)


@functools.cache
def _validator(schema_name: str) -> Any:
    import jsonschema_rs  # a hundred times faster than jsonschema on a results file

    return jsonschema_rs.validator_for(read_json(DATA / "schemas" / f"{schema_name}.schema.json"))
