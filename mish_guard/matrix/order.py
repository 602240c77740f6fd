"""What a run is asked to measure: made once, by the command line or by pytest's options, with one set of defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mish_guard import files
from mish_guard.convert import witnesses
from mish_guard.models import lowerings

CONTROLS = files.DATA / "controls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Engine, places (none: all), lowering, and where matrix (None: the package's) and controls lie.

    `candidate` is a Python or a folder that holds a coremltools (None: the one next to mish-guard), `against` another
    one that the candidate must not be worse than; `only` is a glob of the cells that are measured (None: all); `jobs`
    witnesses convert, each recipe within `seconds`. `quiet` runs tell no progress.
    """

    engine: str = "emulator"
    places: Sequence[str] = ()
    lowering: str = lowerings.AS_IS
    matrix: Path | None = None
    controls: Path = CONTROLS
    candidate: Path | None = None
    against: Path | None = None
    jobs: int = witnesses.JOBS
    only: str | None = None
    quiet: bool = False
    seconds: float = witnesses.SECONDS
