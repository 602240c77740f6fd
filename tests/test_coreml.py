"""The engine that runs real Core ML, on virtual Macs: what it returns, where things ran, and how it survives."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard import files
from mish_guard.convert.conversion import convert
from mish_guard.engines import registry
from mish_guard.engines.base import Execution
from mish_guard.engines.coreml import CoreMLEngine, exchange, guardian, process, usable_places
from mish_guard.engines.emulator import EmulatorEngine
from mish_guard.errors import MachineError, UsageError
from mish_guard.models import networks
from mish_guard.numerics import fp16
from mish_guard.records import Backend, Document, Frontend
from tests import virtual_mac

pytestmark = pytest.mark.slow

CONTROLS = files.DATA / "controls"
SOFTPLUS = CONTROLS / "softplus-stability.mlpackage"
SOFTPLUS_SWEEP = CONTROLS / "softplus-mish-k3.mlpackage"

# How long an event is waited for; none takes long, and the machine may be busy.
PATIENCE = 300.0

STAGES = {"hang": "loading the model", "hang-plan": "making the compute plan", "hang-predict": "predicting"}

Wake = Callable[..., None]


@pytest.fixture
def wake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Wake:
    """Wake up on a Mac: the stored scenario m3-max with other keys."""

    def on(**changes: Any) -> None:
        path = virtual_mac.variant("m3-max", tmp_path, **changes)
        virtual_mac.wake(monkeypatch, path, tmp_path)

    return on


def _run(where: str, package: Path = SOFTPLUS, case: str = "scale-11.0") -> Execution:
    return CoreMLEngine((where,)).run(package, networks.case(case).feeds(), where)


def _same(left: Execution, right: Execution) -> bool:
    return all(
        np.array_equal(fp16.to_fp16(got), want, equal_nan=True)
        for one, other in zip(left.predictions, right.predictions, strict=True)
        for got, want in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(("where", "profile"), [("cpu-only", "ieee-fp16"), ("cpu-and-ne", "ane")])
def test_every_feed_and_output_comes_back_bit_by_bit(wake: Wake, where: str, profile: str) -> None:
    wake()
    feeds = networks.case("mish-k3").feeds()
    assert len(feeds) > 1
    emulated = EmulatorEngine((profile,)).run(SOFTPLUS_SWEEP, feeds, profile)
    assert len(emulated.predictions[0]) == 3
    assert _same(_run(where, SOFTPLUS_SWEEP, "mish-k3"), emulated)


def test_placement_names_every_operation_and_no_constant(wake: Wake) -> None:
    wake(routing={"operations": ["conv", "softplus", "tanh"]})
    placement = _run("cpu-and-ne").placement
    assert placement.activation == "cpu+ne"
    assert sorted(placement.ops.values()) == ["cpu", "cpu", "cpu", "ne", "ne", "ne"]
    assert not any("weight" in name or "const" in name for name in placement.ops)


@pytest.mark.parametrize(("where", "activation"), [("cpu-only", "cpu"), ("cpu-and-gpu", "gpu"), ("cpu-and-ne", "ne")])
def test_each_compute_unit_is_asked_for_its_own_plan(wake: Wake, where: str, activation: str) -> None:
    wake()
    execution = _run(where)
    assert execution.placement.activation == activation
    assert execution.repeats_agree is (True if where == "cpu-and-ne" else None)


@pytest.mark.parametrize(
    ("backend", "activation"), [(Backend.NEURALNETWORK, "ne"), (Backend.MLPROGRAM_FP32, "cpu")], ids=lambda each: each
)
def test_other_formats_have_a_placement_too(wake: Wake, tmp_path: Path, backend: Backend, activation: str) -> None:
    case = networks.case("scale-3.5")
    package = convert(
        case.build(),
        case.feeds()[0],
        lowering="softplus",
        frontend=Frontend.TORCHSCRIPT,
        backend=backend,
        stem=tmp_path / "m",
    )
    wake()
    execution = _run("cpu-and-ne", package, "scale-3.5")
    assert execution.placement.activation == activation
    assert _same(execution, EmulatorEngine(("ane",)).run(package, case.feeds(), "ane"))


@pytest.mark.parametrize("plan", ["nothing", "error"])
def test_without_a_plan_the_placement_is_unknown(wake: Wake, plan: str) -> None:
    wake(plan=plan)
    engine = CoreMLEngine(("cpu-and-ne",))
    execution = engine.run(SOFTPLUS, networks.case("scale-11.0").feeds(), "cpu-and-ne")
    assert execution.placement.activation == "unknown"
    assert len(execution.predictions) == 1
    assert any("E5RT" in error for error in engine.device()["plan_errors"]) is (plan == "error")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("abort", "aborted the process while loading the model: SIGABRT. It said: MLIR pass manager failed"),
        ("abort-predict", "aborted the process while predicting: SIGABRT"),
        ("load-error", "failed while loading the model: RuntimeWarning: .* with error code: -5"),
    ],
)
def test_the_death_of_a_worker_is_put_into_words(wake: Wake, kind: str, words: str) -> None:
    wake(faults=[{"kind": kind, "unit": "CPU_AND_NE"}])
    with pytest.raises(MachineError, match=words):
        _run("cpu-and-ne")
    assert _run("cpu-only").placement.activation == "cpu"


@pytest.mark.parametrize("kind", STAGES)
def test_a_hang_is_killed_with_its_helpers_and_says_where(wake: Wake, tmp_path: Path, kind: str) -> None:
    wake(faults=[{"kind": kind}])
    request = {"task": "run", "package": str(SOFTPLUS), "compute_unit": "CPU_ONLY", "repeats": 1}
    with pytest.raises(process.WorkerTimeoutError, match=rf"within 10 s and was killed while {STAGES[kind]}\."):
        process.ask(request, networks.case("scale-11.0").feeds(), timeout_seconds=10)
    assert str(tmp_path) not in _command_lines()


def test_a_helper_that_left_the_session_goes_too(wake: Wake, tmp_path: Path) -> None:
    wake(faults=[{"kind": "helper"}])
    assert _run("cpu-only").predictions
    assert str(tmp_path) not in _command_lines()


def _command_lines() -> str:
    return subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_unit_that_hangs_twice_is_given_up(wake: Wake, monkeypatch: pytest.MonkeyPatch) -> None:
    wake(faults=[{"kind": "hang", "unit": "CPU_AND_NE"}], timeout_seconds=2)
    engine = CoreMLEngine(("cpu-only", "cpu-and-ne"))
    feeds = networks.case("scale-11.0").feeds()
    with pytest.raises(process.WorkerTimeoutError):
        engine.run(SOFTPLUS, feeds, "cpu-and-ne")
    monkeypatch.setattr(process, "ask", lambda *_, **__: pytest.fail("it was asked again"))
    with pytest.raises(MachineError, match="Not tried: Core ML hung 2 times in a row at cpu-and-ne"):
        engine.run(SOFTPLUS, feeds, "cpu-and-ne")
    monkeypatch.undo()
    wake()
    engine._timeout = 60.0
    assert engine.run(SOFTPLUS, feeds, "cpu-only").predictions


def test_different_bits_are_seen(wake: Wake) -> None:
    wake(faults=[{"kind": "flicker"}])
    assert _run("cpu-and-ne").repeats_agree is False


def test_nan_and_wrong_shapes_are_passed_on_to_be_measured(wake: Wake) -> None:
    wake(faults=[{"kind": "nan", "unit": "CPU_ONLY"}, {"kind": "wrong-shape", "unit": "CPU_AND_NE"}])
    assert np.isnan(_run("cpu-only").predictions[0][0]).all()
    assert _run("cpu-and-ne").predictions[0][0].shape == (9,)


def test_the_device_is_the_machine_with_what_core_ml_lists(wake: Wake) -> None:
    wake()
    engine = CoreMLEngine()
    assert engine.places() == ("cpu-only", "cpu-and-gpu", "cpu-and-ne")
    record = engine.device()
    assert (record["kind"], record["baseline_key"]) == ("coreml", "m3-max-macos26")
    assert record["compute_devices"] == ["cpu", "gpu", "ne"]
    assert record["hardware"]["ne_cores"] == 16
    assert record["environment"]["power"] == "ac"


@pytest.mark.parametrize(
    ("devices", "is_vm", "places"),
    [
        (["cpu", "gpu", "ne"], False, ("cpu-only", "cpu-and-gpu", "cpu-and-ne")),
        (["cpu", "gpu", "ne"], True, ("cpu-only", "cpu-and-gpu")),
        (["cpu", "gpu"], False, ("cpu-only", "cpu-and-gpu")),
        (["cpu"], True, ("cpu-only",)),
    ],
)
def test_what_cannot_be_used_is_not_asked_for(devices: list[str], is_vm: bool, places: tuple[str, ...]) -> None:
    assert usable_places(devices, is_vm=is_vm) == places


def test_nothing_falls_back_without_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "mac_ver", lambda: ("", ("", "", ""), ""))
    with pytest.raises(MachineError, match="needs a Mac"):
        registry.create("coreml", ())


def test_libraries_of_another_architecture_are_named(wake: Wake) -> None:
    wake(foreign_libraries=["libcoremlpython"])
    with pytest.raises(MachineError, match="libcoremlpython"):
        CoreMLEngine()


def test_unknown_places_and_timeouts_are_usage_errors(wake: Wake, monkeypatch: pytest.MonkeyPatch) -> None:
    wake()
    with pytest.raises(UsageError, match="'all'"):
        CoreMLEngine(("all",))
    for text in ("soon", "0", "-1", "nan"):
        monkeypatch.setenv("MISH_GUARD_TIMEOUT", text)
        with pytest.raises(UsageError, match="MISH_GUARD_TIMEOUT"):
            CoreMLEngine(("cpu-only",))


def _hanging_worker(tmp_path: Path, seconds: int) -> list[str]:
    """The command of a worker that will hang in loading, its request in `tmp_path`."""
    package = shutil.copytree(SOFTPLUS, tmp_path / SOFTPLUS.name)
    request = {"task": "run", "package": str(package), "compute_unit": "CPU_ONLY", "repeats": 1}
    return _worker(tmp_path, request, seconds)


def _worker(tmp_path: Path, request: Document, seconds: int) -> list[str]:
    limits = {"start_seconds": PATIENCE, "timeout_seconds": seconds}
    (tmp_path / exchange.REQUEST).write_text(files.canonical_json({**request, **limits}))
    return [sys.executable, "-m", "mish_guard.engines.coreml.worker", str(tmp_path)]


def test_a_worker_that_nobody_guards_ends_itself(wake: Wake, tmp_path: Path) -> None:
    """Its own alarm does, half a minute after its timeout."""
    wake(faults=[{"kind": "hang"}])
    command = _hanging_worker(tmp_path, 3 - exchange.ORPHAN_SECONDS)
    with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process_of_its_own:
        try:
            ended = process_of_its_own.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process_of_its_own.pid, signal.SIGKILL)
        assert process_of_its_own.stderr is not None
        said = process_of_its_own.stderr.read().decode()
    answer = tmp_path / exchange.ANSWER
    assert ended == -signal.SIGALRM, answer.read_text() if answer.exists() else said
    # Not even runpy's warning that the package has imported the worker already.
    assert said == ""


def test_the_time_that_importing_coremltools_takes_is_not_core_mls(wake: Wake, tmp_path: Path) -> None:
    """An alarm that counted it would end the workers of a busy Mac before Core ML has a word."""
    wake(import_seconds=4)
    command = _worker(tmp_path, {"task": "devices"}, 3 - exchange.ORPHAN_SECONDS)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert files.read_json(tmp_path / exchange.ANSWER)["devices"] == ["cpu", "gpu", "ne"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_nothing_outlives_whoever_asked(wake: Wake, tmp_path: Path, number: signal.Signals) -> None:
    """However it ends: worker, helper, guardian and their folder go within moments, not after the timeout."""
    wake(faults=[{"kind": "hang"}], timeout_seconds=3600)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    script = (
        "from mish_guard.engines.coreml import process\n"
        f"process.ask({{'task': 'run', 'package': {str(SOFTPLUS)!r}, 'compute_unit': 'CPU_ONLY', 'repeats': 1}}, "
        "(), timeout_seconds=3600)"
    )
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    ) as asking:
        _until(lambda: "time.sleep" in "".join(each for each in _command_lines().splitlines() if str(tmp_path) in each))
        asking.send_signal(number)
        asking.wait(PATIENCE)
    _until(lambda: str(tmp_path) not in _command_lines())
    _until(lambda: not list(scratch.iterdir()))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, _command_lines()
        time.sleep(0.1)


def test_a_process_that_no_signal_ends_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for a device in the kernel cannot be made here; a worker that never ends stands for it."""
    reading, _ = os.pipe()
    stuck = types.SimpleNamespace(pid=2**22 + 1, poll=lambda: None)
    monkeypatch.setattr(guardian, "_GRACE_SECONDS", 0.1)
    guardian._end(stuck, "no mark", reading)  # type: ignore[arg-type]
    (tmp := Path(tempfile.mkdtemp())).rmdir()
    with pytest.raises(process.WorkerTimeoutError, match="stuck in the kernel and was abandoned"):
        process._answer(tmp, process._End(status=None, timed_out=True), 5)


