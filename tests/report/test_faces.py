"""Every face of every committed run: what it says, in which order, and that nobody speaks through it."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # a test needs no stubs for one call
import pytest
from markdown_it import MarkdownIt

from mish_guard.errors import ExitCode
from mish_guard.judge import defects, verdict
from mish_guard.judge.defects import Signature
from mish_guard.judge.verdict import Judgement
from mish_guard.numerics import figures, fp16
from mish_guard.records import Attempt
from mish_guard.report import as_json, faces, facts, html, junit, markdown, pictures, sarif, text
from mish_guard.report.facts import Facts
from mish_guard.report.formats import Format
from mish_guard.results import curves
from mish_guard.results.curves import Curves
from tests.report import structure
from tests.report.conftest import NAMES, RUNS, SPELL, judgement, kept, page, told

MEANINGS = {
    "fail": "The cliff is back: from x = 10.3984375 on mish gives 0 where it should give x",
    "pass": "No cliff",
    "inconclusive": "Nothing wrong was seen, but nothing here could have shown it",
    "broken": "The machine or the engine failed its own check",
    "hardware": "No cliff",
}


class Outline(HTMLParser):
    """What a page is made of: headings, sections, tables, pictures; and whatever could load or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.said = ""
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open = tag
        self.headings += [""] if tag in ("h1", "h2") else []
        self.scripts += [""] if tag == "script" else []
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.links += [value or ""] if name in ("href", "src", "xlink:href") else []
            self.handlers += [name] if name.startswith("on") else []

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open if tag in ("small", "strong", "code") else ""

    def handle_data(self, data: str) -> None:
        if self._open in ("h1", "h2", "small") and self.headings:
            self.headings[-1] += data
        elif self._open == "script":
            self.scripts[-1] += data
        elif self._open != "style":
            self.said += data


def bewitched(name: str) -> Facts:
    """A judgement in which every word that a run can choose is the spell."""
    made = judgement(name)
    finding = dataclasses.replace(made.findings[0], message=SPELL, first_wrong_op=SPELL)
    who = dataclasses.replace(
        made.run.candidate, coremltools=SPELL, path=SPELL, source=SPELL, commit=SPELL, native=SPELL
    )
    run = dataclasses.replace(made.run, candidate=who, notes=(SPELL,), controls_error=SPELL)
    changed: Judgement = dataclasses.replace(made, findings=(finding, *made.findings[1:]), run=run, reason=SPELL)
    return facts.gather(changed)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_line_says_what_happened_and_the_last_what_to_do(name: str) -> None:
    lines = text.render(told(name)).splitlines()
    assert lines[0].startswith(told(name).verdict.value + " (")
    assert lines[2].startswith(MEANINGS[name])
    assert lines[-1] == "Nothing to do." or lines[-1].startswith("Next: ")
    assert [line.split()[0] for line in lines if line and not line.startswith(" ")][2] == "controls"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_is_never_wider_than_it_is(name: str, width: int) -> None:
    lines = text.render(told(name), width=width, verbose=True).splitlines()
    folded = [line for line in lines[1:-1] if "/" not in line]
    assert max(map(len, folded)) <= width
    assert text.render(told(name), width=width).splitlines()[0] == told(name).headline


def test_a_report_is_in_colours_only_on_demand() -> None:
    assert "\x1b[" not in text.render(told("fail"))
    assert text.render(told("fail"), colour=True).startswith("\x1b[1;31mFAIL")


def test_the_worst_cell_shows_the_binade_that_changed_before_and_after() -> None:
    shown = text.render(told("fail"))
    assert re.search(r"\+\[16, 32\): 5\.184e-11 ulp before, 2048 after", shown)


def test_known_gaps_are_one_line_until_somebody_asks() -> None:
    assert [line for line in text.render(told("pass")).splitlines() if "known gaps" in line] == [
        "known gaps 1 cell wrong whatever the lowering of mish, as expected; -v lists them"
    ]
    assert "coremltools sees softplus, tanh and mul" in text.render(told("pass"), verbose=True)
    assert "coremltools sees softplus, tanh and mul" not in text.render(told("pass"))


