"""The commands that show: judge, compare, report, cells; runs of some cells; progress; what shells complete."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from mish_guard import cli
from mish_guard.commands import cells
from mish_guard.errors import ExitCode
from mish_guard.judge import defects, verdict
from mish_guard.matrix.progress import Progress
from mish_guard.records import Covered
from mish_guard.report import facts, text
from mish_guard.report.facts import Facts
from mish_guard.report.formats import Format
from mish_guard.results import baseline, run_file
from tests.conftest import Invoke
from tests.report.conftest import BASELINES, NAMES, judge_arguments, judgement, results

CODES = {"fail": 10, "pass": 0, "inconclusive": 20, "broken": 21, "hardware": 0}


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_judged_again_with_the_code_of_its_verdict(invoke: Invoke, name: str) -> None:
    ended = invoke(*judge_arguments(name))
    assert ended.code == CODES[name]
    assert ended.first_line.startswith(judgement(name).verdict.value)
    old_call = invoke("compare", results(name), "--baselines", BASELINES)
    assert (old_call.code, old_call.out) == (ended.code, ended.out)


@pytest.mark.parametrize("form", [each for each in Format if each is not Format.TEXT])
def test_a_report_has_the_form_that_was_asked_for(invoke: Invoke, tmp_path: Path, form: Format) -> None:
    option = {"markdown": "--md"}.get(form.value, f"--{form.value}")
    arguments = ["report", results("fail"), "--baselines", BASELINES, option]
    shown = invoke(*arguments)
    written = invoke(*arguments, "--out", tmp_path / "report")
    assert (shown.code, written.code, written.out) == (0, 0, "")
    assert (tmp_path / "report").read_text() == shown.out
    starts = {
        "json": "{",
        "markdown": "## FAIL",
        "html": "<!DOCTYPE html>",
        "sarif": "{",
        "junit": "<?xml",
        "svg": "<svg",
    }
    assert shown.out.startswith(starts[form.value])


def test_two_runs_are_laid_beside_each_other(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ended = invoke("compare", results("pass"), results("fail"))
    assert ended.code == 0
    assert ended.first_line == "2 cells unchanged, 2 changed or gone, 0 new"
    row = next(line for line in ended.out.splitlines() if line.startswith("sweep/mish-k3"))
    assert row.split()[-5:] == ["over", "+[16,", "32)", "5.184e-11", "2048"] or row.split()[-1] == "2048"
    document = invoke("compare", results("pass"), results("fail"), "--format", "json").json
    assert {each["cell"]: each["moved"]["after"] for each in document["changes"]}[row.split()[0]] == pytest.approx(2048)


def test_a_run_is_laid_beside_a_baseline(invoke: Invoke) -> None:
    ended = invoke("compare", BASELINES / "emulator-ane.json", results("pass"))
    assert ended.first_line == "4 cells unchanged, 0 changed or gone, 0 new"


def test_two_places_are_compared_road_by_road(invoke: Invoke) -> None:
    ended = invoke("compare", results("pass"), results("hardware"))
    assert ended.code == 0
    assert "@" not in ended.out
    assert "at 16x16x64, not" in ended.out


def test_two_runs_have_one_picture(invoke: Invoke) -> None:
    page = invoke("compare", results("pass"), results("fail"), "--format", "html").out
    assert page.count("<svg") == 1
    assert page.count("<table") == 1
    assert invoke("compare", results("pass"), results("fail"), "--format", "svg").out.startswith("<svg")
    told = invoke("compare", results("pass"), results("fail"), "--format", "markdown")
    assert told.out.startswith("**Compared**: 2 cells")


def test_runs_without_a_common_cell_are_not_compared(invoke: Invoke, tmp_path: Path) -> None:
    other = results("pass").read_text()
    for case in ("mish-k3", "scale-11.0", "handwritten"):
        other = other.replace(f"/{case}/", f"/other-{case}/")
    document = json.loads(other)
    document.pop("sha256")
    (tmp_path / "other.json").write_text(json.dumps(run_file.sealed(document)))
    ended = invoke("compare", results("pass"), tmp_path / "other.json")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "have no cell in common" in ended.err


def test_cells_are_listed_by_glob(invoke: Invoke) -> None:
    everything = invoke("cells", "--profile", "ane").out.splitlines()
    assert len(everything) > 40
    assert invoke("cells", "--profile", "ane", "tower").out.splitlines() == [x for x in everything if "/tower/" in x]
    assert invoke("cells", "--profile", "ane", "sweep/*").out.splitlines() == [x for x in everything if "sweep/" in x]
    ended = invoke("cells", "no-such")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "No cell matches 'no-such'. There are" in ended.err


def test_a_shell_completes_cells_places_and_lowerings() -> None:
    assert {"as-is", "softplus", "exp"} <= set(cells.known("lowerings"))
    assert {"ane", "cpu-and-ne"} <= set(cells.known("places"))
    assert "cpu-and-ne" not in cells.known("profiles")
    gate = cli.cli.commands["gate"]
    context = gate.make_context("gate", [], resilient_parsing=True)
    (option,) = [each for each in gate.params if each.name == "profiles"]
    assert [each.value for each in option.shell_complete(context, "cpu-and-n")] == ["cpu-and-ne"]


def partial(pattern: str) -> Facts:
    run = dataclasses.replace(run_file.read_run(results("pass")), partial=pattern)
    return facts.gather(verdict.judge(run, baseline.load_for(run, BASELINES), defects.load_defects()))


def test_a_run_of_some_cells_says_so_and_is_not_green() -> None:
    told = partial("sweep/*")
    assert told.exit_code == ExitCode.INCONCLUSIVE
    shown = text.render(told)
    assert "Nothing wrong among the cells that match 'sweep/*'; the rest was not looked at." in shown
    assert "partial    only cells that match 'sweep/*' were measured" in shown
    assert shown.splitlines()[-1] == "Next: mish-guard gate, without --only, for the whole matrix."


def test_roads_that_were_seen_to_be_covered_are_counted() -> None:
    road = Covered(road="default call", ops="exp mul", covered_by="sweep/mish-k3/torchscript/mlprogram-fp16@ane")
    told = dataclasses.replace(partial("*"), covered=(road,))
    assert "roads      1 more road converted to operations that were measured" in text.render(told)


def test_the_conversions_and_the_measurements_are_counted() -> None:
    told = dataclasses.replace(partial("*"), conversions=59)
    assert f"work       59 conversions, {len(told.rows)} measurements" in text.render(told)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def _progress(stream: io.StringIO, total: int = 20, **options: bool) -> str:
    seconds = iter(range(10_000))
    progress = Progress(total, stream, clock=lambda: float(next(seconds)), **options)
    for number in range(total):
        progress.measuring(f"cell-{number}")
        progress.done()
    progress.end()
    return stream.getvalue()


def test_progress_is_one_line_that_rewrites_itself_in_a_terminal() -> None:
    shown = _progress(Screen())
    assert "\n" not in shown
    assert shown.count("\r\x1b[K") == 21
    assert "10 of 20 cells, 10 s left: cell-10" in shown
    assert shown.endswith("\r\x1b[K")


def test_progress_is_a_line_now_and_then_elsewhere() -> None:
    for stream, options in ((io.StringIO(), {}), (Screen(), {"dumb": True})):
        lines = _progress(stream, total=200, **options).splitlines()
        assert 10 <= len(lines) <= 20
        assert lines[0] == "0 of 200 cells: cell-0"
        assert lines[-1] == "200 of 200 cells"
        assert not any("\x1b" in line or "\r" in line for line in lines)


def test_quiet_progress_is_silent() -> None:
    assert _progress(io.StringIO(), quiet=True) == ""
    assert _progress(Screen(), quiet=True) == ""


def test_lowerings_are_a_page_that_shows_them_side_by_side(invoke: Invoke) -> None:
    page = invoke("lowerings", "exp", "softplus", "--profile", "ane", "--format", "html").out
    assert page.count("<svg") == 1
    assert page.count('<th scope="row">') == 2
    assert "[10.3984375, 65504.0]" in page
    assert "no hardware was measured" in page


def test_a_cell_that_cannot_be_compared_is_not_what_pictures_show() -> None:
    run = run_file.read_run(results("pass"))
    graft = next(key for key in run.measurements if key.startswith("graft:"))
    other = dataclasses.replace(run.measurements[graft], instrument="0" * 64)
    run = dataclasses.replace(run, measurements={**run.measurements, graft: other})
    told = facts.gather(verdict.judge(run, baseline.load_for(run, BASELINES), defects.load_defects()))
    assert [finding.cell for finding in told.findings] == [graft]
    assert told.subject is not None
    assert told.subject.row.cell == "sweep/mish-k3/torchscript/mlprogram-fp16@ane"
    assert told.strips[2].works


def _on_a_terminal(columns: int, **environment: str) -> str:
    """What `judge` prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "mish_guard", *judge_arguments("fail")]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**kept, **environment}) as process:
        os.close(theirs)
        shown = b""
        # Linux tells the end of a terminal as an error, macOS as nothing to read.
        with contextlib.suppress(OSError):
            while more := os.read(ours, 65536):
                shown += more
    os.close(ours)
    assert process.returncode == ExitCode.FAIL
    return shown.decode()


@pytest.mark.parametrize(
    ("columns", "environment", "coloured"),
    [(80, {"TERM": "xterm"}, True), (200, {"TERM": "dumb"}, False), (80, {"TERM": "xterm", "NO_COLOR": "1"}, False)],
    ids=["colours", "dumb", "NO_COLOR"],
)
def test_a_terminal_gets_what_it_can_show(columns: int, environment: dict[str, str], *, coloured: bool) -> None:
    shown = _on_a_terminal(columns, **environment)
    assert ("\x1b[" in shown) is coloured
    body = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()[1:-1]
    assert max(map(len, body)) <= columns
    assert max(map(len, body)) > columns * 0.4
