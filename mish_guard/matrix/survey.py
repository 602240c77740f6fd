"""Every lowering measured under every profile: the activation alone, all 65,536 inputs. Judges nothing.

Half precision is measured under each profile. Single precision stays on the CPU whatever the profile, so it has one
figure, and that relative to what is wanted: rounded to half precision all good forms look alike.
"""

from __future__ import annotations

import dataclasses
import gc
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mish_guard.convert.conversion import convert
from mish_guard.engines.emulator import EmulatorEngine, package
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.profiles import IEEE_FP16
from mish_guard.matrix.spot import spot
from mish_guard.models import networks
from mish_guard.numerics import fp16, reference
from mish_guard.records import Backend, CellKey, Culprit, Family, Frontend, Measurement

# The bare activation on every input, without a convolution in front that could hide some of them.
_CASE = "rank-2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """One lowering under one profile: its measurement, and how many operations mish became.

    `single_relative` is its largest relative error in single precision, infinite where an output is not finite.
    """

    lowering: str
    n_ops: int
    measurement: Measurement
    single_relative: float


def survey(names: Sequence[str], profiles: Sequence[str]) -> Iterator[Surveyed]:
    """Convert mish through each lowering and measure it; raises ConversionError for one that does not convert."""
    import coremltools  # noqa: F401 - what it loads has to be there before it is frozen

    # coremltools collects garbage in every conversion and would walk everything that torch and it loaded.
    gc.freeze()
    engine = EmulatorEngine(tuple(profiles))
    case = networks.case(_CASE)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            half = _convert(name, case, Backend.MLPROGRAM_FP16, Path(folder))
            single = _single_relative(_convert(name, case, Backend.MLPROGRAM_FP32, Path(folder)), case)
            n_ops = sum(node.op != "cast" for node in package.load(half).nodes)
            for place in profiles:
                measured = _measure(engine, half, case, place)
                yield Surveyed(lowering=name, n_ops=n_ops, measurement=measured, single_relative=single)


def _convert(name: str, case: networks.Case, backend: Backend, folder: Path) -> Path:
    return convert(
        case.build(),
        case.feeds()[0],
        lowering=name,
        frontend=Frontend.TORCHSCRIPT,
        backend=backend,
        stem=folder / f"{name}-{backend.value}",
    )


def _single_relative(saved: Path, case: networks.Case) -> float:
    """The largest relative error of a single-precision model where mish is a normal half-precision number."""
    graph = package.load(saved)
    ((x,), *_) = case.feeds()
    got = evaluate(graph, {graph.inputs[0].name: x}, Emulated(IEEE_FP16))[graph.outputs[0]]
    want = reference.mish(x)
    normal = np.abs(want) >= fp16.MIN_NORMAL
    with np.errstate(invalid="ignore"):
        errors = np.abs(got - want)[normal] / np.abs(want)[normal]
    return float(np.max(np.where(np.isfinite(errors), errors, np.inf)))


def _measure(engine: EmulatorEngine, saved: Path, case: networks.Case, place: str) -> Measurement:
    figures = case.figures(engine.run(saved, case.feeds(), place).predictions)
    key = CellKey(
        family=Family.SURFACE,
        case=_CASE,
        frontend=Frontend.TORCHSCRIPT,
        backend=Backend.MLPROGRAM_FP16,
        place=place,
    )
    measured = Measurement(key=key, known_gap=None, figures=figures)
    return dataclasses.replace(measured, culprit=_culprit(engine, saved, case, measured))


def _culprit(engine: EmulatorEngine, saved: Path, case: networks.Case, measured: Measurement) -> Culprit | None:
    if measured.figures is None or not measured.figures.bad_intervals:
        return None
    here = spot(case, measured)
    return engine.first_wrong(saved, case.feeds()[here.feed], measured.key.place, here.place)
