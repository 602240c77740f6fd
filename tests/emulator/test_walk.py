"""Walking a graph: control flow, states, kinds of numbers, what is refused, and the sizes of what was added up."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import ops
from mish_guard.engines.emulator.arithmetic import Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate, exactly
from mish_guard.engines.emulator.graph import MAX_ELEMENTS, DType, Graph, Node, Ref, Tensor, widen
from mish_guard.engines.emulator.profiles import ANE
from mish_guard.errors import EvaluationError, UnsupportedOpError, UsageError

# The package has a function of this name.
walk = importlib.import_module("mish_guard.engines.emulator.evaluate")

X, S = Ref("x"), Ref("s")


def _tensor(name: str, dtype: DType = DType.FP16, shape: tuple[int | None, ...] | None = None) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=shape)


def _node(op: str, name: str, *blocks: Graph, dtype: DType = DType.FP16, opset: int = 15, **operands: Any) -> Node:
    given = {key: each if isinstance(each, (Ref, str, tuple)) else np.asarray(each) for key, each in operands.items()}
    return Node(op=op, name=name, operands=given, outputs=(_tensor(name, dtype),), opset=opset, blocks=blocks)


def _graph(*nodes: Node, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("y",), **more: Any) -> Graph:
    constants = {name: np.asarray(each) for name, each in more.pop("constants", {}).items()}
    return Graph(inputs=tuple(map(_tensor, inputs)), constants=constants, nodes=nodes, outputs=outputs, **more)


def _block(*nodes: Node, output: str, inputs: tuple[str, ...] = ()) -> Graph:
    return _graph(*nodes, inputs=inputs, outputs=(output,))


@pytest.mark.parametrize(("asked", "want"), [(True, 4.0), (False, 9.0)])
def test_a_condition_takes_its_first_block_or_its_second(asked: bool, want: float) -> None:
    blocks = (
        _block(_node("add", "a", x=X, y=1.0), output="a"),
        _block(_node("mul", "b", x=X, y=Ref("x")), output="b"),
    )
    graph = _graph(_node("cond", "y", *blocks, pred=asked))
    assert evaluate(graph, {"x": [3.0]}, Exact())["y"].tolist() == [want]


def test_a_loop_carries_its_variables_until_its_condition_ends() -> None:
    goes_on = _block(_node("less", "on", dtype=DType.BOOL, x=Ref("i"), y=10.0), output="on", inputs=("i",))
    doubled = _block(_node("mul", "d", x=Ref("i"), y=2.0), output="d", inputs=("i",))
    graph = _graph(_node("while_loop", "y", goes_on, doubled, loop_vars=(X,)))
    assert [evaluate(graph, {"x": x}, Exact())["y"].item() for x in (3.0, 20.0)] == [12.0, 20.0]
    alone = _graph(_node("while_loop", "y", goes_on, doubled, loop_vars=X))
    assert evaluate(alone, {"x": 3.0}, Exact())["y"].item() == 12.0


def test_turns_of_a_loop_are_counted_and_its_blocks_take_all_that_it_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = _block(_node("less", "on", dtype=DType.BOOL, x=Ref("i"), y=2.0**20), output="on", inputs=("i",))
    doubled = _block(_node("mul", "d", x=Ref("i"), y=2.0), output="d", inputs=("i",))
    monkeypatch.setattr(walk, "_MOST_IN_LOOPS", 8)
    with pytest.raises(EvaluationError, match="'y' does not end"):
        evaluate(_graph(_node("while_loop", "y", goes_on, doubled, loop_vars=(X,))), {"x": 2.0}, Exact())
    with pytest.raises(EvaluationError, match=r"'while_loop' \('y'\) cannot take its operands: ValueError"):
        evaluate(_graph(_node("while_loop", "y", goes_on, doubled, loop_vars=(X, X))), {"x": 2.0**20}, Exact())


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_what_is_fed_to_half_precision_is_rounded_to_it(dtype: Any) -> None:
    fed = np.array([0.1], dtype)
    values = evaluate(_graph(_node("identity", "y", x=X)), {"x": fed}, Emulated(ANE))
    assert values["x"].tolist() == [float(np.float16(0.1))]
    assert values["x"].dtype == np.float64


def _counting() -> Graph:
    write = Node(op="write_state", name="write", operands={"input": S, "data": Ref("sum")}, outputs=(), opset=18)
    nodes = (_node("read_state", "old", input=S), _node("add", "sum", x=Ref("old"), y=X), write)
    return _graph(*nodes, _node("read_state", "y", input=S), states=(_tensor("s", shape=(2,)),))


def test_a_state_is_kept_by_the_caller_or_begins_at_zero() -> None:
    state: dict[str, Any] = {}
    totals = [evaluate(_counting(), {"x": [1.0, 2.0]}, Exact(), state)["y"].tolist() for _ in range(2)]
    assert totals == [[1.0, 2.0], [2.0, 4.0]]
    assert state["s"].tolist() == [2.0, 4.0]
    assert evaluate(_counting(), {"x": [1.0, 2.0]}, Exact())["y"].tolist() == [1.0, 2.0]


def test_a_state_begins_as_zeros_of_the_shape_that_is_declared() -> None:
    shapes: list[tuple[int | None, ...] | None] = [(2, 3), (None, 2), (), None]
    states = tuple(_tensor(f"s{number}", shape=shape) for number, shape in enumerate(shapes))
    state: dict[str, Any] = {"s0": np.ones((2, 3))}
    evaluate(_graph(inputs=(), outputs=(), states=states), {}, Exact(), state)
    assert [each.tolist() for each in state.values()] == [[[1.0] * 3] * 2, [], 0.0, 0.0]
    assert state["s1"].shape == (0, 2)
    fresh: dict[str, Any] = {}
    evaluate(_graph(inputs=(), outputs=(), states=states[:1]), {}, Exact(), fresh)
    assert fresh["s0"].tolist() == [[0.0] * 3] * 2


def _network(op: str, *blocks: Graph, **operands: Any) -> Node:
    given = {key: each if isinstance(each, Ref) else np.asarray(each) for key, each in operands.items()}
    return Node(op=op, name=op, operands=given, outputs=(), blocks=blocks)


@pytest.mark.parametrize(("asked", "want"), [(1.0, 4.0), (0.0, 9.0)])
def test_a_branch_of_a_network_writes_to_the_tensors_around_it(asked: float, want: float) -> None:
    taken = _graph(_node("add", "y", x=X, y=Ref("one")), outputs=(), constants={"one": 1.0})
    other = _graph(_node("mul", "y", x=X, y=X), outputs=())
    graph = _graph(_network("nn_branch", taken, other, pred=[asked]))
    assert evaluate(graph, {"x": [3.0]}, Exact())["y"].tolist() == [want]


@pytest.mark.parametrize(("most", "want"), [(0, 16.0), (2, 8.0), (9, 16.0)])
def test_a_loop_of_a_network_ends_by_its_condition_or_its_count(most: int, want: float) -> None:
    condition = _graph(_node("less", "on", dtype=DType.BOOL, x=Ref("y"), y=10.0), outputs=("on",))
    body = _graph(_node("mul", "y", x=Ref("y"), y=2.0), outputs=())
    loop = _network("nn_loop", condition, body, max_iterations=most)
    graph = _graph(_node("identity", "y", x=X), loop)
    assert evaluate(graph, {"x": [2.0]}, Exact())["y"].tolist() == [want]


@pytest.mark.parametrize(("turns", "is_fine"), [(4, True), (5, False)])
def test_the_last_operation_that_loops_may_run_is_run(
    turns: int, is_fine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn and an operation in it count one each: 8 of them in four turns."""
    monkeypatch.setattr(walk, "_MOST_IN_LOOPS", 8)
    condition = _graph(outputs=("on",), constants={"on": [1.0]})
    body = _graph(_node("identity", "y", x=Ref("y")), outputs=())
    graph = _graph(_node("identity", "y", x=X), _network("nn_loop", condition, body, max_iterations=turns))
    if is_fine:
        assert evaluate(graph, {"x": [2.0]}, Exact())["y"].tolist() == [2.0]
        return
    with pytest.raises(EvaluationError, match="the loops of a model run 8 operations at most"):
        evaluate(graph, {"x": [2.0]}, Exact())


