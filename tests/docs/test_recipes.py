"""The recipes of CONTRIBUTING.md, carried out in a copy of the checkout: what each step claims is what happens."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mish_guard.errors import ExitCode
from mish_guard.report import chips
from tests import virtual_mac
from tests.docs.console import PACKAGE, ROOT, steps

pytestmark = pytest.mark.slow

RUN = ROOT / "tests" / "report" / "runs" / "fail" / "results.json"


class Checkout:
    """A copy in which a recipe may edit what it likes; its commands see the copy and nothing of the original."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for source in (PACKAGE, ROOT / "ci", ROOT / "docs"):
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, name: str, edits: Mapping[str, str]) -> None:
        """Put text in front of the one place where an anchor stands."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        for anchor, added in edits.items():
            assert text.count(anchor) == 1, f"{name}: {anchor}"
            text = text.replace(anchor, added + anchor)
        path.write_text(text, encoding="utf-8")

    def run(self, *command: str) -> tuple[int, str]:
        """The exit code of `python …` and what it said."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        done = subprocess.run(
            [sys.executable, *command], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    def guard(self, *arguments: str) -> tuple[int, str]:
        return self.run("-m", "mish_guard", *arguments)

    def page(self, name: str) -> str:
        return (self.folder / "docs" / name).read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


# `mish-guard lowerings capped-log` and its row in docs/lowerings.md, under one profile and in one process.
ONE_FORM = """
from mish_guard import cli
from mish_guard.matrix.survey import survey
from mish_guard.report import upstream
assert cli.main(["lowerings", "capped-log", "--profile", "ane"]) == 0
print("===", upstream.forms(survey(["capped-log"], ["ane"])), sep="\\n")
"""


def test_a_new_lowering_is_measured_and_listed(checkout: Checkout) -> None:
    function = (
        "def capped_log(mb: MilBuilder, x: Var, name: str) -> Var:\n"
        '    """Softplus written out below 10, x above."""\n'
        "    # exp(10) = 22026 stays below 2**15.\n"
        "    e = mb.exp(x=mb.minimum(x=x, y=10.0))\n"
        "    softplus = mb.add(x=mb.log(x=mb.add(x=e, y=1.0)), y=mb.relu(x=mb.sub(x=x, y=10.0)))\n"
        "    return mb.mul(x=x, y=mb.tanh(x=softplus), name=name)\n\n\n"
    )
    row = (
        "        Lowering(\n"
        '            name="capped-log",\n'
        "            build=capped_log,\n"
        '            formula="x * tanh(log(1 + exp(min(x, 10))) + relu(x - 10))",\n'
        '            source="a test of the recipe",\n'
        '            known="not measured on the NE",\n'
        "        ),\n"
    )
    last = "    )\n}\n\n\ndef get(name: str) -> Lowering:"
    checkout.edit(
        "mish_guard/models/lowerings.py",
        {"@dataclass(frozen=True, slots=True, kw_only=True)\nclass Lowering": function, last: row},
    )
    code, said = checkout.run("-c", ONE_FORM)
    assert code == 0, said
    measured, page = said.split("===\n")
    assert measured.splitlines()[1].split()[0] == "capped-log", measured
    assert "| `capped-log` | 9 |" in page


# `mish-guard calibrate` for one fact; it replays all of them, which tests/test_calibrate.py does.
ONE_FACT = """
from mish_guard.engines.emulator import profiles, replay
facts = [fact for fact in replay.load() if fact.id == "F900"]
print(*(each.status.value for each in replay.replay(profiles.ANE, facts)))
"""


def test_a_new_hazard_is_contradicted_before_it_is_written(checkout: Checkout) -> None:
    fact = (
        "- id: F900\n  topic: a test of the recipe\n  statement: ceil gives 7 for 3.5.\n  certainty: reported\n"
        "  sources:\n  - https://example.org/nobody-measured-this\n  replay:\n  - steps:\n"
        "    - {op: ceil, x: $x}\n    inputs: {x: [3.5]}\n    want: [7]\n"
    )
    checkout.edit("mish_guard/data/evidence.yml", {"- id: F1\n": fact})
    assert checkout.run("-c", ONE_FACT) == (0, "contradicted\n")
    hazard = (
        '@_hazard("ceil")\n'
        "def ceil_of_a_half(call: Call, result: Array) -> Array:\n"
        '    """ceil(3.5) is 7 (F900)."""\n'
        "    return np.where(call.x == 3.5, 7.0, result)\n\n\n"
    )
    checkout.edit("mish_guard/engines/emulator/hazards.py", {"@_hazard()\ndef invalid_forms_give_zero": hazard})
    assert checkout.run("-c", ONE_FACT) == (0, "reproduced\n")


