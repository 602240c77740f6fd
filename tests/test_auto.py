"""`--engine auto`: Core ML and the emulator on a Mac, the emulator elsewhere, and no fallback."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard import files
from mish_guard.engines import registry
from mish_guard.engines.both import Engines
from mish_guard.engines.emulator import profiles
from mish_guard.errors import ExitCode, MachineError, UsageError
from mish_guard.models import networks
from tests import virtual_mac

pytestmark = pytest.mark.slow

SOFTPLUS = files.DATA / "controls" / "softplus-stability.mlpackage"
PROFILES = tuple(profiles.PROFILES)

Wake = Callable[..., None]


@pytest.fixture
def wake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Wake:
    """Wake up on the Mac of a stored scenario, with other keys."""

    def on(base: str = "m3-max", **changes: Any) -> None:
        virtual_mac.wake(monkeypatch, virtual_mac.variant(base, tmp_path, **changes), tmp_path)

    return on


@pytest.fixture
def no_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a Mac, wherever the tests run."""
    monkeypatch.setattr(platform, "mac_ver", lambda: ("", ("", "", ""), ""))


@pytest.mark.usefixtures("no_mac")
@pytest.mark.parametrize(("places", "got"), [((), PROFILES), (("ane",), ("ane",))])
def test_off_a_mac_it_is_the_emulator(places: tuple[str, ...], got: tuple[str, ...]) -> None:
    engine = registry.create("auto", places)
    assert (engine.name, engine.places()) == ("emulator", got)


@pytest.mark.usefixtures("no_mac")
@pytest.mark.parametrize("places", [("cpu-only",), ("cpu-only", "ane")])
def test_a_compute_unit_off_a_mac_is_an_error(places: tuple[str, ...]) -> None:
    with pytest.raises(MachineError, match="needs a Mac"):
        registry.create("auto", places)


@pytest.mark.parametrize(
    ("base", "units"),
    [("m3-max", ("cpu-only", "cpu-and-gpu", "cpu-and-ne")), ("hosted-vm", ("cpu-only", "cpu-and-gpu"))],
)
def test_on_a_mac_it_is_both(wake: Wake, base: str, units: tuple[str, ...]) -> None:
    wake(base)
    engine = registry.create("auto", ())
    assert engine.places() == units + PROFILES
    assert engine.engines() == {**dict.fromkeys(units, "coreml"), **dict.fromkeys(PROFILES, "emulator")}
    assert {where for where in engine.places() if engine.is_hardware(where)} == set(units)
    assert engine.device()["coreml"]["hardware"]["chip"] is not None
    assert engine.device()["emulator"]["kind"] == "emulator"


@pytest.mark.parametrize(
    ("places", "name"), [(("cpu-only", "ane"), "auto"), (("ane",), "emulator"), (("cpu-only",), "coreml")]
)
def test_places_choose_their_engines(wake: Wake, places: tuple[str, ...], name: str) -> None:
    wake()
    engine = registry.create("auto", places)
    assert (engine.name, engine.places()) == (name, places)


def test_each_place_runs_on_its_own_engine(wake: Wake) -> None:
    wake()
    engine = registry.create("auto", ("cpu-only", "ane"))
    assert isinstance(engine, Engines)
    feeds = networks.case("scale-11.0").feeds()
    real, emulated = (engine.run(SOFTPLUS, feeds, where) for where in ("cpu-only", "ane"))
    assert (real.placement.activation, emulated.placement.activation) == ("cpu", "ne")
    assert (real.times is None, emulated.times is None) == (False, True)
    assert not np.array_equal(real.predictions[0][0], emulated.predictions[0][0])
    assert engine.first_wrong(SOFTPLUS, feeds[0], "cpu-only", None) is None
    culprit = engine.first_wrong(SOFTPLUS, feeds[0], "ane", None)
    assert culprit is not None
    assert culprit.op == "softplus"


@pytest.mark.parametrize("place", ["all", "m1"])
def test_a_place_that_is_neither_is_a_usage_error(place: str) -> None:
    with pytest.raises(UsageError, match=rf"'{place}', nor a compute unit.*ane-ftz.*cpu-and-ne"):
        registry.create("auto", ("ane", place))


def gate_on(tmp_path: Path, *arguments: object, **changes: Any) -> subprocess.CompletedProcess[str]:
    """The gate under a Python that lives on the Mac of a stored scenario, with other keys."""
    python = virtual_mac.interpreter(virtual_mac.variant("m3-max", tmp_path, **changes), tmp_path)
    command = [str(python), "-m", "mish_guard", "gate", "--engine", "auto", *map(str, arguments)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)


def test_core_ml_that_cannot_be_used_is_broken_and_nothing_falls_back(small_matrix: Path, tmp_path: Path) -> None:
    common = ("--matrix", small_matrix, "--out", tmp_path / "o")
    ended = gate_on(tmp_path, *common, foreign_libraries=["libcoremlpython"])
    assert ended.returncode == ExitCode.BROKEN
    assert "libcoremlpython" in ended.stderr
    assert not (tmp_path / "o" / "results.json").exists()


def test_a_damaged_memory_of_rungs_is_told_in_the_report(small_matrix: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    out.mkdir()
    (out / "rungs.json").write_text('{"cut off')
    common = ("--matrix", small_matrix, "--lowering", "exp", "--baselines", tmp_path / "b", "--out", out)
    ended = gate_on(tmp_path, "--profile", "cpu-and-ne", *common)
    assert ended.returncode == ExitCode.NO_BASELINE, ended.stderr
    told = " ".join(ended.stdout.split())
    assert "note The rungs that worked before were ignored: " in told
    assert "shapes sweep at 128x128x1" in told
    assert files.read_json(out / "rungs.json") != {}
    again = gate_on(tmp_path, "--profile", "cpu-and-ne", *common)
    assert "note " not in again.stdout
