"""Hold the emulator against coremltools' own tests, which ship in its wheel.

    ci/conformance [--seed N] [--sample N | --all] [--write | --check] [--only TEXT] [--keep FOLDER]

On Linux these tests convert and skip the prediction. Here they predict: with the stand-in for Core ML and the
emulator, on all frontends and backends, at coremltools' tolerances and, in half precision, at 2e-2. Prints how many
came out right, wrong, refused by name and crashed, per group of tests; exits 1 if one is wrong or crashed that is not
explained in ci/conformance.yml. A failing test that fails without the emulator too says nothing of it and is left
out; one that never came to an end has crashed. `--write` keeps the table in docs/conformance.md; `--check` measures the
sample of that page and fails if fewer are right, or more refused or explained, than there. `--keep FOLDER` takes the
run in pieces: what came out right stays in the folder and is not run again, and counts if it is of this sample; delete
it when the emulator changes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "conformance.md"
EXPLAINED = Path(__file__).with_suffix(".yml")
SUITES = (
    "converters/mil/frontend/torch/test/test_torch_ops.py",
    "converters/mil/frontend/torch/test/test_torch_stateful_model.py",
    "converters/mil/mil/ops/tests",
)
SAMPLE = 300
KINDS = ("right", "wrong", "refused", "crashed", "explained")
BAD = ("wrong", "refused", "crashed", "unconverted")


@dataclass(frozen=True)
class Outcome:
    """How one test came out."""

    test: str
    kind: str
    said: str

    @property
    def group(self) -> str:
        """The class of the test, or its function."""
        parts = self.test.split("[")[0].split("::")
        return parts[1].removeprefix("Test") if len(parts) > 2 else parts[-1].removeprefix("test_")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and return 1 if something is wrong that is not explained."""
    options = options_of(arguments)
    if options.check:
        options.sample, options.seed = stored(TABLE).sample, stored(TABLE).seed
    with tempfile.TemporaryDirectory() as folder:
        outcomes = measured(options, Path(folder))
    if not outcomes:
        msg = "Nothing was measured: no test of coremltools was collected, or none is called so."
        raise SystemExit(msg)
    outcomes = excused(outcomes, explanations())
    print(table(outcomes))
    bad = [each for each in outcomes if each.kind in ("wrong", "crashed")]
    for each in bad:
        print(f"{each.kind}: {each.test}\n    {' '.join(each.said.split())[:400]}")
    if options.write:
        TABLE.write_text(document(outcomes, options.seed, options.sample), encoding="utf-8")
    fallen = dropped(outcomes, stored(TABLE)) if options.check else ""
    print(fallen)
    return int(bool(bad or fallen))


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="another sample")
    parser.add_argument("--sample", type=int, default=SAMPLE, help=f"so many tests (default {SAMPLE})")
    parser.add_argument("--all", dest="sample", action="store_const", const=0, help="every test there is (hours)")
    parser.add_argument("--only", help="a sample of the tests whose name holds this, as pytest -k")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4), help="processes")
    parser.add_argument("--keep", type=Path, help="a folder for outcomes, to go on from where a run was stopped")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--write", action="store_true", help="keep the table in docs/conformance.md")
    kept.add_argument("--check", action="store_true", help="fail if fewer are right than docs/conformance.md says")
    options = parser.parse_args(arguments)
    if options.only and (options.write or options.check):
        parser.error("--only measures a part; what is kept in docs/conformance.md is the whole sample")
    return options


def _package() -> Path:
    spec = importlib.util.find_spec("coremltools")
    if spec is None or spec.origin is None:
        msg = "coremltools is not installed here; run ci/environment and use .venv/bin/python."
        raise SystemExit(msg)
    return Path(spec.origin).parent


def measured(options: argparse.Namespace, folder: Path) -> list[Outcome]:
    """The outcomes of this run and those that an earlier one kept; wrong, crashed and refused ones are run again."""
    kept = options.keep or folder
    kept.mkdir(parents=True, exist_ok=True)
    known = [each for path in sorted(kept.glob("*.jsonl")) for each in _read(path) if each.kind not in BAD]
    (folder / "known").write_text(json.dumps([each.test for each in known]), encoding="utf-8")
    fresh = _outcomes(options, folder)
    _keep(kept / "outcomes.jsonl", [*known, *fresh])
    sample = json.loads((folder / "sample").read_text(encoding="utf-8")) if (folder / "sample").exists() else []
    return _without_broken([*(each for each in known if each.test in sample), *fresh], folder)


