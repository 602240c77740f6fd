"""Nets of branches: what one conversion of a road carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mish_guard.errors import UsageError
from mish_guard.models import branches
from mish_guard.models import neighbours as near
from mish_guard.models.branches import Branch

_MOST_AT_ONCE = 10


class Path(nn.Module):
    """One branch as a module."""

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.before, self.activation, self.after = branch.before(), branch.activation(), branch.after()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The branch's shape to the same shape."""
        return self.after(self.activation(self.before(x)))  # type: ignore[no-any-return]


class Paths(nn.Module):
    """Branches side by side; those of one shape share an input."""

    def __init__(self, chosen: Sequence[Branch], shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(Path(branch) for branch in chosen)
        self.sources = [list(shapes).index(branch.shape) for branch in chosen]

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One tensor for each shape to one output for each branch."""
        return tuple(path(inputs[source]) for path, source in zip(self.paths, self.sources, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A model of a road: its branches, in the order of its outputs."""

    name: str
    branches: tuple[Branch, ...]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the inputs, in their order."""
        return tuple(dict.fromkeys(branch.shape for branch in self.branches))

    def build(self) -> nn.Module:
        """The torch module in evaluation mode, float32; a net of one branch gives a tensor, not a tuple."""
        if len(self.branches) == 1:
            return Path(self.branches[0]).eval()
        return Paths(self.branches, self.shapes).eval()

    def carrying(self, branch: str) -> Net:
        """The part of the net that is converted with a branch, a net of its own, called NET-1 and so on if not all.

        coremltools looks at all of a model after each of its passes: twice the branches take more than twice as long.
        """
        n_parts = -(-len(self.branches) // _MOST_AT_ONCE)
        if n_parts == 1:
            return self
        number = self.index(branch) * n_parts // len(self.branches)
        chosen = (each for place, each in enumerate(self.branches) if place * n_parts // len(self.branches) == number)
        return Net(name=f"{self.name}-{number + 1}", branches=tuple(chosen))

    def index(self, branch: str) -> int:
        """The output of a branch; raises UsageError with the names there are."""
        names = [each.name for each in self.branches]
        if branch not in names:
            msg = f"The net '{self.name}' has no branch '{branch}'. Choose from: {', '.join(names)}."
            raise UsageError(msg)
        return names.index(branch)


def _net(name: str, *chosen: Branch) -> Net:
    return Net(name=name, branches=chosen)


NETS: dict[str, Net] = {
    net.name: net
    for net in (
        _net("plain", Branch(name="plain")),
        _net("rgb", Branch(name="rgb", shape=(1, 3, 32, 32))),
        _net("conv", Branch(name="conv", before=lambda: near.conv(branches.CHANNELS))),
        _net("before", *branches.BEFORE),
        _net("after", *branches.AFTER, *branches.OTHERS),
        _net("ranks", *branches.RANKS, branches.RANK_0),
        _net("sizes", *branches.SIZES),
    )
}


def net(name: str) -> Net:
    """The net called `name`; raises UsageError with the names there are."""
    try:
        return NETS[name]
    except KeyError:
        msg = f"No net is called '{name}'. Choose from: {', '.join(NETS)}."
        raise UsageError(msg) from None
