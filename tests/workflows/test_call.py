"""`mish-gate.yml` called from a fork of coremltools, by the second form of the guide."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.workflows.conftest import FORK, mac
from tests.workflows.hub import NAME, ROOT, Hub, git

MACS = ("core-ml (macos-26)", "core-ml (macos-15)")


def _known_to_act(workflow: Path, commit: str) -> None:
    """act does not know who holds a called workflow: what GitHub would put there is written into the file."""
    text = workflow.read_text()
    assert text.count("job.workflow_repository") == text.count("job.workflow_sha") == 6
    workflow.write_text(text.replace("job.workflow_repository", f"'{NAME}'").replace("job.workflow_sha", f"'{commit}'"))


def _caller(hub: Hub) -> Callable[[Path], None]:
    """Puts the second form of the guide into a fork."""
    main = git(hub.repository(NAME), "rev-parse", "main").strip()
    shown = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "workflows.md").read_text(), re.DOTALL)[1]

    def call(tree: Path) -> None:
        path = tree / ".github" / "workflows" / "mish.yml"
        path.write_text(shown.replace("OWNER/mish-guard", NAME).replace("@COMMIT", f"@{main}"))

    return call


def test_a_fork_gets_every_job_and_its_own_tree_is_judged(hub: Hub, fork: Path, tmp_path: Path) -> None:
    """The libraries are reused: the fork is an sdist, without native sources to build."""
    main = git(hub.repository(NAME), "rev-parse", "main").strip()
    guard = tmp_path / "guard"
    git(tmp_path, "clone", "-q", str(hub.repository(NAME)), str(guard))
    workflow = guard / ".github" / "workflows" / "mish-gate.yml"
    _known_to_act(workflow, main)
    workflow.write_text(workflow.read_text().replace("native: build", "native: auto"))
    head = hub.branch(FORK, "call", _caller(hub))
    assert fork.exists()
    payload = {"action": "opened", "number": 7, "pull_request": {"number": 7, "base": {"sha": "a" * 40}}}
    vm = mac("hosted-vm", hub.folder)
    ran = hub.run("mish", "pull_request", payload, commit=head, repository=FORK, environment=vm, guard=guard)
    assert set(ran.jobs.values()) == {"success"}, ran.jobs
    assert "## PASS: every job passed" in ran.log
    for name in ("emulated", "core-ml-macos-26", "core-ml-macos-15"):
        assert f'"commit": "{head}"' in (ran.artifact(f"mish-gate-{name}") / "report.json").read_text()


def test_a_server_that_does_not_tell_whose_files_a_job_has_is_no_pass(hub: Hub, fork: Path) -> None:
    """act as it is: the files would be those of the caller."""
    assert fork.exists()
    head = hub.branch(FORK, "call-unknown", _caller(hub))
    payload = {"action": "opened", "number": 7, "pull_request": {"number": 7, "base": {"sha": "a" * 40}}}
    ran = hub.run("mish", "pull_request", payload, commit=head, repository=FORK)
    assert set(ran.jobs.values()) == {"failure"}
    assert "This server does not say which workflow file a job is from" in ran.log
