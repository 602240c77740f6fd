"""Facts as pictures: SVG drawn by matplotlib, in colours that a page may replace by its own.

Text stays text, so that it can be searched, scaled and read aloud. Nothing of a picture depends on time or chance.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mish_guard.numerics import fp16, reference
from mish_guard.records import Figures
from mish_guard.report import series
from mish_guard.report.facts import Facts
from mish_guard.results import curves
from mish_guard.results.curves import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Doubles = NDArray[np.float64]

# Every colour by its role, apart from each other by lightness too. A page replaces them: `themed`.
COLOURS = {
    "ink": "#1b1b1f",
    "faint": "#8a8a93",
    "reference": "#1b1b20",
    "candidate": "#c2410c",
    "negative": "#7c3aed",
    "positive": "#0f766e",
    "baseline": "#2563eb",
    "bad": "#dc2626",
}
_PAPER = "#ffffff"

_CLIFF_X = (-20.0, 20.0)
_ZOOM_X = (10.2, 10.6)
_POINTS = 600
_BINS = 800
_HEAT_ROWS = 60
_PANELS = 4
# The width of a letter of the labels of the heat map, as a part of the picture's; a page's own sans-serif may be wide.
_LETTER = 0.0062

# The ends of an axis of relative errors: below the last bit of half precision, and past any result that is finite.
_LEAST, _MOST = 1e-6, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Outputs over the finite inputs by role; all float64 (63488,). Empty where no curve was kept."""

    x: Doubles
    y: Mapping[str, Doubles]


def lines(facts: Facts, kept: Curves) -> Lines:
    """The subject's outputs and its controls', beside the reference."""
    x = fp16.finite_values().astype(np.float64)
    found = {role: kept.outputs.get(cell) for role, cell in cells(facts).items()}
    drawn = {role: curves.finite(each).astype(np.float64) for role, each in found.items() if each is not None}
    return Lines(x=x, y={"reference": reference.mish(x), **drawn} if "candidate" in drawn else {})


def cells(facts: Facts) -> dict[str, str]:
    """The cells of the curves by role; drawn in this order, the candidate above all."""
    subject = facts.subject
    if subject is None:
        return {}
    found = {
        "negative": None if subject.negative is None else subject.negative.cell,
        "positive": None if subject.positive is None else subject.positive.cell,
        "candidate": subject.row.cell,
    }
    return {role: cell for role, cell in found.items() if cell is not None}


def cliff(facts: Facts, drawn: Lines) -> str:
    """Outputs over x, the bad inputs shaded, and the same from 10.2 to 10.6; empty without curves."""
    measured = None if facts.subject is None else facts.subject.row.measurement
    bad = () if measured is None or measured.figures is None else measured.figures.bad_intervals
    return cliff_of(drawn, [(each.first, each.last) for each in bad])


