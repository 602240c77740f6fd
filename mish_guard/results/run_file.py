"""Runs and measurements ⇄ JSON.

A results file is the report of pytest-json-report with one section of ours; each test's `metadata` holds its
measurement. Half-precision inputs are stored as decimal and bits. `sha256` covers everything else in the file, so
that a truncated or edited file is an error and not a verdict.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mish_guard import files
from mish_guard.errors import OutdatedFileError, UnreadableFileError
from mish_guard.numerics import fp16
from mish_guard.records import (
    Against,
    Attempt,
    BadInterval,
    BinadeFigures,
    Candidate,
    CellKey,
    Covered,
    Culprit,
    Device,
    Document,
    EngineName,
    EnginePlace,
    Failure,
    Figures,
    Measurement,
    Placed,
    Placement,
    Run,
    Stage,
    Times,
    Worst,
)

SCHEMA_VERSION = 2

_S = TypeVar("_S")
_T = TypeVar("_T")


def sealed(document: Document) -> dict[str, Any]:
    """`document` with the schema version and the hash that `check_seal` expects."""
    body = {**document, "schema_version": SCHEMA_VERSION}
    return {**body, "sha256": files.sha256(files.canonical_json(body))}


def check_seal(document: object, path: Path) -> Document:
    """The document without its hash; raises UnreadableFileError if its version or its content is not as written."""
    return _unsealed(document, path)[0]


def opened(document: object, path: Path) -> Document:
    """A sealed document as `check_seal` gives it, with every text of it printable."""
    return _printable(*_unsealed(document, path))


def _printable(body: dict[str, object], text: str) -> Document:
    return body if files.is_printable_json(text) else dict(files.printable_document(body))


def _unsealed(document: object, path: Path) -> tuple[dict[str, object], str]:
    """The document without its hash, and the text that the hash is of."""
    if not isinstance(document, dict) or not isinstance(document.get("schema_version"), int):
        msg = f"'{path}' has no schema_version: it is not a file of mish-guard."
        raise UnreadableFileError(msg)
    version = document["schema_version"]
    if version > SCHEMA_VERSION:
        msg = (
            f"'{path}' has schema version {version}; this mish-guard reads up to {SCHEMA_VERSION}. Upgrade mish-guard."
        )
        raise UnreadableFileError(msg)
    if version < SCHEMA_VERSION:
        msg = f"'{path}' has schema version {version}; this mish-guard reads {SCHEMA_VERSION}. Measure again."
        raise OutdatedFileError(msg)
    body = {key: value for key, value in document.items() if key != "sha256"}
    text = files.canonical_json(body)
    if document.get("sha256") != files.sha256(text):
        msg = f"'{path}' was changed after it was written: its sha256 does not match. Measure again or restore it."
        raise UnreadableFileError(msg)
    return body, text


def write_run(path: Path, report: Document) -> None:
    """Write a results file atomically; `report` is pytest-json-report's, with the section made by `run_section`."""
    files.write_atomically(path, files.readable_json(sealed(report)))


def read_run(path: Path) -> Run:
    """The run in a results file; raises UnreadableFileError for anything but a complete file of this version."""
    document = files.read_json(path)
    unsealed, text = _unsealed(document, path)
    files.validate(document, "results", path)
    diff = document["mish_guard"]["candidate"]["diff"]
    # Its lines end in what is not printable, and it stays: whether anything else is not, the text without it tells.
    body = _printable(unsealed, text.replace(files.canonical_json(diff), "", 1))
    body["mish_guard"]["candidate"]["diff"] = diff  # of many lines; it is only ever written to a file of its own
    tests = [test["metadata"]["measurement"] for test in body["tests"] if "measurement" in test.get("metadata", {})]
    return run_from_json(body["mish_guard"], _by_key(tests, path), path)


