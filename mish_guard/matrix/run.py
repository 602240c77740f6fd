"""Run the matrix: a pytest session of its own process, which leaves a results file."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mish_guard.errors import ExitCode, GuardError, MachineError, UsageError

# What pytest's exit status means; 0 and 1 are complete sessions with and without complaints.
_COMPLETE = (0, 1)
_INTERRUPTED = 2
_USAGE = 4
_NOTHING_COLLECTED = 5


class InterruptedRunError(GuardError):
    """Somebody stopped the run."""

    exit_code = ExitCode.INTERRUPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to measure: engine, places (`profiles`; none: all), lowering, matrix, controls (None: the package's)."""

    engine: str
    profiles: Sequence[str]
    lowering: str
    matrix: Path | None
    controls: Path | None


def run_matrix(order: Order, results: Path) -> None:
    """Measure every cell and write `results`. Progress goes to stderr, each cell named before it runs.

    Raises UsageError for options the run does not understand, InterruptedRunError, and MachineError when the process
    ended without results. An older results file is removed first: it must not pass for this run's.
    """
    results = results.resolve()
    results.parent.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
        _command(order, results), cwd=results.parent, stdout=sys.stderr, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, complaints = process.communicate()
        except KeyboardInterrupt:
            # The interrupt reached the child too, but a library may have swallowed it there.
            process.kill()
            process.wait()
            results.unlink(missing_ok=True)
            msg = "The run was interrupted; nothing was recorded."
            raise InterruptedRunError(msg) from None
    _check(process.returncode, complaints, results)


def _command(order: Order, results: Path) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--pyargs", "mish_guard.matrix", f"--mish-results={results}"]
    # The session must not depend on the configuration or the caches of the folder it is started from.
    command += ["-c", str(Path(__file__).with_name("pytest.ini")), f"--rootdir={Path(__file__).parent}"]
    command += ["-p", "no:cacheprovider", "-v", "--no-header", "--tb=no", "-W", "ignore"]
    command += [f"--mish-engine={order.engine}", f"--mish-lowering={order.lowering}"]
    command += [f"--mish-profile={profile}" for profile in order.profiles]
    if order.matrix is not None:
        command.append(f"--mish-matrix={order.matrix.resolve()}")
    if order.controls is not None:
        command.append(f"--mish-controls={order.controls.resolve()}")
    return command


def _check(status: int, complaints: str, results: Path) -> None:
    reason = complaints.strip().splitlines()
    first = reason[0].removeprefix("ERROR: ").removeprefix("Exit: ") if reason else "no reason given"
    if status == _USAGE:
        raise UsageError(first)
    if status == ExitCode.BROKEN:
        raise MachineError(first)
    if status in (_INTERRUPTED, -signal.SIGINT):
        msg = "The run was interrupted; nothing was recorded."
        raise InterruptedRunError(msg)
    if status == _NOTHING_COLLECTED:
        msg = "The matrix holds no cell that can be measured. Add cells to the matrix file."
        raise UsageError(msg)
    if status not in _COMPLETE or not results.exists():
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        msg = f"The measuring process {how} and left no results: {first}"
        raise MachineError(msg)
