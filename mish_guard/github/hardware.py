"""The lane of the physical Macs: what it may be asked to judge, and the check that holds its verdict."""

from __future__ import annotations

import os
import re

from mish_guard.errors import ExitCode, MachineError, UsageError
from mish_guard.github import api, words, workflow
from mish_guard.github.overall import Overall

CHECK = "neural-engine"
ENVIRONMENT = "ane-hardware"

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")

# `neutral` and `skipped` satisfy a required check; lack of evidence must not.
_CONCLUSION = {"PASS": "success", "FAIL": "failure", "BROKEN": "failure", "INCONCLUSIVE": "action_required"}


def request() -> ExitCode:
    """What to judge, as the outputs `repository` and `commit`.

    A dispatch names PULL_REQUEST and COMMIT: the full head commit of an open pull request, so that nobody can swap the
    code between the review and the run. Otherwise it is GITHUB_SHA. Raises UsageError for anything else.
    """
    repository = workflow.variable("GITHUB_REPOSITORY")
    number, commit = os.environ.get("PULL_REQUEST", ""), os.environ.get("COMMIT", "")
    if not number and not commit:
        workflow.output(repository=repository, commit=workflow.variable("GITHUB_SHA"))
        return ExitCode.PASS
    if not _NUMBER.fullmatch(number) or not _COMMIT.fullmatch(commit):
        msg = "A dispatch wants the number of a pull request and the 40 hexadecimal digits of its head commit."
        raise UsageError(msg)
    require_reviewers(repository)
    head = api.get(f"repos/{repository}/pulls/{number}")
    if head["state"] != "open" or head["head"]["sha"] != commit or not head["head"]["repo"]:
        msg = f"{commit} is not the head of the open pull request {number}. Take the commit that you reviewed."
        raise UsageError(msg)
    workflow.output(repository=head["head"]["repo"]["full_name"], commit=commit)
    return ExitCode.PASS


def require_reviewers(repository: str) -> None:
    """Raise UsageError unless somebody else than who asks must approve; an environment that is not there asks nobody.

    GitHub makes an environment that a workflow names and nobody has set up, without any rule.
    """
    try:
        rules = api.get(f"repos/{repository}/environments/{ENVIRONMENT}")["protection_rules"]
    except (MachineError, KeyError, TypeError) as error:
        msg = f"The environment '{ENVIRONMENT}' cannot be read: {error}. Make it in the settings, with reviewers."
        raise UsageError(msg) from error
    asked = [rule for rule in rules if rule.get("type") == "required_reviewers" and rule.get("reviewers")]
    if not asked:
        msg = f"The environment '{ENVIRONMENT}' has no required reviewers: nobody would have to approve. Set them."
        raise UsageError(msg)
    if not any(rule.get("prevent_self_review") is True for rule in asked):
        msg = f"Who starts a run could approve it. Set 'Prevent self-review' in the environment '{ENVIRONMENT}'."
        raise UsageError(msg)


def write_check(judged: Overall, *, repository: str, commit: str, url: str) -> None:
    """Write the verdict as a completed check on a commit; raises UsageError for what is no full commit."""
    if not _COMMIT.fullmatch(commit):
        msg = f"'{commit[:60]}' is not a full commit."
        raise UsageError(msg)
    body = {
        "name": CHECK,
        "head_sha": commit,
        "status": "completed",
        "conclusion": _CONCLUSION[judged.verdict],
        "details_url": url,
        "output": {"title": judged.headline[:200], "summary": "\n".join(words.table(judged))},
    }
    api.send("POST", f"repos/{repository}/check-runs", body)
