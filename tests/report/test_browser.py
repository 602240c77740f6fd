"""The page in a real browser, wide and narrow: nothing breaks, nothing is wider than the screen, axe-core is content.

Needs Chromium and npm, which fetches axe-core and mermaid once. Where Chromium is missing the tests are skipped, and
say how to have them; MISH_GUARD_BROWSER=1 makes its absence a failure.
"""

from __future__ import annotations

import html as escaping
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mish_guard.report import html, markdown
from tests import hostile
from tests.conftest import Invoke
from tests.report.conftest import kept, results, told

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DEMANDED = os.environ.get("MISH_GUARD_BROWSER") == "1"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        (CHROMIUM is None or shutil.which("npm") is None) and not DEMANDED,
        reason="no Chromium, or no npm, on PATH: apt-get install chromium npm; MISH_GUARD_BROWSER=1 insists on them",
    ),
]

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_TELL = "document.body.textContent = 'TOLD' + JSON.stringify(%s) + 'DLOT'"

_AXE = """
setTimeout(async () => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const chart = document.getElementById("chart-cliff");
  if (chart) chart.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
  const said = chart ? document.getElementById("chart-cliff-said").textContent : "";
  const drawn = document.documentElement.dataset.drawn;
  const found = (await axe.run()).violations.map((each) => [each.id, each.nodes[0].html]);
  %s;
}, 2500);
""" % (_TELL % "{wide, said, drawn, found, broken: window.broken}")

_BROKEN = """<script>
window.broken = [];
addEventListener("error", (event) => broken.push(event.message));
addEventListener("unhandledrejection", (event) => broken.push(String(event.reason)));
</script>"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What npm installed: axe-core and mermaid, at the versions of package-lock.json."""
    folder = tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "browser" / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=folder, check=True, timeout=600)
    return folder / "node_modules"


def ask(page: Path, *, width: int = 1280) -> Any:
    """What a page says once its scripts have run."""
    assert CHROMIUM is not None, "MISH_GUARD_BROWSER=1 demands Chromium, which is not on PATH"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={page.parent / 'profile'}",
            f"--window-size={width},2000",
            "--virtual-time-budget=30000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    told_by_page = re.search(r"TOLD(.*)DLOT", done.stdout, re.DOTALL)
    assert told_by_page is not None, done.stdout[-2000:]
    return json.loads(escaping.unescape(told_by_page[1]))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["fail", "hardware"])
def test_a_page_stands_in_a_browser(packages: Path, tmp_path: Path, name: str, width: int) -> None:
    axe = (packages / "axe-core" / "axe.min.js").read_text()
    page = _POLICY.sub(_BROKEN, html.page(told(name), kept(name)))
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", f"<script>{axe}</script><script>{_AXE}</script></body>"))
    answer = ask(path, width=width)
    assert answer["found"] == []
    assert answer["broken"] == []
    assert answer["wide"] == 0
    if name == "fail":
        assert answer["drawn"] == "yes"
        assert answer["said"].startswith("x 10.40625 0x4934; reference 10.4")
        assert "candidate 0 0x0000" in answer["said"]
        assert "positive 10.40625 0x4934" in answer["said"]


def _scan_page(invoke: Invoke) -> str:
    return invoke("scan", hostile.GOOD, "--input", "random:1", "--html").out


PAGES: dict[str, Callable[[Invoke], str]] = {
    "scan": _scan_page,
    "lowerings": lambda invoke: invoke("lowerings", "exp", "softplus", "--profile", "ane", "--html").out,
    "compare": lambda invoke: invoke("compare", results("pass"), results("fail"), "--format", "html").out,
}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_every_other_page_stands_in_a_browser(
    packages: Path, tmp_path: Path, invoke: Invoke, name: str, width: int
) -> None:
    axe = (packages / "axe-core" / "axe.min.js").read_text()
    page = _POLICY.sub(_BROKEN, PAGES[name](invoke))
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", f"<script>{axe}</script><script>{_AXE}</script></body>"))
    answer = ask(path, width=width)
    assert (answer["found"], answer["broken"], answer["wide"]) == ([], [], 0)


def test_the_page_s_own_policy_lets_its_scripts_run(tmp_path: Path) -> None:
    """A policy with a wrong hash would leave the static pictures and no chart."""
    path = tmp_path / "page.html"
    path.write_text(html.page(told("fail"), kept("fail")))
    assert CHROMIUM is not None, "MISH_GUARD_BROWSER=1 demands Chromium, which is not on PATH"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=30000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert re.search(r'<html[^>]*data-drawn="yes"', done.stdout)


@pytest.mark.parametrize("name", ["fail", "pass"])
def test_mermaid_understands_the_chart(packages: Path, tmp_path: Path, name: str) -> None:
    (chart,) = re.findall(r"```mermaid\n(.*?)```", markdown.summary(told(name)), re.DOTALL)
    mermaid = (packages / "mermaid" / "dist" / "mermaid.min.js").as_uri()
    path = tmp_path / "chart.html"
    asked = "(async () => { const kinds = [];"
    for text in (chart, chart.replace("line [", "lime [")):
        asked += f"kinds.push(await mermaid.parse({json.dumps(text)}, {{suppressErrors: true}}));"
    path.write_text(f'<body></body><script src="{mermaid}"></script><script>{asked}{_TELL % "kinds"}}})()</script>')
    good, bad = ask(path)
    assert good["diagramType"] == "xychart"
    assert bad is False
