"""GitHub's REST API through `gh`, which every runner has and which holds the token."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from mish_guard.errors import MachineError

_SECONDS = 120


def get(path: str) -> Any:
    """The JSON at `path`; raises MachineError with what gh said."""
    return json.loads(_gh(["api", path]))


def get_all(path: str) -> list[Any]:
    """Every item of a list that comes in pages."""
    pages: list[list[Any]] = json.loads(_gh(["api", "--paginate", "--slurp", path]))
    return [item for page in pages for item in page]


def send(method: str, path: str, body: Mapping[str, object]) -> None:
    """POST or PATCH a JSON body."""
    _gh(["api", "--method", method, path, "--input", "-"], json.dumps(body))


def run(*arguments: str) -> str:
    """Another command of gh; its standard output."""
    return _gh(list(arguments))


def _gh(arguments: list[str], body: str | None = None) -> str:
    program = shutil.which("gh")
    if program is None:
        msg = "gh is not on PATH. Install GitHub's command line, https://cli.github.com."
        raise MachineError(msg)
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        [program, *arguments], input=body, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        msg = f"`gh {' '.join(arguments[:4])}` ended with status {done.returncode}: {said}"
        raise MachineError(msg)
    return done.stdout
