"""`ci/environment`: one environment for a checkout, whoever asks for it and however often."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

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
