"""The command line: how commands end, what they print where, and how fast."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mish_guard import cli
from mish_guard.engines.coreml import machine
from mish_guard.engines.emulator import profiles
from mish_guard.errors import ExitCode
from mish_guard.models import lowerings
from tests.conftest import SMALL_MATRIX, Invoke
from tests.report.conftest import judge_arguments


def test_the_exit_codes_are_those_of_the_help(invoke: Invoke) -> None:
    text = " ".join(invoke("--help").out.split())
    table = text.partition("Exit codes: ")[2].partition(". Options")[0]
    told = {int(number) for number in re.findall(r"\b\d+\b", table)}
    assert told == {int(code) for code in ExitCode}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gate", "--lowering", "relu"], "No lowering is called 'relu'. Choose one of: as-is, softplus, exp"),
        (
            ["gate", "--engine", "auto", "--profile", "m1"],
            "No profile is called 'm1', nor a compute unit. Choose from: ieee-fp16, ane",
        ),
        (["lowerings", "--profile", "m1"], "No profile is called 'm1'"),
        (["doctor", "--profile", "cpu-and-nee"], "No profile is called 'cpu-and-nee', nor a compute unit"),
        (["lowerings", "relu"], "No lowering is called 'relu'"),
        (["explain", "mish"], "'mish' is not a cell; expected [role:]family/case/frontend/backend@place"),
        (["compare", "nowhere.json"], "'nowhere.json' cannot be read"),
        (["gate", "--matrix", "nowhere.yml"], "nowhere.yml' cannot be read"),
        (["refresh", "--reason", " "], "A baseline needs a reason"),
        (["rebuild-controls", "--reason", ""], "Controls need a reason"),
        (["gate", "--fast"], "No such option"),
        (["gait"], "No such command"),
    ],
)
def test_a_mistake_is_told_and_ends_with_2(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = invoke(*arguments)
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert complaint in ended.err
    assert not list(tmp_path.glob("**/*.json"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("schema_version: 1\ngroups: []\n", "does not follow the matrix schema"),
        (
            "schema_version: 1\ngroups: [{family: sweep, cases: [mish-k3], frontends: [java], backends: [x]}]\n",
            "schema",
        ),
        (
            SMALL_MATRIX + SMALL_MATRIX.partition("groups:\n")[2],
            "names the cell negative-control:sweep/mish-k3/stored/mlprogram-fp16@ane twice",
        ),
        ("{", "is not valid YAML"),
    ],
    ids=["empty", "strange", "twice", "torn"],
)
def test_a_matrix_that_makes_no_sense_is_told(invoke: Invoke, tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "matrix.yml").write_text(text)
    ended = invoke("gate", "--matrix", tmp_path / "matrix.yml", "--out", tmp_path / "o")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert complaint in ended.err


@pytest.mark.skipif(machine.is_mac(), reason="asserts what a machine without Core ML is told")
def test_core_ml_without_a_mac_is_an_error_and_never_the_emulator(invoke: Invoke, tmp_path: Path) -> None:
    ended = invoke("gate", "--engine", "coreml", "--out", tmp_path / "o")
    assert ended.code == ExitCode.BROKEN
    assert "coreml" in ended.err
    assert not (tmp_path / "o" / "results.json").exists()


def test_an_old_results_file_does_not_survive_a_failed_run(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    assert invoke("gate", "--lowering", "relu", "--out", tmp_path).code == ExitCode.USAGE
    assert not (tmp_path / "results.json").exists()


def test_a_crash_leaves_one_line_and_a_report(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_known", lambda _: 1 / 0)
    ended = invoke("calibrate")
    (report,) = tmp_path.glob("mish-guard-crash-*.md")
    assert ended.code == ExitCode.CRASH
    assert len(ended.err.splitlines()) == 1
    assert report.name in ended.err
    assert "ZeroDivisionError" in report.read_text()
    assert "`mish-guard calibrate`" in report.read_text()


def test_a_reader_who_leaves_is_no_crash(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "mish_guard", *judge_arguments("pass")]
    ended = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, cwd=tmp_path)
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (ExitCode.INTERRUPTED, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["_run", "_complain", "_no_output"])
def test_a_signal_at_any_moment_ends_with_130(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an ending is already under way: an error is being told, or there is nobody to tell."""

    def interrupted(*_: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    def without_output(*_: object) -> int:
        raise OSError

    if where == "_no_output":
        monkeypatch.setattr(cli, "_run", without_output)
    monkeypatch.setattr(cli, where, interrupted)
    assert cli.main(["judge", "missing.json"]) == ExitCode.INTERRUPTED


@pytest.mark.slow
def test_an_interrupted_run_ends_with_130_and_records_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mish_guard", "gate", "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if " cells" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (ExitCode.INTERRUPTED, "")
    assert "interrupted" in err.lower()
    assert not (tmp_path / "results.json").exists()


def test_a_pipe_gets_colours_only_on_demand(invoke: Invoke) -> None:
    assert "\x1b[" not in invoke(*judge_arguments("pass")).out
    assert "\x1b[" in invoke("--color", "always", *judge_arguments("pass")).out


@pytest.mark.parametrize(
    ("arguments", "variables", "coloured"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"TERM": "dumb"}, False),
        (["--color", "never"], {}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
    ],
    ids=["terminal", "NO_COLOR", "dumb", "never", "always"],
)
def test_a_terminal_gets_colours_unless_somebody_objects(
    arguments: list[str], variables: dict[str, str], coloured: bool
) -> None:
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "mish_guard", *arguments, *judge_arguments("pass")],
        stdout=theirs,
        check=True,
        env={**plain, "TERM": "xterm", **variables},
    )
    os.close(theirs)
    shown = os.read(ours, 200).decode()
    os.close(ours)
    assert "PASS (armed)" in shown
    assert shown.startswith("\x1b[") is coloured


