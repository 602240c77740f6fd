"""What a profile adds to half-precision arithmetic, on every input where an operation has one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import hazards, profiles
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.profiles import ANE, ANE_COARSE, ANE_FTZ, IEEE_FP16, PROFILES, Profile
from mish_guard.errors import UsageError
from mish_guard.numerics import fp16, reference

EVERY = fp16.all_bits().view(np.float16).astype(np.float64)
FINITE = fp16.finite_values().astype(np.float64)


def apply(profile: Profile, op: str, x: Any, *, dtype: DType = DType.FP16, **operands: Any) -> Any:
    """One operation on `x` under a profile; other operands are constants."""
    fixed = {
        name: value if isinstance(value, str) else np.asarray(value, dtype=np.float64)
        for name, value in operands.items()
    }
    tensor = Tensor(name="x", dtype=dtype, shape=None)
    node = Node(
        op=op, name="y", operands={"x": Ref("x"), **fixed}, outputs=(Tensor(name="y", dtype=dtype, shape=None),)
    )
    graph = Graph(inputs=(tensor,), constants={}, nodes=(node,), outputs=("y",))
    return evaluate(graph, {"x": np.asarray(x, dtype=np.float64)}, Emulated(profile))["y"]


@pytest.mark.parametrize("profile", [ANE, ANE_FTZ, ANE_COARSE], ids=lambda each: each.name)
def test_native_softplus_is_zero_from_the_cliff_on(profile: Profile) -> None:
    got = apply(profile, "softplus", FINITE)
    assert (got[FINITE >= 10.3984375] == 0).all()
    assert (got[(FINITE > 0) & (FINITE < 10.3984375)] > 0).all()


def test_below_the_cliff_native_softplus_is_correctly_rounded() -> None:
    below = FINITE[FINITE < 10.3984375]
    assert (apply(ANE, "softplus", below) == fp16.to_fp16(reference.softplus(below))).all()


def test_composed_softplus_loses_small_exponentials() -> None:
    got = apply(ANE_COARSE, "softplus", FINITE)
    # exp(x) is below half a unit of 1, which is 2**-11.
    lost = np.log(2.0**-11) > FINITE
    assert (got[lost] == 0).all()
    assert (apply(ANE, "softplus", FINITE)[lost & (FINITE > -16)] > 0).all()


@pytest.mark.parametrize("op", ["softplus", "exp", "tanh", "sigmoid", "relu", "log", "sqrt", "square", "silu", "abs"])
@pytest.mark.parametrize("profile", [ANE, ANE_FTZ, ANE_COARSE], ids=lambda each: each.name)
def test_the_neural_engine_never_emits_nan(profile: Profile, op: str) -> None:
    assert not np.isnan(apply(profile, op, EVERY)).any()


@pytest.mark.parametrize("op", ["softplus", "exp", "tanh", "sigmoid", "relu", "square"])
def test_ieee_arithmetic_is_the_correctly_rounded_value(op: str) -> None:
    exact: dict[str, Any] = {
        "softplus": reference.softplus,
        "exp": np.exp,
        "tanh": np.tanh,
        "relu": lambda x: np.maximum(x, 0),
        "square": np.square,
        "sigmoid": lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x))),
    }
    with np.errstate(over="ignore"):
        assert (apply(IEEE_FP16, op, FINITE) == fp16.to_fp16(exact[op](FINITE))).all()


@pytest.mark.parametrize("op", ["add", "sub"])
def test_a_sum_with_a_constant_overflows_at_two_to_the_fifteen(op: str) -> None:
    got = apply(ANE, op, FINITE, y=0.0)
    assert np.isinf(got[np.abs(FINITE) >= 32768]).all()
    assert (got[np.abs(FINITE) < 32768] == FINITE[np.abs(FINITE) < 32768]).all()
    assert np.isfinite(apply(IEEE_FP16, op, FINITE, y=0.0)).all()


def test_a_convolution_of_several_taps_overflows_and_one_tap_does_not() -> None:
    x = FINITE[None, None, :]
    two = apply(ANE, "conv", x, weight=[[[1.0, 0.0]]], pad_type="same")[0, 0]
    assert np.isinf(two[np.abs(FINITE) >= 32768]).all()
    assert np.isfinite(two[np.abs(FINITE) < 32768]).all()
    assert (apply(ANE, "conv", x, weight=[[[1.0]]])[0, 0] == FINITE).all()


@pytest.mark.parametrize(("op", "ones"), [("linear", {"weight": np.ones((1, 4))}), ("matmul", {"y": np.ones((4, 1))})])
def test_an_interior_partial_sum_overflows_although_the_sum_is_small(op: str, ones: Any) -> None:
    x = [[30000.0, 30000.0, -30000.0, -29008.0]]
    assert np.isinf(apply(ANE, op, x, **ones)).all()
    assert apply(IEEE_FP16, op, x, **ones).item() == 992.0


def test_subnormals_are_flushed_in_sums_of_products_only() -> None:
    subnormal = FINITE[(FINITE != 0) & (np.abs(FINITE) < fp16.MIN_NORMAL)]
    pairs = np.stack([subnormal, np.zeros_like(subnormal)], axis=1)
    assert (apply(ANE_FTZ, "linear", pairs, weight=[[1.0, 1.0]]) == 0).all()
    assert (apply(ANE, "linear", pairs, weight=[[1.0, 1.0]])[:, 0] == subnormal).all()
    assert (apply(ANE_FTZ, "mul", subnormal, y=1.0) == subnormal).all()


@pytest.mark.parametrize("name", PROFILES)
def test_single_precision_stays_on_the_cpu(name: str) -> None:
    single = FINITE.astype(np.float32)
    got = apply(PROFILES[name], "softplus", single, dtype=DType.FP32)
    assert (got == reference.softplus(single).astype(np.float32)).all()
    assert np.isposinf(apply(PROFILES[name], "log", [np.inf], dtype=DType.FP32)).all()
    assert np.isnan(apply(PROFILES[name], "relu", [np.nan], dtype=DType.FP32)).all()


def test_logarithm_of_zero_and_infinity() -> None:
    assert apply(ANE, "log", [0.0, -0.0, np.inf, 1.0]).tolist() == [-45440.0, -45440.0, 0.0, 0.0]
    assert apply(IEEE_FP16, "log", [0.0, np.inf]).tolist() == [-np.inf, np.inf]


def test_the_sign_of_a_zero_divisor_is_lost() -> None:
    assert apply(ANE, "inverse", [-0.0, 0.0, -2.0], epsilon=0.0).tolist() == [np.inf, np.inf, -0.5]
    assert apply(ANE, "real_div", [1.0, -1.0], y=[-0.0, -0.0]).tolist() == [np.inf, -np.inf]
    assert apply(IEEE_FP16, "real_div", [1.0, -1.0], y=[-0.0, -0.0]).tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize(
    ("x", "y", "want"),
    [(3.0, -0.0, np.inf), (-3.0, -0.0, -np.inf), (0.0, -0.0, 0.0), (np.inf, -2.0, -np.inf), (6.0, -2.0, -3.0)],
)
def test_only_a_zero_divisor_loses_its_sign(x: float, y: float, want: float) -> None:
    assert apply(ANE, "real_div", [x, 1.0], y=[y, 1.0]).tolist() == [want, 1.0]


@pytest.mark.parametrize(("op", "want"), [("sqrt", 0.0), ("rsqrt", np.inf), ("inverse", np.inf)])
def test_minus_zero_is_zero_to_a_root_and_a_reciprocal(op: str, want: float) -> None:
    (got,) = apply(ANE, op, [-0.0])
    assert (got, bool(np.signbit(got))) == (want, False)
    assert apply(ANE, op, [4.0]).tolist() == [{"sqrt": 2.0, "rsqrt": 0.5, "inverse": 0.25}[op]]


def test_a_hazard_names_the_facts_of_its_documentation() -> None:
    cliff = hazards.TABLE["softplus-cliff"]
    assert cliff.apply is hazards.softplus_cliff
    assert cliff.evidence == ("F1", "F2", "F3", "F4", "F5")
    bare = hazards.Hazard(name="bare", ops=None, enters=True, leaves=True, apply=lambda _, values: values)
    assert bare.evidence == ()


def test_what_is_normal_is_not_flushed_and_a_single_tap_flushes_nothing() -> None:
    edge = np.array([fp16.MIN_NORMAL, -fp16.MIN_NORMAL, fp16.MIN_NORMAL - fp16.MIN_SUBNORMAL, 0.5])
    flushed = apply(ANE_FTZ, "linear", edge[:, None] * [1.0, 0.0], weight=[[1.0, 1.0]])[:, 0]
    assert flushed.tolist() == [fp16.MIN_NORMAL, -fp16.MIN_NORMAL, 0.0, 0.5]
    single = apply(ANE_FTZ, "conv", edge[None, None, :], weight=[[[1.0]]])[0, 0]
    assert single.tolist() == edge.tolist()


@pytest.mark.parametrize("keep", [True, False])
def test_log_sum_exp_is_wrong_where_its_sum_is_too_large_or_too_small(keep: bool) -> None:
    x = np.array([[-20.0, -20.0], [10.0, 10.5], [11.0, 11.0], [11.5, -20.0], [1.0, 2.0]])
    got = apply(ANE, "reduce_log_sum_exp", x, axes=[1.0], keep_dims=float(keep))
    want = [-45440.0, np.log(np.exp(10.0) + np.exp(10.5)), 0.0, 0.0, np.log(np.exp(1.0) + np.exp(2.0))]
    assert got.shape == ((5, 1) if keep else (5,))
    assert np.ravel(got) == pytest.approx(want, rel=1e-3)


def test_a_sum_that_is_the_largest_number_is_none_too_large() -> None:
    x = [[8.078125, 11.0390625]]
    terms = fp16.to_fp16(np.exp(x)).astype(np.float64)
    assert fp16.to_fp16(terms.sum()) == fp16.MAX_FINITE
    assert apply(ANE, "reduce_log_sum_exp", x, axes=[1.0]).item() == pytest.approx(np.log(65504.0), rel=1e-3)


def test_a_sum_that_just_rounds_to_the_limit_overflows() -> None:
    assert apply(ANE, "linear", [[16376.0, 16384.0]], weight=[[1.0, 1.0]]).item() == np.inf
    assert apply(ANE, "linear", [[16376.0, 16368.0]], weight=[[1.0, 1.0]]).item() == 32736.0
    assert apply(ANE, "linear", [[504.0]], weight=[[65.0]]).item() == np.inf  # 32760, and no sum can be larger


def test_a_logarithm_without_an_epsilon_has_no_offset() -> None:
    assert apply(ANE, "log", [32768.0]).item() == pytest.approx(np.log(32768.0), rel=1e-3)


def test_log_sum_exp_over_everything_is_of_one_sum() -> None:
    assert apply(ANE, "reduce_log_sum_exp", np.full((2, 3), 9.0)).shape == (1,)
    assert apply(ANE, "reduce_log_sum_exp", np.full((2, 3), 9.0)).item() == pytest.approx(
        np.log(6 * np.exp(9.0)), rel=1e-3
    )
    assert apply(ANE, "reduce_log_sum_exp", np.full((2, 3), 10.5)).item() == 0.0


@pytest.mark.parametrize(
    ("x", "epsilon", "want"),
    [
        (32768.0, 0.0, np.log(32768.0)),
        (32768.0, 1.0, 0.0),
        (32736.0, 32.0, 0.0),
        (32736.0, 1.0, np.log(32736.0)),
        (32768.0, fp16.MIN_SUBNORMAL, 0.0),
        (32768.0, fp16.MIN_SUBNORMAL / 2, np.log(32768.0)),
        (np.inf, 0.0, 0.0),
        (0.0, 0.0, -45440.0),
        (0.0, 1e-9, -45440.0),
        (0.0, 0.5, np.log(0.5)),
    ],
)
def test_an_epsilon_is_added_on_the_stage_that_ends_at_two_to_the_fifteen(
    x: float, epsilon: float, want: float
) -> None:
    assert apply(ANE, "log", [x], epsilon=epsilon).item() == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize(("value", "want"), [(32760.0, np.inf), (-32760.0, -np.inf), (32759.0, 32759.0)])
def test_the_stage_of_sums_ends_where_a_number_rounds_to_its_limit(value: float, want: float) -> None:
    assert hazards.overflow(np.array([value])).item() == want


def test_a_gate_judges_under_four_profiles_and_a_model_may_run_under_one_more() -> None:
    names = ["ieee-fp16", "ane", "ane-ftz", "ane-coarse"]
    assert list(profiles.PROFILES) == names
    assert [profiles.get(name) for name in names] == [profiles.option(name) for name in names]
    assert [profiles.option(name).keeps_single for name in (*names, "cpu-fp32")] == [False] * 4 + [True]
    with pytest.raises(UsageError, match=r"No profile is called 'cpu-fp32'\. Choose one of: ieee-fp16, ane, ane-ftz"):
        profiles.get("cpu-fp32")
    with pytest.raises(UsageError, match=r"No profile is called 'm9'.* ane-coarse, cpu-fp32"):
        profiles.option("m9")


def _call(op: str, constants: tuple[str, ...] = (), **operands: Any) -> hazards.Call:
    return hazards.Call(
        op=op, operands={name: np.asarray(each) for name, each in operands.items()}, constants=constants
    )


def test_the_cliff_of_softplus_begins_at_its_edge() -> None:
    edge = np.log(2.0**15)
    beside = _call("softplus", x=[edge, np.nextafter(edge, 0.0)])
    assert hazards.softplus_cliff(beside, np.array([10.0, 10.0])).tolist() == [0.0, 10.0]


@pytest.mark.parametrize(
    ("op", "x", "is_below"), [("linear", 32759.0, True), ("linear", 32760.0, False), ("mul", 1.0, False)]
)
def test_sums_of_products_are_below_the_limit_where_the_largest_possible_is(op: str, x: float, is_below: bool) -> None:
    assert _call(op, x=[[x]], weight=[[1.0]]).is_below_limit is is_below


def test_a_denominator_that_is_no_zero_keeps_its_sign_beside_one_that_is() -> None:
    assert apply(ANE, "inverse", [0.0, 0.5], epsilon=-0.5).tolist() == [-2.0, np.inf]


@pytest.mark.parametrize(
    ("rule", "call"),
    [
        (hazards.zero_loses_its_sign, _call("inverse", x=[2.0])),
        (hazards.zero_loses_its_sign, _call("rsqrt", x=[2.0])),
        (hazards.zero_loses_its_sign, _call("real_div", x=[2.0], y=[2.0])),
        (hazards.products_overflow, _call("linear", x=[[2.0, 1.0]], weight=[[1.0, 1.0]])),
        (hazards.products_overflow, _call("conv", x=[[[4e4]]], weight=[[[1.0]]])),
        (hazards.invalid_forms_give_zero, _call("linear", x=[[2.0]], weight=[[1.0]])),
        (hazards.invalid_forms_give_zero, _call("mul", x=[2.0], y=[1.0])),
        (hazards.offsets_overflow, _call("add", ("y",), x=[2.0], y=[1.0])),
        (hazards.offsets_overflow, _call("add", x=[4e4], y=[1.0])),
        (hazards.nan_enters_as_infinity, _call("relu", x=[2.0])),
    ],
)
def test_a_result_that_meets_no_hazard_is_handed_on_and_not_copied(rule: hazards.Rule, call: hazards.Call) -> None:
    result = np.array([0.5])
    assert rule(call, result) is result
