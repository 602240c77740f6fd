"""Half precision and the float64 reference."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from mish_guard.numerics import fp16, reference

ALL = fp16.all_bits().view(np.float16)


def test_every_bit_pattern_is_there_once() -> None:
    assert len(np.unique(fp16.all_bits())) == 65536
    finite, special = fp16.finite_values(), fp16.special_values()
    assert (len(finite), len(special)) == (63488, 2048)
    assert np.isfinite(finite).all()
    assert not np.isfinite(special).any()
    assert len(np.unique(np.concatenate([finite, special]).view(np.uint16))) == 65536


def test_finite_values_ascend_with_negative_zero_before_zero() -> None:
    finite = fp16.finite_values()
    assert (np.diff(fp16.ordinal(finite)) == 1).all()
    assert (np.diff(finite.astype(np.float64)) >= 0).all()
    zeros = finite[finite == 0]
    assert np.signbit(zeros).tolist() == [True, False]


def test_the_ends_of_half_precision_are_numpys() -> None:
    of = np.finfo(np.float16)
    ends = [float(each) for each in (of.max, of.smallest_normal, of.smallest_subnormal)]
    assert ends == [fp16.MAX_FINITE, fp16.MIN_NORMAL, fp16.MIN_SUBNORMAL]


def test_what_everybody_shares_nobody_can_write() -> None:
    for shared in (fp16.all_bits(), fp16.finite_values(), fp16.special_values()):
        assert not shared.flags.writeable


def test_spacing_is_numpys() -> None:
    finite = fp16.finite_values()
    inner = finite[(finite >= 0) & (finite < 32768)]
    assert (fp16.spacing(inner) == np.spacing(inner).astype(np.float64)).all()
    assert (fp16.spacing(-inner) == fp16.spacing(inner)).all()
    assert set(fp16.spacing(np.array([32768.0, 65504.0, math.inf, 1e30]))) == {32.0}


def test_a_number_just_below_a_power_of_two_has_the_unit_below() -> None:
    powers = 2.0 ** np.arange(-13, 15)
    assert (fp16.spacing(np.nextafter(powers, 0)) == fp16.spacing(powers) / 2).all()


def test_binades_share_sign_and_exponent() -> None:
    finite = fp16.finite_values()
    numbers = fp16.binade(finite)
    _, exponents = np.frexp(np.abs(finite.astype(np.float64)))
    for number in np.unique(numbers):
        members = numbers == number
        assert len(np.unique(np.signbit(finite[members]))) == 1
        normal = abs(int(number)) > 1
        assert len(np.unique(exponents[members])) == 1 if normal else (np.abs(finite[members]) < 2.0**-14).all()
    assert len(np.unique(numbers)) == 62


@pytest.mark.parametrize(
    ("value", "name"),
    [(10.3984375, "+[8, 16)"), (-0.0, "-[0, 2^-14)"), (2.0**-14, "+[2^-14, 2^-13)"), (-65504.0, "-[32768, 65536)")],
)
def test_binades_are_named_by_what_they_hold(value: float, name: str) -> None:
    assert fp16.binade_name(int(fp16.binade(np.float16(value)))) == name


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (65504.0, 65504.0),
        (65519.99, 65504.0),
        (65520.0, math.inf),
        (-1e300, -math.inf),
        (2049.0, 2048.0),
        (2051.0, 2052.0),
        (2.0**-25, 0.0),
        (2.0**-25 * 1.0001, 2.0**-24),
        # Rounded once: by way of float32 this would become a tie and then 1.
        (1.0 + 2.0**-11 + 2.0**-40, 1.0 + 2.0**-10),
    ],
)
def test_rounding_is_half_to_even_and_happens_once(value: float, rounded: float) -> None:
    assert float(fp16.to_fp16(value)) == rounded


def test_every_value_has_a_class() -> None:
    classes = {fp16.classify(float(value)).value for value in ALL[::7]} | {fp16.classify(-0.0).value}
    assert classes | {"+inf", "+0"} == {"nan", "+inf", "-inf", "+0", "-0", "+finite", "-finite"}
    assert fp16.classify(math.inf) is fp16.FloatClass.POSITIVE_INF
    assert fp16.hex_bits(10.3984375) == "0x4933"


def _relative_errors(function: object, exact: object, every: int = 1) -> tuple[float, float]:
    worst, at = 0.0, 0.0
    inputs = [float(x) for x in fp16.finite_values()[::every] if x != 0]
    computed = function(np.array(inputs))  # type: ignore[operator]
    with mpmath.workdps(50):
        for x, got in zip(inputs, computed, strict=True):
            want = exact(mpmath.mpf(x))  # type: ignore[operator]
            # Below float64's range no relative error can be asked for.
            if abs(want) < 1e-300:
                assert abs(got) < 1e-300
                continue
            error = float(abs((mpmath.mpf(float(got)) - want) / want))
            if not error <= worst:
                worst, at = error, x
    return worst, at


def _exact_mish(x: mpmath.mpf) -> mpmath.mpf:
    return x * mpmath.tanh(mpmath.log1p(mpmath.exp(x)))


def _exact_softplus(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.log1p(mpmath.exp(x))


@pytest.mark.parametrize(("function", "exact"), [(reference.mish, _exact_mish), (reference.softplus, _exact_softplus)])
def test_the_reference_is_exact_to_a_few_rounding_errors_here_and_there(function: object, exact: object) -> None:
    """For who edits: the two below ask of every input."""
    worst, at = _relative_errors(function, exact, every=101)
    assert worst <= 8 * 2.0**-53, at


@pytest.mark.slow
def test_mish_is_exact_to_a_few_rounding_errors_on_every_input() -> None:
    worst, at = _relative_errors(reference.mish, _exact_mish)
    assert worst <= 8 * 2.0**-53, at


@pytest.mark.slow
def test_softplus_is_exact_to_a_few_rounding_errors_on_every_input() -> None:
    worst, at = _relative_errors(reference.softplus, _exact_softplus)
    assert worst <= 8 * 2.0**-53, at


def test_specials_follow_the_limits() -> None:
    got = reference.mish(np.array([math.inf, -math.inf, math.nan, 0.0, -0.0]))
    assert got[0] == math.inf
    assert (got[1], np.signbit(got[1])) == (0.0, True)
    assert np.isnan(got[2])
    assert np.signbit(got[3:]).tolist() == [False, True]
    assert reference.softplus(np.array([math.inf, -math.inf])).tolist() == [math.inf, 0.0]


def test_a_reference_is_found_once_for_equal_inputs_and_nobody_can_write_to_it() -> None:
    asked = []

    def want(x: ArrayLike) -> NDArray[np.float64]:
        asked.append(np.shape(x))
        return reference.mish(x)

    inputs = fp16.finite_values()[:6]
    found = [reference.remembered(want, each) for each in (inputs, inputs.copy(), inputs.reshape(2, 3), -inputs)]
    assert asked == [(6,), (2, 3), (6,)]
    assert found[0] is found[1]
    assert (found[0] == reference.mish(inputs)).all()
    assert (found[2].ravel() == found[0]).all()
    assert (found[3] == reference.mish(-inputs)).all()
    assert not any(each.flags.writeable for each in found)
