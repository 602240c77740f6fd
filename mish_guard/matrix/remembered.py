"""Which rung of each routing ladder worked on this machine before: a small file beside the results.

It saves a climb and decides nothing: a rung from it is offered first and has to be placed by the plan again. So a
file that cannot be read is no error, but it is not passed over in silence either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mish_guard import files
from mish_guard.errors import UnreadableFileError, UnwritableFileError
from mish_guard.records import Document

NAME = "rungs.json"


def machine_key(device: Document) -> str | None:
    """What a rung may depend on: hardware, build of macOS, version of coremltools. None where one is not known."""
    parts = (
        device["hardware"]["id"],
        device["environment"]["build"],
        device["environment"]["packages"].get("coremltools"),
    )
    return None if None in parts else "/".join(parts)


def load(path: Path, key: str | None) -> tuple[dict[str, str], str | None]:
    """The rung by ladder that worked on the machine `key`, and a word on a file that was ignored."""
    if key is None or not path.exists():
        return {}, None
    try:
        return dict(_machines(path).get(key, {})), None
    except UnreadableFileError as error:
        return {}, f"The rungs that worked before were ignored: {error}"


def store(path: Path, key: str | None, worked: Mapping[str, str]) -> str | None:
    """Remember `worked` for the machine `key`, beside what is known of others; a damaged file is replaced.

    Returns a word on why nothing could be written: the run does not depend on it.
    """
    if key is None or not worked:
        return None
    try:
        machines = _machines(path) if path.exists() else {}
    except UnreadableFileError:
        machines = {}
    machines[key] = {**machines.get(key, {}), **worked}
    try:
        files.write_atomically(path, files.readable_json(machines))
    except UnwritableFileError as error:
        return f"The rungs that worked were not remembered: {error}"
    return None


def _machines(path: Path) -> dict[str, dict[str, str]]:
    document = files.read_json(path)
    files.validate(document, "rungs", path)
    machines: dict[str, dict[str, str]] = document
    return machines
