"""Whatever surrounds a run, its results are the same to the byte, but for when it was and how long it took."""

from __future__ import annotations

import compileall
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from mish_guard import files
from mish_guard.errors import ExitCode
from mish_guard.matrix import plugin
from mish_guard.matrix.plan import Cell
from mish_guard.records import CellKey

pytestmark = pytest.mark.slow

CONTROLS = """
schema_version: 1
groups:
  - {family: sweep, role: negative-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
  - {family: sweep, role: positive-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
"""
MATRIX = f"""{CONTROLS}
  - {{family: sweep, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}}
  - {{family: stability, cases: [scale-11.0], frontends: [torchscript], backends: [neuralnetwork]}}
  - {{family: sweep, role: graft, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}}
"""

# A clock that is an hour earlier each time somebody looks at it.
EARLIER = """
import time
looks = iter(range(1, 1_000_000))
real = time.time
time.time = lambda: real() - 3600.0 * next(looks)
time.time_ns = lambda: int(time.time() * 1e9)
"""


def _narrow() -> None:
    """One core, two gigabytes of memory, and no standard input."""
    os.close(0)
    resource.setrlimit(resource.RLIMIT_DATA, (2 * 10**9, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@dataclass(frozen=True)
class Surroundings:
    """What a run starts in: options of Python, of the run, the environment, and what its process does first."""

    python: tuple[str, ...] = ("-I",)
    jobs: int = 2
    environment: dict[str, str] = field(default_factory=dict)
    first: Callable[[], None] | None = None
    folder: str = "out"


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PLAIN = Surroundings(environment=dict(os.environ))
NARROW = Surroundings(
    python=("-O", "-W", "error"),
    jobs=1,
    environment={
        "PATH": os.defpath,
        "LC_ALL": "C",
        "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "1",
        **dict.fromkeys(THREADS, "1"),
    },
    first=_narrow,
    folder="zwei Wörter, 二",
)
WIDE = Surroundings(
    python=(),
    jobs=4,
    environment={**os.environ, "PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8", **dict.fromkeys(THREADS, "4")},
    folder="wide",
)


def run(around: Surroundings, folder: Path, text: str = MATRIX) -> subprocess.CompletedProcess[str]:
    """`mish-guard run` of a matrix in these surroundings, in a folder of theirs."""
    here = folder / around.folder
    here.mkdir()
    (here / "matrix.yml").write_text(text)
    command = [sys.executable, *around.python, "-m", "mish_guard", "run", "--profile", "ane", "--lowering", "exp"]
    command += ["--jobs", str(around.jobs), "--matrix", str(here / "matrix.yml"), "--out", str(here / "results")]
    return subprocess.run(
        command, cwd=here, env=around.environment, preexec_fn=around.first, capture_output=True, text=True
    )


def measured(around: Surroundings, folder: Path) -> str:
    """The results of a run as text, without when it was, how long it took, and the seal over both."""
    done = run(around, folder)
    assert done.returncode == 0, done.stderr
    document = files.read_json(folder / around.folder / "results" / "results.json")
    curves = (folder / around.folder / "results" / "curves.json").read_text(encoding="utf-8")
    del document["created"], document["duration"], document["sha256"], document["mish_guard"]["created"]
    for test in document["tests"]:
        for step in ("setup", "call", "teardown"):
            del test[step]["duration"]
    return files.readable_json(document) + curves


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return measured(PLAIN, tmp_path_factory.mktemp("plain"))


@pytest.mark.teeth
def test_one_core_or_several_jobs_threads_seeds_and_clocks_change_no_byte(plain: str, tmp_path: Path) -> None:
    """-O, -W error, no home, no input, 2 GB, another locale, time zone and folder are the other side."""
    assert measured(NARROW, tmp_path) == plain
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(EARLIER)
    earlier = {**WIDE.environment, "PYTHONPATH": str(tmp_path / "site")}
    assert measured(Surroundings(python=(), jobs=4, environment=earlier, folder="wide"), tmp_path) == plain


def _little() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**13, 2**13))


