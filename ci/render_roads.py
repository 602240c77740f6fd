"""Write the sequences of docs/roads.md from the results of a gate run.

python ci/render_roads.py RESULTS      write them from a results.json
python ci/render_roads.py --check      exit 1 if the roads listed there are not those of the shipped baseline

The check measures nothing: which cell covers which road stands in the baseline.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from mish_guard import files
from mish_guard.records import Family, Measurement, Run
from mish_guard.results import baseline, run_file

TARGET = Path(__file__).resolve().parent.parent / "docs" / "roads.md"
BASELINE = baseline.SHIPPED / "emulator-ane.json"
BEGIN, END = "<!-- roads: python ci/render_roads.py RESULTS -->", "<!-- roads end -->"


def main(arguments: list[str], target: Path = TARGET, stored: Path = BASELINE) -> int:
    """Write or check the sequences; returns the exit code."""
    old = target.read_text(encoding="utf-8")
    head, _, rest = old.partition(BEGIN)
    table, end, tail = rest.partition(END)
    if not end or len(arguments) != 1:
        print(f"Usage: python ci/render_roads.py RESULTS or --check; {target.name} needs the lines {BEGIN} and {END}.")
        return 2
    if arguments == ["--check"]:
        fresh = set(_listed(table)) == {str(cell.key) for cell in _roads(baseline.load(stored).cells)}
        print(
            f"{target.name} is {'fresh' if fresh else 'stale: run the gate, then python ci/render_roads.py RESULTS'}."
        )
        return int(not fresh)
    run = run_file.read_run(Path(arguments[0]))
    blocks = "\n".join(_blocks(run))
    files.write_atomically(target, f"{head}{BEGIN}\n\n{blocks}\n{END}{tail}")
    print(f"Wrote {target.name}.")
    return 0


def _roads(cells: Mapping[str, Measurement]) -> Iterator[Measurement]:
    return (cell for cell in cells.values() if cell.key.family is Family.ROADS)


def _listed(table: str) -> Iterator[str]:
    """The cells that the document names."""
    for line in table.splitlines():
        if line.startswith("- `"):
            yield line.split("`")[1]


def _blocks(run: Run) -> Iterator[str]:
    """One block for each swept road: its sequence where it has one, itself and what it covers."""
    covered: dict[str, list[str]] = defaultdict(list)
    sequences: dict[str, str] = {}
    for each in run.covered:
        covered[each.covered_by].append(each.road)
        sequences[each.covered_by] = each.ops
    swept = [str(cell.key) for cell in _roads(run.measurements) if cell.covered_by is None]
    for key in sorted(swept, key=lambda key: -len(covered[key])):
        if key in sequences:
            yield "```text"
            yield from sequences[key].split("; ")
            yield "```\n"
            yield f"- `{key}`: swept, and covers {len(covered[key])}:"
            yield from (f"- `{road}`" for road in covered[key])
        else:
            yield f"- `{key}`: swept by itself"
        yield ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
