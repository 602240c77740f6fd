"""Cells, runs and baselines that nobody measured, for tests of what judges and shows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mish_guard.judge import defects
from mish_guard.records import (
    Against,
    BadInterval,
    BinadeFigures,
    Candidate,
    CellKey,
    EngineName,
    EnginePlace,
    Failure,
    Figures,
    Measurement,
    Placement,
    Run,
    Stage,
    Worst,
)
from mish_guard.results.baseline import Baseline

CELL = "sweep/mish-k3/torchscript/mlprogram-fp16@ane"
GRAFT = f"graft:{CELL}"
NEGATIVE = "negative-control:sweep/mish-k3/stored/mlprogram-fp16@ane"
POSITIVE = "positive-control:sweep/mish-k3/stored/mlprogram-fp16@ane"
KNOWN = defects.load_defects()
CLIFF = BadInterval(first=10.3984375, last=32752.0, count=11981)


def binade(ulp: float, *, material: float = 2.0) -> BinadeFigures:
    return BinadeFigures(count=1024, max_ulp=ulp, mean_abs=1e-4, at=8.5, material=material)


def figures(**changed: Any) -> Figures:
    good: dict[str, Any] = {
        "n_total": 63488,
        "n_covered": 61440,
        "n_nonfinite": 0,
        "n_collapsed": 0,
        "n_over_ceiling": 0,
        "max_abs": Worst(value=0.002, at=3.5),
        "max_ulp": Worst(value=4.0, at=-10.0),
        "mean_abs": 1e-4,
        "material": 2.0,
        "digest": "0" * 64,
        "binades": {"+[8, 16)": binade(4.0)},
        "specials": {"+inf": "+inf", "-inf": "-0", "nan": "+inf"},
    }
    return Figures(**{**good, **changed})


def cliff() -> Figures:
    return figures(n_collapsed=11981, n_over_ceiling=11981, bad_intervals=(CLIFF,), digest="1" * 64)


def cell(key: str, values: Figures | None = None, **changed: Any) -> Measurement:
    placement = Placement(activation="ne", ops={})
    measured = Measurement(key=CellKey.parse(key), known_gap=None, figures=values or figures(), placement=placement)
    return dataclasses.replace(measured, **changed)


def dead(key: str = CELL, stage: Stage = Stage.CONVERT, reason: str = "no") -> Measurement:
    """A cell that a stage lost."""
    return dataclasses.replace(cell(key), figures=None, placement=None, failure=Failure(stage=stage, reason=reason))


def places(*names: str, hardware: bool = False, device: Mapping[str, Any] | None = None) -> dict[str, EnginePlace]:
    """What each place is: a Neural Engine unless its name says otherwise."""
    engine = EngineName.COREML if hardware else EngineName.EMULATOR
    return {
        name: EnginePlace(
            engine=engine,
            device=device or {},
            is_hardware=hardware,
            is_neural_engine=name not in ("ieee-fp16", "cpu-only", "cpu-and-gpu"),
        )
        for name in names
    }


def run(*cells: Measurement, **changed: Any) -> Run:
    who = Candidate(coremltools="9.0", path="/", lowering="exp", converter_sha256="", torch="", numpy="", python="")
    measured = Run(
        candidate=who,
        engines=places(*{"ane": None, **{each.key.place: None for each in cells}}),
        matrix_sha256="",
        expected=tuple(str(each.key) for each in cells),
        measurements={str(each.key): each for each in cells},
        created="",
    )
    return dataclasses.replace(measured, **changed)


def stored(*cells: Measurement, **changed: Any) -> dict[str, Baseline]:
    held = {str(each.key): each for each in cells}
    made = Baseline(path="b", provenance={}, cells=held)
    return {"ane": dataclasses.replace(made, **changed)}


def against(*cells: Measurement) -> Against:
    """What the tree measured that a change starts from."""
    return Against(candidate=run().candidate, measurements={str(each.key): each for each in cells})


ARMS = (cell(NEGATIVE, cliff()), cell(POSITIVE))
BASE = stored(cell(CELL), cell(GRAFT))
ON_CPU = Placement(activation="cpu", ops={})
NOWHERE = Placement(activation="unknown", ops={})
