"""Facts as one page of HTML that needs nothing but itself: pictures, charts over them, tables, and how to repeat.

What comes from a run is escaped wherever it stands, and the page forbids itself every script but its own.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mish_guard import commands_to_type, files
from mish_guard.judge.status import Status
from mish_guard.numerics import fp16
from mish_guard.records import CellKey, Device, Step
from mish_guard.report import pictures, series, words
from mish_guard.report.facts import Facts, next_step
from mish_guard.results import curves
from mish_guard.results.curves import Curves, Trace

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

FOLDER = files.DATA / "report"

_GOOD = frozenset({Status.SAME, Status.WITHIN, Status.PRECISION, Status.BETTER, Status.CONTROL_OK})
_BAD = frozenset({Status.OVER_CEILING, Status.FAILS, Status.WORSE, Status.CONTROL_FAILED})

_MOST_SHADED = 50

_SECTIONS = {
    "cliff": "The cliff",
    "error": "Error",
    "worst": "Worst cells",
    "heat": "Heat map",
    "roads": "Roads",
    "covered": "Covered roads",
    "graph": "Graph",
    "placement": "Placement",
    "baseline": "Before and after",
    "gaps": "Known gaps",
    "provenance": "Provenance",
    "repeat": "How to repeat",
}


def page(facts: Facts, kept: Curves) -> str:
    """The page of a run; without curves its pictures are fewer and nothing moves."""
    drawn = _pictures(facts, kept)
    data = _data(facts, kept) if drawn["cliff"] else ""
    trace = None if facts.subject is None else kept.traces.get(facts.subject.row.cell)
    scripts = _scripts() if data else []
    absent = {
        "cliff": not (drawn["cliff"] or drawn["before_after"]),
        "error": not drawn["errors"],
        "worst": not facts.worst,
        "heat": not drawn["heat"],
        "covered": not facts.covered,
        "graph": trace is None,
        "baseline": not drawn["before_after"],
        "gaps": not facts.gaps,
    }
    return render(
        "report.html.j2",
        title=f"mish-guard: {facts.verdict.value}",
        verdict=facts.verdict.value,
        facts=facts,
        next=next_step(facts),
        sections=[(name, title) for name, title in _SECTIONS.items() if not absent.get(name)],
        pictures=drawn,
        places=facts.evidence.places,
        roads=list(_roads(facts)),
        kind=_kind,
        trace=trace,
        steps=list(_steps(facts, trace)),
        placements=list(_placements(facts)),
        operations=list(_operations(facts)),
        has_bars=bool(_bars(facts, kept)),
        provenance=list(_provenance(facts)),
        commands=list(_commands(facts)),
        data=_safe(data),
        scripts=[_safe(each) for each in scripts],
        hashes=[_hash(each) for each in scripts],
    )


def render(template: str, **values: object) -> str:
    """A template of the package, filled in; everything but our own pictures, styles and scripts is escaped."""
    return str(_environment().get_template(template).render(css=_safe(_file("report.css") + _uplot_css()), **values))


def safe_picture(svg: str, identity: str, title: str) -> Markup | str:
    """A picture of ours for a template; empty for an empty one."""
    return _safe(pictures.themed(svg, identity, title)) if svg else ""


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2
    import markupsafe

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    made.filters["breakable"] = lambda name: _safe(str(markupsafe.escape(name)).replace("/", "/<wbr>"))
    made.globals.update(count=words.count, number=words.number, bits=fp16.hex_bits)
    return made


def _safe(text: str) -> Markup:
    import markupsafe

    return markupsafe.Markup(text)  # noqa: S704 - files of the package and pictures of ours, never a run's words


def _file(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _uplot_css() -> str:
    return _file("uplot/uPlot.min.css")


def _scripts() -> list[str]:
    return [_file("uplot/uPlot.iife.min.js"), _file("report.js")]


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _pictures(facts: Facts, kept: Curves) -> dict[str, Markup | str]:
    lines = pictures.lines(facts, kept)
    return {
        "cliff": safe_picture(pictures.cliff(facts, lines), "p1", "mish over x, from -20 to 20 and from 10.2 to 10.6"),
        "errors": safe_picture(pictures.errors(lines, _bars(facts, kept)), "p2", "error in ulp over all finite inputs"),
        "heat": safe_picture(pictures.heat(facts), "p3", "largest error by binade and cell"),
        "before_after": safe_picture(pictures.before_after(facts), "p4", "largest error by binade, before and after"),
    }


def _bars(facts: Facts, kept: Curves) -> Mapping[str, float]:
    """The error bars of the cell that is shown."""
    return {} if facts.subject is None else kept.bars.get(facts.subject.row.cell, {})


def _data(facts: Facts, kept: Curves) -> str:
    """The curves by role, packed as they are kept; no word of a run is in them."""
    found = {role: kept.outputs.get(cell) for role, cell in pictures.cells(facts).items()}
    measured = None if facts.subject is None else facts.subject.row.measurement
    intervals = () if measured is None or measured.figures is None else measured.figures.bad_intervals
    return json.dumps(
        {
            "outputs": {role: curves.pack(values) for role, values in found.items() if values is not None},
            "bars": [[series.edge(name), name[0] == "-", allowed] for name, allowed in _bars(facts, kept).items()],
            "bad": [[each.first, each.last] for each in intervals[:_MOST_SHADED]],
        }
    )


def _roads(facts: Facts) -> Iterator[tuple[str, dict[str, str]]]:
    """Status by place of every road, a cell without its place: those that are wrong first, controls last."""
    grouped: dict[str, dict[str, str]] = {}
    for row in facts.rows:
        road, _, place = row.cell.rpartition("@")
        grouped.setdefault(road, {})[place] = row.status.value

    def order(item: tuple[str, dict[str, str]]) -> tuple[bool, bool, str]:
        is_control = CellKey.parse(f"{item[0]}@x").role.is_control
        return is_control, not any(Status(each) in _BAD for each in item[1].values()), item[0]

    yield from sorted(grouped.items(), key=order)


def _kind(status: str) -> str:
    """The class of a status; its word says the same to those who see no colours."""
    found = Status(status)
    return "st-good" if found in _GOOD else "st-bad" if found in _BAD else "st-warn"


def _steps(facts: Facts, trace: Trace | None) -> Iterator[tuple[Step, bool]]:
    """Every step, and whether it is the one that the cell's error comes from."""
    measured = None if facts.subject is None else facts.subject.row.measurement
    culprit = None if measured is None or measured.culprit is None else measured.culprit.name
    for step in () if trace is None else trace.steps:
        yield step, step.name == culprit


