"""Which tensors of a neural network are known to hold whole numbers, and which say where something is looked up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.neuralnetwork.places import Whole, looked_up

INDEX, OTHER, FIXED = Ref("index"), Ref("other"), Ref("fixed")
ONE, HALF = np.array(1.0), np.array(0.5)

# Of a whole `index`, a constant of whole numbers `fixed` and an `other` of which nothing is known.
MADE: list[tuple[str, dict[str, Any], bool]] = [
    ("identity", {"x": INDEX}, True),
    ("identity", {"x": OTHER}, False),
    ("add", {"x": INDEX, "y": ONE}, True),
    ("add", {"x": INDEX, "y": HALF}, False),
    ("add", {"x": HALF, "y": INDEX}, False),
    ("add", {"x": INDEX, "y": OTHER}, False),
    ("add", {"x": INDEX, "y": FIXED}, True),
    ("add", {"x": FIXED, "y": FIXED}, False),
    ("add", {"x": OTHER, "y": OTHER}, False),
    ("real_div", {"x": INDEX, "y": ONE}, False),
    ("concat", {"values": (INDEX, FIXED, ONE), "axis": HALF}, True),
    ("concat", {"values": (INDEX, HALF), "axis": ONE}, False),
    ("concat", {"values": (INDEX, OTHER), "axis": ONE}, False),
    ("select", {"cond": OTHER, "a": INDEX, "b": INDEX}, True),
    ("select", {"cond": INDEX, "a": OTHER, "b": INDEX}, False),
    ("select", {"cond": INDEX, "a": INDEX, "b": OTHER}, False),
    ("clip", {"x": INDEX, "alpha": ONE, "beta": ONE}, True),
    ("clip", {"x": INDEX, "alpha": HALF, "beta": ONE}, False),
    ("clip", {"x": INDEX, "alpha": ONE, "beta": HALF}, False),
    ("pad", {"x": INDEX, "pad": OTHER, "constant_val": ONE}, True),
    ("pad", {"x": INDEX, "pad": ONE, "constant_val": HALF}, False),
    ("gather", {"x": OTHER, "indices": INDEX}, False),
    ("gather", {"x": INDEX, "indices": OTHER}, True),
    ("range_1d", {"start": ONE, "end": ONE, "step": ONE}, True),
    ("range_1d", {"start": INDEX, "end": ONE, "step": ONE}, True),
    ("range_1d", {"start": HALF, "end": ONE, "step": ONE}, False),
    ("range_1d", {"start": ONE, "end": HALF, "step": ONE}, False),
    ("range_1d", {"start": ONE, "end": ONE, "step": HALF}, False),
    ("argsort", {"x": OTHER}, True),
    ("non_zero", {"x": OTHER}, True),
    ("reduce_argmax", {"x": OTHER}, True),
    ("reduce_argmin", {"x": OTHER}, True),
    ("shape", {"x": OTHER}, True),
    ("relu", {"x": OTHER}, False),
]


@pytest.mark.parametrize(("op", "operands", "want"), MADE)
def test_what_is_made_of_whole_numbers_alone_is_whole(op: str, operands: dict[str, Any], want: bool) -> None:
    whole = Whole(["index"])
    whole.constant("fixed", np.array([1.0, 2.0]))
    whole.follow(op, operands, ("result",))
    assert ("result" in whole, "index" in whole) == (want, True)


def test_of_the_largest_only_their_places_are_whole() -> None:
    whole = Whole([])
    whole.follow("topk", {"x": OTHER}, ("values", "places"))
    assert ("values" in whole, "places" in whole) == (False, True)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([2048.0], False),
        ([1.0, -2049.0], True),
        ([2049.5], False),
        ([2.0**24], True),
        ([2.0**24 + 1], False),
        ([], False),
    ],
)
def test_a_constant_keeps_its_digits_where_only_single_precision_counts_up_to_it(
    values: list[float], want: bool
) -> None:
    assert Whole([]).constant("fixed", np.array(values)) is want


def test_a_constant_with_a_fraction_makes_nothing_whole() -> None:
    whole = Whole(["index"])
    assert not whole.constant("fixed", np.array([1.0, 0.5]))
    whole.follow("add", {"x": INDEX, "y": FIXED}, ("result",))
    assert "result" not in whole


def _node(op: str, output: str, **operands: Any) -> Node:
    given = {name: Ref(value) if isinstance(value, str) else value for name, value in operands.items()}
    return Node(op=op, name=output, operands=given, outputs=(Tensor(name=output, dtype=DType.FP16, shape=None),))


def _block(*nodes: Node) -> Graph:
    return Graph(inputs=(), constants={}, nodes=nodes, outputs=())


def _around(block: Graph) -> Node:
    return Node(op="nn_branch", name="branch", operands={"pred": Ref("p")}, outputs=(), blocks=(block,))


FOUND = _node("gather", "found", x="table", indices="i")
MOVED = _node("gather", "found", x="table", indices="moved")
LOOKED_UP: dict[str, tuple[list[Node], list[str], set[str]]] = {
    "an index": ([FOUND], ["found"], {"i"}),
    "an index that is a value too": ([FOUND, _node("relu", "y", x="i")], ["y"], set()),
    "an index that comes out": ([FOUND], ["found", "i"], set()),
    "what an index is made of": ([_node("add", "moved", x="i", y=ONE), MOVED], ["found"], {"i", "moved"}),
    "what an index is computed of": ([_node("real_div", "moved", x="i", y=ONE), MOVED], ["found"], {"moved"}),
    "what is made of an index for nothing": ([_node("add", "unused", x="i", y=ONE), FOUND], ["found"], set()),
    "an index that is read otherwise after": (
        [_node("add", "moved", x="i", y=ONE), MOVED, _node("relu", "y", x="moved")],
        ["y"],
        set(),
    ),
    "where an index is cut": ([_node("nn_slice_by_size", "moved", x="i", start="s"), MOVED], ["found"], {"i", "moved"}),
    "an index in a branch": ([FOUND, _around(_block(_node("relu", "y", x="i")))], ["found"], set()),
    "an index in a branch of a branch": (
        [FOUND, _around(_block(_around(_block(_node("relu", "y", x="i")))))],
        ["found"],
        set(),
    ),
}


@pytest.mark.parametrize("case", LOOKED_UP)
def test_a_place_is_what_is_used_for_nothing_but_to_say_where(case: str) -> None:
    nodes, outputs, want = LOOKED_UP[case]
    assert looked_up(nodes, outputs) == want
