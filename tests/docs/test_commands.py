"""What the pages tell people to type does what they say."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click
import pytest

from mish_guard import cli
from tests.docs import console
from tests.docs.console import ROOT, Step

README = ROOT / "README.md"

# Minutes of building or measuring, a Mac, or trees of the reader. What they do is tested elsewhere: tests/test_ci.py
# and tests/test_build.py run ci/gate and ci/doctor, tests/matrix runs --against, tests/test_coreml.py a virtual Mac.
HEAVY = {
    "ci/gate --coremltools dir:../coremltools --lowering as-is",
    "mish-guard gate --candidate fork --against base",
    "ci/doctor",
    "mish-guard gate --engine coreml",
}


def test_the_readme_does_what_it_says(tmp_path: Path) -> None:
    folder = console.checkout(tmp_path)
    done = [step for step in console.steps(README) if step.command not in HEAVY]
    assert len(done) >= 5
    for step in done:
        console.perform(step, folder)


def test_every_heavy_command_is_still_in_the_readme() -> None:
    assert {step.command for step in console.steps(README)} >= HEAVY


@pytest.mark.parametrize("command", sorted(HEAVY))
def test_a_heavy_command_has_the_options_that_it_is_given(command: str) -> None:
    program, *words = shlex.split(command)
    if program.startswith("ci/"):
        assert os.access(ROOT / program, os.X_OK)
        assert all(word in (ROOT / "ci" / "candidate").read_text() for word in words if word.startswith("--"))
        return
    name, *options = words
    # Raises for an option that there is not.
    cli.cli.commands[name].make_context(name, options)


def test_an_option_that_there_is_not_would_be_seen() -> None:
    with pytest.raises(click.NoSuchOption):
        cli.cli.commands["gate"].make_context("gate", ["--nowhere"])


def test_a_page_that_shows_what_is_not_said_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="does not say: two"):
        console.perform(Step(command="echo one", shown=("two",), code=0), tmp_path)
    with pytest.raises(AssertionError):
        console.perform(Step(command="exit 3", shown=(), code=0), tmp_path)
