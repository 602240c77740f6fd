"""The channels of a running step: its summary, its outputs, its annotations. Off GitHub they are not there."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from mish_guard.errors import UsageError

# GitHub shows ten annotations of a step and drops the rest without a word
# (https://github.com/orgs/community/discussions/68471).
MOST_ANNOTATIONS = 10
_MOST_CHARACTERS = 4000


def variable(name: str) -> str:
    """What GitHub, or the step, has set; raises UsageError where nobody has."""
    value = os.environ.get(name, "")
    if not value:
        msg = f"{name} is not set; GitHub sets it, or the step has to."
        raise UsageError(msg)
    return value


def run_url() -> str:
    """The page of the running workflow."""
    return f"{variable('GITHUB_SERVER_URL')}/{variable('GITHUB_REPOSITORY')}/actions/runs/{variable('GITHUB_RUN_ID')}"


def summarize(text: str) -> None:
    """Append Markdown to the step's summary; off GitHub it goes to stdout."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(text)
    else:
        sys.stdout.write(text)


def output(**values: object) -> None:
    """Set outputs of the step, underscores for hyphens; a value of several lines is refused by a ValueError."""
    lines = [f"{name.replace('_', '-')}={value}" for name, value in values.items()]
    if any("\n" in line or "\r" in line for line in lines):
        msg = "An output of a step must be one line."
        raise ValueError(msg)
    path = os.environ.get("GITHUB_OUTPUT")
    if path:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What GitHub shows beside a run, or at a line of a file: `level` is error, warning or notice."""

    level: str
    title: str
    message: str
    file: str | None = None
    line: int | None = None


def annotate(given: Annotation) -> None:
    """One annotation. Line ends and separators are escaped as GitHub asks."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    message = given.message[:_MOST_CHARACTERS].replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    place = {"file": given.file, "line": given.line, "title": given.title.replace("\r", "").replace("\n", " ")}
    named = ",".join(f"{name}={_property(str(value))}" for name, value in place.items() if value is not None)
    sys.stderr.write(f"::{given.level} {named}::{message}\n")
    sys.stderr.flush()


def _property(value: str) -> str:
    return value.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
