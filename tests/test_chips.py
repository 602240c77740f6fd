"""The table of measured chips: fresh, and never filled but by a Neural Engine that was measured."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from mish_guard.records import Measurement, Run
from mish_guard.report import chips
from mish_guard.results import baseline
from tests.made_up import CELL, ON_CPU, cell, places, run

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / chips.PAGE.name
DEVICE = {
    "kind": "coreml",
    "baseline_key": "m3-max-macos26",
    "hardware": {"chip": "Apple M3 Max", "model": "Mac15,9"},
    "environment": {"macos": "26.3", "build": "25D125"},
}


@pytest.fixture
def render() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("render_chips", ROOT / "ci" / "render_chips.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _stored(folder: Path, measured: Run, where: str) -> None:
    text = baseline.text_of(measured, where, reason="tests", repeats=3)
    path = baseline.path_of(folder, measured.engine_at(where), where, measured.device_at(where))
    path.write_text(text)


def _on_a_mac(where: str, **changes: Any) -> Run:
    key = CELL.replace("@ane", f"@{where}")
    measured: Measurement = dataclasses.replace(cell(key), rung="8x8x32", **changes)
    who = dataclasses.replace(run().candidate, converter_sha256="0" * 64)
    engines = places(where, hardware=True, device=DEVICE)
    return run(measured, engines=engines, matrix_sha256="0" * 64, candidate=who)


def test_the_page_is_fresh(render: Any) -> None:
    assert render.main(["--check"], PAGE) == 0


def test_the_shipped_baselines_of_the_emulator_name_no_chip(tmp_path: Path) -> None:
    for path in baseline.SHIPPED.glob("emulator-*.json"):
        shutil.copy(path, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert chips.table(tmp_path) == "None so far: nobody has sent a measurement."


def test_a_measured_chip_has_a_row(tmp_path: Path) -> None:
    _stored(tmp_path, _on_a_mac("cpu-and-ne"), "cpu-and-ne")
    row = chips.table(tmp_path).splitlines()[-1]
    assert row.startswith("| Apple M3 Max | Mac15,9 | 26.3 (25D125) | 1 of 1 | 8x8x32 | 9.0 | 20")


@pytest.mark.parametrize(
    "measured",
    [
        _on_a_mac("cpu-and-ne", placement=ON_CPU),
        _on_a_mac("cpu-only", placement=ON_CPU),
        dataclasses.replace(_on_a_mac("cpu-and-ne"), engines=places("cpu-and-ne", device=DEVICE)),
    ],
    ids=["not placed", "the CPU", "the emulator"],
)
def test_nothing_else_fills_the_table(tmp_path: Path, measured: Run) -> None:
    (key,) = measured.measurements
    _stored(tmp_path, measured, key.partition("@")[2])
    assert chips.table(tmp_path) == "None so far: nobody has sent a measurement."


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace("None so far", "Apple M9"), "is stale"),
        (lambda text: text.replace("<!-- chips end -->", ""), "has lost the lines"),
    ],
    ids=["edited", "without its end"],
)
def test_a_stale_table_is_red(
    render: Any, tmp_path: Path, edit: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "neural-engine.md"
    target.write_text(edit(PAGE.read_text()))
    assert render.main(["--check"], target) == 1
    assert words in capsys.readouterr().out
