"""`lowerings`: the table of lowerings with what each of them gives under each profile."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from mish_guard.engines.emulator import bounds, profiles
from mish_guard.engines.emulator.bounds import Bound
from mish_guard.errors import ExitCode, MachineError, UnsupportedOpError
from mish_guard.judge import defects
from mish_guard.models import lowerings
from mish_guard.models.lowerings import Lowering
from mish_guard.numerics import ceiling
from mish_guard.records import Figures
from mish_guard.report import html, pictures, table, words
from mish_guard.report.formats import Format
from mish_guard.results import run_file

if TYPE_CHECKING:
    from mish_guard.matrix.survey import Surveyed

_HEADINGS = (
    "lowering",
    "profile",
    "ops",
    "over the ceiling",
    "first wrong op",
    "max_abs",
    "max_ulp",
    "mean_abs",
    "fp32 relative",
    "within",
    "robust",
)

_NOTES = (
    "All 63,488 finite half-precision inputs, emulated: no hardware was measured.",
    "robust: the part of the ceiling that accuracies measured on silicon (F78) may use up.",
)


def show(names: Sequence[str], profiles: Sequence[str], *, form: Format) -> ExitCode:
    """Measure and print every lowering (all by default) under every profile."""
    from mish_guard.matrix.survey import survey

    chosen = [lowerings.get(name).name for name in names] or list(lowerings.TABLE)
    measured = list(_progress(survey(chosen, profiles)))
    if form is Format.JSON:
        click.echo(json.dumps([_document(each) for each in measured], indent=1, allow_nan=False))
    elif form is Format.HTML:
        click.echo(_page(chosen, measured))
    else:
        click.echo("\n".join([table.render(_HEADINGS, map(_row, measured)), "", *_told(chosen), "", *_NOTES]))
    return ExitCode.PASS


def _row(each: Surveyed) -> tuple[str, ...]:
    figures, culprit = _figures(each), each.measurement.culprit
    return (
        each.lowering,
        each.measurement.key.place,
        str(each.n_ops),
        words.interval(defects.main_interval(each.measurement)) or "none",
        "" if culprit is None else culprit.op,
        f"{figures.max_abs.value:.4g} at {figures.max_abs.at:.6g}",
        f"{figures.max_ulp.value:.4g} at {figures.max_ulp.at:.6g}",
        f"{figures.mean_abs:.3g}",
        f"{each.single_relative:.2g}",
        "yes" if ceiling.is_within(figures) else "NO",
        _allowed_text(_allowed(each)),
    )


def _told(chosen: Sequence[str]) -> Iterator[str]:
    """What each form is, where it comes from and what is known of it."""
    for name in chosen:
        lowering = lowerings.get(name)
        yield f"{_headed(lowering)}: {lowering.formula}"
        yield f"    from {lowering.source}; {lowering.known}"


def _headed(lowering: Lowering) -> str:
    return f"{lowering.name} (recommended)" if lowering.recommended else lowering.name


def _page(chosen: Sequence[str], measured: Sequence[Surveyed]) -> str:
    """One page that shows side by side what each form costs in operations and in precision, and where it breaks."""
    place = measured[-1].measurement.key.place
    place = "ane" if any(each.measurement.key.place == "ane" for each in measured) else place
    drawn = {each.lowering: _figures(each) for each in measured if each.measurement.key.place == place}
    return html.render(
        "table.html.j2",
        title="mish-guard: lowerings of mish",
        summary="What each form costs in operations and in units in the last place, and where it breaks.",
        picture=html.safe_picture(pictures.panels(drawn), "p1", f"largest error of every binade under {place}"),
        caption=f"Largest error in ulp of every binade over x, emulated under {place}; the dotted line is the cliff.",
        columns=_HEADINGS,
        rows=[_row(each) for each in measured],
        known=[(_headed(each), each.formula, f"{each.source}; {each.known}") for each in map(lowerings.get, chosen)],
        notes=_NOTES,
    )


def _progress(measured: Iterable[Surveyed]) -> Iterable[Surveyed]:
    for each in measured:
        click.echo(f"{each.lowering} @ {each.measurement.key.place}", err=True)
        yield each


def _allowed(each: Surveyed) -> Bound | None:
    """The worst error that the measured accuracies allow; None where one of the operations has none."""
    try:
        return bounds.of_lowering(lowerings.get(each.lowering).build, profiles.get(each.measurement.key.place))
    except UnsupportedOpError:
        return None


def _allowed_text(bound: Bound | None) -> str:
    if bound is None:
        return "unknown"
    return f"yes {bound.share.value:.2g}" if bound.is_robust else f"NO at {bound.share.at:.6g}"


def _figures(each: Surveyed) -> Figures:
    if each.measurement.figures is None:
        msg = f"{each.lowering} has no figures: {each.measurement.failure}."
        raise MachineError(msg)
    return each.measurement.figures


def _document(each: Surveyed) -> dict[str, object]:
    measurement = run_file.measurement_to_json(each.measurement)
    lowering, bound = lowerings.get(each.lowering), _allowed(each)
    return {
        "lowering": each.lowering,
        "profile": each.measurement.key.place,
        "formula": lowering.formula,
        "source": lowering.source,
        "known": lowering.known,
        "recommended": lowering.recommended,
        "n_ops": each.n_ops,
        "fp32_relative_error": each.single_relative if math.isfinite(each.single_relative) else None,
        "allowed": None if bound is None else dataclasses.asdict(bound),
        "within_ceiling": ceiling.is_within(_figures(each)),
        "figures": measurement["figures"],
        "first_wrong_op": measurement.get("culprit"),
    }
