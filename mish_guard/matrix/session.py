"""One session of the court: who is judged, with which engine, which cells, and what has been measured so far."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path

from mish_guard import files
from mish_guard.candidate import locate
from mish_guard.engines.base import Engine
from mish_guard.errors import MachineError
from mish_guard.matrix import plan, remembered, run
from mish_guard.matrix.measurer import Measurer
from mish_guard.matrix.order import Order
from mish_guard.matrix.parties import Parties, Party
from mish_guard.matrix.plan import Cell, Place
from mish_guard.models import controls, networks
from mish_guard.records import Against, Candidate, Document, EngineName, EnginePlace, Measurement, Run
from mish_guard.results import curves, run_file


class Session:
    """What one matrix run needs and what it has measured.

    Raises UsageError for a matrix, or cells of it, that the order names and that there are not.
    """

    def __init__(self, order: Order, option: argparse.Namespace, engine: Engine, parties: Parties) -> None:
        self._order = order
        self._results: Path = option.mish_results
        self._rungs: Path = option.mish_rungs or self._results.with_name(remembered.NAME)
        self._key = None if option.mish_key is None else run.read_key(option.mish_key)
        self._matrix = order.matrix or plan.DEFAULT
        self._engine = engine
        self.places = [
            Place(name=name, is_neural_engine=self._engine.is_neural_engine(name)) for name in self._engine.places()
        ]
        self._parties = parties
        self.candidate = parties.candidate.found
        offered = locate.offered(Path(self.candidate.path))
        self.cells = plan.chosen(plan.load(self._matrix, self.places, offered), order.only)
        for name in {cell.key.case for cell in self.cells}:
            networks.case(name)
            own = networks.own(name)
            if own is not None:
                own.check()
        self._code = _code_digest()
        self._controls_error = _controls_error(order.controls)
        self.measurements: dict[str, Measurement] = {}
        self._base_measurements: dict[str, Measurement] = {}
        self._against: Against | None = None
        self._measurer: Measurer | None = None
        self._base_measurer: Measurer | None = None
        self._conversions = 0
        self._notes: list[str] = []

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """The witnesses convert for as long as this lasts."""
        first, note = remembered.load(self._rungs, self._machine_key())
        self._notes += [note] if note else []
        candidate, base = self._parties.candidate, self._parties.base
        with contextlib.closing(self._parties):
            self._measurer = self._measurer_of(candidate, first)
            if base is not None:
                self._base_measurer = self._measurer_of(base, first)
            yield
            self.candidate = self._as_told(candidate)
            self._conversions = candidate.witnesses.conversions
            if base is not None:
                self._against = Against(candidate=self._as_told(base), measurements=self._base_measurements)

    def measure(self, cell: Cell) -> Measurement:
        """The measurement of a cell, which is kept; of the tree that it is judged against too, but for controls."""
        assert self._measurer is not None
        measured = self._measurer.measure(cell)
        self.measurements[str(cell.key)] = measured
        if self._base_measurer is not None and not cell.key.role.is_control:
            self._base_measurements[str(cell.key)] = self._base_measurer.measure(cell)
        return measured

    def _measurer_of(self, party: Party, first: Mapping[str, str]) -> Measurer:
        controls_folder = self._order.controls
        return Measurer(self._engine, party.lowering, party.witnesses, controls_folder, self.cells, first_rungs=first)

    def remember(self) -> str | None:
        """Keep the rungs that worked for the next run on this machine; why they could not be kept, if so."""
        worked = {} if self._measurer is None else self._measurer.ladder.worked()
        return remembered.store(self._rungs, self._machine_key(), worked)

    def write(self, report: Document) -> None:
        """Write the results, sealed where the parent of this court gave it a key."""
        run_file.write_run(self._results, report)
        if self._measurer is not None:
            files.write_atomically(self._results.with_suffix(run.CURVES), curves.text_of(self._measurer.curves))
        if self._key is not None:
            seal = run.seal(self._key, self._results.read_bytes())
            files.write_atomically(self._results.with_suffix(run.SEAL), seal)

    def run(self) -> Run:
        """Everything but the tests of the results file."""
        return Run(
            candidate=self.candidate,
            engines=self._places(),
            matrix_sha256=plan.digest(self._matrix),
            expected=tuple(str(cell.key) for cell in self.cells),
            measurements=self.measurements,
            created=dt.datetime.now(dt.timezone.utc).replace(microsecond=0).isoformat(),
            controls_error=self._controls_error,
            partial=self._order.only,
            attempts=() if self._measurer is None else tuple(self._measurer.ladder.attempts),
            notes=(*self._notes, *self._noted()),
            covered=() if self._measurer is None else tuple(self._measurer.covered),
            broken=self._broken(),
            against=self._against,
            conversions=self._conversions,
        )

    def _noted(self) -> list[str]:
        """What an engine, or each of several, had to say of its device."""
        device = self._engine.device()
        devices = [device, *(each for each in device.values() if isinstance(each, Mapping))]
        return [note for each in devices for note in each.get("notes", ())]

    def _as_told(self, party: Party) -> Candidate:
        candidate, complaint = party.as_told()
        self._notes += [complaint] if complaint else []
        return candidate

    def _broken(self) -> str | None:
        """Why this run proves nothing: something that it rests on changed while it ran."""
        if _controls_error(self._order.controls) != self._controls_error:
            return "the stored controls changed while the run was going on"
        if _code_digest() != self._code:
            return "the gate's own files changed while the run was going on"
        if not all(party.is_as_found for party in self._parties):
            return "the files of the candidate changed while the run was going on"
        return None

    def _machine_key(self) -> str | None:
        """The key of the machine whose Neural Engine this run uses; None where it uses none."""
        real = [each.device for each in self._places().values() if each.is_neural_engine and each.is_hardware]
        return remembered.machine_key(real[0]) if real else None

    def _places(self) -> dict[str, EnginePlace]:
        """Every place with the engine that it belongs to."""
        device, named = self._engine.device(), self._engine.engines()
        return {
            place.name: EnginePlace(
                engine=EngineName(named.get(place.name, self._engine.name)),
                device=device[named[place.name]] if named else device,
                is_hardware=self._engine.is_hardware(place.name),
                is_neural_engine=place.is_neural_engine,
            )
            for place in self.places
        }


def _controls_error(folder: Path) -> str | None:
    try:
        controls.verify(folder)
    except MachineError as error:
        return str(error)
    return None


def _code_digest() -> str:
    """The sha256 over the gate's own Python, by path and content."""
    root = files.DATA.parent
    return files.sha256("".join(f"{path}\0{path.read_text()}" for path in sorted(root.rglob("*.py"))))
