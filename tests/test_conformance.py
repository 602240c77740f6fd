"""The page that `ci/conformance` writes: what it says is read back, a drop is told, and no reason excuses at large."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "ci"))

import conformance
from conformance import Outcome

OUTCOMES = [
    *(Outcome(test=f"ops/tests/test_a.py::TestPad::test_pad[{number}]", kind="right", said="") for number in range(37)),
    Outcome(test="ops/tests/test_a.py::TestRand::test_rand", kind="refused", said="the operation 'random_normal'"),
    Outcome(test="ops/tests/test_a.py::TestPad::test_nothing", kind="no prediction", said=""),
]


def _page(folder: Path, outcomes: list[Outcome]) -> Path:
    path = folder / "conformance.md"
    path.write_text(conformance.document(outcomes, seed=3, sample=40), encoding="utf-8")
    return path


def test_the_page_says_again_what_it_was_written_from(tmp_path: Path) -> None:
    found = conformance.stored(_page(tmp_path, OUTCOMES))
    assert found == conformance.Stored(sample=40, seed=3, share=97.4, refused=1, explained=0)
    assert conformance.dropped(OUTCOMES, found) == ""


@pytest.mark.parametrize("kind", ["refused", "wrong", "crashed", "explained"])
def test_one_test_that_is_no_longer_right_is_a_drop(kind: str, tmp_path: Path) -> None:
    found = conformance.stored(_page(tmp_path, OUTCOMES))
    fallen = [dataclasses.replace(OUTCOMES[0], kind=kind), *OUTCOMES[1:]]
    share = "97.3 %" if kind == "explained" else "94.7 %"
    assert f"Right: {share}" in conformance.dropped(fallen, found)


def test_the_page_of_the_project_holds_together() -> None:
    """Its share is that of its counts, they are the sums of its rows, and nothing in it is wrong or crashed."""
    text = conformance.TABLE.read_text(encoding="utf-8")
    found = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    (_, *total), *rows = ((name, *map(int, counts)) for name, *counts in found)
    assert total == [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    right, wrong, refused, crashed, explained = total
    assert (wrong, crashed) == (0, 0)
    assert conformance.stored(conformance.TABLE).share == round(100 * right / (right + refused), 1)
    assert f"{100 * right / (right + refused + explained):.1f} %" in text


def test_a_page_without_figures_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no share"):
        conformance.stored(tmp_path / "conformance.md")


def test_what_was_stopped_goes_on_with_what_is_not_right_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    crashed = dataclasses.replace(OUTCOMES[0], kind="crashed")
    lines = [json.dumps(dataclasses.asdict(each)) for each in (crashed, OUTCOMES[1], OUTCOMES[2])]
    (kept / "0.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    told: list[str] = []

    def run(_: object, folder: Path) -> list[Outcome]:
        told.extend(json.loads((folder / "known").read_text(encoding="utf-8")))
        (folder / "sample").write_text(json.dumps([each.test for each in OUTCOMES[:2]]), encoding="utf-8")
        return [OUTCOMES[0]]

    monkeypatch.setattr(conformance, "_outcomes", run)
    options = conformance.options_of(["--keep", str(kept)])
    assert conformance.measured(options, tmp_path) == [OUTCOMES[1], OUTCOMES[0]]
    assert told == [OUTCOMES[1].test, OUTCOMES[2].test]
    assert [path.name for path in kept.iterdir()] == ["outcomes.jsonl"]


def test_what_is_explained_counts_for_neither_side_and_is_told() -> None:
    reasons = [{"test": "TestPad::test_pad[1?]", "kind": "wrong", "reason": "by its own fault"}]
    wrong = [dataclasses.replace(each, kind="wrong") if "[12]" in each.test else each for each in OUTCOMES]
    (excused,) = (each for each in conformance.excused(wrong, reasons) if each.kind == "explained")
    assert excused.test.endswith("test_pad[12]")
    page = conformance.document(conformance.excused(wrong, reasons), seed=3, sample=40)
    assert "Right: **97.3 %**, and 94.7 % if" in page
    assert "| all | 36 | 0 | 1 | 0 | 1 |" in page


def test_a_test_that_came_to_no_end_has_crashed(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl").write_text(json.dumps(dataclasses.asdict(OUTCOMES[0])) + "\n", encoding="utf-8")
    begun = [OUTCOMES[0].test, "test_of[array([1,\n 2])]"]
    (tmp_path / "0.begun").write_text(json.dumps(begun), encoding="utf-8")
    assert [each.kind for each in conformance._ended(tmp_path / "0.jsonl")] == ["right", "crashed"]


def test_every_reason_is_for_one_test_and_one_kind() -> None:
    for each in conformance.explanations():
        assert each["kind"] in ("wrong", "crashed")
        assert len(each["reason"]) > 20
        assert each["test"].startswith("Test"), "names a class of tests, and not whatever has such parameters"
        assert "::" in each["test"]


def test_a_run_that_measures_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "measured", lambda *_: [])
    with pytest.raises(SystemExit, match="Nothing was measured"):
        conformance.main(["--only", "TestNobody"])


@pytest.mark.parametrize("kept", ["--write", "--check"])
def test_a_part_of_the_tests_is_not_held_to_the_page(kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        conformance.options_of(["--only", "TestPad", kept])
    assert ended.value.code == 2
    assert "--only measures a part" in capsys.readouterr().err
