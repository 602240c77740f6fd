"""Runs and measurements ⇄ JSON.

A results file is the report of pytest-json-report with one section of ours; each test's `metadata` holds its
measurement. Half-precision inputs are stored as decimal and bits. `sha256` covers everything else in the file, so
that a truncated or edited file is an error and not a verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mish_guard import files
from mish_guard.errors import UnreadableFileError
from mish_guard.numerics import fp16
from mish_guard.records import (
    Attempt,
    BadInterval,
    BinadeFigures,
    Candidate,
    CellKey,
    Culprit,
    Failure,
    Figures,
    Measurement,
    Placed,
    Placement,
    Run,
    Times,
    Worst,
)

SCHEMA_VERSION = 1

_T = TypeVar("_T")


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """`document` with the schema version and the hash that `check_seal` expects."""
    body = {**document, "schema_version": SCHEMA_VERSION}
    return {**body, "sha256": files.sha256(files.canonical_json(body))}


def check_seal(document: Any, path: Path) -> dict[str, Any]:
    """The document without its hash; raises UnreadableFileError if its version or its content is not as written."""
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
        raise UnreadableFileError(msg)
    body = {key: value for key, value in document.items() if key != "sha256"}
    if document.get("sha256") != files.sha256(files.canonical_json(body)):
        msg = f"'{path}' was changed after it was written: its sha256 does not match. Measure again or restore it."
        raise UnreadableFileError(msg)
    return body


def write_run(path: Path, report: Mapping[str, Any]) -> None:
    """Write a results file atomically; `report` is pytest-json-report's, with the section made by `run_section`."""
    files.write_atomically(path, files.readable_json(sealed(report)))


def read_run(path: Path) -> Run:
    """The run in a results file; raises UnreadableFileError for anything but a complete file of this version."""
    document = files.read_json(path)
    body = check_seal(document, path)
    files.validate(document, "results", path)
    section = body["mish_guard"]
    cells = [
        measurement_from_json(test["metadata"]["measurement"])
        for test in body["tests"]
        if "measurement" in test.get("metadata", {})
    ]
    measurements = {str(cell.key): cell for cell in cells}
    if len(measurements) != len(cells):
        msg = f"'{path}' measures {len(cells) - len(measurements)} cells more than once. Measure again, each cell once."
        raise UnreadableFileError(msg)
    return Run(
        candidate=Candidate(**section["candidate"]),
        engine=section["engine"],
        device=section["device"],
        neural_engines=tuple(section["neural_engines"]),
        matrix_sha256=section["matrix_sha256"],
        expected=tuple(section["expected"]),
        measurements=measurements,
        created=section["created"],
        controls_error=section["controls_error"],
        engines=section["engines"],
        attempts=tuple(_attempt_from_json(each) for each in section["attempts"]),
        notes=tuple(section["notes"]),
        broken=section["broken"],
        conversions=section["conversions"],
    )


def run_section(run: Run) -> dict[str, Any]:
    """What a results file says of a run besides its measurements."""
    return {
        "broken": run.broken,
        "conversions": run.conversions,
        "attempts": [dataclasses.asdict(each) for each in run.attempts],
        "candidate": dataclasses.asdict(run.candidate),
        "controls_error": run.controls_error,
        "created": run.created,
        "device": dict(run.device),
        "engine": run.engine,
        "engines": dict(run.engines),
        "expected": list(run.expected),
        "matrix_sha256": run.matrix_sha256,
        "neural_engines": list(run.neural_engines),
        "notes": list(run.notes),
    }


def measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    """A measurement as JSON types; what is None is left out."""
    document: dict[str, Any] = {"cell": str(measurement.key)}
    if measurement.known_gap is not None:
        document["known_gap"] = measurement.known_gap
    if measurement.figures is not None:
        document["figures"] = figures_to_json(measurement.figures)
    for name in ("failure", "placement", "culprit", "times"):
        value = getattr(measurement, name)
        if value is not None:
            document[name] = dataclasses.asdict(value)
    for name in ("repeats_agree", "rung"):
        if getattr(measurement, name) is not None:
            document[name] = getattr(measurement, name)
    return document


def measurement_from_json(document: Mapping[str, Any]) -> Measurement:
    """The inverse of `measurement_to_json`."""
    return Measurement(
        key=CellKey.parse(document["cell"]),
        known_gap=document.get("known_gap"),
        figures=_optional(document.get("figures"), figures_from_json),
        failure=_optional(document.get("failure"), lambda value: Failure(**value)),
        placement=_optional(document.get("placement"), lambda value: Placement(**value)),
        culprit=_optional(document.get("culprit"), lambda value: Culprit(**value)),
        repeats_agree=document.get("repeats_agree"),
        rung=document.get("rung"),
        times=_optional(document.get("times"), lambda value: Times(**value)),
    )


def _attempt_from_json(document: Mapping[str, Any]) -> Attempt:
    return Attempt(**{**document, "operations": tuple(Placed(**each) for each in document["operations"])})


def figures_to_json(figures: Figures) -> dict[str, Any]:
    """Figures as JSON types."""
    document = dataclasses.asdict(figures)
    document["max_abs"] = _worst_to_json(figures.max_abs)
    document["max_ulp"] = _worst_to_json(figures.max_ulp)
    document["bad_intervals"] = [
        {"first": _point(each.first), "last": _point(each.last), "count": each.count} for each in figures.bad_intervals
    ]
    return document


def figures_from_json(document: Mapping[str, Any]) -> Figures:
    """The inverse of `figures_to_json`."""
    return Figures(
        **{
            **document,
            "max_abs": _worst_from_json(document["max_abs"]),
            "max_ulp": _worst_from_json(document["max_ulp"]),
            "binades": {name: BinadeFigures(**each) for name, each in document["binades"].items()},
            "bad_intervals": tuple(
                BadInterval(first=each["first"]["value"], last=each["last"]["value"], count=each["count"])
                for each in document["bad_intervals"]
            ),
        }
    )


def _worst_to_json(worst: Worst) -> dict[str, Any]:
    return {"value": worst.value, "at": _point(worst.at)}


def _worst_from_json(document: Mapping[str, Any]) -> Worst:
    return Worst(value=document["value"], at=document["at"]["value"])


def _point(value: float) -> dict[str, Any]:
    return {"value": value, "bits": fp16.hex_bits(value)}


def _optional(value: Any, build: Callable[[Any], _T]) -> _T | None:
    return None if value is None else build(value)
