"""What nobody has measured is read both ways, and a pass that rests on one reading says so."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.base import Execution
from mish_guard.engines.emulator import EmulatorEngine, assumptions, hazards, stakes
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate, up_to
from mish_guard.engines.emulator.profiles import ANE, IEEE_FP16
from mish_guard.engines.emulator.sketch import sketch
from mish_guard.matrix import measurer
from mish_guard.models import lowerings, networks
from mish_guard.numerics import fp16, reference
from mish_guard.records import Placement
from tests import hostile
from tests.conftest import Invoke


def halves(mb: Any, x: Any, name: str) -> Any:
    """Right by the exp form up to 1; beyond, by an operation whose range nobody knows."""
    e = mb.exp(x=mb.minimum(x=x, y=1.0))
    n = mb.mul(x=e, y=mb.add(x=e, y=2.0))
    low = mb.mul(x=x, y=mb.real_div(x=n, y=mb.add(x=n, y=2.0)))
    high = mb.mul(x=x, y=mb.tanh(x=mb.softplus_parametric(x=x, alpha=[1.0], beta=[1.0])))
    return mb.select(cond=mb.less_equal(x=x, y=1.0), a=low, b=high, name=name)


def test_a_lowering_on_an_operation_that_nobody_measured_rests_on_it() -> None:
    assert stakes.resting_on(ANE, halves) == {"parametric-softplus-range": True}


@pytest.mark.parametrize("name", ["exp", "stable-softplus"])
def test_a_lowering_that_passes_either_way_rests_on_nothing(name: str) -> None:
    assert not any(stakes.resting_on(ANE, lowerings.get(name).build).values())


def test_what_fails_anyway_rests_on_nothing() -> None:
    assert stakes.resting_on(ANE, lowerings.get("ratio").build) == {"infinite-ratio": False}


def test_what_most_verdicts_rest_on_stands_first() -> None:
    found = stakes.stakes(ANE, {"halves": halves, "exp": lowerings.get("exp").build})
    assert [each.assumption.id for each in found][:2] == ["parametric-softplus-range", "constant-gain-range"]
    assert (found[0].would_fall, found[1].would_fall, found[1].met_by) == (("halves",), (), ("exp",))
    assert stakes.stakes(IEEE_FP16, {"halves": halves}) == ()


def test_a_verdict_that_falls_counts_more_than_many_results_that_change(monkeypatch: pytest.MonkeyPatch) -> None:
    met = {"a": {"gelu-accuracy": True}, "b": {"silu-accuracy": False, "exp2-range": False}, "c": {"exp2-range": False}}
    monkeypatch.setattr(stakes, "resting_on", lambda _, build: met[build])
    found = stakes.stakes(ANE, {name: name for name in met})  # type: ignore[misc]
    assert [(each.assumption.id, each.met_by, each.would_fall) for each in found[:3]] == [
        ("gelu-accuracy", ("a",), ("a",)),
        ("exp2-range", ("b", "c"), ()),
        ("silu-accuracy", ("b",), ()),
    ]


INF = float("inf")
READINGS: list[tuple[str, str, dict[str, Any], Any, Any]] = [
    ("parametric-softplus-range", "softplus_parametric", {"x": [[20.0]], "alpha": [1.0], "beta": [1.0]}, 20.0, 0.0),
    ("exp2-range", "exp2", {"x": [15.5]}, 46336.0, INF),
    ("constant-gain-range", "mul", {"x": [20000.0], "y": 2.0}, 40000.0, INF),
    ("cast-saturation", "cast", {"x": [1e9], "dtype": "fp16"}, INF, 65504.0),
    ("infinite-ratio", "real_div", {"x": [INF], "y": INF}, 0.0, INF),
    ("infinite-logarithm", "log", {"x": [INF]}, 0.0, INF),
    ("opposed-infinities", "linear", {"x": [[INF, INF]], "weight": np.array([[1.0, -1.0]])}, INF, 0.0),
    ("opposed-infinities", "linear", {"x": [[9.0, 9.0, INF]], "weight": np.array([[4000.0, 1.0, -1.0]])}, INF, 0.0),
    ("silu-accuracy", "silu", {"x": [20.0]}, 20.0, 19.734375),
    ("rank-2-hard-swish", "sigmoid_hard", {"x": [[20.0]]}, 1.0, 0.9609375),
]


@pytest.mark.parametrize(("name", "op", "operands", "friendly", "pessimistic"), READINGS)
def test_both_readings_of_an_assumption(
    name: str, op: str, operands: dict[str, Any], friendly: float, pessimistic: float
) -> None:
    x = operands["x"]
    rest = {key: value for key, value in operands.items() if key != "x"}
    graph = sketch(lambda mb, ref, result: getattr(mb, op)(x=ref, name=result, **rest))
    # The input of a cast is single precision; here it stands in for one.
    feeds = {"x": np.asarray(x)}
    if op == "cast":
        call = hazards.Call(op=op, operands=feeds)
        assert assumptions.TABLE[name].read(call, feeds["x"]).tolist() == [pessimistic]
        return
    met = Emulated(ANE)
    assert evaluate(graph, feeds, met)["y"].item() == friendly
    assert met.met == {name: "y"}
    assert evaluate(graph, feeds, Emulated(ANE, (name,)))["y"].item() == pessimistic


def test_a_run_says_what_it_depends_on_and_can_be_read_the_other_way(tmp_path: Path) -> None:
    powers = tmp_path / "powers.mlpackage"
    shutil.copytree(hostile.GOOD, powers)
    hostile.operation("softplus", lambda each: setattr(each, "type", "exp2"))(powers)
    engine = EmulatorEngine(("ane", "ieee-fp16"))
    feeds = [[np.full((1, 32, 8, 8), 15.5)]]
    assert dict(engine.run(hostile.GOOD, feeds, "ane").readings) == {}
    assert dict(engine.run(powers, feeds, "ieee-fp16").readings) == {}
    execution = engine.run(powers, feeds, "ane")
    assert list(execution.readings) == ["exp2-range"]
    (friendly,), (pessimistic,) = execution.predictions, execution.readings["exp2-range"]()
    assert [np.isfinite(each).all() for each in friendly] == [True, True, True]
    assert len(pessimistic) == 3


@pytest.mark.parametrize("name", ["halves", "exp", "ratio", "exp-unclamped", "stable-softplus"])
def test_a_reading_from_where_it_first_differs_is_that_of_the_whole_model(name: str) -> None:
    graph = sketch(halves if name == "halves" else lowerings.get(name).build)
    feed, friendly = {"x": np.append(fp16.finite_values(), np.float16(INF))}, Emulated(ANE)
    values = evaluate(graph, feed, friendly)
    assert friendly.met
    for assumption, tensor in friendly.met.items():
        known = up_to(tensor, graph, values)
        assert tensor not in known
        whole = evaluate(graph, feed, Emulated(ANE, (assumption,)))
        part = evaluate(graph, feed, Emulated(ANE, (assumption,)), known=known)
        assert [each.tobytes() for each in part.values()] == [each.tobytes() for each in whole.values()]


def test_what_comes_before_the_first_difference_is_not_computed_again() -> None:
    graph = sketch(halves)
    known = up_to("y", graph, evaluate(graph, {"x": np.zeros(3)}, Emulated(ANE)))
    assert {name: value.shape for name, value in known.items()}
    marked = evaluate(graph, {"x": np.zeros(3)}, Emulated(ANE), known={name: known[name] + 1 for name in known})
    assert all((marked[name] == known[name] + 1).all() for name in known)


def test_a_tensor_that_is_written_twice_may_be_another_one() -> None:
    graph = sketch(halves)
    values = evaluate(graph, {"x": np.zeros(3)}, Emulated(ANE))
    twice = dataclasses.replace(graph, nodes=(*graph.nodes, dataclasses.replace(graph.nodes[0])))
    over = dataclasses.replace(graph, inputs=(*graph.inputs, graph.nodes[0].outputs[0]))
    stateful = dataclasses.replace(graph, states=graph.inputs)
    branching = dataclasses.replace(
        graph, nodes=(dataclasses.replace(graph.nodes[0], blocks=(graph,)), *graph.nodes[1:])
    )
    assert [up_to("y", each, values) for each in (twice, over, stateful, branching)] == [{}] * 4
    assert up_to("somewhere inside", graph, values) == {}


def _execution(mish: Any) -> Execution:
    """A run of every input at once, as mish and as what nobody measured would make of it."""
    case = networks.case("rank-2")
    right = tuple((np.asarray(reference.mish(x)).astype(np.float16),) for (x,) in case.feeds())
    wrong = tuple((np.zeros_like(y),) for (y,) in right)
    readings = {"harmless": lambda: right, "harmful": lambda: wrong}
    placement = Placement(activation="ne", ops={})
    return Execution(predictions=right if mish else wrong, placement=placement, readings=readings)


def test_a_cell_names_the_assumptions_without_which_it_would_not_pass() -> None:
    case = networks.case("rank-2")
    for passes, rests in ((True, ("harmful",)), (False, ())):
        execution = _execution(passes)
        assert measurer.resting_on(case, execution, case.figures(execution.predictions)) == rests


def test_calibrate_shows_what_verdicts_rest_on(invoke: Invoke) -> None:
    out = invoke("calibrate", "--profile", "ane").out
    for assumption in assumptions.TABLE.values():
        assert f"{assumption.id}: {assumption.friendly}; or {assumption.pessimistic}" in out
    assert "that would no longer pass: none; that change: exp, exp-unclamped" in out


def _read(name: str, op: str, result: Any, **operands: Any) -> Any:
    given = {key: np.asarray(each) for key, each in operands.items()}
    return assumptions.TABLE[name].read(hazards.Call(op=op, operands=given, constants=("y",)), result)


@pytest.mark.parametrize(
    ("result", "other"),
    [
        ([5.0, -7.0], None),
        ([5.0, np.nan], None),
        ([5.0, -1e9], [5.0, -65504.0]),
        ([np.nan, 1e9], [np.nan, 65504.0]),
        ([INF, -INF], None),
    ],
)
def test_readings_differ_where_a_number_does(result: list[float], other: list[float] | None) -> None:
    found = assumptions.TABLE["cast-saturation"].differs(hazards.Call(op="cast", operands={}), np.array(result))
    assert (found is None) == (other is None)
    assert found is None or np.array_equal(found, np.array(other), equal_nan=True)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_every_channel_of_a_parametric_softplus_has_its_own_cliff(shape: tuple[int, ...]) -> None:
    x, edge = np.full(shape, 4.0), np.log(2.0**15)
    got = _read("parametric-softplus-range", "softplus_parametric", x, x=x, beta=[1.0, edge / 4, 3.0])
    assert got.shape == shape
    assert (np.moveaxis(got, 1, 0).reshape(3, -1) == [[4.0], [0.0], [0.0]]).all()


@pytest.mark.parametrize(
    ("name", "op", "result", "operands"),
    [
        ("opposed-infinities", "linear", [[3.0]], {"x": [[1.0, 2.0]], "weight": [[1.0, 1.0]]}),
        ("opposed-infinities", "linear", [[0.0]], {"x": [[4e4, -4e4]], "weight": [[1.0, 1.0]]}),
        ("opposed-infinities", "conv", [[[INF]]], {"x": [[[INF]]], "weight": [[[1.0]]]}),
        ("infinite-ratio", "real_div", [0.0], {"x": [1.0], "y": [INF]}),
        ("infinite-ratio", "real_div", [INF], {"x": [INF], "y": [1.0]}),
        ("infinite-ratio", "real_div", [INF, 0.0], {"x": [INF, 1.0], "y": [1.0, INF]}),
        ("rank-2-hard-swish", "sigmoid_hard", [1.0], {"x": [1.0]}),
        ("exp2-range", "exp2", [2.0], {"x": [1.0]}),
    ],
)
def test_where_a_reading_says_nothing_the_result_is_handed_on(
    name: str, op: str, result: Any, operands: dict[str, Any]
) -> None:
    given = np.asarray(result)
    assert _read(name, op, given, **operands) is given


def test_the_quotient_of_two_infinities_has_a_sign_and_that_of_one_is_left() -> None:
    x, y = [INF, -INF, -INF, 2.0, INF], [INF, INF, -INF, INF, 2.0]
    got = _read("infinite-ratio", "real_div", np.array([0.0, 0.0, 0.0, 0.0, INF]), x=x, y=y)
    assert got.tolist() == [INF, -INF, INF, 0.0, INF]


@pytest.mark.parametrize(
    ("name", "percent"), [("silu-accuracy", 1.34), ("gelu-accuracy", 2.735), ("rank-2-hard-swish", 3.92)]
)
def test_the_published_error_is_read_in_full(name: str, percent: float) -> None:
    got = _read(name, name.partition("-")[0], np.array([[1.0]]), x=[[1.0]])
    assert 1 - got.item() == pytest.approx(percent / 100, rel=1e-9)


def test_a_reading_goes_by_the_name_of_its_rule() -> None:
    for name, assumption in assumptions.TABLE.items():
        assert getattr(assumptions, name.replace("-", "_")) is assumption.read
