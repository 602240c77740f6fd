"""What a maintainer of coremltools would take: a patch with its test, and the pages that say why. Texts only."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from mish_guard import files
from mish_guard.candidate.patch import Patch
from mish_guard.engines.emulator.replay import Fact
from mish_guard.judge import defects
from mish_guard.matrix.survey import Surveyed
from mish_guard.models import lowerings
from mish_guard.numerics import ceiling
from mish_guard.records import Figures
from mish_guard.report import words

PATCH, TEST, EVIDENCE, LOWERINGS = "mish.patch", "test_mish_neural_engine.py", "evidence.md", "lowerings.md"

_TEST_IN_TREE = f"coremltools/converters/mil/frontend/torch/test/{TEST}"
_SOURCE = files.DATA / "upstream" / f"{TEST}.txt"
_TOPIC = "softplus and mish"

_COLUMNS = ("lowering", "ops", "max_ulp", "mean_abs", "over the ceiling", "fp32 relative", "formula", "from")


def kit(patch: Patch, lowering: str, measured: Sequence[Surveyed], facts: Iterable[Fact]) -> dict[str, str]:
    """The files of the kit by name; `measured` holds every lowering under every profile, `facts` the evidence."""
    test = _SOURCE.read_text(encoding="utf-8")
    return {
        PATCH: patch.diff + _added(test),
        TEST: test,
        EVIDENCE: "\n".join(_evidence(lowering, measured, facts)) + "\n",
        LOWERINGS: "\n".join(_page(measured)) + "\n",
    }


def _added(text: str) -> str:
    """The test as a new file of the tree, as git writes one."""
    lines = difflib.unified_diff([], text.splitlines(keepends=True), fromfile="/dev/null", tofile=f"b/{_TEST_IN_TREE}")
    return f"diff --git a/{_TEST_IN_TREE} b/{_TEST_IN_TREE}\nnew file mode 100644\n" + "".join(lines)


def _evidence(lowering: str, measured: Sequence[Surveyed], facts: Iterable[Fact]) -> Iterator[str]:
    form = lowerings.get(lowering)
    yield from ("# mish on the Neural Engine: before and after", "")
    yield f"Before: `{lowerings.get('softplus').formula}`. After: `{form.formula}` (`{lowering}`, from {form.source})."
    yield "All 63,488 finite half-precision inputs, emulated: no hardware was measured. A form is over the ceiling"
    yield "where an output is not finite, collapsed, or off by more than 2⁻⁸ + 2⁻⁸·|mish(x)|."
    yield from ("", *_table(("lowering", "profile", "over the ceiling", "collapsed", "max_abs", "max_ulp", "mean_abs")))
    for each in sorted(measured, key=lambda each: each.lowering != "softplus"):
        if each.lowering in ("softplus", lowering):
            yield _line(_before_after(each))
    yield from ("", "## What is publicly known", "")
    for fact in facts:
        if fact.topic == _TOPIC:
            sources = list(fact.sources) or [f"from {', '.join(fact.derived_from)}"]
            yield f"- **{fact.id}**, {fact.certainty.value}: {fact.statement} {', '.join(sources)}"


def _before_after(each: Surveyed) -> tuple[str, ...]:
    figures = _figures(each)
    return (
        f"`{each.lowering}`",
        each.measurement.key.place,
        words.interval(defects.main_interval(each.measurement)) or "nowhere",
        str(figures.n_collapsed),
        f"{figures.max_abs.value:.4g} at {figures.max_abs.at:.6g}",
        f"{figures.max_ulp.value:.4g} at {figures.max_ulp.at:.6g}",
        f"{figures.mean_abs:.3g}",
    )


def _page(measured: Sequence[Surveyed]) -> Iterator[str]:
    yield from ("# Forms of mish, measured", "")
    yield "Converted by coremltools, saved, and evaluated at all 63,488 finite half-precision inputs under every"
    yield "profile of the emulator; the worst profile is shown. No hardware was measured. `ct#N` is"
    yield "<https://github.com/apple/coremltools/issues/N>."
    yield from ("", forms(measured))


def forms(measured: Iterable[Surveyed]) -> str:
    """Every lowering as a table in Markdown: those inside the ceiling first, then by operations and by error."""
    rows = [tuple(group) for _, group in itertools.groupby(measured, key=lambda each: each.lowering)]
    return "\n".join([*_table(_COLUMNS), *(_line(_row(each)) for each in sorted(rows, key=_rank))])


def _table(columns: Sequence[str]) -> tuple[str, str]:
    return _line(columns), _line(["---"] * len(columns))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rank(profiles: tuple[Surveyed, ...]) -> tuple[bool, int, float]:
    over = not all(ceiling.is_within(_figures(each)) for each in profiles)
    return over, profiles[0].n_ops, _worst(profiles).max_ulp.value


def _row(profiles: tuple[Surveyed, ...]) -> tuple[str, ...]:
    lowering, worst = lowerings.get(profiles[0].lowering), _worst(profiles)
    over = [each.measurement.key.place for each in profiles if not ceiling.is_within(_figures(each))]
    single = profiles[0].single_relative
    return (
        f"**`{lowering.name}`** (recommended)" if lowering.recommended else f"`{lowering.name}`",
        str(profiles[0].n_ops),
        f"{worst.max_ulp.value:.4g} at {worst.max_ulp.at:.6g}",
        f"{worst.mean_abs:.3g}",
        ", ".join(over) or "nowhere",
        f"{single:.2g}" if math.isfinite(single) else "not finite",
        f"`{lowering.formula}`".replace("|", "\\|"),
        lowering.source,
    )


def _worst(profiles: Iterable[Surveyed]) -> Figures:
    return max(map(_figures, profiles), key=lambda each: each.max_ulp.value)


def _figures(each: Surveyed) -> Figures:
    figures = each.measurement.figures
    if figures is None:
        msg = f"{each.lowering} at {each.measurement.key.place} has no figures."
        raise TypeError(msg)
    return figures