@pytest.mark.slow
def test_lowerings_prints_every_lowering_with_measured_figures(invoke: Invoke) -> None:
    rows = invoke("lowerings", "--format", "json").json
    assert {(row["lowering"], row["profile"]) for row in rows} == {
        (lowering, profile) for lowering in lowerings.TABLE for profile in profiles.PROFILES
    }
    by_name = {(row["lowering"], row["profile"]): row for row in rows}
    assert {name for (name, where), row in by_name.items() if where == "ane" and not row["within_ceiling"]} == {
        "softplus",
        "ratio",
        "naive-log",
    }
    assert {name for (name, where), row in by_name.items() if where == "ieee-fp16" and not row["within_ceiling"]} == {
        "ratio"
    }
    assert by_name["softplus", "ane"]["n_ops"] == 3
    assert by_name["exp", "ane"]["n_ops"] == 7
    assert all(row["figures"]["n_total"] == 63488 for row in rows)


def test_doctor_does_not_send_to_the_emulator_who_can_convert_nothing(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "coremltools.libmilstoragepython", None)
    ended = invoke("doctor")
    assert ended.code == ExitCode.BROKEN
    assert "coremltools, which lacks a library, converts nothing" in ended.first_line
    assert "Next: Without it coremltools says 'BlobWriter not loaded'." in ended.out


@pytest.mark.skipif(machine.is_mac(), reason="asserts what a machine without Core ML is told")
def test_doctor_says_what_is_missing(invoke: Invoke) -> None:
    ended = invoke("doctor")
    assert ended.code == ExitCode.BROKEN
    assert ended.first_line.startswith("BROKEN")
    assert ended.last_line.startswith("Next: ")
    document = invoke("doctor", "--format", "json").json
    assert document["exit_code"] == ExitCode.BROKEN
    assert any(check["outcome"] == "fail" for check in document["checks"])


@pytest.mark.slow
def test_explain_shows_the_operation_that_went_wrong(invoke: Invoke, tmp_path: Path) -> None:
    cell = "sweep/mish-k3/torchscript/mlprogram-fp16@ane"
    ended = invoke("explain", cell, "--lowering", "softplus", "--out", tmp_path)
    assert ended.code == ExitCode.PASS
    assert "over ceiling [10.3984375, 32752.0], 11981 inputs" in ended.out
    (culprit,) = [line for line in ended.out.splitlines() if "first wrong operation" in line]
    assert culprit.split()[0] == "softplus"
    assert "MISH-SOFTPLUS-CLIFF" in ended.out
    assert ended.last_line == f"Again: mish-guard explain '{cell}' --lowering softplus"


@pytest.mark.slow
def test_explain_traces_the_input_that_was_asked_for(invoke: Invoke, tmp_path: Path) -> None:
    cell = "sweep/mish-k3/torchscript/mlprogram-fp16@ane"
    ended = invoke("explain", cell, "--lowering", "exp", "--x", "20", "--out", tmp_path)
    assert "at x = 20.0 (0x4d00)" in ended.out
    assert "first wrong operation" not in ended.out


@pytest.mark.parametrize("command", ["gate", "run", "explain", "calibrate", "lowerings", "scan", "predict", "upstream"])
def test_the_help_of_a_command_lists_the_names_that_its_options_take(invoke: Invoke, command: str) -> None:
    told = " ".join(invoke(command, "--help").out.replace("-\n", "-").split()).replace("- ", "-")
    names = {each.name: each for each in cli.cli.commands[command].params}
    if "lowering" in names:
        assert "One of: as-is, softplus, exp, " in told
    if "profiles" in names or "profile" in names:
        assert "One of: ieee-fp16, ane, ane-ftz, ane-coarse" in told


# A dataclass and a named tuple are made by evaluating a text: so is much of what an import does.
INTERRUPTED_TEXT = """
import os, sys
from mish_guard import cli
cli._run = lambda given: exec("os.kill(os.getpid(), 15)")
sys.exit(cli.main([]))
"""


def test_an_interruption_inside_of_evaluated_text_ends_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text(INTERRUPTED_TEXT)
    done = subprocess.run([sys.executable, "-m", "ends"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "mish-guard: Interrupted.\n")


WRONG_PLACE = """
import sys
from mish_guard.errors import UsageError
from mish_guard.matrix import plugin
from mish_guard.matrix.order import Order
try:
    plugin._session(Order(places=("nope",)), None)
except UsageError as error:
    print("ane-ftz" in str(error), "torch" in sys.modules)
"""


def test_a_place_that_there_is_not_is_told_before_torch_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", WRONG_PLACE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
