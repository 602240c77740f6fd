"""Outputs to figures: exact where the answer is known, closed against everything that is no measurement."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mish_guard.errors import NotComparableError
from mish_guard.models import networks
from mish_guard.numerics import ceiling, figures, fp16, reference
from mish_guard.numerics.ceiling import CEILING
from mish_guard.records import Figures

X = fp16.finite_values()
WANT = reference.mish(X)
ALL = np.ones(len(X), dtype=bool)


def sweep(got: Any, covered: Any = ALL) -> Figures:
    return figures.sweep(X, fp16.to_fp16(got), WANT, covered=covered, specials={})


def test_the_correctly_rounded_reference_is_within_half_a_unit() -> None:
    figures = sweep(WANT)
    assert figures.max_ulp.value <= 0.5
    assert (figures.n_over_ceiling, figures.n_collapsed, figures.n_nonfinite, figures.bad_intervals) == (0, 0, 0, ())
    assert figures.n_total == figures.n_covered == 63488
    assert sum(each.count for each in figures.binades.values()) == 63488


def test_the_cliff_is_one_interval() -> None:
    (interval,) = sweep(np.where(X >= 10.3984375, 0, WANT)).bad_intervals
    assert (interval.first, interval.last, interval.count) == (10.3984375, 65504.0, 13005)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_counts_and_stays_a_number(bad: float) -> None:
    got = WANT.copy()
    got[40000] = bad
    figures = sweep(got)
    assert (figures.n_nonfinite, figures.n_over_ceiling) == (1, 1)
    assert (figures.max_abs.value, figures.max_abs.at) == (fp16.MAX_FINITE, float(X[40000]))


def test_a_binade_says_where_its_largest_error_is_and_what_it_is_worth() -> None:
    """Two units at 8.5 are 1/64: 2**-6 / (2**-11 * (1 + 8.5)). As many at -0.0003 are next to nothing."""
    at, tiny = (int(np.flatnonzero(np.float16(x) == X)[0]) for x in (8.5, -0.0003))
    got = WANT.copy()
    got[at] += 2 * 2.0**-7
    got[tiny] += 16 * fp16.spacing(WANT[tiny])
    found = sweep(got)
    name, small = (fp16.binade_name(int(fp16.binade(X[place]))) for place in (at, tiny))
    assert found.binades[name].at == 8.5
    assert found.binades[name].material == pytest.approx(2.0**-6 / (2.0**-11 * (1 + WANT[at])), rel=0.3)
    assert found.material == found.binades[name].material
    assert found.binades[small].max_ulp > 15
    assert found.binades[small].material < 0.01


def test_what_is_not_covered_counts_for_nothing() -> None:
    covered = np.abs(X) < 2.0**15
    found = sweep(np.where(covered, WANT, np.nan), covered)
    assert (found.n_over_ceiling, found.n_covered, found.n_total) == (0, 61440, 63488)
    nothing = sweep(WANT, np.zeros(len(X), dtype=bool))
    assert nothing.n_covered == 0
    assert not ceiling.is_within(nothing)


def test_one_changed_bit_changes_the_digest_and_nan_payloads_do_not() -> None:
    got = fp16.to_fp16(WANT)
    other = got.copy()
    other.view(np.uint16)[123] ^= 1
    assert sweep(got).digest != sweep(other).digest
    quiet, loud = got.copy(), got.copy()
    quiet.view(np.uint16)[5], loud.view(np.uint16)[5] = 0x7E00, 0xFE01
    assert sweep(quiet).digest == sweep(loud).digest


@pytest.mark.parametrize(
    ("inputs", "got", "want"),
    [
        (X[:0], X[:0], WANT[:0]),
        (X[:4], X[:3], WANT[:4]),
        (X[:4], X[:4].astype(np.float32), WANT[:4]),
        (X[:4], X[:4], WANT[:4].astype(np.float32)),
        (X[:3], X[:4], WANT[:4]),
        (X[:4], X[:4], np.array([1.0, 2.0, np.nan, 3.0])),
    ],
    ids=["empty", "shape", "dtype", "reference dtype", "inputs", "reference nan"],
)
def test_what_cannot_be_compared_is_an_error(inputs: Any, got: Any, want: Any) -> None:
    with pytest.raises(NotComparableError):
        figures.sweep(inputs, got, want, covered=np.ones(len(inputs), dtype=bool), specials={})
    if len(inputs) == len(got):
        with pytest.raises(NotComparableError):
            figures.outputs(got, want)


@pytest.mark.parametrize("x", [0.0, 3.5, -7.625, 10.5, 1000.0])
def test_the_ceiling_is_where_it_is_said_to_be(x: float) -> None:
    want = reference.mish(np.array([x]))
    edge = want + 2.0**-8 + 2.0**-8 * np.abs(want)
    assert CEILING.within(edge * (1 - 1e-15), want, np.abs(want)).all()
    assert not CEILING.within(edge * (1 + 1e-12) + 1e-12, want, np.abs(want)).any()
    assert not CEILING.within(np.array([np.nan]), want, np.abs(want)).any()


@pytest.mark.parametrize("x", [3.5, 10.5, 1000.0])
def test_figures_count_by_the_ceiling_at_each_reference(x: float) -> None:
    place = int(np.flatnonzero(np.float16(x) == X)[0])
    edge = 2.0**-8 + 2.0**-8 * WANT[place]
    for error, count in ((edge - fp16.spacing(WANT[place]), 0), (edge + fp16.spacing(WANT[place]), 1)):
        got = WANT.copy()
        got[place] += error
        assert sweep(got).n_over_ceiling == count


def test_a_whole_models_outputs_are_measured_by_the_largest() -> None:
    want = np.array([0.001, -8.0])
    edge = 2.0**-8 + 2.0**-8 * 8.0
    for error, count in ((edge * 0.99, 0), (edge * 1.01, 1)):
        found = figures.outputs(fp16.to_fp16(want + np.array([error, 0.0])), fp16.to_fp16(want).astype(np.float64))
        assert (found.n_over_ceiling, found.n_covered, found.n_total) == (count, 2, 2)


def test_specials_are_part_of_the_digest() -> None:
    digests = {
        figures.sweep(X, fp16.to_fp16(WANT), WANT, covered=ALL, specials={"+inf": fp16.to_fp16([value])}).digest
        for value in (0.0, -0.0, np.inf)
    }
    assert len(digests) == 3


def test_a_collapse_is_over_the_ceiling_even_where_the_error_is_small() -> None:
    want = np.array([2.0**-6])
    assert CEILING.collapsed(np.array([0.0]), want, want).all()
    assert not CEILING.within(np.array([2.0**-7]), want, want).any()


@pytest.mark.parametrize(
    "name", [name for name, case in networks.CASES.items() if isinstance(case, networks.SweepCase)]
)
def test_every_sweep_feeds_every_bit_pattern(name: str) -> None:
    fed = np.concatenate([feed[0].ravel() for feed in networks.case(name).feeds()])
    assert len(np.unique(fed.view(np.uint16))) == 65536


@pytest.mark.parametrize(
    "name", [name for name, case in networks.CASES.items() if isinstance(case, networks.SweepCase)]
)
def test_an_input_is_found_where_it_was_fed(name: str) -> None:
    case = networks.case(name)
    located = case.locate(10.3984375)
    assert located is not None
    feed, place = located
    assert float(case.feeds()[feed][0][place]) == 10.3984375


def _predicted(case: networks.SweepCase, carried: Any, activated: Any) -> list[tuple[Any, Any, Any]]:
    """Predictions in which the convolution made `carried` of the finite inputs, and the activation `activated`."""
    finite, special = case._tiles()
    size = finite[0].size

    def tiles(values: Any) -> list[Any]:
        padded = np.zeros(len(finite) * size, dtype=np.float16)
        padded[: len(values)] = values
        return [each.reshape(case.shape) for each in padded.reshape(-1, size)]

    made = [(one, other, None) for one, other in zip(tiles(carried), tiles(activated), strict=True)]
    return made + [(tile, fp16.to_fp16(np.abs(tile)), None) for tile in special]


def _beside(x: Any) -> Any:
    """What a scheme of sums makes of every input: one number further, up or down in turn, and inf from 2**15 on."""
    moved = np.nextafter(x, np.where(np.arange(len(x)) % 2, 65504, -65504).astype(np.float16))
    return np.where(np.abs(x) < 2.0**15, moved, np.float16(np.inf)).astype(np.float16)


@pytest.mark.parametrize("is_cut", [False, True], ids=["right", "cliff"])
def test_a_convolution_that_carries_nothing_exactly_is_no_end_of_the_run(is_cut: bool) -> None:
    """The activation is judged by what entered it, and a cliff stays one."""
    case = networks.case("mish-k3")
    assert isinstance(case, networks.SweepCase)
    carried = _beside(X)
    got = fp16.to_fp16(reference.mish(carried))
    if is_cut:
        got = np.where(carried >= 10.3984375, np.float16(0), got)
    predictions = _predicted(case, carried, got)
    assert case.figures(predictions).n_covered < 0.01 * len(X)
    tolerant = dataclasses.replace(case, by_what_entered=True)
    found = tolerant.figures(predictions)
    assert found.n_covered > ceiling.LEAST_COVERED * len(X)
    assert tolerant.inexact(predictions) > ceiling.LEAST_COVERED * len(X)
    assert ceiling.is_within(found) is not is_cut
    assert [each.first > 10.3 for each in found.bad_intervals] == [True] * is_cut


@pytest.mark.parametrize("made", [np.zeros_like(X), -X, np.roll(X, 4000)], ids=["zeros", "sign", "another"])
def test_what_is_not_beside_an_input_covers_it_not(made: Any) -> None:
    case = networks.case("mish-k3")
    assert isinstance(case, networks.SweepCase)
    tolerant = dataclasses.replace(case, by_what_entered=True)
    assert tolerant.figures(_predicted(case, made, fp16.to_fp16(reference.mish(made)))).n_covered < 0.1 * len(X)


def test_what_is_carried_exactly_is_judged_as_ever() -> None:
    case = networks.case("mish-k3")
    assert isinstance(case, networks.SweepCase)
    predictions = _predicted(case, X, fp16.to_fp16(WANT))
    tolerant = dataclasses.replace(case, by_what_entered=True)
    assert tolerant.figures(predictions) == case.figures(predictions)
    assert tolerant.inexact(predictions) == 0
