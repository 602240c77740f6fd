"""`mish-gate.yml`: pull requests to mish-guard itself, and the one check they need."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mish_guard import files
from mish_guard.results import run_file
from tests.workflows.conftest import mac
from tests.workflows.hub import NAME, Hub, git

MACS = ("core-ml (macos-26)", "core-ml (macos-15)")
WORKFLOW = Path(".github/workflows/mish-gate.yml")
BASELINES = Path("mish_guard/data/baselines")


def event(hub: Hub, head: str, **of_head: Any) -> dict[str, Any]:
    """A pull request of a commit to main."""
    base = git(hub.repository(NAME), "rev-parse", "main").strip()
    request = {"number": 7, "head": {"sha": head, "ref": "change", **of_head}, "base": {"sha": base, "ref": "main"}}
    return {"action": "opened", "number": 7, "pull_request": request}


def change_words(tree: Path) -> None:
    """Nothing that is judged."""
    (tree / "CHANGELOG.md").write_text("# Changelog\n")


def pin_as_is(tree: Path) -> None:
    """The release without the patch is what is judged, and not on Macs."""
    without_macs(tree)
    path = tree / "ci" / "coremltools.yml"
    path.write_text(path.read_text().replace("lowering: exp", "lowering: as-is"))


def bend_the_judge(tree: Path) -> None:
    """The defect is back, and whoever judges calls every failure a pass."""
    pin_as_is(tree)
    rules = tree / "mish_guard" / "judge" / "rules.py"
    text = rules.read_text()
    bent = text.replace("verdict=Verdict.FAIL", "verdict=Verdict.PASS")
    rules.write_text(bent.replace("exit_code=ExitCode.FAIL", "exit_code=ExitCode.PASS"))
    assert rules.read_text() != text


def without_macs(tree: Path) -> None:
    """The job on the Macs is skipped, as a pull request might want it."""
    path = tree / WORKFLOW
    path.write_text(path.read_text().replace("    name: core-ml (", "    if: false\n    name: core-ml ("))


@pytest.fixture(scope="module")
def vm(hub: Hub, apple: Path) -> dict[str, str]:
    """A hosted Mac, and Apple's repository to build from."""
    assert apple.exists()
    return mac("hosted-vm", hub.folder)


def test_a_pull_request_that_leaves_the_patch_in_is_green_everywhere(hub: Hub, vm: dict[str, str]) -> None:
    head = hub.branch(NAME, "words", change_words)
    # A fork's pull request looks like any other to these jobs: they hold no token that can write.
    ran = hub.run("mish-gate", "pull_request", event(hub, head, repo={"fork": True}), commit=head, environment=vm)
    assert ran.jobs == dict.fromkeys(("emulated", "base-court", "mish-gate", *MACS), "success")
    assert ran.summary("base-court").startswith("## PASS (armed): ")
    assert ran.summary("mish-gate").startswith("## PASS: every job passed\n")
    core_ml = ran.summary(MACS[0])
    assert core_ml.startswith("## PASS (armed): ")
    assert "measured by Core ML at cpu-only on Apple M1 (Virtual)" in core_ml
    assert "emulated at ane, ane-coarse, ane-ftz; no Neural Engine was measured" in core_ml
    assert "native libraries: build" in core_ml
    assert "READY for what was asked: no Neural Engine" in ran.log
    assert "**Baselines**: 10 cells unchanged, 0 changed or gone, 0 new." in ran.summary("emulated")
    kept = {path.name for path in ran.artifact("mish-gate-emulated").iterdir()}
    assert kept == {"results.json", "curves.json", "report.json", "summary.md", "candidate.diff"}
    assert not [call for call in ran.calls if call.startswith("cache save")]


def test_a_pin_without_the_patch_is_red_by_name(hub: Hub) -> None:
    head = hub.branch(NAME, "as-is", pin_as_is)
    ran = hub.run("mish-gate", "pull_request", event(hub, head), commit=head)
    assert (ran.jobs["emulated"], ran.jobs["mish-gate"]) == ("failure", "failure")
    assert ran.summary("emulated").startswith("## FAIL (armed): reintroduces MISH-SOFTPLUS-CLIFF: ")
    assert ran.summary("mish-gate").startswith("## FAIL: reintroduces MISH-SOFTPLUS-CLIFF\n")
    assert ("error", "mish-guard: FAIL: reintroduces MISH-SOFTPLUS-CLIFF") in ran.annotations("mish-gate")
    assert list(ran.artifact("mish-gate-emulated").glob("*.obtained.json"))


