"""One session of the court: who is judged, with which engine, which cells, and what has been measured so far."""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mish_guard import files, processes
from mish_guard.candidate import identify, locate
from mish_guard.convert.witnesses import Interpreter, Witnesses
from mish_guard.engines import registry
from mish_guard.errors import ConversionError, MachineError
from mish_guard.matrix import plan, remembered, run
from mish_guard.matrix.measurer import Measurer
from mish_guard.matrix.order import Order
from mish_guard.matrix.plan import Cell, Place
from mish_guard.models import controls, lowerings, networks
from mish_guard.records import Against, Candidate, EngineName, EnginePlace, Measurement, Run
from mish_guard.results import curves, run_file


class Session:
    """What one matrix run needs and what it has measured.

    Raises UsageError for an order that makes no sense, MachineError for an engine or a candidate that is not there.
    """

    def __init__(self, order: Order, option: Any) -> None:
        if order.lowering != lowerings.AS_IS:
            lowerings.get(order.lowering)
        self._order = order
        self._results: Path = option.mish_results
        self._rungs: Path = option.mish_rungs or self._results.with_name(remembered.NAME)
        self._key = None if option.mish_key is None else run.read_key(option.mish_key)
        self._matrix = order.matrix or plan.DEFAULT
        self._engine = registry.create(order.engine, order.places)
        self.places = [
            Place(name=name, is_neural_engine=self._engine.is_neural_engine(name)) for name in self._engine.places()
        ]
        self._who = locate.interpreter(order.candidate)
        self.candidate = identify.identify(self._who, order.lowering)
        offered = locate.offered(Path(self.candidate.path))
        self.cells = plan.chosen(plan.load(self._matrix, self.places, offered), order.only)
        for name in {cell.key.case for cell in self.cells}:
            networks.case(name)
            own = networks.own(name)
            if own is not None:
                own.check()
        # The collector would walk everything that torch loaded, over and over.
        gc.freeze()
        self._code = _code_digest()
        self._controls_error = _controls_error(order.controls)
        self._base = None if order.against is None else locate.interpreter(order.against)
        # What the files were before anybody converted with them.
        self._found = [(self._who, self.candidate)]
        if self._base is not None:
            self._found.append((self._base, identify.identify(self._base, lowerings.AS_IS)))
        self.measurements: dict[str, Measurement] = {}
        self._base_measurements: dict[str, Measurement] = {}
        self._against: Against | None = None
        self._measurer: Measurer | None = None
        self._base_measurer: Measurer | None = None
        self._conversions = 0
        self._notes: list[str] = []

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Witnesses of the candidate, and of the tree that it is judged against, live as long as this."""
        first, note = remembered.load(self._rungs, self._machine_key())
        self._notes += [note] if note else []
        with self._witnesses(self._who) as witnesses, self._witnesses(self._base) as others:
            assert witnesses is not None
            self._measurer = self._measurer_of(witnesses, self._order.lowering, first)
            if others is not None:
                self._base_measurer = self._measurer_of(others, lowerings.AS_IS, first)
            yield
            self.candidate = self._as_told(self.candidate, witnesses)
            self._conversions = witnesses.conversions
            if others is not None:
                (_, base) = self._found[-1]
                told = self._as_told(base, others)
                self._against = Against(candidate=told, measurements=self._base_measurements)

    def measure(self, cell: Cell) -> Measurement:
        """The measurement of a cell, which is kept; of the tree that it is judged against too, but for controls."""
        assert self._measurer is not None
        measured = self._measurer.measure(cell)
        self.measurements[str(cell.key)] = measured
        if self._base_measurer is not None and not cell.key.role.is_control:
            self._base_measurements[str(cell.key)] = self._base_measurer.measure(cell)
        return measured

    @contextlib.contextmanager
    def _witnesses(self, who: Interpreter | None) -> Iterator[Witnesses | None]:
        if who is None:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="mish-guard-", ignore_cleanup_errors=True) as folder:
            mark, jobs, seconds = processes.new_mark(), self._order.jobs, self._order.seconds
            with contextlib.closing(Witnesses(who, Path(folder), mark=mark, jobs=jobs, seconds=seconds)) as witnesses:
                yield witnesses

    def _measurer_of(self, witnesses: Witnesses, lowering: str, first: Mapping[str, str]) -> Measurer:
        controls_folder = self._order.controls
        return Measurer(self._engine, lowering, witnesses, controls_folder, self.cells, first_rungs=first)

    def remember(self) -> str | None:
        """Keep the rungs that worked for the next run on this machine; why they could not be kept, if so."""
        worked = {} if self._measurer is None else self._measurer.ladder.worked()
        return remembered.store(self._rungs, self._machine_key(), worked)

    def write(self, report: Mapping[str, Any]) -> None:
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

    def _as_told(self, candidate: Candidate, witnesses: Witnesses) -> Candidate:
        """A tree with what its witnesses say of themselves; as it was found where they cannot import it."""
        try:
            return identify.as_told(candidate, witnesses.hello)
        except ConversionError:
            return candidate
        except MachineError as error:
            self._notes.append(str(error))
            return candidate

    def _broken(self) -> str | None:
        """Why this run proves nothing: something that it rests on changed while it ran."""
        if _controls_error(self._order.controls) != self._controls_error:
            return "the stored controls changed while the run was going on"
        if _code_digest() != self._code:
            return "the gate's own files changed while the run was going on"
        if not all(identify.still(candidate, who) for who, candidate in self._found):
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
