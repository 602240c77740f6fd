"""Which verdicts rest on which assumption: every lowering over all finite inputs, under both readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mish_guard.engines.emulator import assumptions
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.assumptions import Assumption
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import Graph
from mish_guard.engines.emulator.profiles import Profile
from mish_guard.engines.emulator.sketch import INPUT, OUTPUT, sketch
from mish_guard.models.lowerings import Build
from mish_guard.numerics import ceiling, figures, fp16, reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Stake:
    """One assumption: the lowerings whose results it changes, and those that would no longer pass."""

    assumption: Assumption
    met_by: tuple[str, ...]
    would_fall: tuple[str, ...]


def stakes(profile: Profile, builders: Mapping[str, Build]) -> tuple[Stake, ...]:
    """One stake per assumption that a profile makes, those first on which most depends; none for IEEE arithmetic."""
    if not profile.is_neural_engine:
        return ()
    resting = {name: resting_on(profile, build) for name, build in builders.items()}
    found = (
        Stake(
            assumption=each,
            met_by=tuple(name for name, met in resting.items() if each.id in met),
            would_fall=tuple(name for name, met in resting.items() if met.get(each.id)),
        )
        for each in assumptions.TABLE.values()
    )
    return tuple(sorted(found, key=lambda each: (-len(each.would_fall), -len(each.met_by))))


def resting_on(profile: Profile, build: Build) -> dict[str, bool]:
    """The assumptions that a lowering of mish meets, and whether its pass falls with each of them."""
    graph = sketch(build)
    friendly = Emulated(profile)
    passes = _passes(graph, friendly)
    return {name: passes and not _passes(graph, Emulated(profile, (name,))) for name in sorted(friendly.met)}


def _passes(graph: Graph, arithmetic: Emulated) -> bool:
    inputs = fp16.finite_values()
    got = fp16.to_fp16(evaluate(graph, {INPUT: inputs}, arithmetic)[OUTPUT]).ravel()
    covered = np.ones(len(inputs), dtype=bool)
    want = reference.mish(inputs)
    return ceiling.is_within(figures.sweep(inputs, got, want, covered=covered, specials={}))