def test_a_judge_that_a_pull_request_bends_does_not_judge_it(hub: Hub) -> None:
    head = hub.branch(NAME, "bent", bend_the_judge)
    ran = hub.run("mish-gate", "pull_request", event(hub, head), commit=head)
    assert ran.jobs == {"emulated": "success", "base-court": "failure", "mish-gate": "failure"}
    assert ran.summary("emulated").startswith("## PASS (armed): ")
    assert ran.summary("base-court").startswith("## FAIL (armed): reintroduces MISH-SOFTPLUS-CLIFF: ")
    assert ran.summary("mish-gate").startswith("## FAIL: reintroduces MISH-SOFTPLUS-CLIFF\n")


def test_a_skipped_job_is_not_a_pass(hub: Hub) -> None:
    head = hub.branch(NAME, "skipped", without_macs)
    ran = hub.run("mish-gate", "pull_request", event(hub, head), commit=head)
    assert (ran.jobs["emulated"], ran.jobs["mish-gate"]) == ("success", "failure")
    first = ran.summary("mish-gate").splitlines()[0]
    assert first.startswith("## INCONCLUSIVE: job core-ml ended as skipped; mish-gate-core-ml-macos-26 left no report")


def test_baselines_edited_to_hide_a_regression_do_not_count(hub: Hub) -> None:
    """The pull request brings a coarser lowering and baselines to match; the base branch's are used."""

    def edit(tree: Path) -> None:
        path = tree / "ci" / "coremltools.yml"
        path.write_text(path.read_text().replace("lowering: exp", "lowering: stable-softplus"))
        for stored in (tree / BASELINES).glob("emulator-*.json"):
            _forgive(stored)

    head = hub.branch(NAME, "hidden", edit)
    ran = hub.run("mish-gate", "pull_request", event(hub, head), "-j", "emulated", commit=head)
    assert ran.jobs == {"emulated": "failure"}
    summary = ran.summary("emulated")
    assert re.match(r"## FAIL \(armed\): .*\d+ cells worse than the baseline", summary)
    shown = summary.partition("**Baselines**: ")[2]
    assert re.match(r"2 cells unchanged, 8 changed or gone, 0 new\.", shown)
    assert "| sweep/mish-k3/torchscript/mlprogram-fp16@ane | worse |" in shown


def _forgive(path: Path) -> None:
    """Errors of ten thousand units in every binade, sealed as if they had been measured."""
    document = files.read_json(path)
    document.pop("sha256")
    for cell in document["cells"].values():
        cell["figures"]["digest"] = "0" * 64
        for binade in cell["figures"]["binades"].values():
            binade["max_ulp"] = 10_000.0
    path.write_text(files.readable_json(run_file.sealed(document)))


def test_main_keeps_what_it_made_for_later_runs(hub: Hub, vm: dict[str, str]) -> None:
    main = git(hub.repository(NAME), "rev-parse", "main").strip()
    payload = {"ref": "refs/heads/main", "after": main}
    ran = hub.run("mish-gate", "push", payload, "-j", "core-ml", commit=main, environment=vm)
    assert ran.jobs == dict.fromkeys(MACS, "success")
    # The environment came from the cache; the native libraries did not.
    assert [call.split()[1] for call in ran.calls if "environment" in call] == ["restore", "restore"]
    assert sorted(call.split()[1] for call in ran.calls if "native" in call) == ["restore", "restore", "save", "save"]


def test_nothing_in_an_input_is_executed(hub: Hub) -> None:
    main = git(hub.repository(NAME), "rev-parse", "main").strip()
    trap = hub.folder / "trapped"
    spell = f"x\"; touch {trap}; $(touch {trap}) `touch {trap}` '; touch {trap} #"
    payload = {"inputs": dict.fromkeys(("repository", "ref", "lowering", "matrix"), spell)}
    ran = hub.run("mish-gate", "workflow_dispatch", payload, "-j", "emulated", commit=main)
    assert ran.jobs == {"emulated": "failure"}
    assert "is no source of coremltools" in ran.log
    assert ran.summary("emulated").startswith("## BROKEN: ")
    assert not trap.exists()


def test_a_dispatch_judges_the_repository_that_it_names(hub: Hub, fork: Path) -> None:
    main = git(hub.repository(NAME), "rev-parse", "main").strip()
    commit = git(fork, "rev-parse", "main").strip()
    payload = {"inputs": {"repository": "somebody/coremltools", "ref": commit}}
    ran = hub.run("mish-gate", "workflow_dispatch", payload, "-j", "emulated", commit=main)
    assert ran.jobs == {"emulated": "success"}
    report = json.loads((ran.artifact("mish-gate-emulated") / "report.json").read_text())
    assert report["candidate"]["commit"] == commit
    assert report["candidate"]["lowering"] == "as-is"
