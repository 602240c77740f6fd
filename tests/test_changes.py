"""What happened to stored cells."""

from __future__ import annotations

import dataclasses

import pytest

from mish_guard.judge import baseline_diff
from mish_guard.records import Measurement
from mish_guard.results import baseline

KEY = "sweep/mish-k1/torchscript/mlprogram-fp16@ane"


@pytest.fixture(scope="module")
def cell() -> Measurement:
    return baseline.load(baseline.SHIPPED / "emulator-ane.json").cells[KEY]


def changed(cell: Measurement, **figures: object) -> Measurement:
    assert cell.figures is not None
    return dataclasses.replace(cell, figures=dataclasses.replace(cell.figures, **figures))  # type: ignore[arg-type]


def test_a_cell_that_stays_bit_for_bit_is_no_change(cell: Measurement) -> None:
    found = baseline_diff.between({KEY: cell}, {KEY: cell})
    assert (found.moved, found.summary) == ((), "1 cells unchanged, 0 changed or gone, 0 new")


def test_a_cell_that_comes_or_goes_is_one(cell: Measurement) -> None:
    assert [each.how for each in baseline_diff.between({}, {KEY: cell}).moved] == ["new"]
    gone = baseline_diff.between({KEY: cell}, {})
    assert ([each.how for each in gone.moved], gone.summary) == (
        ["gone"],
        "0 cells unchanged, 1 changed or gone, 0 new",
    )


def test_other_bits_are_named_by_what_they_are_worth(cell: Measurement) -> None:
    within = changed(cell, digest="0" * 64)
    worse = changed(cell, digest="0" * 64, n_over_ceiling=1)
    assert [each.how for each in baseline_diff.between({KEY: cell}, {KEY: within}).moved] == ["within"]
    assert [each.how for each in baseline_diff.between({KEY: cell}, {KEY: worse}).moved] == ["worse"]


def test_a_cell_that_becomes_a_known_gap_is_shown(cell: Measurement) -> None:
    gap = dataclasses.replace(cell, known_gap="because")
    assert [each.how for each in baseline_diff.between({KEY: cell}, {KEY: gap}).moved] == ["known gap"]


def test_another_shape_is_shown(cell: Measurement) -> None:
    climbed = dataclasses.replace(cell, rung="8x8x32")
    assert [each.how for each in baseline_diff.between({KEY: cell}, {KEY: climbed}).moved] == ["at 8x8x32, not None"]
