"""The torch models of the matrix, their inputs and their references.

A `Case` says what is converted (its `model`, shared by cases that differ in input only), what is fed, and how
outputs become figures.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn
from torch.nn import functional

from mish_guard.errors import NotComparableError, UsageError
from mish_guard.models import roads, shapes
from mish_guard.models.branches import Want
from mish_guard.models.own import Own
from mish_guard.models.shapes import Rung
from mish_guard.numerics import figures, fp16, reference
from mish_guard.records import Figures

Half = NDArray[np.float16]

# What an engine returned: the outputs of each prediction, in the model's order.
Outputs: TypeAlias = Sequence[Sequence[ArrayLike]]


class Handwritten(nn.Module):
    """mish as people write it; coremltools sees softplus, tanh and mul, never mish."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return x * torch.tanh(functional.softplus(x))


class Functional(nn.Module):
    """mish through torch.nn.functional."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return functional.mish(x)


class Inplace(nn.Module):
    """The in-place form; the copy keeps the caller's tensor, whose value the sweep reads out too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return functional.mish(x.clone(), inplace=True)


class LogSumExp(nn.Module):
    """log-sum-exp over 32 equal channels, as the reproduction of coremltools #2690 has it: its input plus log(32)."""

    CHANNELS = 32

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 1, height, width) to the same shape."""
        return torch.logsumexp(torch.cat([x] * self.CHANNELS, dim=1), dim=1, keepdim=True)


def log_sum_exp(x: ArrayLike) -> NDArray[np.float64]:
    """What `LogSumExp` computes, for any shape, float64."""
    return np.asarray(np.asarray(x, dtype=np.float64) + math.log(LogSumExp.CHANNELS))


class LogCumSumExp(nn.Module):
    """The last of the cumulative log-sum-exps over equal channels: what `LogSumExp` gives."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 1, height, width) to the same shape."""
        return torch.logcumsumexp(torch.cat([x] * LogSumExp.CHANNELS, dim=1), dim=1)[:, -1:]


class LogSoftmax(nn.Module):
    """The first of the log-softmax over the input and a channel of zeros, which is -softplus(-x)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 1, height, width) to the same shape."""
        return torch.log_softmax(torch.cat([x, torch.zeros_like(x)], dim=1), dim=1)[:, :1]


def log_softmax(x: ArrayLike) -> NDArray[np.float64]:
    """What `LogSoftmax` computes, for any shape, float64."""
    return np.asarray(-reference.softplus(-np.asarray(x, dtype=np.float64)))


class SteepSoftplus(nn.Softplus):
    """Softplus with a beta of its own: `softplus_parametric` at rank 4."""

    BETA = 2.0

    def __init__(self) -> None:
        super().__init__(beta=self.BETA)


def steep_softplus(x: ArrayLike) -> NDArray[np.float64]:
    """What `SteepSoftplus` computes, for any shape, float64."""
    scaled = np.asarray(x, dtype=np.float64) * SteepSoftplus.BETA
    return np.asarray(reference.softplus(scaled) / SteepSoftplus.BETA)


