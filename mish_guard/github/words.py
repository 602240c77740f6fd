"""A verdict in Markdown, made of numbers and names of fixed forms only."""

from __future__ import annotations

from collections.abc import Iterator

from mish_guard.github.numbers import Numbers
from mish_guard.github.overall import Overall


def table(overall: Overall) -> Iterator[str]:
    """The headline and one row for each run."""
    yield f"## {overall.headline}"
    yield ""
    yield "| run | verdict | evidence | candidate | cells |"
    yield "|---|---|---|---|---|"
    for name, run in overall.runs.items():
        yield f"| {name} | {' | '.join(_row(run))} |"
    yield ""
    yield "Jobs: " + (", ".join(f"{name} {result}" for name, result in overall.jobs.items()) or "none") + "."


def _row(run: Numbers | None) -> tuple[str, ...]:
    if run is None:
        return ("no report", "", "", "")
    measured = f"Core ML at {', '.join(run.hardware)}" if run.hardware else "no hardware was measured"
    emulated = f"emulated at {', '.join(run.emulated)}" if run.emulated else "nothing was emulated"
    counts = ", ".join(f"{number} {status}" for status, number in sorted(run.counts.items(), key=lambda item: -item[1]))
    return (
        run.headline,
        f"{measured}; {emulated}",
        f"coremltools {run.coremltools}, lowering {run.lowering}",
        counts,
    )
