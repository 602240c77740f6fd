"""The first day of an adopter: a fresh copy, one dispatch, one merge, and the check that is required is green."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.conftest import hosted_macs
from tests.workflows.hub import NAME, Hub, Ran, git
from tests.workflows.test_mish_gate import BASELINES, MACS, change_words, event

MEASURED = ("measure (ubuntu-24.04)", "measure (macos-26)", "measure (macos-15)")


@pytest.fixture(scope="module")
def macs(hub: Hub, apple: Path) -> dict[str, str]:
    """Hosted Macs of both versions of macOS, and Apple's repository to build from."""
    assert apple.exists()
    return hosted_macs(hub.folder)


def _as_it_is_shipped(tree: Path) -> None:
    """Nobody has measured a Mac: there are baselines of the emulator alone."""
    for stored in (tree / BASELINES).glob("coreml-*.json"):
        stored.unlink()


def _click(hub: Hub, commit: str, macs: dict[str, str]) -> Ran:
    """The one documented action: `refresh-baselines` with what: missing, all else as GitHub's form has it."""
    inputs = {"reason": "first day", "what": "missing", "engine": "emulator", "runner": "ubuntu-24.04", "profile": ""}
    payload: dict[str, Any] = {"inputs": inputs, "ref": "refs/heads/main"}
    main = "--defaultbranch=main"
    return hub.run("refresh-baselines", "workflow_dispatch", payload, main, commit=commit, environment=macs)


def test_from_a_fresh_copy_to_a_green_check_it_is_one_dispatch_and_one_merge(hub: Hub, macs: dict[str, str]) -> None:
    fresh = hub.branch(NAME, "fresh", _as_it_is_shipped)
    before = hub.run("mish-gate", "push", {"ref": "refs/heads/main", "after": fresh}, commit=fresh, environment=macs)
    assert before.jobs == {"emulated": "success", **dict.fromkeys((*MACS, "mish-gate"), "failure")}
    assert before.summary("mish-gate").startswith(
        "## INCONCLUSIVE: no baseline yet for mish-gate-core-ml-macos-26, mish-gate-core-ml-macos-15. "
        "Next: Actions, refresh-baselines, Run workflow, with what: missing; "
        "then merge the pull request that it opens\n"
    )

    clicked = _click(hub, fresh, macs)
    assert clicked.jobs == dict.fromkeys((*MEASURED, "propose"), "success")
    (call,) = [json.loads(each.removeprefix("gh ")) for each in clicked.calls if each.startswith("gh ")]
    branch = call["create"][call["create"].index("--head") + 1]
    assert "--draft" in call["create"]
    added = git(hub.repository(NAME), "diff", "--name-status", fresh, branch).split()
    places = ("coreml-vm-macos15-cpu-only.json", "coreml-vm-macos26-cpu-only.json")
    assert added == [word for place in places for word in ("A", f"{BASELINES}/{place}")]

    head = hub.branch(NAME, "second-day", change_words, start=branch)
    git(hub.repository(NAME), "branch", "-D", branch)  # act gives every run the same number
    after = hub.run("mish-gate", "pull_request", event(hub, head), commit=head, environment=macs)
    assert after.jobs == dict.fromkeys(("emulated", "base-court", "mish-gate", *MACS), "success")
    assert after.summary("mish-gate").startswith("## PASS: every job passed\n")
