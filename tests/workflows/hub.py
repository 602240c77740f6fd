"""Repositories below one folder, and their workflows run by act in host mode with stand-ins for others' actions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NAME = "mish-guard/mish-guard"

_RUNNERS = ("ubuntu-24.04", "macos-26", "macos-15", "self-hosted")
_USES = re.compile(r"uses: ([\w-]+/[\w-]+)(?:/[\w./-]+)?@([0-9a-f]{40})")
_SECONDS = 3600


@dataclass(frozen=True)
class Ran:
    """How a workflow run ended: act's exit code, the events of its log, what its steps left."""

    code: int
    events: Sequence[Mapping[str, Any]]
    folder: Path
    seconds: float

    @property
    def log(self) -> str:
        return "\n".join(str(each.get("msg", "")) for each in self.events)

    def summary(self, job: str) -> str:
        """What the steps of a job wrote for its page, in order, without the marks of what is code."""
        return "".join(each["content"] for each in self._told(job) if each["command"] == "summary").replace("`", "")

    def annotations(self, job: str) -> list[tuple[str, str]]:
        """Level and text, with the title before it, of every annotation of a job."""
        levels = ("error", "warning", "notice")
        told = [each for each in self._told(job) if each["command"] in levels]
        return [(each["command"], f"{each['kvPairs'].get('title', '')}: {each['arg']}") for each in told]

    def _told(self, job: str) -> list[Mapping[str, Any]]:
        """The commands of a job's steps; act says them again for the composite action that holds the step."""
        told = [each for each in self.events if each.get("command") and _job(each) == job]
        inner = {tuple(each["stepID"][:-1]) for each in told if len(each["stepID"]) > 1}
        return [each for each in told if tuple(each["stepID"]) not in inner]

    @property
    def jobs(self) -> dict[str, str]:
        """The result of each job by its name with the matrix."""
        ended = [each for each in self.events if "jobResult" in each]
        return {_job(each): str(each["jobResult"]) for each in ended}

    def artifact(self, name: str) -> Path:
        return self.folder / "artifacts" / name

    @property
    def calls(self) -> list[str]:
        """What stand-ins were asked for, in order."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []


def _job(event: Mapping[str, Any]) -> str:
    """The name of a job; act puts the file before it, and a number behind those of a matrix."""
    name = str(event["job"]).partition("/")[2].strip()
    return re.sub(r"-\d+$", "", name) if event.get("matrix") else name


@dataclass(frozen=True)
class Hub:
    """Repositories by `OWNER/NAME` below `folder`/repositories."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def repository(self, name: str) -> Path:
        return self.folder / "repositories" / name

    def create(self, name: str, origin: Path) -> str:
        """A repository with the files of a git checkout as they are, uncommitted ones too; its first commit."""
        target = self.repository(name)
        target.mkdir(parents=True)
        listed = git(origin, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        for each in filter(None, listed):
            if (origin / each).exists():
                (target / each).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin / each, target / each, follow_symlinks=False)
        git(target, "init", "-q", "-b", "main")
        git(target, "remote", "add", "origin", f"https://github.com/{name}.git")
        return commit(target, "first")

    def branch(self, name: str, branch: str, edit: Callable[[Path], None], start: str = "main") -> str:
        """A commit on a new branch of main, or of another commit, with an edit made; main stays checked out."""
        target = self.repository(name)
        # Over what an earlier try may have left.
        git(target, "checkout", "-q", "-f", "-B", branch, start)
        edit(target)
        made = commit(target, branch)
        git(target, "checkout", "-q", "main")
        return made

    def run(
        self,
        workflow: str,
        event: str,
        payload: Mapping[str, Any],
        *arguments: str,
        commit: str,
        repository: str = NAME,
        answers: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        guard: Path | None = None,
    ) -> Ran:
        """Run a workflow of a repository as it is at a commit, for an event.

        `answers` is what GitHub's API knows, by path; `guard` the checkout of mish-guard that other repositories use.
        """
        number = len(list(self.folder.glob("run-*")))
        folder = self.folder / f"run-{number}"
        checkout = folder / "checkout"
        folder.mkdir()
        git(self.folder, "clone", "-q", str(self.repository(repository)), str(checkout))
        git(checkout, "checkout", "-q", "--detach", commit)
        git(checkout, "remote", "set-url", "origin", f"https://github.com/{repository}.git")
        (folder / "github.json").write_text(json.dumps(answers or {}))
        (folder / "event.json").write_text(json.dumps({**_repository(repository), **payload}))
        command = [str(Path(sysconfig.get_path("scripts")) / "act"), event, "-W", f".github/workflows/{workflow}.yml"]
        command += ["-C", str(checkout), "-e", str(folder / "event.json"), "--json", "--no-skip-checkout"]
        command += ["--action-offline-mode", "--no-cache-server", "--actor", "somebody"]
        command += ["--secret", "GITHUB_TOKEN=stand-in"]
        command += [part for runner in _RUNNERS for part in ("-P", f"{runner}=-self-hosted")]
        command += [
            part
            for pin in self._stand_ins(checkout, guard or self.repository(NAME))
            for part in ("--local-repository", pin)
        ]
        started = time.monotonic()
        done = subprocess.run(
            [*command, *arguments],
            env={**os.environ, **self._environment(folder), **(environment or {})},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        (folder / "act.log").write_text(done.stdout + done.stderr)
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Ran(done.returncode, events, folder, time.monotonic() - started)

    def _stand_ins(self, checkout: Path, guard: Path) -> list[str]:
        """Every action that the files of a checkout, and mish-guard's own, name: `OWNER/NAME@COMMIT=FOLDER`."""
        files = [*(checkout / ".github").rglob("*.yml"), *(guard / ".github").rglob("*.yml")]
        pins = sorted({pin for path in files for pin in _USES.findall(path.read_text())})
        folders = {NAME: guard}
        return [f"{name}@{sha}={folders.get(name, HERE / 'stand_ins' / name.partition('/')[2])}" for name, sha in pins]

    def _environment(self, folder: Path) -> dict[str, str]:
        tools = HERE / "tools"
        return {
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            # An environment that is made anew borrows its packages; pip asks no index that is not there.
            "PYTHON": str(tools / "python"),
            "STAND_IN_PYTHON": getattr(sys, "_base_executable", sys.executable),
            "PIP_RETRIES": "0",
            "STAND_IN_GITHUB": str(folder / "github.json"),
            "STAND_IN_ARTIFACTS": str(folder / "artifacts"),
            "STAND_IN_DOWNLOADS": str(ROOT / "build" / "downloads"),
            "STAND_IN_LOG": str(folder / "log"),
            "STAND_IN_PACKAGES": sysconfig.get_path("purelib"),
            "STAND_IN_REPOSITORIES": str(self.folder / "repositories"),
            "STAND_IN_TOOLS": str(tools),
            # A clone from GitHub comes from the folder.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.folder / 'repositories'}/.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/",
            **self.variables,
        }


def git(folder: Path, *arguments: str) -> str:
    """The output of a git command that must succeed."""
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()


def _repository(full_name: str) -> dict[str, Any]:
    owner, _, name = full_name.partition("/")
    return {
        "repository": {"full_name": full_name, "name": name, "owner": {"login": owner}, "default_branch": "main"},
        "sender": {"login": "somebody"},
    }
