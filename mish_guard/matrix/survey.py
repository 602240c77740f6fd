"""Every lowering measured under every profile: the activation alone, all 65,536 inputs. Judges nothing."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mish_guard.convert.conversion import convert
from mish_guard.engines.emulator import EmulatorEngine, package
from mish_guard.judge import defects
from mish_guard.models import networks
from mish_guard.records import Backend, CellKey, Culprit, Family, Frontend, Measurement

# The bare activation on every input, without a convolution in front that could hide some of them.
_CASE = "rank-2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """One lowering under one profile: its measurement, and how many operations mish became."""

    lowering: str
    n_ops: int
    measurement: Measurement


def survey(names: Sequence[str], profiles: Sequence[str]) -> Iterator[Surveyed]:
    """Convert mish through each lowering and measure it; raises ConversionError for one that does not convert."""
    engine = EmulatorEngine(tuple(profiles))
    case = networks.case(_CASE)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            saved = convert(
                case.build(),
                case.feeds()[0],
                lowering=name,
                frontend=Frontend.TORCHSCRIPT,
                backend=Backend.MLPROGRAM_FP16,
                stem=Path(folder) / name,
            )
            n_ops = sum(node.op != "cast" for node in package.load(saved).nodes)
            for where in profiles:
                yield Surveyed(lowering=name, n_ops=n_ops, measurement=_measure(engine, saved, case, where))


def _measure(engine: EmulatorEngine, saved: Path, case: networks.Case, where: str) -> Measurement:
    figures = case.figures(engine.run(saved, case.feeds(), where).predictions)
    key = CellKey(
        family=Family.SURFACE,
        case=_CASE,
        frontend=Frontend.TORCHSCRIPT,
        backend=Backend.MLPROGRAM_FP16,
        where=where,
    )
    measured = Measurement(key=key, known_gap=None, figures=figures)
    return dataclasses.replace(measured, culprit=_culprit(engine, saved, case, measured))


def _culprit(engine: EmulatorEngine, saved: Path, case: networks.Case, measured: Measurement) -> Culprit | None:
    interval = defects.main_interval(measured)
    located = None if interval is None else case.locate(interval.first)
    if located is None:
        return None
    feed, place = located
    return engine.first_wrong(saved, case.feeds()[feed], measured.key.where, place)
