"""Measure the emulator on nets that people ship, against PyTorch, and print every ratio with its limit.

    python ci/bench_nets.py

resnet18 and mobilenet_v2 (https://arxiv.org/abs/1512.03385, https://arxiv.org/abs/1801.04381) at 224x224 in half
precision, with random weights, beside PyTorch in single precision on one thread. Each prediction is timed between two
of PyTorch, and the median of the ratios counts, so that other load on the machine falls on both. Inputs of 255 times
the usual size reach the limit of the stage of sums. Exits 1 if a limit is exceeded.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mish_guard.engines.emulator import package
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import Graph
from mish_guard.engines.emulator.profiles import PROFILES

SHAPE = (1, 3, 224, 224)

# The most times PyTorch's time that a prediction may take, by profile and size of the input.
LIMITS = (("ieee-fp16", 1, 3.0), ("ane", 1, 3.0), ("ane", 255, 10.0))


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(inputs, outputs, 3, stride), nn.ReLU(), _conv(outputs, outputs, 3))
        plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if plain else _conv(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both."""
        return torch.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """Wide, depthwise, narrow again."""

    def __init__(self, inputs: int, outputs: int, stride: int, ratio: int) -> None:
        super().__init__()
        wide = inputs * ratio
        grow = [_conv(inputs, wide, 1), nn.ReLU6()] if ratio > 1 else []
        depthwise = _conv(wide, wide, 3, stride, groups=wide)
        self.body = nn.Sequential(*grow, depthwise, nn.ReLU6(), _conv(wide, outputs, 1))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """With the input added, where it has the same shape."""
        narrow: torch.Tensor = self.body(x)
        return x + narrow if self.adds else narrow


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]


def resnet18() -> nn.Module:
    """Eight basic blocks on four scales."""
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
    for inputs, outputs in itertools.pairwise(widths):
        layers.append(Basic(inputs, outputs, 1 if inputs == outputs else 2))
    return nn.Sequential(*layers, *_head(512))


def mobilenet_v2() -> nn.Module:
    """Seventeen inverted blocks: expansion, width, repeats and stride as in the paper's table 2."""
    layers: list[nn.Module] = [_conv(3, 32, 3, 2), nn.ReLU6()]
    inputs = 32
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for ratio, outputs, repeats, stride in rows:
        for number in range(repeats):
            layers.append(Inverted(inputs, outputs, stride if number == 0 else 1, ratio))
            inputs = outputs
    return nn.Sequential(*layers, _conv(320, 1280, 1), nn.ReLU6(), *_head(1280))


def main() -> int:
    """Measure, print, and return 1 if a limit is exceeded."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    good = [_measured(build) for build in (resnet18, mobilenet_v2)]
    return int(not all(good))


def _measured(build: Callable[[], nn.Module]) -> bool:
    net = build().eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):  # so that values keep their size from layer to layer, as in a trained net
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    x = torch.randn(SHAPE)
    graph = _converted(net, x)
    single = torch.inference_mode()(lambda: net(x))
    print(f"{build.__name__}: PyTorch, single precision, one thread: {_best(single) * 1e3:.0f} ms", flush=True)
    good = True
    for profile, scale, limit in LIMITS:
        feeds = {graph.inputs[0].name: x.numpy() * scale}
        ratio = _ratio(functools.partial(evaluate, graph, feeds, Emulated(PROFILES[profile])), single)
        good &= _shown(f"{build.__name__} under {profile}, inputs x {scale}", ratio, limit, "x")
    return good


def _shown(name: str, value: float, limit: float, unit: str) -> bool:
    good = value <= limit
    print(f"{name:58} {value:8.2f} {unit:3} (at most {limit:g})  {'ok' if good else 'TOO MUCH'}", flush=True)
    return good


def _converted(net: nn.Module, x: torch.Tensor) -> Graph:
    import coremltools as ct

    jit: Any = torch.jit
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        model = ct.convert(
            jit.trace(net, x),
            inputs=[ct.TensorType(name="x", shape=SHAPE, dtype=np.float16)],
            minimum_deployment_target=ct.target.iOS17,
            skip_model_load=True,
        )
        path = Path(folder) / "net.mlpackage"
        model.save(str(path))
        return package.load(path)


def _ratio(run: Callable[[], Any], other: Callable[[], Any], times: int = 5) -> float:
    """The median over several runs of their time to the mean of that of `other` just before and just after."""
    ratios = []
    before = _seconds(other)
    for _ in range(times):
        seconds = _seconds(run)
        after = _seconds(other)
        ratios.append(2 * seconds / (before + after))
        before = after
    return statistics.median(ratios)


def _best(run: Callable[[], Any], times: int = 3) -> float:
    """The shortest of several runs, in seconds."""
    return min(_seconds(run) for _ in range(times))


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
