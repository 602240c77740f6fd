"""Files that are read at one edge and written whole; tests/test_malformed.py tries every option with mistakes."""

from __future__ import annotations

import copy
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mish_guard import cli, files
from mish_guard.errors import ExitCode, UnreadableFileError, UnwritableFileError
from mish_guard.results import baseline, run_file
from tests.conftest import Invoke
from tests.mistakes import YAML_TEXT
from tests.report.conftest import BASELINES, RUNS, results


def test_a_yaml_file_that_is_not_utf_8_is_told_with_the_byte(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "odd.yml").write_bytes(b"schema_version: 1 # \xe9\n")
    ended = invoke("cells", "--matrix", tmp_path / "odd.yml")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "byte 20 is 0xe9" in ended.err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (YAML_TEXT["bomb"], "line 1, column 4: anchors and aliases are not supported"),
        (YAML_TEXT["date"], "line 1, column 17: a timestamp is not supported; put it in quotes"),
        (YAML_TEXT["int key"], "line 1, column 1: a key must be text; put it in quotes"),
        (YAML_TEXT["twice"], "line 2, column 1: the key 'schema_version' stands twice"),
        (YAML_TEXT["tag"], "the tag tag:yaml.org,2002:python/object/apply:os.system is not supported"),
        (YAML_TEXT["deep and closed"], "more than 40 levels deep"),
    ],
    ids=["bomb", "date", "int key", "twice", "tag", "deep"],
)
def test_a_yaml_file_is_told_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "odd.yml").write_text(text)
    with pytest.raises(UnreadableFileError, match="is not valid YAML") as caught:
        files.read_yaml(tmp_path / "odd.yml")
    assert complaint in str(caught.value)


