"""The routing ladder: shapes of one model, in the order in which the Neural Engine is offered them.

Core ML decides by cost where an operation runs, so a model may stay on the CPU in one shape and be taken in another.
A ladder is climbed until the activation is planned on the Neural Engine; `networks` builds a model on a rung.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# The most flattened inputs that the linear layer may have on the Neural Engines of M1 to M3 (ANEForge,
# docs/cross-chip.md; 65536 from M4 on). A rung with more could be refused for a reason that is not its activation.
MOST_FLATTENED = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A square image of `spatial` pixels a side in `channels`, all flattened into a linear layer to `outputs`."""

    spatial: int
    channels: int
    outputs: int
    source: str

    def __str__(self) -> str:
        return f"{self.spatial}x{self.spatial}x{self.channels}"

    @property
    def flattened(self) -> int:
        """Inputs of the linear layer, which are elements of the activation."""
        return self.spatial**2 * self.channels


_FEWEST_PREDICTIONS = Rung(
    spatial=128,
    channels=1,
    outputs=1,
    source="the most inputs in one prediction: as many as the linear layer may have on M1 to M3",
)
_MEASURED = Rung(
    spatial=8,
    channels=32,
    outputs=16,
    source="https://github.com/apple/coremltools/issues/2687, where it drew softplus to the engine of an M3 Max",
)
_TEST = Rung(
    spatial=28,
    channels=16,
    outputs=10,
    source="https://github.com/apple/coremltools/pull/2618, whose test failed without its fix on an M1 Pro",
)
_MOST_CHANNELS = Rung(
    spatial=16,
    channels=64,
    outputs=1,
    source="https://github.com/apple/coremltools/pull/2618, the most channels of its search that stay legal on M1",
)

# The first rung of each is the shape that is measured where nothing has to be climbed.
LADDERS: Mapping[str, tuple[Rung, ...]] = {
    "sweep": (_FEWEST_PREDICTIONS, _MEASURED, _TEST, _MOST_CHANNELS),
    "stability": (_TEST, _MEASURED, _MOST_CHANNELS),
}
