"""A release is only made of a tag that is the version, and of a version whose changes are told with their date."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from mish_guard import __version__
from tests.docs.console import ROOT


def _released(tag: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """ci/release with a stand-in for uv, which has no network here, and writes what it was asked for."""
    for name in ("uv", "uvx"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >>"{folder}/asked"\n')
        (folder / name).chmod(0o755)
    checkout = folder / "checkout"
    (checkout / "mish_guard").mkdir(parents=True)
    (checkout / "ci").mkdir()
    for name in ("ci/release", "mish_guard/__init__.py", "CHANGELOG.md"):
        (checkout / name).write_bytes((ROOT / name).read_bytes())
    (checkout / "ci" / "release").chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run([checkout / "ci" / "release", tag], env=environment, capture_output=True, text=True)


def test_the_tag_of_the_version_is_built_and_checked(tmp_path: Path) -> None:
    done = _released(f"v{__version__}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()] == ["uv", "uvx"]


def test_another_tag_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    done = _released("v9.9.9", tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"ci/release: the tag is 'v9.9.9', the version is '{__version__}'. Tag v{__version__}.\n"
    assert not (tmp_path / "asked").exists()


def test_the_newest_entry_of_the_changelog_is_the_version() -> None:
    entries = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert entries[0] == __version__
