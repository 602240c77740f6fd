"""Rules that every workflow keeps, beyond what zizmor and actionlint read; ci/test runs those."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflows.hub import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def jobs(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


def steps(path: Path) -> Iterator[dict[str, Any]]:
    document = yaml.safe_load(path.read_text())
    for job in document.get("jobs", {"action": document.get("runs")}).values():
        yield from job["steps"]


def test_the_files_are_there() -> None:
    names = {path.stem for path in WORKFLOWS}
    assert names == {"ci", "comment", "mish-gate", "neural-engine", "refresh-baselines"}
    assert {path.parent.name for path in ACTIONS} == {"mish-gate", "setup"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_grants_nothing_and_each_job_says_what_it_needs(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert document["permissions"] == {}
    assert document["concurrency"]["group"]
    for name, job in jobs(path).items():
        assert "permissions" in job, name
        assert 0 < job["timeout-minutes"] <= 360, name


def test_only_three_jobs_can_write() -> None:
    writing = {
        (path.stem, name): sorted(scope for scope, access in job["permissions"].items() if access == "write")
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        if "write" in job["permissions"].values()
    }
    assert writing == {
        ("comment", "comment"): ["pull-requests"],
        ("neural-engine", "check"): ["checks"],
        ("refresh-baselines", "propose"): ["contents", "pull-requests"],
    }


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_actions_of_others_are_pinned_with_their_version(path: Path) -> None:
    for line in path.read_text().splitlines():
        if "uses: " in line and "uses: ./" not in line:
            assert PINNED.search(line), line


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_expression_is_pasted_into_a_command(path: Path) -> None:
    commands = [step["run"] for step in steps(path) if "run" in step]
    assert commands
    for command in commands:
        assert "${{" not in command, command
        assert command.count("\n") <= 1, f"a step is one command: {command}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_checkout_keeps_its_credentials(path: Path) -> None:
    found = [step for step in steps(path) if str(step.get("uses", "")).startswith("actions/checkout@")]
    assert found
    assert all(step["with"]["persist-credentials"] is False for step in found)


def test_caches_are_saved_by_main_alone_and_refreshing_uses_none() -> None:
    text = (ROOT / ".github" / "workflows" / "refresh-baselines.yml").read_text()
    assert 'restore-cache: "false"' in text
    assert "mish-gate@" not in text
    assert "actions/cache" not in text
    for path in WORKFLOWS:
        for line in path.read_text().splitlines():
            if "save-cache" in line:
                assert line.strip() == "save-cache: ${{ github.event_name == 'push' }}"


def test_the_gate_cannot_be_skipped_by_path_or_branch() -> None:
    for name in ("mish-gate", "ci"):
        events = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())[True]
        assert not {"paths", "paths-ignore", "branches"} & set(events["pull_request"] or {})


def test_baselines_have_an_owner() -> None:
    owners = (ROOT / ".github" / "CODEOWNERS").read_text()
    assert re.search(r"^/mish_guard/data/ @", owners, re.MULTILINE)