@pytest.mark.parametrize("name", NAMES)
def test_one_is_not_many(name: str) -> None:
    for form in (Format.TEXT, Format.MARKDOWN, Format.HTML):
        assert not re.search(
            r"\b1 (cells|inputs|findings|kinds|more cells)\b", faces.write(told(name), kept(name), form)
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_every_section_that_its_run_can_fill_and_needs_nothing_from_outside(name: str) -> None:
    outline = Outline(page(name))
    assert outline.headings[0] == f"{told(name).verdict.value} ({'armed' if told(name).armed else 'not armed'})"
    drawn = ["The cliff", "Error over all inputs"] if name != "hardware" else ["The cliff"]
    worst = ["Worst cells"] if told(name).findings else []
    graph = ["The graph of the lowering"] if name != "hardware" else []
    gaps = ["Known gaps"] if name != "broken" else []  # where a place is broken nothing of it is judged
    assert outline.headings[1:] == [
        *drawn,
        *worst,
        "Error by binade and cell",
        "Roads",
        *graph,
        "Placement",
        "Before and after",
        *gaps,
        "Provenance",
        "How to repeat",
    ]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in outline.links)
    assert len(page(name).encode()) <= 1_500_000
    assert len(outline.ids) == len(set(outline.ids))


def test_a_page_marks_the_first_wrong_operation() -> None:
    made = page("fail")
    culprit = made.partition('<li class="culprit">')[2].partition("</li>")[0]
    assert culprit.startswith("<strong>softplus</strong>")
    assert made.count("the first wrong operation") == 1
    assert 'class="culprit"' not in page("pass")


def test_a_page_holds_the_outputs_as_they_were_judged() -> None:
    outline = Outline(page("fail"))
    data = json.loads(outline.scripts[0])
    got = curves.unpack(data["outputs"]["candidate"])
    subject = told("fail").subject
    assert subject is not None
    assert subject.row.measurement is not None
    assert subject.row.measurement.figures is not None
    assert figures.digest(got) == subject.row.measurement.figures.digest
    assert float(curves.finite(got)[fp16.finite_values() == 20.0][0]) == 0.0
    assert data["bad"] == [[10.3984375, 32752.0]]


@pytest.mark.parametrize("name", ["fail", "broken"])
def test_nobody_speaks_through_a_page(name: str) -> None:
    clean, outline = Outline(page(name)), Outline(html.page(bewitched(name), kept(name)))
    assert outline.scripts == clean.scripts
    assert outline.handlers == []
    assert "alert(1)" in outline.said
    assert outline.tags.count("img") == 0
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in outline.links)


@pytest.mark.parametrize("name", ["fail", "broken"])
def test_nobody_speaks_through_markdown(name: str) -> None:
    summary = markdown.summary(bewitched(name))
    tokens = MarkdownIt("commonmark", {"linkify": False}).enable("table").parse(summary)
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "code_inline", "strong_open", "strong_close", "softbreak"}
    prose = " ".join(child.content for child in inline if child.type == "text")
    assert "e.vil" not in prose
    assert not re.search(r"@\w|#\d|GH-\d|https?:", prose)
    blocks = [token.content for token in tokens if token.type == "html_block"]
    assert all(re.fullmatch(r"<details><summary>All [\d,]+ cells?</summary>\n?|</details>\n?", each) for each in blocks)
    assert sum(child.type == "code_inline" and "e.vil" in child.content for child in inline) > 3


def test_nobody_speaks_through_a_terminal_or_a_log() -> None:
    shown = text.render(bewitched("fail"), verbose=True)
    assert not re.search(r"^\s*::", shown, re.MULTILINE)
    assert "##[" not in shown


def test_markdown_stays_below_the_limit_of_a_summary() -> None:
    made = judgement("fail")
    many = tuple(dataclasses.replace(made.findings[0], message=f"{number} " + "x" * 400) for number in range(5000))
    summary = markdown.summary(facts.gather(dataclasses.replace(made, findings=many)))
    assert len(summary.encode()) < 1024 * 1024
    assert "do not fit here" in summary


def test_markdown_draws_the_error_with_numbers_of_ours_only() -> None:
    summary = markdown.summary(bewitched("fail"))
    (chart,) = re.findall(r"```mermaid\n(.*?)```", summary, re.DOTALL)
    lines = chart.splitlines()
    assert lines[0] == "xychart-beta"
    assert len([line for line in lines if line.strip().startswith("line [")]) == 3
    assert re.fullmatch(r'[\w\s"\[\]().,+>=:-]+', chart)
    labels = next(line for line in lines if "x-axis" in line).count('"') // 2 - 1
    assert all(line.count(",") + 1 == labels for line in lines if line.strip().startswith("line ["))


