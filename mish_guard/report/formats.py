"""The faces that a report can have."""

from __future__ import annotations

import enum


class Format(str, enum.Enum):
    """How a report is written; the value is what the command line calls it."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    SARIF = "sarif"
    JUNIT = "junit"
    SVG = "svg"

    @property
    def file_name(self) -> str:
        """What the face is called in a folder of all faces."""
        return _FILE_NAMES[self]


_FILE_NAMES = {
    Format.TEXT: "report.txt",
    Format.JSON: "report.json",
    Format.MARKDOWN: "summary.md",
    Format.HTML: "report.html",
    Format.SARIF: "report.sarif",
    Format.JUNIT: "junit.xml",
    Format.SVG: "cliff.svg",
}
