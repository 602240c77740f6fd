"""Findings in the order in which a reader wants them: kinds of one cause together, the most telling first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mish_guard.judge.defects import Signature
from mish_guard.judge.verdict import Finding
from mish_guard.report import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Findings that say the same of several cells, under one name; the most serious first, then by cell."""

    name: str
    members: tuple[Finding, ...]


def kinds(findings: Sequence[Finding]) -> tuple[Kind, ...]:
    """Findings of one kind under one heading; the most serious, and among them the most frequent, kinds first."""
    grouped: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda each: (each.severity[:-1], each.cell)):
        grouped.setdefault((_name(finding), _reason(finding)), []).append(finding)
    ordered = sorted(grouped.items(), key=lambda item: (item[1][0].severity[:-1], -len(item[1])))
    return tuple(Kind(name=name, members=tuple(members)) for (name, _), members in ordered)


def _reason(finding: Finding) -> str:
    """What tells findings of one kind apart: how an engine died, or hung, is not the same for all of them."""
    return finding.message if finding.signature in (Signature.ENGINE, Signature.CONTROL) else ""


def _name(finding: Finding) -> str:
    parts = [finding.status.value, finding.signature.value, words.interval(finding.interval)]
    if finding.first_wrong_op:
        parts.append(f"first wrong op {finding.first_wrong_op}")
    if finding.defect:
        parts.append(f"reintroduces {finding.defect}")
    return ", ".join(part for part in parts if part)
