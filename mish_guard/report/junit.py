"""Facts as JUnit's XML: one test case for each cell, in the form that CI services read."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from mish_guard.judge.status import Row, Status
from mish_guard.judge.verdict import Finding, Verdict
from mish_guard.report.facts import Facts

_FAILED = frozenset({Status.OVER_CEILING, Status.FAILS, Status.WORSE, Status.CONTROL_FAILED})
_UNDECIDED = frozenset(
    {
        Status.LOST,
        Status.NEW,
        Status.NOT_COMPARABLE,
        Status.NO_BASELINE,
        Status.NO_EVIDENCE,
        Status.NOT_JUDGED,
        Status.ASSUMED,
    }
)


def document(facts: Facts) -> str:
    """The XML; newline at the end."""
    findings = {finding.cell: finding for finding in facts.findings}
    suite = ET.Element("testsuite", name="mish-guard", timestamp=facts.created)
    verdict = ET.SubElement(suite, "testcase", classname="mish-guard", name="verdict")
    if facts.verdict is not Verdict.PASS:
        ET.SubElement(verdict, "failure", type=facts.verdict.value, message=_legal(facts.headline)).text = facts.meaning
    for row in facts.rows:
        _case(suite, row, findings.get(row.cell))
    failures = len(suite.findall("testcase/failure"))
    for name, number in (
        ("tests", len(facts.rows) + 1),
        ("failures", failures),
        ("errors", 0),
        ("skipped", len(suite.findall("testcase/skipped"))),
    ):
        suite.set(name, str(number))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, row: Row, finding: Finding | None) -> None:
    road, _, place = row.cell.rpartition("@")
    case = ET.SubElement(suite, "testcase", classname=_legal(place), name=_legal(road))
    message = row.status.value if finding is None else f"{row.status.value}: {finding.message}"
    if finding is not None and finding.defect is not None:
        message += f"; reintroduces {finding.defect}"
    if row.status in _FAILED:
        kind = row.status.value if finding is None else finding.signature.value
        ET.SubElement(case, "failure", type=kind, message=_legal(message))
    elif row.status in _UNDECIDED:
        ET.SubElement(case, "skipped", message=_legal(message))


def _legal(text: str) -> str:
    """Text without the characters that XML 1.0 has no way to write."""
    return "".join(each for each in text if each >= " " and each not in "\ufffe\uffff" and not _is_surrogate(each))


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
