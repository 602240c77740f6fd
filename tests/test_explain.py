"""`explain`: which inputs it takes, whose tree it judges, and what it shows."""

from __future__ import annotations

import dataclasses
import math
import re
import subprocess
from pathlib import Path

import pytest

from mish_guard import commands_to_type
from mish_guard.commands import explain
from mish_guard.errors import ExitCode
from mish_guard.models import networks
from mish_guard.numerics import fp16
from mish_guard.records import Placement
from mish_guard.results import run_file
from tests import virtual_mac
from tests.conftest import Invoke
from tests.made_up import cell, run

CELL = "surface/rank-2/torchscript/mlprogram-fp16@ane"


@pytest.mark.parametrize(
    ("x", "nearest"),
    [
        ("0.1", "0.0999755859375 and 0.10003662109375"),
        ("1e9", "65504.0 and inf"),
        ("-70000", "-inf and -65504.0"),
        ("1e-12", "0.0 and 5.960464477539063e-08"),
    ],
)
def test_an_input_that_half_precision_does_not_have_is_an_error_that_names_its_neighbours(
    invoke: Invoke, tmp_path: Path, x: str, nearest: str
) -> None:
    ended = invoke("explain", CELL, f"--x={x}", "--out", tmp_path)
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert f"The nearest are {nearest}." in ended.err


@pytest.mark.parametrize("name", ["mish-k3", "mish-k1", "rank-1", "rank-3"])
@pytest.mark.parametrize("x", [0.0, 20.0, -65504.0, 5.960464477539063e-08, math.inf, -math.inf, math.nan])
def test_every_half_precision_number_and_special_has_its_place_in_a_sweep(name: str, x: float) -> None:
    case = networks.case(name)
    located = case.locate(x)
    assert located is not None
    feed, place = located
    (tensor,) = case.feeds()[feed]
    assert fp16.classify(float(tensor[place])) is fp16.classify(x) or x == 0
    assert float(tensor[place]) == x or math.isnan(x)


def test_a_tree_that_is_not_the_runs_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    who = dataclasses.replace(run().candidate, converter_sha256="0" * 64, tree_sha256="1" * 64)
    made = run(candidate=who, matrix_sha256="0" * 64)
    report = {"tests": [], "summary": {}, "exitcode": 0, "mish_guard": run_file.run_section(made)}
    run_file.write_run(tmp_path / "results.json", report)
    ended = invoke("explain", CELL, "--out", tmp_path)
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "judged another coremltools" in ended.err
    assert "--candidate" in ended.err


@pytest.mark.slow
def test_before_and_after_and_a_special_input_are_shown(invoke: Invoke, tmp_path: Path) -> None:
    ended = invoke("explain", "surface/rank-1/torchscript/mlprogram-fp16@ane", "--lowering", "stable-softplus",
                   "--x=-inf", "--out", tmp_path)  # fmt: skip
    assert ended.code == ExitCode.PASS, ended.err
    assert "as the matrix expects" not in ended.first_line
    assert "worse than the baseline" in ended.first_line
    assert "before" in ended.out
    assert "max_ulp in -[" in ended.out
    assert "every operation at x = -inf (0xfc00)" in ended.out
    assert ended.last_line == (
        "Again: mish-guard explain 'surface/rank-1/torchscript/mlprogram-fp16@ane' --lowering stable-softplus"
    )


@pytest.mark.parametrize(
    "name", ["x'; rm -rf ~; '", "sweep/a/torchscript/mlprogram-fp16@ane\n::error::", "\x1b[2J", "/bin/sh", "--help"]
)
def test_nothing_but_the_name_of_a_cell_becomes_part_of_a_command(name: str) -> None:
    assert commands_to_type.explain(name) == "mish-guard cells"
    assert commands_to_type.gate((name,)) == "mish-guard gate"
    assert commands_to_type.explain(CELL, lowering=name) == f"mish-guard explain '{CELL}'"


# Stored packages alone: nothing is converted.
CONTROLS = """
schema_version: 1
groups:
  - {family: stability, role: negative-control, cases: [scale-11.0], frontends: [stored], backends: [mlprogram-fp16]}
  - {family: stability, role: positive-control, cases: [scale-11.0], frontends: [stored], backends: [mlprogram-fp16]}
"""


@pytest.mark.slow
def test_on_a_mac_it_shows_where_each_operation_is_planned(tmp_path: Path) -> None:
    (tmp_path / "matrix.yml").write_text(CONTROLS)
    python = virtual_mac.interpreter(virtual_mac.SCENARIOS / "m3-max.yml", tmp_path)
    name = "negative-control:stability/scale-11.0/stored/mlprogram-fp16@cpu-and-ne"
    command = [str(python), "-I", "-m", "mish_guard", "explain", name, "--matrix", "matrix.yml", "--out", "none"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == ExitCode.PASS, ended.stderr
    assert "placement    the activation is planned on: ne\n" in ended.stdout
    assert re.search(r"^softplus\w*  +ne$", ended.stdout, re.MULTILINE), ended.stdout


def test_without_a_plan_it_says_that_the_place_is_not_known() -> None:
    (line,) = explain._placed(cell(CELL, placement=Placement(activation="unknown", ops={})))
    assert "where this ran is not known" in line
