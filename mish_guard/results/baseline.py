"""Baselines: stored measurements of one engine at one place. Find, load, replace.

A baseline is readable in a diff: one cell per line. It is replaced by `mish-guard refresh --reason` and by nothing
else.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mish_guard import files
from mish_guard.errors import MissingBaselineError, UnreadableFileError
from mish_guard.records import Document, EngineName, Measurement, Run
from mish_guard.results import run_file

SHIPPED = files.DATA / "baselines"

# What a baseline does not keep of its candidate: where it lay, where in it the converter stood, and its patch.
_UNSTORED = ("path", "diff", "converter_line")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The stored cells of one place, with who measured them, on what, when and why."""

    path: str
    provenance: Document
    cells: Mapping[str, Measurement]


def path_of(folder: Path, engine: EngineName, place: str, device: Document) -> Path:
    """The file of one place: engine and profile, or engine, device and compute unit."""
    key = device.get("baseline_key")
    return folder / ("-".join(part for part in (engine.value, key, place) if part) + ".json")


def load_for(run: Run, folder: Path, base: Path | None = None) -> dict[str, Baseline]:
    """The baseline of every place the run measured, by place; a place without a file is left out.

    `base` is the folder of the branch that a change is proposed for: what it knows of a cell counts, and `folder` only
    adds cells that it does not know of a place that it knows. So a change cannot move what it is compared with. Raises
    MissingBaselineError for a `base` without any baseline, UnreadableFileError for one in which any file is none.
    """
    if base is not None and not any(base.glob("*.json")):
        msg = f"'{base}' holds no baseline of the base branch. Check that branch out there, or leave the option out."
        raise MissingBaselineError(msg)
    places = sorted({measurement.key.place for measurement in run.measurements.values()})
    paths = {place: path_of(folder, run.engine_at(place), place, run.device_at(place)) for place in places}
    own = {place: load(path) for place, path in paths.items() if path.exists()}
    if base is None:
        return own
    load_all(base)
    return _joined(load_for(run, base), own)


def load_all(folder: Path) -> dict[str, Baseline]:
    """Every baseline of a folder by the name of its file; a folder that is not there holds none."""
    return {path.stem: load(path) for path in sorted(folder.glob("*.json"))}


def _joined(base: Mapping[str, Baseline], own: Mapping[str, Baseline]) -> dict[str, Baseline]:
    joined = dict(base)
    for place in base.keys() & own.keys():
        joined[place] = replace(base[place], cells={**own[place].cells, **base[place].cells})
    return joined


def load(path: Path) -> Baseline:
    """The baseline in a file; raises MissingBaselineError or UnreadableFileError."""
    if not path.exists():
        msg = f"There is no baseline '{path}'. Measure one: mish-guard refresh --reason '…'"
        raise MissingBaselineError(msg)
    document = files.read_json(path)
    body = run_file.opened(document, path)
    files.validate(document, "baseline", path)
    cells = {key: run_file.measurement_from_json(cell) for key, cell in body["cells"].items()}
    cells = run_file.with_figures(cells, path)
    wrong = next((key for key, cell in cells.items() if str(cell.key) != key), None)
    if wrong is not None:
        msg = f"'{path}' files the cell {cells[wrong].key} under '{wrong}'. Restore it from version control."
        raise UnreadableFileError(msg)
    return Baseline(path=str(path), provenance=body["provenance"], cells=cells)


def judged_cells(run: Run, place: str) -> dict[str, Measurement]:
    """The cells of one place that a baseline holds: all but the controls, which judge the engine.

    How long they took is left out: it is nothing to compare with.
    """
    return {
        key: replace(measurement, times=None)
        for key, measurement in sorted(run.measurements.items())
        if measurement.key.place == place and not measurement.key.role.is_control
    }


def text_of(run: Run, place: str, *, reason: str, repeats: int) -> str:
    """A baseline file for one place of a run, one cell per line."""
    now = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
    document = run_file.sealed(
        {
            "provenance": {
                "candidate": {key: value for key, value in asdict(run.candidate).items() if key not in _UNSTORED},
                "created": now.isoformat(),
                "device": dict(run.device_at(place)),
                "engine": run.engine_at(place).value,
                "matrix_sha256": run.matrix_sha256,
                "reason": reason,
                "repeats": repeats,
                "place": place,
            },
            "cells": {key: run_file.measurement_to_json(cell) for key, cell in judged_cells(run, place).items()},
        }
    )
    cells = ",\n".join(f'  "{key}": {files.canonical_json(cell)}' for key, cell in document.pop("cells").items())
    head = "".join(f' "{key}": {files.canonical_json(value)},\n' for key, value in document.items())
    return f'{{\n{head} "cells": {{\n{cells}\n }}\n}}\n'