def _placements(facts: Facts) -> Iterator[tuple[str, str, int]]:
    found = Counter(
        (row.measurement.key.place, row.measurement.placement.activation)
        for row in facts.rows
        if row.measurement is not None and row.measurement.placement is not None
    )
    for (place, device), number in sorted(found.items()):
        yield place, device, number


def _operations(facts: Facts) -> Iterator[tuple[str, Mapping[str, Device]]]:
    """The device of every operation, by name, of the cell that is shown and of the controls beside it."""
    subject = facts.subject
    for row in () if subject is None else (subject.row, subject.negative, subject.positive):
        if row is not None and row.measurement is not None and row.measurement.placement is not None:
            yield row.cell, dict(sorted(row.measurement.placement.ops.items()))


def _provenance(facts: Facts) -> Iterator[tuple[str, str]]:
    candidate = facts.candidate
    for name in ("coremltools", "lowering", "path", "source", "commit", "native", "converter_sha256"):
        value = getattr(candidate, name)
        if value:
            yield name.replace("_", " "), value
    yield "torch, numpy, Python", f"{candidate.torch}, {candidate.numpy}, {candidate.python}"
    yield "engine", facts.evidence.engine
    yield "measured", facts.created
    yield "matrix", facts.matrix_sha256
    yield from (("note", note) for note in facts.notes)


def _commands(facts: Facts) -> Iterator[str]:
    yield commands_to_type.gate(facts.evidence.places)
    for each in facts.worst[:3]:
        yield commands_to_type.explain(each.cell)
