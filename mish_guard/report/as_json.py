"""A judgement as one JSON object, for programs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from mish_guard.judge.status import Status
from mish_guard.judge.verdict import Finding, Judgement, measured_neural_engines, untaken_ladders
from mish_guard.numerics.fp16 import hex_bits
from mish_guard.records import BadInterval, Role, Run
from mish_guard.report import routing
from mish_guard.report.findings import Kind, kinds
from mish_guard.results.run_file import SCHEMA_VERSION


def document(judgement: Judgement) -> dict[str, Any]:
    """The object that `mish-guard gate --format json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": judgement.verdict.value,
        "exit_code": int(judgement.exit_code),
        "reason": judgement.reason,
        "armed": judgement.armed,
        "evidence": evidence(judgement),
        "candidate": dataclasses.asdict(judgement.run.candidate),
        "controls": controls(judgement),
        "routing": _routing(judgement.run),
        "notes": list(judgement.run.notes),
        "counts": dict(sorted(Counter(row.status.value for row in judgement.rows).items())),
        "findings": [_finding(finding) for finding in judgement.findings],
        "kinds": [_kind(kind) for kind in kinds(judgement.findings)],
        "known_gaps": [
            {
                "cell": row.cell,
                "reason": row.measurement.known_gap,
                "defect": judgement.gap_defects.get(row.cell),
                "intervals": _intervals(row.measurement),
            }
            for row in judgement.rows
            if row.status is Status.KNOWN_GAP and row.measurement is not None
        ],
        "cells": {row.cell: row.status.value for row in judgement.rows},
    }


def evidence(judgement: Judgement) -> dict[str, Any]:
    """What the verdict rests on: the engine, its places, which of them are hardware, and in one sentence.

    `neural_engines` are the real ones that showed the defect and ran the candidate: none of them, none was measured.
    """
    run = judgement.run
    places = sorted({measurement.key.where for measurement in run.measurements.values()})
    hardware = [where for where in places if run.is_hardware(where)]
    return {
        "engine": run.engine,
        "places": places,
        "hardware": bool(hardware),
        "hardware_places": hardware,
        "neural_engines": measured_neural_engines(run),
        "device": dict(run.device),
        "statement": _statement(run, hardware, [where for where in places if where not in hardware]),
    }


def _statement(run: Run, hardware: list[str], emulated: list[str]) -> str:
    """What was measured where, and what was only emulated."""
    if not hardware:
        return f"emulator at {', '.join(emulated)}: emulated, no hardware was measured"
    machine = run.device_at(hardware[0])
    who = machine["hardware"]["chip"] or "an unknown chip"
    parts = [f"measured by Core ML at {', '.join(hardware)} on {who}, macOS {machine['environment']['macos']}"]
    parts += [f"emulated at {', '.join(emulated)}"] if emulated else []
    parts += [] if measured_neural_engines(run) else ["no Neural Engine was measured"]
    return "; ".join(parts)


def _routing(run: Run) -> dict[str, Any]:
    """The rungs on which the ladders were left, those of which no rung was taken, and every plan on the way."""
    return {
        "shapes": routing.shapes(run),
        "not_placed": untaken_ladders(run),
        "attempts": [dataclasses.asdict(attempt) for attempt in run.attempts],
    }


def controls(judgement: Judgement) -> dict[str, Any]:
    """How many controls did what they must, of how many."""
    counts: dict[str, Any] = {}
    for role, word in ((Role.NEGATIVE_CONTROL, "negative"), (Role.POSITIVE_CONTROL, "positive")):
        rows = [row for row in judgement.rows if row.measurement is not None and row.measurement.key.role is role]
        good = sum(row.status is Status.CONTROL_OK for row in rows)
        counts[word] = {"ok": good, "of": len(rows)}
    return {**counts, "error": judgement.run.controls_error}


def _kind(kind: Kind) -> dict[str, Any]:
    first = kind.members[0]
    return {"name": kind.name, "count": len(kind.members), "first": first.cell, "message": first.message}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "cell": finding.cell,
        "status": finding.status.value,
        "signature": finding.signature.value,
        "defect": finding.defect,
        "interval": None if finding.interval is None else _interval(finding.interval),
        "first_wrong_op": finding.first_wrong_op,
        "message": finding.message,
        "repeat": f"mish-guard explain '{finding.cell}'",
    }


def _interval(interval: BadInterval) -> dict[str, Any]:
    return {
        "first": interval.first,
        "first_bits": hex_bits(interval.first),
        "last": interval.last,
        "last_bits": hex_bits(interval.last),
        "count": interval.count,
    }


def _intervals(measurement: Any) -> list[dict[str, Any]]:
    return [] if measurement.figures is None else [_interval(each) for each in measurement.figures.bad_intervals]
