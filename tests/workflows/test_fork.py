"""Pull requests to a fork of coremltools, judged by the ten lines of the guide."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mish_guard.candidate import patch
from tests.workflows.conftest import FORK
from tests.workflows.hub import ROOT, Hub, Ran

# GitHub shows no more of one step.
MOST_ANNOTATIONS = 10


@pytest.fixture(scope="module")
def judge(hub: Hub, fork: Path) -> Callable[[str, Callable[[Path], None]], Ran]:
    """A pull request to the fork with an edit made, and its run."""

    def run(branch: str, edit: Callable[[Path], None]) -> Ran:
        assert fork.exists()
        head = hub.branch(FORK, branch, edit)
        payload = {"action": "opened", "number": 7, "pull_request": {"number": 7, "head": {"sha": head}}}
        return hub.run("mish", "pull_request", payload, commit=head, repository=FORK)

    return run


def _python_only(tree: Path) -> None:
    path = tree / "coremltools" / "__init__.py"
    path.write_text(path.read_text() + "\nCHANGED = True\n")


def _restore_softplus(tree: Path) -> None:
    """The converter of the release again."""
    path = tree / patch.OPS
    text = path.read_text()
    start = text.index("@register_torch_op\ndef mish(")
    end = text.index("\n\n\n", start)
    released = (
        "@register_torch_op\ndef mish(context, node):\n    x = _get_inputs(context, node, expected=1)[0]\n"
        "    softplus = mb.softplus(x=x)\n    tanh = mb.tanh(x=softplus)\n"
        "    context.add(mb.mul(x=x, y=tanh, name=node.name))"
    )
    path.write_text(text[:start] + released + text[end:])


def _hide_it_in_a_pass(tree: Path) -> None:
    """The converter stays as it is; a graph pass turns what it made into softplus, tanh and mul."""
    text = (ROOT / "tests" / "saboteurs" / "restores_softplus.py").read_text()
    (tree / "coremltools" / "restores_softplus.py").write_text(text)
    path = tree / "coremltools" / "__init__.py"
    path.write_text(path.read_text() + "\nfrom . import restores_softplus\n")


def test_a_change_that_leaves_the_patch_in_is_green(judge: Callable[..., Ran]) -> None:
    ran = judge("python-only", _python_only)
    assert ran.jobs == {"mish-gate": "success"}
    assert ran.summary("mish-gate").startswith("## PASS (armed): every cell within its ceiling and its baseline\n")
    ((level, said),) = ran.annotations("mish-gate")
    assert level == "notice"
    assert said.startswith("mish-guard: PASS (armed): No cliff, where it would have been seen: ")
    assert said.endswith("\nevery cell within its ceiling and its baseline")
    assert "native libraries: reuse" in ran.summary("mish-gate")
    assert "compil" not in ran.log


def test_softplus_in_the_converter_is_red_by_name(judge: Callable[..., Ran]) -> None:
    ran = judge("softplus", _restore_softplus)
    assert ran.jobs == {"mish-gate": "failure"}
    summary = ran.summary("mish-gate")
    assert summary.startswith("## FAIL (armed): reintroduces MISH-SOFTPLUS-CLIFF: ")
    assert re.search(
        r"sweep/mish-k3/torchscript/mlprogram-fp16@ane \| over ceiling \| softplus-cliff "
        r"\| \[10\.3984375, 32752\.0\] \| softplus \| MISH-SOFTPLUS-CLIFF \|",
        summary,
    )
    assert summary.index("cells need a reader") < summary.index("<details><summary>All ")
    annotations = ran.annotations("mish-gate")
    assert 1 < len(annotations) <= MOST_ANNOTATIONS
    assert {level for level, _ in annotations} == {"error"}
    assert "reintroduces MISH-SOFTPLUS-CLIFF" in annotations[0][1]


def test_a_fork_of_today_is_green_on_a_change_that_makes_nothing_worse(hub: Hub, fork: Path) -> None:
    """By the words of the guide: its base has the defect, and so has the change."""

    def begin(tree: Path) -> None:
        _restore_softplus(tree)
        path = tree / ".github" / "workflows" / "mish.yml"
        text = path.read_text()
        fetched = text.replace("{persist-credentials: false}", "{persist-credentials: false, fetch-depth: 2}", 1)
        gate = "      - uses: mish-guard/"
        beside = fetched.replace(gate, f"      - run: git worktree add --detach .base HEAD^1\n{gate}")
        path.write_text(beside.replace("{path: ., ", "{path: ., base-path: .base, "))

    assert fork.exists()
    head = hub.branch(FORK, "today-2", _python_only, start=hub.branch(FORK, "today", begin))
    payload = {"action": "opened", "number": 7, "pull_request": {"number": 7, "head": {"sha": head}}}
    ran = hub.run("mish", "pull_request", payload, commit=head, repository=FORK)
    assert ran.jobs == {"mish-gate": "success"}
    assert ran.summary("mish-gate").startswith("## PASS (armed): no worse than the base tree, which itself is over a ")


def test_softplus_hidden_in_a_graph_pass_is_red_through_the_graft(judge: Callable[..., Ran]) -> None:
    ran = judge("pass", _hide_it_in_a_pass)
    assert ran.jobs == {"mish-gate": "failure"}
    summary = ran.summary("mish-gate")
    assert summary.startswith("## FAIL (armed): reintroduces MISH-SOFTPLUS-CLIFF: ")
    assert "| graft:sweep/mish-k3/torchscript/mlprogram-fp16@ane | over ceiling |" in summary


def test_a_tree_that_cannot_be_built_is_red_and_no_verdict(judge: Callable[..., Ran]) -> None:
    def break_it(tree: Path) -> None:
        (tree / "coremltools" / "version.py").unlink()

    ran = judge("broken", break_it)
    assert ran.jobs == {"mish-gate": "failure"}
    assert ran.summary("mish-gate").startswith("## BROKEN: the gate ended before it reached a verdict")
    assert "version.py" in ran.log


def test_a_tree_that_is_not_named_is_no_pass(judge: Callable[..., Ran]) -> None:
    """An empty input, as an output of a mistyped step would be, must not judge the pinned release instead."""

    def name_none(tree: Path) -> None:
        path = tree / ".github" / "workflows" / "mish.yml"
        named, mistyped = "{path: ., ", "{path: '${{ steps.mistyped.outputs.path }}', "
        assert named in path.read_text()
        path.write_text(path.read_text().replace(named, mistyped))

    ran = judge("unnamed", name_none)
    assert ran.jobs == {"mish-gate": "failure"}
    assert "'no path and no repository' is no source of coremltools" in ran.log
