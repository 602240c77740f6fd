"""The pytest plugin of the matrix: options, one test per cell, and the results file.

pytest-json-report collects the tests; this plugin adds each cell's measurement to its test's metadata and who was
judged to the report, and writes the whole atomically. Installed as an entry point, it wakes up when a session is asked
for the tests of this package: `pytest --pyargs mish_guard.matrix`.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mish_guard.errors import ExitCode, GuardError, UnwritableFileError
from mish_guard.matrix.order import Order
from mish_guard.matrix.progress import Progress
from mish_guard.records import CellKey, Family, Measurement, Role
from mish_guard.results import run_file

if TYPE_CHECKING:  # torch and coremltools load with these, and every pytest session of an environment loads this file
    from mish_guard.matrix.plan import Cell
    from mish_guard.matrix.session import Session

RESULTS = "results.json"

_session_key: pytest.StashKey[Session] = pytest.StashKey()
_progress_key: pytest.StashKey[Progress] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the matrix; `mish-guard run` sets them from its own."""
    group = parser.getgroup("mish-guard")
    default = Order()
    for name, value, words in (
        ("engine", default.engine, "auto, emulator or coreml"),
        ("lowering", default.lowering, "as-is, or a lowering to convert mish through"),
        ("matrix", None, "matrix file (default: the one in the package)"),
        ("controls", default.controls, "folder of the stored control packages"),
        ("candidate", None, "Python, or folder that holds a coremltools (default: the one of this environment)"),
        ("against", None, "another one, that the candidate must not be worse than"),
        ("only", "", "glob of the cells to measure (default: all); such a run is never green as a whole"),
        ("results", RESULTS, "results file to write"),
        ("rungs", None, "file that remembers which shapes the Neural Engine took (default: beside the results)"),
    ):
        kind = None if isinstance(value, str) and value != RESULTS else Path
        group.addoption(f"--mish-{name}", type=kind or str, default=value, help=words)
    group.addoption("--mish-jobs", type=int, default=default.jobs, help="witnesses that convert at the same time")
    group.addoption("--mish-conversion-seconds", type=float, default=default.seconds, help="limit of one conversion")
    group.addoption("--mish-quiet", action="store_true", help="say nothing while measuring")
    group.addoption("--mish-key", type=int, help=argparse.SUPPRESS)
    group.addoption(
        "--mish-place",
        action="append",
        help="emulator profile or compute unit; repeat for several (default: all that can be used)",
    )


