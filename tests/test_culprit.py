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
from mish_guard.records import Culprit


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