def cliff_of(drawn: Lines, bad: Sequence[tuple[float, float]]) -> str:
    """The same of lines that no run has measured; `bad` are intervals of x, both ends included."""
    if not drawn.y:
        return ""
    figure, (wide, near) = _figure(2, ratios=(3, 2))
    for axes, (low, high) in ((wide, _CLIFF_X), (near, _ZOOM_X)):
        inside = np.flatnonzero((drawn.x >= low) & (drawn.x <= high))
        chosen = inside[:: max(1, len(inside) // (8 * _POINTS))] if axes is near else _even(drawn.x, low, high)
        for role, values in drawn.y.items():
            axes.plot(drawn.x[chosen], values[chosen], label=role, **_style(role))
        _shade(axes, bad, low, high)
        axes.set_xlim(low, high)
        axes.set_xlabel("x")
    wide.set_ylabel("mish(x)")
    near.set_title("from 10.2 to 10.6", fontsize=9)
    wide.legend(loc="upper left", frameon=False, fontsize=8, labelcolor=COLOURS["ink"])
    return _svg(figure)


def errors(drawn: Lines, bars: Mapping[str, float]) -> str:
    """The largest error in ulp of neighbouring inputs, over every finite input; empty without curves.

    `bars` are the largest errors that measured accuracies allow the candidate, by binade; none: no error bars.
    """
    if not drawn.y:
        return ""
    figure, (axes,) = _figure(1)
    edges = np.linspace(0, len(drawn.x), _BINS + 1).astype(int)[:-1]
    for role, values in drawn.y.items():
        if role != "reference":
            found = np.maximum.reduceat(ulps(values, drawn.y["reference"]), edges)
            axes.plot(drawn.x[edges], found, label=role, drawstyle="steps-post", **_style(role))
            if role == "candidate" and bars:
                _error_bars(axes, drawn.x[edges], found, bars)
    _error_axes(axes)
    return _svg(figure)


def _error_bars(axes: Axes, x: Doubles, found: Doubles, bars: Mapping[str, float]) -> None:
    """From what was found to what measured accuracies allow; nothing where the emulated error is larger already."""
    allowed = np.array([bars.get(fp16.binade_name(int(each)), 0.0) for each in fp16.binade(x)])
    colour = COLOURS["candidate"]
    label = "candidate, as accuracies measured on silicon allow"
    axes.fill_between(x, found, np.maximum(found, allowed), step="post", color=colour, alpha=0.18, lw=0, label=label)


def ulps(got: Doubles, want: Doubles) -> Doubles:
    """Errors in units in the last place; what is not finite counts as an error of 65504, as in the figures."""
    finite = np.isfinite(got)
    gap = np.where(finite, np.abs(np.where(finite, got, 0.0) - want), fp16.MAX_FINITE)
    return np.asarray(gap / fp16.spacing(want))


def before_after(facts: Facts) -> str:
    """The largest error of every binade: the candidate, its baseline, the negative control; empty without binades."""
    subject = facts.subject
    named = {} if subject is None else subject.named
    if not named:
        return ""
    return by_binade({role.partition(" ")[0]: figures for role, figures in named.items()})


def by_binade(named: Mapping[str, Figures]) -> str:
    """The largest error of every binade of several cells; names without a colour of their own share those there are."""
    figure, (axes,) = _figure(1)
    spare = [role for role in ("candidate", "baseline", "negative", "positive", "ink", "faint") if role not in named]
    dashes = ("-", "--", ":", "-.")
    for number, (name, figures) in enumerate(named.items()):
        xs, errors = _by_binade(figures)
        style = _style(name)
        if name not in COLOURS and name not in _ALIASES:
            style |= {"color": COLOURS[spare[number % len(spare)]], "ls": dashes[number // len(spare) % len(dashes)]}
        axes.plot(xs, errors, label=name, drawstyle="steps-mid", **style)
    _error_axes(axes)
    return _svg(figure)


def panels(named: Mapping[str, Figures]) -> str:
    """The same, every cell in a panel of its own, in the order given; all have the same axes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = -(-len(named) // _PANELS)
    height = 0.55 + 1.25 * rows
    with rc_context(_settings()):
        figure = Figure(figsize=(8.4, height))
        figure.patch.set_alpha(0)
        grid = figure.subplots(rows, _PANELS, sharex=True, sharey=True, squeeze=False).ravel()
        figure.subplots_adjust(0.06, 0.4 / height, 0.99, 1 - 0.25 / height, wspace=0.08, hspace=0.3)
    for axes, (name, figures) in zip(grid, named.items(), strict=False):
        xs, errors = _by_binade(figures)
        axes.plot(xs, errors, drawstyle="steps-mid", **_style("candidate"))
        axes.set_title(name, fontsize=8, pad=3)
        axes.grid(color=COLOURS["faint"], alpha=0.25, lw=0.5)
        _error_scales(axes, {-256: "-256", -1: "-1", 0: "0", 1: "1", 256: "256"})
    for axes in grid[len(named) :]:
        axes.set_visible(False)
    return _svg(figure)


def _by_binade(figures: Figures) -> tuple[list[float], list[float]]:
    """The middle of every binade and its largest error in ulp."""
    points = series.ordered(figures.binades)
    return [_middle(edge, label) for edge, label, _ in points], [ulp for _, _, ulp in points]


def along(named: Mapping[str, Sequence[float]]) -> str:
    """The relative error of every operation of a model, in its order, by profile; empty where nothing was run.

    What is infinite, or not a number, stands at the upper edge; what is right to the last bit at the lower.
    """
    if not any(named.values()):
        return ""
    figure, (axes,) = _figure(1)
    for number, (name, values) in enumerate(named.items()):
        shown = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=_MOST, posinf=_MOST).clip(_LEAST, _MOST)
        role = ("candidate", "baseline", "negative", "positive")[number % 4]
        axes.plot(np.arange(1, len(shown) + 1), shown, label=name, marker="o", ms=3, **_style(role))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(_LEAST / 2, _MOST * 2)
    axes.axhline(0.5, color=COLOURS["faint"], lw=0.6, ls=":")
    axes.set_xlabel("operation")
    axes.set_ylabel("relative error")
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="upper left", frameon=False, fontsize=8, labelcolor=COLOURS["ink"])
    return _svg(figure)


def heat(facts: Facts) -> str:
    """max_ulp by binade and cell, the worst cells first; empty where no cell has binades."""
    measured = [
        (row.cell, row.measurement.figures) for row in facts.rows if row.measurement and row.measurement.figures
    ]
    cells = [(cell, figures) for cell, figures in measured if figures.binades]
    if not cells:
        return ""
    cells = sorted(cells, key=lambda item: -item[1].max_ulp.value)[:_HEAT_ROWS]
    columns = [name for _, name, _ in series.ordered({n: b for _, each in cells for n, b in each.binades.items()})]
    grid = np.full((len(cells), len(columns)), np.nan)
    for number, (_, figures) in enumerate(cells):
        for name, each in figures.binades.items():
            grid[number, columns.index(name)] = np.log2(1 + each.max_ulp)
    longest = max(len(cell) for cell, _ in cells)
    left = min(0.6, _LETTER * longest + 0.02)
    figure, (axes,) = _figure(1, height=1.2 + 0.17 * len(cells), left=left, right=0.91, bottom=0.75)
    axes.grid(visible=False)
    image = axes.imshow(grid, aspect="auto", cmap="cividis", vmin=0, vmax=12, interpolation="nearest")
    axes.set_yticks([])  # a label without its tick takes half the time
    beside, ink = axes.get_yaxis_transform(), COLOURS["ink"]
    for number, (cell, _) in enumerate(cells):
        axes.text(-0.008, number, cell, fontsize=6, color=ink, ha="right", va="center", transform=beside)
    shown = range(0, len(columns), max(1, len(columns) // 16))
    axes.set_xticks(list(shown), [columns[each] for each in shown], fontsize=6, rotation=60, ha="right")
    bar = figure.colorbar(image, cax=axes.inset_axes((1.02, 0, 0.03, 1)))
    bar.set_label("log2(1 + max_ulp)", fontsize=8, color=COLOURS["ink"])
    bar.ax.tick_params(labelsize=7, colors=COLOURS["ink"])
    return _svg(figure)


def standalone(facts: Facts, kept: Curves) -> str:
    """One picture for a file of its own: the cliff, or where no curve was kept the errors by binade."""
    drawn = cliff(facts, lines(facts, kept)) or before_after(facts) or nothing()
    return on_paper(drawn, f"{facts.verdict.value}: {facts.meaning}")


def on_paper(svg: str, head: str) -> str:
    """A picture for a file of its own: with a title and a background, and a newline at the end."""
    title = f"<title>{_escaped(head)}</title><rect width='100%' height='100%' fill='{_PAPER}'/>"
    return re.sub(r"(<svg[^>]*>)", lambda found: found[1] + title, svg, count=1) + "\n"


def themed(svg: str, identity: str, title: str) -> str:
    """A picture for a page: its colours are the page's, it has a name, and its ids are its own."""
    for role, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{role})")
    svg = re.sub(r'<g id="[a-z]+[A-Za-z]*_\d+">', "<g>", svg)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{identity}-", svg)
    named = f'<svg role="img" aria-labelledby="{identity}-title" '
    svg = svg.replace("<svg ", named, 1)
    name = f'<title id="{identity}-title">{_escaped(title)}</title>'
    return re.sub(r"(<svg[^>]*>)", lambda found: found[1] + name, svg, count=1)


def nothing() -> str:
    """What stands where nothing can be drawn."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 40"><text x="10" y="25" fill="#1b1b1f">'
        "no cell with known inputs was measured</text></svg>"
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _middle(edge: float, name: str) -> float:
    if edge == 0:
        return -(2.0**-15) if name.startswith("-") else 2.0**-15
    return edge * 1.5


def _even(x: Doubles, low: float, high: float) -> NDArray[np.intp]:
    """Places of inputs that lie evenly from `low` to `high`."""
    return np.unique(np.searchsorted(x, np.linspace(low, high, _POINTS)).clip(0, len(x) - 1))


def _shade(axes: Axes, bad: Sequence[tuple[float, float]], low: float, high: float) -> None:
    for first, last in bad[:20]:
        if first <= high and last >= low:
            axes.axvspan(max(low, first), min(high, last), color=COLOURS["bad"], alpha=0.12, lw=0)


def _error_scales(axes: Axes, marks: Mapping[float, str]) -> None:
    """Both axes linear near zero and logarithmic beyond; a line where the cliff is."""
    axes.set_xscale("symlog", linthresh=2.0**-14, linscale=0.3)
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_xticks(list(marks), list(marks.values()), fontsize=7)
    # Without it matplotlib typesets powers of ten, which takes as long as the rest of a picture.
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.axvline(10.3984375, color=COLOURS["faint"], lw=0.6, ls=":")
    axes.set_ylim(bottom=0)


def _error_axes(axes: Axes) -> None:
    beyond = {2.0**-7: "2^-7", 1.0: "1", 256.0: "256", 2.0**15: "2^15"}
    _error_scales(axes, {**{-x: f"-{name}" for x, name in beyond.items()}, 0.0: "0", **beyond})
    axes.set_xlabel("x")
    axes.set_ylabel("error in ulp")
    axes.legend(loc="upper left", frameon=False, fontsize=8, labelcolor=COLOURS["ink"])


# The roles of a picture that is of no run.
_ALIASES = {
    "mish": "reference",
    "released": "candidate",
    "repaired": "positive",
    "before": "baseline",
    "after": "candidate",
}


def _style(name: str) -> dict[str, Any]:
    role = _ALIASES.get(name, name)
    dashes = {"reference": "-", "candidate": "-", "negative": "--", "positive": "-.", "baseline": ":"}
    width = {"candidate": 1.8, "reference": 3.2}.get(role, 1.2)
    alpha = 0.35 if role == "reference" else 1.0
    return {"color": COLOURS.get(role, COLOURS["ink"]), "ls": dashes.get(role, "-"), "lw": width, "alpha": alpha}


def _figure(
    columns: int,
    *,
    ratios: Sequence[int] | None = None,
    height: float = 2.9,
    left: float = 0.08,
    right: float = 0.98,
    bottom: float = 0.45,
) -> tuple[Figure, list[Axes]]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_settings()):
        figure = Figure(figsize=(8.4, height))
        figure.patch.set_alpha(0)
        made = figure.subplots(1, columns, width_ratios=ratios, squeeze=False)[0]
        # Laid out by hand: matplotlib's own layout takes longer than all the rest.
        figure.subplots_adjust(left=left, right=right, top=1 - 0.232 / height, bottom=bottom / height, wspace=0.14)
        for axes in made:
            axes.grid(color=COLOURS["faint"], alpha=0.25, lw=0.5)
            axes.spines[["top", "right"]].set_visible(False)
    return figure, list(made)


def _settings() -> Any:
    """Ink for everything that is not a curve, text as text, and no chance in any name."""
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "legend.labelcolor")
    fixed = {"font.size": 8, "axes.facecolor": "none", "svg.fonttype": "none", "svg.hashsalt": "mish-guard"}
    return {**dict.fromkeys(inked, COLOURS["ink"]), **fixed}


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context(_settings()):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"font: (\d[\d.]*)px [^;\"]*", r"font: \1px sans-serif", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()
