"""Real models, converted by the real coremltools, read back from disk and evaluated: the same numbers as PyTorch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mish_guard.convert.conversion import convert
from mish_guard.engines.emulator import EmulatorEngine, package
from mish_guard.errors import UnreadableFileError, UnsupportedOpError
from mish_guard.numerics import fp16
from mish_guard.records import Backend, Frontend


class Net(nn.Module):
    """A bit of everything that nets with mish are made of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(4, 8, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.norm.running_mean = torch.linspace(-0.5, 0.5, 8)
        self.norm.running_var = torch.linspace(0.5, 2.0, 8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = functional.relu(self.norm(self.stem(x)))
        x = x + functional.silu(self.grouped(x))
        pooled = functional.max_pool2d(x, 2, 2) - functional.avg_pool2d(x, 2, 2)
        return self.head(pooled.mean((2, 3))), torch.sigmoid(pooled)


class Attention(nn.Module):
    """Products of two activations, transposed, and a reduction."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.exp(x @ x.transpose(1, 2) / 8.0)
        weights = scores / scores.sum(-1, keepdim=True)
        return torch.cat([weights @ x, x.abs().sqrt()], dim=-1)


class Plain(nn.Module):
    """What both formats share."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(4, 6, 3, padding="same")
        self.head = nn.Linear(6 * 8 * 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.softplus(self.conv(x))
        return self.head(torch.flatten(torch.tanh(y) * torch.exp(-y), 1))  # type: ignore[no-any-return]


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "net": (Net, (1, 4, 8, 8)),
    "attention": (Attention, (2, 6, 16)),
    "plain": (Plain, (1, 4, 8, 8)),
}
CASES = [
    ("net", Backend.MLPROGRAM_FP16),
    ("net", Backend.MLPROGRAM_FP32),
    ("attention", Backend.MLPROGRAM_FP16),
    ("plain", Backend.MLPROGRAM_FP16),
    ("plain", Backend.NEURALNETWORK),
]


def saved(name: str, backend: Backend, folder: Path) -> Path:
    build, shape = MODELS[name]
    example = [np.zeros(shape, np.float16)]
    stem = folder / name
    return convert(build().eval(), example, lowering="as-is", frontend=Frontend.TORCHSCRIPT, backend=backend, stem=stem)


@pytest.mark.parametrize(("name", "backend"), CASES)
def test_a_model_gives_what_pytorch_gives(name: str, backend: Backend, tmp_path: Path) -> None:
    build, shape = MODELS[name]
    x = fp16.to_fp16(np.random.default_rng(7).normal(size=shape))
    got = EmulatorEngine(("ieee-fp16",)).run(saved(name, backend, tmp_path), [(x,)], "ieee-fp16").predictions[0]
    with torch.no_grad():
        want: Any = build().eval().double()(torch.from_numpy(x.astype(np.float64)))
    wanted = want if isinstance(want, tuple) else (want,)
    assert len(got) == len(wanted)
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.shape == tuple(theirs.shape)
        # Weights and about ten results in a row are rounded to half precision: ten half units of the largest value.
        largest = float(theirs.abs().max())
        np.testing.assert_allclose(mine.astype(float), theirs.numpy(), rtol=0, atol=10 * 2.0**-11 * max(largest, 1.0))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("plain", Backend.MLPROGRAM_FP16, tmp_path_factory.mktemp("model"))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "Manifest.json").unlink(),
        lambda folder: (folder / "Manifest.json").write_text("{}"),
        lambda folder: _truncate(next(folder.rglob("model.mlmodel"))),
        lambda folder: next(folder.rglob("model.mlmodel")).unlink(),
        shutil.rmtree,
    ],
    ids=["no manifest", "empty manifest", "truncated", "no model", "nothing"],
)
def test_a_damaged_package_is_an_error(healthy: Path, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    copy = tmp_path / healthy.name
    shutil.copytree(healthy, copy)
    damage(copy)
    with pytest.raises(UnreadableFileError):
        package.load(copy)


def test_a_text_file_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.mlmodel"
    path.write_text("not a model")
    with pytest.raises(UnreadableFileError, match=r"model\.mlmodel"):
        package.load(path)


def test_an_operation_the_emulator_lacks_is_named(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    path = convert(
        Noisy().eval(),
        [np.zeros((2, 8), np.float16)],
        lowering="as-is",
        frontend=Frontend.TORCHSCRIPT,
        backend=Backend.MLPROGRAM_FP16,
        stem=tmp_path / "noisy",
    )
    with pytest.raises(UnsupportedOpError, match=r"'random_uniform'.*random"):
        EmulatorEngine(("ane",)).run(path, [(np.zeros((2, 8), np.float16),)], "ane")
