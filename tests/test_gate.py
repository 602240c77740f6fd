"""The gate from end to end: what each situation must lead to, with its exit code."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mish_guard import files
from mish_guard.errors import ExitCode
from mish_guard.results import baseline
from tests import trees
from tests.conftest import Ended, Invoke, edited, measured
from tests.zoo.animals import ANIMALS

CONTROLS = files.DATA / "controls"


def test_the_shipped_lowering_passes(invoke: Invoke, exp_results: Path) -> None:
    ended = invoke("compare", exp_results)
    assert ended.code == ExitCode.PASS
    assert ended.first_line.startswith("PASS (armed)")
    assert ended.last_line == "Nothing to do."
    assert "emulated, no hardware was measured" in ended.out


def test_the_released_converter_reintroduces_the_cliff(invoke: Invoke, as_is_results: Path) -> None:
    ended = invoke("compare", as_is_results)
    assert ended.code == ExitCode.FAIL
    assert ended.first_line.startswith("FAIL (armed): reintroduces MISH-SOFTPLUS-CLIFF")
    assert "[10.3984375, 65504.0], first wrong op softplus" in ended.out
    assert ended.last_line.startswith("Next: mish-guard explain '")


@pytest.mark.slow
@pytest.mark.parametrize("results", ["as_is_results", "exp_results"])
def test_results_name_no_folder_of_the_gate(results: str, request: pytest.FixtureRequest) -> None:
    """A cell that is over a ceiling is a failed assertion, whose place pytest would write down; and so is its root."""
    assert str(files.DATA.parent) not in request.getfixturevalue(results).read_text()


def test_the_json_object_has_what_programs_need(invoke: Invoke, as_is_results: Path) -> None:
    document = invoke("compare", as_is_results, "--format", "json").json
    assert (document["verdict"], document["exit_code"], document["armed"]) == ("FAIL", 10, True)
    assert document["controls"] == {"negative": {"ok": 9, "of": 9}, "positive": {"ok": 16, "of": 16}, "error": None}
    assert document["candidate"].keys() >= {"coremltools", "path", "lowering"}
    (sweep,) = [each for each in document["findings"] if each["cell"] == "sweep/mish-k1/torchscript/mlprogram-fp16@ane"]
    assert sweep["signature"] == "softplus-cliff"
    assert sweep["defect"] == "MISH-SOFTPLUS-CLIFF"
    assert sweep["first_wrong_op"] == "softplus"
    assert (sweep["interval"]["first"], sweep["interval"]["first_bits"]) == (10.3984375, "0x4933")
    assert (sweep["interval"]["last"], sweep["interval"]["count"]) == (65504.0, 13005)


def test_no_cell_without_a_neural_engine_is_blamed_for_the_cliff(invoke: Invoke, as_is_results: Path) -> None:
    findings = invoke("compare", as_is_results, "--format", "json").json["findings"]
    assert {each["cell"].partition("@")[2] for each in findings if each["defect"]} == {"ane", "ane-ftz", "ane-coarse"}


def test_the_default_decompositions_are_a_known_gap(invoke: Invoke, exp_results: Path) -> None:
    gaps = {gap["cell"]: gap for gap in invoke("compare", exp_results, "--format", "json").json["known_gaps"]}
    (interval,) = gaps["surface/nn.Mish/export-decomposed/mlprogram-fp16@ane"]["intervals"]
    assert interval["first"] == 10.3984375
    assert interval["last"] == 20.0
    shown = {key.partition("/export")[0].partition("/torchscript")[0]: gap["defect"] for key, gap in gaps.items()}
    assert shown["surface/nn.Mish"] == shown["surface/handwritten"] == "MISH-SOFTPLUS-CLIFF"
    assert (shown["surface/nn.Softplus"], shown["surface/torch.logsumexp"]) == ("SOFTPLUS-CLIFF", "LSE-OVERFLOW")


def test_a_missing_baseline_is_not_green(invoke: Invoke, exp_results: Path, tmp_path: Path) -> None:
    ended = invoke("compare", exp_results, "--baselines", tmp_path)
    assert ended.code == ExitCode.NO_BASELINE
    assert ended.first_line.startswith("INCONCLUSIVE")
    assert "mish-guard refresh" in ended.last_line


def _drop(cell: str) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        document["tests"] = [test for test in document["tests"] if test["metadata"]["measurement"]["cell"] != cell]

    return edit


def test_a_lost_cell_is_not_green(invoke: Invoke, exp_results: Path, tmp_path: Path) -> None:
    cell = "sweep/mish-k3/torchscript/mlprogram-fp16@ane"
    ended = invoke("compare", edited(exp_results, tmp_path / "r.json", _drop(cell)), "--format", "json")
    assert ended.code == ExitCode.LOST
    assert [(each["cell"], each["status"]) for each in ended.json["findings"]] == [(cell, "lost")]


def test_a_cell_that_was_measured_twice_is_an_error(invoke: Invoke, exp_results: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["tests"].append(document["tests"][0])

    ended = invoke("compare", edited(exp_results, tmp_path / "r.json", edit))
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "measures 1 cells more than once" in ended.err


def test_a_cell_removed_from_the_plan_as_well_is_not_green(invoke: Invoke, exp_results: Path, tmp_path: Path) -> None:
    cell = "sweep/mish-k3/torchscript/mlprogram-fp16@ane"

    def edit(document: dict[str, Any]) -> None:
        _drop(cell)(document)
        document["mish_guard"]["expected"].remove(cell)

    assert invoke("compare", edited(exp_results, tmp_path / "r.json", edit)).code == ExitCode.LOST


def test_a_run_without_cells_is_not_green(invoke: Invoke, exp_results: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["tests"] = []
        document["mish_guard"]["expected"] = []

    ended = invoke("compare", edited(exp_results, tmp_path / "r.json", edit), "--baselines", tmp_path)
    assert ended.code == ExitCode.LOST


def test_controls_alone_judge_nothing(invoke: Invoke, exp_results: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        section = document["mish_guard"]
        section["expected"] = [key for key in section["expected"] if "-control:" in key]
        document["tests"] = [
            test for test in document["tests"] if "-control:" in test["metadata"]["measurement"]["cell"]
        ]

    ended = invoke("compare", edited(exp_results, tmp_path / "r.json", edit), "--baselines", tmp_path)
    assert ended.code == ExitCode.LOST
    assert "nothing was judged" in ended.first_line


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda text: text[: len(text) // 2], "not complete JSON"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 3'), "Upgrade mish-guard"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 1'), "Measure again"),
        (lambda text: text.replace('"n_collapsed": 0', '"n_collapsed": 1', 1), "was changed after it was written"),
        (lambda _: "[]", "not a file of mish-guard"),
        (lambda _: "", "not complete JSON"),
    ],
    ids=["truncated", "future", "past", "edited", "foreign", "empty"],
)
def test_a_file_that_cannot_be_trusted_is_an_error(
    invoke: Invoke, exp_results: Path, tmp_path: Path, damage: Callable[[str], str], complaint: str
) -> None:
    path = tmp_path / "r.json"
    path.write_text(damage(exp_results.read_text()))
    before = path.read_bytes()
    ended = invoke("compare", path)
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert complaint in ended.err
    assert path.read_bytes() == before


def test_a_damaged_baseline_is_an_error(invoke: Invoke, exp_results: Path, tmp_path: Path) -> None:
    shutil.copytree(baseline.SHIPPED, tmp_path / "b")
    path = tmp_path / "b" / "emulator-ane.json"
    path.write_text(path.read_text().replace('"max_ulp":{"at"', '"max_ulp": {"at"').replace("2047", "2046", 1))
    ended = invoke("compare", exp_results, "--baselines", tmp_path / "b")
    assert ended.code == ExitCode.USAGE
    assert "was changed after it was written" in ended.err


def test_a_baseline_that_files_a_cell_under_another_name_is_an_error(
    invoke: Invoke, exp_results: Path, tmp_path: Path
) -> None:
    shutil.copytree(baseline.SHIPPED, tmp_path / "b")
    path = tmp_path / "b" / "emulator-ane.json"

    def edit(document: dict[str, Any]) -> None:
        cells = document["cells"]
        cells["sweep/mish-k1/torchscript/mlprogram-fp16@ane"] = cells["sweep/mish-k3/torchscript/mlprogram-fp16@ane"]

    edited(path, path, edit)
    ended = invoke("compare", exp_results, "--baselines", tmp_path / "b")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "files the cell sweep/mish-k3" in ended.err


@pytest.mark.slow
def test_ieee_arithmetic_alone_cannot_arm_the_gate_and_where_that_is_allowed_it_stays_inconclusive(
    invoke: Invoke, tmp_path: Path, small_matrix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option is there for machines without a Neural Engine; the verdict is no better for it."""
    for name, value in (("ALLOW_UNARMED", "true"), ("OUT", str(tmp_path)), ("PROFILE", "ieee-fp16")):
        monkeypatch.setenv(f"MISH_GUARD_{name}", value)
    whole = invoke("gate", "--lowering", "exp")
    assert (whole.code, whole.first_line.partition(" ")[0]) == (ExitCode.PASS, "INCONCLUSIVE")
    report = files.read_json(tmp_path / "report.json")
    assert (report["verdict"], report["exit_code"]) == ("INCONCLUSIVE", ExitCode.INCONCLUSIVE)
    monkeypatch.delenv("MISH_GUARD_ALLOW_UNARMED")
    alone = invoke("compare", tmp_path / "results.json")
    assert alone.code == ExitCode.INCONCLUSIVE
    assert alone.first_line.startswith("INCONCLUSIVE (not armed): no Neural Engine took part")
    # It forgives nothing else.
    monkeypatch.setenv("MISH_GUARD_ALLOW_UNARMED", "true")
    assert invoke("gate", "--lowering", "exp", "--matrix", small_matrix).code == ExitCode.LOST


