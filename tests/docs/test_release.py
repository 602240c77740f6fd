"""A release is only made of a tag that is the version, and of a version whose changes are told with their date."""

from __future__ import annotations

import re
import runpy
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from mish_guard import __version__
from tests.docs.console import PACKAGE, ROOT

CHECK = runpy.run_path(str(ROOT / "ci" / "check_distributions.py"))


def _released(tag: str, folder: Path, second: str = "a wheel") -> subprocess.CompletedProcess[str]:
    """ci/release with stand-ins that write what they were asked.

    That of uv, which has no network here, makes a wheel of a few words: `second` where it builds from the sdist.
    """
    take = "while [ $# -gt 0 ]; do case $1 in --offline) made=$SECOND ;; --out-dir) to=$2 ;; esac; shift; done"
    build = f'made="a wheel"\n{take}\nmkdir -p "$to"; echo "$made" >"$to/mish_guard-1.whl"'
    for name, does in (("uv", build), ("python3", "")):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"{folder}/asked"\n{does}\n')
        (folder / name).chmod(0o755)
    checkout = folder / "checkout"
    (checkout / "mish_guard").mkdir(parents=True)
    (checkout / "ci").mkdir()
    for root, name in ((ROOT, "ci/release"), (PACKAGE.parent, "mish_guard/__init__.py"), (ROOT, "CHANGELOG.md")):
        (checkout / name).write_bytes((root / name).read_bytes())
    (checkout / "ci" / "release").chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "SECOND": second}
    return subprocess.run([checkout / "ci" / "release", tag], env=environment, capture_output=True, text=True)


def test_the_tag_of_the_version_is_built_and_checked(tmp_path: Path) -> None:
    done = _released(f"v{__version__}", tmp_path)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["uv", "python3", "uv"]
    by_hashes = "uv build --quiet --build-constraints ci/lock.txt --require-hashes "
    assert [line.startswith(by_hashes) for line in asked] == [True, False, True]


def test_an_sdist_that_makes_another_wheel_is_refused(tmp_path: Path) -> None:
    done = _released(f"v{__version__}", tmp_path, second="another")
    assert done.returncode == 1
    assert "differ" in done.stdout


METADATA = """\
Metadata-Version: 2.4
Name: mish-guard
Version: 1
Description-Content-Type: text/markdown

# Words
"""


def _distributions(folder: Path, metadata: str = METADATA) -> Path:
    """A checkout of three tracked files, with the wheel and the sdist that it should make."""
    described = [f"mish_guard-1.dist-info/{name}" for name in CHECK["METADATA"]]
    for name in ("mish_guard/__init__.py", "mish_guard/data/a.yml", "README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    (folder / "dist").mkdir()
    with zipfile.ZipFile(folder / "dist" / "mish_guard-1-py3-none-any.whl", "w") as wheel:
        for name in ("mish_guard/__init__.py", "mish_guard/data/a.yml", *described):
            wheel.writestr(name, metadata if name.endswith("METADATA") else "")
    (folder / "PKG-INFO").write_text(metadata)
    with tarfile.open(folder / "dist" / "mish_guard-1.tar.gz", "w:gz") as sdist:
        for name in ("mish_guard", "README.md", "PKG-INFO"):
            sdist.add(folder / name, f"mish_guard-1/{name}")
    return folder


def test_distributions_of_what_is_tracked_are_whole(tmp_path: Path) -> None:
    root = _distributions(tmp_path)
    assert CHECK["main"]([str(root / "dist")], root) == 0


def test_a_file_too_few_or_too_many_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _distributions(tmp_path)
    (root / "LICENSE").write_text("late")
    subprocess.run(["git", "add", "LICENSE"], cwd=root, check=True)
    with zipfile.ZipFile(root / "dist" / "mish_guard-1-py3-none-any.whl", "a") as wheel:
        wheel.writestr("mish_guard/notes.txt", "")
    assert CHECK["main"]([str(root / "dist")], root) == 1
    told = capsys.readouterr().err
    assert "mish_guard-1-py3-none-any.whl holds mish_guard/notes.txt, which is not tracked" in told
    assert "mish_guard-1.tar.gz lacks LICENSE" in told


@pytest.mark.parametrize(("kind", "file"), [("wheel", "*.whl"), ("sdist", "*.tar.gz")])
def test_a_distribution_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, file: str
) -> None:
    root = _distributions(tmp_path)
    (missing,) = (root / "dist").glob(file)
    missing.unlink()
    assert CHECK["main"]([str(root / "dist")], root) == 1
    assert f"there is no {kind} in " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Metadata-Version: 2.4", "Metadata-Version: 2.5", "are of version 2.5, not one of 2.1, 2.2, 2.3, 2.4"),
        ("\nVersion: 1", "\nVersion: 2", "say Version: 2, not 1"),
        ("mish-guard", "mish", "say Name: mish, not mish-guard"),
        ("text/markdown", "text/x-rst", "say Description-Content-Type: text/x-rst, not text/markdown"),
        ("# Words", "", "do not describe the project"),
    ],
)
def test_metadata_that_no_index_takes_or_shows_are_told_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    root = _distributions(tmp_path, METADATA.replace(old, new))
    assert CHECK["main"]([str(root / "dist")], root) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(f" {words}")[1] != "" for line in told] == [True, True], told


def test_another_tag_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    done = _released("v9.9.9", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"ci/release: the tag is 'v9.9.9', the version is '{__version__}'. Tag v{__version__}.\n"
    assert not (tmp_path / "asked").exists()


def test_the_newest_entry_of_the_changelog_is_the_version() -> None:
    entries = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entries[0] == __version__