def test_without_proc_what_a_worker_started_is_found_in_the_list_of_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of `ps -E` on macOS: the environment stands behind the command."""
    mark = f"{guardian.VARIABLE}=abc"
    shown = f"  11 /bin/sleep 60 HOME=/Users/a {mark} TERM=x\n  12 /bin/sleep {mark}d\n  13 /bin/sleep 60 TERM=x\n"
    asked = []

    def ps(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        if len(asked) == 2:
            raise subprocess.TimeoutExpired(command, 5)
        return subprocess.CompletedProcess(command, 0, stdout=shown.encode())

    monkeypatch.setattr(subprocess, "run", ps)
    assert guardian._listed(mark.encode()) == {11}
    assert guardian._listed(mark.encode()) == set()
    assert {"-A", "-E", "-ww"} < set(asked[0])


def test_a_failure_that_comes_and_goes_is_tried_once_more_and_said(wake: Wake) -> None:
    wake(faults=[{"kind": "killed", "once": True}])
    engine = CoreMLEngine(("cpu-only",))
    assert engine.run(SOFTPLUS, networks.case("scale-11.0").feeds(), "cpu-only").predictions
    (note,) = engine.device()["notes"]
    assert note.startswith("softplus-stability.mlpackage at cpu-only was tried twice, the first time failed: ")
    assert "Something killed the process while predicting: SIGKILL, as the system does when memory is short" in note


def test_an_abort_after_a_whole_answer_takes_nothing_from_it(wake: Wake) -> None:
    wake(faults=[{"kind": "abort-exit"}])
    engine = CoreMLEngine(("cpu-only",))
    execution = engine.run(SOFTPLUS, networks.case("scale-11.0").feeds(), "cpu-only")
    assert _same(
        execution, EmulatorEngine(("ieee-fp16",)).run(SOFTPLUS, networks.case("scale-11.0").feeds(), "ieee-fp16")
    )
    assert "did not end well: Core ML aborted the process" in engine.device()["notes"][0]


def test_outputs_that_are_no_numbers_of_the_declared_kind_are_an_error(wake: Wake) -> None:
    wake(faults=[{"kind": "wrong-dtype"}])
    with pytest.raises(MachineError, match="Core ML returned int32 for"):
        _run("cpu-only")


def test_what_an_old_buffer_held_is_passed_on_to_be_measured(wake: Wake) -> None:
    wake(faults=[{"kind": "stale"}])
    feeds = networks.case("mish-k3").feeds()
    right = EmulatorEngine(("ieee-fp16",)).run(SOFTPLUS_SWEEP, feeds, "ieee-fp16")
    assert not _same(_run("cpu-only", SOFTPLUS_SWEEP, "mish-k3"), right)


def test_a_place_that_was_named_needs_no_list_of_devices(wake: Wake) -> None:
    wake(faults=[{"kind": "hang-devices"}], timeout_seconds=4)
    with pytest.raises(process.WorkerTimeoutError, match="listing the compute devices"):
        CoreMLEngine()
    engine = CoreMLEngine(("cpu-only",))
    record = engine.device()
    assert (record["compute_devices"], record["hardware"]["ne_cores"]) == ([], None)
    assert record["notes"][0].startswith("The compute devices could not be listed: ")


def test_the_stored_controls_stay_as_they_are_and_no_compiled_model_is_left(
    wake: Wake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Core ML rewrites the manifest of a package that it opens."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    package = shutil.copytree(SOFTPLUS, tmp_path / SOFTPLUS.name)
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    wake(faults=[{"kind": "killed"}])
    with pytest.raises(MachineError, match="SIGKILL"):
        _run("cpu-only", package)
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*")} == before
    assert not list(scratch.iterdir())
