"""The measurer: has each model converted once, runs it at every place, and measures. It judges nothing."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mish_guard.convert.recipes import Recipe
from mish_guard.convert.witnesses import Witnesses
from mish_guard.engines.base import Engine, Execution
from mish_guard.engines.emulator import bounds, profiles
from mish_guard.engines.emulator.package import load
from mish_guard.engines.emulator.sequence import between, spelled
from mish_guard.errors import ConversionError, GuardError, ModelError, NotComparableError, UnreadableFileError
from mish_guard.matrix import instrument
from mish_guard.matrix.plan import Cell
from mish_guard.matrix.shape_search import Ladder
from mish_guard.matrix.spot import spot
from mish_guard.models import controls, lowerings, networks
from mish_guard.models.roads import RoadCase
from mish_guard.models.shapes import Rung
from mish_guard.numerics import ceiling, reference
from mish_guard.records import Backend, CellKey, Covered, Culprit, Failure, Family, Figures, Measurement, Role, Stage
from mish_guard.results.curves import Curves, Half, Trace

# Where the operations of a good cell are looked at: the first input at which softplus is 0 on the Neural Engine.
_TRACED = 10.3984375


class Sequenced(NamedTuple):
    """What a road's model does with mish, and what else must be the same for one cell to cover another."""

    place: str
    backend: Backend
    text: str


