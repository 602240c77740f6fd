"""The evidence replayed: no profile may contradict a public measurement, and every hazard must be needed by one."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import yaml

from mish_guard.engines.emulator import assumptions, hazards, replay
from mish_guard.engines.emulator.profiles import ANE, IEEE_FP16, PROFILES, Profile
from mish_guard.engines.emulator.replay import Status
from mish_guard.errors import ExitCode, UnreadableFileError
from tests.conftest import Invoke

ROOT = Path(__file__).parent.parent
REQUIRED = "F1 F2 F3 F5 F19 F20 F30 F31 F32 F34 F35 F36 F37 F39 F43 F45 F47 F48 F49 P6 C1".split()  # noqa: SIM905
HAZARDS = [(name, hazard) for name, profile in PROFILES.items() for hazard in sorted(profile.hazards)]


def _contradicted(profile: Profile, facts: Collection[str] | None = None) -> list[str]:
    chosen = [fact for fact in replay.load() if facts is None or fact.id in facts]
    return [each.fact.id for each in replay.replay(profile, chosen) if each.status is Status.CONTRADICTED]


@pytest.mark.parametrize("name", PROFILES)
def test_no_profile_contradicts_a_measurement(name: str) -> None:
    assert _contradicted(PROFILES[name]) == []


def test_the_measurements_that_matter_are_reproduced() -> None:
    reproduced = {each.fact.id for each in replay.replay(ANE) if each.status is Status.REPRODUCED}
    assert set(REQUIRED) - reproduced == set()


@pytest.mark.parametrize(("name", "hazard"), HAZARDS)
def test_without_a_hazard_one_of_the_facts_it_names_is_contradicted(name: str, hazard: str) -> None:
    tamed = dataclasses.replace(PROFILES[name], hazards=PROFILES[name].hazards - {hazard})
    assert _contradicted(tamed, hazards.TABLE[hazard].evidence) != []


def test_every_hazard_belongs_to_a_profile_and_names_its_evidence() -> None:
    facts = {fact.id for fact in replay.load()}
    assert {hazard for _, hazard in HAZARDS} == set(hazards.TABLE)
    for hazard in hazards.TABLE.values():
        assert hazard.evidence, hazard.name
        assert set(hazard.evidence) <= facts, hazard.name


def test_every_assumption_names_facts_and_has_two_readings() -> None:
    facts = {fact.id for fact in replay.load()}
    for assumption in assumptions.TABLE.values():
        assert assumption.evidence, assumption.id
        assert set(assumption.evidence) <= facts, assumption.id
        assert assumption.friendly != assumption.pessimistic


def test_what_nobody_measured_is_listed_and_named_by_a_fact() -> None:
    named = {fact.unknown for fact in replay.load() if fact.unknown}
    assert set(replay.unmeasured(ANE)) == named
    assert replay.unmeasured(IEEE_FP16) == ()


def _repeat(facts: list[dict[str, Any]]) -> None:
    facts.append(copy.deepcopy(facts[0]))


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (_repeat, "F1 is used twice"),
        (lambda facts: facts[1].update(derived_from=["F999"]), "F999, which is not there"),
        (lambda facts: facts[0]["replay"][0].update(profiles=["m1"]), "m1, which is no profile"),
        (lambda facts: facts[-1].update(topic=""), r"facts/\d+/topic"),
        (lambda facts: facts[0].pop("replay"), "facts/0"),
        (lambda facts: facts[0].pop("sources"), "facts/0"),
        (lambda facts: facts[0].update(sources=["a friend"]), "facts/0/sources/0"),
    ],
)
def test_evidence_that_contradicts_itself_is_refused(
    tmp_path: Path, edit: Callable[[list[dict[str, Any]]], None], complaint: str
) -> None:
    document = yaml.safe_load(replay.EVIDENCE.read_text())
    edit(document["facts"])
    path = tmp_path / "evidence.yml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UnreadableFileError, match=complaint):
        replay.load(path)


@pytest.mark.slow
def test_the_command_counts_what_it_reproduced(invoke: Invoke) -> None:
    ended = invoke("calibrate")
    facts = {each.fact.id for name in PROFILES for each in replay.replay(PROFILES[name]) if each.trials}
    assert ended.code == ExitCode.PASS
    assert ended.first_line == f"CALIBRATED: all {len(facts)} facts that can be replayed are reproduced"
    assert len(facts) >= len(REQUIRED)


def test_what_matters_comes_first_and_every_fact_on_demand(invoke: Invoke) -> None:
    brief = invoke("calibrate", "--profile", "ane").out.splitlines()
    assert brief[2].split()[:3] == ["profile", "reproduced", "contradicted"]
    assert brief[3].split()[0] == "ane"
    assert brief[5].startswith("Not measured by anyone, or told differently by two sources; under ane, first what most")
    assert len(brief) < 40
    everything = invoke("calibrate", "--profile", "ane", "-v").out
    assert all(f"\n{fact.id} " in everything for fact in replay.load())


def test_a_profile_that_no_fact_is_about_is_not_calibrated(invoke: Invoke) -> None:
    ended = invoke("calibrate", "--profile", "ieee-fp16")
    assert ended.code == ExitCode.INCONCLUSIVE
    assert ended.first_line == "NOTHING REPLAYED: no fact is about ieee-fp16"


def test_a_contradiction_is_named_and_fails(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "ane", dataclasses.replace(ANE, hazards=ANE.hazards - {"log-of-zero"}))
    ended = invoke("calibrate", "--profile", "ane")
    assert ended.code == ExitCode.FAIL
    assert ended.first_line.startswith("CONTRADICTED: ane: F22; ane: F39")
    assert ended.out.splitlines()[1].startswith("    F22 under ane: ")


@pytest.mark.slow
def test_the_document_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "ci/render_evidence.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
