"""Hold court: measure a matrix in a process of its own that nobody else can reach, and take its results.

The court runs isolated (`python -I`, an empty working folder, no configuration or plugins of others). Its results carry
a seal made with a key that only the court and its parent know; the parent puts them where they were wanted.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from mish_guard import files, guardian, processes
from mish_guard.errors import ExitCode, GuardError, MachineError, UsageError
from mish_guard.matrix.order import Order
from mish_guard.results import curves

# What pytest's exit status means; 0 and 1 are complete sessions with and without complaints.
_COMPLETE = (0, 1)
_USAGE = 4
_NOTHING_COLLECTED = 5

_PLUGINS = ("mish_guard.matrix.plugin", "pytest_metadata.plugin", "pytest_jsonreport.plugin")

SEAL = ".seal"
CURVES = ".curves.json"
_KEY_BYTES = 32
_MOST_COMPLAINTS = 1 << 16


class InterruptedRunError(GuardError):
    """Somebody stopped the run."""

    exit_code = ExitCode.INTERRUPTED


def run_matrix(order: Order, results: Path) -> None:
    """Measure every cell and write `results`. Progress goes to stderr.

    Raises UsageError for options the run does not understand, InterruptedRunError, and MachineError when the court
    ended without results or with results that are not its own. An older results file is removed first: it must not
    pass for this run's.
    """
    results = results.resolve()
    results.parent.mkdir(parents=True, exist_ok=True)
    drawn = results.with_name(curves.NAME)
    for leftover in (results, drawn):
        leftover.unlink(missing_ok=True)
    mark = processes.new_mark()
    processes.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="mish-guard-", ignore_cleanup_errors=True) as folder:
        private = Path(folder) / f"{secrets.token_hex(8)}.json"
        with guardian.watching(mark):
            try:
                content = _hold_court(order, private, results.with_name("rungs.json"), mark)
            finally:
                processes.end_descendants(mark)
        outputs = private.with_suffix(CURVES)
        # Not sealed: whoever draws a curve checks that it is the one whose figures were judged.
        if outputs.is_file():
            files.write_atomically(drawn, files.read_text(outputs))
    files.write_atomically(results, content)


def seal(key: bytes, content: bytes) -> str:
    """The seal of a results file, 64 hex digits."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def read_key(descriptor: int) -> bytes:
    """The key that the parent wrote into a pipe."""
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read(_KEY_BYTES)


def _hold_court(order: Order, private: Path, rungs: Path, mark: str) -> str:
    key, (read, write) = secrets.token_bytes(_KEY_BYTES), os.pipe()
    os.write(write, key)
    os.close(write)
    hall = private.with_name("hall")
    hall.mkdir()
    complaints = private.with_name("complaints")
    with complaints.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
            _command(order, private, rungs, read),
            cwd=hall,
            env={**processes.neutral_environment(private.parent, mark), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=stderr,
            pass_fds=[read],
            start_new_session=True,
        )
    os.close(read)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        msg = "The run was interrupted; nothing was recorded."
        raise InterruptedRunError(msg) from None
    finally:
        processes.end_tree(process)
    _check(status, complaints)
    return _own(private, key)


def _command(order: Order, private: Path, rungs: Path, key: int) -> list[str]:
    here = Path(__file__).parent
    command = [sys.executable, "-I", "-m", "pytest", str(here), f"--mish-results={private}", f"--mish-key={key}"]
    # Neither configuration, nor conftest.py, nor plugins of others have a say.
    command += ["-c", str(here / "pytest.ini"), f"--rootdir={here}", f"--confcutdir={here}", "--noconftest"]
    command += ["-p", "no:cacheprovider", "-p", "no:logging", *(word for name in _PLUGINS for word in ("-p", name))]
    command += ["-q", "--no-header", "--tb=no", "-W", "ignore", *(["--mish-quiet"] if order.quiet else [])]
    command += [f"--mish-engine={order.engine}", f"--mish-lowering={order.lowering}", f"--mish-jobs={order.jobs}"]
    command += [f"--mish-conversion-seconds={order.seconds}", f"--mish-controls={order.controls.resolve()}"]
    command += [f"--mish-rungs={rungs}", *(f"--mish-place={place}" for place in order.places)]
    command += [] if order.only is None else [f"--mish-only={order.only}"]
    for name, path in (("matrix", order.matrix), ("candidate", order.candidate), ("against", order.against)):
        if path is not None:
            command.append(f"--mish-{name}={path.absolute()}")
    return command


def _check(status: int, complaints: Path) -> None:
    with complaints.open("rb") as stream:
        reason = stream.read(_MOST_COMPLAINTS).decode("utf-8", "replace").strip().splitlines()
    first = reason[0].removeprefix("ERROR: ").removeprefix("Exit: ") if reason else "no reason given"
    if status == _USAGE:
        raise UsageError(first)
    if status == ExitCode.BROKEN:
        raise MachineError(first)
    if status == -signal.SIGINT:
        msg = "The run was interrupted; nothing was recorded."
        raise InterruptedRunError(msg)
    if status == _NOTHING_COLLECTED:
        msg = "The matrix holds no cell that can be measured. Add cells to the matrix file."
        raise UsageError(msg)
    if status not in _COMPLETE:
        msg = f"The measuring process {processes.how_it_ended(status)} and left no results: {first}"
        raise MachineError(msg)


def _own(private: Path, key: bytes) -> str:
    """What the court wrote; raises MachineError where it wrote nothing, or somebody else wrote it."""
    try:
        content = private.read_bytes()
        found = private.with_suffix(SEAL).read_text()
    except OSError as error:
        msg = "The measuring process left no results."
        raise MachineError(msg) from error
    if not hmac.compare_digest(found, seal(key, content)):
        msg = "The results are not those that this run's court wrote. Something on this machine writes into its files."
        raise MachineError(msg)
    return content.decode()
