"""What measured a cell: a digest of everything that can change a figure, and of nothing else."""

from __future__ import annotations

import dataclasses
import io
import tokenize

import pytest

from mish_guard import files
from mish_guard.engines.emulator import profiles
from mish_guard.matrix import instrument
from mish_guard.models import networks
from mish_guard.records import CellKey
from mish_guard.results import baseline

CELL = CellKey.parse("sweep/mish-k3/torchscript/mlprogram-fp16@ane")


@pytest.fixture(autouse=True)
def _afresh() -> None:
    instrument._arithmetic.cache_clear()
    instrument._formulas.cache_clear()
    instrument._case.cache_clear()


def test_it_does_not_depend_on_what_converted() -> None:
    export = dataclasses.replace(CELL, frontend=CellKey.parse(str(CELL).replace("torchscript", "export")).frontend)
    assert instrument.of(CELL) == instrument.of(export)


def test_one_line_of_a_profile_is_another_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {place: instrument.of(dataclasses.replace(CELL, place=place)) for place in ("ane", "ane-ftz")}
    monkeypatch.setitem(
        profiles.PROFILES, "ane", dataclasses.replace(profiles.ANE, hazards=profiles.ANE.hazards - {"log-of-zero"})
    )
    instrument._arithmetic.cache_clear()
    after = {place: instrument.of(dataclasses.replace(CELL, place=place)) for place in ("ane", "ane-ftz")}
    assert (before["ane"] != after["ane"], before["ane-ftz"] == after["ane-ftz"]) == (True, True)


def test_other_inputs_or_weights_are_another_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    before = instrument.of(CELL)
    monkeypatch.setitem(networks.CASES, "mish-k3", networks.case("mish-k1"))
    instrument._case.cache_clear()
    assert instrument.of(CELL) != before


def test_the_rung_is_part_of_it() -> None:
    assert instrument.of(CELL) != instrument.of(CELL, "8x8x32")


@pytest.mark.parametrize("module", instrument._EMULATOR)
def test_every_module_of_the_arithmetic_is_there(module: str) -> None:
    assert len(instrument._texts(instrument._EMULATOR_FOLDER, (module,))[0]) > 100


def test_comments_and_docstrings_do_not_count_and_code_does() -> None:
    one = '"""Head."""\n\nLIMIT = 2  # two\ndef f(x: int) -> int:\n    """Doc\n    of f."""\n    # why\n    return x\n'
    other = "LIMIT = 2\ndef f(x: int) -> int:\n    return x\n"
    assert instrument.text_that_counts(one) == instrument.text_that_counts(other)
    assert instrument.text_that_counts(one.replace("2  #", "3  #")) != instrument.text_that_counts(other)
    assert "# kept" in instrument.text_that_counts('NAME = "# kept"\n')


def _by_the_tokenizer(source: str) -> str:
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def test_comments_are_what_the_tokenizer_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instrument, "_docstrings", lambda _: [])
    texts = [path.read_text(encoding="utf-8") for path in sorted(files.DATA.parent.rglob("*.py"))]
    texts += ["a = '#'  # one\nb = \"it's #\"  # two\nc = r'\\'#'\n", "a = ''  # it's\nb = '\\'#'  # one\n"]
    texts += ['a = """\'#\'\n# in a string \\""" # too\n"""  # out\nb = f"{a[\'#\']}"  # three\n']
    assert len(texts) > 100
    assert [each for each in texts if instrument.text_that_counts(each) != _by_the_tokenizer(each)] == []


def test_the_shipped_baselines_were_measured_by_this_instrument() -> None:
    """Where this is red, the arithmetic, the inputs or the formulas changed: ci/refresh_baselines.py measures anew."""
    held = [cell for each in baseline.load_all(baseline.SHIPPED).values() for cell in each.cells.values()]
    assert len(held) > 100
    assert [str(cell.key) for cell in held if cell.instrument != instrument.of(cell.key, cell.rung)] == []
