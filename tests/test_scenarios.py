"""The gate on every virtual Mac: `pytest tests/test_scenarios.py` prints how each story ends.

All runs are measured first, two at a time; the healthy ones become the baselines; then every run is judged.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from mish_guard.engines.coreml import UNITS
from mish_guard.engines.emulator import profiles
from mish_guard.judge import defects, verdict
from mish_guard.judge.verdict import Judgement
from mish_guard.records import Run
from mish_guard.report import table
from mish_guard.results import baseline, run_file
from tests import virtual_mac
from tests.conftest import Invoke
from tests.virtual_mac import Scenario

pytestmark = pytest.mark.slow

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

# A run that is stuck must not stick the tests.
STUCK_SECONDS = 1800.0


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
        return run_file.read_run(self.results) if self.results.exists() else None


class Stories(dict[str, Ended]):
    """The scenarios that have been measured; any other when it is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, name: str) -> Ended:
        self[name] = _measured(name, self._folder)
        return self[name]


@pytest.fixture(scope="module")
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every scenario that the chosen tests name, measured by the command line in a process of its own."""
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "matrix.yml").write_text(MATRIX)
    chosen = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    names = sorted({each.params["name"] for each in chosen if each is not None and "name" in each.params})
    stories = Stories(folder)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        stories.update(zip(names, pool.map(lambda name: _measured(name, folder), names), strict=True))
    return stories


def _measured(name: str, folder: Path) -> Ended:
    path = virtual_mac.SCENARIOS / f"{name}.yml"
    scenario = virtual_mac.load(path)
    out = folder / name
    out.mkdir()
    python = str(virtual_mac.interpreter(path, out))
    command = [python, "-m", "mish_guard", "run", "--engine", scenario.engine, "--lowering", scenario.lowering]
    command += [f"--profile={place}" for place in scenario.places]
    started = time.monotonic()
    done = subprocess.run(
        [*command, f"--matrix={folder / 'matrix.yml'}", f"--out={out}"],
        cwd=out,
        capture_output=True,
        text=True,
        timeout=STUCK_SECONDS,
    )
    seconds = time.monotonic() - started
    return Ended(scenario, done.returncode, done.stderr, seconds, out / "results.json")


@pytest.fixture(scope="module")
def baselines(ended: Mapping[str, Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of baselines for each scenario: what a healthy Mac that computes alike, or it itself, measured."""
    folder = tmp_path_factory.mktemp("baselines")
    for name, each in list(ended.items()):
        donor = each.run if each.scenario.baseline == "own" else ended[DONORS[each.scenario.profile]].run
        if each.run is None or donor is None:
            continue
        for where in sorted({cell.key.place for cell in donor.measurements.values()} & each.run.engines.keys()):
            path = baseline.path_of(folder / name, donor.engine_at(where), where, each.run.device_at(where))
            path.parent.mkdir(exist_ok=True)
            path.write_text(baseline.text_of(donor, where, reason="tests", repeats=1))
    return folder


def _judged(run: Run, baselines: Path) -> Judgement:
    return verdict.judge(run, baseline.load_for(run, baselines), defects.load_defects())


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


@pytest.mark.parametrize("name", ["aborts-at-load", "gpu-aborts", "vm-hangs"])
def test_no_cell_is_lost_with_a_process(name: str, ended: Mapping[str, Ended]) -> None:
    """Every cell has figures or a failure, and those of healthy models and units have figures."""
    run = ended[name].run
    assert run is not None
    assert set(run.expected) == run.measurements.keys()
    failed = {key for key, cell in run.measurements.items() if cell.failure is not None}
    struck = {"aborts-at-load": "/torchscript/", "gpu-aborts": "@cpu-and-gpu", "vm-hangs": "@cpu-and-ne"}[name]
    assert failed == {key for key in run.expected if struck in key}
    assert failed < set(run.expected)