@contextlib.contextmanager
def _small_disk(folder: Path, options: str) -> Iterator[None]:
    """A disk with these options of tmpfs on `folder`; skips where this user may not mount one."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip("This user may not mount a file system.")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_results_that_no_file_may_hold_are_told_and_leave_none(tmp_path: Path) -> None:
    # Compiled before: Python does not see that a file of bytecode was cut by the limit.
    compileall.compile_dir(files.DATA.parent, quiet=2)
    done = run(Surroundings(environment=dict(os.environ), first=_little), tmp_path, CONTROLS)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last.partition("'")[0]) == (ExitCode.BROKEN, "mish-guard: The results were lost: ")
    assert last.endswith("cannot be written: File too large.")
    assert list((tmp_path / "out" / "results").iterdir()) == []


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is of Linux")


@pytest.mark.teeth
@ON_LINUX
@pytest.mark.parametrize("options", ["size=16k", "nr_inodes=2"])
def test_a_disk_that_is_full_is_told_and_holds_no_results(tmp_path: Path, options: str) -> None:
    """Of bytes, or of files: a file system without inodes."""
    with _small_disk(tmp_path / "disk", options):
        here = tmp_path / "disk"
        (tmp_path / "matrix.yml").write_text(CONTROLS)
        named = [f"--matrix={tmp_path / 'matrix.yml'}", f"--out={here / 'out'}", "--profile=ane"]
        done = subprocess.run([sys.executable, "-I", "-m", "mish_guard", "run", *named], capture_output=True, text=True)
        assert done.returncode == ExitCode.USAGE
        assert "No space left on device." in done.stderr.splitlines()[-1]
        assert list((here / "out").iterdir()) == []


@pytest.mark.teeth
@ON_LINUX
def test_a_full_disk_of_temporary_files_is_the_machines_fault(tmp_path: Path) -> None:
    with _small_disk(tmp_path / "disk", "size=16k"):
        around = {**os.environ, "TMPDIR": str(tmp_path / "disk")}
        done = run(Surroundings(environment=around), tmp_path, CONTROLS)
        last = done.stderr.splitlines()[-1]
        assert (done.returncode, last.partition("'")[0]) == (ExitCode.BROKEN, "mish-guard: The results were lost: ")
        assert last.endswith("cannot be written: No space left on device.")
        assert list((tmp_path / "out" / "results").iterdir()) == []


NOBODY = 65534


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that everybody may enter, with a Python for all that has the packages of this one."""
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    if os.getuid() != 0 or not system.exists():
        pytest.skip("Only root may become another user, who needs a Python of the system of this version.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run([system, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        (packages,) = (folder / "venv" / "lib").glob("*/site-packages")
        beside = [str(files.DATA.parents[1]), str(Path(click.__file__).parents[1])]
        (packages / "others.pth").write_text("\n".join(beside))
        yield folder


def test_another_user_measures_where_he_may_write_and_is_told_where_not(common: Path) -> None:
    (common / "matrix.yml").write_text(CONTROLS)
    (common / "ours").mkdir()
    (common / "his").mkdir()
    os.chown(common / "his", NOBODY, NOBODY)
    command = [common / "venv/bin/python", "-I", "-m", "mish_guard", "run", "--profile=ane", "--matrix=matrix.yml"]
    as_he = partial(subprocess.run, user=NOBODY, group=NOBODY, extra_groups=[], env={"PATH": os.defpath}, cwd=common)
    his, ours = (as_he([*command, f"--out={own}"], capture_output=True, text=True) for own in ("his", "ours"))
    assert (his.returncode, ours.returncode) == (0, ExitCode.USAGE), his.stderr
    assert (common / "his" / "results.json").exists()
    assert ours.stderr == "mish-guard: Nothing can be written to 'ours': Permission denied. Choose another folder.\n"
    assert list((common / "ours").iterdir()) == []


def test_without_standard_output_nothing_is_measured(tmp_path: Path) -> None:
    done = run(Surroundings(environment=dict(os.environ), first=lambda: os.close(1)), tmp_path, CONTROLS)
    assert (done.returncode, done.stderr) == (
        ExitCode.USAGE,
        "mish-guard: Standard output is closed: there is nobody to tell.\n",
    )


def test_a_test_that_no_cell_was_found_for_is_known_whatever_pytest_calls_it() -> None:
    """pytest 8 gives such a test the name `cell0`, pytest 9 `NOTSET`."""
    nothing: Any = SimpleNamespace(callspec=SimpleNamespace(params={"cell": object()}))
    key = CellKey.parse("sweep/mish-k3/torchscript/mlprogram-fp16@ane")
    some: Any = SimpleNamespace(callspec=SimpleNamespace(params={"cell": Cell(key=key, known_gap=None)}))
    assert (plugin._key_of(nothing), plugin._key_of(some)) == (None, key)
