"""`ci.yml`: its jobs call one script each, and its last one is no green by omission."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workflows.hub import NAME, Hub


@pytest.mark.parametrize(("ends", "result"), [(0, "success"), (1, "failure")])
def test_one_red_job_makes_ci_red(hub: Hub, ends: int, result: str) -> None:
    """The scripts of the jobs are replaced: the suite would run itself."""

    def edit(tree: Path) -> None:
        (tree / "ci" / "test").write_text(f"#!/bin/sh\nexit {ends}\n")
        (tree / "ci" / "test-wheel").write_text("#!/bin/sh\nmkdir -p dist && touch dist/a.whl\n")

    head = hub.branch(NAME, f"ci-{ends}", edit)
    ran = hub.run("ci", "merge_group", {}, commit=head)
    tests = {name: ended for name, ended in ran.jobs.items() if name.startswith("test (")}
    assert len(tests) == 8
    assert set(tests.values()) == {result}
    assert (ran.jobs["wheel"], ran.jobs["ci"]) == ("success", result)
