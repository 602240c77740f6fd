"""What the tests share: the command line in process, and one measured run per lowering."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mish_guard import cli, files
from mish_guard.results import run_file

# What needs neither a conversion nor torch: `ci/test --fast`, for who edits.
LIGHT = frozenset(
    {
        "test_changes.py",
        "test_chips.py",
        "test_comment.py",
        "test_compare.py",
        "test_curves.py",
        "test_defects_and_findings.py",
        "test_device.py",
        "test_figures.py",
        "test_github.py",
        "test_hazards.py",
        "test_hostile_packages.py",
        "test_judgement.py",
        "test_layout.py",
        "test_measurement_files.py",
        "test_monotone.py",
        "test_numerics.py",
        "test_rules.py",
        "test_status.py",
        "test_stored_files.py",
        "test_verdict.py",
    }
)

# Runs of the whole matrix, which make every test slow that looks at one.
WHOLE = frozenset({"exp_results", "as_is_results"})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="only the tests that need neither a conversion nor torch")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if config.getoption("--fast") and is_test and collection_path.name not in LIGHT else None


@pytest.hookimpl(tryfirst=True)  # before marks are chosen by
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What looks at the whole matrix is slow, and --fast goes without what is."""
    for item in items:
        if WHOLE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    if config.getoption("--fast"):
        items[:] = [item for item in items if item.get_closest_marker("slow") is None]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A light test that has become heavy is a mistake in the list above."""
    if session.config.getoption("--fast") and "torch" in sys.modules:
        pytest.exit("A test of --fast imported torch.", returncode=pytest.ExitCode.TESTS_FAILED)


# On a Mac the default is Core ML as well, whose figures no test can know; tests of engines name theirs.
os.environ.setdefault("MISH_GUARD_ENGINE", "emulator")

# A shell's background job ignores interrupts, and so would whatever the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL_MATRIX = """
schema_version: 1
groups:
  - {family: sweep, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: sweep, role: graft, cases: [mish-k3], frontends: [torchscript], backends: [mlprogram-fp16]}
  - {family: sweep, role: negative-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
  - {family: sweep, role: positive-control, cases: [mish-k3], frontends: [stored], backends: [mlprogram-fp16]}
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def first_line(self) -> str:
        return self.out.splitlines()[0]

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Invoke = Callable[..., Ended]


@pytest.fixture(autouse=True)
def a_pipe_has_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of pytest-xdist are told the width of a terminal that they do not have."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def invoke(capfd: pytest.CaptureFixture[str]) -> Invoke:
    """The command line in this process; what it starts is captured too."""

    def run(*arguments: object) -> Ended:
        code = cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return run


def measured(folder: Path, *arguments: object) -> Path:
    """The results file of `mish-guard run` with these arguments."""
    assert cli.main(["run", "--out", str(folder), *map(str, arguments)]) == 0
    return folder / "results.json"


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` filled, made by the first of the workers that wants it and shared by all."""
    base = factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / f"shared-{name}"
    with files.locked(folder, name):
        if not (folder / "made").exists():
            make(folder)
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="session")
def exp_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole matrix through the shipped lowering."""
    return (
        once(tmp_path_factory, "exp", lambda out: measured(out / "out", "--lowering", "exp")) / "out" / "results.json"
    )


@pytest.fixture(scope="session")
def as_is_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole matrix through the converter of the installed coremltools."""
    return once(tmp_path_factory, "as-is", lambda out: measured(out / "out")) / "out" / "results.json"


@pytest.fixture(scope="session")
def small_matrix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cells: candidate, graft and both controls."""
    path = tmp_path_factory.mktemp("matrix") / "small.yml"
    path.write_text(SMALL_MATRIX)
    return path


@pytest.fixture(scope="session")
def small_baselines(small_matrix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Baselines of the small matrix at the profile ane."""
    folder = tmp_path_factory.mktemp("baselines")
    arguments = ["refresh", "--reason", "tests", "--repeats", "2", "--matrix", small_matrix, "--profile", "ane"]
    out = tmp_path_factory.mktemp("out")
    assert cli.main([*map(str, arguments), "--lowering", "exp", "--baselines", str(folder), "--out", str(out)]) == 0
    return folder


def edited(results: Path, target: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a sealed file with `edit` applied, sealed again as if it had been measured so."""
    document = files.read_json(results)
    edit(document)
    document.pop("sha256")
    target.write_text(files.readable_json(run_file.sealed(document)))
    return target
