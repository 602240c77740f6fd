"""What is wrong with this machine: each failure met in the field is one check that fails alone."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mish_guard.commands import measure
from mish_guard.engines.coreml import doctor, process
from mish_guard.engines.coreml.doctor import Check, Outcome
from mish_guard.errors import ExitCode
from tests import virtual_mac

pytestmark = pytest.mark.slow

MACHINE = {"chip": "Apple M3 Max", "model": "Mac15,9", "macos": "26.3", "build": "25D125"}

Examine = Callable[..., dict[str, Check]]


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """The checks by name on a Mac: the stored scenario m3-max with other keys, its machine with those of `machine`."""

    def on(*, machine: dict[str, Any] | None = None, **changes: Any) -> dict[str, Check]:
        path = virtual_mac.variant("m3-max", tmp_path, machine={**MACHINE, **(machine or {})}, **changes)
        virtual_mac.wake(monkeypatch, path, tmp_path)
        return {check.name: check for check in doctor.examine()}

    return on


def _failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.outcome is Outcome.FAIL}


def test_a_healthy_mac_is_ready(examine: Examine) -> None:
    checks = examine()
    assert _failed(checks) == set()
    assert doctor.exit_code(checks.values()) is ExitCode.PASS
    assert "Mac15,9" in checks["physical machine"].detail
    assert checks["Neural Engine"].detail == "Core ML lists cpu, gpu, ne"
    assert checks["compute plan"].detail.startswith("10 operations")


@pytest.mark.parametrize(
    ("changes", "failed", "words", "code"),
    [
        ({"machine": {"macos": "13.6"}}, "macOS", "older than 14", ExitCode.BROKEN),
        ({"machine": {"macos": "14.2"}}, "macOS", "14.2", ExitCode.INCONCLUSIVE),
        ({"machine": {"python": "x86_64", "rosetta": True}}, "native Python", "Rosetta", ExitCode.BROKEN),
        ({"machine": {"python": "x86_64"}}, "native Python", "not arm64", ExitCode.BROKEN),
        ({"machine": {"devices": ["cpu", "gpu"]}}, "Neural Engine", "lists cpu, gpu", ExitCode.INCONCLUSIVE),
        ({"machine": {"vm": True}}, "physical machine", "virtual machine", ExitCode.INCONCLUSIVE),
        ({"plan": "nothing"}, "compute plan", "10 of 10 operations have no device", ExitCode.INCONCLUSIVE),
        ({"plan": "error"}, "compute plan", "E5RT", ExitCode.INCONCLUSIVE),
        ({"faults": [{"kind": "nan"}]}, "Core ML predicts", "mish(0) came out as nan", ExitCode.BROKEN),
    ],
    ids=["old macOS", "no plan yet", "Rosetta", "Intel", "no NE", "VM", "no devices", "no plan", "wrong"],
)
def test_one_defect_fails_one_check(
    examine: Examine, changes: dict[str, Any], failed: str, words: str, code: ExitCode
) -> None:
    checks = examine(**changes)
    assert _failed(checks) == {failed}
    assert words in checks[failed].detail
    assert checks[failed].fix
    assert doctor.exit_code(checks.values()) is code


@pytest.mark.parametrize(
    ("library", "symptom"),
    [("libcoremlpython", "Unable to load CoreML.framework"), ("libmilstoragepython", "BlobWriter not loaded")],
)
def test_a_library_that_does_not_load_is_named_with_its_symptom(examine: Examine, library: str, symptom: str) -> None:
    checks = examine(foreign_libraries=[library])
    assert library in _failed(checks)
    assert symptom in str(checks[library].fix)
    assert checks["Core ML predicts"].detail == "not tried"
    assert doctor.exit_code(checks.values()) is ExitCode.BROKEN


def test_core_ml_that_aborts_is_reported_and_survived(examine: Examine) -> None:
    checks = examine(faults=[{"kind": "abort"}])
    assert "SIGABRT" in checks["Core ML predicts"].detail
    assert checks["Neural Engine"].outcome is Outcome.OK
    assert doctor.exit_code(checks.values()) is ExitCode.BROKEN


def test_what_failed_once_is_tried_again_and_said(examine: Examine) -> None:
    checks = examine(faults=[{"kind": "abort", "once": True}])
    assert _failed(checks) == set()
    assert "correctly; the first try failed: Core ML aborted" in checks["Core ML predicts"].detail


def test_a_mac_too_busy_to_import_coremltools_says_why_its_neural_engine_is_left_out(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_SECONDS", 0.2)
    checks = examine(import_seconds=60)
    why = "The worker did not get to Core ML within 0.2 s and was killed while "
    assert checks["Neural Engine"].detail.startswith(why)
    assert measure._left_out(list(checks.values()))[0].startswith(
        f"The Neural Engine was not asked for: Neural Engine: {why}"
    )


def test_elsewhere_nothing_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "mac_ver", lambda: ("", ("", "", ""), ""))
    checks = {check.name: check for check in doctor.examine(run=lambda _: None)}
    assert "no Core ML" in checks["macOS"].detail
    assert doctor.exit_code(checks.values()) is ExitCode.BROKEN
    assert all(check.fix for check in checks.values() if check.outcome is not Outcome.OK)


@pytest.mark.parametrize(
    ("torch", "coremltools", "outcome"),
    [
        ("2.7.1", "9.0", Outcome.OK),
        ("2.13.0+cpu", "9.0", Outcome.WARN),
        ("2.8.0", "9.1.dev1", Outcome.OK),
        ("2.7.0", "12.0", Outcome.WARN),
        (None, "9.0", Outcome.FAIL),
        ("2.7.0", None, Outcome.FAIL),
    ],
)
def test_the_combination_of_torch_and_coremltools(torch: str | None, coremltools: str | None, outcome: Outcome) -> None:
    assert doctor.torch_combination({"torch": torch, "coremltools": coremltools}).outcome is outcome


def test_a_full_disk_and_a_closed_folder_are_failures(tmp_path: Path) -> None:
    assert doctor.disk_space(2 * 1024**3).outcome is Outcome.OK
    assert doctor.disk_space(2 * 1024**3 - 1).outcome is Outcome.FAIL
    assert doctor.temporary_folder(tmp_path).outcome is Outcome.OK
    (tmp_path / "file").write_text("")
    assert "cannot be written" in doctor.temporary_folder(tmp_path / "file").detail


def test_a_cast_without_a_device_is_no_fault() -> None:
    cast = {"name": "a", "op": "cast", "device": "unknown"}
    tanh = {"name": "b", "op": "tanh", "device": "cpu"}
    assert doctor.compute_plan([cast, tanh], None).outcome is Outcome.OK
    assert doctor.compute_plan([cast, {**tanh, "device": "unknown"}], None).outcome is Outcome.FAIL


def test_a_warning_changes_no_exit_code() -> None:
    assert doctor.exit_code([Check(name="a", outcome=Outcome.WARN, detail="", fix="")]) is ExitCode.PASS
