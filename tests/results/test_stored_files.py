"""Results and baselines as files: what stands in them word by word, and what is refused with which words."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import pytest

from mish_guard import files
from mish_guard.errors import MissingBaselineError, OutdatedFileError, UnreadableFileError
from mish_guard.records import (
    Against,
    Attempt,
    Candidate,
    Covered,
    Culprit,
    Device,
    EngineName,
    EnginePlace,
    Failure,
    Measurement,
    Placed,
    Placement,
    Run,
    Stage,
    Times,
    Worst,
)
from mish_guard.results import baseline, run_file
from tests import made_up
from tests.made_up import CELL, GRAFT, NEGATIVE, POSITIVE
from tests.report.conftest import results

PATH = Path("odd.json")
ROAD = "roads/default/torchscript/mlprogram-fp16@ane"

WHOLE = dataclasses.replace(
    made_up.cell(CELL, made_up.cliff()),
    known_gap="gap",
    failure=Failure(stage=Stage.PREDICT, reason="why"),
    placement=Placement(activation="cpu", ops={"mish": Device.CPU, "conv": Device.NE}),
    culprit=Culprit(op="softplus", name="s", got=math.inf, want=-0.0),
    repeats_agree=False,
    rung="wide",
    times=Times(load=0.5, predict=0.25),
    instrument="i",
    assumptions=("U1", "U2"),
    inexact=0,
)

WRITTEN = {
    "cell": CELL,
    "known_gap": "gap",
    "figures": {
        "n_total": 63488,
        "n_covered": 61440,
        "n_nonfinite": 0,
        "n_collapsed": 11981,
        "n_over_ceiling": 11981,
        "max_abs": {"value": 0.002, "at": {"value": 3.5, "bits": "0x4300"}},
        "max_ulp": {"value": 4.0, "at": {"value": -10.0, "bits": "0xc900"}},
        "mean_abs": 1e-4,
        "material": 2.0,
        "digest": "1" * 64,
        "binades": {
            "+[8, 16)": {
                "count": 1024,
                "max_ulp": 4.0,
                "mean_abs": 1e-4,
                "at": {"value": 8.5, "bits": "0x4840"},
                "material": 2.0,
            }
        },
        "bad_intervals": [
            {
                "first": {"value": 10.3984375, "bits": "0x4933"},
                "last": {"value": 32752.0, "bits": "0x77ff"},
                "count": 11981,
            }
        ],
        "specials": {"+inf": "+inf", "-inf": "-0", "nan": "+inf"},
    },
    "failure": {"stage": "predict", "reason": "why"},
    "placement": {"activation": "cpu", "ops": {"mish": "cpu", "conv": "ne"}},
    "times": {"load": 0.5, "predict": 0.25},
    "repeats_agree": False,
    "rung": "wide",
    "instrument": "i",
    "inexact": 0,
    "culprit": {"op": "softplus", "name": "s", "got": "inf", "want": -0.0},
    "assumptions": ["U1", "U2"],
}


def through_json(document: Any) -> Any:
    return json.loads(files.readable_json(document))


def test_a_measurement_stands_in_a_file_field_by_field() -> None:
    assert through_json(run_file.measurement_to_json(WHOLE)) == WRITTEN
    assert repr(run_file.measurement_from_json(WRITTEN)) == repr(WHOLE)  # a device is more than its word


def test_what_a_measurement_does_not_have_is_left_out() -> None:
    bare = Measurement(key=WHOLE.key, known_gap=None)
    assert run_file.measurement_to_json(bare) == {"cell": CELL}
    assert run_file.measurement_from_json({"cell": CELL}) == bare


def test_of_a_covered_cell_only_what_covers_it_is_written() -> None:
    covered = dataclasses.replace(WHOLE, covered_by=ROAD)
    document = {"cell": CELL, "known_gap": "gap", "covered_by": ROAD}
    assert run_file.measurement_to_json(covered) == document
    assert run_file.measurement_from_json(document) == Measurement(key=WHOLE.key, known_gap="gap", covered_by=ROAD)


def test_a_covered_cell_has_the_figures_of_the_one_that_covers_it_and_no_times_of_its_own() -> None:
    covered = Measurement(key=made_up.cell(ROAD).key, known_gap="own", covered_by=CELL)
    cells = run_file.with_figures({CELL: WHOLE, ROAD: covered}, PATH)
    assert cells[CELL] is WHOLE
    assert cells[ROAD] == dataclasses.replace(
        WHOLE, key=covered.key, known_gap="own", covered_by=CELL, times=None, rung=None
    )


@pytest.mark.parametrize("covers", [None, ROAD])
def test_a_cell_that_is_covered_by_nothing_measured_is_refused(covers: str | None) -> None:
    covered = Measurement(key=made_up.cell(ROAD).key, known_gap=None, covered_by=CELL)
    others = {} if covers is None else {CELL: dataclasses.replace(WHOLE, covered_by=covers)}
    with pytest.raises(UnreadableFileError, match=rf"'odd.json' covers {ROAD} by a cell that was not measured"):
        run_file.with_figures({ROAD: covered, **others}, PATH)


CANDIDATE = Candidate(
    coremltools="9.0",
    path="/tree",
    lowering="as-is",
    converter_sha256="c",
    torch="t",
    numpy="n",
    python="p",
    source="dir",
    diff="-a\n+b\n",
    converter_line=7,
)
RUN = Run(
    candidate=CANDIDATE,
    engines={
        "ane": EnginePlace(
            engine=EngineName.COREML, device={"baseline_key": "m9"}, is_hardware=True, is_neural_engine=True
        )
    },
    matrix_sha256="m",
    expected=(CELL, GRAFT),
    measurements={CELL: WHOLE},
    created="2026-01-02T03:04:05+00:00",
    controls_error="controls",
    broken="broken",
    partial="sweep/*",
    against=Against(candidate=CANDIDATE, measurements={CELL: WHOLE, GRAFT: made_up.cell(GRAFT)}),
    conversions=3,
    covered=(Covered(road="r", ops="o", covered_by=CELL),),
    attempts=(
        Attempt(
            ladder="l", rung="w", cell=CELL, activation="ne", operations=(Placed(name="a", op="b", device=Device.GPU),)
        ),
        Attempt(ladder="l", rung="x", cell=CELL, activation="unknown", failure="no plan"),
    ),
    notes=("note",),
)


def test_a_run_stands_in_a_file_section_by_section() -> None:
    section = through_json(run_file.run_section(RUN))
    who = dataclasses.asdict(CANDIDATE)
    assert section == {
        "candidate": who,
        "engines": {
            "ane": {
                "engine": "coreml",
                "device": {"baseline_key": "m9"},
                "is_hardware": True,
                "is_neural_engine": True,
            }
        },
        "matrix_sha256": "m",
        "expected": [CELL, GRAFT],
        "created": "2026-01-02T03:04:05+00:00",
        "controls_error": "controls",
        "broken": "broken",
        "partial": "sweep/*",
        "against": {
            "candidate": who,
            # In the order of their keys, so that a file has one form.
            "measurements": [through_json(run_file.measurement_to_json(made_up.cell(GRAFT))), WRITTEN],
        },
        "conversions": 3,
        "covered": [{"road": "r", "ops": "o", "covered_by": CELL}],
        "attempts": [
            {
                "ladder": "l",
                "rung": "w",
                "cell": CELL,
                "activation": "ne",
                "operations": [{"name": "a", "op": "b", "device": "gpu"}],
                "failure": None,
            },
            {
                "ladder": "l",
                "rung": "x",
                "cell": CELL,
                "activation": "unknown",
                "operations": [],
                "failure": "no plan",
            },
        ],
        "notes": ["note"],
    }
    back = run_file.run_from_json(section, RUN.measurements, PATH)
    assert back == RUN
    assert repr((back.attempts, back.engines)) == repr((RUN.attempts, RUN.engines))  # engines and devices, not words


def test_a_run_without_a_base_tree_says_so() -> None:
    alone = dataclasses.replace(RUN, against=None)
    section = through_json(run_file.run_section(alone))
    assert section["against"] is None
    assert run_file.run_from_json(section, RUN.measurements, PATH) == alone


@pytest.mark.parametrize("value", [math.inf, -math.inf, 65504.0, -0.0])
def test_numbers_that_json_does_not_have_are_their_names(value: float) -> None:
    cell = dataclasses.replace(WHOLE, culprit=Culprit(op="a", name="b", got=value, want=value))
    back = run_file.measurement_from_json(through_json(run_file.measurement_to_json(cell))).culprit
    assert back is not None
    assert repr((back.got, back.want)) == repr((value, value))


SEALED = run_file.sealed({"a": 1})


@pytest.mark.parametrize(
    ("document", "error", "words"),
    [
        ([], UnreadableFileError, "has no schema_version: it is not a file of mish-guard"),
        ({"a": 1}, UnreadableFileError, "has no schema_version: it is not a file of mish-guard"),
        ({"schema_version": "2"}, UnreadableFileError, "has no schema_version: it is not a file of mish-guard"),
        ({**SEALED, "schema_version": 3}, UnreadableFileError, r"version 3; this mish-guard reads up to 2\. Upgrade"),
        ({**SEALED, "schema_version": 1}, OutdatedFileError, r"version 1; this mish-guard reads 2\. Measure again"),
        ({**SEALED, "a": 2}, UnreadableFileError, "was changed after it was written: its sha256 does not match"),
        ({**SEALED, "sha256": "0" * 64}, UnreadableFileError, "its sha256 does not match"),
        ({"schema_version": 2, "a": 1}, UnreadableFileError, "its sha256 does not match"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(
    document: Any, error: type[UnreadableFileError], words: str
) -> None:
    for reads in (run_file.check_seal, run_file.opened):
        with pytest.raises(error, match=f"'odd.json' .*{words}") as raised:
            reads(document, PATH)
        assert raised.type is error


def test_a_seal_is_of_all_that_stands_in_the_file_and_of_its_version() -> None:
    assert {"a": 1, "schema_version": 2, "sha256": files.sha256('{"a":1,"schema_version":2}')} == SEALED
    assert run_file.check_seal(SEALED, PATH) == {"a": 1, "schema_version": 2}


def test_what_is_opened_is_printable_and_what_its_seal_is_of_is_not_changed() -> None:
    odd = run_file.sealed({"a\x1b[2J": ["b\u202e", {"c": "d\n"}]})
    assert run_file.check_seal(odd, PATH)["a\x1b[2J"] == ["b\u202e", {"c": "d\n"}]
    assert run_file.opened(odd, PATH) == {"a": ["b", {"c": "d"}], "schema_version": 2}
    plain = run_file.sealed({"a": 'quoted "b" \\'})
    assert run_file.opened(plain, PATH) == run_file.check_seal(plain, PATH)


def _body(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "sha256"}


def _report(run: Run, *cells: Measurement) -> dict[str, Any]:
    """A results file of a run in the form of pytest-json-report's."""
    kept = _body(json.loads(results("pass").read_text(encoding="utf-8")))
    tests = [{**kept["tests"][0], "metadata": {"measurement": run_file.measurement_to_json(each)}} for each in cells]
    return {**kept, "mish_guard": run_file.run_section(run), "tests": tests}