def test_what_went_wrong_without_consequence_is_noted(ended: Mapping[str, Ended]) -> None:
    run = ended["comes-and-goes"].run
    assert run is not None
    notes = "\n".join(run.notes)
    assert "was tried twice, the first time failed: Something killed the process" in notes
    assert "after its answer the worker did not end well: Core ML aborted the process" in notes


def test_what_hangs_once_is_asked_again_and_what_hangs_for_good_is_named(ended: Mapping[str, Ended]) -> None:
    run = ended["hangs"].run
    assert run is not None
    tried = [note for note in run.notes if " was tried twice, the first time failed: " in note]
    assert any(note.startswith("The list of compute devices was") for note in tried)
    assert any(note.startswith("exp-") and "killed while making the compute plan." in note for note in tried)
    reasons = {cell.failure.reason for cell in run.measurements.values() if cell.failure}
    assert sorted(reason.split(".")[0] for reason in reasons) == [
        "Core ML did not answer within 12 s and was killed while predicting",
        "Something killed the process while predicting: SIGKILL, as the system does when memory is short",
    ]


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
        "Core ML did not answer within 20 s",
        "Not tried: Core ML hung 2 times in a row at cpu-and-ne",
    }


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("aborts-at-load", "load failed: Core ML aborted the process while loading the model: SIGABRT."),
        ("vm-hangs", "engine failed: Core ML did not answer within 20 s and was killed while loading the model."),
        ("vm-hangs", "engine failed: Not tried: Core ML hung 2 times in a row at cpu-and-ne."),
    ],
)
def test_an_abort_and_a_hang_are_findings(
    name: str, words: str, form: str, ended: Mapping[str, Ended], baselines: Path, invoke: Invoke
) -> None:
    compared = invoke("compare", ended[name].results, "--baselines", baselines / name, "--format", form)
    messages = [each["message"] for each in compared.json["findings"]] if form == "json" else compared.out.splitlines()
    assert any(f"no figures: {words}" in message for message in messages)


@pytest.mark.parametrize("name", ["hosted-vm", "auto-hosted-vm"])
def test_the_neural_engine_of_a_virtual_machine_is_never_asked_for(name: str, ended: Mapping[str, Ended]) -> None:
    run = ended[name].run
    assert run is not None
    places = {cell.key.place for cell in run.measurements.values()}
    assert places & UNITS.keys() == {"cpu-only", "cpu-and-gpu"}
    assert places - UNITS.keys() == (set(profiles.PROFILES) if name == "auto-hosted-vm" else set())


CLIMBED = [name for name in NAMES if "shapes" in virtual_mac.load(virtual_mac.SCENARIOS / f"{name}.yml").expect]


@pytest.mark.parametrize("name", CLIMBED)
def test_candidate_and_controls_are_judged_in_one_shape(name: str, ended: Mapping[str, Ended]) -> None:
    run = ended[name].run
    assert run is not None
    want = ended[name].scenario.expect["shapes"]
    rungs = {key: cell.rung for key, cell in run.measurements.items()}
    assert len(rungs) == 5
    assert rungs == {key: want["stability" if "stability/" in key else "sweep"] for key in rungs}
    assert all(
        cell.figures is not None and cell.figures.n_total in (63488, 16, 10) for cell in run.measurements.values()
    )


def test_figures_of_another_shape_are_not_compared(ended: Mapping[str, Ended]) -> None:
    """Although the sweep's figures agree bit by bit with those of the other shape."""
    climbed, healthy = ended["many-channels"].run, ended["m3-max"].run
    assert climbed is not None
    assert healthy is not None
    sweep = "sweep/mish-k3/torchscript/mlprogram-fp16@cpu-and-ne"
    digests = {run.measurements[sweep].figures.digest for run in (climbed, healthy)}  # type: ignore[union-attr]
    assert len(digests) == 1
    cells = baseline.judged_cells(healthy, "cpu-and-ne")
    stored = baseline.Baseline(path="b", provenance={}, cells=cells)
    judged = verdict.judge(climbed, {"cpu-and-ne": stored}, defects.load_defects())
    assert (judged.verdict.value, judged.exit_code) == ("INCONCLUSIVE", 11)
    (finding,) = [each for each in judged.findings if each.cell == sweep]
    assert finding.message == "measured at 8x8x32, the baseline at 128x128x1"


