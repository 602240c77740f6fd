"""Gates beside each other, and gates that are ended at any moment: many times, in the lane of the teeth."""

from __future__ import annotations

import random
import secrets
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from mish_guard import files, processes
from mish_guard.errors import ExitCode
from tests.matrix.test_court import _start, gate_arguments

PAIRS = 20
KILLS = 30
SEED = 2618


@pytest.mark.teeth
def test_pairs_of_good_and_bad_gates_with_one_folder_each_take_their_own_verdict(
    small_matrix: Path, small_baselines: Path, good: Path, bad: Path, tmp_path: Path
) -> None:
    ended = []
    for number in range(PAIRS):
        pair = [
            _start(gate_arguments(tree, small_matrix, small_baselines, tmp_path / "out"), tmp_path / f"{number}.log")
            for tree in (good, bad)
        ]
        ended.append(tuple(process.wait() for process in pair))
    assert ended == [(ExitCode.PASS, ExitCode.FAIL)] * PAIRS


@pytest.mark.teeth
def test_a_gate_that_is_ended_at_any_moment_leaves_nothing_and_the_next_is_right(
    small_matrix: Path, small_baselines: Path, good: Path, bad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - moments, not secrets
    out = tmp_path / "out"
    mark = secrets.token_hex(16)
    monkeypatch.setenv(processes.MARK, mark)
    for number in range(KILLS):
        process = _start(gate_arguments(bad, small_matrix, small_baselines, out), tmp_path / "log")
        time.sleep(chance.uniform(0.0, 12.0))
        how = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        process.send_signal(how)
        code = process.wait()
        assert code in (ExitCode.INTERRUPTED, ExitCode.FAIL, -how), f"kill {number} by {how.name}"
        _until_all_are_gone(mark)
        for left in out.glob("*.json"):
            files.read_json(left)
    assert _start(gate_arguments(good, small_matrix, small_baselines, out), tmp_path / "log").wait() == ExitCode.PASS


def _until_all_are_gone(mark: str) -> None:
    for _ in range(2400):
        if not any(_carries(each, mark) for each in psutil.process_iter()):
            return
        time.sleep(0.05)
    pytest.fail("processes of a run that was ended are still there")


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(processes.MARK) == mark
    except (psutil.Error, OSError):
        return False


@pytest.mark.teeth
def test_eight_gates_at_once_in_a_fresh_clone_all_end_as_they_would_alone(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
    started = [_gate_of(clone, tmp_path, number) for number in range(8)]
    assert [process.wait() for process in started] == [ExitCode.PASS] * 8


def _gate_of(clone: Path, folder: Path, number: int) -> subprocess.Popen[bytes]:
    with (folder / f"{number}.log").open("wb") as log:
        command = [str(clone / "ci" / "gate"), "--out", str(folder / f"out-{number}")]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