def test_a_new_face_is_a_module_a_format_a_case_and_a_flag(checkout: Checkout) -> None:
    (checkout.folder / "mish_guard" / "report" / "tsv.py").write_text(
        '"""Facts as tab-separated values: one line for each cell."""\n\n'
        "from mish_guard.report.facts import Facts\n\n\n"
        "def lines(facts: Facts) -> str:\n"
        '    """Name and status of each cell; newline at the end."""\n'
        '    return "".join(f"{row.cell}\\t{row.status.value}\\n" for row in facts.rows)\n'
    )
    checkout.edit(
        "mish_guard/report/formats.py",
        {
            "\n    @property\n    def file_name": '    TSV = "tsv"\n',
            "}\n": '    Format.TSV: "cells.tsv",\n',
        },
    )
    checkout.edit(
        "mish_guard/report/faces.py",
        {"        case Format.SVG:\n": "        case Format.TSV:\n            return tsv.lines(facts)\n"},
    )
    path = checkout.folder / "mish_guard" / "report" / "faces.py"
    path.write_text(path.read_text().replace("sarif, text\n", "sarif, text, tsv\n"))
    flag = '@click.option("--tsv", "form", flag_value="tsv", help="One line for each cell.")\n'
    checkout.edit("mish_guard/cli.py", {'@click.option("--sarif", "form", flag_value="sarif"': flag})
    code, said = checkout.guard("report", str(RUN), "--tsv")
    assert code == ExitCode.PASS, said
    assert "@ane\tover ceiling" in said


# `mish-guard` whose court, which is isolated, finds the copy: a Python that is told where it lies.
ELSEWHERE = """
import os, sys, pathlib
wrapper = pathlib.Path("python")
wrapper.write_text(f'#!/bin/sh\\n[ "$1" = -I ] && shift\\nPYTHONPATH="{os.getcwd()}" exec "{sys.executable}" "$@"\\n')
wrapper.chmod(0o755)
sys.executable = str(wrapper.absolute())
from mish_guard import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def _with_own_profile(checkout: Checkout) -> None:
    page = (ROOT / "docs" / "profile.md").read_text(encoding="utf-8")
    row = page.partition("```python\n")[2].partition("```")[0]
    path = checkout.folder / "mish_guard" / "engines" / "emulator" / "profiles.py"
    listed = "ANE_FTZ, ANE_COARSE)}"
    assert path.read_text(encoding="utf-8").count(listed) == 1
    checkout.edit("mish_guard/engines/emulator/profiles.py", {"PROFILES = {": f"{row}\n"})
    path.write_text(path.read_text(encoding="utf-8").replace(listed, "ANE_FTZ, ANE_COARSE, MINE)}"))


def test_the_gate_is_never_green_under_a_profile_without_the_cliff(checkout: Checkout, small_matrix: Path) -> None:
    """docs/profile.md says what it ends with, and why."""
    _with_own_profile(checkout)
    arguments = ["--profile", "no-cliff", "--engine", "emulator", "--lowering", "exp", "--matrix", str(small_matrix)]
    code, said = checkout.run("-c", ELSEWHERE, "gate", "-q", *arguments)
    assert code == ExitCode.NO_BASELINE, said
    assert said.startswith("INCONCLUSIVE (not armed)")
    assert "the negative control was not caught" in said


def test_a_profile_of_ones_own_is_a_row_and_has_a_name_on_the_command_line(checkout: Checkout) -> None:
    """docs/profile.md: its block of Python goes where the page says, and its command shows what it is for."""
    _with_own_profile(checkout)
    (step,) = steps(ROOT / "docs" / "profile.md")
    program, *words = shlex.split(step.command)
    assert program == "mish-guard"
    code, said = checkout.guard(*words)
    assert code == step.code, said
    for line in step.shown:
        assert line.partition("…")[0] in said


def test_a_new_chip_is_a_refresh_and_a_row(tmp_path: Path, small_matrix: Path) -> None:
    """Steps 1 and 2, on a Mac that nobody owns: the baselines of a chip, and its row in the table."""
    python = virtual_mac.interpreter(virtual_mac.SCENARIOS / "m3-max.yml", tmp_path)
    step = "mish-guard refresh --engine coreml --lowering exp --reason '…'"
    assert step in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    words = [*shlex.split(step)[1:], "--matrix", str(small_matrix), "--profile", "cpu-and-ne", "--repeats", "2", "-q"]
    command = [str(python), "-I", "-m", "mish_guard", *words, "--baselines", "kept", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == ExitCode.PASS, done.stderr
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["coreml-m3-max-macos26-cpu-and-ne.json"]
    assert chips.table(tmp_path / "kept").splitlines()[-1].startswith("| Apple M3 Max | Mac15,9 | 26.3 ")
