"""Outputs as a file beside the results: what comes back, and which curve belongs to a run."""

from __future__ import annotations

import base64
import dataclasses
import math
import zlib
from pathlib import Path

import numpy as np
import pytest

from mish_guard import files
from mish_guard.errors import UnreadableFileError
from mish_guard.numerics import figures, fp16
from mish_guard.records import Document, Run, Step
from mish_guard.results import curves, run_file
from mish_guard.results.curves import Curves, Trace
from tests import made_up
from tests.made_up import CELL, GRAFT

BITS = fp16.all_bits()
OUTPUTS = np.roll(BITS, 7).view(np.float16)
TRACE = Trace(
    x=10.3984375,
    steps=(
        Step(op="softplus", name="a", got=0.0, want=10.3984375, wrong=True),
        Step(op="tanh", name="b", got=math.inf, want=-math.inf, wrong=False),
    ),
)
DRAWN = Curves(outputs={CELL: OUTPUTS}, traces={CELL: TRACE}, bars={CELL: {"+[8, 16)": 1.5}})


def _run(digest: str) -> Run:
    return made_up.run(made_up.cell(CELL, made_up.figures(digest=digest)))


RUN = _run(figures.digest(OUTPUTS))


def _written(folder: Path, drawn: Curves = DRAWN) -> Path:
    path = folder / curves.NAME
    path.write_text(curves.text_of(drawn), encoding="utf-8")
    return path


def _unsealed(path: Path) -> Document:
    return run_file.check_seal(files.read_json(path), path)


def test_what_was_drawn_comes_back(tmp_path: Path) -> None:
    assert curves.NAME == "curves.json"  # artifacts of earlier runs are called so
    back = curves.read(_written(tmp_path), RUN)
    assert {cell: values.tobytes() for cell, values in back.outputs.items()} == {CELL: OUTPUTS.tobytes()}
    assert (back.traces, back.bars) == (DRAWN.traces, DRAWN.bars)


def test_a_file_that_is_not_there_holds_no_curve(tmp_path: Path) -> None:
    assert curves.read(tmp_path / curves.NAME, RUN) == Curves()


@pytest.mark.parametrize(
    "run",
    [
        _run("0" * 64),
        made_up.run(made_up.cell(GRAFT, made_up.figures(digest=figures.digest(OUTPUTS)))),
        made_up.run(made_up.dead()),
    ],
)
def test_outputs_that_are_not_those_that_were_judged_are_not_shown(tmp_path: Path, run: Run) -> None:
    back = curves.read(_written(tmp_path), run)
    assert (back.outputs, back.traces) == ({}, DRAWN.traces)


def test_outputs_are_steps_in_little_endian_and_compressed() -> None:
    steps = np.frombuffer(zlib.decompress(base64.b64decode(curves.pack(OUTPUTS))), "<u2")
    assert steps[0] == int(OUTPUTS.view(np.uint16)[0])
    assert set(steps[1:].tolist()) == {1}
    assert curves.unpack(curves.pack(OUTPUTS)).tobytes() == OUTPUTS.tobytes()


def test_the_outputs_of_finite_inputs_come_first() -> None:
    assert curves.finite(OUTPUTS).tobytes() == OUTPUTS[:63488].tobytes()


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (_packed(bytes(131070)), "131070 bytes, expected 131072"),
        (_packed(bytes(131073)), "131073 bytes, expected 131072"),
        (_packed(bytes(10**7)), "131073 bytes, expected 131072"),  # never unpacked further
        ("AAAA", "Error -3 while decompressing"),
        ("A\nAA", "Only base64 data is allowed|Excess|non-base64|Non-base64"),
    ],
)
def test_what_was_never_packed_is_refused(tmp_path: Path, packed: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        curves.unpack(packed)
    path = _written(tmp_path)
    document = {**_unsealed(path), "outputs": {CELL: packed}}
    path.write_text(files.readable_json(run_file.sealed(document)), encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=f"does not hold the outputs of {CELL}: .*Measure again"):
        curves.read(path, RUN)


def test_a_file_that_follows_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / curves.NAME
    path.write_text(files.readable_json(run_file.sealed({"outputs": {}})), encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="does not follow the curves schema"):
        curves.read(path, RUN)


def test_bars_may_be_missing(tmp_path: Path) -> None:
    path = _written(tmp_path)
    document = {name: value for name, value in _unsealed(path).items() if name != "bars"}
    path.write_text(files.readable_json(run_file.sealed(document)), encoding="utf-8")
    assert dataclasses.replace(curves.read(path, RUN), outputs={}) == Curves(traces=DRAWN.traces)
