"""What a volunteer sends: what of a run stands in the file, whom it names, and what is none."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mish_guard import files
from mish_guard.errors import MachineError, UnreadableFileError
from mish_guard.results import measurement, run_file
from tests.report.conftest import results

CHECKS = [{"name": "machine", "words": "found in /opt/some dir/x-1.py"}]
ANSWERS = [("question", "answer")]


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Play a user with a home and a login; without a call, one that no file can name."""

    def play(home: str, login: str) -> None:
        monkeypatch.setattr(Path, "home", classmethod(lambda _: Path(home)))
        monkeypatch.setattr(getpass, "getuser", lambda: login)

    play("/nowhere/nobody-at-all", "nobody-at-all")
    return play


def _results(folder: Path, **changed: Any) -> Path:
    """The results of a run that was kept, with other words in its notes."""
    document = json.loads(results("pass").read_text(encoding="utf-8"))
    del document["sha256"]
    document["mish_guard"].update(changed)
    path = folder / "results.json"
    path.write_text(files.readable_json(run_file.sealed(document)), encoding="utf-8")
    return path


def _written(folder: Path, **changed: Any) -> Any:
    path = folder / measurement.NAME
    measurement.write(path, _results(folder, **changed), CHECKS, ANSWERS)
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.usefixtures("nobody")
def test_the_file_holds_what_was_measured_and_answered_and_nothing_else(tmp_path: Path) -> None:
    assert measurement.NAME == "measurement.json"  # as the form of an issue asks for it
    document = _written(tmp_path)
    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert set(document) == {"kind", "doctor", "answers", "results", "schema_version", "sha256"}
    assert (document["kind"], document["answers"]) == ("mish-guard measurement", [["question", "answer"]])
    assert set(document["results"]) == {"exitcode", "mish_guard", "summary", "tests", "schema_version", "sha256"}
    assert document["results"]["summary"] == kept["summary"]
    names = ("metadata", "nodeid", "outcome")
    assert [set(test) for test in document["results"]["tests"]] == [
        set(names).intersection(test) for test in kept["tests"]
    ]
    assert [test["outcome"] for test in document["results"]["tests"]] == [test["outcome"] for test in kept["tests"]]
    assert run_file.check_seal(document, tmp_path)["doctor"] == [{"name": "machine", "words": "found in (path)"}]


@pytest.mark.usefixtures("nobody")
def test_a_file_gives_the_run_that_was_measured(tmp_path: Path) -> None:
    _written(tmp_path, notes=["as measured"])
    (tmp_path / "scratch").mkdir()
    back = measurement.read(tmp_path / measurement.NAME, tmp_path / "scratch")
    kept = run_file.read_run(tmp_path / "results.json")
    assert (back.measurements, back.notes, back.expected) == (kept.measurements, ("as measured",), kept.expected)
    assert back.candidate.path == "(path)"


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("in /Users/ann/mish guard/ct.py", "in (path)"),
        ("~/Library/x", "(path)"),
        ("a/b/c and sweep/mish@ane", "a/b/c and sweep/mish@ane"),
        ("one/ two", "one/ two"),
        ("at /", "at /"),
        ("/alone", "/alone"),
        ("3 / 4 / 5", "3 / 4 / 5"),
        ("'/Users/ann/one (two)/ct.py'", "'(path)'"),
        ("(/a+b/c@d-e/f.py)", "((path))"),
    ],
)
@pytest.mark.usefixtures("nobody")
def test_paths_are_left_out_and_keys_of_cells_are_not(tmp_path: Path, words: str, left: str) -> None:
    assert _written(tmp_path, notes=[words])["results"]["mish_guard"]["notes"] == [left]


@pytest.mark.parametrize(
    ("home", "login", "words", "named"),
    [
        ("/Users/ann", "nobody-at-all", "of ,/Users/ann,", None),  # a path goes with all paths
        ("/Users/ann", "nobody-at-all", "of x/Users/ann", "/Users/ann"),
        ("/ann", "nobody-at-all", "of x/ann", None),
        ("/nowhere/nobody", "ann", "made by ann", "your login"),
        ("/nowhere/nobody", "ann", "made by anne", None),
        ("/nowhere/nobody", "a.n", "made by axn", None),
        ("/nowhere/nobody", "runner", "made by runner", None),
        ("/nowhere/nobody", "root", "made by root", None),
        ("/nowhere/nobody", "admin", "made by admin", None),
        ("/nowhere/nobody", "user", "made by user", None),
        ("/nowhere/nobody", "test", "made by test", None),
        ("/Users/ann", "ann", "of x/Users/ann", "/Users/ann, your login"),
    ],
)
def test_a_file_that_would_name_its_owner_is_not_written(
    tmp_path: Path, nobody: Callable[[str, str], None], home: str, login: str, words: str, named: str | None
) -> None:
    nobody(home, login)
    if named is None:
        _written(tmp_path, notes=[words])
        return
    with pytest.raises(MachineError, match=rf"would name you \({re.escape(named)}\); nothing was written\. Please"):
        _written(tmp_path, notes=[words])
    assert not (tmp_path / measurement.NAME).exists()


@pytest.mark.parametrize("unknown", [KeyError, OSError])
def test_a_user_without_a_login_is_told_by_the_home_alone(
    tmp_path: Path,
    nobody: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    unknown: type[Exception],
) -> None:
    def no_login() -> NoReturn:
        raise unknown

    nobody("/Users/ann", "")
    monkeypatch.setattr(getpass, "getuser", no_login)
    _written(tmp_path)
    with pytest.raises(MachineError, match=r"\(/Users/ann\)"):
        _written(tmp_path, notes=["of x/Users/ann"])


@pytest.mark.parametrize(
    "document", [{"kind": "other", "results": {}}, {"kind": measurement.KIND}, {"kind": measurement.KIND, "results": 1}]
)
def test_what_is_no_measurement_is_refused(tmp_path: Path, document: dict[str, object]) -> None:
    path = tmp_path / measurement.NAME
    path.write_text(files.readable_json(run_file.sealed(document)), encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"is no measurement of `mish-guard measure`\. Ask for"):
        measurement.read(path, tmp_path)


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(("where", "file"), [("outside", "measurement.json"), ("inside", "results.json")])
def test_a_measurement_that_was_changed_is_refused(tmp_path: Path, where: str, file: str) -> None:
    document = _written(tmp_path)
    if where == "inside":
        document["results"]["exitcode"] = 7
        document = run_file.sealed({key: value for key, value in document.items() if key != "sha256"})
    else:
        document["answers"] = []
    path = tmp_path / measurement.NAME
    path.write_text(files.readable_json(document), encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=f"/{file}' was changed after it was written"):
        measurement.read(path, tmp_path)
