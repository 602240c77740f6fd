"""The operation at fault: by what it was given, not by what came of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import culprit
from mish_guard.engines.emulator.arithmetic import Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate, exactly
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.profiles import ANE, IEEE_FP16, Profile
from mish_guard.numerics import fp16
from mish_guard.records import Culprit, Step


def _node(op: str, name: str, gives: tuple[int, ...], **operands: Any) -> Node:
    output = Tensor(name=name, dtype=DType.FP16, shape=gives)
    return Node(op=op, name=name, operands=operands, outputs=(output,))


def _blamed(nodes: list[Node], x: list[float], place: tuple[int, ...], profile: Profile = IEEE_FP16) -> str | None:
    found = _found(nodes, x, place, profile)
    return None if found is None else found.op


def _found(nodes: list[Node], x: list[float], place: tuple[int, ...], profile: Profile) -> Culprit | None:
    fed = np.array([x], dtype=np.float16)
    graph = Graph(
        inputs=(Tensor(name="x", dtype=DType.FP16, shape=fed.shape),),
        constants={},
        nodes=tuple(nodes),
        outputs=(nodes[-1].name,),
    )
    got, want = (evaluate(graph, {"x": fed}, arithmetic) for arithmetic in (Emulated(profile), Exact()))
    return culprit.find(graph, got, want, place)


X = Ref("x")


def test_the_softplus_that_collapses_is_blamed() -> None:
    nodes = [
        _node("softplus", "s", (1, 2), x=X),
        _node("tanh", "t", (1, 2), x=Ref("s")),
        _node("mul", "y", (1, 2), x=X, y=Ref("t")),
    ]
    found = _found(nodes, [1.0, 20.0], (0, 1), ANE)
    assert found is not None
    assert (found.op, found.name, found.got) == ("softplus", "s", 0.0)
    assert found.want == pytest.approx(20.0, abs=1e-8)


@pytest.mark.parametrize("op", ["reshape", "expand_dims"])
def test_an_operation_that_hands_a_wrong_value_on_is_not(op: str) -> None:
    """The bad element is another one than the one that is looked at, and lies elsewhere after the operation."""
    moved = {
        "reshape": _node("reshape", "y", (2,), x=Ref("m"), shape=np.array([2])),
        "expand_dims": _node("expand_dims", "y", (1, 1, 2), x=Ref("m"), axes=np.array([0])),
    }[op]
    assert _blamed([_node("mul", "m", (1, 2), x=X, y=X), moved], [3.0, 300.0], (0, 0)) is None


def test_a_sum_that_cancels_what_others_rounded_is_not() -> None:
    nodes = [
        _node("mul", "a", (1, 1), x=X, y=np.array(1.0009765625)),
        _node("sub", "y", (1, 1), x=Ref("a"), y=np.array(2050.0)),
    ]
    assert _blamed(nodes, [2048.0], (0, 0)) is None
    assert _blamed([_node("sub", "y", (1, 1), x=X, y=np.array(-65504.0))], [65504.0], (0, 0)) == "sub"


@pytest.mark.parametrize(
    ("op", "operands", "exact", "size"),
    [
        ("exp", {"x": X}, np.exp(-3.0), np.exp(-3.0)),
        ("add", {"x": X, "y": np.array(2.0)}, -1.0, 5.0),
        ("sub", {"x": X, "y": np.array(-2.0)}, -1.0, 5.0),
        ("reduce_sum", {"x": X}, -3.0, 3.0),
        ("linear", {"x": X, "weight": np.array([[-1.0]]), "bias": np.array([-4.0])}, -1.0, 7.0),
    ],
)
def test_the_size_of_a_sum_is_that_of_what_was_added_up(
    op: str, operands: dict[str, Any], exact: float, size: float
) -> None:
    node = _node(op, "y", (1, 1), **operands)
    graph = Graph(inputs=(), constants={}, nodes=(node,), outputs=("y",))
    ((result, added),) = exactly(node, graph, {"x": np.array([[-3.0]])})
    assert (np.ravel(result)[0], np.ravel(added)[0]) == (exact, size)


def _graph(*nodes: Node, outputs: tuple[str, ...]) -> Graph:
    return Graph(inputs=(), constants={}, nodes=nodes, outputs=outputs)


def test_an_overflow_that_is_absorbed_is_not_blamed_for_what_goes_wrong_beside_it() -> None:
    nodes = [
        _node("mul", "square", (1, 1), x=X, y=X),
        _node("real_div", "lost", (1, 1), x=np.array(2.0), y=Ref("square")),
        _node("mul", "y", (1, 1), x=X, y=np.array(500.0)),
    ]
    found = _found(nodes, [300.0], (0, 0), IEEE_FP16)
    assert found is not None
    assert (found.name, found.got, found.want) == ("y", np.inf, 150000.0)


def test_one_wrong_result_of_several_is_enough() -> None:
    halves = tuple(Tensor(name=name, dtype=DType.FP16, shape=(1,)) for name in ("a", "b"))
    split = Node(
        op="split", name="split", operands={"x": X, "num_splits": np.array(2), "axis": np.array(0)}, outputs=halves
    )
    got = {"x": np.array([1.0, 2.0]), "a": np.array([1.0]), "b": np.array([50.0])}
    found = culprit.find(_graph(split, outputs=("b",)), got, {**got, "b": np.array([2.0])}, None)
    assert found == Culprit(op="split", name="split", got=50.0, want=2.0)


def _two_wrong(index: tuple[int, ...] | None, first: tuple[int, ...], second: tuple[int, ...]) -> str | None:
    """Which of two outputs of these shapes is blamed, where both should be 1 and are 9."""
    shapes = {"a": first, "b": second}
    nodes = [_node("mul", name, shape, x=np.ones(shape), y=np.ones(shape)) for name, shape in shapes.items()]
    got, want = ({name: np.full(shape, each) for name, shape in shapes.items()} for each in (9.0, 1.0))
    found = culprit.find(_graph(*nodes, outputs=("a", "b")), got, want, index)
    return None if found is None else found.name


@pytest.mark.parametrize(
    ("index", "first", "second", "want"),
    [
        ((0, 1), (2,), (1, 2), "b"),
        ((0, 1), (1, 2), (2,), "a"),
        ((0, 2), (1, 2), (1, 3), "b"),
        ((0, 5), (3, 3), (1, 6), "b"),
        ((5, 0), (3, 3), (6, 1), "b"),
        ((7,), (1, 2), (1, 2), "a"),
        (None, (1, 2), (1, 2), "a"),
    ],
)
def test_the_output_that_holds_the_bad_element_is_looked_behind(
    index: tuple[int, ...] | None, first: tuple[int, ...], second: tuple[int, ...], want: str
) -> None:
    assert _two_wrong(index, first, second) == want


def test_only_what_is_rounded_can_be_wrong() -> None:
    chosen = _node("less", "chosen", (1,), x=X, y=np.array(0.0))
    label = _node("classify", "label", (1,), probabilities=X)
    graph = _graph(chosen, label, outputs=("chosen", "label"))
    got: dict[str, Any] = {"x": np.array([1.0]), "chosen": np.array([True]), "label": "cat"}
    want: dict[str, Any] = {**got, "chosen": np.array([False]), "label": "dog"}
    assert culprit.find(graph, got, want, None) is None


SMALL = fp16.MIN_NORMAL


@pytest.mark.parametrize(
    ("got", "want", "size", "is_right"),
    [
        (1000.0, 1000.0, None, True),
        (-1000.0, 1000.0, None, False),
        (500.0, 1000.0, None, True),
        (496.0, 1000.0, None, False),
        (1504.0, 1000.0, None, False),
        (SMALL, 0.0, None, True),
        (-SMALL, 0.0, None, True),
        (SMALL * 1.02, 0.0, None, False),
        (SMALL * 0.5, -SMALL * 0.5, None, True),
        (2.0**-9, 0.0, 1.0, True),
        (2.0**-9 * 1.035, 0.0, 1.0, False),
        (SMALL * 1.1, 0.0, np.inf, False),
        (SMALL * 1.1, 0.0, 0.0, False),
        (np.inf, np.inf, None, True),
        (np.inf, 60000.0, None, False),
        (np.nan, np.nan, None, True),
        (np.nan, 1.0, None, False),
        (1.0, np.nan, None, False),
    ],
)
def test_wrong_is_what_misses_by_more_than_half_and_more_than_sums_lose(
    got: float, want: float, size: float | None, is_right: bool
) -> None:
    """Half of the value, the smallest normal number, and four roundings of 2**-11 of what was added up."""
    added = None if size is None else np.array([0.0, size])
    found = culprit._difference(np.array([0.0, got]), np.array([0.0, want]), None, added)
    assert (found is None) == is_right
    assert found is None or np.array_equal(found, (got, want), equal_nan=True)


def test_the_size_of_a_sum_counts_where_the_bad_element_is() -> None:
    got, want, sizes = np.array([[1.0, 1.0]]), np.array([[0.0, 0.0]]), np.array([[2.0**9, 0.0]])
    assert culprit._difference(got, want, (0, 0), sizes) is None
    assert culprit._difference(got, want, (0, 1), sizes) == (1.0, 0.0)
    assert culprit._difference(np.array([["a"]]), np.array([["b"]]), (0, 0)) is None


def test_every_step_is_told_at_the_bad_element_or_where_it_is_wrong_or_largest() -> None:
    nodes = [
        _node("mul", "here", (1, 2), x=X, y=X),
        _node("mul", "elsewhere", (3,), x=X, y=X),
        _node("mul", "largest", (3,), x=X, y=X),
        _node("less", "chosen", (2,), x=X, y=X),
        _node("classify", "label", (1,), x=X),
        Node(op="nn_loop", name="loop", operands={}, outputs=()),
    ]
    got: dict[str, Any] = {
        "here": np.array([[5.0, 7.0]]),
        "elsewhere": np.array([1.0, 9.0, 3.0]),
        "largest": np.array([1.0, -8.5, np.inf]),
        "chosen": np.array([False, True]),
        "label": "cat",
    }
    want = {**got, "here": np.array([[90.0, 7.5]]), "elsewhere": np.array([1.0, 2.0, 3.0])}
    want["largest"] = np.array([1.0, -8.0, np.nan])
    got["largest"] = np.array([1.0, -8.5, np.nan])
    assert culprit.trace(_graph(*nodes, outputs=("here",)), got, want, (0, 1)) == (
        Step(op="mul", name="here", got=7.0, want=7.5, wrong=False),
        Step(op="mul", name="elsewhere", got=9.0, want=2.0, wrong=True),
        Step(op="mul", name="largest", got=-8.5, want=-8.0, wrong=False),
        Step(op="less", name="chosen", got=1.0, want=1.0, wrong=False),
    )
    assert culprit.trace(_graph(nodes[0], outputs=("here",)), got, want, (1, 0))[0].got == 5.0
    assert [each.got for each in culprit.trace(_graph(*nodes[2:4], outputs=()), got, want, (0,))] == [1.0, 0.0]