def _real(run: Run) -> Run:
    """A run that says what the schema asks for, with the candidate and the matrix of one that was kept."""
    kept = run_file.read_run(results("pass"))
    return dataclasses.replace(run, candidate=kept.candidate, matrix_sha256=kept.matrix_sha256)


def test_a_results_file_gives_the_run_that_was_written(tmp_path: Path) -> None:
    path, cell = tmp_path / "results.json", made_up.cell(CELL)
    run = dataclasses.replace(_real(made_up.run(cell)), created="2026-01-02T03:04:05+00:00")
    report = _report(run, cell)
    report["tests"].append({key: value for key, value in report["tests"][0].items() if key != "metadata"})
    report["tests"].append({**report["tests"][0], "metadata": {}})
    run_file.write_run(path, report)
    assert path.read_text(encoding="utf-8") == files.readable_json(run_file.sealed(report))
    assert run_file.read_run(path) == run


def test_a_results_file_that_has_a_cell_twice_is_refused(tmp_path: Path) -> None:
    path, cell = tmp_path / "results.json", made_up.cell(CELL)
    run = dataclasses.replace(_real(made_up.run(cell)), created="2026-01-02T03:04:05+00:00")
    run_file.write_run(path, _report(run, cell, cell, cell))
    with pytest.raises(UnreadableFileError, match=r"measures 2 cells more than once\. Measure again, each cell once"):
        run_file.read_run(path)


