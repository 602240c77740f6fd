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
    assert names == {
        "ci",
        "codeql",
        "comment",
        "mish-gate",
        "neural-engine",
        "refresh-baselines",
        "release",
        "scorecard",
    }
    assert {path.parent.name for path in ACTIONS} == {"mish-gate", "setup"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_grants_nothing_and_each_job_says_what_it_needs(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    assert document["permissions"] == {}
    assert document["concurrency"]["group"]
    for name, job in jobs(path).items():
        assert "permissions" in job, name
        assert 0 < job["timeout-minutes"] <= 360, name


def test_only_six_jobs_can_write() -> None:
    writing = {
        (path.stem, name): sorted(scope for scope, access in job["permissions"].items() if access == "write")
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        if "write" in job["permissions"].values()
    }
    assert writing == {
        ("codeql", "analyze"): ["security-events"],
        ("comment", "comment"): ["pull-requests"],
        ("neural-engine", "check"): ["checks"],
        ("refresh-baselines", "propose"): ["contents", "pull-requests"],
        ("release", "publish"): ["attestations", "id-token"],
        ("scorecard", "scorecard"): ["id-token", "security-events"],
    }


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_actions_of_others_are_pinned_with_their_version(path: Path) -> None:
    for line in path.read_text().splitlines():
        if "uses: " in line and "uses: ./" not in line:
            assert PINNED.search(line), line


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_expression_is_pasted_into_a_command(path: Path) -> None:
    commands = [step["run"] for step in steps(path) if "run" in step]
    assert commands or path.stem in ("codeql", "scorecard")
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


def _owned(path: str) -> bool:
    """Whether a line of CODEOWNERS covers a path; only folders and files from the root are used there."""
    lines = [line.split() for line in (ROOT / ".github" / "CODEOWNERS").read_text().splitlines()]
    patterns = [words[0] for words in lines if words and not words[0].startswith("#") and len(words) > 1]
    assert all(pattern.startswith("/") and "*" not in pattern for pattern in patterns)
    return any(f"/{path}".startswith(each) if each.endswith("/") else f"/{path}" == each for each in patterns)


def test_what_is_stored_is_built_with_the_xcode_of_what_is_compared_with_it() -> None:
    gate, refresh = (ROOT / ".github" / "workflows" / f"{name}.yml" for name in ("mish-gate", "refresh-baselines"))
    pinned = {each["runner"]: each["xcode"] for each in jobs(gate)["core-ml"]["strategy"]["matrix"]["include"]}
    (named,) = [step["env"]["MISH_GUARD_XCODE"] for step in steps(refresh) if "MISH_GUARD_XCODE" in step.get("env", {})]
    assert dict(re.findall(r"matrix\.place\.runner == '([\w-]+)' && '([^']+)'", named)) == pinned


def test_everything_that_judges_has_an_owner() -> None:
    """What the commands import, directly or not, what they read, and what starts them."""
    seen: set[Path] = set()
    waiting = [ROOT / "mish_guard" / "cli.py", ROOT / "mish_guard" / "github" / "__main__.py"]
    waiting += sorted((ROOT / "mish_guard" / "matrix").glob("*.py"))
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in re.findall(
            r"^\s*(?:from|import) (mish_guard[\w.]*)(?: import ([\w, ]+))?", path.read_text(), re.MULTILINE
        ):
            parts = [name[0], *(f"{name[0]}.{each.strip()}" for each in name[1].split(","))]
            for module in parts:
                place = ROOT.joinpath(*module.split("."))
                waiting += [each for each in (place.with_suffix(".py"), place / "__init__.py") if each.exists()]
    assert len(seen) > 60
    judged = [str(path.relative_to(ROOT)) for path in seen]
    judged += [str(path.relative_to(ROOT)) for path in (ROOT / "mish_guard" / "data").rglob("*") if path.is_file()]
    judged += ["mish_guard/matrix/matrix.yml", "ci/gate", "ci/coremltools.yml", "pyproject.toml", ".ci/run"]
    judged += [str(path.relative_to(ROOT)) for path in [*WORKFLOWS, *ACTIONS]] + [".github/CODEOWNERS"]
    assert [path for path in judged if not _owned(path)] == []
    assert not _owned("README.md")


def test_nothing_is_cached_after_foreign_code_ran() -> None:
    """Every save stands before the first step that builds or judges a tree of others."""
    names = [step["name"] for step in steps(ROOT / ".github" / "actions" / "mish-gate" / "action.yml")]
    saves = [names.index(name) for name in names if name.startswith("Save")]
    assert saves
    assert max(saves) < min(names.index("Examine the machine"), names.index("Judge the tree"))
    assert names.index("Save the environment") < names.index("Key of the native libraries")
    for step in steps(ROOT / ".github" / "actions" / "mish-gate" / "action.yml"):
        if step["name"] in ("Build the pinned tree", "Save the native libraries"):
            assert "!inputs.path && !inputs.repository" in step["if"]


def test_calls_on_the_network_are_noted_wherever_foreign_code_runs_on_linux() -> None:
    """A job that builds or judges a tree, or runs what a pull request brings; before it does anything else."""
    foreign = re.compile(r"actions/mish-gate$|^ci/test|refresh_baselines\.py")
    found = set()
    for path in WORKFLOWS:
        for name, job in jobs(path).items():
            used = [str(step.get("uses", step.get("run", ""))) for step in job["steps"]]
            runners = f"{job['runs-on']} {job.get('strategy', '')}"
            if any(map(foreign.search, used)) and ("ubuntu" in runners or "matrix.place" in runners):
                assert used[0].startswith("step-security/harden-runner@"), (path.stem, name)
                found.add((path.stem, name))
    assert found == {
        ("mish-gate", "emulated"),
        ("mish-gate", "base-court"),
        ("ci", "test"),
        ("ci", "wheel"),
        ("refresh-baselines", "measure"),
        ("release", "wheel"),
    }


def test_scorecard_is_of_the_form_that_its_publisher_believes() -> None:
    """https://github.com/ossf/scorecard-action#workflow-restrictions: nothing but known actions, no variables."""
    path = ROOT / ".github" / "workflows" / "scorecard.yml"
    document = yaml.safe_load(path.read_text())
    (job,) = document["jobs"].values()
    assert not {"env", "defaults"} & {*document, *job}
    assert job["runs-on"].startswith("ubuntu-")
    assert all("uses" in step and "env" not in step for step in job["steps"])


def test_a_mac_of_ones_own_installs_no_python() -> None:
    for path in ACTIONS:
        (python,) = [step for step in steps(path) if step["name"] == "Python"]
        assert python["if"] == "runner.environment != 'self-hosted'"


def test_whatever_a_pull_request_runs_on_a_mac_waits_for_the_environment() -> None:
    """`approve` alone would not do: a change of the file could leave it out of `needs`."""
    found = jobs(ROOT / ".github" / "workflows" / "neural-engine.yml")
    assert found["approve"]["environment"] == "ane-hardware"
    assert found["measure"]["environment"] == "${{ github.event_name == 'workflow_dispatch' && 'ane-hardware' || '' }}"
    assert "approve" in found["measure"]["needs"]
    assert "needs.approve.result == 'success' || github.event_name != 'workflow_dispatch'" in found["measure"]["if"]


def test_baselines_of_a_mac_are_measured_by_an_account_that_runs_no_pull_request() -> None:
    """A runner takes a job whose labels it has, all of them: the two must differ in one that the other lacks."""
    judged = jobs(ROOT / ".github" / "workflows" / "neural-engine.yml")["measure"]["runs-on"]
    stored = jobs(ROOT / ".github" / "workflows" / "refresh-baselines.yml")["measure"]["runs-on"]
    assert judged == ["self-hosted", "macOS", "ARM64", "${{ matrix.chip }}"]
    assert """format('["self-hosted", "macOS", "ARM64", "refresh-{0}"]', matrix.place.runner)""" in stored
    assert "refresh-ane-m1" in (ROOT / "docs" / "workflows.md").read_text()


def test_only_false_weakens_a_run_and_a_report_is_never_older_than_its_job() -> None:
    found = {step["name"]: step for step in steps(ROOT / ".github" / "actions" / "mish-gate" / "action.yml")}
    assert next(iter(found)) == "Forget older reports"
    assert found["Judge the tree"]["env"]["MISH_GUARD_ALLOW_UNARMED"] == "${{ inputs.require-armed == 'false' }}"


def test_the_court_of_the_base_runs_nothing_of_the_pull_request() -> None:
    text = (ROOT / ".github" / "workflows" / "mish-gate.yml").read_text()
    job = yaml.safe_load(text)["jobs"]["base-court"]
    used = [step.get("uses", step.get("run", "")) for step in job["steps"]]
    own = [each for each in used if each.startswith("./")]
    assert own == ["./.base/.github/actions/mish-gate"]
    assert [each for each in used if "ci/" in each and not each.startswith("./.base")] == []
    assert "HEAD^1" in text
    assert "pull_request.base.sha" not in text
    assert "edited" in yaml.safe_load(text)[True]["pull_request"]["types"]


def test_an_index_besides_that_of_everybody_serves_only_files_whose_hash_is_here() -> None:
    for path in [*WORKFLOWS, *ACTIONS]:
        told = [step["env"] for step in steps(path) if "_INDEX_URL" in str(step) or "_FIND_LINKS" in str(step)]
        assert all(each["MISH_GUARD_LOCKED"] == "1" for each in told), path
        assert len(re.findall(r"_INDEX_URL|_FIND_LINKS|--index-url|--find-links", path.read_text())) == len(told), path


def test_torch_at_both_ends_of_its_bounds_is_a_file_that_is_known() -> None:
    ends = jobs(ROOT / ".github" / "workflows" / "release.yml")["versions"]["strategy"]["matrix"]["include"]
    form = re.compile(r"torch @ https://\S+/torch-(\d+\.\d+)\.0%2Bcpu-\S+#sha256=([0-9a-f]{64})")
    (lowest, _), (_, highest) = (form.fullmatch(each["torch"]).groups() for each in ends)  # type: ignore[union-attr]
    assert [each["end"] for each in ends] == ["lowest", "highest"]
    assert f'"torch>={lowest}"' in (ROOT / "pyproject.toml").read_text()
    assert f"sha256:{highest}" in (ROOT / "ci" / "lock.txt").read_text()


def test_what_is_proposed_is_unpacked_into_a_folder_of_its_own() -> None:
    job = jobs(ROOT / ".github" / "workflows" / "refresh-baselines.yml")["propose"]
    (fetch,) = [step for step in job["steps"] if str(step.get("uses", "")).startswith("actions/download-artifact@")]
    assert fetch["with"]["path"] == "${{ runner.temp }}/baselines"


def test_every_test_that_security_names_is_there() -> None:
    named = re.findall(r"`(tests?[_/][\w/.]+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 15
    texts = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    missing = [name for name in named if f"def {name}(" not in texts and not (ROOT / name).exists()]
    assert missing == []