def run_from_json(section: Document, measurements: Mapping[str, Measurement], path: Path) -> Run:
    """The run that `run_section` describes, with its measurements by key."""
    plain = ("broken", "controls_error", "conversions", "created", "matrix_sha256", "partial")
    return Run(
        **{name: section[name] for name in plain},
        candidate=Candidate(**section["candidate"]),
        engines={place: _place_from_json(each) for place, each in section["engines"].items()},
        expected=tuple(section["expected"]),
        measurements=measurements,
        against=_optional(section["against"], lambda value: _against_from_json(value, path)),
        covered=tuple(Covered(**each) for each in section["covered"]),
        attempts=tuple(_attempt_from_json(each) for each in section["attempts"]),
        notes=tuple(section["notes"]),
    )


def _by_key(cells: Iterable[Document], path: Path) -> dict[str, Measurement]:
    """Measurements by key; raises UnreadableFileError where one is there twice, or at a place that is not."""
    found = [measurement_from_json(cell) for cell in cells]
    measurements = with_figures({str(cell.key): cell for cell in found}, path)
    if len(measurements) != len(found):
        msg = f"'{path}' measures {len(found) - len(measurements)} cells more than once. Measure again, each cell once."
        raise UnreadableFileError(msg)
    return measurements


def run_section(run: Run) -> Document:
    """What a results file says of a run besides its measurements."""
    section = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    del section["measurements"]
    return {
        **section,
        "against": None if run.against is None else _against_to_json(run.against),
        "attempts": [dataclasses.asdict(each) for each in run.attempts],
        "candidate": dataclasses.asdict(run.candidate),
        "covered": [dataclasses.asdict(each) for each in run.covered],
        "engines": {place: dataclasses.asdict(each) for place, each in run.engines.items()},
    }


def _place_from_json(document: Document) -> EnginePlace:
    return EnginePlace(**{**document, "engine": EngineName(document["engine"])})


def _against_to_json(against: Against) -> Document:
    cells = [measurement_to_json(cell) for _, cell in sorted(against.measurements.items())]
    return {"candidate": dataclasses.asdict(against.candidate), "measurements": cells}


def _against_from_json(document: Document, path: Path) -> Against:
    cells = {cell["cell"]: measurement_from_json(cell) for cell in document["measurements"]}
    return Against(candidate=Candidate(**document["candidate"]), measurements=with_figures(cells, path))


def measurement_to_json(measurement: Measurement) -> Document:
    """A measurement as JSON types; what is None is left out, and so is what the cell has of one that covers it."""
    document: dict[str, object] = {"cell": str(measurement.key)}
    if measurement.known_gap is not None:
        document["known_gap"] = measurement.known_gap
    if measurement.covered_by is not None:
        return {**document, "covered_by": measurement.covered_by}
    if measurement.figures is not None:
        document["figures"] = figures_to_json(measurement.figures)
    for name in ("failure", "placement", "times"):
        value = getattr(measurement, name)
        if value is not None:
            document[name] = dataclasses.asdict(value)
    for name in ("repeats_agree", "rung", "instrument", "inexact"):
        if getattr(measurement, name) is not None:
            document[name] = getattr(measurement, name)
    if measurement.culprit is not None:
        document["culprit"] = _culprit_to_json(measurement.culprit)
    if measurement.assumptions:
        document["assumptions"] = list(measurement.assumptions)
    return document


def with_figures(cells: Mapping[str, Measurement], path: Path) -> dict[str, Measurement]:
    """The cells of a file, those that are covered with the figures of the cell that covers them.

    Raises UnreadableFileError where that cell is not there, or is covered itself.
    """
    return {key: cell if cell.covered_by is None else _covered(cell, cells, path) for key, cell in cells.items()}


def _covered(cell: Measurement, cells: Mapping[str, Measurement], path: Path) -> Measurement:
    swept = cells.get(str(cell.covered_by))
    if swept is None or swept.covered_by is not None:
        msg = f"'{path}' covers {files.printable(str(cell.key))} by a cell that was not measured. Measure again."
        raise UnreadableFileError(msg)
    return dataclasses.replace(
        swept, key=cell.key, known_gap=cell.known_gap, covered_by=cell.covered_by, times=None, rung=None
    )


