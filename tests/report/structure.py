"""What every face of a committed run is made of, without its words: `python -m tests.report.structure` stores it.

A change of a face shows here as a difference of a few lines, to be looked at before it is stored.
"""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from mish_guard.report import faces
from mish_guard.report.formats import Format
from tests.report.conftest import NAMES, kept, told

FOLDER = Path(__file__).parent / "structure"

# What a reader, a screen reader or a script finds its way by.
_ATTRIBUTES = ("id", "class", "role", "scope", "href", "aria-label", "aria-labelledby", "tabindex", "data-chart")
_TEXTUAL = ("h1", "h2", "h3", "caption", "th", "title", "dt", "button")
_UNENDED = ("meta", "br", "wbr")


def main() -> int:
    """Store what the faces are made of now."""
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        path_of(name).write_text(text_of(name))
    return 0


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.json"


def text_of(name: str) -> str:
    """The structure of all faces of a run, a line for each thing."""
    return json.dumps({form.value: _READERS[form](_written(name, form)) for form in Format}, indent=1) + "\n"


def _written(name: str, form: Format) -> str:
    return faces.write(told(name), kept(name), form)


class _Tree(HTMLParser):
    """Elements outside pictures, indented, with the attributes that matter and the words of headings."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if "svg" not in self._open:
            named = " ".join(f"{name}={value}" for name, value in attrs if name in _ATTRIBUTES)
            self.lines.append(f"{'.' * len(self._open)}{tag} {named}".rstrip())
        if tag not in _UNENDED:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in _TEXTUAL and "svg" not in self._open[:-1] and data.strip():
            self.lines[-1] += f" | {data.strip()}"


def _html(page: str) -> list[str]:
    tree = _Tree()
    tree.feed(page)
    return list(_folded(tree.lines))


def _folded(lines: list[str]) -> Iterator[str]:
    """Lines that repeat, such as the cells of a row, once with their number."""
    last, number = "", 0
    for line in [*lines, ""]:
        if line != last:
            if number:
                yield last if number == 1 else f"{last} x {number}"
            last, number = line, 0
        number += 1


def _text(report: str) -> list[str]:
    """The label of every line; what goes on under a label has none."""
    return [line[:10].strip() for line in report.splitlines()]


def _markdown(summary: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(summary)
    shown = [each for each in tokens if each.nesting >= 0 and each.type not in ("inline", "tbody_open", "td_open")]
    return list(_folded([f"{'.' * each.level}{each.type} {each.tag} {each.info}".rstrip() for each in shown]))


def _sarif(text: str) -> list[Any]:
    (run,) = json.loads(text)["runs"]
    rules = [each["id"] for each in run["tool"]["driver"]["rules"]]
    return [rules, *([each["ruleId"], each["level"], each["locations"]] for each in run["results"])]


def _junit(text: str) -> list[str]:
    cases = ET.fromstring(text).iter("testcase")  # noqa: S314 - our own text
    return [" ".join([case.attrib["name"], *(child.tag for child in case)]) for case in cases]


def _json(text: str) -> Any:
    return _shape(json.loads(text))


def _shape(value: Any) -> Any:
    """Keys and types; of a list the first."""
    if isinstance(value, dict):
        return {key: _shape(each) for key, each in value.items() if "@" not in key}
    return [_shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def _svg(text: str) -> list[str]:
    """The words of a picture, numbers of its axes apart."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    return [each for each in found if not re.fullmatch(r"[\d.\-\u2212]+", each)]


_READERS = {
    Format.TEXT: _text,
    Format.JSON: _json,
    Format.MARKDOWN: _markdown,
    Format.HTML: _html,
    Format.SARIF: _sarif,
    Format.JUNIT: _junit,
    Format.SVG: _svg,
}


if __name__ == "__main__":
    sys.exit(main())