def test_a_default_stands_in_for_what_is_not_given_and_for_nothing_else() -> None:
    given = Tensor(name="x", dtype=DType.FP16, shape=(1, 2), default=(2.5, (1, 2)))
    graph = Graph(inputs=(given,), constants={}, nodes=(_node("identity", "y", x=X),), outputs=("y",))
    assert evaluate(graph, {}, Exact())["y"].tolist() == [[2.5, 2.5]]
    assert evaluate(graph, {"x": [[1.0, 3.0]]}, Exact())["y"].tolist() == [[1.0, 3.0]]
    with pytest.raises(UsageError, match=r"The model wants an input 'x'; got none\."):
        evaluate(_graph(_node("identity", "y", x=X)), {}, Exact())
    with pytest.raises(UsageError, match=r"wants an input 'x'; got \['a', 'b'\]"):
        evaluate(_graph(_node("identity", "y", x=X)), {"b": 1.0, "a": 1.0}, Exact())


@pytest.mark.parametrize("opset", [0, 15])
def test_only_the_format_before_programs_has_no_scalars(opset: int) -> None:
    graph = _graph(_node("identity", "y", opset=opset, x=X))
    assert evaluate(graph, {"x": 2.0}, Exact())["y"].shape == ((1,) if opset == 0 else ())
    plain = Node(op="identity", name="y", operands={"x": X}, outputs=(_tensor("y"),))
    assert evaluate(_graph(plain), {"x": 2.0}, Exact())["y"].shape == (1,)