class Sweep(nn.Module):
    """A delta convolution, the activation, and a head, as the reproduction of coremltools #2687 has them.

    The convolution copies its input, channel by channel, so every output of the activation belongs to one known
    input, and an input that is not finite spoils no other channel; the head gives the Neural Engine a reason to take
    the model. The first output shows which inputs the convolution carried unchanged.
    """

    def __init__(self, activation: nn.Module, kernel: int, rung: Rung) -> None:
        super().__init__()
        self.conv = nn.Conv2d(rung.channels, rung.channels, kernel, padding="same", groups=rung.channels, bias=False)
        self.activation = activation
        self.head = nn.Linear(rung.flattened, rung.outputs, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()[:, 0, kernel // 2, kernel // 2] = 1.0
            self.head.weight.fill_(1.0 / shapes.MOST_FLATTENED)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(1, channels, spatial, spatial) to what the convolution carried, the activation, and the head."""
        carried = self.conv(x)
        activated = self.activation(carried)
        return carried, activated, self.head(torch.flatten(activated, 1))


class Stability(nn.Module):
    """The model of the test in coremltools PR #2618: convolution 1 → 16, mish, flatten, linear to 10; or on a rung.

    The linear weights of the original are not known; 1 / 12544 turns the output into the mean of mish and keeps every
    partial sum far below 2**15, where the Neural Engine's sums overflow.
    """

    def __init__(self, rung: Rung) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, rung.channels, 3, padding="same")
        self.activation = nn.Mish()
        self.head = nn.Linear(rung.flattened, rung.outputs)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.conv.bias.zero_()  # type: ignore[union-attr]
            self.head.weight.fill_(1.0 / rung.flattened)
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 1, spatial, spatial) to (1, outputs)."""
        return self.head(torch.flatten(self.activation(self.conv(x)), 1))  # type: ignore[no-any-return]


class Tower(nn.Module):
    """A small residual tower with mish, in the manner of KataGo's nets, through which an error spreads.

    The weights are a fixed wave, so that they depend on no random number generator.
    """

    CHANNELS = 16
    BLOCKS = 2

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, self.CHANNELS, 3, padding="same")
        self.first = nn.ModuleList(self._convolution() for _ in range(self.BLOCKS))
        self.second = nn.ModuleList(self._convolution() for _ in range(self.BLOCKS))
        self.activation = nn.Mish()
        self.head = nn.Linear(self.CHANNELS * 8 * 8, 8)
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.copy_(_wave(parameter.shape, phase=float(number)))

    def _convolution(self) -> nn.Conv2d:
        return nn.Conv2d(self.CHANNELS, self.CHANNELS, 3, padding="same")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 4, 8, 8) to (1, 8)."""
        x = self.stem(x)
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(self.activation(first(self.activation(x))))
        return self.head(torch.flatten(self.activation(x), 1))  # type: ignore[no-any-return]


def _wave(shape: Sequence[int], phase: float) -> torch.Tensor:
    """Values of a sine in [-a, a] with a = 1 / sqrt(fan-in), rounded to half precision."""
    fan_in = math.prod(shape[1:]) or 1
    steps = np.arange(math.prod(shape), dtype=np.float64)
    values = np.sin(0.7 * steps + phase) / math.sqrt(fan_in)
    return torch.from_numpy(fp16.to_fp16(values).astype(np.float32).reshape(tuple(shape)))


# How far from an input, as a part of it, what entered may lie to count for it. A scheme that sums 16 neighbours of its
# size is wrong by less; a convolution that yields zeros, or another input, is not taken for it.
NEAR = 2.0**-4


class Case(Protocol):
    """One model with its inputs."""

    @property
    def model(self) -> str:
        """The name of the conversion, which cases may share."""

    @property
    def ladder(self) -> str | None:
        """The name of the ladder whose rungs the model can take, in `shapes.LADDERS`; None for one of one shape."""

    @property
    def output(self) -> int | None:
        """The number of the one output that `figures` wants; None for all of them."""

    def on(self, rung: Rung) -> Case:
        """The same case on a rung of its ladder; `model` names the rung unless it is the ladder's first."""

    def build(self) -> nn.Module:
        """The torch module in evaluation mode, float32."""

    def feeds(self) -> list[tuple[Half, ...]]:
        """The inputs of each prediction."""

    def figures(self, predictions: Outputs) -> Figures:
        """Figures of what an engine returned for the feeds."""

    def locate(self, x: float) -> tuple[int, tuple[int, ...]] | None:
        """Which feed holds input `x` and where in the activation's tensor; None where inputs are mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCase:
    """Every half-precision number through one activation: bare, of one `shape`, or behind a convolution, on a `rung`.

    A 3x3 delta kernel multiplies eight neighbours by zero, and 0 * inf is NaN: inputs that are not finite lie apart,
    every other row and column of tiles of their own.

    A unit that computes a convolution from sums of its inputs, as Winograd's scheme does, carries none bit for bit.
    With `by_what_entered` an input that came out as a number near it counts as covered, and mish is judged by that
    number, which the first output tells; without, only what was carried exactly counts.
    """

    model: str
    activation: Callable[[], nn.Module]
    kernel: int | None
    bare_shape: tuple[int, ...] = ()
    want: Want = reference.mish
    rung: Rung = shapes.LADDERS["sweep"][0]
    by_what_entered: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one prediction's inputs."""
        tile = (1, self.rung.channels, self.rung.spatial, self.rung.spatial)
        return self.bare_shape if self.kernel is None else tile

    @property
    def ladder(self) -> str | None:
        return None if self.kernel is None else "sweep"

    @property
    def output(self) -> int | None:
        return None

    def on(self, rung: Rung) -> SweepCase:
        return dataclasses.replace(self, model=_model_on(self.model, self.ladder, rung), rung=rung)

    def build(self) -> nn.Module:
        return (self.activation() if self.kernel is None else Sweep(self.activation(), self.kernel, self.rung)).eval()

    def feeds(self) -> list[tuple[Half, ...]]:
        finite, special = self._tiles()
        return [(tile,) for tile in (*finite, *special)]

    def figures(self, predictions: Outputs) -> Figures:
        finite, special = self._tiles()
        if len(predictions) != len(finite) + len(special):
            msg = f"The engine returned {len(predictions)} predictions for {len(finite) + len(special)} inputs."
            raise NotComparableError(msg)
        inputs = fp16.finite_values()
        got = self._joined(predictions[: len(finite)], self._activation_output)[: len(inputs)]
        entered, covered = self._entered(predictions)
        return figures.sweep(
            inputs,
            got,
            reference.remembered(self.want, entered),
            covered=covered,
            specials=self._specials(predictions[len(finite) :]),
        )

    def inexact(self, predictions: Outputs) -> int:
        """How many of the covered inputs entered the activation as another number."""
        entered, covered = self._entered(predictions)
        return int(np.count_nonzero((entered != fp16.finite_values()) & covered))

    def _entered(self, predictions: Outputs) -> tuple[Half, NDArray[np.bool_]]:
        """What entered the activation for each finite input that is covered, and which are; itself for the others."""
        inputs = fp16.finite_values()
        if self.kernel is None:
            return inputs, np.ones(len(inputs), dtype=bool)
        carried = self._joined(predictions[: len(self._tiles()[0])], 0)[: len(inputs)]
        exact = carried == inputs
        if not self.by_what_entered:
            return inputs, exact
        x, size = inputs.astype(np.float64), np.abs(inputs.astype(np.float64))
        near = np.isfinite(carried) & (np.abs(np.where(np.isfinite(carried), carried, 0) - x) <= NEAR * size)
        return np.where(near & ~exact, carried, inputs), near

    def outputs(self, predictions: Outputs) -> Half:
        """What came out for every input: the finite ones in ascending order, then +inf, -inf and every NaN."""
        n_finite = len(self._tiles()[0])
        got = self._joined(predictions[:n_finite], self._activation_output)[: len(fp16.finite_values())]
        return np.concatenate([got, *self._specials(predictions[n_finite:]).values()])

    def locate(self, x: float) -> tuple[int, tuple[int, ...]] | None:
        feed, place = self._position(x)
        return feed, tuple(int(index) for index in np.unravel_index(place, self.shape))

    def _position(self, x: float) -> tuple[int, int]:
        """Which feed holds `x`, a half-precision number or one that is not finite, and where in it, flat."""
        finite, _ = self._tiles()
        if math.isfinite(x):
            position = int(np.flatnonzero(fp16.finite_values() == np.float16(x))[0])
            return divmod(position, math.prod(self.shape))
        values, places = fp16.special_values(), self._special_places()
        position = int(np.flatnonzero(np.isnan(values) if math.isnan(x) else values == x)[0])
        feed, number = divmod(position, len(places))
        return len(finite) + feed, int(places[number])

    @property
    def _activation_output(self) -> int:
        return 0 if self.kernel is None else 1

    def _tiles(self) -> tuple[list[Half], list[Half]]:
        size = math.prod(self.shape)
        finite = fp16.finite_values()
        padded = np.zeros(-(-len(finite) // size) * size, dtype=np.float16)
        padded[: len(finite)] = finite
        places, values = self._special_places(), fp16.special_values()
        special = np.zeros((-(-len(values) // len(places)), size), dtype=np.float16)
        for tile, start in zip(special, range(0, len(values), len(places)), strict=True):
            chunk = values[start : start + len(places)]
            tile[places[: len(chunk)]] = chunk
        return [tile.reshape(self.shape) for tile in padded.reshape(-1, size)], [
            tile.reshape(self.shape) for tile in special
        ]

    def _special_places(self) -> NDArray[np.intp]:
        """Flat places no two of which lie in one 3x3 neighbourhood; a tile's side is even."""
        places = np.arange(math.prod(self.shape)).reshape(-1, self.shape[-1])
        return places[::2, ::2].ravel() if self.kernel else places.ravel()

    def _specials(self, predictions: Outputs) -> dict[str, Half]:
        inputs = fp16.special_values()
        tiles = [self._half(prediction[self._activation_output]).ravel() for prediction in predictions]
        got = np.concatenate([tile[self._special_places()] for tile in tiles])[: len(inputs)]
        return {
            "+inf": got[np.isposinf(inputs)],
            "-inf": got[np.isneginf(inputs)],
            "nan": got[np.isnan(inputs)],
        }

    def _joined(self, predictions: Outputs, output: int) -> Half:
        return np.concatenate([self._half(prediction[output]).ravel() for prediction in predictions])

    def _half(self, values: ArrayLike) -> Half:
        array = np.asarray(values)
        if array.shape != self.shape:
            msg = f"The engine returned an output of shape {array.shape}; expected {self.shape}."
            raise NotComparableError(msg)
        return fp16.to_fp16(array)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCase:
    """A whole model on one input; the reference is the same torch model in float64 with half-precision weights."""

    model: str
    module: Callable[[], nn.Module]
    shape: tuple[int, ...]
    scale: float
    ladder: str | None = None

    @property
    def output(self) -> int | None:
        return None

    def on(self, rung: Rung) -> OutputCase:
        return dataclasses.replace(
            self,
            model=_model_on(self.model, self.ladder, rung),
            module=functools.partial(Stability, rung),
            shape=_stability_shape(rung),
        )

    def build(self) -> nn.Module:
        return self.module().eval()

    def feeds(self) -> list[tuple[Half, ...]]:
        values = np.linspace(-1.0, 1.0, math.prod(self.shape)) * self.scale
        return [(fp16.to_fp16(values).reshape(self.shape),)]

    def figures(self, predictions: Outputs) -> Figures:
        (prediction,) = predictions
        return figures.outputs(fp16.to_fp16(prediction[0]), _whole_output(self))

    def locate(self, x: float) -> tuple[int, tuple[int, ...]] | None:
        del x
        return None


@functools.lru_cache(maxsize=1)
def _whole_output(case: OutputCase) -> NDArray[np.float64]:
    """The reference of a whole model; it is compared with once for every reading of every assumption."""
    module = case.build()
    for parameter in module.parameters():
        parameter.data = parameter.data.half()
    module = module.double()
    with torch.no_grad():
        want = module(torch.from_numpy(case.feeds()[0][0].astype(np.float64)))
    return np.asarray(want.numpy(), dtype=np.float64)


def _stability(scale: float) -> OutputCase:
    first = shapes.LADDERS["stability"][0]
    module = functools.partial(Stability, first)
    return OutputCase(model="stability", module=module, shape=_stability_shape(first), scale=scale, ladder="stability")


def _stability_shape(rung: Rung) -> tuple[int, ...]:
    return (1, 1, rung.spatial, rung.spatial)


def _model_on(model: str, ladder: str | None, rung: Rung) -> str:
    if ladder is None:
        msg = f"The model '{model}' has one shape and no ladder."
        raise UsageError(msg)
    return model if rung == shapes.LADDERS[ladder][0] else f"{model}-{rung}"


def _rank(shape: tuple[int, ...]) -> SweepCase:
    return SweepCase(model=f"rank-{len(shape)}", activation=nn.Mish, kernel=None, bare_shape=shape)


CASES: dict[str, Case] = {
    "scale-0.1": _stability(0.1),
    "scale-3.5": _stability(3.5),
    "scale-11.0": _stability(11.0),
    "mish-k3": SweepCase(model="mish-k3", activation=nn.Mish, kernel=3),
    "mish-k1": SweepCase(model="mish-k1", activation=nn.Mish, kernel=1),
    "nn.Mish": SweepCase(model="mish-k3", activation=nn.Mish, kernel=3),
    "inplace": SweepCase(model="inplace", activation=Inplace, kernel=3),
    "F.mish": SweepCase(model="F.mish", activation=Functional, kernel=3),
    "handwritten": SweepCase(model="handwritten", activation=Handwritten, kernel=3),
    "nn.Softplus": SweepCase(model="softplus-k3", activation=nn.Softplus, kernel=3, want=reference.softplus),
    "torch.logsumexp": SweepCase(model="logsumexp-k3", activation=LogSumExp, kernel=3, want=log_sum_exp),
    "torch.logcumsumexp": SweepCase(model="logcumsumexp-k3", activation=LogCumSumExp, kernel=3, want=log_sum_exp),
    "torch.log_softmax": SweepCase(model="log_softmax-k3", activation=LogSoftmax, kernel=3, want=log_softmax),
    "nn.Softplus-beta": SweepCase(model="softplus-beta-k3", activation=SteepSoftplus, kernel=3, want=steep_softplus),
    "rank-1": _rank((65536,)),
    "rank-2": _rank((256, 256)),
    "rank-3": _rank((16, 64, 64)),
    "rank-5": _rank((2, 2, 16, 32, 32)),
    "tower": OutputCase(model="tower", module=Tower, shape=(1, 4, 8, 8), scale=32.0),
}


# The activations of the matrix at hand.
_OWN: dict[str, Own] = {}


def add(own: Own) -> None:
    """Let cases be called as a user's activation; raises UsageError for a name that is taken."""
    if own.name in CASES:
        msg = f"'{own.name}' is a case of mish-guard. Call your activation otherwise."
        raise UsageError(msg)
    _OWN[own.name] = own


def own(name: str) -> Own | None:
    """The user's activation that a case is called after, if any."""
    return _OWN.get(name)


def case(name: str) -> Case:
    """The case called `name`, a branch on a road included; raises UsageError with the names there are."""
    if roads.is_road(name):
        return roads.case(name)
    if name in _OWN:
        return SweepCase(model=name, activation=_OWN[name].build, kernel=3, want=_OWN[name].want)
    try:
        return CASES[name]
    except KeyError:
        msg = f"No case is called '{name}'. Choose from: {', '.join(CASES)}."
        raise UsageError(msg) from None


def on_every_rung(case: Case) -> tuple[Case, ...]:
    """The case on each rung of its ladder; the case alone where it has none."""
    return (case,) if case.ladder is None else tuple(case.on(rung) for rung in shapes.LADDERS[case.ladder])
