"""The life of a baseline: missing, measured, compared, refused."""

from __future__ import annotations

import dataclasses
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mish_guard import files
from mish_guard.commands import refresh as command
from mish_guard.errors import ExitCode
from mish_guard.judge import verdict
from mish_guard.judge.status import Status
from mish_guard.records import Measurement, Run
from mish_guard.results import baseline, run_file
from tests.conftest import Ended, Invoke
from tests.made_up import CELL, GRAFT, NEGATIVE, POSITIVE, cell, cliff, figures
from tests.made_up import run as made

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]


@pytest.fixture
def small(invoke: Invoke, small_matrix: Path, tmp_path: Path) -> Command:
    """A command on the small matrix at the profile ane, with baselines in tmp_path."""

    def run(name: str, *arguments: object, matrix: Path = small_matrix) -> Ended:
        common = ("--matrix", matrix, "--profile", "ane", "--baselines", tmp_path / "b", "--out", tmp_path / "o")
        return invoke(name, *common, *arguments)

    return run


REFRESH = ("refresh", "--reason", "a test", "--repeats", "2")


def test_the_life_of_a_baseline(small: Command, tmp_path: Path) -> None:
    assert small("gate", "--lowering", "exp").code == ExitCode.NO_BASELINE
    assert not (tmp_path / "b").exists()

    first = small(*REFRESH, "--lowering", "exp")
    assert first.code == ExitCode.PASS
    assert "0 cells unchanged, 0 changed or gone, 2 new" in first.out
    stored = baseline.load(tmp_path / "b" / "emulator-ane.json")
    assert stored.provenance["reason"] == "a test"
    assert stored.provenance["repeats"] == 2
    assert small("gate", "--lowering", "exp").code == ExitCode.PASS

    other = small(*REFRESH, "--lowering", "stable-softplus")
    assert other.code == ExitCode.PASS
    assert "1 cells unchanged, 1 changed or gone, 0 new" in other.out
    better = small("gate", "--lowering", "exp")
    assert better.code == ExitCode.PASS
    assert "1 better than the baseline, which is stale" in better.first_line
    assert better.last_line.startswith("Next: mish-guard refresh")


def test_a_run_over_a_ceiling_never_becomes_a_baseline(small: Command, tmp_path: Path) -> None:
    refused = small(*REFRESH, "--lowering", "as-is")
    assert refused.code == ExitCode.FAIL
    assert "Nothing was stored" in refused.err
    assert not (tmp_path / "b").exists()


def test_a_baseline_never_loses_cells_unasked(small: Command, small_matrix: Path, tmp_path: Path) -> None:
    assert small(*REFRESH, "--lowering", "exp").code == ExitCode.PASS
    before = (tmp_path / "b" / "emulator-ane.json").read_bytes()
    fewer = tmp_path / "fewer.yml"
    fewer.write_text("\n".join(line for line in small_matrix.read_text().splitlines() if "graft" not in line))
    refused = small(*REFRESH, "--lowering", "exp", matrix=fewer)
    assert refused.code == ExitCode.LOST
    assert "--allow-fewer-cells" in refused.err
    assert (tmp_path / "b" / "emulator-ane.json").read_bytes() == before
    allowed = small(*REFRESH, "--lowering", "exp", "--allow-fewer-cells", matrix=fewer)
    assert allowed.code == ExitCode.PASS
    assert "gone" in allowed.out


