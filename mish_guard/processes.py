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
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
_SECONDS_BETWEEN_ROUNDS = 0.01
# Where Linux lists the children of a thread.
_CHILDREN = Path("/proc/thread-self/children")


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
    _end(lambda: {*descendants(os.getpid()), *(() if mark is None else _marked(mark))})
    _reap_adopted()


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with its session and everything below it, and wait for it, for a bounded time.

    It is stopped before: it shall start nothing anew, and take the orphans below it for its own until all are dead.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        _end(lambda: descendants(process.pid), spare=process.pid)
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_DIE)


def end_marked(mark: str) -> None:
    """Kill every other process that carries `mark`."""
    _end(lambda: _marked(mark))


def descendants(pid: int) -> set[int]:
    """The processes that one has started, directly or not; none where it has ended."""
    if not _CHILDREN.exists():
        try:
            return {each.pid for each in psutil.Process(pid).children(recursive=True)}
        except psutil.Error:
            return set()
    found: set[int] = set()
    parents = [pid]
    while parents:
        children = set(_children(parents.pop())) - found
        found |= children
        parents.extend(children)
    return found


def how_it_ended(status: int) -> str:
    """The end of a process in words, from its return code (negative: the signal that ended it)."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _children(pid: int) -> Iterator[int]:
    """What Linux lists as the children of a process; a hundredth of the time that a walk over all processes takes."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (thread / "children").read_text().split())


def _end(find: Callable[[], Iterable[int]], spare: int | None = None) -> None:
    """Kill what is found until nothing is, since what is killed may have started more; for a bounded time."""
    deadline = time.monotonic() + _SECONDS_TO_DIE
    while (found := [pid for pid in find() if _lives(pid)]) and time.monotonic() < deadline:
        for pid in found:
            _kill(pid, spare)
        time.sleep(_SECONDS_BETWEEN_ROUNDS)
        for pid in found:
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)


def _reap_adopted() -> None:
    """Take the ends of orphans of other sessions, for which nobody waits: the time that they took counts as ours."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if os.getsid(pid) != os.getsid(0):
                os.waitpid(pid, os.WNOHANG)


def _kill(pid: int, spare: int | None) -> None:
    """Kill a process, and at once its group where that is of a session that it or its parents made: no fork escapes."""
    with contextlib.suppress(OSError):
        group = os.getpgid(pid)
        if group not in (0, spare) and os.getsid(pid) != os.getsid(0):
            os.killpg(group, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _marked(mark: str) -> Iterator[int]:
    for process in psutil.process_iter():
        if process.pid != os.getpid() and _environment(process).get(MARK) == mark:
            yield process.pid


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return {}
        found: Mapping[str, str] = process.environ()
    except (psutil.Error, OSError, ValueError):
        return {}  # it has ended, or belongs to somebody else
    return found
