"""The routing ladders of a run in text: which shapes were measured, and the plan where no shape was taken."""

from __future__ import annotations

from collections.abc import Iterator

from mish_guard.judge.rules import unplaced_ladders
from mish_guard.records import Attempt, Run
from mish_guard.report import table


def shapes(run: Run) -> dict[str, str]:
    """The rung on which the cells of each ladder were measured, by ladder; empty where nothing climbs."""
    measured = ((each.ladder, run.measurements.get(each.cell)) for each in run.attempts)
    return {ladder: cell.rung for ladder, cell in measured if cell is not None and cell.rung is not None}


def lines(run: Run) -> Iterator[str]:
    """For every ladder without a rung that took all: each operation of each model, and its device on every rung."""
    for ladder in unplaced_ladders(run):
        attempts = [each for each in run.attempts if each.ladder == ladder]
        yield ""
        yield f"the plan of Core ML for {ladder}: {_why(attempts[-1])}"
        for cell in dict.fromkeys(each.cell for each in attempts):
            yield f"  {cell}"
            yield from _cell_lines([each for each in attempts if each.cell == cell])


def _why(last: Attempt) -> str:
    """Why the climb ended: a model that fails, or of which no plan tells, ends it on the spot."""
    if last.is_refused:
        return "no shape that was offered is placed on the Neural Engine"
    what = "failed" if last.failure else "has no known device"
    return f"{last.cell} {what} at {last.rung}, so no other shape was offered"


def _cell_lines(attempts: list[Attempt]) -> Iterator[str]:
    """The plan of one model; it has the same operations on every rung, if not always under the same names."""
    planned = [each for each in attempts if each.operations]
    rows: dict[int, list[str]] = {}
    for column, attempt in enumerate(planned):
        for number, placed in enumerate(attempt.operations):
            row = rows.setdefault(number, [placed.op, placed.name, *("-" for _ in planned)])
            row[2 + column] = placed.device.value
    if rows:
        drawn = table.render(("op", "name", *(each.rung for each in planned)), rows.values())
        yield from (f"      {line}" for line in drawn.splitlines())
    yield from (f"      at {each.rung}: {each.failure}" for each in attempts if each.failure)
