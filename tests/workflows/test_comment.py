"""`comment.yml`: one comment, from a run that can be anybody's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mish_guard.errors import UnreadableFileError, UsageError
from mish_guard.github import comment, numbers, overall
from tests.workflows.hub import NAME, ROOT, Hub, Ran, git

HEAD = "c" * 40
PULLS = f"repos/{NAME}/pulls?state=open&head=stranger:patch-1&per_page=100"
COMMENTS = f"repos/{NAME}/issues/7/comments?per_page=100"
VERDICT: dict[str, Any] = {
    "jobs": {"emulated": "failure"},
    "runs": {
        "mish-gate-emulated": {
            "verdict": "FAIL",
            "exit_code": 10,
            "armed": True,
            "hardware": [],
            "emulated": ["ane"],
            "coremltools": "9.0+mish.as.is.g1234567",
            "lowering": "as-is",
            "counts": {"over ceiling": 66, "same": 100},
            "defects": ["MISH-SOFTPLUS-CLIFF"],
        }
    },
}


@pytest.fixture
def end(hub: Hub) -> Any:
    """The end of a fork's gate run that left a verdict, with what GitHub knows of pull requests and comments."""

    def run(verdict: object) -> Ran:
        main = git(hub.repository(NAME), "rev-parse", "main").strip()
        number = len(list(hub.folder.glob("run-*")))
        artifact = hub.folder / f"artifacts-{number}" / "verdict"
        artifact.mkdir(parents=True)
        (artifact / "verdict.json").write_text(verdict if isinstance(verdict, str) else json.dumps(verdict))
        request = {"number": 7, "head": {"sha": HEAD, "repo": {"id": 5}}}
        return hub.run(
            "comment",
            "workflow_run",
            {"action": "completed", "workflow_run": _run(comment.WORKFLOW)},
            commit=main,
            answers={PULLS: [request], COMMENTS: []},
            environment={"STAND_IN_ARTIFACTS": str(artifact.parent)},
        )

    return run


def _run(path: str) -> dict[str, Any]:
    owner = {"login": "stranger"}
    return {
        "id": 4711,
        "path": path,
        "event": "pull_request",
        "conclusion": "failure",
        "head_sha": HEAD,
        "head_branch": "patch-1",
        "head_repository": {"id": 5, "full_name": "stranger/mish-guard", "owner": owner},
        "html_url": "https://github.com/mish-guard/mish-guard/actions/runs/1",
    }


def sent(ran: Ran) -> list[Any]:
    return [json.loads(call.removeprefix("gh ")) for call in ran.calls if call.startswith("gh ")]


def _ours(body: str) -> dict[str, Any]:
    return {"id": 11, "user": {"login": "github-actions[bot]"}, "body": body}


def test_the_verdict_is_commented_once(end: Any) -> None:
    ran = end(VERDICT)
    assert ran.jobs == {"comment": "success"}
    assert "artifact verdict of run 4711" in ran.calls
    (call,) = sent(ran)
    assert (call["method"], call["path"]) == ("POST", f"repos/{NAME}/issues/7/comments")
    body = call["body"]["body"]
    assert "## FAIL: reintroduces MISH-SOFTPLUS-CLIFF\n" in body
    assert "| mish-gate-emulated | FAIL (armed): reintroduces MISH-SOFTPLUS-CLIFF | no hardware was measured" in body
    assert f"Since commit {HEAD[:12]}" in body


def test_the_comment_is_edited_only_when_the_figures_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = comment.render(overall.from_json(VERDICT), commit="d" * 40, url="https://example.org", conclusion="failure")
    assert _commented(monkeypatch, tmp_path, comments=(_ours(old),))[1] == []
    changed = json.loads(json.dumps(VERDICT))
    changed["runs"]["mish-gate-emulated"]["counts"]["same"] = 99
    _, ((method, path, _),) = _commented(monkeypatch, tmp_path, changed, comments=(_ours(old),))
    assert (method, path) == ("PATCH", f"repos/{NAME}/issues/comments/11")


def test_a_comment_of_somebody_else_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    theirs = {"id": 12, "user": {"login": "stranger"}, "body": "<!-- mish-guard 0 -->"}
    of_a_ghost = {"id": 14, "user": None, "body": None}
    of_another_workflow = {**_ours("Coverage is 100 %"), "id": 13}
    _, (call,) = _commented(monkeypatch, tmp_path, comments=(theirs, of_a_ghost, of_another_workflow))
    assert call[0] == "POST"


