"""The search for forms of mish, and the table of docs/lowerings.md."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mish_guard.engines.emulator.graph import DType
from mish_guard.numerics import fp16, reference

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "ci"))

import render_lowerings
import search_lowerings
from search_lowerings import Form, Step


@pytest.mark.slow
def test_the_search_finds_the_recommended_form_and_measures_it() -> None:
    found = [form for form in search_lowerings.forms(4, ("exp",)) if not form.divides and form.cap == 10]
    best, *_ = search_lowerings.ranked(found)
    assert str(best.form) == "x * (b / (b + (2 / (b + 2)))), b = exp(min(x, 10))"
    assert best.form.n_ops == 7
    assert best.half.max_ulp.value < 9
    assert best.single_relative < 3e-7


def test_a_form_that_overflows_is_not_ranked() -> None:
    # n / (n + 2) without a cap: inf / inf.
    program = (Step("add", 0, 2), Step("mul", 0, 3), Step("add", 2, 4), Step("real_div", 4, 5))
    ratio = Form(base="exp", cap=None, program=program, divides=False)
    x = fp16.finite_values().astype(np.float64)
    near = np.abs(x) < 5
    assert np.allclose(
        search_lowerings.outputs(ratio, DType.FP16, "ane")[near], reference.mish(x)[near], rtol=0.01, atol=1e-5
    )
    assert search_lowerings.ranked([ratio]) == []


def test_no_program_of_two_operations_is_mish() -> None:
    assert list(search_lowerings.forms(2)) == []


def test_a_document_without_its_marks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "lowerings.md"
    target.write_text("nothing here\n")
    assert render_lowerings.main([], target) == 1
    assert "lost the lines" in capsys.readouterr().out
    assert target.read_text() == "nothing here\n"


def test_a_stale_table_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_lowerings, "table", lambda: "| fresh |")
    target = tmp_path / "lowerings.md"
    target.write_text(f"a\n{render_lowerings.BEGIN}\n| old |\n{render_lowerings.END}\nb\n")
    assert render_lowerings.main(["--check"], target) == 1
    assert "stale" in capsys.readouterr().out
    assert render_lowerings.main([], target) == 0
    assert render_lowerings.main(["--check"], target) == 0
    assert target.read_text() == f"a\n{render_lowerings.BEGIN}\n| fresh |\n{render_lowerings.END}\nb\n"
