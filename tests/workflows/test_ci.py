"""`ci.yml`: its jobs call one script each, and its last one is no green by omission."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflows.hub import NAME, ROOT, Hub

CI = ROOT / ".github" / "workflows" / "ci.yml"
_RESULT = ("success", "failure")


@pytest.mark.parametrize(("test", "wheel"), [(0, 0), (0, 1)])
def test_one_red_job_makes_ci_red(hub: Hub, test: int, wheel: int) -> None:
    """The scripts of the jobs are replaced: the suite would run itself. `test` and `wheel` count alike, by one line."""
    assert "needs.test.result != 'success' || needs.wheel.result != 'success'" in CI.read_text()

    def edit(tree: Path) -> None:
        (tree / "ci" / "test").write_text(f"#!/bin/sh\nexit {test}\n")
        (tree / "ci" / "test-wheel").write_text(f"#!/bin/sh\nmkdir -p dist && touch dist/a.whl\nexit {wheel}\n")

    head = hub.branch(NAME, f"ci-{test}{wheel}", edit)
    ran = hub.run("ci", "merge_group", {}, commit=head)
    tests = {name: ended for name, ended in ran.jobs.items() if name.startswith("test (")}
    assert len(tests) == 8
    assert set(tests.values()) == {_RESULT[test]}
    assert (ran.jobs["wheel"], ran.jobs["ci"]) == (_RESULT[wheel], _RESULT[test or wheel])
