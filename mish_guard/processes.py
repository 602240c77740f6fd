"""Processes that others write: started with nothing of ours in reach, and ended with all that they started.

Every process of a run carries the run's mark in its environment, so that what outlives its parent can be found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

MARK = "MISH_GUARD_RUN"

# What a program needs to run at all, and what decides how this machine computes. Everything else stays outside: tokens,
# the files through which a workflow is steered, and the settings of Python and pytest.
_KEPT = frozenset(
    {
        "DEVELOPER_DIR",
        "DYLD_LIBRARY_PATH",
        "HOME",
        "LANG",
        "LD_LIBRARY_PATH",
        "LOGNAME",
        "MISH_GUARD_TIMEOUT",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_CORETYPE",
        "OPENBLAS_L2_SIZE",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "TMPDIR",
        "TZ",
        "USER",
    }
)

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h
_SECONDS_TO_DIE = 5.0


def neutral_environment(scratch: Path, mark: str) -> dict[str, str]:
    """The environment of a process that others write: its temporary files go to `scratch`, `mark` names the run."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    return {**kept, "TMPDIR": str(scratch), MARK: mark}


def new_mark() -> str:
    """A mark that no other run has; the mark of the run that this process belongs to, if it belongs to one."""
    return os.environ.get(MARK) or secrets.token_hex(16)


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind, where the system can: then it is found."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)


def end_descendants(mark: str | None = None) -> None:
    """Kill every process that this one started, directly or not, and every one that carries `mark`; wait for them.

    Bounded: a process that the kernel does not let go is left after a few seconds.
    """
    for _ in range(10):
        found = [*psutil.Process().children(recursive=True), *(() if mark is None else _marked(mark))]
        if not found:
            return
        for process in found:
            _kill(process)
        psutil.wait_procs(found, timeout=_SECONDS_TO_DIE)


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with its session and everything below it, and wait for it, for a bounded time."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        below = []
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in below:
        _kill(each)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_DIE)


def end_marked(mark: str) -> None:
    """Kill every other process that carries `mark`."""
    for _ in range(10):
        found = list(_marked(mark))
        if not found:
            return
        for process in found:
            _kill(process)
        psutil.wait_procs(found, timeout=_SECONDS_TO_DIE)


def how_it_ended(status: int) -> str:
    """The end of a process in words, from its return code (negative: the signal that ended it)."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        if process.pid != os.getpid() and _environment(process).get(MARK) == mark:
            yield process


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return {}
        found: Mapping[str, str] = process.environ()
    except (psutil.Error, OSError, ValueError):
        return {}  # it has ended, or belongs to somebody else
    return found


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return
