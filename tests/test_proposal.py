"""What a job that can write takes from a job that ran a tree: baselines, looked at one by one, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mish_guard import files
from mish_guard.errors import ExitCode, UnreadableFileError, UsageError
from mish_guard.github import hardware, proposal, settings
from mish_guard.results import baseline

NAME = "emulator-ane.json"
SHIPPED = baseline.SHIPPED / NAME


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one baseline, a hook that would be executed, and a place to push to."""
    for name, value in {
        "MISH_GUARD_REASON": "because @everybody <b>\n- x",
        "GITHUB_RUN_ID": "1",
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_SERVER_URL": "https://github.com",
    }.items():
        monkeypatch.setenv(name, value)
    made = tmp_path / "checkout"
    (made / proposal.BASELINES).mkdir(parents=True)
    (made / proposal.BASELINES / "emulator-ieee-fp16.json").write_text(
        (baseline.SHIPPED / "emulator-ieee-fp16.json").read_text()
    )
    for command in (
        ["init", "-q", "-b", "main"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"],
        ["init", "-q", "--bare", str(tmp_path / "remote")],
        ["remote", "add", "origin", str(tmp_path / "remote")],
    ):
        subprocess.run(["git", *command], cwd=made, check=True)
    hook = made / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'trapped'}\n")
    hook.chmod(0o755)
    return made


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The text of every pull request that is opened."""
    opened: list[str] = []

    def run(*arguments: str) -> str:
        opened.append(Path(arguments[arguments.index("--body-file") + 1]).read_text())
        return "https://github.com/a/b/pull/1\n"

    monkeypatch.setattr("mish_guard.github.api.run", run)
    return opened


def _measured(tmp_path: Path, name: str = NAME, text: str | None = None) -> Path:
    folder = tmp_path / "measured" / "baselines-ubuntu-24.04"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(SHIPPED.read_text() if text is None else text)
    return folder.parent


def test_good_baselines_are_proposed_in_words_made_here(root: Path, tmp_path: Path, bodies: list[str]) -> None:
    assert proposal.propose(_measured(tmp_path), root) is ExitCode.PASS
    (body,) = bodies
    assert body.startswith("    because @everybody <b>\n    - x\n")
    assert re.search(r"\| `[\w:./+@-]+@ane` \| new \|", body)
    assert not (tmp_path / "trapped").exists()
    assert (root / proposal.BASELINES / NAME).read_text() == SHIPPED.read_text()


def _edited(edit: Callable[[Any], None], *, seal: bool) -> str:
    document = json.loads(SHIPPED.read_text())
    edit(document)
    if seal:
        document.pop("sha256")
        document["sha256"] = files.sha256(files.canonical_json(document))
    return json.dumps(document)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("conftest.py", "print('executed')"),
        ("emulator-ane.json.py", None),
        ("..json", None),
        (NAME, "{"),
        (NAME, "[]"),
        (NAME, " " * 8_000_001),
        (NAME, _edited(lambda each: each["cells"].clear(), seal=True)),
        (NAME, _edited(lambda each: each.update(schema_version="2"), seal=True)),
        (NAME, _edited(lambda each: each["provenance"].update(reason="another"), seal=False)),
        (NAME, _edited(lambda each: each["cells"].update({"| <img src=x> |": {}}), seal=True)),
    ],
    ids=["code", "name", "dots", "cut", "list", "large", "no cells", "version", "seal", "cell"],
)
def test_whatever_is_no_baseline_stops_all_of_it(
    root: Path, tmp_path: Path, bodies: list[str], name: str, text: str | None
) -> None:
    folder = _measured(tmp_path, name, text)
    _measured(tmp_path, "emulator-ane-ftz.json", (baseline.SHIPPED / "emulator-ane-ftz.json").read_text())
    with pytest.raises(UnreadableFileError):
        proposal.propose(folder, root)
    assert [path.name for path in (root / proposal.BASELINES).iterdir()] == ["emulator-ieee-fp16.json"]
    assert not bodies


@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "pipe", "folder in a folder"])
def test_only_regular_files_are_taken(root: Path, tmp_path: Path, bodies: list[str], kind: str) -> None:
    folder = tmp_path / "measured" / "baselines-a"
    folder.mkdir(parents=True)
    if kind == "link to a file":
        (folder / NAME).symlink_to(SHIPPED)
    elif kind == "link to a folder":
        (folder.parent / "baselines-b").symlink_to(baseline.SHIPPED)
    elif kind == "pipe":
        os.mkfifo(folder / NAME)
    else:
        (folder / NAME).mkdir()
    with pytest.raises(UnreadableFileError):
        proposal.propose(folder.parent, root)
    assert not bodies


def test_on_the_first_day_a_place_that_has_a_baseline_keeps_it(
    root: Path, tmp_path: Path, bodies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISH_GUARD_ONLY_NEW", "true")
    (root / proposal.BASELINES / NAME).write_text(
        _edited(lambda each: each["provenance"].update(reason="x"), seal=True)
    )
    before = (root / proposal.BASELINES / NAME).read_text()
    folder = _measured(tmp_path)
    _measured(tmp_path, "emulator-ane-ftz.json", (baseline.SHIPPED / "emulator-ane-ftz.json").read_text())
    proposal.propose(folder, root)
    assert (root / proposal.BASELINES / NAME).read_text() == before
    assert "@ane-ftz` | new |" in bodies[0]
    assert "@ane` |" not in bodies[0]


# ---- settings ----

RULES: list[dict[str, Any]] = [
    {
        "type": "pull_request",
        "parameters": {
            "require_code_owner_review": True,
            "dismiss_stale_reviews_on_push": True,
            "require_last_push_approval": True,
        },
    },
    {
        "type": "required_status_checks",
        "parameters": {
            "required_status_checks": [
                {"context": name, "integration_id": settings.ACTIONS_APP} for name in settings.REQUIRED
            ]
        },
    },
    {"type": "non_fast_forward"},
    {"type": "merge_queue"},
]
FORKS = "repos/a/b/actions/permissions/fork-pr-contributor-approval"


def _without(name: str) -> list[dict[str, Any]]:
    """The rules, but for one parameter of the reviews."""
    kept = {key: value for key, value in RULES[0]["parameters"].items() if key != name}
    return [{"type": "pull_request", "parameters": kept}, *RULES[1:]]


REVIEWERS = {"type": "required_reviewers", "prevent_self_review": True, "reviewers": [{"type": "User"}]}


def _github(monkeypatch: pytest.MonkeyPatch, rules: Any = RULES, **changes: Any) -> None:
    answers = {
        "repos/a/b": {"default_branch": "main", "private": False},
        "repos/a/b/actions/permissions/workflow": {"default_workflow_permissions": "read"},
        FORKS: {"approval_policy": "all_external_contributors"},
        "repos/a/b/code-scanning/default-setup": {"state": "not-configured"},
        "repos/a/b/environments/ane-hardware": {"protection_rules": [REVIEWERS]},
        **changes,
    }
    monkeypatch.setattr("mish_guard.github.api.get", lambda path: answers[path])
    monkeypatch.setattr("mish_guard.github.api.get_all", lambda _: rules)


def test_settings_that_are_all_there_are_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _github(monkeypatch)
    assert settings.check("a/b") is ExitCode.PASS
    assert capsys.readouterr().out == "a/b: every setting that the gate rests on is there.\n"


@pytest.mark.parametrize(
    ("rules", "changes", "words"),
    [
        (RULES[1:], {}, "Require review from Code Owners"),
        ([RULES[0], *RULES[2:]], {}, "Require status checks to pass: 'mish-gate'"),
        (
            [*RULES[:1], {"type": RULES[1]["type"], "parameters": {"required_status_checks": [{"context": "ci"}]}}],
            {},
            "the source of the check 'ci' must be GitHub Actions",
        ),
        (RULES[:3], {}, "Require merge queue"),
        (_without("dismiss_stale_reviews_on_push"), {}, "Dismiss stale approvals when new commits are pushed"),
        (_without("require_last_push_approval"), {}, "Require approval of the most recent push"),
        ([*RULES[:2], RULES[3]], {}, "Block force pushes"),
        (RULES, {FORKS: {"approval_policy": "first_time_contributors"}}, "approval for all external contributors"),
        (RULES, {"repos/a/b/environments/ane-hardware": {"protection_rules": []}}, "no required reviewers"),
        (RULES, {"repos/a/b/actions/permissions/workflow": {}}, "Read repository contents"),
        (RULES, {"repos/a/b/code-scanning/default-setup": {"state": "configured"}}, "switch its default setup off"),
    ],
    ids=["review", "check", "source", "queue", "stale", "last", "force", "forks", "environment", "token", "scan"],
)
def test_a_setting_that_is_missing_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rules: Any, changes: Any, words: str
) -> None:
    _github(monkeypatch, rules, **changes)
    assert settings.check("a/b") is ExitCode.INCONCLUSIVE
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [{"type": "branch_policy"}],
        [{**REVIEWERS, "reviewers": []}],
        [{**REVIEWERS, "prevent_self_review": False}],
    ],
    ids=["none", "other", "nobody", "oneself"],
)
def test_a_mac_waits_for_somebody_else(monkeypatch: pytest.MonkeyPatch, rules: Any) -> None:
    _github(monkeypatch, **{"repos/a/b/environments/ane-hardware": {"protection_rules": rules}})
    with pytest.raises(UsageError, match="ane-hardware"):
        hardware.require_reviewers("a/b")
    _github(monkeypatch)
    hardware.require_reviewers("a/b")