def measurement_from_json(document: Document) -> Measurement:
    """The inverse of `measurement_to_json`."""
    return Measurement(
        key=CellKey.parse(document["cell"]),
        known_gap=document.get("known_gap"),
        figures=_optional(document.get("figures"), figures_from_json),
        failure=_optional(document.get("failure"), _failure_from_json),
        placement=_optional(document.get("placement"), _placement_from_json),
        culprit=_optional(document.get("culprit"), _culprit_from_json),
        repeats_agree=document.get("repeats_agree"),
        rung=document.get("rung"),
        covered_by=document.get("covered_by"),
        times=_optional(document.get("times"), lambda value: Times(**value)),
        instrument=document.get("instrument"),
        assumptions=tuple(document.get("assumptions", ())),
        inexact=document.get("inexact"),
    )


def _failure_from_json(document: Document) -> Failure:
    return Failure(stage=Stage(document["stage"]), reason=document["reason"])


def _placement_from_json(document: Document) -> Placement:
    ops = {name: Device(device) for name, device in document["ops"].items()}
    return Placement(activation=document["activation"], ops=ops)


def _culprit_to_json(culprit: Culprit) -> Document:
    return {**dataclasses.asdict(culprit), "got": _number_to_json(culprit.got), "want": _number_to_json(culprit.want)}


def _culprit_from_json(document: Document) -> Culprit:
    return Culprit(**{**document, "got": float(document["got"]), "want": float(document["want"])})


def _number_to_json(value: float) -> float | str:
    """JSON has no infinities and no NaN: they are their names."""
    return value if math.isfinite(value) else str(value)


def _attempt_from_json(document: Document) -> Attempt:
    operations = (Placed(**{**each, "device": Device(each["device"])}) for each in document["operations"])
    return Attempt(**{**document, "operations": tuple(operations)})


def figures_to_json(figures: Figures) -> Document:
    """Figures as JSON types."""
    document = _fields(figures)
    document["specials"] = dict(figures.specials)
    document["max_abs"] = _worst_to_json(figures.max_abs)
    document["max_ulp"] = _worst_to_json(figures.max_ulp)
    document["binades"] = {name: {**_fields(each), "at": _point(each.at)} for name, each in figures.binades.items()}
    document["bad_intervals"] = [
        {"first": _point(each.first), "last": _point(each.last), "count": each.count} for each in figures.bad_intervals
    ]
    return document


def _fields(record: Figures | BinadeFigures) -> dict[str, object]:
    """The fields of a record by name; unlike `dataclasses.asdict`, what they hold is not copied."""
    return {each.name: getattr(record, each.name) for each in dataclasses.fields(record)}


def figures_from_json(document: Document) -> Figures:
    """The inverse of `figures_to_json`."""
    return Figures(
        **{
            **document,
            "max_abs": _worst_from_json(document["max_abs"]),
            "max_ulp": _worst_from_json(document["max_ulp"]),
            "binades": {name: _binade_from_json(each) for name, each in document["binades"].items()},
            "bad_intervals": tuple(
                BadInterval(first=each["first"]["value"], last=each["last"]["value"], count=each["count"])
                for each in document["bad_intervals"]
            ),
        }
    )


def _binade_from_json(document: Document) -> BinadeFigures:
    return BinadeFigures(**{**document, "at": document["at"]["value"]})


def _worst_to_json(worst: Worst) -> Document:
    return {"value": worst.value, "at": _point(worst.at)}


def _worst_from_json(document: Document) -> Worst:
    return Worst(value=document["value"], at=document["at"]["value"])


def _point(value: float) -> Document:
    return {"value": value, "bits": fp16.hex_bits(value)}


def _optional(value: _S | None, build: Callable[[_S], _T]) -> _T | None:
    return None if value is None else build(value)