def order_of(option: argparse.Namespace) -> Order:
    """What pytest's options ask for."""
    return Order(
        engine=option.mish_engine,
        places=tuple(option.mish_place or ()),
        lowering=option.mish_lowering,
        matrix=option.mish_matrix,
        controls=option.mish_controls,
        candidate=option.mish_candidate,
        against=option.mish_against,
        only=option.mish_only or None,
        quiet=option.mish_quiet,
        jobs=option.mish_jobs,
        seconds=option.mish_conversion_seconds,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Prepare the run and let pytest-json-report collect without saving: the results file is ours to write."""
    config.addinivalue_line("markers", "cells(family, role): the cells of the matrix that a test measures")
    if not _is_matrix_run(config):
        return
    config.option.json_report = True
    config.option.json_report_file = ""
    config.option.json_report_omit = ["collectors", "keywords", "log", "streams", "traceback", "warnings"]
    try:
        config.stash[_session_key] = _session(order_of(config.option), config)
    except GuardError as error:
        if error.exit_code is ExitCode.USAGE:
            raise pytest.UsageError(str(error)) from error
        pytest.exit(str(error), returncode=error.exit_code)


def _session(order: Order, config: pytest.Config) -> Session:
    """The session of an order; its witnesses load while the court does. A wrong name is told before either loads."""
    from mish_guard.engines import registry
    from mish_guard.matrix.parties import Parties

    engine = registry.create(order.engine, order.places)
    parties = Parties(order)
    config.add_cleanup(parties.close)
    if not config.option.collectonly:
        parties.summon()
    gc.disable()  # what is imported stays
    from mish_guard.matrix.session import Session  # with torch

    gc.freeze()
    gc.enable()
    return Session(order, config.option, engine, parties)


def _is_matrix_run(config: pytest.Config) -> bool:
    return any("mish_guard.matrix" in arg or "mish_guard/matrix" in arg for arg in config.args)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each cell that a test's marker selects."""
    marker = metafunc.definition.get_closest_marker("cells")
    if marker is None:
        return
    chosen = [cell for cell in metafunc.config.stash[_session_key].cells if _matches(cell.key, **marker.kwargs)]
    metafunc.parametrize("cell", chosen, ids=[str(cell.key) for cell in chosen])


def _matches(key: CellKey, role: Role, family: Family | None = None) -> bool:
    return key.role is role and family in (None, key.family)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Measure in the order in which the models are converted.

    A test that no cell of the matrix selects is not there; pytest would call it skipped.
    """
    items[:] = [item for item in items if item.get_closest_marker("cells") is None or _key_of(item) is not None]
    if config.stash.get(_session_key, None) is not None:
        cells = config.stash[_session_key].cells
        places: dict[CellKey | None, int] = {cell.key: number for number, cell in enumerate(cells)}
        items.sort(key=lambda item: places.get(_key_of(item), -1))


def _key_of(item: pytest.Item) -> CellKey | None:
    """The cell that a test measures; None for a test of another kind, and for one that no cell was found for."""
    callspec = getattr(item, "callspec", None)
    cell = None if callspec is None else callspec.params.get("cell")
    key: CellKey | None = getattr(cell, "key", None)
    return key


@pytest.fixture(scope="session")
def mish_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """The session of this run, with its witnesses at work."""
    session = request.config.stash[_session_key]
    with session.measuring():
        yield session


@pytest.fixture
def measurement(cell: Cell, mish_session: Session, json_metadata: dict[str, object]) -> Measurement:
    """The measurement of the test's cell, recorded before anything is asserted of it."""
    measured = mish_session.measure(cell)
    json_metadata["measurement"] = run_file.measurement_to_json(measured)
    return measured


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """In a run that a command ordered, our progress takes the place of pytest's reporter, a line for each cell."""
    if _is_ordered(session.config):
        session.config.pluginmanager.unregister(name="terminalreporter")


def _is_ordered(config: pytest.Config) -> bool:
    return config.option.mish_key is not None and config.stash.get(_session_key, None) is not None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start to tell how far the run is."""
    if not _is_ordered(session.config) or session.config.option.collectonly:
        return
    quiet, dumb = session.config.option.mish_quiet, os.environ.get("TERM") == "dumb"
    session.config.stash[_progress_key] = Progress(len(session.items), sys.stdout, quiet=quiet, dumb=dumb)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """One cell more."""
    progress = item.config.stash.get(_progress_key, None)
    if progress is None:
        return (yield)
    progress.measuring(item.name.partition("[")[2].removesuffix("]"))
    ended = yield
    progress.done()
    return ended


@pytest.hookimpl(trylast=True, optionalhook=True)  # pytest-json-report declares it in the sessions that it reports
def pytest_json_modifyreport(json_report: dict[str, Any]) -> None:
    """Leave out what names the machine. Other pytest sessions keep their report as it is."""
    if not any("measurement" in test.get("metadata", {}) for test in json_report.get("tests", ())):
        return
    for noise in ("root", "environment"):
        json_report.pop(noise, None)
    # Where an assertion stands in the installed files is nothing that a measurement tells.
    for stage in (test.get(name) for test in json_report["tests"] for name in ("setup", "call", "teardown")):
        for noise in ("crash", "longrepr"):
            (stage or {}).pop(noise, None)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the results file; a session that was interrupted, only collects or failed to start writes none."""
    state = session.config.stash.get(_session_key, None)
    if _progress_key in session.config.stash:
        session.config.stash[_progress_key].end()
    plugin = getattr(session.config, "_json_report", None)
    complete = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if not complete or state is None or plugin is None or not plugin.report or session.config.option.collectonly:
        return
    try:
        state.write({**plugin.report, "mish_guard": run_file.run_section(state.run())})
    except UnwritableFileError as error:
        pytest.exit(f"The results were lost: {error}", returncode=ExitCode.BROKEN)
    complaint = state.remember()
    if complaint is not None:
        sys.stdout.write(f"{complaint}\n")
