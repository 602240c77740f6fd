"""The committed runs, judged once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from mish_guard.judge import defects, verdict
from mish_guard.judge.verdict import Judgement
from mish_guard.report import facts, html
from mish_guard.report.facts import Facts
from mish_guard.results import baseline, curves, run_file
from mish_guard.results.curves import Curves

RUNS = Path(__file__).parent / "runs"
BASELINES = RUNS / "baselines"
NAMES = ("fail", "pass", "inconclusive", "broken", "hardware")

# What nobody should be able to say in a report by naming an operation so.
SPELL = (
    "</script><script>alert(1)</script> ![i](http://e.vil/i) [l](http://e.vil) @octocat #42 GH-42 <img src=x> "
    "`code` | a || b \x1b[31mred\x1b]0;title\x07 \u202eodd\u2066 ::error::no\n::warning::line %0A ${{ x }} {0} http://e.vil"
)


def results(name: str) -> Path:
    return RUNS / name / "results.json"


@functools.cache
def judgement(name: str) -> Judgement:
    run = run_file.read_run(results(name))
    return verdict.judge(run, baseline.load_for(run, BASELINES), defects.load_defects())


@functools.cache
def told(name: str) -> Facts:
    return facts.gather(judgement(name))


@functools.cache
def kept(name: str) -> Curves:
    return curves.read(RUNS / name / curves.NAME, judgement(name).run)


@functools.cache
def page(name: str) -> str:
    return html.page(told(name), kept(name))


def judge_arguments(name: str, *more: Any) -> list[str]:
    return [str(each) for each in ("judge", results(name), "--baselines", BASELINES, *more)]