def test_a_shape_that_was_not_declared_is_refused() -> None:
    node = Node(op="relu", name="y", operands={"x": X}, outputs=(_tensor("y", shape=(3,)),))
    with pytest.raises(EvaluationError, match=r"'relu' \('y'\) yields the shape \(2,\), and the model declares \(3,\)"):
        evaluate(_graph(node), {"x": [1.0, 2.0]}, Exact())


@pytest.mark.parametrize(
    ("dtype", "value", "want", "kind"),
    [
        (DType.INT, [2.7, -2.7], [2, -2], "i"),
        (DType.INT, [True, False], [1, 0], "i"),
        (DType.INT, [3, 4], [3, 4], "i"),
        (DType.BOOL, [0.5, 0.0], [True, False], "b"),
        (DType.BOOL, [2, 0], [True, False], "b"),
        (DType.BOOL, [True, False], [True, False], "b"),
        (DType.FP16, [3, 4], [3.0, 4.0], "f"),
        (DType.FP32, [True, False], [1.0, 0.0], "f"),
        (DType.FP16, [0.5, 0.25], [0.5, 0.25], "f"),
        (DType.STRING, [3, 4], [3, 4], "i"),
    ],
)
def test_a_value_becomes_the_kind_of_number_that_is_declared(
    dtype: DType, value: list[Any], want: list[Any], kind: str
) -> None:
    given = np.array(value)
    got = walk._typed(_tensor("x", dtype), given)
    assert (got.tolist(), got.dtype.kind) == (want, kind)
    assert (got is given) == (given.dtype.kind == kind)


def test_a_parameter_that_is_not_known_is_no_misfit() -> None:
    with pytest.raises(UnsupportedOpError, match="does not know a parameter of 'relu'"):
        evaluate(_graph(_node("relu", "y", x=X, slope=1.0)), {"x": [1.0]}, Exact())


@pytest.mark.parametrize(
    "error", [ValueError, IndexError, KeyError, TypeError, RuntimeError, ZeroDivisionError, AttributeError]
)
def test_whatever_operands_that_do_not_fit_raise_is_told_of_their_operation(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*, x: Any) -> Any:
        raise error(x.shape)

    monkeypatch.setitem(ops.OPS, "relu", fails)
    with pytest.raises(EvaluationError, match=rf"'relu' \('y'\) cannot take its operands: {error.__name__}"):
        evaluate(_graph(_node("relu", "y", x=X)), {"x": [1.0]}, Exact())


def test_a_tensor_may_have_as_many_elements_as_fit_into_half_a_gigabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_ELEMENTS * np.dtype(np.float64).itemsize == 2**29
    monkeypatch.setattr(walk, "MAX_ELEMENTS", 4)
    fine, large = (_graph(_node("fill", "y", shape=[size], value=1.0), inputs=()) for size in (4, 5))
    assert evaluate(fine, {}, Exact())["y"].size == 4
    with pytest.raises(EvaluationError, match="makes 5 elements, more than 4"):
        evaluate(large, {}, Exact())


def test_what_is_computed_from_constants_alone_is_a_constant() -> None:
    """A sum with a constant overflows at 2**15 (F54), one of two tensors does not."""
    unpacked = _node("constexpr_cast", "c", source_val=[1.0], output_dtype="fp16")
    given = {"x": [32768.0]}
    for graph in (
        _graph(unpacked, _node("add", "y", x=X, y=Ref("c"))),
        _graph(_node("add", "y", x=X, y=Ref("c")), constants={"c": [1.0]}),
        _graph(_node("add", "y", x=X, y=[1.0])),
    ):
        assert evaluate(graph, given, Emulated(ANE))["y"].tolist() == [np.inf]
    computed = _graph(_node("identity", "c", x=[1.0]), _node("add", "y", x=X, y=Ref("c")))
    assert evaluate(computed, given, Emulated(ANE))["y"].tolist() == [32768.0]


