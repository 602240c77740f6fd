"""The engine around a graph, and where in a graph mish is: by values, by outputs, by what was asked before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.engines import emulator
from mish_guard.engines.emulator import EmulatorEngine
from mish_guard.engines.emulator.arithmetic import Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.profiles import ANE
from mish_guard.engines.emulator.sequence import between
from mish_guard.errors import EvaluationError
from mish_guard.models.tiles import Probe

X, W = Ref("x"), Ref("w")
MODEL, OTHER = Path("model"), Path("other")


def _tensor(name: str) -> Tensor:
    return Tensor(name=name, dtype=DType.FP16, shape=None)


def _node(op: str, name: str, *more: str, **operands: Any) -> Node:
    given = {key: np.asarray(each) if isinstance(each, (float, int)) else each for key, each in operands.items()}
    return Node(op=op, name=name, operands=given, outputs=tuple(map(_tensor, (name, *more))), opset=18)


def _graph(*nodes: Node, inputs: str = "x", outputs: str = "y", constants: dict[str, Any] | None = None) -> Graph:
    given = {name: np.asarray(each) for name, each in (constants or {}).items()}
    return Graph(
        inputs=tuple(map(_tensor, inputs.split())), constants=given, nodes=nodes, outputs=tuple(outputs.split())
    )


def _half(*values: float) -> Any:
    return np.array(values, dtype=np.float16)


def _engine() -> EmulatorEngine:
    """Two branches in one model, softplus of one input and relu of the other; softplus of twice x in another."""
    engine = EmulatorEngine(("ane", "ieee-fp16"))
    branches = (_node("softplus", "y", x=X), _node("relu", "z", x=W))
    engine._graphs[MODEL] = _graph(*branches, inputs="x w", outputs="y z")
    doubled = (_node("add", "a", x=X, y=X), _node("softplus", "y", x=Ref("a")))
    engine._graphs[OTHER] = _graph(*doubled, inputs="x w")
    return engine


FEED = (_half(20.0), _half(-3.0))


def test_the_emulator_is_one_engine_and_no_hardware() -> None:
    engine = _engine()
    assert engine.engines() == {}
    assert [engine.is_hardware(place) for place in engine.places()] == [False, False]


def test_one_output_is_predicted_from_its_own_input() -> None:
    engine = _engine()
    both = engine.run(MODEL, [FEED], "ane").predictions
    assert [[array.tolist() for array in each] for each in both] == [[[0.0], [0.0]]]
    alone = [engine.run(MODEL, [FEED, (_half(1.0), _half(5.0))], "ane", output=1).predictions]
    assert [[array.tolist() for array in each] for each in alone[0]] == [[[0.0]], [[5.0]]]


def test_the_operation_at_fault_is_looked_for_behind_one_output_or_all() -> None:
    engine = _engine()
    for output in (None, 0):
        found = engine.first_wrong(MODEL, FEED, "ane", (0,), output)
        assert found is not None
        assert (found.op, found.got) == ("softplus", 0.0)
        assert found.want == pytest.approx(20.0)
    assert engine.first_wrong(MODEL, FEED, "ane", (0,), 1) is None
    assert engine.first_wrong(MODEL, FEED, "ieee-fp16", (0,), 0) is None
    assert [step.op for step in engine.trace(MODEL, FEED, "ane", (0,), 1)] == ["relu"]


@pytest.mark.parametrize(
    ("package", "feed", "output", "want"),
    [(OTHER, FEED, 0, 40.0), (MODEL, (_half(16.0), _half(-3.0)), 0, 16.0), (MODEL, FEED, None, 20.0)],
)
def test_what_is_exact_belongs_to_its_model_its_feed_and_its_output(
    package: Path, feed: Any, output: int | None, want: float
) -> None:
    engine = _engine()
    engine.trace(MODEL, FEED, "ane", (0,), 0)
    steps = engine.trace(package, feed, "ane", (0,), output)
    assert [step.want for step in steps if step.op == "softplus"] == [pytest.approx(want)]


def test_what_is_exact_at_one_output_says_nothing_of_another_of_the_same_input() -> None:
    engine = _engine()
    engine._graphs[MODEL] = _graph(_node("relu", "y", x=X), _node("softplus", "z", x=X), outputs="y z")
    steps = [engine.trace(MODEL, FEED[:1], "ane", (0,), output) for output in (0, 1)]
    assert [[step.op for step in each] for each in steps] == [["relu"], ["softplus"]]


def test_what_is_exact_is_evaluated_once_for_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    exact: list[Graph] = []

    def counted(graph: Graph, feeds: Any, arithmetic: Any) -> Any:
        exact.extend([graph] if isinstance(arithmetic, Exact) else [])
        return evaluate(graph, feeds, arithmetic)

    monkeypatch.setattr(emulator, "evaluate", counted)
    engine = _engine()
    wrong = [engine.first_wrong(MODEL, FEED, place, (0,), 0) is not None for place in ("ane", "ieee-fp16")]
    assert (wrong, len(exact)) == ([True, False], 1)


def _probe(*feeds: Any, entering: Any, leaving: Any) -> Probe:
    return Probe(feeds=tuple(map(np.array, feeds)), entering=np.array(entering), leaving=np.array(leaving))


PLUS_ONE = "add@18(x=x, y=1.0) -> fp16"


def test_a_sequence_reaches_from_what_enters_to_what_leaves() -> None:
    """Whatever holds the same values again behind it is not where it begins."""
    nodes = (
        _node("mul", "a", x=X, y=2.0),
        _node("add", "s", x=Ref("a"), y=1.0),
        _node("sub", "y", x=Ref("s"), y=1.0),
    )
    probe = _probe([3.0, 5.0], entering=[6.0, 10.0], leaving=[7.0, 11.0])
    assert between(_graph(*nodes), "y", [probe]) == PLUS_ONE
    assert between(_graph(*nodes), "a", [probe]) is None
    with pytest.raises(ValueError, match="zip"):
        between(_graph(*nodes), "y", [_probe([3.0], [4.0], entering=[6.0], leaving=[7.0])])


def test_what_hands_its_input_on_is_a_sequence_too() -> None:
    probe = _probe([3.0], entering=[3.0], leaving=[3.0])
    assert between(_graph(_node("identity", "y", x=X)), "y", [probe]) == "identity@18(x=x) -> fp16"


def test_constants_and_operations_inside_belong_to_a_sequence() -> None:
    nodes = (_node("add", "a", x=X, y=Ref("one")), _node("mul", "y", x=Ref("a"), y=X))
    probe = _probe([3.0], entering=[3.0], leaving=[12.0])
    found = between(_graph(*nodes, constants={"one": 1.0}), "y", [probe])
    assert found == f"{PLUS_ONE}\nmul@18(x=t0, y=x) -> fp16"


@pytest.mark.parametrize("leaving", [[4.0], [7.0]])
def test_where_another_input_enters_there_is_no_sequence(leaving: list[float]) -> None:
    """Neither to a result that is made of it, nor to the input itself."""
    probe = _probe([3.0], [4.0], entering=[3.0], leaving=leaving)
    assert between(_graph(_node("add", "y", x=X, y=W), inputs="x w"), "y", [probe]) is None


def test_a_tensor_holds_what_enters_at_every_probe() -> None:
    nodes = (
        _node("relu", "r", x=X),
        _node("minimum", "t", x=Ref("r"), y=1.0),
        _node("mul", "y", x=Ref("t"), y=2.0),
    )
    probes = [_probe([x], entering=[max(x, 0)], leaving=[2 * min(max(x, 0), 1)]) for x in (0.5, 3.0, -2.0)]
    found = between(_graph(*nodes), "y", probes)
    assert found == "minimum@18(x=x, y=1.0) -> fp16\nmul@18(x=t0, y=2.0) -> fp16"


@pytest.mark.parametrize(
    ("node", "output", "words"),
    [
        (_node("relu", "y", x=X), "q", "declares an output 'q' that nothing in it yields"),
        (_node("relu", "y", "z", x=X), "y", "yields 1 results, and the model declares 2"),
        (_node("read_state", "y", input=1.0), "y", "names no state"),
        (_node("relu", "y", x=Ref("q")), "y", "uses 'q' before anything yields it"),
    ],
)
def test_a_graph_that_does_not_hang_together_is_refused(node: Node, output: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        evaluate(_graph(node, outputs=output), {"x": [1.0]}, Exact())


def test_each_of_several_tensors_that_enter_together_meets_what_happens_on_entering() -> None:
    """NaN counts as +inf where it enters (F47)."""
    node = _node("concat", "y", values=(X, W), axis=0)
    got = evaluate(_graph(node, inputs="x w"), {"x": [np.nan], "w": [1.0]}, Emulated(ANE))["y"]
    assert got.tolist() == [np.inf, 1.0]
