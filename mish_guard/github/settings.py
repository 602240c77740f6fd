"""The settings of a repository without which the workflows prove nothing, read through the API.

Nothing is changed. Reading rulesets and environments takes a token that may read them: `gh auth login` as a maintainer.
"""

from __future__ import annotations

from collections.abc import Iterator

from mish_guard.errors import ExitCode, MachineError, UsageError
from mish_guard.github import api, hardware
from mish_guard.records import Document

REQUIRED = ("mish-gate", "ci")

# GitHub Actions, whose checks are meant: without a source any app or token could write a check of that name.
ACTIONS_APP = 15368


def check(repository: str) -> ExitCode:
    """Print what is missing, one line each with the place in the settings; PASS where nothing is."""
    missing = list(_missing(repository))
    for line in missing:
        print(f"missing  {line}")
    if not missing:
        print(f"{repository}: every setting that the gate rests on is there.")
    return ExitCode.INCONCLUSIVE if missing else ExitCode.PASS


def _missing(repository: str) -> Iterator[str]:
    branch = api.get(f"repos/{repository}")["default_branch"]
    rules: dict[str, list[Document]] = {}
    for rule in api.get_all(f"repos/{repository}/rules/branches/{branch}"):
        rules.setdefault(rule["type"], []).append(rule.get("parameters") or {})
    where = f"Settings, Rules, Rulesets, on '{branch}'"
    yield from _reviews(rules.get("pull_request", []), where)
    yield from _checks(rules.get("required_status_checks", []), where)
    for kind, words in (("non_fast_forward", "Block force pushes"), ("merge_queue", "Require merge queue")):
        if kind not in rules:
            yield f"{where}: {words}."
    yield from _workflows(repository)
    try:
        hardware.require_reviewers(repository)
    except UsageError as error:
        yield f"Settings, Environments: {error}"


def _reviews(given: list[Document], where: str) -> Iterator[str]:
    for name, words in (
        ("require_code_owner_review", "Require review from Code Owners"),
        ("dismiss_stale_reviews_on_push", "Dismiss stale approvals when new commits are pushed"),
        ("require_last_push_approval", "Require approval of the most recent push"),
    ):
        if not any(each.get(name) is True for each in given):
            yield f"{where}: {words}."


def _checks(given: list[Document], where: str) -> Iterator[str]:
    found = [each for rule in given for each in rule.get("required_status_checks", [])]
    for name in REQUIRED:
        sources = [each.get("integration_id") for each in found if each.get("context") == name]
        if not sources:
            yield f"{where}: Require status checks to pass: '{name}'."
        elif ACTIONS_APP not in sources:
            yield f"{where}: the source of the check '{name}' must be GitHub Actions, not any."


def _workflows(repository: str) -> Iterator[str]:
    where = "Settings, Actions, General"
    allowed = api.get(f"repos/{repository}/actions/permissions/workflow")
    if allowed.get("default_workflow_permissions") != "read":
        yield f"{where}: Workflow permissions: Read repository contents."
    try:
        policy = api.get(f"repos/{repository}/actions/permissions/fork-pr-contributor-approval").get("approval_policy")
    except MachineError:
        policy = None
    if policy != "all_external_contributors":
        yield f"{where}: Require approval for all external contributors."
    if _has_default_setup(repository):
        yield "Settings, Advanced Security: CodeQL: switch its default setup off, which refuses codeql.yml."


def _has_default_setup(repository: str) -> bool:
    """GitHub takes no result of a workflow of CodeQL while its own setup is on."""
    try:
        return bool(api.get(f"repos/{repository}/code-scanning/default-setup").get("state") == "configured")
    except MachineError:
        return False
