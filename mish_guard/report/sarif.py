"""Facts as SARIF 2.1.0, for code scanning: findings at the lines of the converter that they speak of.

The format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html. Of a tree only the path inside it is
told, never where it lay.
"""

from __future__ import annotations

from mish_guard import __version__
from mish_guard.judge.defects import Signature
from mish_guard.judge.status import Status
from mish_guard.judge.verdict import Finding, Verdict
from mish_guard.records import CONVERTERS, Document
from mish_guard.report import words
from mish_guard.report.facts import Facts
from mish_guard.report.findings import Kind

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_HOME = "https://github.com/apple/coremltools/pull/2618"

RULES = {
    Signature.SOFTPLUS_CLIFF: "mish is 0 from x = 10.3984375 on",
    Signature.EXP_OVERFLOW: "an exponential overflows half precision",
    Signature.NEGATIVE_TAIL: "the negative tail of mish lost precision",
    Signature.SPECIAL_VALUES: "an infinity or NaN is treated otherwise",
    Signature.PRECISION: "mish is less precise",
    Signature.COVERAGE: "a cell was not measured",
    Signature.PLACEMENT: "the activation did not run on the Neural Engine",
    Signature.CONVERSION: "mish does not convert",
    Signature.ENGINE: "the model does not run",
    Signature.CONTROL: "a control did not do what it must",
    Signature.ASSUMPTION: "mish is right only if what nobody has measured goes well",
}
_ERRORS = frozenset({Status.OVER_CEILING, Status.FAILS, Status.WORSE, Status.CONTROL_FAILED})
_GOOD = frozenset({Status.BETTER})


def document(facts: Facts) -> Document:
    """The log: one run, one result for each kind of finding."""
    names = sorted({kind.members[0].signature for kind in facts.kinds}, key=lambda each: each.value)
    driver = {
        "name": "mish-guard",
        "version": __version__,
        "informationUri": _HOME,
        "rules": [_rule(each) for each in names],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": facts.verdict is not Verdict.BROKEN, "exitCode": int(facts.exit_code)}],
        "results": [_result(kind, facts, [each.value for each in names]) for kind in facts.kinds],
        "columnKind": "utf16CodeUnits",
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(signature: Signature) -> Document:
    text = RULES[signature]
    return {"id": signature.value, "shortDescription": {"text": text}, "fullDescription": {"text": text}}


def _result(kind: Kind, facts: Facts, rules: list[str]) -> Document:
    first = kind.members[0]
    level = "error" if first.status in _ERRORS else "note" if first.status in _GOOD else "warning"
    more = f" and {words.count(len(kind.members) - 1, 'more cell')}" if len(kind.members) > 1 else ""
    moved = next((_moved(each) for each in facts.worst if each in kind.members), "")
    known = f" Reintroduces {first.defect}." if first.defect else ""
    return {
        "ruleId": first.signature.value,
        "ruleIndex": rules.index(first.signature.value),
        "level": level,
        "message": {"text": _plain(f"{first.cell}{more}: {first.message}.{known}{moved}")},
        "locations": [_location(facts)],
        "partialFingerprints": {"mishGuardKind/v1": kind.name},
    }


def _moved(finding: Finding) -> str:
    change = finding.moved
    if change is None:
        return ""
    return f" At {change.name}: {words.number(change.before)} ulp before, {words.number(change.after)} after."


def _plain(text: str) -> str:
    """A message without what SARIF reads as a link or a placeholder."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("{", "{{").replace("}", "}}")


def _location(facts: Facts) -> Document:
    place = {
        "artifactLocation": {"uri": CONVERTERS},
        "region": {"startLine": facts.candidate.converter_line or 1},
    }
    return {"physicalLocation": place}
