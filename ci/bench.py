"""Measure the speed of the gate against what it stands beside, and print every figure with its limit.

    python ci/bench.py

Ratios of wall times taken in one run of this script, so that they hold on any machine, and absolute figures where a
person waits. What is compared by the wall is run in turns, and the middle of the ratios counts. Exits 1 if a limit is
exceeded. The yardsticks are coremltools' own tests of mish, which make no numeric check off a Mac, and a bare script
that imports torch and coremltools and makes the matrix's conversions once. At the end `bench_nets.py` measures the
emulator on whole nets.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bench_scale
import yaml

_HERE = Path(__file__).parent
_TURNS = 3

_BARE = """
import sys, tempfile
from pathlib import Path
import torch, coremltools
from mish_guard.candidate import locate
from mish_guard.convert.conversion import convert_recipe
from mish_guard.convert.recipes import Recipe
from mish_guard.matrix import plan
from mish_guard.matrix.plan import Place
from mish_guard.models import networks

offered = locate.offered(Path(coremltools.__file__).parent)
recipes = {}
for cell in plan.load(plan.DEFAULT, [Place(name="ane", is_neural_engine=True)], offered):
    key = cell.key
    if not key.role.is_control:
        recipe = Recipe(model=networks.case(key.case).model, lowering="exp", frontend=key.frontend,
                        backend=key.backend, case=key.case)
        recipes[recipe] = None
with tempfile.TemporaryDirectory() as folder:
    for number, recipe in enumerate(recipes):
        convert_recipe(recipe, Path(folder) / f"{number}{recipe.suffix}")
"""

_EVALUATION = """
import tempfile, time
from pathlib import Path
from mish_guard.models import networks
from mish_guard.convert.conversion import convert
from mish_guard.engines.emulator import EmulatorEngine
from mish_guard.records import Backend, Frontend

case = networks.case("rank-2")
with tempfile.TemporaryDirectory() as folder:
    path = convert(case.build(), case.feeds()[0], lowering="exp", frontend=Frontend.TORCHSCRIPT,
                   backend=Backend.MLPROGRAM_FP16, stem=Path(folder) / "mish")
    engine = EmulatorEngine(("ane",))
    engine.run(path, case.feeds()[:1], "ane")
    seconds = []
    for _ in range(50):
        started = time.perf_counter()
        engine.run(path, case.feeds()[:1], "ane")
        seconds.append(time.perf_counter() - started)
print(min(seconds))
"""


@dataclass(frozen=True)
class Spent:
    """What a command took: seconds of wall time, seconds of CPU, and the largest resident set in bytes."""

    wall: float
    cpu: float
    memory: int

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.cpu:.1f} s of CPU)"


@dataclass(frozen=True)
class Turn:
    """One run of everything that is compared by the wall."""

    gate: Spent
    without_roads: Spent
    tests: Spent
    folder: Spent

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Gate, and gate without roads, to coremltools' tests; gate of a folder to gate."""
        tests = self.tests.wall
        return self.gate.wall / tests, self.without_roads.wall / tests, self.folder.wall / self.gate.wall


@dataclass(frozen=True)
class Figure:
    """One measured figure and the most it may be."""

    name: str
    value: float
    limit: float
    unit: str

    def __str__(self) -> str:
        verdict = "ok" if self.value <= self.limit else "TOO MUCH"
        return f"{self.name:58} {self.value:8.3f} {self.unit:3} (at most {self.limit:g})  {verdict}"


