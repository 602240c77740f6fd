"""The gate on every virtual Mac: `pytest tests/test_scenarios.py` prints how each story ends.

All runs are measured first, two at a time; the healthy ones become the baselines; then every run is judged.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from mish_guard import baseline, explain, record, verdict
from mish_guard.engines.coreml import UNITS
from mish_guard.model import Run
from mish_guard.report import table
from mish_guard.verdict import Judgement
from tests import virtual_mac
from tests.conftest import Invoke
from tests.virtual_mac import Scenario

MATRIX = """
schema_version: 1
groups:
  - {family: sweep, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: stability, cases: [scale-11.0], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: surface, cases: [handwritten], frontends: [torchscript], backends: [mlprogram-fp16], known_gap: by hand}
  - {family: sweep, role: negative-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
  - {family: sweep, role: positive-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
"""
NAMES = sorted(path.stem for path in virtual_mac.SCENARIOS.glob("*.yml"))

# The healthy run whose figures are the baselines of every Mac that computes alike.
DONORS = {"ane": "m3-max", "ane-ftz": "m1-pro-fixed"}
RUN_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Ended:
    """How the run of a scenario ended, and what it left."""

    scenario: Scenario
    code: int
    complaint: str
    seconds: float
    results: Path

    @property
    def run(self) -> Run | None:
        return record.read_run(self.results) if self.results.exists() else None


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every scenario, measured by the command line in a process of its own."""
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "matrix.yml").write_text(MATRIX)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip(NAMES, pool.map(lambda name: _measured(name, folder), NAMES), strict=True))


def _measured(name: str, folder: Path) -> Ended:
    path = virtual_mac.SCENARIOS / f"{name}.yml"
    scenario = virtual_mac.load(path)
    out = folder / name
    out.mkdir()
    command = [sys.executable, "-m", "mish_guard", "run", "--engine", "coreml", "--lowering", scenario.lowering]
    command += [f"--profile={place}" for place in scenario.places]
    started = time.monotonic()
    done = subprocess.run(
        [*command, f"--matrix={folder / 'matrix.yml'}", f"--out={out}"],
        env={**os.environ, **virtual_mac.environment(path, out)},
        cwd=out,
        capture_output=True,
        text=True,
        timeout=4 * RUN_SECONDS,
    )
    seconds = time.monotonic() - started
    return Ended(scenario, done.returncode, done.stderr, seconds, out / "results.json")


@pytest.fixture(scope="module")
def baselines(ended: Mapping[str, Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of baselines for each scenario: what a healthy Mac that computes alike, or it itself, measured."""
    folder = tmp_path_factory.mktemp("baselines")
    for name, each in ended.items():
        donor = each.run if each.scenario.baseline == "own" else ended[DONORS[each.scenario.profile]].run
        if each.run is None or donor is None:
            continue
        for where in sorted({cell.key.where for cell in donor.measurements.values()}):
            path = baseline.path_of(folder / name, "coreml", where, each.run.device)
            path.parent.mkdir(exist_ok=True)
            path.write_text(baseline.text_of(donor, where, reason="tests", repeats=1))
    return folder


def _judged(run: Run, baselines: Path) -> Judgement:
    return verdict.judge(run, baseline.load_for(run, baselines), explain.load_defects())


@pytest.mark.parametrize("name", NAMES)
def test_every_story_ends_as_it_must(name: str, ended: Mapping[str, Ended], baselines: Path, invoke: Invoke) -> None:
    each = ended[name]
    expect = each.scenario.expect
    if each.run is None:
        assert (each.code, expect["verdict"]) == (expect["exit_code"], None), each.complaint
        assert expect["reason"] in each.complaint
        return
    assert each.code == 0, each.complaint
    compared = invoke("compare", each.results, "--baselines", baselines / name)
    assert (compared.code, compared.first_line.partition(" ")[0]) == (expect["exit_code"], expect["verdict"])
    assert expect["reason"] in compared.first_line


@pytest.mark.parametrize("name", NAMES)
def test_no_story_takes_longer_than_it_may(name: str, ended: Mapping[str, Ended]) -> None:
    assert ended[name].seconds < RUN_SECONDS


@pytest.mark.parametrize("name", ["aborts-at-load", "vm-hangs"])
def test_no_cell_is_lost_with_a_process(name: str, ended: Mapping[str, Ended]) -> None:
    """Every cell has figures or a failure, and those of healthy models and units have figures."""
    run = ended[name].run
    assert run is not None
    assert set(run.expected) == run.measurements.keys()
    failed = {key for key, cell in run.measurements.items() if cell.failure is not None}
    struck = {"aborts-at-load": "sweep/mish-k3/torchscript", "vm-hangs": "@cpu-and-ne"}[name]
    assert failed == {key for key in run.expected if key.startswith(struck) or key.endswith(struck)}


def test_an_abort_and_a_hang_are_named_in_the_record(ended: Mapping[str, Ended]) -> None:
    reasons = {
        name: {cell.failure.reason for cell in run.measurements.values() if cell.failure}
        for name in ("aborts-at-load", "vm-hangs")
        if (run := ended[name].run) is not None
    }
    assert {reason.split(".")[0] for reason in reasons["aborts-at-load"]} == {
        "Core ML aborted the process while loading the model: SIGABRT"
    }
    assert {reason.split(" and ")[0].rstrip(".") for reason in reasons["vm-hangs"]} == {
        "Core ML did not answer within 6 s",
        "Not tried: Core ML hung 2 times in a row at cpu-and-ne",
    }


def test_the_neural_engine_of_a_virtual_machine_is_never_asked_for(ended: Mapping[str, Ended]) -> None:
    run = ended["hosted-vm"].run
    assert run is not None
    assert {cell.key.where for cell in run.measurements.values()} == {"cpu-only", "cpu-and-gpu"}


def test_the_stories_in_one_table(
    ended: Mapping[str, Ended], baselines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []
    for name, each in ended.items():
        run = each.run
        judgement = None if run is None else _judged(run, baselines / name)
        said = each.complaint.strip().splitlines()[-1] if judgement is None else judgement.reason
        code = each.code if judgement is None else int(judgement.exit_code)
        word = "-" if judgement is None else judgement.verdict.value
        rows.append((name, word, str(code), f"{each.seconds:.0f} s", said[:90]))
    with capsys.disabled():
        sys.stdout.write("\n" + table.render(("scenario", "verdict", "exit", "took", "reason"), rows) + "\n")
    assert len(rows) == len(NAMES) >= 9
    assert set(UNITS) >= {place for each in ended.values() for place in each.scenario.places}
