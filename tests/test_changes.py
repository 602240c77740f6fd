"""What happened to stored cells."""

from __future__ import annotations

import dataclasses

import pytest

from mish_guard.judge import baseline_diff
from mish_guard.records import Measurement
from mish_guard.report import differences
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


def test_the_binade_that_changed_most_is_shown_and_not_the_largest(cell: Measurement) -> None:
    """-[8, 16) has 2047 ulp before and after; -[2, 4) went from 0.5 to 31.8."""
    assert cell.figures is not None
    name = "-[2, 4)"
    grown = dataclasses.replace(cell.figures.binades[name], max_ulp=31.8, material=9.0)
    after = changed(cell, digest="0" * 64, binades={**cell.figures.binades, name: grown})
    (change,) = baseline_diff.between({KEY: cell}, {KEY: after}).moved
    assert change.how == "worse"
    assert change.moved is not None
    assert (change.moved.name, change.moved.after) == (name, 31.8)
    shown = differences.text(baseline_diff.between({KEY: cell}, {KEY: after}), width=1000)
    (row,) = [line for line in shown.splitlines() if KEY in line]
    assert f"{name} " in row
    assert "31.8" in row


def test_a_cell_that_becomes_a_known_gap_is_shown(cell: Measurement) -> None:
    gap = dataclasses.replace(cell, known_gap="because")
    assert [each.how for each in baseline_diff.between({KEY: cell}, {KEY: gap}).moved] == ["known gap"]


def test_other_bits_of_another_instrument_are_not_called_worse(cell: Measurement) -> None:
    other = dataclasses.replace(changed(cell, digest="0" * 64, n_over_ceiling=1), instrument="1" * 64)
    assert [each.how for each in baseline_diff.between({KEY: cell}, {KEY: other}).moved] == ["other instrument"]
    same = dataclasses.replace(cell, instrument="1" * 64)
    assert baseline_diff.between({KEY: cell}, {KEY: same}).moved == ()


def test_another_shape_is_shown(cell: Measurement) -> None:
    climbed = dataclasses.replace(cell, rung="8x8x32")
    assert [each.how for each in baseline_diff.between({KEY: cell}, {KEY: climbed}).moved] == ["at 8x8x32, not None"]
