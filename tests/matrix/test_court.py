"""Trees that try to be judged by something else than their packages, through the command line."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from mish_guard import files
from mish_guard.candidate import locate
from mish_guard.convert.witnesses import Interpreter
from mish_guard.errors import ExitCode, UnreadableFileError, UsageError
from tests import trees
from tests.conftest import Ended, Invoke

pytestmark = pytest.mark.slow


def gate_arguments(tree: Path, matrix: Path, baselines: Path, out: Path) -> list[str]:
    named = {"candidate": tree, "matrix": matrix, "baselines": baselines, "out": out}
    return ["gate", "--profile", "ane", *(f"--{name}={path}" for name, path in named.items())]


Judge = Callable[..., Ended]


@pytest.fixture
def judge(invoke: Invoke, small_matrix: Path, small_baselines: Path, tmp_path: Path) -> Judge:
    """The gate of a tree over the small matrix."""

    def run(tree: Path, *more: object) -> Ended:
        return invoke(*gate_arguments(tree, small_matrix, small_baselines, tmp_path / "out"), *more)

    return run


def test_a_folder_is_judged_as_it_is(judge: Judge, good: Path, bad: Path) -> None:
    passed = judge(good)
    assert (passed.code, passed.first_line.partition(" ")[0]) == (ExitCode.PASS, "PASS")
    assert "REPLACED" not in passed.first_line
    failed = judge(bad)
    assert failed.code == ExitCode.FAIL
    assert "MISH-SOFTPLUS-CLIFF" in failed.first_line


def test_a_tree_can_be_judged_against_another(judge: Judge, good: Path, bad: Path) -> None:
    """A fork that is not repaired yet is no worse than where it starts from, and the headline says what that is."""
    no_worse = judge(bad, "--against", bad)
    assert no_worse.code == ExitCode.PASS
    assert "no worse than the base tree, which itself is over a ceiling" in no_worse.first_line
    assert judge(bad, "--against", good).code == ExitCode.FAIL
    assert judge(good, "--against", bad).code == ExitCode.PASS


def test_a_replaced_converter_is_in_the_headline(judge: Judge, bad: Path) -> None:
    ended = judge(bad, "--lowering", "exp")
    assert ended.code == ExitCode.PASS
    assert "converter REPLACED by exp" in ended.first_line


def test_a_tree_that_no_longer_converts_fails_and_names_the_line(judge: Judge, tmp_path: Path) -> None:
    tree = trees.tree(tmp_path / "tree", trees.with_mish("    res = mb.mul(x=x, y=undefined, name=node.name)\n"))
    ended = judge(tree)
    assert ended.code == ExitCode.FAIL
    assert "undefined" in ended.out
    assert "coremltools/converters/mil/frontend/torch/ops.py:18" in ended.out


def test_a_tree_that_does_not_import_fails(judge: Judge, tmp_path: Path) -> None:
    ended = judge(trees.tree(tmp_path / "tree", trees.with_import("this is no Python")))
    assert ended.code == ExitCode.FAIL
    assert "SyntaxError" in ended.out


def test_a_folder_without_coremltools_is_told(judge: Judge, tmp_path: Path) -> None:
    ended = judge(tmp_path)
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "is no candidate. Name a Python" in ended.err


def test_a_tree_without_its_native_libraries_is_not_blamed(judge: Judge, tmp_path: Path) -> None:
    tree = trees.tree(tmp_path / "tree", trees.with_mish(trees.GOOD))
    for library in (tree / "coremltools").glob("lib*"):
        library.unlink()
    ended = judge(tree)
    assert (ended.code, ended.out) == (ExitCode.BROKEN, "")
    assert "holds no libmilstoragepython and no libmodelpackage" in ended.err


def test_nothing_in_the_working_folder_or_the_environment_has_a_say(
    small_matrix: Path, small_baselines: Path, bad: Path, tmp_path: Path
) -> None:
    """The folder of results holds another tree, a conftest.py and modules by the gate's names; so does PYTHONPATH."""
    out = tmp_path / "out"
    trees.tree(out, trees.with_mish(trees.GOOD))
    for name in ("conftest.py", "mish_guard.py", "sitecustomize.py", "forges.py"):
        (out / name).write_text("import os; os._exit(0)\n")
    environment = {
        **os.environ,
        "PYTHONPATH": str(out),
        "PYTEST_ADDOPTS": "-p forges --no-such-option",
        "PYTEST_PLUGINS": "forges",
    }
    command = [sys.executable, "-I", "-m", "mish_guard", *gate_arguments(bad, small_matrix, small_baselines, out)]
    done = subprocess.run(command, cwd=out, env=environment, capture_output=True, text=True)
    assert done.returncode == ExitCode.FAIL, done.stderr
    assert "MISH-SOFTPLUS-CLIFF" in done.stdout


def test_results_that_a_tree_writes_are_not_the_courts(judge: Judge, good: Path, tmp_path: Path) -> None:
    """It finds the file that the court wrote, and writes a better one over it, seal and all, for as long as it can."""
    assert judge(good).code == ExitCode.PASS
    stored = tmp_path / "good.json"
    stored.write_bytes((tmp_path / "out" / "results.json").read_bytes())
    body = f"""
    import glob, os, shutil, time
    if os.fork() == 0:
        os.setsid()
        while True:
            for path in glob.glob({tempfile.gettempdir()!r} + "/mish-guard-*/*.json"):
                try: shutil.copyfile({str(stored)!r}, path)
                except OSError: pass
            time.sleep(0.001)
"""
    tree = trees.tree(tmp_path / "tree", trees.with_mish(body + trees.RELEASED))
    assert judge(tree).code in (ExitCode.FAIL, ExitCode.BROKEN)


