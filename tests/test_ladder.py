"""The routing ladder: which rung is chosen, what is remembered, and that every rung measures the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mish_guard import files
from mish_guard.engines.base import Execution
from mish_guard.engines.emulator import EmulatorEngine
from mish_guard.errors import MachineError, UsageError
from mish_guard.matrix import plan, remembered
from mish_guard.matrix.plan import Place
from mish_guard.matrix.shape_search import Ladder
from mish_guard.models import controls, networks
from mish_guard.models.shapes import LADDERS, MOST_FLATTENED, Rung
from mish_guard.records import CellKey, Device, Placed, Placement, Role
from tests.conftest import SMALL_MATRIX

CONTROLS = files.DATA / "controls"
NE = "cpu-and-ne"
SWEEP = [str(rung) for rung in LADDERS["sweep"]]
CANDIDATE = CellKey.parse(f"sweep/mish-k3/torchscript/mlprogram-fp16@{NE}")
GRAFT = CellKey.parse(f"graft:sweep/mish-k3/torchscript/mlprogram-fp16@{NE}")
NEGATIVE = CellKey.parse(f"negative-control:sweep/mish-k3/stored/mlprogram-fp16@{NE}")
POSITIVE = CellKey.parse(f"positive-control:sweep/mish-k3/stored/mlprogram-fp16@{NE}")

Plan = Callable[[CellKey, str], str]


class _Machine:
    """Stands for an engine with a real Neural Engine, a CPU and an emulated engine."""

    def is_hardware(self, place: str) -> bool:
        return place != "ane"

    def is_neural_engine(self, place: str) -> bool:
        return place != "cpu-only"


class Climb:
    """A ladder over the small matrix whose plan is a function of cell and rung; `asked` is what was tried."""

    def __init__(self, tmp_path: Path, planned: Plan, first: Mapping[str, str] | None = None) -> None:
        path = tmp_path / "matrix.yml"
        path.write_text(SMALL_MATRIX)
        self.asked: list[tuple[str, str]] = []
        self._plan = planned
        cells = plan.load(path, [Place(name=NE, is_neural_engine=True)])
        engine: Any = _Machine()
        self.ladder = Ladder(engine, cells, self._run, first or {})

    def _run(self, key: CellKey, rung: Rung) -> Execution:
        self.asked.append((key.role.value, str(rung)))
        device = self._plan(key, str(rung))
        if device == "dies":
            msg = "Core ML aborted the process: SIGABRT."
            raise MachineError(msg)
        operations = (Placed(name="y", op="softplus", device=Device(device.split("+")[0])),)
        return Execution(predictions=(), placement=Placement(activation=device, ops={}), operations=operations)


def _from(*rungs: str) -> Plan:
    return lambda _, rung: "ne" if rung in rungs else "cpu"


@pytest.mark.parametrize("rung", SWEEP)
def test_the_first_rung_that_is_placed_is_taken_by_all(tmp_path: Path, rung: str) -> None:
    climb = Climb(tmp_path, _from(*SWEEP[SWEEP.index(rung) :]))
    assert {str(climb.ladder.rung(key)) for key in (GRAFT, NEGATIVE, CANDIDATE, POSITIVE)} == {rung}
    assert climb.ladder.worked() == {"sweep": rung}
    assert len({*climb.asked}) == len(climb.asked), "each model is offered once"


def test_a_rung_must_take_the_controls_and_the_candidate(tmp_path: Path) -> None:
    taken = {Role.NEGATIVE_CONTROL: SWEEP[0:3], Role.CANDIDATE: SWEEP[1:3], Role.POSITIVE_CONTROL: SWEEP[2:3]}
    climb = Climb(tmp_path, lambda key, rung: "ne" if rung in taken[key.role] else "cpu")
    assert str(climb.ladder.rung(NEGATIVE)) == SWEEP[2]
    refused = [each.rung for each in climb.ladder.attempts if each.is_refused]
    assert refused == SWEEP[:2]


def test_without_such_a_rung_the_one_that_took_most_is_measured_and_not_remembered(tmp_path: Path) -> None:
    taken = {Role.NEGATIVE_CONTROL: SWEEP, Role.CANDIDATE: SWEEP[2:], Role.POSITIVE_CONTROL: []}
    climb = Climb(tmp_path, lambda key, rung: "ne" if rung in taken[key.role] else "cpu+ne")
    assert str(climb.ladder.rung(NEGATIVE)) == SWEEP[2]
    assert climb.ladder.worked() == {}


def test_a_machine_that_takes_nothing_is_measured_as_declared(tmp_path: Path) -> None:
    climb = Climb(tmp_path, _from())
    assert str(climb.ladder.rung(CANDIDATE)) == SWEEP[0]
    assert [each.rung for each in climb.ladder.attempts] == SWEEP
    assert climb.ladder.worked() == {}


@pytest.mark.parametrize("device", ["dies", "unknown"])
def test_a_failure_and_a_silent_plan_are_no_reason_to_climb(tmp_path: Path, device: str) -> None:
    climb = Climb(tmp_path, lambda *_: device)
    assert str(climb.ladder.rung(CANDIDATE)) == SWEEP[0]
    (attempt,) = climb.ladder.attempts
    assert (attempt.failure is not None) is (device == "dies")
    assert climb.ladder.worked() == {}


@pytest.mark.parametrize(
    "key",
    [
        f"sweep/mish-k3/torchscript/mlprogram-fp32@{NE}",
        f"surface/rank-2/torchscript/mlprogram-fp16@{NE}",
        f"model/tower/torchscript/mlprogram-fp16@{NE}",
        "sweep/mish-k3/torchscript/mlprogram-fp16@cpu-only",
        "sweep/mish-k3/torchscript/mlprogram-fp16@ane",
    ],
)
def test_only_what_a_real_neural_engine_could_take_climbs(tmp_path: Path, key: str) -> None:
    climb = Climb(tmp_path, _from())
    assert climb.ladder.rung(CellKey.parse(key)) is None
    assert climb.asked == []


def test_what_worked_before_is_offered_first(tmp_path: Path) -> None:
    climb = Climb(tmp_path, _from(*SWEEP), {"sweep": "28x28x16"})
    assert str(climb.ladder.rung(CANDIDATE)) == "28x28x16"
    assert {rung for _, rung in climb.asked} == {"28x28x16"}


@pytest.mark.parametrize("first", ["28x28x16", "1x1x1", ""])
def test_what_worked_before_is_not_believed(tmp_path: Path, first: str) -> None:
    climb = Climb(tmp_path, _from("16x16x64"), {"sweep": first})
    assert str(climb.ladder.rung(CANDIDATE)) == "16x16x64"
    assert climb.ladder.worked() == {"sweep": "16x16x64"}


def test_rungs_are_remembered_for_each_machine(tmp_path: Path) -> None:
    path = tmp_path / remembered.NAME
    remembered.store(path, "a/1/9.0", {"sweep": "8x8x32"})
    remembered.store(path, "b/1/9.0", {"sweep": "28x28x16"})
    remembered.store(path, "a/1/9.0", {"stability": "8x8x32"})
    assert remembered.load(path, "a/1/9.0") == ({"sweep": "8x8x32", "stability": "8x8x32"}, None)
    assert remembered.load(path, "b/1/9.0") == ({"sweep": "28x28x16"}, None)
    assert remembered.load(path, "c/1/9.0") == ({}, None)
    assert [each.name for each in tmp_path.iterdir()] == [remembered.NAME]


@pytest.mark.parametrize("text", ["", "[]", '{"a/1/9.0": {"sw', '{"a/1/9.0": "8x8x32"}', '{"a/1/9.0": {"sweep": 8}}'])
def test_a_damaged_memory_is_ignored_with_a_word_and_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / remembered.NAME
    path.write_text(text)
    rungs, note = remembered.load(path, "a/1/9.0")
    assert rungs == {}
    assert note is not None
    assert remembered.NAME in note
    remembered.store(path, "a/1/9.0", {"sweep": "8x8x32"})
    assert remembered.load(path, "a/1/9.0") == ({"sweep": "8x8x32"}, None)


def test_a_memory_that_cannot_be_read_or_written_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / remembered.NAME
    path.mkdir()
    rungs, note = remembered.load(path, "a/1/9.0")
    assert rungs == {}
    assert note is not None
    complaint = remembered.store(path, "a/1/9.0", {"sweep": "8x8x32"})
    assert complaint is not None
    assert "not remembered" in complaint
    assert [each.name for each in tmp_path.iterdir()] == [remembered.NAME]


def test_no_machine_that_is_not_known_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / remembered.NAME
    for part in ("id", "build", "coremltools"):
        known = {"id": "0123", "build": "25D125", "coremltools": "9.0", part: None}
        device = {
            "hardware": {"id": known["id"]},
            "environment": {"build": known["build"], "packages": {"coremltools": known["coremltools"]}},
        }
        assert remembered.machine_key(device) is None
    remembered.store(path, None, {"sweep": "8x8x32"})
    remembered.store(path, "a/1/9.0", {})
    assert not path.exists()


@pytest.mark.parametrize("rung", [rung for rungs in LADDERS.values() for rung in rungs], ids=str)
def test_a_rung_is_legal_on_every_chip_and_names_its_source(rung: Rung) -> None:
    assert rung.flattened <= MOST_FLATTENED
    assert rung.spatial % 2 == 0
    assert rung.source


def test_the_rung_of_the_issue_is_the_issues() -> None:
    (rung,) = [rung for rung in LADDERS["sweep"] if str(rung) == "8x8x32"]
    assert (rung.flattened, rung.outputs) == (2048, 16)
    feeds = networks.case("mish-k3").on(rung).feeds()
    assert all(feed[0].size == 2048 for feed in feeds)
    assert len(feeds) == 31 + 4, "63,488 finite inputs, and 2,048 others with a quarter of a tile for each"


@pytest.mark.parametrize("where", ["ieee-fp16", "ane", "ane-ftz"])
@pytest.mark.parametrize("role", [Role.NEGATIVE_CONTROL, Role.POSITIVE_CONTROL])
def test_every_rung_measures_every_input_alike(role: Role, where: str) -> None:
    """The stored control of each rung gives the same bits for the same input."""
    engine = EmulatorEngine((where,))
    figures = []
    for case in networks.on_every_rung(networks.case("mish-k3")):
        package = controls.stored_package(role, case.model, CONTROLS)
        figures.append(case.figures(engine.run(package, case.feeds(), where).predictions))
    assert len(figures) == 4
    assert {each.n_total for each in figures} == {63488}
    assert len({each.digest for each in figures}) == 1
    assert figures.count(figures[0]) == 4


@pytest.mark.parametrize("scale", ["scale-3.5", "scale-11.0"])
def test_the_negative_control_is_caught_on_every_rung_of_the_test(scale: str) -> None:
    engine = EmulatorEngine(("ane",))
    for case in networks.on_every_rung(networks.case(scale)):
        over = {}
        for role in (Role.NEGATIVE_CONTROL, Role.POSITIVE_CONTROL):
            package = controls.stored_package(role, case.model, CONTROLS)
            over[role] = case.figures(engine.run(package, case.feeds(), "ane").predictions).n_over_ceiling
        assert over[Role.NEGATIVE_CONTROL] > 0
        assert over[Role.POSITIVE_CONTROL] == 0


@pytest.mark.parametrize("rung", LADDERS["sweep"], ids=str)
@pytest.mark.parametrize("name", ["mish-k3", "mish-k1"])
def test_an_input_is_found_again_on_every_rung(name: str, rung: Rung) -> None:
    case = networks.case(name).on(rung)
    feeds = case.feeds()
    for x in (-65504.0, -0.5, 10.3984375, 65504.0):
        located = case.locate(x)
        assert located is not None
        feed, place = located
        assert feeds[feed][0][place] == x


def test_a_model_of_one_shape_has_no_rung() -> None:
    for name in ("tower", "rank-2"):
        assert networks.case(name).ladder is None
        with pytest.raises(UsageError, match="one shape"):
            networks.case(name).on(LADDERS["sweep"][1])


def test_the_stored_controls_are_the_ladders() -> None:
    stored = {path.stem for path in CONTROLS.glob("*.mlpackage")}
    models = {case.model for name in controls.CASES for case in networks.on_every_rung(networks.case(name))}
    assert stored == {f"{lowering}-{model}" for lowering in controls.LOWERING.values() for model in models}
    size = sum(path.stat().st_size for path in CONTROLS.rglob("*") if path.is_file())
    assert size < 2_000_000
