"""Recurrent layers, one step after another; x is (steps, batch, features).

Every step is exact: how the engine rounds between the steps is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mish_guard.engines.emulator.graph import Array
from mish_guard.engines.emulator.ops import elementwise
from mish_guard.engines.emulator.ops.base import Number, Operation, refuse

Activation = Callable[[Array], Array]

# Weights of the input and of the state, their bias, the peephole; None all four where nothing goes back.
_Weights = tuple[Any, Any, Array | None, Array | None]
# The activations, the clip, and whether the state after every step comes out.
_Settings = tuple[tuple[Activation, Activation, Activation], Number | None, Number]

_ACTIVATIONS: dict[str, Activation] = {
    "hard_sigmoid": lambda x: elementwise.sigmoid_hard(x=x),
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "scaled_tanh": lambda x: np.asarray(1.7159 * np.tanh(2.0 / 3.0 * x)),
    "sigmoid": lambda x: elementwise.sigmoid(x=x),
    "sigmoid_hard": lambda x: elementwise.sigmoid_hard(x=x),
    "tanh": np.tanh,
}


def _activation(name: str) -> Activation:
    try:
        return _ACTIVATIONS[str(name)]
    except KeyError:
        raise refuse("a recurrent layer", f"activation {name}") from None


def rnn(
    *,
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Number = False,
    activation: str = "tanh",
) -> tuple[Array, Array]:
    act = _activation(activation)
    h, states = initial_h, []
    for step in _ordered(x, direction):
        h = act(step @ weight_ih.T + h @ weight_hh.T + _or_zero(bias))
        states.append(h)
    return _sequence(states, output_sequence), h


def gru(
    *,
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Number = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: Number = False,
    input_bias: Array | None = None,
) -> tuple[Array, Array]:
    """Gates in the order reset, output, update."""
    gate, act = _activation(recurrent_activation), _activation(activation)
    size = weight_hh.shape[1]
    w_r, w_o, w_z = np.split(weight_hh, 3)
    b_r, b_o, b_z = np.split(np.zeros(3 * size) if bias is None else bias, 3)
    h, states = initial_h, []
    for step in _ordered(x, direction):
        i_r, i_o, i_z = np.split(step @ weight_ih.T + _or_zero(input_bias), 3, axis=-1)
        r, z = gate(i_r + h @ w_r.T + b_r), gate(i_z + h @ w_z.T + b_z)
        inner = r * (h @ w_o.T + b_o) if reset_after else (r * h) @ w_o.T + b_o
        h = (1.0 - z) * act(i_o + inner) + z * h
        states.append(h)
    return _sequence(states, output_sequence), h


def lstm(
    *,
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    direction: str = "forward",
    output_sequence: Number = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Number | None = None,
) -> tuple[Array, Array, Array]:
    """Gates in the order input, forget, output, cell.

    States of more rows than the batch has: the first are read. The converter makes such models of packed sequences
    (`_pack_padded_sequence`); coremltools' own tests expect them to be right, which nobody here saw on a Mac.
    """
    initial_h, initial_c = initial_h[: x.shape[1]], initial_c[: x.shape[1]]
    acts = (_activation(recurrent_activation), _activation(cell_activation), _activation(activation))
    settings = (acts, clip, output_sequence)
    if str(direction) != "bidirectional":
        return _one_way(x, initial_h, initial_c, (weight_ih, weight_hh, bias, peephole), str(direction), settings)
    size = weight_hh.shape[1]
    ahead = (weight_ih, weight_hh, bias, peephole)
    back = (weight_ih_back, weight_hh_back, bias_back, peephole_back)
    first = _one_way(x, initial_h[:, :size], initial_c[:, :size], ahead, "forward", settings)
    second = _one_way(x, initial_h[:, size:], initial_c[:, size:], back, "reverse", settings)
    # Only here the states of the way back stand at the places of the input.
    turned = (second[0][::-1], *second[1:])
    y, h, c = (np.concatenate(pair, axis=-1) for pair in zip(first, turned, strict=True))
    return y, h, c


def _one_way(
    x: Array, h: Array, c: Array, weights: _Weights, direction: str, settings: _Settings
) -> tuple[Array, Array, Array]:
    weight_ih, weight_hh, bias, peephole = weights
    (gate, cell, act), clip, output_sequence = settings
    p_i, p_f, p_o = (0.0, 0.0, 0.0) if peephole is None else np.split(peephole, 3)
    states = []
    for step in _ordered(x, direction):
        i, f, o, z = np.split(step @ weight_ih.T + h @ weight_hh.T + _or_zero(bias), 4, axis=-1)
        c_before = c
        c = gate(f + p_f * c) * c + gate(i + p_i * c_before) * cell(z)
        c = c if clip is None else np.clip(c, -float(clip), float(clip))
        h = gate(o + p_o * c) * act(c)
        states.append(h)
    return _sequence(states, output_sequence), h, c


def _ordered(x: Array, direction: str) -> Array:
    if str(direction) not in ("forward", "reverse"):
        raise refuse("a recurrent layer", f"direction {direction}")
    return x[::-1] if str(direction) == "reverse" else x


def _sequence(states: list[Array], output_sequence: Number) -> Array:
    """The state after every step, in the order of the steps, or the last one."""
    return np.stack(states) if output_sequence else states[-1][None]


def _or_zero(bias: Array | None) -> Array | float:
    return 0.0 if bias is None else bias


OPS: dict[str, Operation] = {"gru": gru, "lstm": lstm, "rnn": rnn}
