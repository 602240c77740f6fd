"""Climb the routing ladders: on which rung the cells of a run are measured at a real Neural Engine.

All cells that share a ladder and a place share a rung: controls that were caught in another shape than the
candidate's would prove nothing about it. The rung is the first on which the plan puts the activations of the first
cell that asks, of both controls and of the candidate on the Neural Engine; without one, the rung that took most of
them. A model that fails, or of which no plan tells anything, ends the climb: other shapes are no answer to that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from mish_guard.engines.base import Engine, Execution
from mish_guard.errors import GuardError
from mish_guard.matrix.plan import Cell
from mish_guard.models import networks
from mish_guard.models.shapes import LADDERS, Rung
from mish_guard.records import Attempt, Backend, CellKey, Role

_JUDGES = (Role.NEGATIVE_CONTROL, Role.CANDIDATE, Role.POSITIVE_CONTROL)

# What the Neural Engine takes: fp32 tensors stay on the CPU whatever their shape
# (https://github.com/freedomtan/coreml_modelc_profling), a neural network runs in half precision.
_HALF = frozenset({Backend.MLPROGRAM_FP16, Backend.NEURALNETWORK})

# Runs the model of a cell on a rung; raises GuardError.
Try = Callable[[CellKey, Rung], Execution]


class Ladder:
    """The rungs of one run, decided at most once for each ladder and place.

    `first` is the rung by ladder that worked on this machine before: it is offered first, and believed only if the
    plan says so again.
    """

    def __init__(self, engine: Engine, cells: Sequence[Cell], run: Try, first: Mapping[str, str]) -> None:
        self._engine = engine
        self._cells = cells
        self._run = run
        self._first = first
        self._chosen: dict[tuple[str, str], Rung] = {}
        self.attempts: list[Attempt] = []

    def rung(self, key: CellKey) -> Rung | None:
        """The rung on which to measure a cell; None for a cell that does not climb."""
        ladder = networks.case(key.case).ladder
        if ladder is None or not self._climbs(key):
            return None
        spot = (ladder, key.place)
        if spot not in self._chosen:
            self._chosen[spot] = self._climb(ladder, key)
        return self._chosen[spot]

    def worked(self) -> dict[str, str]:
        """The rung of each ladder on which every model that was offered was placed."""
        refused = {(each.ladder, each.rung) for each in self.attempts if not each.is_placed}
        chosen = ((ladder, str(rung)) for (ladder, _), rung in self._chosen.items())
        return {ladder: rung for ladder, rung in chosen if (ladder, rung) not in refused}

    def _climbs(self, key: CellKey) -> bool:
        is_real = self._engine.is_hardware(key.place) and self._engine.is_neural_engine(key.place)
        return is_real and key.backend in _HALF

    def _climb(self, ladder: str, key: CellKey) -> Rung:
        judges = tuple(self._judges(ladder, key))
        rungs = _order(ladder, self._first.get(ladder))
        placed = dict.fromkeys(rungs, 0)
        for rung in rungs:
            made = self._offer(ladder, rung, judges)
            placed[rung] = sum(each.is_placed for each in made)
            if not made[-1].is_refused:
                break
        # The first of equals, so that a machine that takes nothing is measured as declared.
        return max(rungs, key=lambda rung: placed[rung])

    def _judges(self, ladder: str, key: CellKey) -> Iterator[CellKey]:
        """The cell that asks, then the first of each role that shares its ladder and place; known gaps are none."""
        yield key
        for role in _JUDGES:
            for cell in self._cells:
                found = cell.key
                shares = (found.role, found.place, networks.case(found.case).ladder) == (role, key.place, ladder)
                if shares and self._climbs(found) and cell.known_gap is None:
                    if found != key:
                        yield found
                    break

    def _offer(self, ladder: str, rung: Rung, judges: Sequence[CellKey]) -> list[Attempt]:
        """What the plan says of each judge on a rung, up to the first that it does not place."""
        made: list[Attempt] = []
        for judge in judges:
            made.append(self._attempt(ladder, rung, judge))
            if not made[-1].is_placed:
                break
        self.attempts += made
        return made

    def _attempt(self, ladder: str, rung: Rung, judge: CellKey) -> Attempt:
        attempt = Attempt(ladder=ladder, rung=str(rung), cell=str(judge), activation="unknown")
        try:
            execution = self._run(judge, rung)
        except GuardError as error:
            return dataclasses.replace(attempt, failure=str(error))
        return dataclasses.replace(attempt, activation=execution.placement.activation, operations=execution.operations)


def _order(ladder: str, first: str | None) -> list[Rung]:
    """The rungs of a ladder, the one called `first` before the others; a name that is none of them is ignored."""
    return sorted(LADDERS[ladder], key=lambda rung: str(rung) != first)
