"""A worker process: started, waited for, killed with everything it started, and its end put into words."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mish_guard.engines.coreml import worker
from mish_guard.errors import MachineError, ModelError

_STDERR = "stderr"
_LAST_LINE = 300

# The system, or a person, ended the worker: no word of Core ML on the model.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)


class WorkerTimeoutError(MachineError):
    """Core ML did not answer in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker left: its `answer.json`, and the outputs by feed."""

    content: Mapping[str, Any]
    predictions: tuple[tuple[Any, ...], ...]


def ask(request: Mapping[str, Any], feeds: Sequence[Sequence[Any]], *, timeout_seconds: float) -> Answer:
    """The answer of a fresh worker to `request`.

    Raises WorkerTimeoutError, or MachineError when the worker ended without an answer or answered with an error; the
    message names the signal or the error, and what the worker was doing.
    """
    with tempfile.TemporaryDirectory(prefix="mish-guard-") as name:
        folder = Path(name)
        (folder / worker.REQUEST).write_text(json.dumps({**request, "timeout_seconds": timeout_seconds}))
        arrays = {f"{number}-{index}": array for number, feed in enumerate(feeds) for index, array in enumerate(feed)}
        np.savez(folder / worker.INPUTS, **arrays)
        status = _run(folder, timeout_seconds)
        return _answer(folder, status)


def _run(folder: Path, timeout_seconds: float) -> int:
    """Run the worker in a session of its own; its exit status, negative for a signal."""
    command = [sys.executable, "-m", worker.__name__, str(folder)]
    with (
        (folder / _STDERR).open("wb") as stderr,
        subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True
        ) as process,
    ):
        try:
            return process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            msg = f"Core ML did not answer within {timeout_seconds:g} s and was killed while {_stage(folder)}."
            raise WorkerTimeoutError(msg) from None
        finally:
            # Core ML starts helpers; they end with the worker, however it ended.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _answer(folder: Path, status: int) -> Answer:
    if status < 0:
        msg = f"Core ML aborted the process while {_stage(folder)}: {signal.Signals(-status).name}.{_said(folder)}"
        raise MachineError(msg) if -status in _FROM_OUTSIDE else _error(msg, folder)
    path = folder / worker.ANSWER
    if status != 0 or not path.exists():
        msg = f"The worker ended with status {status} and no answer while {_stage(folder)}.{_said(folder)}"
        raise MachineError(msg)
    content = json.loads(path.read_text())
    if "error" in content:
        msg = f"Core ML failed while {_stage(folder)}: {content['error']}"
        raise _error(msg, folder)
    return Answer(content=content, predictions=_predictions(folder / worker.OUTPUTS))


def _error(message: str, folder: Path) -> MachineError:
    """What went wrong with one model; the machine's fault before there was any."""
    stage = {worker.LOADING: "load", worker.PREDICTING: "predict"}.get(_stage(folder))
    return MachineError(message) if stage is None else ModelError(message, stage)


def _stage(folder: Path) -> str:
    path = folder / worker.STAGE
    return path.read_text() if path.exists() else "starting"


def _said(folder: Path) -> str:
    """The last line the worker printed, which often is the reason."""
    lines = (folder / _STDERR).read_text(errors="replace").strip().splitlines()
    return f" It said: {lines[-1][:_LAST_LINE]}" if lines else ""


def _predictions(path: Path) -> tuple[tuple[Any, ...], ...]:
    if not path.exists():
        return ()
    by_feed: dict[int, dict[int, Any]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            feed, index = map(int, key.split("-"))
            by_feed.setdefault(feed, {})[index] = arrays[key]
    return tuple(tuple(outputs[index] for index in sorted(outputs)) for _, outputs in sorted(by_feed.items()))