def test_a_diff_keeps_its_lines_and_what_stands_beside_it_is_printable(tmp_path: Path) -> None:
    path, cell = tmp_path / "results.json", made_up.cell(CELL)
    real = _real(made_up.run(cell))
    odd = dataclasses.replace(real.candidate, diff="-a\n+b\n", torch="2\x1b[2J.13")
    run = dataclasses.replace(real, candidate=odd, created="2026-01-02T03:04:05+00:00", notes=("a\u202eb",))
    run_file.write_run(path, _report(run, cell))
    back = run_file.read_run(path)
    assert (back.candidate.diff, back.candidate.torch, back.notes) == ("-a\n+b\n", "2.13", ("ab",))


def test_only_the_diff_itself_keeps_its_lines(tmp_path: Path) -> None:
    path, cell = tmp_path / "results.json", made_up.cell(CELL)
    real = _real(made_up.run(cell))
    odd = dataclasses.replace(real.candidate, diff="-a\n+b\n")
    run = dataclasses.replace(real, candidate=odd, created="2026-01-02T03:04:05+00:00", notes=("-a\n+b\n",))
    run_file.write_run(path, _report(run, cell))
    back = run_file.read_run(path)
    assert (back.candidate.diff, back.notes) == ("-a\n+b\n", ("-a +b",))


