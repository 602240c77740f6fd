"""Pages hang together: links lead somewhere, coined words are explained, what is generated is fresh."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mish_guard.engines.emulator.profiles import PROFILES
from tests.docs.console import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").glob("*.md")])
FENCES = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCES.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCES.sub("", page.read_text(encoding="utf-8"))):
        name, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / name) if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


# Words that a reader cannot guess; the glossary has those too that he half knows, such as engine and verdict.
COINED = (
    *("armed", "assumption", "baseline", "binade", "candidate", "ceiling", "cell", "collapsed", "negative control"),
    *("court", "graft", "hazard", "instrument", "known gap", "lowering", "placement", "profile", "rung", "witness"),
)
# Made by programs, or the glossary itself.
UNLINKED = ("glossary.md", "reference.md", "evidence.md", "roads.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md")
TEXTS = [page for page in PAGES if page.parent != ROOT / ".github" and page.name not in UNLINKED]
NO_PROSE = re.compile(r"^```.*?^```$|<!--.*?-->|`[^`\n]*`|!\[[^\]]*\]\([^)]*\)|^[#|].*?$", re.MULTILINE | re.DOTALL)


def first_uses(text: str) -> dict[str, bool]:
    """Every coined word in the prose of a page, and whether it is part of a link where it stands first."""
    prose = NO_PROSE.sub(" ", text)
    links = [each.span() for each in re.finditer(r"\[[^\]]*\]\([^)]*\)", prose)]
    found = {word: re.search(rf"\b{word}(s|es)?\b", prose.replace("\n", " "), re.IGNORECASE) for word in COINED}
    starts = {word: each.start() for word, each in found.items() if each}
    return {word: any(first <= at < last for first, last in links) for word, at in starts.items()}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_a_coined_word_leads_to_its_meaning_where_it_is_first_used(page: Path) -> None:
    assert [word for word, linked in first_uses(page.read_text(encoding="utf-8")).items() if not linked] == []


def test_a_coined_word_without_a_link_would_be_seen() -> None:
    assert first_uses("A graft, `court`, [ceiling](x) and a ceiling.") == {"graft": False, "ceiling": True}


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^## (.+)$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert words == sorted(words)


def test_the_readme_lists_every_profile() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows == list(PROFILES)


@pytest.mark.parametrize("name", ["cliff", "reference"])
def test_what_is_generated_is_fresh(name: str, tmp_path: Path) -> None:
    script = ROOT / "ci" / f"render_{name}.py"
    # In a process of its own: others may have called the command line here.
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    main = runpy.run_path(str(script))["main"]
    stale = tmp_path / "stale"
    stale.write_text("old")
    assert main(["--check"], stale) == 1


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="its theme wants Python 3.11")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "released converter falls to 0" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_the_yaml_of_the_readme_is_that_of_the_guide() -> None:
    """tests/workflows/test_fork.py runs the guide's."""
    readme, guide = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/workflows.md"))
    assert _first_yaml(readme) == _first_yaml(guide)


def _first_yaml(page: str) -> str:
    return page.partition("```yaml\n")[2].partition("```")[0]


def test_no_line_of_the_changelog_is_wider_than_the_code() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120] == []
