"""New baselines as a pull request: a branch with one commit, and the table of before and after for who reviews it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from mish_guard.errors import ExitCode, MachineError, UsageError
from mish_guard.github import api, workflow

BASELINES = Path("mish_guard/data/baselines")
_AUTHOR = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")


def propose(changes: Path, root: Path) -> ExitCode:
    """Commit the baselines below `root` to a branch of this run and open a draft pull request.

    MISH_GUARD_REASON says why. A draft, because a pull request that a workflow opens starts no checks: they start when
    a person marks it as ready. Raises UsageError where nothing changed or a reason is missing, MachineError when git or
    GitHub refuses.
    """
    reason = workflow.variable("MISH_GUARD_REASON").strip()
    if not _git(root, "status", "--porcelain", "--", str(BASELINES)):
        msg = "The baselines are what they were: there is nothing to propose."
        raise UsageError(msg)
    branch, title = f"baselines-{workflow.variable('GITHUB_RUN_ID')}", f"Baselines: {' '.join(reason.split())}"[:120]
    _git(root, "checkout", "-b", branch)
    _git(root, "add", "--", str(BASELINES))
    name, address = _AUTHOR
    _git(root, "-c", f"user.name={name}", "-c", f"user.email={address}", "commit", "-m", title)
    # The token reaches git through gh; it is never written to disk.
    _git(root, "-c", "credential.helper=!gh auth git-credential", "push", "origin", f"HEAD:refs/heads/{branch}")
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body.md"
        body.write_text(_body(reason, changes), encoding="utf-8")
        options = ["--draft", "--head", branch, "--title", title, "--body-file", str(body)]
        print(api.run("pr", "create", "--repo", workflow.variable("GITHUB_REPOSITORY"), *options).strip())
    return ExitCode.PASS


def _body(reason: str, changes: Path) -> str:
    return (
        f"{reason}\n\n{changes.read_text(encoding='utf-8')}\n"
        f"Measured by [this run]({workflow.run_url()}); its artifact holds the results.\n\n"
        "Look at the table, then mark this as ready: that starts the checks.\n"
    )


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        ["git", *arguments],  # noqa: S607 - git as the runner has it
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip() or "no reason given").splitlines()[-1]
        msg = f"`git {' '.join(arguments)}` ended with status {done.returncode}: {said}"
        raise MachineError(msg)
    return done.stdout
