"""Runs of any number of cells for ci/bench.py, made of one that was measured: every other cell is covered by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mish_guard import files
from mish_guard.results import baseline, run_file

_PLACE = "ane"
_SWEPT = "sweep/mish-k3/torchscript/mlprogram-fp16@ane"
_BASELINE = f"emulator-{_PLACE}.json"


def write(results: Path, cells: int, folder: Path) -> tuple[Path, Path]:
    """A results file with so many cells at one place, and a folder with the baseline of that place, in `folder`."""
    run = {key: value for key, value in files.read_json(results).items() if key != "sha256"}
    stored = {key: value for key, value in files.read_json(baseline.SHIPPED / _BASELINE).items() if key != "sha256"}
    by_cell = {_cell(test): test for test in run["tests"] if "measurement" in test.get("metadata", {})}
    kept = [test for cell, test in by_cell.items() if cell.endswith(f"@{_PLACE}") and ":sweep/mish-k3/" in cell]
    names = list(_names(cells))
    run["tests"] = [*kept, *(_test(by_cell[_SWEPT], name, names[0]) for name in names)]
    expected = [_cell(test) for test in run["tests"]]
    places = {_PLACE: run["mish_guard"]["engines"][_PLACE]}
    run["mish_guard"] = {**run["mish_guard"], "covered": [], "engines": places, "expected": expected}
    grafts = {key: cell for key, cell in stored["cells"].items() if key in expected}
    swept = stored["cells"][_SWEPT]
    stored["cells"] = {**grafts, **{name: _measured(swept, name, names[0]) for name in names}}
    path, base = folder / f"{cells}.json", folder / f"baselines-{cells}"
    files.write_atomically(path, files.canonical_json(run_file.sealed(run)))
    files.write_atomically(base / _BASELINE, files.canonical_json(run_file.sealed(stored)))
    return path, base


def _cell(test: Mapping[str, Any]) -> str:
    return str(test["metadata"]["measurement"]["cell"])


def _names(cells: int) -> Iterator[str]:
    return (f"sweep/case-{number:05}/torchscript/mlprogram-fp16@{_PLACE}" for number in range(cells))


def _test(test: Mapping[str, Any], name: str, first: str) -> dict[str, Any]:
    measurement = _measured(test["metadata"]["measurement"], name, first)
    return {**test, "metadata": {**test["metadata"], "measurement": measurement}, "nodeid": name}


def _measured(swept: Mapping[str, Any], name: str, first: str) -> dict[str, Any]:
    """One in two with figures of its own, the others with those of the first."""
    is_covered = int(name.partition("-")[2][:5]) % 2
    return {"cell": name, "covered_by": first} if is_covered else {**swept, "cell": name}
