"""`ci/environment`: one environment for a checkout, whoever asks for it and however often."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mish_guard.errors import ExitCode

ROOT = Path(__file__).parent.parent


def _scratch_checkout(tmp_path: Path) -> Path:
    """A checkout whose environment is made of a Python that installs nothing and says that it was asked."""
    root = tmp_path / "a check out"
    (root / "ci").mkdir(parents=True)
    for name in ("environment", "constraints.txt", "lock.txt", "coremltools.yml"):
        shutil.copy(ROOT / "ci" / name, root / "ci" / name)
    shutil.copy(ROOT / "pyproject.toml", root)
    python = tmp_path / "a b" / "python"
    python.parent.mkdir()
    # `-m venv` makes a folder whose Python answers every call of pip, and takes its time over it.
    fake = f'echo "$*" >>{shlex.quote(str(tmp_path / "asked"))}; sleep 1; exit "${{FAKE_PIP_STATUS:-0}}"'
    python.write_text(
        f"#!/usr/bin/env bash\nif [[ ${{2-}} == venv ]]; then\n  rm -rf .venv; mkdir -p .venv/bin\n"
        f"  printf '%s\\n' '#!/usr/bin/env bash' {shlex.quote(fake)} >.venv/bin/python; chmod +x .venv/bin/python\n"
        f'  exit\nfi\nexec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o755)
    return root


def _environment(root: Path, tmp_path: Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [root / "ci" / "environment"],
        env={**os.environ, "PYTHON": str(tmp_path / "a b" / "python"), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_make_one_environment_and_blanks_are_part_of_a_path(tmp_path: Path) -> None:
    root = _scratch_checkout(tmp_path)
    both = [_environment(root, tmp_path) for _ in range(2)]
    ended = [each.communicate() for each in both]
    assert [each.returncode for each in both] == [0, 0], ended
    assert [out for out, _ in ended] == [f"{root}/.venv\n"] * 2
    assert len((tmp_path / "asked").read_text().splitlines()) == 2
    assert sum("setting up" in err for _, err in ended) == 1


def test_an_environment_that_cannot_be_filled_is_told_in_our_words(tmp_path: Path) -> None:
    root = _scratch_checkout(tmp_path)
    one = _environment(root, tmp_path, FAKE_PIP_STATUS="1")
    out, err = one.communicate()
    assert (one.returncode, out) == (ExitCode.BROKEN, "")
    assert "Is there a network" in err
    again = _environment(root, tmp_path)
    assert again.communicate()[0] == f"{root}/.venv\n"


def test_by_hashes_nothing_is_installed_that_is_not_locked(tmp_path: Path) -> None:
    root = _scratch_checkout(tmp_path)
    _environment(root, tmp_path).communicate()
    loose = (tmp_path / "asked").read_text()
    _environment(root, tmp_path, MISH_GUARD_LOCKED="1").communicate()
    first, second = (tmp_path / "asked").read_text().removeprefix(loose).splitlines()
    assert "--require-hashes --no-deps --only-binary :all: --requirement ci/lock.txt" in first
    assert "--no-deps --no-index --no-build-isolation --editable ." in second
    again, _ = _environment(root, tmp_path).communicate()
    assert again == f"{root}/.venv\n"
    assert len((tmp_path / "asked").read_text().splitlines()) == len(loose.splitlines()) + 2


def test_the_lock_names_what_the_constraints_name(tmp_path: Path) -> None:
    command = [sys.executable, "ci/render_lock.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    for name in ("constraints.txt", "lock.txt", "render_lock.py"):
        (tmp_path / "ci").mkdir(exist_ok=True)
        shutil.copy(ROOT / "ci" / name, tmp_path / "ci" / name)
    text = (tmp_path / "ci" / "constraints.txt").read_text()
    (tmp_path / "ci" / "constraints.txt").write_text(text.replace("click==8.5.1", "click==8.5.0"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "click is 8.5.1 here and 8.5.0 in ci/constraints.txt" in done.stdout
    (tmp_path / "ci" / "constraints.txt").write_text(text)
    lock = (tmp_path / "ci" / "lock.txt").read_text()
    (tmp_path / "ci" / "lock.txt").write_text(lock.replace("6746dbcb", "00000000"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "the files of torch for Linux are not those that ci/render_lock.py has" in done.stdout


def _pinned(name: str, version: str, system: str) -> dict[str, list[str]]:
    """The versions that a file of pins has for each package, for a version of Python on a system."""
    there = {"python_version": version, "python_full_version": f"{version}.4", "sys_platform": system}
    found: dict[str, list[str]] = {}
    for line in (ROOT / "ci" / name).read_text().splitlines():
        if line[:1].isalnum():
            pin = Requirement(line.rstrip(" \\"))
            if pin.marker is None or pin.marker.evaluate({**there, "platform_python_implementation": "CPython"}):
                key = canonicalize_name(pin.name)
                found.setdefault(key, []).append(str(pin.specifier).removeprefix("==").partition("+")[0])
    return found


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_the_lock_has_one_file_of_each_package_for_every_python_and_system(version: str, system: str) -> None:
    assert _pinned("lock.txt", version, system) == _pinned("constraints.txt", version, system)


def test_torch_is_locked_for_every_python_on_linux() -> None:
    """Its hashes are written down by hand; the file of everybody's index is another one."""
    files = runpy.run_path(str(ROOT / "ci" / "render_lock.py"))["TORCH_FILES"]
    tags = {f"cp{minor}-cp{minor}-manylinux_2_28_" for minor in (310, 311, 312, 313)}
    assert {f"{tag}{machine}" for tag in tags for machine in ("x86_64", "aarch64")} <= files.keys()
