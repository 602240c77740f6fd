"""What an engine is: a package and inputs in; outputs, placement and device out. It measures and judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mish_guard.records import Culprit, Document, Placed, Placement, Step, Times

# What a model is fed: numpy arrays in the order of its inputs.
Feed: TypeAlias = Sequence[NDArray[np.generic]]
# The outputs of each prediction, in the order of the model's outputs.
Predictions: TypeAlias = tuple[tuple[NDArray[np.generic], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What an engine returns for one model.

    `operations` are those of the placement, where a plan told them; `times` are those of the hardware. `readings`
    holds, by id, every assumption that the predictions depend on, with a function that predicts again under the
    pessimistic reading; an engine that measures needs none.
    """

    predictions: Predictions
    placement: Placement
    repeats_agree: bool | None = None
    operations: tuple[Placed, ...] = ()
    times: Times | None = None
    readings: Mapping[str, Callable[[], Predictions]] = field(default_factory=dict)


class Engine(Protocol):
    """Runs saved models. `place` is a profile of the emulator or a compute unit of Core ML."""

    name: str

    def places(self) -> tuple[str, ...]:
        """Every place that this engine was asked to run."""

    def engines(self) -> Mapping[str, str]:
        """The engine of every place, by place, for an engine that is made of several; else empty."""

    def is_neural_engine(self, place: str) -> bool:
        """Whether the negative control must be caught at `place`."""

    def is_hardware(self, place: str) -> bool:
        """Whether what runs at `place` is real: only then can another shape change where a model runs."""

    def device(self) -> Document:
        """What the engine runs on, for the record."""

    def run(self, package: Path, feeds: Sequence[Feed], place: str, output: int | None = None) -> Execution:
        """Predict once for each feed (the inputs in the model's order, numpy arrays).

        With `output` each prediction holds that one alone, by its number.
        """

    def first_wrong(
        self,
        package: Path,
        feed: Feed,
        place: str,
        index: tuple[int, ...] | None,
        output: int | None = None,
    ) -> Culprit | None:
        """The first operation whose output is wrong for this feed, at `index` where shapes allow it.

        With `output` only those that lead to that one are looked at.

        None where nothing is wrong, or where the engine cannot look between operations.
        """

    def trace(
        self,
        package: Path,
        feed: Feed,
        place: str,
        index: tuple[int, ...] | None,
        output: int | None = None,
    ) -> tuple[Step, ...]:
        """Every operation with what it gave, with `output` those that lead to that one.

        Empty where the engine cannot look between operations.
        """