# Right by the exp form up to 1; beyond, by an operation of which nobody has measured how far it reaches.
HALVES = """
    gain = [1.0] * x.shape[1]
    low = mb.exp(x=mb.minimum(x=x, y=1.0))
    low = mb.mul(x=low, y=mb.add(x=low, y=2.0))
    low = mb.mul(x=x, y=mb.real_div(x=low, y=mb.add(x=low, y=2.0)))
    high = mb.mul(x=x, y=mb.tanh(x=mb.softplus_parametric(x=x, alpha=gain, beta=gain)))
    res = mb.select(cond=mb.less_equal(x=x, y=1.0), a=low, b=high, name=node.name)
"""


def test_a_tree_that_is_right_only_if_an_unmeasured_operation_is_so_is_not_green(judge: Judge, tmp_path: Path) -> None:
    ended = judge(trees.tree(tmp_path / "tree", trees.with_mish(HALVES)))
    assert ended.code == ExitCode.INCONCLUSIVE
    assert "parametric-softplus-range" in ended.out


def test_ten_gigabytes_of_output_cost_neither_the_disk_nor_the_verdict(judge: Judge, tmp_path: Path) -> None:
    body = "    import os\n    for _ in range(5120): os.write(1, bytes(1 << 20)), os.write(2, bytes(1 << 20))\n"
    assert judge(trees.tree(tmp_path / "tree", trees.with_mish(body + trees.GOOD))).code == ExitCode.PASS


@pytest.mark.parametrize(("number", "code"), [(20, ExitCode.PASS), (200, ExitCode.FAIL)])
def test_what_a_tree_starts_is_bounded_and_ends_with_the_run(
    judge: Judge, tmp_path: Path, number: int, code: ExitCode
) -> None:
    """A bomb of processes without parent, in sessions of their own, that carry nothing of the run."""
    seconds = f"{3600 + secrets.randbelow(10**9)}"
    body = f"""
    import os
    for _ in range({number}):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0: os.execve({shutil.which("sleep")!r}, ["sleep", "{seconds}"], {{}})
            os._exit(0)
        os.wait()
"""
    ended = judge(trees.tree(tmp_path / "tree", trees.with_mish(body + trees.GOOD)))
    assert ended.code == code
    assert ("the conversion started more than 64 processes" in ended.out) == (code == ExitCode.FAIL)
    found = psutil.process_iter(["cmdline"])
    assert [each.pid for each in found if seconds in (each.info["cmdline"] or ())] == []


def test_a_tree_that_changes_while_it_is_judged_proves_nothing(judge: Judge, tmp_path: Path) -> None:
    body = f"    open({str(tmp_path / 'tree' / 'coremltools' / 'late.py')!r}, 'w').write('late')\n"
    ended = judge(trees.tree(tmp_path / "tree", trees.with_mish(body + trees.GOOD)))
    assert ended.code == ExitCode.BROKEN
    assert "the files of the candidate changed while the run was going on" in ended.out


def test_a_built_environment_that_was_edited_is_refused(tmp_path: Path) -> None:
    tree = trees.tree(tmp_path / "site", trees.with_mish(trees.GOOD))
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    who = Interpreter(python=python, folder=None)
    digest = locate.digest(tree / "coremltools")
    files.write_atomically(tmp_path / locate.RECORD, files.canonical_json({"tree_sha256": digest}))
    assert locate.build_record(who, digest) == {"tree_sha256": digest}
    (tree / "coremltools" / "late.py").write_text("late")
    with pytest.raises(UnreadableFileError, match="its files changed"):
        locate.build_record(who, locate.digest(tree / "coremltools"))
    files.write_atomically(tmp_path / locate.RECORD, "[]")
    with pytest.raises(UnreadableFileError, match="Remove that folder"):
        locate.build_record(who, digest)


@pytest.mark.parametrize("name", ["", "nothing", "bin/python"])
def test_what_is_no_candidate_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no candidate"):
        locate.interpreter(tmp_path / name)


def _start(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        return subprocess.Popen([sys.executable, "-I", "-m", "mish_guard", *arguments], stdout=stream, stderr=stream)


def test_two_gates_with_one_folder_each_take_their_own_verdict(
    small_matrix: Path, small_baselines: Path, good: Path, bad: Path, tmp_path: Path
) -> None:
    started = [
        _start(gate_arguments(tree, small_matrix, small_baselines, tmp_path / "out"), tmp_path / f"{number}.log")
        for number, tree in enumerate((good, bad, good, bad))
    ]
    assert [process.wait() for process in started] == [0, 10, 0, 10]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_gate_that_is_ended_leaves_no_process_and_no_report(
    small_matrix: Path, small_baselines: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """It is ended while a conversion hangs, whose process ignores every polite signal."""
    started = tmp_path / "started"
    body = f"""
    import os, signal, time
    for each in (1, 2, 15): signal.signal(each, signal.SIG_IGN)
    open({str(started)!r}, "w").write(str(os.getpid()))
    while True: time.sleep(9)
    res = x
"""
    tree = trees.tree(tmp_path / "tree", trees.with_mish(body))
    out = tmp_path / "out"
    process = _start(gate_arguments(tree, small_matrix, small_baselines, out), tmp_path / "log")
    _until(lambda: started.exists() and started.read_text() != "")
    process.send_signal(number)
    assert process.wait() == (130 if number != signal.SIGKILL else -signal.SIGKILL)
    _until(lambda: not _runs(int(started.read_text())))
    assert not list(out.glob("*.json"))


def _runs(pid: int) -> bool:
    """Whether a process is there that has not ended; one that nobody has waited for yet has."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _until(happened: Callable[[], bool]) -> None:
    for _ in range(6000):
        if happened():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen within five minutes")
