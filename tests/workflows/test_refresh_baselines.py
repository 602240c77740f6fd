"""`refresh-baselines.yml`: new baselines become a draft pull request, and bad ones nothing."""

from __future__ import annotations

import json
from typing import Any

from tests.workflows.hub import NAME, Hub, Ran, git

MEASURE = "measure (ubuntu-24.04)"


def refresh(hub: Hub, commit: str, reason: str = "a test") -> Ran:
    inputs = {"reason": reason, "what": "one", "engine": "emulator", "runner": "ubuntu-24.04", "profile": ""}
    payload: dict[str, Any] = {"inputs": inputs, "ref": "refs/heads/main"}
    return hub.run("refresh-baselines", "workflow_dispatch", payload, "--defaultbranch=main", commit=commit)


def test_new_baselines_become_a_draft_pull_request(hub: Hub) -> None:
    """The cells of one baseline had been lost; measuring three times brings them back."""

    def lose(tree: Any) -> None:
        path = tree / "mish_guard" / "data" / "baselines" / "emulator-ane.json"
        path.unlink()

    spell = 'a test"; touch trapped; $(touch trapped)'
    ran = refresh(hub, hub.branch(NAME, "lost", lose), spell)
    assert ran.jobs == {MEASURE: "success", "propose": "success"}
    assert "**Baselines**: 8 cells unchanged, 0 changed or gone, 2 new." in ran.summary(MEASURE)
    (call,) = [json.loads(each.removeprefix("gh ")) for each in ran.calls if each.startswith("gh ")]
    assert "--draft" in call["create"]
    assert spell in call["body"]
    assert "| `graft:sweep/mish-k3/torchscript/mlprogram-fp16@ane` | new |" in call["body"]
    branch = call["create"][call["create"].index("--head") + 1]
    changed = git(hub.repository(NAME), "diff", "--name-only", f"{branch}~", branch).split()
    assert {path.rpartition("/")[0] for path in changed} == {"mish_guard/data/baselines"}
    stored = json.loads(git(hub.repository(NAME), "show", f"{branch}:mish_guard/data/baselines/emulator-ane.json"))
    assert (stored["provenance"]["reason"], stored["provenance"]["repeats"]) == (spell, 3)
    git(hub.repository(NAME), "branch", "-D", branch)  # act gives every run the same number
    assert not list(ran.folder.rglob("trapped"))
    assert not [each for each in ran.calls if each.startswith("cache")]


def test_a_run_over_a_ceiling_proposes_nothing(hub: Hub) -> None:
    def pin_as_is(tree: Any) -> None:
        path = tree / "ci" / "coremltools.yml"
        path.write_text(path.read_text().replace("lowering: exp", "lowering: as-is"))

    ran = refresh(hub, hub.branch(NAME, "bad-refresh", pin_as_is))
    assert ran.jobs[MEASURE] == "failure"
    assert ran.jobs.get("propose") != "success"
    assert "No baseline moves a ceiling" in ran.log
    assert not [each for each in ran.calls if each.startswith("gh")]
