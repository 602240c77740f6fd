"""Takes the pages at the root of the checkout into the site: the README becomes its front page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
_ALIASES = {"README.md": "index.md"}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the root's pages."""
    for name, target in _pages().items():
        files.append(File.generated(config, target, content=_moved((ROOT / name).read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point links that leave docs/ for the root at the pages above."""
    for name, target in _pages().items():
        markdown = markdown.replace(f"](../{name}", f"]({target}")
    return markdown


def _pages() -> dict[str, str]:
    return {path.name: _ALIASES.get(path.name, path.name.lower()) for path in sorted(ROOT.glob("*.md"))}


def _moved(markdown: str) -> str:
    for name, target in _pages().items():
        markdown = markdown.replace(f"]({name}", f"]({target}")
    return re.sub(r"\]\(docs/", "](", markdown)
