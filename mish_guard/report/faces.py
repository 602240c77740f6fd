"""Every face of a report by its name, and all of them in a folder."""

from __future__ import annotations

from pathlib import Path

from mish_guard import files
from mish_guard.report import as_json, html, junit, markdown, pictures, sarif, text
from mish_guard.report.facts import Facts
from mish_guard.report.formats import Format
from mish_guard.results.curves import Curves


def write(facts: Facts, kept: Curves, form: Format) -> str:
    """A report in one form; newline at the end."""
    match form:
        case Format.TEXT:
            return text.render(facts, verbose=True) + "\n"
        case Format.JSON:
            return files.readable_json(as_json.document(facts))
        case Format.MARKDOWN:
            return markdown.summary(facts)
        case Format.HTML:
            return html.page(facts, kept) + "\n"
        case Format.SARIF:
            return files.readable_json(sarif.document(facts))
        case Format.JUNIT:
            return junit.document(facts)
        case Format.SVG:
            return pictures.standalone(facts, kept)


def write_all(facts: Facts, kept: Curves, folder: Path) -> tuple[Path, ...]:
    """Every face in `folder`, made before the first is written; returns the paths. Raises UnwritableFileError."""
    made = {folder / form.file_name: write(facts, kept, form) for form in Format}
    for path, content in made.items():
        files.write_atomically(path, content)
    return tuple(made)
