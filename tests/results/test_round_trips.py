"""What is written comes back as it was: any run, any measurement, any outputs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mish_guard import files
from mish_guard.numerics import fp16
from mish_guard.records import (
    Against,
    Attempt,
    BadInterval,
    BinadeFigures,
    Candidate,
    CellKey,
    Covered,
    Culprit,
    Device,
    EngineName,
    EnginePlace,
    Family,
    Figures,
    Measurement,
    Placed,
    Placement,
    Run,
    Times,
    Worst,
)
from mish_guard.results import curves, run_file

WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9.+-]{0,7}", fullmatch=True)
PLACES = st.sampled_from(["ane", "ieee-fp16", "cpu-and-ne"])
COUNTS = st.integers(0, 65536)
NUMBERS = st.floats(0, allow_nan=False, allow_infinity=False)
POINTS = st.sampled_from(fp16.finite_values()[::61].tolist())
WORST = st.builds(Worst, value=NUMBERS, at=POINTS)
FIGURES = st.builds(
    Figures,
    n_total=COUNTS,
    n_covered=COUNTS,
    n_nonfinite=COUNTS,
    n_collapsed=COUNTS,
    n_over_ceiling=COUNTS,
    max_abs=WORST,
    max_ulp=WORST,
    mean_abs=NUMBERS,
    material=NUMBERS,
    digest=NAMES,
    binades=st.dictionaries(
        NAMES,
        st.builds(BinadeFigures, count=COUNTS, max_ulp=NUMBERS, mean_abs=NUMBERS, at=POINTS, material=NUMBERS),
        max_size=2,
    ),
    bad_intervals=st.lists(st.builds(BadInterval, first=POINTS, last=POINTS, count=COUNTS), max_size=2).map(tuple),
    specials=st.dictionaries(NAMES, NAMES, max_size=2),
)

# Looking for a smaller example among records of so many fields takes minutes.
TRIES = settings(deadline=None, derandomize=True, max_examples=30, phases=[Phase.generate])


def whole(record: type[Any], **chosen: Any) -> st.SearchStrategy[Any]:
    """A record with every field drawn, those too that have a default."""
    return st.builds(record, **{each.name: ... for each in dataclasses.fields(record)} | chosen)


OPS = st.dictionaries(NAMES, st.sampled_from(Device), max_size=2)
KEYS = st.builds(CellKey, case=NAMES, place=PLACES, family=st.sampled_from(Family))
MEASUREMENTS = whole(
    Measurement,
    key=KEYS,
    figures=st.none() | FIGURES,
    placement=st.none() | st.builds(Placement, ops=OPS),
    times=st.none() | st.builds(Times, load=NUMBERS, predict=NUMBERS),
    covered_by=st.none(),  # of such a cell only that is written
    assumptions=st.lists(NAMES, max_size=2).map(tuple),
)


def _by_key(cells: list[Measurement]) -> dict[str, Measurement]:
    return {str(each.key): each for each in cells}


CELLS = st.lists(MEASUREMENTS, max_size=3).map(_by_key)
PLACE = st.builds(
    EnginePlace,
    engine=st.sampled_from(EngineName),
    device=st.dictionaries(NAMES, st.none() | NAMES | COUNTS, max_size=2),
)
CANDIDATES = whole(Candidate)
RUNS = whole(
    Run,
    candidate=CANDIDATES,
    engines=st.dictionaries(PLACES, PLACE, max_size=3),
    expected=st.lists(NAMES, max_size=3).map(tuple),
    measurements=CELLS,
    against=st.none() | st.builds(Against, candidate=CANDIDATES, measurements=CELLS),
    covered=st.lists(st.builds(Covered), max_size=2).map(tuple),
    attempts=st.lists(whole(Attempt, operations=st.lists(st.builds(Placed), max_size=2).map(tuple)), max_size=2).map(
        tuple
    ),
    notes=st.lists(WORDS, max_size=2).map(tuple),
)


def through_json(document: Any) -> Any:
    """A document as it comes back from a file."""
    return json.loads(files.readable_json(document))


def plain(value: Any) -> Any:
    """A record as dicts and lists, so that NaN equals itself and -0.0 is no 0.0."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return repr(value) if isinstance(value, float) else value


@given(MEASUREMENTS)
@TRIES
def test_a_measurement_comes_back_as_it_was(cell: Measurement) -> None:
    back = run_file.measurement_from_json(through_json(run_file.measurement_to_json(cell)))
    assert plain(back) == plain(cell)


@given(RUNS)
@TRIES
def test_a_run_comes_back_as_it_was(run: Run) -> None:
    section = through_json(run_file.run_section(run))
    assert plain(run_file.run_from_json(section, run.measurements, Path("x"))) == plain(run)


@given(RUNS)
@TRIES
def test_what_comes_back_is_written_as_before(run: Run) -> None:
    """So that a file has one form, whoever wrote it last."""
    first = files.readable_json(run_file.run_section(run))
    back = run_file.run_from_json(json.loads(first), run.measurements, Path("x"))
    assert files.readable_json(run_file.run_section(back)) == first


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=64))
@settings(deadline=None, derandomize=True, max_examples=25)
def test_outputs_come_back_bit_for_bit(bits: list[int]) -> None:
    values = np.resize(np.array(bits, np.uint16), curves.COUNT).view(np.float16)
    assert curves.unpack(curves.pack(values)).tobytes() == values.tobytes()


def test_every_number_of_a_culprit_has_its_name() -> None:
    for value in (math.inf, -math.inf, math.nan, -0.0, 65504.0):
        document = run_file._culprit_to_json(Culprit(op="a", name="b", got=value, want=value))
        back = run_file._culprit_from_json(through_json(document))
        assert repr((back.got, back.want)) == repr((value, value))
