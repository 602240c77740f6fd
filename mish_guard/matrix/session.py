"""One matrix run: who is judged, with which engine, which cells, and what has been measured so far."""

from __future__ import annotations

import datetime as dt
import gc
from pathlib import Path

import pytest

from mish_guard.candidate import identify
from mish_guard.engines import registry
from mish_guard.errors import MachineError
from mish_guard.matrix import plan, remembered
from mish_guard.matrix.measurer import Bench
from mish_guard.matrix.plan import Place
from mish_guard.models import controls, lowerings
from mish_guard.records import Measurement, Run


class Session:
    """What one matrix run needs and what it has measured."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.option
        lowering = option.mish_lowering
        if lowering != lowerings.AS_IS:
            lowerings.get(lowering)
        self.matrix_path = Path(option.mish_matrix or plan.DEFAULT)
        self.results_path = Path(option.mish_results)
        self.engine = registry.create(option.mish_engine, option.mish_profile or ())
        places = [
            Place(name=name, is_neural_engine=self.engine.is_neural_engine(name)) for name in self.engine.places()
        ]
        self.places = places
        self.cells = plan.load(self.matrix_path, places)
        self.candidate = identify.identify(lowering)
        # coremltools collects garbage in every conversion and would walk everything that torch and it loaded.
        gc.freeze()
        self.controls = Path(option.mish_controls)
        self.controls_error = _controls_error(self.controls)
        self.measurements: dict[str, Measurement] = {}
        self._bench: Bench | None = None
        self._notes: list[str] = []

    def bench(self, folder: Path) -> Bench:
        """The bench of this run, which keeps its packages in `folder`."""
        first, note = remembered.load(self._rungs_path, self._machine_key())
        self._notes += [note] if note else []
        lowering = self.candidate.lowering
        self._bench = Bench(self.engine, lowering, folder, self.controls, self.cells, first_rungs=first)
        return self._bench

    def remember(self) -> str | None:
        """Keep the rungs that worked for the next run on this machine; why they could not be kept, if so."""
        worked = {} if self._bench is None else self._bench.ladder.worked()
        return remembered.store(self._rungs_path, self._machine_key(), worked)

    def run(self) -> Run:
        """Everything but the tests of the results file."""
        return Run(
            candidate=self.candidate,
            engine=self.engine.name,
            device=self.engine.device(),
            neural_engines=tuple(place.name for place in self.places if place.is_neural_engine),
            matrix_sha256=plan.digest(self.matrix_path),
            expected=tuple(str(cell.key) for cell in self.cells),
            measurements=self.measurements,
            created=dt.datetime.now(dt.timezone.utc).replace(microsecond=0).isoformat(),
            controls_error=self.controls_error,
            engines=self.engine.engines(),
            attempts=() if self._bench is None else tuple(self._bench.ladder.attempts),
            notes=tuple(self._notes),
        )

    @property
    def _rungs_path(self) -> Path:
        return self.results_path.with_name(remembered.NAME)

    def _machine_key(self) -> str | None:
        """The key of the machine whose Neural Engine this run uses; None where it uses none."""
        names = {**dict.fromkeys(self.engine.places(), self.engine.name), **self.engine.engines()}
        real = [name for name in names if self.engine.is_neural_engine(name) and self.engine.is_hardware(name)]
        if not real:
            return None
        device = self.engine.device()
        return remembered.machine_key(device[names[real[0]]] if self.engine.engines() else device)


def _controls_error(folder: Path) -> str | None:
    try:
        controls.verify(folder)
    except MachineError as error:
        return str(error)
    return None