@pytest.mark.parametrize("op", ["cond", "while_loop", "nn_branch", "nn_loop", "read_state", "write_state"])
def test_control_flow_is_exact_as_it_is(op: str) -> None:
    ((result, size),) = exactly(_node(op, "y"), _graph(), {"y": np.array([-3.0])})
    assert (result.tolist(), size.tolist()) == ([-3.0], [3.0])


CANCELLING: list[tuple[str, dict[str, Any], list[float], list[float]]] = [
    ("add", {"x": X, "y": [[-2.0, 2.0]]}, [1.0, 1.0], [5.0, 3.0]),
    ("sub", {"x": X, "y": [[2.0, -2.0]]}, [1.0, 1.0], [5.0, 3.0]),
    ("reduce_sum", {"x": X, "axes": [-1], "keep_dims": False}, [2.0], [4.0]),
    ("reduce_mean", {"x": X, "axes": [-1], "keep_dims": False}, [1.0], [2.0]),
    ("mul", {"x": X, "y": [[2.0, 2.0]]}, [6.0, -2.0], [6.0, 2.0]),
    ("matmul", {"x": X, "y": [[1.0], [3.0]], "transpose_x": False}, [0.0], [6.0]),
    ("less", {"x": X, "y": [[0.0, 0.0]]}, [False, True], [False, True]),
]


@pytest.mark.parametrize(("op", "operands", "exact", "size"), CANCELLING)
def test_what_may_cancel_is_as_large_as_what_goes_into_it(
    op: str, operands: dict[str, Any], exact: list[float], size: list[float]
) -> None:
    ((result, added),) = exactly(_node(op, "y", **operands), _graph(), {"x": np.array([[3.0, -1.0]])})
    assert (np.ravel(result).tolist(), np.ravel(added).tolist()) == (exact, size)


def test_axes_and_words_have_no_size() -> None:
    values = {"x": np.array([[[3.0, -1.0], [5.0, -5.0]]])}
    summed = _node("reduce_sum", "y", x=X, axes=[-1], keep_dims=False)
    ((result, size),) = exactly(summed, _graph(), values)
    assert (result.tolist(), size.tolist()) == ([[2.0, 0.0]], [[4.0, 10.0]])
    convolved = _node("conv", "y", x=X, weight=[[[1.0], [-1.0]]], pad_type="valid")
    ((result, size),) = exactly(convolved, _graph(), values)
    assert (result.tolist(), size.tolist()) == ([[[-2.0, 4.0]]], [[[8.0, 6.0]]])


def test_the_types_that_are_rounded_are_those_with_fractions() -> None:
    assert [each.value for each in DType] == ["fp16", "fp32", "int", "bool", "string", "object"]
    assert [each for each in DType if each.is_float] == [DType.FP16, DType.FP32]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([1.5], np.float32), np.float64),
        (np.array([1.5], np.float16), np.float64),
        (np.array([3], np.int32), np.int64),
        (np.array([3], np.uint8), np.int64),
        (np.array([True]), np.bool_),
    ],
)
def test_numbers_are_widened_within_their_kind(values: Any, dtype: Any) -> None:
    got = widen(values)
    assert (got.dtype, got.tolist()) == (np.dtype(dtype), values.tolist())


@pytest.mark.parametrize(
    ("declared", "sizes", "shape", "is_admitted"),
    [
        ((2, 3), (), (2, 3), True),
        ((2, 3), (), (2, 4), False),
        ((2, 3), (), (4, 3), False),
        ((2, 3), (), (2, 3, 1), False),
        ((2, None), (), (2, 9), True),
        ((), (), (), True),
        (None, (), (7, 7, 7), True),
        (None, (((2, 4), (3, None)),), (2, 3), True),
        (None, (((2, 4), (3, None)),), (9, 4, 99), True),
        (None, (((2, 4), (3, None)),), (5, 3), False),
        (None, (((2, 4), (3, None)),), (1, 3), False),
        (None, (((2, 4), (3, None)),), (2, 2), False),
        (None, (((2, 4), (3, None)),), (3,), False),
        (None, (((1, 1),), ((5, 5),)), (5,), True),
    ],
)
def test_a_shape_is_admitted_where_every_axis_is(
    declared: tuple[int | None, ...] | None, sizes: Any, shape: tuple[int, ...], is_admitted: bool
) -> None:
    assert Tensor(name="x", dtype=DType.FP16, shape=declared, sizes=sizes).admits(shape) is is_admitted


def test_sizes_are_spelled_in_place_of_the_last_axes() -> None:
    tensor = Tensor(name="x", dtype=DType.FP16, shape=(1, None, None), sizes=(((2, 4), (3, None)), ((5, 5), (6, 6))))
    assert tensor.spelled == "(1, 2..4, 3..) or (1, 5, 6)"
