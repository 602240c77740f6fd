"""Draw docs/cliff.svg: mish of the release and of the repaired converter on the emulated Neural Engine.

python ci/render_cliff.py            write the picture
python ci/render_cliff.py --check    exit 1 if the picture is not what would be written

Every half-precision input goes through both; nothing is converted and no hardware is measured. The check compares what
the picture says and where its curves run, not its bytes: how text is set differs between versions of matplotlib.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mish_guard import files
from mish_guard.engines.emulator import profiles
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.sketch import INPUT, OUTPUT, sketch
from mish_guard.models import lowerings
from mish_guard.numerics import figures, fp16, reference
from mish_guard.numerics.ceiling import CEILING
from mish_guard.report import pictures

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cliff.svg"
PROFILE = "ane"
TITLE = "mish on the emulated Neural Engine: 0 from x = 10.3984375 on as released, right as repaired"

Doubles = NDArray[np.float64]


def main(arguments: list[str], target: Path = TARGET) -> int:
    """Write or check the picture; returns the exit code."""
    made = picture()
    if "--check" in arguments:
        fresh = target.exists() and told(target.read_text(encoding="utf-8")) == told(made)
        print(f"{target.name} is fresh." if fresh else f"{target.name} is stale: run python ci/render_cliff.py")
        return int(not fresh)
    files.write_atomically(target, made)
    print(f"Wrote {target.name}.")
    return 0


def picture() -> str:
    """The picture as SVG: the release where a candidate stands, the repaired form where its positive control does."""
    x = fp16.finite_values()
    want, released, repaired = reference.mish(x), through("softplus"), through(lowerings.SHIPPED)
    over = ~CEILING.within(released, want, np.abs(want))
    drawn = pictures.Lines(
        x=x.astype(np.float64),
        y={"mish": want, "repaired": repaired, "released": released},
    )
    bad = [(each.first, each.last) for each in figures.bad_intervals(x, over)]
    return pictures.on_paper(pictures.cliff_of(drawn, bad), TITLE)


def through(lowering: str) -> Doubles:
    """What a lowering yields for every finite half-precision input, ascending: float64 (63488,)."""
    x = fp16.finite_values().astype(np.float64)
    graph = sketch(lowerings.get(lowering).build)
    return evaluate(graph, {INPUT: x}, Emulated(profiles.get(PROFILE)))[OUTPUT]


def told(svg: str) -> tuple[list[str], list[list[int]]]:
    """The words of a picture, and the points of its long paths to the nearest unit."""
    words = re.findall(r"<(?:text|title)[^>]*>([^<]*)<", svg)
    paths = [re.findall(r"-?\d+\.?\d*", path) for path in re.findall(r' d="([^"]*)"', svg)]
    return words, [[round(float(number)) for number in path] for path in paths if len(path) > len(words)]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
