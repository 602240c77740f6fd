"""Who am I: identities from recorded outputs of the commands that macOS answers with."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pytest

from mish_guard import files
from mish_guard.engines.coreml import machine

M3_MAX = {
    "sysctl -n machdep.cpu.brand_string": "Apple M3 Max",
    "sysctl -n hw.model": "Mac15,9",
    "sysctl -n kern.hv_vmm_present": "0",
    "sysctl -n sysctl.proc_translated": "0",
    "sw_vers -productVersion": "26.4.1",
    "sw_vers -buildVersion": "25E253",
    "pmset -g batt": "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t87%; discharging",
}
RUNNER = {
    **M3_MAX,
    "sysctl -n machdep.cpu.brand_string": "Apple M1 (Virtual)",
    "sysctl -n hw.model": "VirtualMac2,1",
    "sysctl -n kern.hv_vmm_present": "1",
    "sw_vers -productVersion": "15.6",
}
INTEL = {"sysctl -n machdep.cpu.brand_string": "Intel(R) Core(TM) i9-9880H", "sw_vers -productVersion": "14.5"}


def _mac(answers: Mapping[str, str], ne_cores: int | None = 16) -> machine.Device:
    def run(command: Sequence[str]) -> str | None:
        return answers.get(" ".join(command))

    return machine.identify(ne_cores=ne_cores, run=run)


def test_a_mac_says_what_it_is() -> None:
    record = _mac(M3_MAX).to_json()
    assert record["baseline_key"] == "m3-max-macos26"
    assert {name: record["hardware"][name] for name in ("chip", "model", "ne_cores", "is_vm")} == {
        "chip": "Apple M3 Max",
        "model": "Mac15,9",
        "ne_cores": 16,
        "is_vm": False,
    }
    environment = record["environment"]
    assert (environment["macos"], environment["build"]) == ("26.4.1", "25E253")
    assert (environment["is_rosetta"], environment["power"]) == (False, "battery")
    assert environment["packages"].keys() == {"coremltools", "torch", "numpy"}
    assert environment["packages"]["numpy"] is not None


@pytest.mark.parametrize(
    ("answers", "key"),
    [
        (M3_MAX, "m3-max-macos26"),
        (RUNNER, "vm-macos15"),
        (INTEL, None),
        ({"sysctl -n machdep.cpu.brand_string": "Apple M5"}, None),
        ({}, None),
    ],
    ids=["physical", "virtual", "intel", "no macos", "nothing"],
)
def test_the_baseline_key_is_the_chip_and_the_major_version(answers: Mapping[str, str], key: str | None) -> None:
    assert _mac(answers).baseline_key == key


def test_the_hash_is_of_the_hardware_alone() -> None:
    updated = {**M3_MAX, "sw_vers -productVersion": "27.0", "pmset -g batt": "Now drawing from 'AC Power'"}
    assert _mac(updated).hardware.id == _mac(M3_MAX).hardware.id == "68768237ffbf"
    assert _mac(M3_MAX, ne_cores=32).hardware.id != _mac(M3_MAX).hardware.id


def test_what_is_unknown_is_null_and_not_hashed() -> None:
    nothing = _mac({}, ne_cores=None)
    assert nothing.hardware.id is None
    assert set(nothing.to_json()["hardware"].values()) == {None}
    assert nothing.environment.is_rosetta is None
    chip_only = machine.Hardware(chip="Apple M2", model=None, ne_cores=None, is_vm=None)
    assert chip_only.id == files.sha256('{"chip":"Apple M2"}')[:12]


@pytest.mark.parametrize(
    "command",
    [["no-such-command"], [sys.executable, "-c", "raise SystemExit(1)"], [sys.executable, "-c", ""]],
    ids=["missing", "failing", "silent"],
)
def test_a_command_without_an_answer_is_unknown(command: Sequence[str]) -> None:
    assert machine.command_output(command) is None


def test_a_command_is_run_and_read() -> None:
    assert machine.command_output([sys.executable, "-c", "print('Apple M1')"]) == "Apple M1"


def test_a_command_that_hangs_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SECONDS", 0.2)
    assert machine.command_output([sys.executable, "-c", "import time; time.sleep(60)"]) is None