def test_the_base_branchs_baselines_count_and_a_changes_own_only_add(
    invoke: Invoke, exp_results: Path, tmp_path: Path
) -> None:
    """A folder of forgiving baselines, and a base that does not know one cell."""
    own, base, cell = tmp_path / "own", tmp_path / "base", "sweep/mish-k1/torchscript/mlprogram-fp16@ane"
    shutil.copytree(baseline.SHIPPED, own)
    shutil.copytree(baseline.SHIPPED, base)

    def forget(document: dict[str, Any]) -> None:
        del document["cells"][cell]

    def tighten(document: dict[str, Any]) -> None:
        for stored in document["cells"].values():
            if "figures" in stored:
                stored["figures"] |= {"digest": "0" * 64, "n_covered": stored["figures"]["n_covered"] + 1}

    edited(base / "emulator-ane.json", base / "emulator-ane.json", forget)
    assert invoke("compare", exp_results, "--baselines", base).code == ExitCode.LOST
    assert invoke("compare", exp_results, "--baselines", own, "--base-baselines", base).code == ExitCode.PASS
    edited(base / "emulator-ane.json", base / "emulator-ane.json", tighten)
    assert invoke("compare", exp_results, "--baselines", own).code == ExitCode.PASS
    assert invoke("compare", exp_results, "--baselines", own, "--base-baselines", base).code == ExitCode.FAIL


