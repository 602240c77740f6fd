"""A worker process: started, waited for, killed with everything it started, and its end put into words."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mish_guard.engines.base import Feed, Predictions
from mish_guard.engines.coreml import exchange, guardian
from mish_guard.errors import MachineError, ModelError
from mish_guard.records import Document

_WORKER = "mish_guard.engines.coreml.worker"
_LAST_LINE = 300

# The system, or a person, ended the worker: no word of Core ML on the model.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)

# Importing coremltools takes two seconds, and minutes on a machine that has other things to do. No import is known to
# hang: this bound is there so that one which does ends.
START_SECONDS = 600.0

# What the guardian may take beyond the worker's time to clear up and to go itself.
_GUARDIAN_SECONDS = 30.0


class WorkerTimeoutError(MachineError):
    """Core ML did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker left: its `answer.json`, the outputs by feed, and what was odd about its end."""

    content: Document
    predictions: Predictions
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a worker ended: its exit status, negative for a signal, None for one that nothing could end."""

    status: int | None
    timed_out: bool


def ask(request: Document, feeds: Sequence[Feed], *, timeout_seconds: float) -> Answer:
    """The answer of a fresh worker to `request`; a `package` in it is copied first, since Core ML writes into it.

    Raises WorkerTimeoutError, or MachineError when the worker ended without an answer or answered with an error; the
    message names the signal or the error, and what the worker was doing.
    """
    with tempfile.TemporaryDirectory(prefix="mish-guard-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / exchange.TEMPORARY).mkdir()
        limits = {"start_seconds": START_SECONDS, "timeout_seconds": timeout_seconds}
        wanted = {**request, **_copied(request, folder), **limits}
        (folder / exchange.REQUEST).write_text(json.dumps(wanted))
        arrays: dict[str, Any] = {
            f"{number}-{index}": array for number, feed in enumerate(feeds) for index, array in enumerate(feed)
        }
        np.savez(folder / exchange.INPUTS, **arrays)
        try:
            return _answer(folder, _run(folder, timeout_seconds), timeout_seconds)
        finally:
            _remove_compiled(folder)


def _copied(request: Document, folder: Path) -> dict[str, str]:
    """The `package` of a request as a copy below the folder, under its own name."""
    if "package" not in request:
        return {}
    given = Path(request["package"])
    target = folder / "package" / given.name
    target.parent.mkdir()
    if given.is_dir():
        shutil.copytree(given, target)
    else:
        shutil.copy2(given, target)
    return {"package": str(target)}


def _run(folder: Path, timeout_seconds: float) -> _End:
    """Run the worker under a guardian of its own session."""
    command = [sys.executable, "-I", "-S", guardian.__file__, str(folder), str(START_SECONDS), str(timeout_seconds)]
    command += [secrets.token_hex(8), sys.executable, "-m", _WORKER, str(folder)]
    environment = {**os.environ, "TMPDIR": str(folder / exchange.TEMPORARY)}
    with _guarded(command, environment) as process:
        assert process.stdout is not None
        said = process.stdout.read()
    try:
        return _End(**json.loads(said))
    except (ValueError, TypeError):
        # Somebody killed the guardian: the worker's alarm ends what is left.
        return _End(status=None, timed_out=False)


@contextlib.contextmanager
def _guarded(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A guardian; whatever interrupts us closes its input, upon which it ends the worker and itself."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
        command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GUARDIAN_SECONDS)


def _answer(folder: Path, end: _End, timeout_seconds: float) -> Answer:
    stage, path = _stage(folder), folder / exchange.ANSWER
    if end.timed_out and not path.exists():
        msg = f"Core ML did not answer within {timeout_seconds:g} s and was killed while {stage}."
        if stage in (exchange.STARTING, exchange.IMPORTING):
            msg = f"The worker did not get to Core ML within {START_SECONDS:g} s and was killed while {stage}."
        if end.status is None:
            msg = f"{msg[:-1]}; the process is stuck in the kernel and was abandoned."
        raise WorkerTimeoutError(msg)
    if not path.exists():
        msg = f"{_how(end.status)} while {stage}{_why(end.status)}.{_said(folder)}"
        is_aborted = end.status is not None and end.status < 0 and -end.status not in _FROM_OUTSIDE
        raise _error(msg, stage) if is_aborted else MachineError(msg)
    content = json.loads(path.read_text())
    if "error" in content:
        msg = f"Core ML failed while {stage}: {content['error']}"
        raise _error(msg, stage)
    # The answer is written whole or not at all, so that what befell the worker afterwards took nothing from it.
    note = None if end.status == 0 else f"after its answer the worker did not end well: {_how(end.status)}"
    return Answer(content=content, predictions=_predictions(folder / exchange.OUTPUTS), note=note)


def _error(message: str, stage: str) -> MachineError:
    """What went wrong with one model; the machine's fault before there was any."""
    word = {exchange.LOADING: "load", exchange.PREDICTING: "predict"}.get(stage)
    return MachineError(message) if word is None else ModelError(message, word)


def _how(status: int | None) -> str:
    if status is None:
        return "The worker was lost"
    if status == -signal.SIGKILL:
        return "Something killed the process"
    if status < 0:
        return "Core ML aborted the process"
    return f"The worker ended with status {status} and no answer"


def _why(status: int | None) -> str:
    if status == -signal.SIGKILL:
        return ": SIGKILL, as the system does when memory is short"
    return f": {signal.Signals(-status).name}" if status is not None and status < 0 else ""


def _stage(folder: Path) -> str:
    path = folder / exchange.STAGE
    return path.read_text() if path.exists() else exchange.STARTING


def _said(folder: Path) -> str:
    """The last line the worker printed, which often is the reason."""
    path = folder / exchange.STDERR
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return f" It said: {lines[-1][:_LAST_LINE]}" if lines else ""


def _remove_compiled(folder: Path) -> None:
    """A compiled model that a killed worker left outside its folder."""
    path = folder / exchange.COMPILED
    if path.exists() and (compiled := Path(path.read_text())).suffix == ".mlmodelc":
        shutil.rmtree(compiled, ignore_errors=True)


def _predictions(path: Path) -> Predictions:
    if not path.exists():
        return ()
    by_feed: dict[int, dict[int, NDArray[np.generic]]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            feed, index = map(int, key.split("-"))
            by_feed.setdefault(feed, {})[index] = arrays[key]
    return tuple(tuple(outputs[index] for index in sorted(outputs)) for _, outputs in sorted(by_feed.items()))
