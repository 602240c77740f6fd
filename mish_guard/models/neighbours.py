"""The operations that stand before and after mish in real nets, with weights that let every value through.

A module here is a `Pass`: it takes a tensor and gives one with the same values, perhaps in another shape or place; what
turns that back is its `back`. The exceptions mix their inputs, as a normalisation does; their branches say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d


class Pass(nn.Module):
    """A function as a module, with the modules whose weights it uses."""

    def __init__(self, function: Callable[..., torch.Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self._function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Whatever the function does."""
        return self._function(x, *self.parts)


def identity() -> nn.Module:
    """Nothing at all."""
    return nn.Identity()


def chain(*modules: nn.Module) -> nn.Module:
    """One after another."""
    return nn.Sequential(*modules)


def delta(layer: Convolution) -> nn.Module:
    """The convolution `layer` with a weight of 1 in the middle of each channel's own kernel and 0 elsewhere."""
    with torch.no_grad():
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
        middle = [size // 2 for size in layer.weight.shape[2:]]
        per_group = layer.weight.shape[1]
        for channel in range(layer.weight.shape[0]):
            place = (channel, channel % per_group, *middle)
            layer.weight[place] = 1.0
    return layer


def conv(channels: int, kernel: int = 3, *, dims: int = 2, **options: Any) -> nn.Module:
    """A convolution of `dims` spatial dimensions that passes its input on, padded to the same size."""
    kinds: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    options.setdefault("padding", options.get("dilation", 1) * (kernel // 2))
    return delta(kinds[dims](channels, channels, kernel, **options))


def transposed_conv(channels: int) -> nn.Module:
    """A transposed convolution that passes its input on."""
    return delta(nn.ConvTranspose2d(channels, channels, 3, padding=1))


def strided_conv(channels: int) -> nn.Module:
    """Twice the size by repetition, and back by a convolution that takes every second value."""
    return chain(upsample(), delta(nn.Conv2d(channels, channels, 3, stride=2, padding=1)))


def linear(features: int) -> nn.Module:
    """A linear layer over the last axis, with the unit matrix."""
    layer = nn.Linear(features, features)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(features))
        layer.bias.zero_()
    return layer


class MatMul(nn.Module):
    """A product with the unit matrix as a plain tensor."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, features) to the same shape."""
        return torch.matmul(x, self.matrix)


def batch_norm(channels: int) -> nn.Module:
    """A batch normalisation by mean 0 and variance 1."""
    return nn.BatchNorm2d(channels)


def upsample() -> nn.Module:
    """Twice the size in both directions, by repetition."""
    return nn.Upsample(scale_factor=2, mode="nearest")


def every_second() -> nn.Module:
    """Every second value in both directions: back from `upsample`."""
    return Pass(lambda x: x[:, :, ::2, ::2])


def pooled(pool: nn.Module) -> nn.Module:
    """Twice the size by repetition, and back by a pool over two by two equal values."""
    return chain(upsample(), pool)


def reshaped(*shape: int) -> nn.Module:
    """Another shape of the same elements."""
    return Pass(lambda x: x.reshape(shape))


def permuted(*axes: int) -> nn.Module:
    """Axes in another order."""
    return Pass(lambda x: x.permute(axes))


def gathered(channels: int) -> nn.Module:
    """The channels in reverse order, by index: its own inverse."""
    return Pass(lambda x: torch.index_select(x, 1, torch.arange(channels - 1, -1, -1)))


def halves_added() -> nn.Module:
    """Half of the input, added to itself, as a skip is."""
    return Pass(lambda x: torch.add(x * 0.5, x * 0.5))


def halved_and_doubled() -> nn.Module:
    """Two multiplications by a constant."""
    return Pass(lambda x: (x * 0.5) * 2.0)


def doubled_channels() -> nn.Module:
    """The input twice, joined along the channels."""
    return Pass(lambda x: torch.cat([x, x], dim=1))


def first_channels(count: int) -> nn.Module:
    """The first channels: back from `doubled_channels`."""
    return Pass(lambda x: x[:, :count])


def chunked() -> nn.Module:
    """Split in two and joined again."""
    return Pass(lambda x: torch.cat(torch.chunk(x, 2, dim=1), dim=1))


def padded() -> nn.Module:
    """A border of zeros."""
    return Pass(lambda x: functional.pad(x, (1, 1, 1, 1)))


def cropped() -> nn.Module:
    """Back from `padded`."""
    return Pass(lambda x: x[:, :, 1:-1, 1:-1])


def scaled_norm(norm: nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm2d, scale: float = 8.0) -> nn.Module:
    """A normalisation whose result is `scale` times as large: far enough to reach the cliff."""
    with torch.no_grad():
        norm.weight.fill_(scale)
    return norm
