"""One matrix run: who is judged, with which engine, which cells, and what has been measured so far."""

from __future__ import annotations

import datetime as dt
import gc
from pathlib import Path

import pytest

from mish_guard import candidate, controls, engines, lowerings, matrix
from mish_guard.errors import MachineError
from mish_guard.matrix import Place
from mish_guard.matrix.bench import Bench
from mish_guard.model import Measurement, Run


class Session:
    """What one matrix run needs and what it has measured."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.option
        lowering = option.mish_lowering
        if lowering != lowerings.AS_IS:
            lowerings.get(lowering)
        self.matrix_path = Path(option.mish_matrix or matrix.DEFAULT)
        self.results_path = Path(option.mish_results)
        self.engine = engines.create(option.mish_engine, option.mish_profile or ())
        places = [
            Place(name=name, is_neural_engine=self.engine.is_neural_engine(name)) for name in self.engine.places()
        ]
        self.places = places
        self.cells = matrix.load(self.matrix_path, places)
        self.candidate = candidate.identify(lowering)
        # coremltools collects garbage in every conversion and would walk everything that torch and it loaded.
        gc.freeze()
        self.controls = Path(option.mish_controls)
        self.controls_error = _controls_error(self.controls)
        self.measurements: dict[str, Measurement] = {}

    def bench(self, folder: Path) -> Bench:
        """A bench for this run that keeps its packages in `folder`."""
        return Bench(self.engine, self.candidate.lowering, folder, self.controls, self.cells)

    def run(self) -> Run:
        """Everything but the tests of the results file."""
        return Run(
            candidate=self.candidate,
            engine=self.engine.name,
            device=self.engine.device(),
            neural_engines=tuple(place.name for place in self.places if place.is_neural_engine),
            matrix_sha256=matrix.digest(self.matrix_path),
            expected=tuple(str(cell.key) for cell in self.cells),
            measurements=self.measurements,
            created=dt.datetime.now(dt.timezone.utc).replace(microsecond=0).isoformat(),
            controls_error=self.controls_error,
        )


def _controls_error(folder: Path) -> str | None:
    try:
        controls.verify(folder)
    except MachineError as error:
        return str(error)
    return None
