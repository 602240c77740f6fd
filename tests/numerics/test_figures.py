"""Figures of a few outputs, each to the last bit: what a figure counts, where it stands, and what it leaves out."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest

from mish_guard.errors import NotComparableError
from mish_guard.numerics import ceiling, figures, fp16
from mish_guard.numerics.ceiling import CEILING, Ceiling
from mish_guard.records import BadInterval, BinadeFigures, Figures, Worst

X = np.array([-3.0, -2.0, 1.0, 1.5, 8.0, 12.0], dtype=np.float16)
WANT = X.astype(np.float64)
ALL = np.ones(len(X), dtype=bool)


def sweep(*off: float, covered: Any = ALL, **specials: Any) -> Figures:
    """Figures of outputs that are `off` from what is wanted."""
    got = fp16.to_fp16(WANT + np.array([*off, *[0.0] * (len(X) - len(off))]))
    given = {name: np.array(values, dtype=np.float16) for name, values in specials.items()}
    return figures.sweep(X, got, WANT, covered=covered, specials=given)


def sha256(*values: float) -> str:
    return hashlib.sha256(np.array(values, dtype="<f2").tobytes()).hexdigest()


def test_every_figure_of_a_sweep_is_exact() -> None:
    found = sweep(0.0, 2.0**-8, -(2.0**-7), 0.0, 2.0**-7)
    assert found == Figures(
        n_total=6,
        n_covered=6,
        n_nonfinite=0,
        n_collapsed=0,
        n_over_ceiling=0,
        max_abs=Worst(value=2.0**-7, at=1.0),
        max_ulp=Worst(value=8.0, at=1.0),
        mean_abs=5 * 2.0**-8 / 6,
        material=2.0**-7 / (2.0**-11 * 2),
        digest=sha256(-3.0, -2.0 + 2.0**-8, 1.0 - 2.0**-7, 1.5, 8.0 + 2.0**-7, 12.0),
        binades={
            "-[2, 4)": BinadeFigures(
                count=2, max_ulp=2.0, mean_abs=2.0**-9, at=-2.0, material=2.0**-8 / (2.0**-11 + 2.0**-11 * 2)
            ),
            "+[1, 2)": BinadeFigures(count=2, max_ulp=8.0, mean_abs=2.0**-8, at=1.0, material=8.0),
            "+[8, 16)": BinadeFigures(
                count=2, max_ulp=1.0, mean_abs=2.0**-8, at=8.0, material=2.0**-7 / (2.0**-11 + 2.0**-11 * 8)
            ),
        },
        bad_intervals=(),
        specials={},
    )


def test_bad_outputs_are_counted_by_what_they_are() -> None:
    found = sweep(math.inf, 0.0, -0.5, 0.25, math.nan, 0.25)
    assert (found.n_nonfinite, found.n_collapsed, found.n_over_ceiling) == (2, 3, 5)
    assert found.max_abs == Worst(value=65504.0, at=-3.0)
    assert found.max_ulp == Worst(value=65504.0 / 2.0**-9, at=-3.0)
    assert found.material == 65504.0 / (2.0**-11 + 2.0**-11 * 3)
    assert found.bad_intervals == (
        BadInterval(first=-3.0, last=-3.0, count=1),
        BadInterval(first=1.0, last=12.0, count=4),
    )


def test_what_is_not_covered_is_in_the_digest_and_nowhere_else() -> None:
    covered = np.array([False, True, True, True, True, False])
    found = sweep(math.inf, 0.0, 0.0, 0.0, 0.5, -9.0, covered=covered)
    assert (found.n_total, found.n_covered, found.n_over_ceiling, found.n_nonfinite) == (6, 4, 1, 0)
    assert found.bad_intervals == (BadInterval(first=8.0, last=8.0, count=1),)
    assert found.max_abs == Worst(value=0.5, at=8.0)
    assert {name: each.count for name, each in found.binades.items()} == {"-[2, 4)": 1, "+[1, 2)": 2, "+[8, 16)": 1}
    assert found.digest == sha256(math.inf, -2.0, 1.0, 1.5, 8.5, 3.0)


def test_a_sweep_that_covers_nothing_has_figures_of_nothing() -> None:
    found = sweep(1.0, covered=~ALL)
    assert (found.n_total, found.n_covered, found.n_over_ceiling, found.binades) == (6, 0, 0, {})
    assert (found.max_abs, found.max_ulp) == (Worst(value=0.0, at=0.0), Worst(value=0.0, at=0.0))
    assert (found.mean_abs, found.material, found.bad_intervals) == (0.0, 0.0, ())


def test_specials_are_named_by_every_class_that_occurs() -> None:
    found = sweep(nan=[math.nan, -1.0, math.nan, math.inf], inf=[-0.0])
    assert found.specials == {"nan": "+inf -finite nan", "inf": "-0"}
    assert found.digest == sha256(*WANT, math.nan, -1.0, math.nan, math.inf, -0.0)


def test_a_run_of_bad_inputs_goes_to_either_end() -> None:
    over = np.array([True, False, False, True, True, True])
    assert figures.bad_intervals(X, over) == (
        BadInterval(first=-3.0, last=-3.0, count=1),
        BadInterval(first=1.5, last=12.0, count=3),
    )
    assert figures.bad_intervals(X, ~over) == (BadInterval(first=-2.0, last=1.0, count=2),)


def test_a_whole_models_outputs_have_their_places_in_the_order_of_memory() -> None:
    want = np.array([[4.0, -16.0], [0.0, 1.0]])
    got = fp16.to_fp16(want + np.array([[0.0, 0.0], [2.0**-5, 0.5]]))
    found = figures.outputs(got, want)
    assert found == Figures(
        n_total=4,
        n_covered=4,
        n_nonfinite=0,
        n_collapsed=0,
        n_over_ceiling=1,
        max_abs=Worst(value=0.5, at=3.0),
        max_ulp=Worst(value=2.0**19, at=2.0),
        mean_abs=(0.5 + 2.0**-5) / 4,
        material=0.5 / (2.0**-11 * 17),
        digest=sha256(4.0, -16.0, 2.0**-5, 1.5),
    )


def test_a_ceiling_of_ones_own_counts() -> None:
    wide = Ceiling(absolute=9.0, collapse_relative=9.0)
    assert figures.sweep(X, X + X.dtype.type(1), WANT, covered=ALL, specials={}, ceiling=wide).n_over_ceiling == 0
    assert figures.outputs(X + X.dtype.type(1), WANT, ceiling=wide).n_over_ceiling == 0
    assert figures.outputs(X + X.dtype.type(1), WANT).n_over_ceiling == len(X)


HALF, ONE = X.astype(np.float32), X[:1]


@pytest.mark.parametrize(
    ("inputs", "got", "want", "covered", "said"),
    [
        (X, X[:5], WANT[:5], ALL[:5], "must have one shape"),
        (X, X, WANT, ALL[:5], "must have one shape"),
        (X, HALF, WANT, ALL, "must be float16"),
        (X, X, HALF, ALL, "must be float16"),
        (X, X, WANT[:5], ALL, "the reference says"),
        (ONE[:0], ONE[:0], WANT[:0], ALL[:0], "the reference says"),
        (ONE, ONE, np.array([math.inf]), ALL[:1], "is not finite everywhere"),
    ],
)
def test_what_makes_no_comparison_is_said(inputs: Any, got: Any, want: Any, covered: Any, said: str) -> None:
    with pytest.raises(NotComparableError, match=said):
        figures.sweep(inputs, got, want, covered=covered, specials={})
    if "one shape" not in said:
        with pytest.raises(NotComparableError, match=said):
            figures.outputs(got, want)


@pytest.mark.parametrize(
    ("got", "want", "inside", "collapsed"),
    [
        (1.0 + 2.0**-7, 1.0, True, False),
        (1.0 + 2.0**-7 + 2.0**-50, 1.0, False, False),
        (1.0 - 2.0**-7, 1.0, True, False),
        (2.0**-7, 2.0**-6, False, True),
        (2.0**-7 + 2.0**-50, 2.0**-6, False, False),
        (2.0**-6 + 2.0**-8, 2.0**-6, True, False),
        (0.0, 2.0**-6 - 2.0**-50, False, False),
        (0.0, 2.0**-9, True, False),
        (math.nan, 0.0, False, False),
        (math.nan, 1.0, False, True),
        (math.inf, 1.0, False, True),
        (-math.inf, 0.0, False, False),
    ],
)
def test_the_ceiling_to_the_last_bit(got: float, want: float, inside: bool, collapsed: bool) -> None:
    values, wanted = np.array([got]), np.array([want])
    assert CEILING.within(values, wanted, np.abs(wanted)).tolist() == [inside]
    assert CEILING.collapsed(values, wanted, np.abs(wanted)).tolist() == [collapsed]


def test_a_cell_is_within_if_it_covers_anything_and_nothing_is_over() -> None:
    assert ceiling.is_within(sweep())
    assert not ceiling.is_within(sweep(covered=~ALL))
    assert not ceiling.is_within(sweep(1.0))
    one = np.array([True, False, False, False, False, False])
    assert ceiling.is_within(sweep(covered=one))