def _keep(path: Path, outcomes: Iterable[Outcome]) -> None:
    for each in path.parent.glob("*.jsonl"):
        each.unlink()
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in outcomes), encoding="utf-8")


def _outcomes(options: argparse.Namespace, folder: Path) -> list[Outcome]:
    suites = [str(_package() / each) for each in SUITES]
    extra = ["-k", options.only] if options.only else []
    plugins = ["-p", "mish_guard.emulated_core_ml", "-p", "conformance_plugin"]
    running = []
    for shard in range(options.jobs):
        settings = {
            "CONFORMANCE_SEED": str(options.seed),
            "CONFORMANCE_SAMPLE": str(options.sample),
            "CONFORMANCE_SHARD": f"{shard}/{options.jobs}",
            "CONFORMANCE_RESULTS": str(_results(options, folder, shard)),
            "CONFORMANCE_KNOWN": str(folder / "known"),
            "CONFORMANCE_CHOSEN": str(folder / "sample"),
        }
        running.append(_pytest([*suites, *plugins, *extra], settings, folder))
    for process in running:
        process.wait()
    results = [_results(options, folder, shard) for shard in range(options.jobs)]
    return [each for path in results for each in _ended(path)]


def _ended(path: Path) -> list[Outcome]:
    """The outcomes that a process wrote down, and a crash for every test that it began with and did not come to."""
    outcomes, begun = _read(path), path.with_suffix(".begun")
    found = {each.test for each in outcomes}
    names = json.loads(begun.read_text(encoding="utf-8")) if begun.exists() else []
    return outcomes + [Outcome(test=name, kind="crashed", said=_NO_END) for name in names if name not in found]


_NO_END = "The process ended before this test did."


def _results(options: argparse.Namespace, folder: Path, shard: int) -> Path:
    """Where a process writes: what it wrote is kept even if this one is stopped."""
    return Path(options.keep or folder).resolve() / f"{shard}.jsonl"


