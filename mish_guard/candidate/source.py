"""Fetch a coremltools tree into a folder of our own: `git:URL@REF`, `dir:PATH` or `sdist:VERSION`."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mish_guard.candidate import BuildError, locate
from mish_guard.errors import UsageError

# pip, git and make close with a line that something failed; what failed stands above it.
_ERROR = re.compile(r"\b(error|fatal|No rule)\b", re.IGNORECASE)
_SUMMARY = re.compile(
    r"Failed (to build|building)|subprocess-exited|from a subprocess"  # pip
    r"|Could not read from remote"  # git
    r"|^\*\*\*|^make\b.* Error \d"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")

# What lies at the top of a working tree and is no source. Further down such a name may be a package's own.
_LEFT_OUT = (".git", "build", "dist", "*.egg-info", ".venv*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A source as the user spells it: its kind, where it lies, and the git ref if it has one.

    `sha256` holds the hashes of published files by name, 64 hex digits: whatever is downloaded of a release that has
    any there must be one of them.
    """

    kind: str
    place: str
    ref: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}" + (f"@{self.ref}" if self.ref else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A fetched tree: our own copy, its release version, and the commit or the hash of its Python sources."""

    folder: Path
    spec: Spec
    version: str
    commit: str


def parse(text: str) -> Spec:
    """The source that `text` spells; raises UsageError with the forms there are."""
    kind, _, place = text.partition(":")
    if kind == "git" and "@" in place:
        url, _, ref = place.rpartition("@")
        if url and re.fullmatch(r"[\w][\w./+-]*", ref):
            return Spec(kind=kind, place=url, ref=ref)
    if kind == "dir" and place:
        return Spec(kind=kind, place=str(Path(place).resolve()))
    if kind == "sdist" and re.fullmatch(r"[0-9][\w.]*", place):
        return Spec(kind=kind, place=place)
    msg = f"'{text}' is no source of coremltools. Write git:URL@REF, dir:PATH or sdist:VERSION."
    raise UsageError(msg)


def fetch(spec: Spec, folder: Path, downloads: Path) -> Tree:
    """A copy of the source in `folder`; the original is only read.

    Raises UsageError for a place that is no coremltools tree, BuildError for a download or clone that fails.
    """
    commit = {"git": _clone, "dir": _copy, "sdist": _unpack}[spec.kind](spec, folder, downloads)
    version = locate.version(folder / "coremltools")
    if version == locate.UNKNOWN:
        msg = f"{spec} holds no coremltools: coremltools/version.py with a __version__ is missing."
        raise UsageError(msg)
    return Tree(folder=folder, spec=spec, version=version, commit=commit or f"sha256-{digest(folder)}")


def digest(folder: Path) -> str:
    """The sha256 over every file of a tree that can end up in a wheel, 64 hex digits."""
    total = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        relative = path.relative_to(folder)
        if not _is_left_out(relative):
            total.update(f"{relative.as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def blobs(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The files of a tree that are, or lie below, one of `names`, by path: the hash that git gives their content."""
    paths = (path for name in names for path in (folder / name, *(folder / name).rglob("*")))
    return {path.relative_to(folder).as_posix(): _blob(path) for path in paths if path.is_symlink() or path.is_file()}


def blobs_of(spec: Spec, folder: Path, downloads: Path, names: Sequence[str]) -> dict[str, str]:
    """`blobs` of a source with as little as that takes; `folder` is scratch. Raises as `fetch` does.

    A source archive holds none, whatever its version; a repository is asked for its listing and not for its files.
    """
    if spec.kind == "sdist":
        return {}
    if spec.kind == "dir":
        return blobs(fetch(spec, folder, downloads).folder, names)
    run(["git", "init", "--quiet", str(folder)])
    commit = str(resolve(spec).ref)
    run(["git", "remote", "add", "origin", spec.place], cwd=folder)
    run(["git", "fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", commit], cwd=folder)
    listed = run(["git", "ls-tree", "-r", "-z", "FETCH_HEAD", "--", *names], cwd=folder)
    entries = (line.partition("\t") for line in listed.split("\0") if line)
    return {path: about.split()[2] for about, _, path in entries}


def _blob(path: Path) -> str:
    content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    # Git's own choice of hash, so that a tree on disk and a listing from a repository agree.
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def download(requirement: str, folder: Path, *options: str, sha256: Mapping[str, str] | None = None) -> Path:
    """The file pip downloads for a pinned requirement, kept in `folder`; raises BuildError with pip's last line.

    Builds that run at the same time may share the folder: the first to finish leaves the file for all. A kept file
    that `sha256` contradicts is fetched again; raises BuildError where that one is no other.
    """
    place = folder / hashlib.sha256(" ".join((requirement, *options)).encode()).hexdigest()[:12]
    if _held(place) and _contradiction(_held(place)[0], sha256 or {}) is not None:
        shutil.rmtree(place)
    if not _held(place):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
            fresh = Path(scratch) / "fresh"
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            run([*pip, "-d", str(fresh), *options, requirement])
            try:
                fresh.rename(place)  # an empty folder is replaced, any other is another build's
            except OSError:
                if not _held(place):
                    raise
    found = _held(place)[0]
    contradiction = _contradiction(found, sha256 or {})
    if contradiction is not None:
        shutil.rmtree(place)
        raise BuildError(contradiction)
    return found


def _contradiction(path: Path, sha256: Mapping[str, str]) -> str | None:
    """Why a file is not the one that was published; None if it is, or nothing is known of its release."""
    if path.name not in sha256:
        is_known = _release_of(path.name) in map(_release_of, sha256)
        return f"'{path.name}' is no file of that release whose sha256 is pinned." if is_known else None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found == sha256[path.name]:
        return None
    return f"'{path.name}' has the sha256 {found}, and {sha256[path.name]} is pinned: it is not the published file."


def _release_of(name: str) -> str:
    """Name and version of a wheel or a source archive, as its file name has them: `coremltools-9.0`."""
    return "-".join(name.removesuffix(".tar.gz").split("-")[:2])


def _held(place: Path) -> list[Path]:
    return list(place.iterdir()) if place.exists() else []


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """The standard output of a command; raises BuildError with the reason."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode:
        msg = f"`{' '.join(command[:6])} …` ended with status {done.returncode}: {reason(done.stderr or done.stdout)}"
        raise BuildError(msg)
    return done.stdout


def reason(said: str) -> str:
    """The line that tells most of what a failed command said: the last that names an error of its own, or the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if _ERROR.search(line) and not _SUMMARY.search(line)]
    return (telling or lines or ["no reason given"])[-1]