def test_the_files_of_the_package_are_read_as_yaml_reads_them() -> None:
    import yaml

    found = [*files.DATA.glob("*.yml"), files.DATA.parent / "matrix" / "matrix.yml"]
    assert len(found) >= 3
    for path in found:
        assert files.read_yaml(path) == yaml.safe_load(path.read_text())


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.sampled_from(["auto", "cuda", "ane", "mish", "\x1b[2J", "../../etc/passwd", "$(id)", "1e999", "nan", "-"]),
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, by the keys that lead to it."""
    if path:
        yield path
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inside:
        yield from places(value, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(document)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


RUN = {key: value for key, value in files.read_json(results("fail")).items() if key != "sha256"}
RUN_PLACES = sorted({path for path in places(RUN) if path[0] != "tests" or path[1:2] in ((0,), (1,))}, key=str)
STORED = files.read_json(BASELINES / "emulator-ane.json")
STORED_PLACES = sorted((path for path in places(STORED) if path != ("sha256",)), key=str)

_FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def judged_without_a_crash(invoke: Invoke, arguments: list[Any]) -> None:
    """Whatever a stranger writes and seals is judged or refused, in one line."""
    ended = invoke(*arguments)
    assert ended.code != ExitCode.CRASH, ended.err
    if ended.code == ExitCode.USAGE:
        assert (ended.out, len(ended.err.splitlines())) == ("", 1)
    assert "\x1b" not in ended.out + ended.err


@_FUZZ
@given(path=st.sampled_from(RUN_PLACES), value=ODD)
def test_a_sealed_run_with_anything_anywhere_is_judged_or_refused(
    invoke: Invoke, tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps(run_file.sealed(changed(RUN, path, value))))
    for arguments in (
        ["judge", file, "--baselines", BASELINES, "-v"],
        ["report", file, "--baselines", BASELINES, "--md"],
    ):
        judged_without_a_crash(invoke, arguments)


@pytest.mark.parametrize("name", ["", "+", "16", "+[x, 32)", "+[16, 32) ", "*[16, 32)", "+[2^x, 1)", "<b>"])
def test_a_binade_that_is_none_is_refused(invoke: Invoke, tmp_path: Path, name: str) -> None:
    where = next(path for path in RUN_PLACES if path[-1] == "+[16, 32)")
    inner = copy.deepcopy(RUN)
    binades = inner
    for key in where[:-1]:
        binades = binades[key]
    binades[name] = binades.pop("+[16, 32)")
    (tmp_path / "results.json").write_text(json.dumps(run_file.sealed(inner)))
    ended = invoke("report", tmp_path / "results.json", "--baselines", BASELINES)
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "does not follow the results schema at" in ended.err


@_FUZZ
@given(path=st.sampled_from(STORED_PLACES), value=ODD)
def test_a_sealed_baseline_with_anything_anywhere_is_used_or_refused(
    invoke: Invoke, tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    body = {key: each for key, each in changed(STORED, path, value).items() if key != "sha256"}
    (tmp_path / "emulator-ane.json").write_text(json.dumps(run_file.sealed(body)))
    judged_without_a_crash(invoke, ["judge", results("pass"), "--baselines", tmp_path])
    judged_without_a_crash(invoke, ["diff-baselines", BASELINES, tmp_path])


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cut=st.integers(min_value=0, max_value=60_000))
def test_a_run_that_was_cut_is_refused(invoke: Invoke, tmp_path: Path, cut: int) -> None:
    (tmp_path / "results.json").write_bytes(results("fail").read_bytes()[:cut])
    ended = invoke("judge", tmp_path / "results.json")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text())))
def test_a_document_that_its_json_calls_printable_is_printable(document: dict[str, Any]) -> None:
    if files.is_printable_json(files.canonical_json(document)):
        assert files.printable_document(document) == document


@pytest.mark.parametrize("character", ["\x1b", "\x7f", "\n", "\u202e", "\ud800"])
def test_the_json_of_what_a_terminal_obeys_is_not_called_printable(character: str) -> None:
    assert not files.is_printable_json(files.canonical_json({"a": f"b{character}c"}))
    assert files.is_printable_json(files.canonical_json({"a": '"quoted"'}))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text())
def test_printable_text_is_one_line_that_nothing_obeys(text: str) -> None:
    shown = files.printable(text)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert all(each.isprintable() for each in shown)
    assert files.printable(shown) == shown


def test_escape_sequences_go_as_a_whole() -> None:
    assert files.printable("\x1b[31mred\x1b[0m \x1b]0;title\x07end \x9b2Jx \u202eodd") == "red end x odd"
    assert files.printable("plain  text") == "plain  text"


def test_a_folder_of_controls_that_is_not_there_is_told_before_the_run(invoke: Invoke, tmp_path: Path) -> None:
    ended = invoke("gate", "--controls", tmp_path / "none", "--out", tmp_path / "o")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("option", ["--out", "--report"])
def test_a_folder_that_cannot_be_written_is_told_before_the_run(invoke: Invoke, tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("")
    ended = invoke("gate", "--out", tmp_path / "o", option, tmp_path / "file" / "inside")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "Choose another folder" in ended.err


def test_a_report_that_cannot_be_written_is_told(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = invoke("report", results("pass"), "--md", "--out", tmp_path / "file" / "report.md")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert "report.md' cannot be written: " in ended.err


def test_what_is_written_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "kept").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnwritableFileError, match="No space left on device"):
        files.write_atomically(tmp_path / "kept", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept", "old")]


@pytest.mark.parametrize("call", ["fdopen", "fsync", "replace"])
def test_a_quota_is_told_and_the_old_report_stays(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Where a file lies on a server, a quota is met as late as it is closed, or takes its name."""

    def used_up(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    (tmp_path / "report.md").write_text("old")
    with monkeypatch.context() as full:
        full.setattr(os, call, used_up)
        ended = invoke("report", results("pass"), "--md", "--out", tmp_path / "report.md")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert ended.err == f"mish-guard: '{tmp_path / 'report.md'}' cannot be written: {os.strerror(errno.EDQUOT)}.\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.md", "old")]


def test_a_crash_in_a_folder_that_cannot_be_written_still_says_so(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(cli, "_known", lambda _: 1 / 0)
        broken.setattr(files, "_write", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
        ended = invoke("calibrate")
    assert ended.code == ExitCode.CRASH
    assert "no report could be written" in ended.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_told(tmp_path: Path) -> None:
    import subprocess
    import sys

    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)
    command = [sys.executable, "-m", "mish_guard", "judge", str(results("pass"))]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr == "mish-guard: Standard output cannot be written: No space left on device.\n"
    assert not list(tmp_path.iterdir())


def test_the_committed_runs_are_those_of_this_version() -> None:
    for path in RUNS.glob("*/results.json"):
        assert run_file.read_run(path).measurements
    assert baseline.load_all(BASELINES)
