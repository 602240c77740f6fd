"""Make the runs beside this file anew: `python -m tests.report.make_runs`, after the schema of results has changed.

Two are measured, through the softplus and the exp lowering; the others are the exp run on a machine that cannot show
the defect, on one that fails its own check, and on a Mac that nobody owns. The baselines are those of the exp run.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from mish_guard import cli, files
from mish_guard.records import CellKey, Device, EngineName, EnginePlace, Measurement, Placement, Role, Run
from mish_guard.results import baseline, curves, run_file

RUNS = Path(__file__).parent / "runs"
BASELINES = RUNS / "baselines"

MATRIX = """
schema_version: 1
groups:
  - {family: stability, cases: [scale-11.0], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: sweep, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}
  - family: surface
    cases: [handwritten]
    frontends: [torchscript]
    backends: [mlprogram-fp16]
    known_gap: coremltools sees softplus, tanh and mul, never mish
  - {family: sweep, role: graft, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: sweep, role: negative-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
  - {family: sweep, role: positive-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
"""

MAC: dict[str, Any] = {
    "kind": "mac",
    "baseline_key": "apple-m9-mac99-1",
    "hardware": {"chip": "Apple M9", "id": "apple-m9-mac99-1", "model": "Mac99,1"},
    "environment": {"macos": "26.0", "build": "25A000", "packages": {"coremltools": "9.0"}},
}


def main() -> int:
    """Measure, derive, write."""
    shutil.rmtree(RUNS, ignore_errors=True)
    failing, passing = _measured("softplus"), _measured("exp")
    good = run_file.read_run(passing / "results.json")
    _copy(failing, "fail")
    _copy(passing, "pass")
    _store(good, "ane")
    _write(_with_control(good, Role.NEGATIVE_CONTROL, Role.POSITIVE_CONTROL), "inconclusive", passing)
    _write(_with_control(good, Role.POSITIVE_CONTROL, Role.NEGATIVE_CONTROL), "broken", passing)
    mac = _on_a_mac(good)
    _write(mac, "hardware", None)
    _store(mac, "cpu-and-ne")
    return 0


def _measured(lowering: str) -> Path:
    folder = Path(tempfile.mkdtemp())
    (folder / "matrix.yml").write_text(MATRIX)
    arguments = ["run", "--matrix", str(folder / "matrix.yml"), "--profile", "ane", "--engine", "emulator"]
    if cli.main([*arguments, "--lowering", lowering, "--out", str(folder)]) != 0:
        sys.exit("The matrix could not be measured.")
    return folder


def _copy(folder: Path, name: str) -> None:
    document = files.read_json(folder / "results.json")
    document.pop("sha256")
    document["mish_guard"]["candidate"]["path"] = "/opt/tree/coremltools"
    _sealed(document, name)
    shutil.copyfile(folder / curves.NAME, RUNS / name / curves.NAME)


def _write(run: Run, name: str, source: Path | None) -> None:
    tests = [
        {"nodeid": key, "outcome": "passed", "metadata": {"measurement": run_file.measurement_to_json(cell)}}
        for key, cell in run.measurements.items()
    ]
    run = dataclasses.replace(run, candidate=dataclasses.replace(run.candidate, path="/opt/tree/coremltools"))
    _sealed({"tests": tests, "summary": {}, "exitcode": 0, "mish_guard": run_file.run_section(run)}, name)
    if source is not None:
        shutil.copyfile(source / curves.NAME, RUNS / name / curves.NAME)


def _sealed(document: dict[str, Any], name: str) -> None:
    (RUNS / name).mkdir(parents=True, exist_ok=True)
    (RUNS / name / "results.json").write_text(json.dumps(run_file.sealed(document), sort_keys=True) + "\n")


def _store(run: Run, place: str) -> None:
    path = baseline.path_of(BASELINES, run.engine_at(place), place, run.device_at(place))
    files.write_atomically(path, baseline.text_of(run, place, reason="runs for the tests of reports", repeats=1))


def _with_control(run: Run, changed: Role, like: Role) -> Run:
    """The run with the figures of one kind of control in place of the other's."""
    cells = dict(run.measurements)
    (source,) = [cell for cell in cells.values() if cell.key.role is like]
    (target,) = [cell for cell in cells.values() if cell.key.role is changed]
    cells[str(target.key)] = dataclasses.replace(target, figures=source.figures, culprit=source.culprit)
    return dataclasses.replace(run, measurements=cells)


def _on_a_mac(run: Run) -> Run:
    """The run as if a Mac had made it: at cpu-and-ne, on a Neural Engine."""
    place = EnginePlace(engine=EngineName.COREML, device=MAC, is_hardware=True, is_neural_engine=True)
    moved = [_moved(cell) for cell in run.measurements.values()]
    return dataclasses.replace(
        run,
        engines={"cpu-and-ne": place},
        measurements={str(cell.key): cell for cell in moved},
        expected=tuple(str(cell.key) for cell in moved),
    )


def _moved(cell: Measurement) -> Measurement:
    key: CellKey = dataclasses.replace(cell.key, place="cpu-and-ne")
    placement = Placement(activation="ne", ops={"mish": Device.NE})
    return dataclasses.replace(cell, key=key, placement=placement, repeats_agree=True, rung="16x16x64", assumptions=())


if __name__ == "__main__":
    sys.exit(main())
