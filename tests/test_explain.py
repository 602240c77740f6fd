"""`explain`: which inputs it takes, whose tree it judges, and what it shows."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from mish_guard import commands_to_type
from mish_guard.errors import ExitCode
from mish_guard.models import networks
from mish_guard.numerics import fp16
from mish_guard.results import run_file
from tests.conftest import Invoke
from tests.test_verdict import run

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