def main() -> int:
    """Measure, print, and return 1 if a limit is exceeded."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for figure in _figures(Path(folder)):
            print(figure, flush=True)
            figures.append(figure)
    nets = subprocess.run([sys.executable, "-W", "ignore", str(_HERE / "bench_nets.py")], check=False)
    return int(nets.returncode != 0 or any(figure.value > figure.limit for figure in figures))


def _figures(folder: Path) -> Iterator[Figure]:
    guard = [sys.executable, "-I", "-m", "mish_guard"]
    turns = [_turn(guard, folder) for _ in range(_TURNS)]
    for each in turns:
        print("; ".join(f"{name} {spent}" for name, spent in vars(each).items()).replace("_", " "))
    bare = _run([sys.executable, "-c", _BARE])
    print(f"bare script {bare}")
    whole, part, named = map(statistics.median, zip(*(each.ratios for each in turns), strict=True))
    yield Figure("whole gate / coremltools' own test_mish", whole, 1.3, "x")
    yield Figure("gate without roads / coremltools' own test_mish", part, 0.8, "x")
    yield Figure("gate of a folder / gate", named, 1.0, "x")
    gate = turns[-1].gate
    yield Figure("CPU of the gate / bare script with the same conversions", gate.cpu / bare.cpu, 1.5, "x")
    evaluation = subprocess.run([sys.executable, "-W", "ignore", "-c", _EVALUATION], check=True, capture_output=True)
    yield Figure("one lowering, 65,536 inputs, profile ane: evaluation", float(evaluation.stdout) * 1e3, 5.0, "ms")
    yield Figure("mish-guard --help", _best([*guard, "--help"]), 0.2, "s")
    yield Figure("mish-guard judge", _best([*guard, "judge", str(folder / "results.json")]), 0.5, "s")
    yield from _at_scale([*guard, "judge"], folder)
    page = folder / "report.html"
    rendered = [*guard, "report", str(folder / "results.json"), "--html", "--out", str(page)]
    yield Figure("page of the whole matrix: rendering", _best(rendered), 3.0, "s")
    yield Figure("page of the whole matrix: size", page.stat().st_size / 1e6, 1.5, "MB")
    told = {" ".join(tried): _run([*guard, *words], cwd=out, code=2).wall for tried, out, words in _mistakes(folder)}
    slowest = max(told, key=lambda each: told[each])
    yield Figure(f"slowest of {len(told)} files with a mistake: {slowest}", told[slowest], 2.0, "s")
    yield Figure("peak memory of the largest process of the gate", gate.memory / 2**30, 0.5, "GB")
    yield Figure("ci/test --fast", _run([str(_HERE / "test"), "--fast"]).wall, 20.0, "s")
    yield Figure("ci/test", _run([str(_HERE / "test")]).wall, 180.0, "s")


def _turn(guard: Sequence[str], folder: Path) -> Turn:
    gate = [*guard, "gate", "--lowering", "exp"]
    # A folder with a tree of its own: that of the release, which needs the repair like the one that is installed.
    named = ["--candidate", str(_installed().parent.parent)]
    return Turn(
        gate=_run([*gate, "--out", str(folder)]),
        # The baselines hold the cells that are left out, so the verdict is that they are missing.
        without_roads=_run([*gate, "--matrix", str(_without_roads(folder)), "--out", str(folder / "part")], code=11),
        tests=_run(_coremltools_tests(folder), cwd=folder),
        folder=_run([*gate, *named, "--out", str(folder / "other")]),
    )


def _without_roads(folder: Path) -> Path:
    """The matrix without the calls that users make."""
    matrix = folder / "without-roads.yml"
    shipped = yaml.safe_load((_HERE.parent / "mish_guard" / "matrix" / "matrix.yml").read_text(encoding="utf-8"))
    matrix.write_text(yaml.safe_dump({key: value for key, value in shipped.items() if key != "roads"}))
    return matrix


def _mistakes(folder: Path) -> Iterator[tuple[tuple[str, str], Path, list[str]]]:
    """Every option that names a file, with the largest file with a mistake of its kind: where, and what is typed."""
    sys.path.insert(0, str(_HERE.parent))
    from tests import test_malformed as malformed

    for number, (tried, each) in enumerate(malformed.TRIES.items()):
        largest = max(each.mistakes, key=lambda kind: len(each.mistakes[kind]))
        out, words = malformed.typed(tried, largest, folder / f"mistake-{number}")
        yield tried, out, words


def _at_scale(judge: Sequence[str], folder: Path) -> Iterator[Figure]:
    """CPU and memory of judging so many cells; what each costs must not grow with how many there are."""
    spent = {}
    for cells in (10, 100, 1000, 10_000):
        results, baselines = bench_scale.write(folder / "results.json", cells, folder / "scale")
        spent[cells] = _run([*judge, str(results), "--baselines", str(baselines)])
        print(f"{cells} cells judged: {spent[cells].cpu:.2f} s of CPU, {spent[cells].memory / 2**20:.0f} MB")
    few, some, many = spent[10], spent[1000], spent[10_000]
    cpu = (many.cpu - some.cpu) / 9000 / ((some.cpu - few.cpu) / 990)
    memory = (many.memory - some.memory) / 9000 / ((some.memory - few.memory) / 990)
    yield Figure("CPU of one cell more: of 10,000 / of 1,000", cpu, 1.5, "x")
    yield Figure("memory of one cell more: of 10,000 / of 1,000", memory, 1.5, "x")


def _installed() -> Path:
    spec = importlib.util.find_spec("coremltools")
    if spec is None or spec.origin is None:
        msg = "coremltools is not installed here; run ci/environment and use .venv/bin/python."
        raise SystemExit(msg)
    return Path(spec.origin)


def _coremltools_tests(folder: Path) -> list[str]:
    # A configuration of their own: ours, which pytest would find above .venv, is too strict for their markers.
    (folder / "pytest.ini").touch()
    tests = _installed().parent / "converters/mil/frontend/torch/test/test_torch_ops.py"
    options = ["-c", str(folder / "pytest.ini"), "-k", "test_mish", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
    return [sys.executable, "-m", "pytest", str(tests), *options]


def _best(command: Sequence[str]) -> float:
    return min(_run(command).wall for _ in range(3))


def _run(command: Sequence[str], cwd: Path | None = None, code: int = 0) -> Spent:
    """What a command that must end with `code` took, with all that it started and waited for."""
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        msg = f"{' '.join(command[:4])} ended with status {process.returncode}; run it by hand to see why."
        raise SystemExit(msg)
    # Linux counts in kilobytes. The gate's own children count where they are the largest.
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Spent(wall=time.perf_counter() - started, cpu=usage.ru_utime + usage.ru_stime, memory=memory)


if __name__ == "__main__":
    raise SystemExit(main())
