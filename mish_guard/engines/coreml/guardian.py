"""Stands between a worker and whoever ordered it, so that neither a hang nor a death leaves anything behind.

`python -I -S guardian.py FOLDER START SECONDS MARK COMMAND…` starts the command in a session of its own and ends it
when it has taken SECONDS, or when standard input closes, which it does however the other side dies. The time counts
from the first byte that the command writes to its standard output, so that a slow start is not taken for a hang; the
start may take START seconds. At the end everything goes that the command has started: its process group, and every
process with `MISH_GUARD_WORKER=MARK` in its environment, which a helper inherits also where it left the session. The
last line of its output is one JSON object: `status` (None: the command is stuck in the kernel and was abandoned), and
whether it `timed_out`.

Standard library only, and nothing of this package: it has to start in a moment and must not fail.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "MISH_GUARD_WORKER"

# What a killed process may take to go; one that waits for a device in the kernel never does.
_GRACE_SECONDS = 5.0
_ROUNDS = 5
_STDERR = "stderr"


def main(folder: str, start: str, seconds: str, mark: str, command: list[str]) -> None:
    """Run the command to its end, or to ours."""
    wakeups = _wakeups()
    with (Path(folder) / _STDERR).open("wb") as stderr:
        worker = subprocess.Popen(  # noqa: S603 - the command of the parent, no shell
            command,
            cwd=folder,
            env={**os.environ, VARIABLE: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    timed_out = _wait(worker, wakeups, float(start), float(seconds))
    _end(worker, mark, wakeups)
    if timed_out is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(json.dumps({"status": worker.poll(), "timed_out": timed_out}), flush=True)  # noqa: T201 - its answer
    # Not to wait for a worker that is stuck.
    os._exit(0)


def _wakeups() -> int:
    """A descriptor that becomes readable when the worker ends or somebody wants this process to go."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reading


def _wait(worker: subprocess.Popen[bytes], wakeups: int, start: float, seconds: float) -> bool | None:
    """Until the worker ends or its time is over, and which it was; None as soon as nobody waits for its answer."""
    assert worker.stdout is not None
    watched = [sys.stdin, wakeups, worker.stdout]
    deadline = time.monotonic() + start
    while worker.poll() is None:
        left = deadline - time.monotonic()
        if left <= 0:
            return True
        ready = select.select(watched, [], [], left)[0]
        if worker.stdout in ready:
            watched.remove(worker.stdout)
            deadline = time.monotonic() + seconds
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
            return None
        if wakeups in ready and set(os.read(wakeups, 64)) - {signal.SIGCHLD}:
            return None
    return False


def _end(worker: subprocess.Popen[bytes], mark: str, wakeups: int) -> None:
    """Kill the worker's group and whatever bears its mark, and wait a bounded while."""
    _kill(functools.partial(os.killpg, worker.pid, signal.SIGKILL))
    for _ in range(_ROUNDS):
        left = _marked(mark) - {os.getpid(), worker.pid}
        for each in left:
            _kill(functools.partial(os.kill, each, signal.SIGKILL))
        if not left:
            break
    deadline = time.monotonic() + _GRACE_SECONDS
    while worker.poll() is None and (rest := deadline - time.monotonic()) > 0:
        if select.select([wakeups], [], [], rest)[0]:
            os.read(wakeups, 64)


def _kill(kill: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        kill()


def _marked(mark: str) -> set[int]:
    """The living processes of this user that have the mark in their environment."""
    entry = f"{VARIABLE}={mark}".encode()
    processes = Path("/proc")
    if (processes / "self" / "environ").exists():
        return {int(each.name) for each in processes.iterdir() if each.name.isdigit() and entry in _environment(each)}
    return _listed(entry)


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _listed(entry: bytes) -> set[int]:
    """As `_marked`, where there is no /proc: macOS shows the environment of one's own processes with `ps -E`."""
    command = ["/bin/ps", "-A", "-E", "-ww", "-o", "pid=,command="]
    try:
        shown = subprocess.run(command, capture_output=True, timeout=_GRACE_SECONDS, check=False)  # noqa: S603 - fixed
    except (OSError, subprocess.TimeoutExpired):
        return set()
    lines = [line.split() for line in shown.stdout.splitlines()]
    return {int(words[0]) for words in lines if entry in words and words[0].isdigit()}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
