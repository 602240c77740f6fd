"""Facts as one JSON object, for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from mish_guard import commands_to_type
from mish_guard.judge.status import Row
from mish_guard.judge.verdict import Finding
from mish_guard.numerics.fp16 import hex_bits
from mish_guard.records import BadInterval, Role
from mish_guard.report.facts import Facts
from mish_guard.report.findings import Kind
from mish_guard.results.run_file import SCHEMA_VERSION

_CONTROLS = {Role.NEGATIVE_CONTROL: "negative", Role.POSITIVE_CONTROL: "positive"}


def document(facts: Facts) -> dict[str, object]:
    """The object that `mish-guard gate --format json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": facts.verdict.value,
        "exit_code": int(facts.exit_code),
        "reason": facts.reason,
        "meaning": facts.meaning,
        "armed": facts.armed,
        "evidence": _evidence(facts),
        "candidate": dataclasses.asdict(facts.candidate),
        "controls": _controls(facts),
        "routing": {
            "shapes": dict(facts.shapes),
            "not_placed": list(facts.untaken),
            "attempts": [dataclasses.asdict(attempt) for attempt in facts.attempts],
        },
        "notes": list(facts.notes),
        "partial": facts.partial,
        "covered": [dataclasses.asdict(each) for each in facts.covered],
        "counts": dict(sorted(facts.counts.items())),
        "findings": [_finding(finding) for finding in facts.findings],
        "kinds": [_kind(kind) for kind in facts.kinds],
        "worst": [_worst(each) for each in facts.worst],
        "known_gaps": [_gap(row, facts.gap_defects) for gap in facts.gaps for row in gap.cells],
        "cells": {row.cell: row.status.value for row in facts.rows},
    }


def _evidence(facts: Facts) -> dict[str, object]:
    found = facts.evidence
    return {
        "engine": found.engine,
        "places": list(found.places),
        "hardware": bool(found.hardware_places),
        "hardware_places": list(found.hardware_places),
        "neural_engines": list(found.neural_engines),
        "device": dict(found.device),
        "statement": found.statement,
    }


def _controls(facts: Facts) -> dict[str, object]:
    """How many controls did what they must, of how many."""
    counts = {
        _CONTROLS[strip.role]: {"ok": strip.good, "of": strip.of} for strip in facts.strips if strip.role in _CONTROLS
    }
    return {**counts, "error": facts.controls_error}


def _kind(kind: Kind) -> dict[str, object]:
    first = kind.members[0]
    return {"name": kind.name, "count": len(kind.members), "first": first.cell, "message": first.message}


def _worst(finding: Finding) -> dict[str, object]:
    return {"cell": finding.cell, "moved": None if finding.moved is None else dataclasses.asdict(finding.moved)}


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "cell": finding.cell,
        "status": finding.status.value,
        "signature": finding.signature.value,
        "defect": finding.defect,
        "interval": None if finding.interval is None else _interval(finding.interval),
        "first_wrong_op": finding.first_wrong_op,
        "message": finding.message,
        "repeat": commands_to_type.explain(finding.cell),
    }


def _gap(row: Row, defects: Mapping[str, str]) -> dict[str, object]:
    cell = row.measurement
    figures = None if cell is None else cell.figures
    return {
        "cell": row.cell,
        "reason": None if cell is None else cell.known_gap,
        "defect": defects.get(row.cell),
        "intervals": [] if figures is None else [_interval(each) for each in figures.bad_intervals],
    }


def _interval(interval: BadInterval) -> dict[str, object]:
    return {
        "first": interval.first,
        "first_bits": hex_bits(interval.first),
        "last": interval.last,
        "last_bits": hex_bits(interval.last),
        "count": interval.count,
    }
