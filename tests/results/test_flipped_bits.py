"""One flipped bit, in each stored file one after the other: it is refused, and never judged by."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest

from mish_guard import files
from mish_guard.errors import ExitCode, MachineError, UnreadableFileError
from mish_guard.models import controls
from mish_guard.results import baseline
from tests.conftest import Invoke
from tests.report.conftest import RUNS

SEED = 2359
FLIPS = 5
CONTROLS = files.DATA / "controls"
BASELINES = sorted(baseline.SHIPPED.glob("*.json"))


def flipped(path: Path, chance: random.Random) -> bytes:
    """The content of a file with one bit turned round."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


@pytest.mark.parametrize("stored", BASELINES, ids=lambda path: path.stem)
def test_a_flipped_bit_in_a_baseline_is_refused(stored: Path, tmp_path: Path) -> None:
    chance, path = random.Random(SEED), tmp_path / stored.name  # noqa: S311 - places in files, not secrets
    for _ in range(FLIPS):
        path.write_bytes(flipped(stored, chance))
        with pytest.raises(UnreadableFileError):
            baseline.load(path)


@pytest.mark.parametrize("victim", ["results", "baseline"])
def test_a_flipped_bit_in_what_is_judged_ends_with_2(invoke: Invoke, tmp_path: Path, victim: str) -> None:
    chance, folder = random.Random(SEED), tmp_path / "run"  # noqa: S311 - places in files, not secrets
    shutil.copytree(RUNS, folder)
    path = folder / "pass" / "results.json" if victim == "results" else folder / "baselines" / "emulator-ane.json"
    whole = path.read_bytes()
    words = ("judge", folder / "pass" / "results.json", "--baselines", folder / "baselines")
    for _ in range(FLIPS):
        path.write_bytes(whole)
        path.write_bytes(flipped(path, chance))
        ended = invoke(*words)
        assert (ended.code, ended.out) == (ExitCode.USAGE, "")
        assert path.name in ended.err


def test_a_flipped_bit_in_a_control_is_found(tmp_path: Path) -> None:
    """In each file of each control, named; the court says BROKEN where one is found."""
    chance, folder = random.Random(SEED), tmp_path / "controls"  # noqa: S311 - places in files, not secrets
    shutil.copytree(CONTROLS, folder)
    for name in controls.recorded(CONTROLS):
        (folder / name).write_bytes(flipped(CONTROLS / name, chance))
        with pytest.raises(MachineError, match=re.escape(f"first '{name}'")):
            controls.verify(folder)
        shutil.copyfile(CONTROLS / name, folder / name)
    controls.verify(folder)


def test_a_flipped_bit_in_the_manifest_of_the_controls_is_found_or_says_nothing_of_files(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 - places in files, not secrets
    folder = tmp_path / "controls"
    shutil.copytree(CONTROLS, folder)
    for _ in range(8 * FLIPS):
        (folder / controls.MANIFEST).write_bytes(flipped(CONTROLS / controls.MANIFEST, chance))
        try:
            controls.verify(folder)
        except MachineError:
            continue
        assert controls.recorded(folder) == controls.recorded(CONTROLS)