def test_a_run_that_does_not_follow_the_schema_is_refused(tmp_path: Path) -> None:
    path, cell = tmp_path / "results.json", made_up.cell(CELL)
    report = _report(_real(made_up.run(cell)), cell)
    del report["mish_guard"]["expected"]
    run_file.write_run(path, report)
    with pytest.raises(UnreadableFileError, match="does not follow the results schema"):
        run_file.read_run(path)


@pytest.mark.parametrize(
    ("engine", "place", "device", "name"),
    [
        (EngineName.EMULATOR, "ane", {}, "emulator-ane.json"),
        (EngineName.COREML, "cpu-only", {"baseline_key": "m4-macos26"}, "coreml-m4-macos26-cpu-only.json"),
        (EngineName.COREML, "cpu-only", {"baseline_key": None}, "coreml-cpu-only.json"),
    ],
)
def test_a_baseline_is_named_after_engine_device_and_place(
    engine: EngineName, place: str, device: dict[str, Any], name: str
) -> None:
    assert baseline.path_of(Path("folder"), engine, place, device) == Path("folder") / name


def _stored(folder: Path, *cells: Measurement, name: str = "emulator-ane.json", reason: str = "because") -> Path:
    """A baseline file of these cells, with the candidate and the matrix of a run that was kept."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    run = _real(made_up.run(*cells))
    path.write_text(baseline.text_of(run, "ane", reason=reason, repeats=2), encoding="utf-8")
    return path


ULP_5 = made_up.figures(max_ulp=Worst(value=5.0, at=-10.0))


def test_a_baseline_gives_the_cells_that_were_stored_but_controls_and_times(tmp_path: Path) -> None:
    timed = dataclasses.replace(made_up.cell(CELL), times=Times(load=1.0, predict=2.0))
    elsewhere = made_up.cell(CELL.replace("@ane", "@ieee-fp16"))
    path = _stored(tmp_path, timed, made_up.cell(GRAFT), made_up.cell(NEGATIVE), made_up.cell(POSITIVE), elsewhere)
    held = baseline.load(path)
    assert held.path == str(path)
    assert held.cells == {CELL: made_up.cell(CELL), GRAFT: made_up.cell(GRAFT)}
    assert list(held.cells) == sorted(held.cells)


def test_a_baseline_says_who_measured_it_on_what_when_and_why(tmp_path: Path) -> None:
    run = _real(made_up.run(made_up.cell(CELL)))
    before = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
    held = baseline.load(_stored(tmp_path, made_up.cell(CELL))).provenance
    created = dt.datetime.fromisoformat(held["created"])
    assert before <= created <= dt.datetime.now(dt.timezone.utc)
    assert created.microsecond == 0
    who = {
        key: value
        for key, value in dataclasses.asdict(run.candidate).items()
        if key not in ("path", "diff", "converter_line")
    }
    assert {key: value for key, value in held.items() if key != "created"} == {
        "candidate": who,
        "device": dict(run.device_at("ane")),
        "engine": "emulator",
        "matrix_sha256": run.matrix_sha256,
        "place": "ane",
        "reason": "because",
        "repeats": 2,
    }


def test_a_baseline_has_a_line_for_each_cell_and_its_head_in_order(tmp_path: Path) -> None:
    lines = _stored(tmp_path, made_up.cell(GRAFT), made_up.cell(CELL)).read_text(encoding="utf-8").splitlines()
    assert [line.split(":")[0] for line in (lines[0], *lines[1:5])] == [
        "{",
        ' "provenance"',
        ' "schema_version"',
        ' "sha256"',
        ' "cells"',
    ]
    assert [line.startswith(f'  "{key}": {{"cell"') for line, key in zip(lines[5:7], (GRAFT, CELL), strict=True)] == [
        True,
        True,
    ]
    assert lines[7:] == [" }", "}"]


def test_a_baseline_that_is_not_there_is_missing_and_says_how_to_measure_one(tmp_path: Path) -> None:
    with pytest.raises(MissingBaselineError, match=r"There is no baseline '.*a\.json'\. Measure one: mish-guard"):
        baseline.load(tmp_path / "a.json")


def test_a_cell_under_another_name_is_refused(tmp_path: Path) -> None:
    path = _stored(tmp_path, made_up.cell(CELL))
    document = json.loads(path.read_text(encoding="utf-8"))
    cells = {GRAFT: document["cells"][CELL]}
    path.write_text(files.readable_json(run_file.sealed({**_body(document), "cells": cells})), encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=f"files the cell {CELL} under '{GRAFT}'. Restore it from version"):
        baseline.load(path)


def test_a_baseline_that_does_not_follow_the_schema_is_refused(tmp_path: Path) -> None:
    path = _stored(tmp_path, made_up.cell(CELL))
    document = _body(json.loads(path.read_text(encoding="utf-8")))
    del document["provenance"]["reason"]
    path.write_text(files.readable_json(run_file.sealed(document)), encoding="utf-8")
    with pytest.raises(UnreadableFileError, match="does not follow the baseline schema at provenance"):
        baseline.load(path)


def test_the_shipped_baselines_are_those_of_the_emulator() -> None:
    assert {path.stem for path in baseline.SHIPPED.glob("emulator-*.json")} == {
        "emulator-ane",
        "emulator-ane-coarse",
        "emulator-ane-ftz",
        "emulator-ieee-fp16",
    }


def test_every_place_has_its_own_baseline_in_order_and_one_without_a_file_is_left_out(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "e", "f")
    cells = {name: made_up.cell(CELL.replace("@ane", f"@{name}")) for name in names}
    run = made_up.run(made_up.cell(CELL), *cells.values())
    for name in names:
        text = baseline.text_of(_real(run), name, reason="because", repeats=1)
        (tmp_path / f"emulator-{name}.json").write_text(text, encoding="utf-8")
    found = baseline.load_for(run, tmp_path)
    assert {name: list(each.cells.values()) for name, each in found.items()} == {
        name: [cell] for name, cell in cells.items()
    }
    assert list(found) == list(names)


def test_what_the_base_branch_knows_counts_and_the_change_only_adds_cells(tmp_path: Path) -> None:
    run = made_up.run(made_up.cell(CELL))
    _stored(tmp_path / "base", made_up.cell(CELL))
    _stored(tmp_path / "own", made_up.cell(CELL, ULP_5), made_up.cell(GRAFT, ULP_5))
    found = baseline.load_for(run, tmp_path / "own", tmp_path / "base")
    assert found["ane"].path == str(tmp_path / "base" / "emulator-ane.json")
    assert found["ane"].cells == {CELL: made_up.cell(CELL), GRAFT: made_up.cell(GRAFT, ULP_5)}


def test_a_place_that_only_the_change_knows_is_not_judged_by_it(tmp_path: Path) -> None:
    run = made_up.run(made_up.cell(CELL))
    _stored(tmp_path / "base", made_up.cell(CELL), name="emulator-ane-ftz.json")
    _stored(tmp_path / "own", made_up.cell(CELL))
    assert baseline.load_for(run, tmp_path / "own", tmp_path / "base") == {}
    (tmp_path / "own" / "emulator-ane.json").unlink()
    assert baseline.load_for(run, tmp_path / "own", tmp_path / "base") == {}


def test_a_base_branch_without_any_baseline_is_no_base(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(MissingBaselineError, match="holds no baseline of the base branch"):
        baseline.load_for(made_up.run(made_up.cell(CELL)), tmp_path, tmp_path / "base")


def test_a_base_branch_in_which_any_file_is_no_baseline_is_refused(tmp_path: Path) -> None:
    _stored(tmp_path / "base", made_up.cell(CELL))
    (tmp_path / "base" / "odd.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"odd\.json"):
        baseline.load_for(made_up.run(made_up.cell(CELL)), tmp_path / "base", tmp_path / "base")


def test_all_baselines_of_a_folder_by_the_names_of_their_files(tmp_path: Path) -> None:
    for name in ("f", "b", "e", "a", "d"):
        _stored(tmp_path, made_up.cell(CELL), name=f"{name}.json")
    _stored(tmp_path, made_up.cell(GRAFT), name="c.json")
    (tmp_path / "a.txt").write_text("{}", encoding="utf-8")
    found = baseline.load_all(tmp_path)
    assert list(found) == ["a", "b", "c", "d", "e", "f"]
    assert [list(each.cells) for each in found.values()] == [[CELL], [CELL], [GRAFT], [CELL], [CELL], [CELL]]
    assert baseline.load_all(tmp_path / "none") == {}
