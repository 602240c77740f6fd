"""Write the table of lowerings in docs/lowerings.md, measured anew.

python ci/render_lowerings.py            write the table
python ci/render_lowerings.py --check    exit 1 if the table is not what would be written
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable
from pathlib import Path

from mish_guard import files
from mish_guard.engines.emulator.profiles import PROFILES
from mish_guard.matrix.survey import Surveyed, survey
from mish_guard.models import lowerings
from mish_guard.numerics import ceiling
from mish_guard.records import Figures

TARGET = Path(__file__).resolve().parent.parent / "docs" / "lowerings.md"
BEGIN, END = "<!-- lowerings: python ci/render_lowerings.py -->", "<!-- lowerings end -->"

_COLUMNS = ("lowering", "ops", "max_ulp", "mean_abs", "over the ceiling", "fp32 relative", "formula", "from")


def main(arguments: list[str], target: Path = TARGET) -> int:
    """Write or check the table; returns the exit code."""
    old = target.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        print(f"{target.name} has lost the lines between which the table goes: {BEGIN} and {END}")
        return 1
    text = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if "--check" in arguments:
        command = "python ci/render_lowerings.py"
        print(f"{target.name} is fresh." if text == old else f"{target.name} is stale: run {command}")
        return int(text != old)
    files.write_atomically(target, text)
    print(f"Wrote {target.name}.")
    return 0


def table() -> str:
    """The table in Markdown: forms inside the ceiling first, then by operations and by error."""
    measured = survey(list(lowerings.TABLE), list(PROFILES))
    rows = [tuple(group) for _, group in itertools.groupby(measured, key=lambda each: each.lowering)]
    lines = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_row, sorted(rows, key=_rank))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