def test_runs_that_differ_never_become_a_baseline(
    small: Command, exp_results: Path, as_is_results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = iter([run_file.read_run(as_is_results), run_file.read_run(exp_results)])
    monkeypatch.setattr(command, "measure", lambda *_: next(runs))
    refused = small(*REFRESH, "--lowering", "exp")
    assert refused.code == ExitCode.BROKEN
    assert "different bits when repeated" in refused.err
    assert not (tmp_path / "b").exists()


def _blind(run: Run) -> Run:
    """The negative controls give what the positive ones give."""
    cells = {
        key: _with_figures(cell, run.measurements[key.replace("negative", "positive")])
        if key.startswith("negative")
        else cell
        for key, cell in run.measurements.items()
    }
    return dataclasses.replace(run, measurements=cells)


def _with_closed_gap(run: Run) -> Run:
    sound = run.measurements["sweep/mish-k3/torchscript/mlprogram-fp16@ane"]
    gap = "surface/nn.Softplus/torchscript/mlprogram-fp16@ane"
    cells = {**run.measurements, gap: _with_figures(run.measurements[gap], sound)}
    return dataclasses.replace(run, measurements=cells)


def _with_figures(cell: Measurement, other: Measurement) -> Measurement:
    return dataclasses.replace(cell, figures=other.figures)


@pytest.mark.parametrize(
    ("spoil", "code", "complaint"),
    [
        (_blind, ExitCode.INCONCLUSIVE, "the negative control was not caught"),
        (lambda run: dataclasses.replace(run, controls_error="a file differs"), ExitCode.BROKEN, "a file differs"),
    ],
    ids=["blind", "broken"],
)
def test_a_run_that_proves_nothing_never_becomes_a_baseline(
    small: Command,
    exp_results: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    spoil: Callable[[Run], Run],
    code: ExitCode,
    complaint: str,
) -> None:
    monkeypatch.setattr(command, "measure", lambda *_: spoil(run_file.read_run(exp_results)))
    refused = small(*REFRESH, "--lowering", "exp")
    assert refused.code == code
    assert "Nothing was stored" in refused.err
    assert complaint in refused.err
    assert not (tmp_path / "b").exists()


def test_the_baseline_of_an_older_mish_guard_is_replaced_and_a_part_of_the_matrix_is_none(
    small: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    who = dataclasses.replace(made().candidate, converter_sha256="0" * 64)
    good = [dataclasses.replace(cell(key), figures=figures(binades={})) for key in (CELL, GRAFT, POSITIVE)]
    run = made(*good, cell(NEGATIVE, cliff()), candidate=who, matrix_sha256="0" * 64)
    path = tmp_path / "b" / "emulator-ane.json"
    body = {**files.read_json(baseline.SHIPPED / path.name), "schema_version": 1}
    body.pop("sha256")
    files.write_atomically(path, files.readable_json({**body, "sha256": files.sha256(files.canonical_json(body))}))
    monkeypatch.setattr(command, "measure", lambda *_: run)
    replaced = small(*REFRESH)
    assert replaced.code == ExitCode.PASS, replaced.err
    assert "schema version 1" in replaced.err
    assert baseline.load(path).cells.keys() == {CELL, GRAFT}
    monkeypatch.setattr(command, "measure", lambda *_: dataclasses.replace(run, partial="sweep/*"))
    refused = small(*REFRESH)
    assert (refused.code, "whole matrix" in refused.err) == (ExitCode.USAGE, True)


def test_a_folder_for_baselines_that_cannot_be_is_told_before_anything_is_measured(
    small: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "measure", lambda *_: pytest.fail("measured first"))
    (tmp_path / "b").write_text("a file")
    refused = small(*REFRESH, "--baselines", tmp_path / "b" / "inside")
    assert refused.code == ExitCode.USAGE
    assert "Nothing can be written to" in refused.err


def test_nobody_else_measures_into_the_folder_while_baselines_are_measured(
    small: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held: list[bool] = []

    def measure(*_: object) -> Run:
        held.append(_is_held(tmp_path / "o"))
        return dataclasses.replace(made(), partial="sweep/*")

    monkeypatch.setattr(command, "measure", measure)
    assert small(*REFRESH).code == ExitCode.USAGE
    assert held == [True, True]
    assert not _is_held(tmp_path / "o")


def _is_held(folder: Path) -> bool:
    """Whether somebody holds the lock of a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_gap_that_closes_is_stored_and_its_cell_required_from_then_on(
    small: Command, exp_results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gap = "surface/nn.Softplus/torchscript/mlprogram-fp16@ane"
    monkeypatch.setattr(command, "measure", lambda *_: _with_closed_gap(run_file.read_run(exp_results)))
    assert small(*REFRESH, "--lowering", "exp").code == ExitCode.PASS
    stored = baseline.load_for(run_file.read_run(exp_results), tmp_path / "b")
    judged = verdict.judge(run_file.read_run(exp_results), stored, ())
    assert judged.exit_code is ExitCode.FAIL
    assert [each.cell for each in judged.findings if each.status is Status.OVER_CEILING] == [gap]


@pytest.mark.parametrize("path", sorted(baseline.SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_the_shipped_baselines_hold_the_shipped_matrix(path: Path) -> None:
    from mish_guard.candidate import locate
    from mish_guard.engines.emulator import profiles
    from mish_guard.matrix import plan
    from mish_guard.matrix.plan import Place

    stored = baseline.load(path)
    where = stored.provenance["place"]
    place = Place(name=where, is_neural_engine=profiles.get(where).is_neural_engine)
    offered = locate.offered(locate.tree(locate.interpreter(None)))
    cells = {str(cell.key) for cell in plan.load(plan.DEFAULT, [place], offered) if not cell.key.role.is_control}
    assert stored.cells.keys() == cells
    assert stored.provenance["matrix_sha256"] == plan.digest(plan.DEFAULT)
    assert stored.provenance["candidate"]["replaced"] == "exp"
    assert path.read_text().count("\n") >= len(cells)
    assert "/" not in str(files.read_json(path)["provenance"]["candidate"].get("path", ""))