def test_a_base_without_baselines_is_an_error_and_not_the_changes_own(
    invoke: Invoke, exp_results: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for base in (tmp_path / "empty", tmp_path / "nowhere"):
        ended = invoke("compare", exp_results, "--base-baselines", base)
        assert (ended.code, ended.out) == (ExitCode.NO_BASELINE, "")
        assert "holds no baseline of the base branch" in ended.err


def test_two_folders_of_baselines_are_shown_beside_each_other(invoke: Invoke, tmp_path: Path) -> None:
    shutil.copytree(baseline.SHIPPED, tmp_path / "after")
    unchanged = invoke("diff-baselines", baseline.SHIPPED, tmp_path / "after")
    assert re.fullmatch(r"\d+ cells unchanged, 0 changed or gone, 0 new\n", unchanged.out)
    cells = len(files.read_json(tmp_path / "after" / "emulator-ane.json")["cells"])
    (tmp_path / "after" / "emulator-ane.json").unlink()
    gone = invoke("diff-baselines", baseline.SHIPPED, tmp_path / "after", "--format", "markdown").out
    assert f"{cells} changed or gone, 0 new." in gone
    assert "| `sweep/mish-k1/torchscript/mlprogram-fp16@ane` | `gone` | `-[8, 16)` | `2047` | `-` |" in gone
    assert invoke("diff-baselines", tmp_path / "nowhere", tmp_path).code == ExitCode.USAGE


def test_a_gate_run_leaves_its_reports_and_nothing_of_an_older_one(invoke: Invoke, tmp_path: Path) -> None:
    for name in ("report.json", "summary.md", "candidate.diff", "emulator-ane.obtained.json"):
        (tmp_path / name).write_text("old")
    assert invoke("gate", "--lowering", "relu", "--out", tmp_path).code == ExitCode.USAGE
    assert not list(tmp_path.iterdir())


def _swapped_controls(folder: Path, victim: str, donor: str) -> Path:
    """The stored controls with every package of one lowering replaced by the other's, hashes made to fit."""
    shutil.copytree(CONTROLS, folder)
    for package in folder.glob(f"{victim}-*.mlpackage"):
        shutil.rmtree(package)
        shutil.copytree(folder / package.name.replace(victim, donor, 1), package)
    manifest = files.read_json(folder / "controls.json")
    manifest["files"] = {name: _sha(folder / name) for name in manifest["files"]}
    (folder / "controls.json").write_text(json.dumps(manifest))
    return folder


def _sha(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def small_gate(invoke: Invoke, small_matrix: Path, small_baselines: Path, tmp_path: Path) -> Callable[..., Ended]:
    """The gate over the small matrix at the profile ane."""

    def run(*arguments: object) -> Ended:
        common = ("--matrix", small_matrix, "--baselines", small_baselines, "--profile", "ane", "--out", tmp_path / "o")
        return invoke("gate", *common, *arguments)

    return run


@pytest.mark.slow
def test_an_engine_that_fails_the_positive_control_is_broken(small_gate: Callable[..., Ended], tmp_path: Path) -> None:
    controls = _swapped_controls(tmp_path / "controls", victim="exp", donor="softplus")
    ended = small_gate("--lowering", "exp", "--controls", controls)
    assert ended.code == ExitCode.BROKEN
    assert ended.first_line.startswith("BROKEN (not armed): the positive control fails")


@pytest.mark.slow
def test_an_engine_that_does_not_show_the_defect_is_inconclusive(
    small_gate: Callable[..., Ended], tmp_path: Path
) -> None:
    controls = _swapped_controls(tmp_path / "controls", victim="softplus", donor="exp")
    ended = small_gate("--lowering", "exp", "--controls", controls)
    assert ended.code == ExitCode.INCONCLUSIVE
    assert "the negative control was not caught" in ended.first_line


@pytest.mark.slow
def test_a_changed_control_is_broken(small_gate: Callable[..., Ended], tmp_path: Path) -> None:
    shutil.copytree(CONTROLS, tmp_path / "controls")
    weights = next((tmp_path / "controls").rglob("weight.bin"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    ended = small_gate("--lowering", "exp", "--controls", tmp_path / "controls")
    assert ended.code == ExitCode.BROKEN
    assert "differ from their recorded hashes" in ended.first_line


@pytest.mark.slow
def test_a_pass_that_restores_softplus_fails_through_the_graft(
    small_gate: Callable[..., Ended], tmp_path: Path
) -> None:
    (animal,) = [each for each in ANIMALS if each.name == "turns the good form back into softplus"]
    tree = trees.tree(tmp_path / "tree", animal.files)
    ended = small_gate("--candidate", tree, "--lowering", "exp", "--format", "json")
    assert ended.code == ExitCode.FAIL
    assert ended.json["armed"]
    graft = [each for each in ended.json["findings"] if each["cell"].startswith("graft:")]
    assert [(each["defect"], each["first_wrong_op"]) for each in graft] == [("MISH-SOFTPLUS-CLIFF", "softplus")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lowering", "signature", "first", "op"),
    [("ratio", "exp-overflow", 5.1953125, "add"), ("naive-log", "softplus-cliff", 10.3984375, "add")],
)
def test_bad_lowerings_fail_with_their_own_signature(
    small_gate: Callable[..., Ended], lowering: str, signature: str, first: float, op: str
) -> None:
    ended = small_gate("--lowering", lowering, "--format", "json")
    assert ended.code == ExitCode.FAIL
    (finding,) = ended.json["findings"]
    assert (finding["signature"], finding["interval"]["first"], finding["first_wrong_op"]) == (signature, first, op)


@pytest.mark.slow
@pytest.mark.parametrize("lowering", ["sigmoid-blend", "capped-softplus"])
def test_forms_that_differ_by_less_than_matters_pass(small_gate: Callable[..., Ended], lowering: str) -> None:
    ended = small_gate("--lowering", lowering, "--format", "json")
    assert ended.code == ExitCode.PASS
    assert {each["status"] for each in ended.json["findings"]} <= {"precision changed", "better"}


@pytest.mark.slow
def test_a_form_free_of_the_cliff_may_be_less_precise_and_nothing_else(small_gate: Callable[..., Ended]) -> None:
    ended = small_gate("--lowering", "stable-softplus", "--format", "json")
    assert ended.code == ExitCode.FAIL
    (finding,) = ended.json["findings"]
    assert (finding["status"], finding["defect"], finding["interval"]) == ("worse", None, None)
    assert "ulp" in finding["message"]


@pytest.mark.slow
def test_a_run_that_does_not_pass_leaves_what_it_obtained(
    small_gate: Callable[..., Ended], small_baselines: Path, tmp_path: Path
) -> None:
    stored = (small_baselines / "emulator-ane.json").read_bytes()
    assert small_gate("--lowering", "ratio").code == ExitCode.FAIL
    obtained = baseline.load(tmp_path / "o" / "emulator-ane.obtained.json")
    assert obtained.cells["sweep/mish-k3/torchscript/mlprogram-fp16@ane"].figures is not None
    assert (small_baselines / "emulator-ane.json").read_bytes() == stored
    assert small_gate("--lowering", "exp").code == ExitCode.PASS
    assert not (tmp_path / "o" / "emulator-ane.obtained.json").exists()


@pytest.mark.slow
def test_a_plain_pytest_run_writes_the_same_results(small_matrix: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    by_command = measured(tmp_path / "a", "--matrix", small_matrix, "--lowering", "exp")
    plain = [sys.executable, "-m", "pytest", "--pyargs", "mish_guard.matrix", "--mish-lowering=exp"]
    subprocess.run(
        [*plain, f"--mish-matrix={small_matrix}", f"--mish-results={tmp_path / 'b.json'}", "-p", "no:cacheprovider"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
    )
    digests = [
        {
            test["metadata"]["measurement"]["cell"]: test["metadata"]["measurement"]["figures"]
            for test in document["tests"]
        }
        for document in map(files.read_json, (by_command, tmp_path / "b.json"))
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 15
