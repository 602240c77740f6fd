"""Recurrent layers against the formulas of MIL's documentation, gate by gate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mish_guard.engines.emulator import ops
from mish_guard.errors import UnsupportedOpError

Array = np.ndarray[Any, Any]
STEPS, BATCH, INNER, SIZE = 4, 3, 5, 2

ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "hard_sigmoid": lambda v: min(max(0.2 * v + 0.5, 0.0), 1.0),
    "linear": lambda v: v,
    "relu": lambda v: max(v, 0.0),
    "scaled_tanh": lambda v: 1.7159 * math.tanh(2 * v / 3),
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "sigmoid_hard": lambda v: min(max(0.2 * v + 0.5, 0.0), 1.0),
    "tanh": math.tanh,
}


def apply(name: str, values: Array) -> Array:
    return np.array([[ACTIVATIONS[name](float(value)) for value in row] for row in values])


def drawn(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def gates(count: int, seed: int = 0) -> dict[str, Array]:
    return {"weight_ih": drawn(seed + 1, count * SIZE, INNER), "weight_hh": drawn(seed + 2, count * SIZE, SIZE)}


X, H, C = drawn(11, STEPS, BATCH, INNER), drawn(12, BATCH, SIZE), drawn(13, BATCH, SIZE)


def in_order(x: Array, direction: str) -> list[Array]:
    return list(x[::-1] if direction == "reverse" else x)


def sequence(states: list[Array], every: bool) -> Array:
    return np.array(states if every else states[-1:])


def rnn(o: dict[str, Any]) -> tuple[Array, ...]:
    h, states = H, []
    for step in in_order(X, o.get("direction", "forward")):
        h = apply(o.get("activation", "tanh"), step @ o["weight_ih"].T + h @ o["weight_hh"].T + o.get("bias", 0.0))
        states.append(h)
    return sequence(states, o.get("output_sequence", False)), h


def gru(o: dict[str, Any]) -> tuple[Array, ...]:
    """Rows of the weights: reset, output, update."""
    h, states, (r, out, z) = H, [], (slice(each * SIZE, (each + 1) * SIZE) for each in range(3))
    gate, act = o.get("recurrent_activation", "sigmoid"), o.get("activation", "tanh")
    bias, given = o.get("bias", np.zeros(3 * SIZE)), o.get("input_bias", np.zeros(3 * SIZE))
    for step in in_order(X, o.get("direction", "forward")):
        seen = step @ o["weight_ih"].T + given
        reset = apply(gate, seen[:, r] + h @ o["weight_hh"][r].T + bias[r])
        update = apply(gate, seen[:, z] + h @ o["weight_hh"][z].T + bias[z])
        if o.get("reset_after", False):
            inner = reset * (h @ o["weight_hh"][out].T + bias[out])
        else:
            inner = (reset * h) @ o["weight_hh"][out].T + bias[out]
        h = (1 - update) * apply(act, seen[:, out] + inner) + update * h
        states.append(h)
    return sequence(states, o.get("output_sequence", False)), h


def lstm(o: dict[str, Any], h: Array = H, c: Array = C) -> tuple[Array, ...]:
    """Rows of the weights: input, forget, output, cell."""
    states = []
    peep = np.split(o.get("peephole", np.zeros(3 * SIZE)), 3)
    gate, cell, act = (
        o.get(f"{each}activation", "sigmoid" if each == "recurrent_" else "tanh")
        for each in ("recurrent_", "cell_", "")
    )
    for step in in_order(X, o.get("direction", "forward")):
        seen = step @ o["weight_ih"].T + h @ o["weight_hh"].T + o.get("bias", 0.0)
        i, f, out, z = (seen[:, each * SIZE : (each + 1) * SIZE] for each in range(4))
        i, f = apply(gate, i + peep[0] * c), apply(gate, f + peep[1] * c)
        c = np.clip(f * c + i * apply(cell, z), -o.get("clip", math.inf), o.get("clip", math.inf))
        h = apply(gate, out + peep[2] * c) * apply(act, c)
        states.append(h)
    return sequence(states, o.get("output_sequence", False)), h, c


RNNS: list[dict[str, Any]] = [
    {},
    *({"activation": name, "output_sequence": True} for name in ACTIVATIONS),
    {"bias": drawn(3, SIZE), "direction": "reverse", "output_sequence": True},
]
GRUS: list[dict[str, Any]] = [
    {},
    {"bias": drawn(3, 3 * SIZE), "output_sequence": True},
    {"bias": drawn(3, 3 * SIZE), "input_bias": drawn(4, 3 * SIZE), "reset_after": True, "direction": "reverse"},
    {"recurrent_activation": "sigmoid_hard", "activation": "relu", "output_sequence": True},
]
LSTMS: list[dict[str, Any]] = [
    {},
    {"bias": drawn(3, 4 * SIZE), "peephole": drawn(4, 3 * SIZE), "output_sequence": True},
    {"clip": 0.25, "direction": "reverse", "output_sequence": True},
    {"recurrent_activation": "sigmoid_hard", "cell_activation": "relu", "activation": "scaled_tanh"},
]


def check(got: tuple[Array, ...], want: tuple[Array, ...]) -> None:
    assert [each.shape for each in got] == [each.shape for each in want]
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("settings", RNNS)
def test_a_simple_layer_follows_its_formula(settings: dict[str, Any]) -> None:
    check(ops.OPS["rnn"](x=X, initial_h=H, **gates(1), **settings), rnn({**gates(1), **settings}))


@pytest.mark.parametrize("settings", GRUS)
def test_a_gated_layer_follows_its_formula(settings: dict[str, Any]) -> None:
    check(ops.OPS["gru"](x=X, initial_h=H, **gates(3), **settings), gru({**gates(3), **settings}))


@pytest.mark.parametrize("settings", LSTMS)
def test_a_layer_with_a_cell_follows_its_formula(settings: dict[str, Any]) -> None:
    got = ops.OPS["lstm"](x=X, initial_h=H, initial_c=C, **gates(4), **settings)
    check(got, lstm({**gates(4), **settings}))


def both_ways(more: dict[str, Any]) -> tuple[dict[str, Any], tuple[Array, ...], tuple[Array, ...]]:
    """Operands of a layer that goes both ways, and what either way gives alone; the way back is turned round."""
    one, other = ({**gates(4, at), "bias": drawn(at, 4 * SIZE), "peephole": drawn(at + 7, 3 * SIZE)} for at in (20, 40))
    operands = {**one, **{f"{name}_back": each for name, each in other.items()}, **more}
    y, *last = lstm({**other, **more, "direction": "reverse"}, C, H)
    return operands, lstm({**one, **more}), (y[::-1], *last)


@pytest.mark.parametrize("more", [{"output_sequence": True}, {"clip": 0.5}, {"activation": "relu"}])
def test_a_layer_that_goes_both_ways_is_two_layers(more: dict[str, Any]) -> None:
    operands, ahead, back = both_ways(more)
    states = {"initial_h": np.concatenate([H, C], axis=-1), "initial_c": np.concatenate([C, H], axis=-1)}
    got = ops.OPS["lstm"](x=X, **states, **operands, direction="bidirectional")
    check(got, tuple(np.concatenate(each, axis=-1) for each in zip(ahead, back, strict=True)))


@pytest.mark.parametrize(
    ("op", "count", "settings", "named"),
    [
        ("rnn", 1, {"activation": "mish"}, "activation mish"),
        ("gru", 3, {"recurrent_activation": "mish"}, "activation mish"),
        ("gru", 3, {"direction": "sideways"}, "direction sideways"),
    ],
)
def test_what_a_layer_does_not_know_is_named(op: str, count: int, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedOpError, match=f"a recurrent layer.*{named}"):
        ops.OPS[op](x=X, initial_h=H, **gates(count), **settings)


def wide(values: Array, *ahead: int) -> Array:
    """With the axes that the older format has."""
    return values.reshape(*ahead, *values.shape, 1, 1)


@pytest.mark.parametrize(("op", "count", "want"), [("rnn", 1, rnn), ("gru", 3, gru)])
def test_a_layer_of_the_older_format_has_five_axes(op: str, count: int, want: Any) -> None:
    y, h = want(gates(count))
    state = H.reshape(1, BATCH, SIZE, 1, 1)
    check(ops.OPS[f"nn_{op}"](x=wide(X), initial_h=state, **gates(count)), (wide(y), wide(h, 1)))
    none = ops.OPS[op](x=X, initial_h=np.zeros((BATCH, SIZE)), **gates(count))
    check(ops.OPS[f"nn_{op}"](x=wide(X), **gates(count)), (wide(none[0]), wide(none[1], 1)))


def test_a_layer_with_a_cell_of_the_older_format_has_five_axes() -> None:
    y, h, c = lstm(gates(4))
    got = ops.OPS["nn_lstm"](x=wide(X), initial_h=wide(H, 1), initial_c=wide(C, 1), **gates(4))
    check(got, (wide(y), wide(h, 1), wide(c, 1)))
    y, h, c = lstm(gates(4), np.zeros((BATCH, SIZE)), np.zeros((BATCH, SIZE)))
    check(ops.OPS["nn_lstm"](x=wide(X), **gates(4)), (wide(y), wide(h, 1), wide(c, 1)))


def test_a_layer_of_the_older_format_that_goes_both_ways_gives_both_states() -> None:
    operands, ahead, back = both_ways({"output_sequence": True})
    states = {"initial_h": H, "initial_c": C, "initial_h_back": C, "initial_c_back": H}
    given = {name: wide(each, 1) for name, each in states.items()}
    got = ops.OPS["nn_bidirectional_lstm"](x=wide(X), **given, **operands)
    y = np.concatenate([ahead[0], back[0]], axis=-1)
    check(got, (wide(y), *(wide(each, 1) for each in (*ahead[1:], *back[1:]))))
