"""New baselines as a pull request: a branch with one commit, and the table of before and after for who reviews it.

The files come from a job that built and ran a tree. They are taken one by one, each looked at first, and the text of
the pull request is made here: nothing that came with them is repeated or executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mish_guard.errors import ExitCode, MachineError, UnreadableFileError, UsageError
from mish_guard.github import api, numbers, workflow

BASELINES = Path("mish_guard/data/baselines")
_AUTHOR = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")

_NAME = re.compile(r"(?:coreml|emulator)-[a-z0-9-]{1,60}\.json")
_CELL = re.compile(r"[A-Za-z0-9@:/_.+-]{1,160}")
_MOST_FILES = 200
_MOST_ROWS = 200
_MOST_REASON = 1000


def propose(folder: Path, root: Path) -> ExitCode:
    """Commit baselines to a branch of this run in the checkout `root` and open a draft pull request.

    `folder` holds one folder for each machine that measured. MISH_GUARD_REASON says why; with MISH_GUARD_ONLY_NEW set
    to `true`, places that have a baseline keep it. A draft, because a pull request that a workflow opens starts no
    checks: they start when a person marks it as ready. Raises UnreadableFileError for anything in `folder` that is no
    baseline, UsageError where nothing changed or a reason is missing, MachineError when git or GitHub refuses.
    """
    reason = workflow.variable("MISH_GUARD_REASON").strip()
    changes = _taken(folder, root / BASELINES, only_new=os.environ.get("MISH_GUARD_ONLY_NEW") == "true")
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
    with tempfile.TemporaryDirectory() as scratch:
        body = Path(scratch) / "body.md"
        body.write_text(_body(reason, changes), encoding="utf-8")
        options = ["--draft", "--head", branch, "--title", title, "--body-file", str(body)]
        print(api.run("pr", "create", "--repo", workflow.variable("GITHUB_REPOSITORY"), *options).strip())
    return ExitCode.PASS


def _taken(folder: Path, target: Path, *, only_new: bool) -> list[tuple[str, str]]:
    """Copy the baselines, all of them looked at before the first is written; what became of which cell."""
    found = [
        path for each in sorted(folder.iterdir()) for path in (sorted(each.iterdir()) if _is_folder(each) else [each])
    ]
    if len({path.name for path in found}) < len(found):
        msg = "Two machines measured the same place; nothing is proposed. Run it for one of them."
        raise UnreadableFileError(msg)
    if not 0 < len(found) <= _MOST_FILES:
        msg = f"There are {len(found)} files among the baselines; nothing is proposed."
        raise UnreadableFileError(msg)
    contents = {path.name: _content(path) for path in found}
    if only_new:
        contents = {name: text for name, text in contents.items() if not (target / name).exists()}
    changes = [change for name, text in contents.items() for change in _changes(_stored(target / name), text)]
    target.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        (target / name).write_text(text, encoding="utf-8")
    return changes


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _content(path: Path) -> str:
    """The text of a sealed baseline; raises UnreadableFileError for whatever is none."""
    if path.is_symlink() or not path.is_file() or _NAME.fullmatch(path.name) is None:
        msg = (
            f"Among the baselines is '{path.name[:80]!a}', which is no file with the name of one; nothing is proposed."
        )
        raise UnreadableFileError(msg)
    document = numbers.read(path)
    try:
        body = {name: value for name, value in document.items() if name != "sha256"}
        sealed = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
        right = document["sha256"] == hashlib.sha256(sealed.encode()).hexdigest()
        right &= isinstance(document["schema_version"], int) and isinstance(document["provenance"], dict)
        right &= bool(document["cells"]) and all(_CELL.fullmatch(cell) for cell in document["cells"])
    except (AttributeError, KeyError, TypeError, ValueError):
        right = False
    if not right:
        msg = f"'{path.name}' is not as mish-guard writes a baseline; nothing is proposed."
        raise UnreadableFileError(msg)
    return path.read_text(encoding="utf-8")


def _stored(path: Path) -> Mapping[str, object]:
    cells: Mapping[str, object] = numbers.read(path)["cells"] if path.exists() else {}
    return cells


def _changes(before: Mapping[str, object], text: str) -> Iterator[tuple[str, str]]:
    """What became of each cell of one place, unless nothing did."""
    after = json.loads(text)["cells"]
    for cell in sorted(before.keys() | after.keys()):
        if cell not in after:
            yield cell, "gone"
        elif cell not in before:
            yield cell, "new"
        elif before[cell] != after[cell]:
            yield cell, "changed"


def _body(reason: str, changes: list[tuple[str, str]]) -> str:
    # Words of a person: as code, so that they link to nothing and call nobody.
    quoted = "\n".join(f"    {line}" for line in reason[:_MOST_REASON].splitlines())
    rows = "\n".join(f"| `{cell}` | {word} |" for cell, word in changes[:_MOST_ROWS])
    more = f"\n\n{len(changes) - _MOST_ROWS} more rows do not fit here." if len(changes) > _MOST_ROWS else ""
    return (
        f"{quoted}\n\n| cell | baseline |\n|---|---|\n{rows}{more}\n\n"
        f"Measured by [this run]({workflow.run_url()}); its summary shows the figures before and after.\n\n"
        "Look at them, then mark this as ready: that starts the checks.\n"
    )


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        ["git", "-c", "core.hooksPath=/dev/null", *arguments],  # noqa: S607 - git as the runner has it
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip() or "no reason given").splitlines()[-1]
        msg = f"`git {' '.join(arguments)}` ended with status {done.returncode}: {said}"
        raise MachineError(msg)
    return done.stdout