def resolve(spec: Spec) -> Spec:
    """The source with a git branch, tag or `pull/N/head` replaced by the commit it names now; others unchanged.

    Raises UsageError for a ref that the repository does not have, BuildError if it cannot be asked.
    """
    if spec.kind != "git" or spec.ref is None or _COMMIT.fullmatch(spec.ref):
        return spec
    listed = run(["git", "ls-remote", "--", spec.place])
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    # An annotated tag names a tag object; what it stands for is listed under its name with ^{}.
    for form in ("refs/tags/{}^{{}}", "refs/tags/{}", "refs/heads/{}", "refs/{}", "{}"):
        if (name := form.format(spec.ref)) in commits:
            return dataclasses.replace(spec, ref=commits[name])
    msg = f"'{spec.place}' has no tag, branch or pull request '{spec.ref}'. Name one, or a commit by its 40 digits."
    raise UsageError(msg)


def _clone(spec: Spec, folder: Path, _: Path) -> str:
    commit = f"{resolve(spec).ref}"
    # All branches and tags: the release's tag is what native sources are compared with.
    run(["git", "clone", "--quiet", "--no-checkout", "--", spec.place, str(folder)])
    if not _has(folder, commit):
        # The head of a pull request is on no branch.
        run(["git", "fetch", "--quiet", "origin", commit], cwd=folder)
    run(["git", "checkout", "--quiet", "--detach", commit], cwd=folder)
    return commit


def _has(folder: Path, commit: str) -> bool:
    asked = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(asked, cwd=folder, capture_output=True, check=False).returncode == 0  # noqa: S603 - no shell


def _copy(spec: Spec, folder: Path, _: Path) -> str:
    origin = Path(spec.place)
    if not (origin / "coremltools").is_dir():
        msg = f"'{origin}' is no coremltools source tree: it has no folder coremltools."
        raise UsageError(msg)

    def left_out(inside: str, names: list[str]) -> set[str]:
        return {name for name in names if _is_left_out((Path(inside) / name).relative_to(origin))}

    shutil.copytree(origin, folder, ignore=left_out, ignore_dangling_symlinks=True)
    for path in (folder, *folder.rglob("*")):
        # The copy of a tree that cannot be written is ours to write.
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    return ""


def _is_left_out(relative: Path) -> bool:
    at_top = any(fnmatch.fnmatch(relative.parts[0], pattern) for pattern in _LEFT_OUT)
    return at_top or "__pycache__" in relative.parts


def _unpack(spec: Spec, folder: Path, downloads: Path) -> str:
    options = ("--no-binary", "coremltools", "--no-build-isolation")
    archive = download(f"coremltools=={spec.place}", downloads, *options, sha256=spec.sha256)
    scratch = folder.with_name(folder.name + ".unpacking")
    with tarfile.open(archive) as tar:
        # Python before 3.10.12 and 3.11.4 has no filters; what pip verified is what will be run, filtered or not.
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(scratch)  # noqa: S202
    (inner,) = scratch.iterdir()
    inner.rename(folder)
    return ""
