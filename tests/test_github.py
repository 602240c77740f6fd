"""What GitHub is told: one verdict of several runs, summaries and annotations within GitHub's limits."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mish_guard
from mish_guard.errors import ExitCode, UnreadableFileError
from mish_guard.github import announce, numbers, overall, words, workflow
from mish_guard.judge import defects, verdict
from mish_guard.judge.verdict import Judgement
from mish_guard.records import Attempt, Device, Placed
from mish_guard.report import as_json, facts, markdown
from mish_guard.results import baseline, run_file

SUCCEEDED = {"result": "success", "outputs": {}}


@pytest.fixture(scope="module")
def failed(as_is_results: Path) -> Judgement:
    """The whole matrix through the released converter."""
    run = run_file.read_run(as_is_results)
    return verdict.judge(run, baseline.load_for(run, baseline.SHIPPED), defects.load_defects())


@pytest.fixture(scope="module")
def passed(exp_results: Path) -> Judgement:
    """The whole matrix through the shipped lowering."""
    run = run_file.read_run(exp_results)
    return verdict.judge(run, baseline.load_for(run, baseline.SHIPPED), defects.load_defects())


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A step of a workflow: the folder holds its `summary` and `output`."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    return tmp_path


def left(folder: Path, judgement: Judgement, **changes: Any) -> Path:
    """What a gate run leaves, with changes to the report."""
    folder.mkdir(parents=True)
    document = {**as_json.document(facts.gather(judgement)), **changes}
    (folder / announce.REPORT).write_text(json.dumps(document))
    (folder / announce.SUMMARY).write_text(markdown.summary(facts.gather(judgement)))
    return folder


# ---- one verdict of several runs ----


def test_every_job_and_every_run_must_pass(tmp_path: Path, passed: Judgement) -> None:
    left(tmp_path / "a", passed)
    left(tmp_path / "b", passed)
    judged = overall.gather({"one": SUCCEEDED, "two": SUCCEEDED}, tmp_path, ["a", "b"])
    assert (judged.verdict, judged.exit_code) == ("PASS", ExitCode.PASS)
    assert overall.from_json(json.loads(json.dumps(judged.to_json()))) == judged


@pytest.mark.parametrize("result", ["skipped", "cancelled", "failure", ""])
def test_a_job_that_did_not_succeed_is_no_pass(tmp_path: Path, passed: Judgement, result: str) -> None:
    left(tmp_path / "a", passed)
    judged = overall.gather({"one": SUCCEEDED, "two": {"result": result}}, tmp_path, ["a"])
    assert (judged.verdict, judged.exit_code) == ("INCONCLUSIVE", ExitCode.LOST)
    assert f"job two ended as {result}" in judged.headline


def test_a_run_without_a_report_is_no_pass(tmp_path: Path, passed: Judgement) -> None:
    left(tmp_path / "a", passed)
    judged = overall.gather({"one": SUCCEEDED}, tmp_path, ["a", "b"])
    assert (judged.exit_code, judged.headline) == (ExitCode.LOST, "INCONCLUSIVE: b left no report")


@pytest.mark.parametrize(("needs", "expected"), [({}, ["a"]), ({"one": SUCCEEDED}, []), ({}, [])])
def test_nothing_is_no_pass(tmp_path: Path, passed: Judgement, needs: Any, expected: list[str]) -> None:
    left(tmp_path / "a", passed)
    assert overall.gather(needs, tmp_path, expected).exit_code is ExitCode.LOST


def test_a_report_that_contradicts_itself_is_none(tmp_path: Path, failed: Judgement) -> None:
    left(tmp_path / "a", failed, verdict="PASS")
    assert overall.gather({"one": SUCCEEDED}, tmp_path, ["a"]).exit_code is ExitCode.LOST


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ((0, 20), 20),
        ((20, 12), 12),
        ((12, 11), 11),
        ((11, 21), 21),
        ((21, 10), 10),
        ((20, 1), 21),
        ((20, 2), 21),
        ((0, 130), 21),
    ],
)
def test_the_worst_run_decides(codes: tuple[int, ...], worst: int) -> None:
    word = {0: "PASS", 10: "FAIL", 21: "BROKEN"}
    runs = {
        str(code): dataclasses.replace(_NUMBERS, exit_code=code, verdict=word.get(code, "INCONCLUSIVE"))
        for code in codes
    }
    assert overall.Overall(jobs={"one": "success"}, runs=runs).exit_code == worst


_NUMBERS = numbers.Numbers(
    verdict="PASS",
    exit_code=0,
    armed=True,
    hardware=(),
    emulated=("ane",),
    coremltools="9.0",
    lowering="exp",
    counts={"same": 1},
    defects=(),
)


def test_the_known_defect_stands_in_the_headline(tmp_path: Path, passed: Judgement, failed: Judgement) -> None:
    left(tmp_path / "a", passed)
    left(tmp_path / "b", failed)
    judged = overall.gather({"one": {"result": "failure"}}, tmp_path, ["a", "b"])
    assert (judged.exit_code, judged.headline) == (ExitCode.FAIL, "FAIL: reintroduces MISH-SOFTPLUS-CLIFF")
    assert "| b | FAIL (armed): reintroduces MISH-SOFTPLUS-CLIFF |" in "\n".join(words.table(judged))


EMULATED, MAC = "mish-gate-emulated", "mish-gate-core-ml-macos-26"


@pytest.mark.parametrize(
    ("failed_jobs", "codes", "worst", "starts"),
    [
        (["core-ml"], (0, 12), 12, f"INCONCLUSIVE: no baseline yet for {MAC}. Next: Actions, refresh-baselines, "),
        (["core-ml", "emulated"], (12, 12), 12, f"INCONCLUSIVE: no baseline yet for {EMULATED}, {MAC}. Next: "),
        (["core-ml", "emulated"], (0, 12), 11, "INCONCLUSIVE: job core-ml ended as failure; job emulated ended as "),
        (["core-ml", "base-court"], (0, 12), 11, "INCONCLUSIVE: job core-ml ended as failure; job base-court ended"),
        (["core-ml"], (0, 11), 11, "INCONCLUSIVE: job core-ml ended as failure; "),
    ],
    ids=["first day", "nothing is shipped", "failed with a pass", "failed without a run", "cells lost"],
)
def test_where_baselines_are_all_that_is_missing_the_headline_names_the_click(
    failed_jobs: list[str], codes: tuple[int, int], worst: int, starts: str
) -> None:
    """The job of a run that lacks a baseline has failed, and says nothing more; any other failure comes first."""
    jobs = {name: "failure" if name in failed_jobs else "success" for name in ("core-ml", "emulated", "base-court")}
    word = {0: "PASS", 10: "FAIL", 21: "BROKEN"}
    runs = {
        name: dataclasses.replace(_NUMBERS, exit_code=code, verdict=word.get(code, "INCONCLUSIVE"))
        for name, code in zip((EMULATED, MAC), codes, strict=True)
    }
    judged = overall.Overall(jobs=jobs, runs=runs)
    assert judged.exit_code == worst
    assert judged.headline.startswith(starts)


def test_a_report_of_any_size_is_none(tmp_path: Path, passed: Judgement) -> None:
    path = left(tmp_path / "a", passed) / announce.REPORT
    assert overall.gather({"one": SUCCEEDED}, tmp_path, ["a"]).exit_code is ExitCode.PASS
    path.write_text(path.read_text() + " " * 8_000_000)
    assert overall.gather({"one": SUCCEEDED}, tmp_path, ["a"]).exit_code is ExitCode.LOST


def test_more_names_than_any_run_has_are_refused() -> None:
    numbers.from_json(_NUMBERS.to_json())
    with pytest.raises(UnreadableFileError):
        numbers.from_json({**_NUMBERS.to_json(), "defects": [f"D{number}" for number in range(41)]})
    with pytest.raises(UnreadableFileError):
        overall.from_json({"jobs": {f"job{number}": "success" for number in range(61)}, "runs": {}})


def test_needs_that_are_not_githubs_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="toJSON"):
        overall.gather(["one"], tmp_path, ["a"])


# ---- one run ----


def test_a_run_is_announced(step: Path, failed: Judgement, capfd: pytest.CaptureFixture[str]) -> None:
    folder = left(step / "out", failed)
    assert announce.announce(folder) is ExitCode.PASS
    outputs = (step / "output").read_text().splitlines()
    assert outputs == ["verdict=FAIL", "exit-code=10", f"report={folder / announce.REPORT}"]
    assert (step / "summary").read_text() == markdown.summary(facts.gather(failed))
    told = capfd.readouterr().err.splitlines()
    assert told[0].startswith("::error title=mish-guard::FAIL (armed): The cliff is back: from x = 10.3984375 on")
    assert "%0Areintroduces MISH-SOFTPLUS-CLIFF" in told[0]
    line = failed.run.candidate.converter_line or 1
    at = f"::error file=coremltools/converters/mil/frontend/torch/ops.py,line={line},"
    assert told[1].startswith(at + "title=over ceiling%2C softplus-cliff")
    assert re.search(r"%0AAt \+\[16, 32\): [\d.e-]+ ulp before, 2048 after\.", told[1])
    assert len(told) <= workflow.MOST_ANNOTATIONS


def test_many_kinds_of_findings_make_ten_annotations(
    step: Path, failed: Judgement, capfd: pytest.CaptureFixture[str]
) -> None:
    kinds = [{"name": f"kind {number}", "count": 2, "first": "cell", "message": "m"} for number in range(30)]
    announce.announce(left(step / "out", failed, kinds=kinds))
    assert len(capfd.readouterr().err.splitlines()) == workflow.MOST_ANNOTATIONS == 10


@pytest.mark.parametrize("content", [None, "", "{}", '{"verdict": "PASS"}'])
def test_without_a_report_a_run_is_broken(step: Path, content: str | None) -> None:
    (step / "out").mkdir()
    if content is not None:
        (step / "out" / announce.REPORT).write_text(content)
    assert announce.announce(step / "out") is ExitCode.BROKEN
    assert (step / "summary").read_text().startswith("## BROKEN: ")
    assert (step / "output").read_text().splitlines() == ["verdict=BROKEN", "exit-code=21", "report="]


def test_a_message_cannot_start_a_command_of_its_own(step: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert step.exists()
    workflow.annotate(workflow.Annotation("error", "a,b:c\nd", "100%\n::set-output name=x::y\r"))
    assert capfd.readouterr().err == "::error title=a%2Cb%3Ac d::100%25%0A::set-output name=x::y%0D\n"


def test_an_output_of_two_lines_is_refused(step: Path) -> None:
    with pytest.raises(ValueError, match="one line"):
        workflow.output(report="a\nverdict=PASS")
    assert not (step / "output").exists()


# ---- the summary ----


def test_the_summary_says_the_verdict_first_and_folds_the_table(failed: Judgement) -> None:
    lines = markdown.summary(facts.gather(failed)).splitlines()
    assert lines[0].startswith("## FAIL (armed): `reintroduces MISH-SOFTPLUS-CLIFF: ")
    assert lines[-1] == "</details>"
    first = next(number for number, line in enumerate(lines) if line.startswith("<details>"))
    assert "| nn.Softplus" not in "\n".join(lines[:first])
    assert len([line for line in lines[first:] if line.startswith("| ")]) == len(failed.rows) + 1


def test_a_summary_stays_below_githubs_limit_and_says_what_it_leaves_out(failed: Judgement) -> None:
    many = dataclasses.replace(failed, rows=failed.rows * 60, findings=failed.findings * 60)
    text = markdown.summary(facts.gather(many))
    assert 500_000 < len(text.encode()) < 1024 * 1024
    assert text.count("more rows do not fit here; results.json has them all.") == 2
    assert text.endswith("</details>\n")


def test_a_plan_that_places_nothing_is_shown(passed: Judgement) -> None:
    operation = Placed(name="<b>", op="softplus", device=Device.CPU)
    attempt = Attempt(ladder="sweep", rung="8x8x32", cell="a", activation="cpu", operations=(operation,) * 2000)
    run = dataclasses.replace(passed.run, attempts=(attempt,))
    text = markdown.summary(facts.gather(dataclasses.replace(passed, run=run)))
    assert "no shape that was offered is placed on the Neural Engine" in text
    assert re.search(r"softplus +&lt;b&gt; +cpu\n", text)
    assert "more lines of the plan do not fit here; report.json has them all." in text
    assert "<pre>" not in markdown.summary(facts.gather(passed))


def test_words_of_a_run_cannot_break_out_of_a_table(failed: Judgement) -> None:
    spell = "x | y </details> <script>\n# head `code`"
    bad = dataclasses.replace(failed.findings[0], message=spell)
    text = markdown.summary(facts.gather(dataclasses.replace(failed, findings=(bad,))))
    assert "`x \\| y </details> <script> # head 'code'` |" in text


def test_the_script_runs_where_nothing_is_installed(tmp_path: Path) -> None:
    """An isolated interpreter without any package: what the jobs that write to GitHub have."""
    (tmp_path / "ci").mkdir()
    script = shutil.copy(Path(__file__).parent.parent / "ci" / "github.py", tmp_path / "ci")
    (tmp_path / "mish_guard").symlink_to(Path(mish_guard.__file__).parent)
    done = subprocess.run([sys.executable, "-I", "-S", script, "announce", tmp_path], capture_output=True, text=True)
    assert done.returncode == ExitCode.BROKEN, done.stderr
    assert done.stdout.startswith("## BROKEN: ")