def test_where_nothing_is_placed_the_report_has_the_plan(
    ended: Mapping[str, Ended], baselines: Path, invoke: Invoke
) -> None:
    common = ("compare", ended["never-placed"].results, "--baselines", baselines / "never-placed")
    out = invoke(*common).out
    assert "the plan of Core ML for sweep: no shape that was offered is placed on the Neural Engine" in out
    (line,) = [line for line in out.splitlines() if "softplus_0_cast_fp16" in line]
    assert line.split() == ["softplus", "softplus_0_cast_fp16", "cpu", "cpu", "cpu", "cpu"]
    routing = invoke(*common, "--format", "json").json["routing"]
    assert routing["not_placed"] == ["sweep", "stability"]
    offered = [each for each in routing["attempts"] if each["ladder"] == "sweep"]
    assert [each["rung"] for each in offered] == ["128x128x1", "8x8x32", "28x28x16", "16x16x64"]
    assert all(
        {"op": "softplus", "name": "softplus_0_cast_fp16", "device": "cpu"} in each["operations"] for each in offered
    )


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("m3-max", "measured by Core ML at cpu-and-gpu, cpu-and-ne, cpu-only on Apple M3 Max, macOS 26.3"),
        ("auto-m3-max", "measured by Core ML at cpu-and-ne on Apple M3 Max, macOS 26.3; emulated at ane"),
        (
            "auto-hosted-vm",
            (
                "measured by Core ML at cpu-and-gpu, cpu-only on Apple M1 (Virtual), macOS 15.6; "
                "emulated at ane, ane-coarse, ane-ftz, ieee-fp16; no Neural Engine was measured"
            ),
        ),
        ("silent-fallback", "measured by Core ML at cpu-and-ne on Apple M4, macOS 26.4; no Neural Engine was measured"),
        (
            "never-placed",
            "measured by Core ML at cpu-and-ne on Apple M2 Pro, macOS 26.3; no Neural Engine was measured",
        ),
        (
            "candidate-not-placed",
            "measured by Core ML at cpu-and-ne on Apple M4, macOS 26.2; no Neural Engine was measured",
        ),
    ],
)
def test_the_report_says_what_the_verdict_rests_on(
    name: str, statement: str, ended: Mapping[str, Ended], baselines: Path, invoke: Invoke
) -> None:
    common = ("compare", ended[name].results, "--baselines", baselines / name)
    evidence = invoke(*common, "--format", "json").json["evidence"]
    assert evidence["statement"] == statement
    assert (evidence["neural_engines"] == []) is ("no Neural Engine" in statement)
    assert f"evidence   {statement}" in invoke(*common).out.splitlines()


def test_baselines_of_both_engines_lie_side_by_side(baselines: Path) -> None:
    names = {path.name for path in (baselines / "auto-m3-max").iterdir()}
    assert names == {"coreml-m3-max-macos26-cpu-and-ne.json", "emulator-ane.json"}
    stored = {name: baseline.load(baselines / "auto-m3-max" / name) for name in names}
    assert stored["emulator-ane.json"].provenance["device"]["kind"] == "emulator"
    assert stored["coreml-m3-max-macos26-cpu-and-ne.json"].provenance["device"]["hardware"]["chip"] == "Apple M3 Max"


def test_times_are_recorded_and_never_stored(ended: Mapping[str, Ended], baselines: Path) -> None:
    run = ended["m3-max"].run
    assert run is not None
    times = [cell.times for cell in run.measurements.values()]
    assert all(each is not None and each.load > 0 and each.predict > 0 for each in times)
    texts = [path.read_text() for path in (baselines / "m3-max").iterdir()]
    assert len(texts) == 3
    assert not any('"times"' in text for text in texts)


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
    assert {*UNITS, *profiles.PROFILES} >= {place for each in ended.values() for place in each.scenario.places}
