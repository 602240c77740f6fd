"""The bounds of pyproject.toml are versions with which the README was carried out."""

from __future__ import annotations

import runpy
from importlib import metadata
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from tests.docs.console import ROOT

TRIED: dict[str, Any] = yaml.safe_load((ROOT / "ci" / "bounds.yml").read_text(encoding="utf-8"))


def _declared() -> dict[str, Requirement]:
    return {each.name: each for each in map(Requirement, metadata.requires("mish-guard") or [])}


def test_every_lower_bound_is_a_version_that_was_tried() -> None:
    lowest = TRIED["lowest"]
    assert lowest["named"] == []
    for name, requirement in _declared().items():
        (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
        assert Version(lowest["versions"][name]) == Version(bound), name


def test_a_version_that_is_tried_instead_may_be_a_file_by_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = runpy.run_path(str(ROOT / "ci" / "bounds.py"))
    taken: list[Any] = []
    monkeypatch.setitem(bounds["main"].__globals__, "attempt", lambda end, instead, _: taken.append((end, instead)))
    file = "https://example.org/torch-2.4.0-py3-none-any.whl#sha256=" + 64 * "0"
    bounds["main"](["highest", f"torch @ {file}", "click==8.5.1"])
    assert taken == [("highest", {"torch": f" @ {file}", "click": "==8.5.1"})]


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_every_dependency_was_tried_at_both_ends(end: str) -> None:
    assert TRIED[end]["versions"].keys() == _declared().keys()


def test_the_highest_versions_are_at_least_those_of_the_environment() -> None:
    """A pin that moved on wants `python ci/bounds.py highest` again."""
    pins = dict(
        line.partition(" ;")[0].strip().split("==")
        for line in (ROOT / "ci" / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    pinned = {name.lower().replace("_", "-"): Version(version) for name, version in pins.items()}
    for name, version in TRIED["highest"]["versions"].items():
        assert Version(version) >= pinned[name.lower()], name