def _pytest(arguments: Sequence[str], settings: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Pytest with a configuration of its own: ours is too strict for the markers of these tests."""
    (folder / "pytest.ini").touch()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "ci"), str(ROOT)]),
        "INCLUDE_MIL_FP32_UNIT_TESTS": "1",
        "RUN_BACKWARD_COMPATIBILITY": "1",
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(folder),
        **settings,
    }
    command = [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), "-q", "-W", "ignore"]
    quiet = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:mish_guard",
        "--tb=no",
        "--no-header",
        "-rN",
        "--continue-on-collection-errors",
    ]
    log = folder / f"{settings['CONFORMANCE_SHARD'].replace('/', '-')}.log"
    with log.open("wb") as stream:
        return subprocess.Popen(
            [*command, *quiet, *arguments], env=environment, cwd=folder, stdout=stream, stderr=stream
        )


def _read(path: Path) -> list[Outcome]:
    if not path.exists():
        log = path.with_name(f"{path.stem}-1.log")
        print(f"Nothing was measured: {log.read_text()[-2000:] if log.exists() else path}", file=sys.stderr)
        return []
    return [Outcome(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _without_broken(outcomes: list[Outcome], folder: Path) -> list[Outcome]:
    """Without the tests that fail where nothing is predicted."""
    failed = [each.test for each in outcomes if each.kind in ("wrong", "crashed")]
    if not failed:
        return outcomes
    root = _package().parent
    results = folder / "plain.jsonl"
    settings = {"CONFORMANCE_RESULTS": str(results), "CONFORMANCE_SHARD": "0/1"}
    tests = [str(root / "coremltools" / each) for each in failed]
    _pytest(["-p", "conformance_plugin", *tests], settings, folder).wait()
    broken = {each.test for each in _read(results) if each.kind in ("unconverted", "crashed", "wrong")}
    return [each for each in outcomes if each.test not in broken]


def explanations() -> list[dict[str, str]]:
    """The short list: pattern of a test, kind, reason."""
    return list(yaml.safe_load(EXPLAINED.read_text(encoding="utf-8"))["explained"])


def excused(outcomes: Iterable[Outcome], explained: Sequence[dict[str, str]]) -> list[Outcome]:
    """The outcomes, with `explained` in the place of what a test has to answer for itself."""
    return [replace(each, kind="explained") if _reason(each, explained) else each for each in outcomes]


def _reason(outcome: Outcome, explained: Iterable[dict[str, str]]) -> str:
    for each in explained:
        if each["kind"] == outcome.kind and fnmatch(
            outcome.test.replace("[", "("), f"*{each['test']}*".replace("[", "(")
        ):
            return each["reason"]
    return ""


def share(outcomes: Iterable[Outcome], kinds: Sequence[str] = KINDS[:-1]) -> float:
    """Right ones in percent of those that predicted and are of these kinds: by default without the explained."""
    counts = Counter(each.kind for each in outcomes)
    measured = sum(counts[kind] for kind in kinds)
    return 100.0 * counts["right"] / measured if measured else 0.0


def table(outcomes: Sequence[Outcome]) -> str:
    """Counts per group of tests, and in all."""
    groups: dict[str, Counter[str]] = {}
    for each in outcomes:
        if each.kind in KINDS:
            groups.setdefault(each.group, Counter())[each.kind] += 1
    total = sum(groups.values(), Counter())
    rows = [("all", total), *sorted(groups.items())]
    lines = [f"| tests | {' | '.join(KINDS)} |", f"|---|{'---:|' * len(KINDS)}"]
    lines += [f"| {name} | {' | '.join(str(counts[kind]) for kind in KINDS)} |" for name, counts in rows]
    return "\n".join(lines)


def document(outcomes: Sequence[Outcome], seed: int, sample: int) -> str:
    """The page with the table, its reasons, and what was refused."""
    refused = Counter(
        match.group(1) for each in outcomes if (match := re.search(r"'([^']+)'", each.said)) and each.kind == "refused"
    )
    reasons = "\n".join(f"- `{each['test']}` ({each['kind']}): {each['reason']}" for each in explanations())
    named = ", ".join(f"`{name}` ({count})" for name, count in sorted(refused.items())) or "nothing"
    chosen = f"a sample of {sample}, seed {seed}" if sample else "all of them"
    shares = {"share": share(outcomes), "whole": share(outcomes, KINDS)}
    return PAGE.format(**shares, chosen=chosen, table=table(outcomes), named=named, reasons=reasons)


PAGE = """# Conformance

How the emulator does on coremltools' own tests, which ship in its wheel: the operations of the PyTorch frontend, the
stateful models, and the operations of MIL, on every backend, opset and frontend that there is. They are run by
`ci/conformance --write` ({chosen}), every one seeded by its name.
`ci/conformance --check` measures them again and is red if fewer are right. A test is right if it passes at
coremltools' tolerances and, in half precision, also at 2e-2 + 2e-2 of the size. Tests that predict nothing, and tests
that fail without a prediction too, are not counted.

Right: **{share:.1f} %**, and {whole:.1f} % if those that are explained count against the emulator.

Refused by name: {named}.

Explained, which no emulation of half precision could pass:

{reasons}

{table}
"""


@dataclass(frozen=True)
class Stored:
    """The figures of docs/conformance.md: the sample (0: all), its seed, the share of right ones, and two counts."""

    sample: int
    seed: int
    share: float
    refused: int
    explained: int


def stored(page: Path) -> Stored:
    """The figures of the page; ends the program if it holds none."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    right = re.search(r"Right: \*\*([\d.]+) %\*\*", text)
    row = re.search(r"^\| all \| \d+ \| \d+ \| (\d+) \| \d+ \| (\d+) \|", text, re.MULTILINE)
    if right is None or row is None:
        msg = f"{page} holds no share; write it with ci/conformance --write."
        raise SystemExit(msg)
    chosen = re.search(r"a sample of (\d+), seed (\d+)", text)
    sample, seed = (int(chosen[1]), int(chosen[2])) if chosen else (0, 0)
    return Stored(sample=sample, seed=seed, share=float(right[1]), refused=int(row[1]), explained=int(row[2]))


def dropped(outcomes: Sequence[Outcome], before: Stored) -> str:
    """What became worse than the page says; empty if nothing did."""
    now, counts = round(share(outcomes), 1), Counter(each.kind for each in outcomes)
    refused, explained = counts["refused"], counts["explained"]
    if now >= before.share and refused <= before.refused and explained <= before.explained:
        return ""
    return (
        f"Right: {now:.1f} %, refused: {refused}, explained: {explained}; "
        f"the page says {before.share:.1f} %, {before.refused} and {before.explained}."
    )


if __name__ == "__main__":
    sys.exit(main())