class Measurer:
    """Measures cells with one engine and the packages of one candidate's witnesses.

    `cells` are those to be measured, so that their models can be converted ahead; `judges` those that decide on which
    rung a routing ladder is left (none given: the same), `first_rungs` the rung by ladder that is offered first.
    """

    def __init__(
        self,
        engine: Engine,
        lowering: str,
        witnesses: Witnesses,
        controls_folder: Path,
        cells: Sequence[Cell] = (),
        *,
        judges: Sequence[Cell] = (),
        first_rungs: Mapping[str, str] | None = None,
    ) -> None:
        self._engine = engine
        self._lowering = lowering
        self._controls = controls_folder
        self._witnesses = witnesses
        witnesses.plan([self._recipe(cell.key) for cell in cells if not cell.key.role.is_control])
        self._outputs: dict[str, Half] = {}
        self._traces: dict[str, Trace] = {}
        self._bars: dict[str, Mapping[str, float]] = {}
        self._bounded: dict[tuple[str, str], Mapping[str, float]] = {}
        # The branches of a net lie one after another.
        self._load = functools.lru_cache(maxsize=1)(load)
        self._swept: dict[Sequenced, Measurement] = {}
        self.covered: list[Covered] = []
        self._climbed: dict[tuple[CellKey, Rung], Execution | GuardError] = {}
        self.ladder = Ladder(engine, judges or cells, self._climb, first_rungs or {})

    def measure(self, cell: Cell) -> Measurement:
        """The measurement of one cell; what fails on the way becomes its failure."""
        rung = self.ladder.rung(cell.key)
        shape = None if rung is None else str(rung)
        measured_by = instrument.of(cell.key, shape)
        blank = Measurement(key=cell.key, known_gap=cell.known_gap, rung=shape, instrument=measured_by)
        case = self.case(cell.key)
        try:
            package = self.package(cell.key)
        except (GuardError, OSError, MemoryError) as error:
            stage = Stage.CONVERT if isinstance(error, ConversionError) else Stage.MACHINE
            return dataclasses.replace(blank, failure=Failure(stage=stage, reason=str(error)))
        try:
            sequence = self._sequence(cell.key, case, package)
            if sequence in self._swept:
                return self._as_swept(cell, sequence)
            execution = self._execute(cell.key, package) if rung is None else self._climb(cell.key, rung)
            figures = case.figures(execution.predictions)
            measured = dataclasses.replace(
                blank,
                figures=figures,
                assumptions=resting_on(case, execution, figures),
                placement=execution.placement,
                repeats_agree=execution.repeats_agree,
                times=execution.times,
                inexact=_inexact(case, execution),
            )
        except (GuardError, OSError, MemoryError) as error:
            reason = str(error) or type(error).__name__
            return dataclasses.replace(blank, failure=Failure(stage=_stage(error), reason=reason))
        self._keep(measured, package, case, execution)
        measured = dataclasses.replace(measured, culprit=self._culprit(measured, package, case))
        if sequence is not None:
            self._swept[sequence] = measured
        return measured

    def _as_swept(self, cell: Cell, sequence: Sequenced) -> Measurement:
        """What a cell with the same sequence gave in this run."""
        swept = self._swept[sequence]
        ops = "; ".join(sequence.text.splitlines())
        self.covered.append(Covered(road=str(cell.key), ops=ops, covered_by=str(swept.key)))
        return dataclasses.replace(swept, key=cell.key, known_gap=cell.known_gap, covered_by=str(swept.key), times=None)

    def _sequence(self, key: CellKey, case: networks.Case, package: Path) -> Sequenced | None:
        """What the model of a road does from the input of mish to its output, at this place; None for other cells.

        None too where the model cannot be read or mish cannot be told apart in it: such a cell is swept.
        """
        if not isinstance(case, RoadCase) or case.branch.mixes:
            return None
        try:
            graph = self._load(package)
            text = between(graph, graph.outputs[case.output], case.probes())
        except (GuardError, LookupError):
            return None
        return None if text is None else Sequenced(key.place, key.backend, text)

    @property
    def curves(self) -> Curves:
        """What a report draws: the outputs of the sweeps that were measured, and their operations at one input."""
        return Curves(outputs=self._outputs, traces=self._traces, bars=self._bars)

    def case(self, key: CellKey) -> networks.Case:
        """The case of a cell, on the rung on which it is measured.

        Hardware may carry no input of a sweep exactly; it is judged by what entered mish. The emulator carries all.
        """
        found = _on(networks.case(key.case), self.ladder.rung(key))
        if isinstance(found, networks.SweepCase) and self._engine.is_hardware(key.place):
            return dataclasses.replace(found, by_what_entered=True)
        return found

    def package(self, key: CellKey) -> Path:
        """The saved model of a cell, converted on first use; raises ConversionError, or MachineError for a control."""
        return self._package(key, self.ladder.rung(key))

    def _keep(self, measured: Measurement, package: Path, case: networks.Case, execution: Execution) -> None:
        key = measured.key
        if key.family is not Family.SWEEP or key.role is Role.GRAFT or not isinstance(case, networks.SweepCase):
            return
        self._outputs[str(key)] = case.outputs(execution.predictions)
        here = spot(case, measured, None if measured.figures and measured.figures.bad_intervals else _TRACED)
        steps = self._engine.trace(package, case.feeds()[here.feed], key.place, here.place)
        if steps:
            self._traces[str(key)] = Trace(x=here.x, steps=tuple(steps))
        bars = self._allowed(key, package, case)
        if bars:
            self._bars[str(key)] = bars

    def _allowed(self, key: CellKey, package: Path, case: networks.SweepCase) -> Mapping[str, float]:
        """The error bars of mish at an emulated Neural Engine; none elsewhere: hardware is measured, not bounded."""
        profile = profiles.PROFILES.get(key.place)
        if profile is None or not profile.is_neural_engine or case.want is not reference.mish:
            return {}
        graph = self._load(package)
        source, target = (graph.inputs[0].name, graph.outputs[0]) if case.kernel is None else graph.outputs[:2]
        part = bounds.between(graph, source, target)
        try:
            alike = key.place, spelled(part, part.nodes, source)
        except LookupError:
            return {}
        if alike not in self._bounded:
            self._bounded[alike] = bounds.bars(part, profile)
        return self._bounded[alike]

    def _package(self, key: CellKey, rung: Rung | None) -> Path:
        if key.role.is_control:
            return controls.stored_package(key.role, _on(networks.case(key.case), rung).model, self._controls)
        return self._witnesses.package(self._recipe(key, rung))

    def _execute(self, key: CellKey, package: Path, rung: Rung | None = None) -> Execution:
        case = _on(networks.case(key.case), rung)
        return self._engine.run(package, case.feeds(), key.place, case.output)

    def _climb(self, key: CellKey, rung: Rung) -> Execution:
        """A cell on a rung, executed once however often it is asked for; raises again what it raised."""
        if (key, rung) not in self._climbed:
            try:
                self._climbed[key, rung] = self._execute(key, self._package(key, rung), rung)
            except GuardError as error:
                self._climbed[key, rung] = error
        found = self._climbed[key, rung]
        if isinstance(found, GuardError):
            raise found
        return found

    def _recipe(self, key: CellKey, rung: Rung | None = None) -> Recipe:
        return Recipe(
            model=_on(networks.case(key.case), rung).model,
            lowering=lowerings.SHIPPED if key.role is Role.GRAFT else self._lowering,
            frontend=key.frontend,
            backend=key.backend,
            case=key.case,
            rung=rung,
            own=networks.own(key.case),
        )

    def _culprit(self, measured: Measurement, package: Path, case: networks.Case) -> Culprit | None:
        figures = measured.figures
        if figures is None or ceiling.is_within(figures):
            return None
        here = spot(case, measured)
        return self._engine.first_wrong(package, case.feeds()[here.feed], measured.key.place, here.place, case.output)


def _inexact(case: networks.Case, execution: Execution) -> int | None:
    return (case.inexact(execution.predictions) or None) if isinstance(case, networks.SweepCase) else None


def resting_on(case: networks.Case, execution: Execution, figures: Figures) -> tuple[str, ...]:
    """The assumptions without which a cell that is inside the ceiling would not be; none for one that is outside."""
    if not ceiling.is_within(figures):
        return ()
    readings = {name: case.figures(read()) for name, read in execution.readings.items()}
    return tuple(name for name, read in readings.items() if not ceiling.is_within(read))


def _stage(error: Exception) -> Stage:
    """Whose failure it is: what the machine lacks is never the tree's."""
    if isinstance(error, ModelError):
        return Stage(error.stage)
    if isinstance(error, UnreadableFileError):
        return Stage.LOAD
    if isinstance(error, NotComparableError):
        return Stage.PREDICT
    return Stage.ENGINE if isinstance(error, GuardError) else Stage.MACHINE


def _on(case: networks.Case, rung: Rung | None) -> networks.Case:
    return case if rung is None else case.on(rung)
