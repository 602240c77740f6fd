"""How a fact is told, replayed and judged: what counts as good, as the same, as wrong, and where results stop."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import replay
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.graph import DType, Ref
from mish_guard.engines.emulator.profiles import ANE, IEEE_FP16
from mish_guard.engines.emulator.replay import Certainty, Status

INF, NAN = float("inf"), float("nan")
# The last number before the cliff of native softplus (F3), and the first on it.
BEFORE, CLIFF = 10.390625, 10.3984375


@pytest.mark.parametrize(
    ("got", "exact", "is_good"),
    [
        (64.0, 64.0, True),
        (65.00390625, 64.0, True),
        (65.0078125, 64.0, False),
        (62.99609375, 64.0, True),
        (62.9921875, 64.0, False),
        (-64.0, 64.0, False),
        (2.0**-8, 0.0, True),
        (-(2.0**-8), 0.0, True),
        (0.0041, 0.0, False),
        (NAN, 1.0, False),
        (INF, 1.0, False),
    ],
)
def test_good_is_within_sixteen_units_and_as_much_near_zero(got: float, exact: float, is_good: bool) -> None:
    """A sixty-fourth of the value and 2**-8."""
    assert replay._good(np.array([got]), np.array([exact])).tolist() == [is_good]


STEP = 2.0**-10


@pytest.mark.parametrize(
    ("got", "want", "ulp", "is_same"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0, True),
        ([1.0, 2.0], [1.0], 0, False),
        ([1.0, 2.0], [1.0, 3.0], 0, False),
        ([1.0 + STEP], [1.0], 0, False),
        ([1.0 + STEP], [1.0], 1, True),
        ([1.0], [1.0 + STEP], 1, True),
        ([1.0 + 2 * STEP], [1.0], 1, False),
        ([-1.0], [1.0], 0, False),
        ([-0.0], [0.0], 0, False),
        ([NAN], [NAN], 0, True),
        ([NAN], [1.0], 0, False),
        ([1.0], [NAN], 9, False),
        ([INF], [INF], 0, True),
        ([INF], [-INF], 0, False),
        ([INF], [65504.0], 9, False),
        ([65504.0], [INF], 9, False),
        ([1.0, INF, NAN], [1.0, INF, NAN], 0, True),
    ],
)
def test_the_same_is_the_same_number_or_so_many_units_beside_it(
    got: list[float], want: list[float], ulp: int, is_same: bool
) -> None:
    assert replay._same(np.array(got), np.array(want), ulp) is is_same


def _experiment(*steps: dict[str, Any], **more: Any) -> replay.Experiment:
    return replay._experiment({"steps": list(steps), **more})


SOFTPLUS = {"op": "softplus", "x": "$x"}


@pytest.mark.parametrize(
    ("x", "is_wrong"), [([20.0], True), ([20.0, 30.0], True), ([20.0, 1.0], False), ([1.0], False), ([], False)]
)
def test_wrong_is_what_is_nowhere_good(x: list[float], is_wrong: bool) -> None:
    trial = replay.attempt(ANE, _experiment(SOFTPLUS, inputs={"x": x}, wrong=True))
    assert trial.reproduced is is_wrong
    if x == [20.0]:
        assert (trial.label, trial.got, trial.want) == ("softplus", "0", "not 20")


@pytest.mark.parametrize(
    ("want", "ulp", "is_reproduced"),
    [
        ([2.0, 3.0], {}, True),
        ([2.0, 3.001953125], {}, False),
        ([2.0, 3.001953125], {"ulp": 1}, True),
        ([2.0], {}, False),
    ],
)
def test_what_a_source_saw_is_reproduced_within_its_units(
    want: list[float], ulp: dict[str, int], is_reproduced: bool
) -> None:
    steps = {"op": "add", "x": "$x", "y": 0.5, "as": "a"}, {"op": "add", "x": "$a", "y": "$half"}
    trial = replay.attempt(ANE, _experiment(*steps, inputs={"x": [1.0, 2.0], "half": [0.5]}, want=want, **ulp))
    assert (trial.label, trial.got, trial.reproduced) == ("add > add", "2, 3", is_reproduced)
    assert trial.want == ", ".join(f"{each:.9g}" for each in want)


def _swept(step: dict[str, Any], inputs: Any = None, **boundary: Any) -> replay.Trial:
    ends = {"input": "x", "last_good": None, "first_bad": None, **boundary}
    return replay.attempt(ANE, _experiment(step, inputs=inputs or {}, boundary=ends))


@pytest.mark.parametrize(
    ("boundary", "is_reproduced", "got"),
    [
        ({"first": 1.0, "last": 20.0, "last_good": BEFORE, "first_bad": CLIFF, "then": 0.0}, True, ""),
        ({"first": 1.0, "last": 20.0, "last_good": BEFORE, "first_bad": CLIFF}, True, ""),
        ({"first": 1.0, "last": CLIFF, "last_good": BEFORE, "first_bad": CLIFF, "then": 0.0}, True, ""),
        ({"first": BEFORE, "last": 20.0, "last_good": BEFORE, "first_bad": CLIFF}, True, ""),
        ({"first": 1.0, "last": 20.0, "last_good": BEFORE, "first_bad": 10.40625}, False, ""),
        ({"first": 1.0, "last": 20.0, "last_good": 10.3828125, "first_bad": CLIFF}, False, ""),
        ({"first": 1.0, "last": 20.0}, False, ""),
        ({"first": BEFORE, "last": CLIFF, "last_good": BEFORE, "first_bad": CLIFF, "then": "inf"}, False, ", then 0"),
    ],
)
def test_a_boundary_lies_where_results_stop_being_good(boundary: dict[str, Any], is_reproduced: bool, got: str) -> None:
    trial = _swept(SOFTPLUS, **boundary)
    assert (trial.reproduced, trial.got) == (is_reproduced, f"last good {BEFORE}, first bad {CLIFF}{got}")
    if got:
        assert trial.want == f"last good {BEFORE}, first bad {CLIFF}, then inf"


def test_what_follows_a_boundary_is_one_number_and_not_the_next_to_it() -> None:
    limits = {"first": BEFORE, "last": CLIFF, "last_good": BEFORE, "first_bad": CLIFF}
    assert [_swept(SOFTPLUS, **limits, then=then).reproduced for then in (0.0, 2.0**-24)] == [True, False]


def test_a_boundary_may_be_beyond_what_is_swept() -> None:
    good = _swept(SOFTPLUS, first=1.0, last=BEFORE, last_good=3.0)
    assert (good.reproduced, good.got, good.want) == (True, "good throughout", "good throughout")
    bad = _swept(SOFTPLUS, first=CLIFF, last=20.0, first_bad=CLIFF)
    assert (bad.reproduced, bad.got) == (True, f"last good None, first bad {CLIFF}")


def test_a_value_is_swept_as_often_as_it_is_repeated_and_beside_other_inputs() -> None:
    """Two times 16384 is 2**15, where a sum of products is infinite; numbers below are 8 apart."""
    limits: dict[str, Any] = {
        "first": 16000.0,
        "last": 16400.0,
        "last_good": 16376.0,
        "first_bad": 16384.0,
        "then": "inf",
    }
    assert _swept({"op": "linear", "x": "$x", "weight": [[1.0, 1.0]]}, repeat=2, **limits).reproduced
    beside = {"op": "matmul", "x": "$x", "y": "$y"}
    assert _swept(beside, inputs={"y": {"runs": [[1.0, 4]], "shape": [2, 2]}}, repeat=2, **limits).reproduced
    # The second of both results is 0 throughout.
    del limits["then"]
    assert _swept(beside, inputs={"y": [[1.0, 0.0], [1.0, 0.0]]}, repeat=2, **limits).reproduced


def test_a_step_may_have_a_type_of_its_own() -> None:
    for step, want in (({}, float(np.float16(0.1))), ({"dtype": "fp32"}, float(np.float32(0.1)))):
        experiment = _experiment({"op": "identity", "x": "$x", **step}, inputs={"x": [0.1]}, dtype="fp32")
        assert experiment.dtype is DType.FP32
        halved = dataclasses.replace(experiment, dtype=DType.FP16) if not step else experiment
        assert replay._run(halved, experiment.inputs, Emulated(ANE)).tolist() == [want]
    mixed = _experiment({"op": "identity", "x": 0.1, "dtype": "fp32"})
    assert replay._run(mixed, {}, Emulated(ANE)).tolist() == [float(np.float32(0.1))]


def test_operands_are_names_words_numbers_or_runs_of_them() -> None:
    assert (replay._operand("$x"), replay._operand("same")) == (Ref("x"), "same")
    runs = {"runs": [[1.5, 2], ["inf", 1]]}
    for spelled, want in (
        ("inf", INF),
        ("-inf", -INF),
        ([1.0, "-inf"], [1.0, -INF]),
        ([[1, 2]], [[1, 2]]),
        (runs, [1.5, 1.5, INF]),
        ({**runs, "shape": [3, 1]}, [[1.5], [1.5], [INF]]),
    ):
        operand = replay._operand(spelled)
        assert isinstance(operand, np.ndarray)
        assert operand.tolist() == want
    nan = replay._operand("nan")
    assert isinstance(nan, np.ndarray)
    assert np.isnan(nan)


BARE = {"id": "F1", "topic": "t", "statement": "a\n  b", "certainty": "measured"}


def test_what_a_fact_does_not_say_is_nothing() -> None:
    nothing: dict[str, Any] = {"numbers": {}, "chips": (), "os": None, "sources": (), "derived_from": (), "replay": ()}
    bare = replay._fact(BARE)
    assert dataclasses.asdict(bare) == {
        **BARE,
        **nothing,
        "statement": "a b",
        "certainty": Certainty.MEASURED,
        "cannot_express": None,
        "unknown": None,
    }
    said = {"numbers": {"n": 1.0}, "os": "iOS 18", "cannot_express": "why", "unknown": "exp2-range"}
    several = {"chips": ["A17"], "sources": ["s"], "derived_from": ["F2"]}
    full = replay._fact({**BARE, **said, **several, "replay": [{"steps": [SOFTPLUS]}]})
    assert {name: getattr(full, name) for name in said} == said
    assert {name: list(getattr(full, name)) for name in several} == several
    (experiment,) = full.replay
    assert (experiment.profiles, experiment.dtype) == (("ane", "ane-ftz", "ane-coarse"), DType.FP16)
    assert (experiment.want, experiment.ulp, experiment.boundary, experiment.wrong) == (None, 0, None, False)
    asked = _experiment(SOFTPLUS, profiles=["ane"], dtype="fp32", want=[1, "inf"], ulp=3, wrong=True)
    assert (asked.profiles, asked.dtype, asked.want, asked.ulp, asked.wrong) == (
        ("ane",),
        DType.FP32,
        (1.0, INF),
        3,
        True,
    )


def test_a_profile_answers_for_a_fact_in_one_of_four_ways() -> None:
    right = {"steps": [SOFTPLUS], "inputs": {"x": [20.0]}, "want": [0.0], "profiles": ["f", "d", "ane", "b", "e", "c"]}
    wrong = {**right, "want": [20.0]}
    facts = [
        replay._fact({**BARE, **each})
        for each in (
            {"unknown": "exp2-range"},
            {"cannot_express": "why"},
            {"replay": [right]},
            {"replay": [right, wrong]},
        )
    ]
    found = replay.replay(ANE, facts)
    assert [each.status for each in found] == [
        Status.UNKNOWN,
        Status.NOT_EXPRESSIBLE,
        Status.REPRODUCED,
        Status.CONTRADICTED,
    ]
    assert [each.detail for each in found][1:] == ["why", "softplus: 0", "softplus: got 0, want 20"]
    assert found[0].detail.startswith("exp2-range: exp2 reaches 65504, as exp does; or it is inf")
    assert [len(each.trials) for each in found] == [0, 0, 1, 2]
    other = replay.replay(IEEE_FP16, facts[2:3])[0]
    assert other.status is Status.NOT_EXPRESSIBLE
    assert other.detail == "not behaviour of this profile; replayed under ane, b, c, d, e, f"


def test_facts_name_what_is_there() -> None:
    fact, other = replay._fact(BARE), replay._fact({**BARE, "id": "F2"})
    strange = _experiment(SOFTPLUS, profiles=["m2", "ane", "m6", "m1", "m8", "m4", "m3", "m7", "m5"])
    missing = ("F9", "F1", "F7", "F5", "F8", "F3", "F6", "F4")
    assert replay._complaint([fact, other]) is None
    assert replay._complaint([fact, other, fact]) == "F1 is used twice."
    derived = dataclasses.replace(fact, derived_from=missing)
    assert replay._complaint([derived]) == "F1 is derived from F3, F4, F5, F6, F7, F8, F9, which is not there."
    open_one = dataclasses.replace(fact, unknown="moods")
    assert replay._complaint([open_one]) == "F1 names 'moods', which is no assumption."
    assert replay._complaint([dataclasses.replace(fact, unknown="exp2-range")]) is None
    played = dataclasses.replace(fact, replay=(strange,))
    assert replay._complaint([played]) == "F1 is replayed under m1, m2, m3, m4, m5, m6, m7, m8, which is no profile."


def test_how_a_source_knows_and_what_a_profile_makes_of_it_have_words() -> None:
    assert [each.value for each in Certainty] == ["measured", "reported", "decompiled", "documented", "inferred"]
    assert [each.value for each in Status] == ["reproduced", "contradicted", "cannot be expressed", "unknown"]


def test_the_evidence_is_in_the_package() -> None:
    assert replay.EVIDENCE.is_file()
