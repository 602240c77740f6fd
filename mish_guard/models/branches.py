"""Branches: mish with one neighbour each, many of which one model carries, every one with an output of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from mish_guard.models import neighbours as near
from mish_guard.numerics import reference

Make = Callable[[], nn.Module]

# What an activation should give for values of any shape, float64.
Want = Callable[[ArrayLike], NDArray[np.float64]]

CHANNELS, SIDE = 8, 16
IMAGE = (1, CHANNELS, SIDE, SIDE)


class Constant(nn.Module):
    """The mish of a constant, added to half of the input."""

    VALUE = 20.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return x * 0.5 + nn.functional.mish(torch.full((1,), self.VALUE))


class Twice(nn.Module):
    """Mish applied to one tensor at two places, averaged."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return nn.functional.mish(x) * 0.5 + nn.functional.mish(x.clone()) * 0.5


class Skip(nn.Module):
    """The input added to its mish."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape to the same shape."""
        return x + nn.functional.mish(x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One path from an input of a model to an output: what stands before mish, mish, and what stands after.

    Element for element the output is `want` of the input, unless the neighbours mix their inputs (`mixes`): then the
    whole output is compared with that of the torch module. `activation` is what stands for mish.
    """

    name: str
    shape: tuple[int, ...] = IMAGE
    before: Make = near.identity
    after: Make = near.identity
    activation: Make = nn.Mish
    want: Want = reference.mish
    mixes: bool = False


def _around(name: str, neighbour: Make, back: Make = near.identity, *, mixes: bool = False) -> tuple[Branch, Branch]:
    """The branches with a neighbour before mish, and after it; `back` undoes a change of shape."""
    before = Branch(name=f"after-{name}", before=neighbour, after=back, mixes=mixes)
    after = Branch(name=f"before-{name}", after=lambda: near.chain(neighbour(), back()), mixes=mixes)
    return before, after


_PAIRS = (
    _around("conv", lambda: near.conv(CHANNELS)),
    _around("conv-1x1", lambda: near.conv(CHANNELS, 1)),
    _around("depthwise-conv", lambda: near.conv(CHANNELS, groups=CHANNELS)),
    _around("dilated-conv", lambda: near.conv(CHANNELS, dilation=2)),
    _around("strided-conv", lambda: near.strided_conv(CHANNELS)),
    _around("transposed-conv", lambda: near.transposed_conv(CHANNELS)),
    _around(
        "conv-1d",
        lambda: near.chain(near.reshaped(1, CHANNELS, SIDE * SIDE), near.conv(CHANNELS, dims=1)),
        lambda: near.reshaped(*IMAGE),
    ),
    _around(
        "conv-3d",
        lambda: near.chain(near.reshaped(1, CHANNELS, 1, SIDE, SIDE), near.conv(CHANNELS, dims=3)),
        lambda: near.reshaped(*IMAGE),
    ),
    _around("linear", lambda: near.linear(SIDE)),
    _around(
        "linear-rank-2",
        lambda: near.chain(near.reshaped(CHANNELS * SIDE, SIDE), near.linear(SIDE)),
        lambda: near.reshaped(*IMAGE),
    ),
    _around("matmul", lambda: near.MatMul(SIDE)),
    _around("batch-norm", lambda: near.batch_norm(CHANNELS)),
    _around("conv-batch-norm", lambda: near.chain(near.conv(CHANNELS), near.batch_norm(CHANNELS))),
    _around("layer-norm", lambda: near.scaled_norm(nn.LayerNorm(SIDE)), mixes=True),
    _around("group-norm", lambda: near.scaled_norm(nn.GroupNorm(2, CHANNELS)), mixes=True),
    _around("instance-norm", lambda: near.scaled_norm(nn.InstanceNorm2d(CHANNELS, affine=True)), mixes=True),
    _around("max-pool", lambda: near.pooled(nn.MaxPool2d(2))),
    _around("avg-pool", lambda: near.pooled(nn.AvgPool2d(2))),
    _around("upsample", near.upsample, near.every_second),
    _around("concat", near.doubled_channels, lambda: near.first_channels(CHANNELS)),
    _around("split", near.chunked),
    _around("add", near.halves_added),
    _around("mul", near.halved_and_doubled),
    _around("gather", lambda: near.gathered(CHANNELS), lambda: near.gathered(CHANNELS)),
    _around("reshape", lambda: near.reshaped(CHANNELS, SIDE * SIDE), lambda: near.reshaped(*IMAGE)),
    _around("transpose", lambda: near.permuted(0, 2, 3, 1), lambda: near.permuted(0, 3, 1, 2)),
    _around("pad", near.padded, near.cropped),
)

BEFORE = tuple(before for before, _ in _PAIRS)
AFTER = tuple(after for _, after in _PAIRS)

OTHERS = (
    Branch(name="output"),
    Branch(name="after-mish", before=nn.Mish, want=lambda x: reference.mish(reference.mish(x))),
    Branch(name="twice", activation=Twice),
    Branch(name="skip", activation=Skip, want=lambda x: reference.mish(x) + np.asarray(x, dtype=np.float64)),
    Branch(
        name="constant",
        activation=Constant,
        want=lambda x: np.asarray(x, dtype=np.float64) / 2 + reference.mish(Constant.VALUE),
    ),
)

_FLAT = CHANNELS * SIDE * SIDE


def _rank(*shape: int) -> Branch:
    """Mish on a tensor of another rank."""
    name = f"rank-{len(shape)}"
    return Branch(name=name, before=lambda: near.reshaped(*shape), after=lambda: near.reshaped(*IMAGE))


RANKS = (
    _rank(_FLAT),
    _rank(CHANNELS, _FLAT // CHANNELS),
    _rank(2, 4, _FLAT // 8),
    _rank(*IMAGE),
    _rank(1, 2, 4, SIDE, SIDE),
)
RANK_0 = Branch(
    name="rank-0", shape=(1,), before=lambda: near.Pass(lambda x: x.squeeze()), after=lambda: near.reshaped(1)
)

SIZES = tuple(
    Branch(name=name, shape=shape)
    for name, shape in (
        ("batch-2", (2, 4, 16, 16)),
        ("batch-5", (5, 3, 7, 9)),
        ("channels-1", (1, 1, 32, 32)),
        ("channels-3", (1, 3, 16, 16)),
        ("channels-128", (1, 128, 4, 4)),
        ("channels-2049", (1, 2049, 2, 2)),
        ("odd", (1, 5, 13, 17)),
        ("one-element", (1, 1, 1, 1)),
        ("board-19x19", (1, 8, 19, 19)),
        ("more-than-65536", (1, 1, 256, 257)),
    )
)