@pytest.mark.parametrize(
    "verdict",
    [
        "",
        "[" * 100_000,
        {**VERDICT, "runs": {"@everybody": None}},
        {**VERDICT, "jobs": {"emulated": "<img src=x>"}},
        {**VERDICT, "runs": {"mish-gate-mine": None}},
        {**VERDICT, "jobs": {"mine": "success"}},
        {"jobs": {}, "runs": {"mish-gate-emulated": {**VERDICT["runs"]["mish-gate-emulated"], "defects": ["BUY-NOW"]}}},
        {"jobs": {}, "runs": {"a": {**VERDICT["runs"]["mish-gate-emulated"], "defects": ["[x](http://x)"]}}},
        {"jobs": {}, "runs": {"a": {**VERDICT["runs"]["mish-gate-emulated"], "coremltools": "9.0 @all"}}},
        {"jobs": {}, "runs": {"a": {**VERDICT["runs"]["mish-gate-emulated"], "counts": {"same": "many"}}}},
        {"jobs": {}, "runs": {"a": {**VERDICT["runs"]["mish-gate-emulated"], "verdict": "PASS"}}},
    ],
    ids=[
        "empty",
        "deep",
        "name",
        "result",
        "run",
        "job",
        "unknown defect",
        "defect",
        "version",
        "count",
        "contradiction",
    ],
)
def test_whatever_is_no_verdict_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: object
) -> None:
    """In process: act is not needed to see that the file is refused before anything is asked or sent."""
    path = tmp_path / "verdict.json"
    path.write_text(verdict if isinstance(verdict, str) else json.dumps(verdict))
    monkeypatch.setattr("mish_guard.github.comment._pull_request", lambda *_: 7)
    monkeypatch.setattr("mish_guard.github.api.send", lambda *_: pytest.fail("something was sent"))
    monkeypatch.setattr("mish_guard.github.api.get_all", lambda *_: pytest.fail("something was asked"))
    event = {"repository": {"full_name": NAME}, "workflow_run": _run(comment.WORKFLOW)}
    with pytest.raises(UnreadableFileError):
        comment.comment(event, path)


@pytest.mark.parametrize("other", [{"head": "e" * 40}, {"fork": 6}])
def test_a_commit_that_is_not_the_head_of_that_pull_request_is_not_commented(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: dict[str, Any]
) -> None:
    assert _commented(monkeypatch, tmp_path, **other)[1] == []


def test_another_workflow_of_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        _commented(monkeypatch, tmp_path, path=".github/workflows/mine.yml")


def _commented(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    verdict: Any = VERDICT,
    *,
    comments: tuple[Any, ...] = (),
    head: str = HEAD,
    fork: int = 5,
    **of_run: Any,
) -> tuple[list[str], list[Any]]:
    """What is asked of GitHub, and sent, for the end of a run; in process, by what the job runs."""
    asked: list[str] = []
    sent: list[Any] = []

    def get_all(path: str) -> list[Any]:
        asked.append(path)
        known = {"number": 7, "head": {"sha": head, "repo": {"id": fork}}}
        return [known] if "/pulls?" in path else list(comments)

    monkeypatch.setattr("mish_guard.github.api.get_all", get_all)
    monkeypatch.setattr("mish_guard.github.api.send", lambda *each: sent.append(each))
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    event = {"repository": {"full_name": NAME}, "workflow_run": {**_run(comment.WORKFLOW), **of_run}}
    comment.comment(event, tmp_path / "verdict.json")
    return asked, sent


@pytest.mark.parametrize(
    ("branch", "spelled"),
    [("fix#12", "fix%2312"), ("a&state=closed", "a%26state%3Dclosed"), ("c++", "c%2B%2B"), ("a/b c", "a%2Fb%20c")],
)
def test_a_branch_of_any_name_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, branch: str, spelled: str
) -> None:
    asked, sent = _commented(monkeypatch, tmp_path, head_branch=branch)
    assert asked[0] == f"repos/{NAME}/pulls?state=open&head=stranger:{spelled}&per_page=100"
    assert len(sent) == 1


def test_a_fork_that_was_deleted_gets_no_comment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _commented(monkeypatch, tmp_path, head_repository=None) == ([], [])


def test_the_conclusion_of_github_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run that failed can leave a file that says PASS, and the reverse."""
    run = {**VERDICT["runs"]["mish-gate-emulated"], "verdict": "PASS", "exit_code": 0, "defects": []}
    passed: dict[str, Any] = {"jobs": {"emulated": "success"}, "runs": {"mish-gate-emulated": run}}
    for verdict, conclusion in ((passed, "failure"), (VERDICT, "success")):
        _, ((_, _, body),) = _commented(monkeypatch, tmp_path, verdict, conclusion=conclusion)
        assert f"## The run ended as {conclusion}, and the file that it left says otherwise" in body["body"]
        assert "| run | verdict |" not in body["body"]


def test_a_comment_is_never_larger_than_github_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mish_guard.github.words.table", lambda _: ["x" * 99] * 2000)
    judged = overall.from_json(VERDICT)
    text = comment.render(judged, commit=HEAD, url="https://example.org", conclusion="failure")
    assert len(text.encode()) < 61_000
    assert "More does not fit here." in text


def test_the_known_runs_and_jobs_are_those_of_the_workflow() -> None:
    text = (ROOT / comment.WORKFLOW).read_text()
    needs = re.findall(r"needs: \[(.*)\]", text)[0].split(", ")
    expected = re.findall(r"--expect (.*)", text)[0].split()
    assert set(needs) == numbers.JOBS
    assert {*expected, numbers.BASE_COURT} == numbers.RUNS
    assert numbers.known_defects() >= {"MISH-SOFTPLUS-CLIFF", "LSE-OVERFLOW"}