@pytest.mark.parametrize("name", NAMES)
def test_sarif_follows_the_official_schema(name: str) -> None:
    schema = json.loads((Path(__file__).parent / "data" / "sarif-2.1.0-rtm.5.json").read_text())
    document = sarif.document(told(name))
    validator = jsonschema.Draft4Validator(schema)
    validator.validate(document)
    assert not validator.is_valid({**document, "version": "2.0.0"})


def test_sarif_points_to_the_converter_and_tells_no_path_of_a_machine() -> None:
    told_once = told("fail")
    document = sarif.document(told_once)
    (run,) = document["runs"]
    (location,) = run["results"][0]["locations"]
    place = location["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "coremltools/converters/mil/frontend/torch/ops.py"
    assert place["region"]["startLine"] == told_once.candidate.converter_line
    assert place["region"]["startLine"] > 1000
    assert {each["level"] for each in run["results"]} == {"error"}
    assert "/opt/tree" not in json.dumps(document)


def test_every_signature_is_a_rule_of_sarif() -> None:
    assert sarif.RULES.keys() == set(Signature)


def test_sarif_takes_no_word_for_a_link() -> None:
    (run,) = sarif.document(bewitched("fail"))["runs"]
    assert any("\\[l](http" in each["message"]["text"] for each in run["results"])


@pytest.mark.parametrize("name", NAMES)
def test_junit_counts_what_it_lists(name: str) -> None:
    root = ET.fromstring(junit.document(told(name)))  # noqa: S314 - our own text
    (suite,) = root
    assert int(suite.attrib["tests"]) == len(suite) == len(told(name).rows) + 1
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    assert (suite.find("testcase[@name='verdict']/failure") is None) is (name in ("pass", "hardware"))


def test_every_word_of_a_picture_is_in_a_colour_that_a_dark_page_replaces() -> None:
    words = re.findall(r"<text[^>]*>", page("fail"))
    assert len(words) > 50
    assert [each for each in words if "fill: var(--" not in each] == []


@pytest.mark.parametrize("form", [each for each in Format if each is not Format.SVG])
def test_every_face_calls_a_known_defect_by_its_name(form: Format) -> None:
    cell = next(each.cell for each in told("fail").findings if each.defect == "MISH-SOFTPLUS-CLIFF")
    written = faces.write(told("fail"), kept("fail"), form)
    beside = {Format.JUNIT: cell.rpartition("@")[0], Format.HTML: cell.replace("/", "/<wbr>")}.get(form, cell)
    assert "MISH-SOFTPLUS-CLIFF" in written[written.index(beside) :]


def test_junit_survives_every_word() -> None:
    assert ET.fromstring(junit.document(bewitched("fail"))) is not None  # noqa: S314 - our own text


@pytest.mark.parametrize("name", NAMES)
def test_json_says_the_same_as_the_other_faces(name: str) -> None:
    document = as_json.document(told(name))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["meaning"] == told(name).meaning
    assert str(document["verdict"]) in text.render(told(name)).splitlines()[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_one_file_without_scripts_links_or_time(name: str) -> None:
    svg = pictures.standalone(told(name), kept(name))
    root = ET.fromstring(svg)  # noqa: S314 - our own text
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "script" not in svg
    assert svg == pictures.standalone(told(name), kept(name))


def test_a_picture_shades_the_bad_interval_and_shows_both_controls() -> None:
    svg = pictures.cliff(told("fail"), pictures.lines(told("fail"), kept("fail")))
    assert svg.count(pictures.COLOURS["bad"]) == 2
    assert pictures.COLOURS["bad"] not in pictures.cliff(told("pass"), pictures.lines(told("pass"), kept("pass")))
    assert all(svg.count(f">{name}<") == 1 for name in ("reference", "candidate", "negative", "positive"))


@pytest.mark.parametrize("name", NAMES)
def test_every_label_of_the_heat_map_is_inside_the_picture(name: str) -> None:
    root = ET.fromstring(pictures.heat(told(name)))  # noqa: S314 - our own text
    left, _, _, _ = map(float, root.attrib["viewBox"].split())
    labels = [each for each in root.iter("{http://www.w3.org/2000/svg}text") if "@" in (each.text or "")]
    assert labels
    for each in labels:
        end = (
            float(each.attrib["x"])
            if "x" in each.attrib
            else float(re.findall(r"translate\(([\d.]+)", each.attrib["transform"])[0])
        )
        assert end - 0.62 * 6 * len(each.text or "") >= left, each.text


def test_the_cell_that_is_shown_is_a_sweep_whose_outputs_were_kept() -> None:
    """A road that is as wrong comes first by its name, and nothing of it could be drawn."""
    made = judgement("fail")
    first = made.findings[0]
    road = dataclasses.replace(first, cell=first.cell.replace("sweep/mish-k3", "roads/a+a+a"))
    told_once = facts.gather(dataclasses.replace(made, findings=(road, *made.findings)))
    assert told_once.worst[0].cell.startswith("sweep/")
    assert told_once.subject is not None
    assert told_once.subject.row.cell == told_once.worst[0].cell
    assert facts.next_step(told_once) == f"Next: mish-guard explain '{told_once.worst[0].cell}'"


def test_nobody_is_sent_to_store_a_baseline_that_would_be_refused() -> None:
    """Where the negative control is not caught there can be no baseline: nothing is said of measuring one."""
    for name, sent in (("pass", "refresh"), ("inconclusive", "negative control can be caught")):
        bare = facts.gather(verdict.judge(judgement(name).run, {}, defects.load_defects()))
        assert bare.exit_code is ExitCode.NO_BASELINE
        assert sent in facts.next_step(bare)


def test_a_page_has_the_device_of_every_operation_of_what_it_shows() -> None:
    placement = page("hardware").partition('<section id="placement">')[2].partition("</section>")[0]
    assert placement.count('<code>mish</code></th><td class="st-good">ne</td>') == 3


def _planned(name: str, *ends: Attempt) -> Facts:
    run = dataclasses.replace(judgement(name).run, attempts=ends)
    return facts.gather(dataclasses.replace(judgement(name), run=run))


def test_a_plan_is_shown_with_the_reason_for_which_no_shape_was_left() -> None:
    offered = Attempt(ladder="sweep", rung="8x8x32", cell="control", activation="ne")
    dead = dataclasses.replace(offered, cell="mish", activation="unknown", failure="Core ML aborted")
    silent = dataclasses.replace(dead, failure=None)
    refused = dataclasses.replace(offered, cell="mish", activation="cpu")
    started = "the plan of Core ML for sweep: "
    for last, why, untaken in (
        (dead, "mish failed at 8x8x32, so no other shape was offered", ()),
        (silent, "mish has no known device at 8x8x32, so no other shape was offered", ()),
        (refused, "no shape that was offered is placed on the Neural Engine", ("sweep",)),
    ):
        shown = _planned("hardware", offered, last)
        assert shown.plan[1] == started + why
        assert shown.untaken == untaken
        assert started + why in text.render(shown)
    assert _planned("hardware", offered).plan == ()


@pytest.mark.parametrize("name", NAMES)
def test_every_face_is_made_of_what_it_was_made_of(name: str) -> None:
    """If the change is meant, look at the faces, then store it: python -m tests.report.structure."""
    assert structure.text_of(name).splitlines() == structure.path_of(name).read_text().splitlines()


def test_a_run_without_curves_still_has_a_page() -> None:
    outline = Outline(html.page(told("fail"), Curves()))
    assert "The outputs of this run were not kept" in outline.said
    assert outline.scripts == []


def test_reports_import_neither_torch_nor_coremltools() -> None:
    code = (
        "import sys; from mish_guard import cli\n"
        "for form in ('md', 'html', 'sarif', 'junit', 'svg', 'json', 'text'):\n"
        f"    assert cli.main(['report', {str(RUNS / 'fail' / 'results.json')!r}, '--' + form]) == 0\n"
        f"assert cli.main(['compare', *[{str(RUNS)!r} + f'/{{n}}/results.json' for n in ('fail', 'pass')]]) == 0\n"
        "print('torch' in sys.modules, 'coremltools' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["False", "False"]
