"""`neural-engine.yml`: what a physical Mac may be asked, and the check that holds its verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mish_guard.errors import MachineError
from mish_guard.github.__main__ import main
from tests.workflows.conftest import mac
from tests.workflows.hub import NAME, ROOT, Hub, Ran, git

CHIPS = ("--var", 'MISH_GUARD_CHIPS=["ane-m3"]')


REVIEWERS = {"type": "required_reviewers", "prevent_self_review": True, "reviewers": [{"type": "Team"}]}
ENVIRONMENT: dict[str, Any] = {"protection_rules": [REVIEWERS]}


@pytest.fixture(scope="module")
def physical(hub: Hub, apple: Path) -> dict[str, str]:
    """A physical Mac with an M3 Max, and Apple's repository to build from."""
    assert apple.exists()
    return mac("m3-max", hub.folder)


def checks(ran: Ran) -> list[Any]:
    """The checks that were written, as GitHub was sent them."""
    calls = [json.loads(call.removeprefix("gh ")) for call in ran.calls if call.startswith("gh ")]
    return [call["body"] for call in calls if call["path"] == f"repos/{NAME}/check-runs"]


def dispatch(hub: Hub, number: str, commit: str, head: str, state: str = "open") -> dict[str, Any]:
    """A dispatch for a commit, and what GitHub says of the pull request."""
    request = {"state": state, "head": {"sha": head, "repo": {"full_name": NAME}}}
    main = git(hub.repository(NAME), "rev-parse", "main").strip()
    return {
        "payload": {"inputs": {"pull-request": number, "commit": commit}},
        "answers": {f"repos/{NAME}/pulls/7": request, f"repos/{NAME}/environments/ane-hardware": ENVIRONMENT},
        "commit": main,
    }


def test_the_mac_is_never_offered_to_a_pull_request() -> None:
    """`on` is read as a boolean by YAML 1.1."""
    text = (ROOT / ".github" / "workflows" / "neural-engine.yml").read_text()
    assert set(yaml.safe_load(text)[True]) == {"push", "schedule", "workflow_dispatch"}
    others = [path for path in (ROOT / ".github" / "workflows").glob("*.yml") if "self-hosted" in path.read_text()]
    assert {path.stem for path in others} == {"neural-engine", "refresh-baselines"}
    assert not any("pull_request_target" in path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_verdict_of_a_reviewed_commit_becomes_its_check(hub: Hub, physical: dict[str, str]) -> None:
    """Nobody has stored a baseline of that Mac, so the verdict lacks evidence, and the check does not let it pass."""
    head = hub.branch(NAME, "reviewed", lambda tree: (tree / "CHANGELOG.md").unlink())
    asked = dispatch(hub, "7", head, head)
    ran = hub.run("neural-engine", "workflow_dispatch", asked.pop("payload"), *CHIPS, environment=physical, **asked)
    assert ran.jobs["request"] == ran.jobs["approve"] == "success"
    assert ran.jobs["measure (ane-m3)"] == "failure"
    (check,) = checks(ran)
    assert (check["name"], check["head_sha"], check["status"]) == ("neural-engine", head, "completed")
    assert check["conclusion"] == "action_required"
    assert "Core ML at cpu-and-gpu, cpu-and-ne, cpu-only; emulated at ane" in check["output"]["summary"]
    assert "negative caught" not in check["output"]["summary"]
    assert "INCONCLUSIVE (armed)" in check["output"]["summary"]
    measured = json.loads((ran.artifact("neural-engine-ane-m3") / "report.json").read_text())
    assert (measured["exit_code"], measured["evidence"]["neural_engines"]) == (12, ["cpu-and-ne"])


@pytest.mark.parametrize(
    ("number", "commit", "state"),
    [
        ("7", "main", "open"),
        ("7", "0" * 39, "open"),
        ("7", "b" * 40, "open"),
        ("7", "a" * 40, "closed"),
        ("8", "a" * 40, "open"),
        ("7; touch trapped", "a" * 40, "open"),
        ("7", "a" * 40, "nobody approves"),
    ],
)
def test_anything_but_the_head_of_an_open_pull_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, number: str, commit: str, state: str
) -> None:
    """In process, by the command that the job `request` runs; the next test runs the job."""
    answers = {
        f"repos/{NAME}/pulls/7": {"state": state, "head": {"sha": "a" * 40, "repo": {"full_name": NAME}}},
        f"repos/{NAME}/environments/ane-hardware": {} if state == "nobody approves" else ENVIRONMENT,
    }

    def get(path: str) -> Any:
        if path not in answers:
            raise MachineError(path)
        return answers[path]

    monkeypatch.setattr("mish_guard.github.api.get", get)
    for name, value in (("GITHUB_REPOSITORY", NAME), ("PULL_REQUEST", number), ("COMMIT", commit)):
        monkeypatch.setenv(name, value)
    assert main(["request"]) != 0


def test_a_request_that_is_refused_reaches_no_mac(hub: Hub) -> None:
    asked = dispatch(hub, "$(touch trapped)", "a" * 40, "a" * 40)
    ran = hub.run("neural-engine", "workflow_dispatch", asked.pop("payload"), *CHIPS, **asked)
    assert ran.jobs["request"] == "failure"
    assert "measure (ane-m3)" not in ran.jobs
    assert not checks(ran)
    assert not list(ran.folder.rglob("trapped"))


def test_without_approval_no_mac_is_used(hub: Hub) -> None:
    """act knows no approvals: a step that fails stands for a reviewer who refuses."""

    def refuse(tree: Path) -> None:
        path = tree / ".github" / "workflows" / "neural-engine.yml"
        path.write_text(path.read_text().replace('run: echo "Approved', 'run: exit 1 # "'))

    head = hub.branch(NAME, "refused", refuse)
    asked = dispatch(hub, "7", "a" * 40, "a" * 40)
    ran = hub.run("neural-engine", "workflow_dispatch", asked.pop("payload"), *CHIPS, **{**asked, "commit": head})
    assert (ran.jobs["request"], ran.jobs["approve"]) == ("success", "failure")
    assert not [name for name in ran.jobs if name.startswith("measure")]
    assert [check["conclusion"] for check in checks(ran)] == ["action_required"]


def test_without_a_mac_the_check_says_so_and_does_not_pass(hub: Hub) -> None:
    main = git(hub.repository(NAME), "rev-parse", "main").strip()
    ran = hub.run("neural-engine", "push", {"ref": "refs/heads/main"}, commit=main)
    (check,) = checks(ran)
    assert (check["head_sha"], check["conclusion"]) == (main, "action_required")
    assert check["output"]["title"].startswith("INCONCLUSIVE: job measure ended as skipped; nothing was run")
