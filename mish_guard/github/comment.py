"""One comment on a pull request that holds the verdict of its last run, edited only when the figures changed.

Called by a workflow with a token that can write, after the run of a pull request that can be anybody's. The run's own
word for its pull request is not asked: GitHub is, by head repository and commit. Of what the run left only numbers and
names of fixed forms are repeated.
"""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from pathlib import Path

from mish_guard.errors import ExitCode, UnreadableFileError, UsageError
from mish_guard.github import api, numbers, overall, words
from mish_guard.github.overall import Overall
from mish_guard.records import Document

WORKFLOW = ".github/workflows/mish-gate.yml"
VERDICT = "verdict.json"
_MARK = "<!-- mish-guard "
_AUTHOR = "github-actions[bot]"

# GitHub refuses comments of more than 65,536 characters; of these none is outside ASCII.
_MOST_CHARACTERS = 60_000


def comment(event: Document, verdict: Path) -> ExitCode:
    """Post or edit the comment for the run in a `workflow_run` event; says in one line what was done.

    Raises UsageError for an event that is not the end of a pull request's gate run, UnreadableFileError for a verdict
    that is not one, MachineError when GitHub refuses.
    """
    run = _gate_run(event)
    repository = str(event["repository"]["full_name"])
    number = _pull_request(repository, run)
    if number is None:
        print("No open pull request has this commit as its head: nothing to comment on.")
        return ExitCode.PASS
    judged = _known(overall.from_json(numbers.read(verdict)))
    body = render(judged, commit=run["head_sha"], url=run["html_url"], conclusion=str(run.get("conclusion")))
    print(_place(repository, number, body))
    return ExitCode.PASS


def render(judged: Overall, *, commit: str, url: str, conclusion: str) -> str:
    """The comment: a mark that changes with the figures alone, the table, and since which commit it is so.

    GitHub's own conclusion wins: a file that says otherwise is not repeated at all.
    """
    agrees = (judged.exit_code is ExitCode.PASS) == (conclusion == "success")
    said = words.table(judged) if agrees else _contradiction(conclusion)
    figures = json.dumps([judged.to_json(), agrees, conclusion == "success"], sort_keys=True)
    mark = f"{_MARK}{hashlib.sha256(figures.encode()).hexdigest()[:16]} -->"
    text = "\n".join([mark, *said])
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS].rpartition(chr(10))[0]}\n\nMore does not fit here."
    return f"{text}\n\nSince commit {commit[:12]}: [the run]({url}).\n"


def _contradiction(conclusion: str) -> list[str]:
    word = conclusion if conclusion.isalpha() else "unknown"
    return [f"## The run ended as {word}, and the file that it left says otherwise", "", "Believe the run; open it."]


def _known(judged: Overall) -> Overall:
    """The verdict, if it names no run, job or defect but those that there are; raises UnreadableFileError else."""
    defects = {name for run in judged.runs.values() if run is not None for name in run.defects}
    unknown = sorted(
        (judged.runs.keys() - numbers.RUNS) | (judged.jobs.keys() - numbers.JOBS) | (defects - numbers.known_defects())
    )
    if unknown:
        msg = f"The verdict names {len(unknown)} runs, jobs or defects that there are not; nothing is commented."
        raise UnreadableFileError(msg)
    return judged


def _gate_run(event: Document) -> Document:
    run: Document = event.get("workflow_run") or {}
    if run.get("path") != WORKFLOW or run.get("event") != "pull_request":
        msg = f"The event is not the end of a pull request's run of {WORKFLOW}; nothing is commented."
        raise UsageError(msg)
    return run


def _pull_request(repository: str, run: Document) -> int | None:
    """The open pull request whose head is the commit that was judged, in the repository it was judged for."""
    head = run["head_repository"]
    if head is None:  # the fork was deleted in the meantime
        return None
    source = urllib.parse.quote(f"{head['owner']['login']}:{run['head_branch']}", safe=":")
    listed = api.get_all(f"repos/{repository}/pulls?state=open&head={source}&per_page=100")
    fitting = [
        each["number"]
        for each in listed
        if each["head"]["sha"] == run["head_sha"] and (each["head"]["repo"] or {}).get("id") == head["id"]
    ]
    return int(fitting[0]) if len(fitting) == 1 else None


def _place(repository: str, number: int, body: str) -> str:
    ours = [
        each
        for each in api.get_all(f"repos/{repository}/issues/{number}/comments?per_page=100")
        if (each["user"] or {}).get("login") == _AUTHOR and (each["body"] or "").startswith(_MARK)
    ]
    if not ours:
        api.send("POST", f"repos/{repository}/issues/{number}/comments", {"body": body})
        return f"Commented on pull request {number}."
    if ours[0]["body"].splitlines()[0] == body.splitlines()[0]:
        return f"The comment on pull request {number} says so already."
    api.send("PATCH", f"repos/{repository}/issues/comments/{int(ours[0]['id'])}", {"body": body})
    return f"Edited the comment on pull request {number}."
