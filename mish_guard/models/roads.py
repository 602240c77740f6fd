"""Roads: how mish gets from a torch module into a saved model.

A road is a call (`mish_guard.convert.calls`) with a frontend and a backend; what travels on it is a net of branches
(`mish_guard.models.nets`). A cell is one branch on one road, its case is called CALL+NET+BRANCH.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from mish_guard.errors import NotComparableError, UsageError
from mish_guard.models import nets, tiles
from mish_guard.models.branches import Branch
from mish_guard.models.nets import Net
from mish_guard.models.shapes import Rung
from mish_guard.models.tiles import Probe
from mish_guard.numerics import figures, fp16, reference
from mish_guard.records import Figures

Half = NDArray[np.float16]
Doubles = NDArray[np.float64]

SEPARATOR = "+"

# How far the inputs of a branch reach whose neighbours mix them: past the cliff, as in the test of #2618.
_LARGEST = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoadCase:
    """One branch of a net, converted by one call; cells of one part of a net and one call share the conversion.

    Implements `mish_guard.models.networks.Case`. What is fed are the numbers that every neighbour carries (`tiles`), so
    that a road that is swept and one that is covered by it have the same inputs.
    """

    call: str
    net: Net
    branch: Branch

    @property
    def name(self) -> str:
        """As the cell's key has it."""
        return SEPARATOR.join((self.call, self.net.name, self.branch.name))

    @property
    def model(self) -> str:
        return f"{self.call}{SEPARATOR}{self.carried.name}"

    @property
    def carried(self) -> Net:
        """The part of the net that one conversion carries."""
        return self.net.carrying(self.branch.name)

    @property
    def ladder(self) -> str | None:
        return None

    @property
    def output(self) -> int:
        """Which output of the model is the branch's."""
        return self.carried.index(self.branch.name)

    def on(self, rung: Rung) -> RoadCase:
        msg = f"The model '{self.model}' has one shape and no ladder; there is no rung {rung}."
        raise UsageError(msg)

    def build(self) -> nn.Module:
        return self.carried.build()

    def feeds(self) -> list[tuple[Half, ...]]:
        return [self._among_zeros(tile) for tile in self._tiles()]

    def figures(self, predictions: Sequence[Sequence[ArrayLike]]) -> Figures:
        tiles_fed = self._tiles()
        if len(predictions) != len(tiles_fed):
            msg = f"The engine returned {len(predictions)} predictions for {len(tiles_fed)} inputs."
            raise NotComparableError(msg)
        got = [self._half(prediction[0]) for prediction in predictions]
        if self.branch.mixes:
            return figures.outputs(got[0], self._reference(tiles_fed[0]))
        inputs = tiles.inputs(self.branch.shape)
        outputs = tiles.joined(got, self.branch.shape)
        every = np.ones(len(inputs), dtype=bool)
        want = reference.remembered(self.branch.want, inputs)
        return figures.sweep(inputs, outputs, want, covered=every, specials={})

    def locate(self, x: float) -> tuple[int, tuple[int, ...]] | None:
        if self.branch.mixes:
            return None
        places = np.flatnonzero(tiles.inputs(self.branch.shape) == np.float16(x))
        if not len(places):
            return None
        feed, place = divmod(int(places[0]), int(np.prod(self.branch.shape)))
        return feed, tuple(int(index) for index in np.unravel_index(place, self.branch.shape))

    def probes(self) -> list[Probe]:
        """The inputs at which the sequence of a converted model is read off, and mish's own input and output there."""
        shape = self.branch.shape
        if self.branch.mixes:
            return [self._probe(np.asarray(tiles.wave(shape, _LARGEST), np.float64))]
        return [self._probe(tile) for tile in tiles.probes(shape)]

    def _probe(self, fed: Doubles) -> Probe:
        with torch.no_grad():
            entering = self.branch.before().eval().double()(torch.from_numpy(fed))
            leaving = self.branch.activation().eval().double()(entering)
        return Probe(feeds=self._among_zeros(fed), entering=entering.numpy(), leaving=leaving.numpy())

    def _tiles(self) -> list[Half]:
        shape = self.branch.shape
        return [tiles.wave(shape, _LARGEST)] if self.branch.mixes else tiles.tiles(shape)

    def _among_zeros(self, fed: Any) -> tuple[Any, ...]:
        """The branch's input, and zeros for the other inputs of the net."""
        return tuple(
            fed if shape == self.branch.shape else np.zeros(shape, dtype=np.float16) for shape in self.carried.shapes
        )

    def _reference(self, fed: Half) -> Doubles:
        module = nets.Path(self.branch).eval().double()
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(fed.astype(np.float64))).numpy(), dtype=np.float64)

    def _half(self, values: ArrayLike) -> Half:
        array = np.asarray(values)
        if array.shape != self.branch.shape:
            msg = f"The engine returned an output of shape {array.shape}; expected {self.branch.shape}."
            raise NotComparableError(msg)
        return fp16.to_fp16(array)


def case(name: str) -> RoadCase:
    """The case called CALL+NET+BRANCH; raises UsageError for a net or branch that there is not."""
    call, net_name, branch_name = name.split(SEPARATOR)
    net = nets.net(net_name)
    return RoadCase(call=call, net=net, branch=net.branches[net.index(branch_name)])


def is_road(name: str) -> bool:
    """Whether a case of this name is a branch on a road."""
    return name.count(SEPARATOR) == 2


def names(call: str, net: str) -> list[str]:
    """The cases of every branch of a net on a road."""
    return [RoadCase(call=call, net=nets.net(net), branch=branch).name for branch in nets.net(net).branches]
