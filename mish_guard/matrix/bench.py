"""The bench: converts each model once, runs it at every place, and measures. It judges nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mish_guard import controls, explain, limits, lowerings, modules
from mish_guard.engines import Engine
from mish_guard.errors import ConversionError, GuardError
from mish_guard.matrix import Cell
from mish_guard.matrix.conversions import Conversions, Recipe
from mish_guard.model import CellKey, Culprit, Failure, Measurement, Role


class Bench:
    """Measures cells with one engine and one candidate lowering; keeps packages in `folder`.

    `cells` are those to be measured, so that their models can be converted ahead.
    """

    def __init__(
        self, engine: Engine, lowering: str, folder: Path, controls_folder: Path, cells: Sequence[Cell] = ()
    ) -> None:
        self._engine = engine
        self._lowering = lowering
        self._controls = controls_folder
        recipes = [self._recipe(cell.key) for cell in cells if not cell.key.role.is_control]
        self._conversions = Conversions(recipes, folder)

    def measure(self, cell: Cell) -> Measurement:
        """The measurement of one cell; what fails on the way becomes its failure."""
        blank = Measurement(key=cell.key, known_gap=cell.known_gap)
        case = modules.case(cell.key.case)
        try:
            package = self.package(cell.key)
            execution = self._engine.run(package, case.feeds(), cell.key.where)
            measured = dataclasses.replace(
                blank,
                figures=case.figures(execution.predictions),
                placement=execution.placement,
                repeats_agree=execution.repeats_agree,
            )
        except ConversionError as error:
            return dataclasses.replace(blank, failure=Failure(stage="convert", reason=str(error)))
        except GuardError as error:
            return dataclasses.replace(blank, failure=Failure(stage="engine", reason=str(error)))
        return dataclasses.replace(measured, culprit=self._culprit(measured, package, case))

    def package(self, key: CellKey) -> Path:
        """The saved model of a cell, converted on first use; raises ConversionError, or MachineError for a control."""
        case = modules.case(key.case)
        if key.role.is_control:
            return controls.stored_package(key.role, case.model, self._controls)
        return self._conversions.package(self._recipe(key))

    def close(self) -> None:
        """Stop what still converts ahead."""
        self._conversions.close()

    def _recipe(self, key: CellKey) -> Recipe:
        return Recipe(
            model=modules.case(key.case).model,
            lowering=lowerings.SHIPPED if key.role is Role.GRAFT else self._lowering,
            frontend=key.frontend,
            backend=key.backend,
            case=key.case,
        )

    def _culprit(self, measured: Measurement, package: Path, case: modules.Case) -> Culprit | None:
        figures = measured.figures
        if figures is None or limits.is_within(figures):
            return None
        interval = explain.main_interval(measured)
        located = None if interval is None else case.locate(interval.first)
        feed, place = located if located is not None else (0, None)
        return self._engine.first_wrong(package, case.feeds()[feed], measured.key.where, place)
