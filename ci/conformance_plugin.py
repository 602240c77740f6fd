"""A pytest plugin that samples coremltools' own tests and writes down how each prediction of the emulator did.

Used by `ci/conformance`; its settings come in the environment, its results go to a file of JSON lines.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import zlib
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

SEED = os.environ.get("CONFORMANCE_SEED", "0")
SAMPLE = int(os.environ.get("CONFORMANCE_SAMPLE", "0"))
SHARD, SHARDS = (int(each) for each in os.environ.get("CONFORMANCE_SHARD", "0/1").split("/"))
RESULTS = os.environ.get("CONFORMANCE_RESULTS", "conformance.jsonl")

# A list of the tests whose outcome is known from an earlier run.
KNOWN = os.environ.get("CONFORMANCE_KNOWN", "")

# Where the names of the whole sample go.
CHOSEN = os.environ.get("CONFORMANCE_CHOSEN", "")

# coremltools allows half precision an error of 0.5 + 5 %; here it is also held to this.
STRICT = 2e-2
_LOOSE = 0.5

_NO_PREDICTION = ("_eval", "value_inference", "type_inference", "invalid", "exception", "error", "frontend")

# coremltools leaves the tests of torch.export out on other processors than a Mac's.
platform.machine = lambda: "arm64"


class _Case:
    """What happened in the test that runs now."""

    def __init__(self) -> None:
        self.predicted = False
        self.loaded = False
        self.strict: str | None = None


_case = _Case()


def chosen(nodeids: list[str], seed: str, sample: int) -> set[str]:
    """A sample of tests that depends on their names and the seed only; 0 takes all.

    One of each test function before a second of any: some have thousands of parameters, most a few.
    """
    ranked = sorted(nodeids, key=lambda nodeid: hashlib.sha256(f"{seed}/{nodeid}".encode()).digest())
    if not sample:
        return set(ranked)
    seen: Counter[str] = Counter()
    rounds: list[int] = []
    for nodeid in ranked:
        function = nodeid.partition("[")[0]
        rounds.append(seen[function])
        seen[function] += 1
    order = sorted(range(len(ranked)), key=lambda index: (rounds[index], index))
    return {ranked[index] for index in order[:sample]}


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Parameters that some modules draw as they are imported, and that are part of the names of their tests."""
    if isinstance(collector, pytest.Module):
        _seed(collector.path.name)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the sample of what was asked for, and of it the share of this process."""
    wanted = chosen([item.nodeid for item in items if not _converts_only(item)], SEED, SAMPLE)
    if CHOSEN:
        Path(CHOSEN).write_text(
            json.dumps([name_of(item) for item in items if item.nodeid in wanted]), encoding="utf-8"
        )
    known = _known()
    wanted -= {item.nodeid for item in items if name_of(item) in known}
    kept = sorted((item for item in items if item.nodeid in wanted), key=lambda item: item.nodeid)[SHARD::SHARDS]
    names = {item.nodeid for item in kept}
    Path(RESULTS).with_suffix(".begun").write_text(json.dumps(list(map(name_of, kept))), encoding="utf-8")
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in names])
    items[:] = [item for item in items if item.nodeid in names]


def name_of(item: pytest.Item) -> str:
    """A test by its path inside of coremltools: pytest leaves the path away where a file was asked for by name."""
    return f"{item.path.as_posix().rpartition('/coremltools/')[2]}::{item.nodeid.partition('::')[2]}"


def _known() -> set[str]:
    return set(json.loads(Path(KNOWN).read_text(encoding="utf-8"))) if KNOWN else set()


def _converts_only(item: pytest.Item) -> bool:
    """Tests that by their names check values at conversion, or errors, and predict nothing."""
    return any(part in item.name.partition("[")[0] for part in _NO_PREDICTION)


def pytest_sessionstart() -> None:
    """Watch predictions and comparisons."""
    _watch_predictions()
    _watch_comparisons()


def _watch_predictions() -> None:
    from coremltools.models import model

    proxy = model._MLModelProxy  # noqa: SLF001
    if proxy is None:
        return
    load, predict = proxy.__init__, proxy.predict

    def loading(self: Any, *arguments: Any, **named: Any) -> None:
        _case.loaded = True
        load(self, *arguments, **named)

    def predicting(self: Any, *arguments: Any, **named: Any) -> Any:
        _case.predicted = True
        return predict(self, *arguments, **named)

    proxy.__init__, proxy.predict = loading, predicting


def _watch_comparisons() -> None:
    compare = np.testing.assert_allclose

    def comparing(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0, **named: Any) -> None:
        compare(actual, desired, rtol=rtol, atol=atol, **named)
        if atol >= _LOOSE:
            try:
                compare(actual, desired, rtol=STRICT, atol=STRICT)
            except AssertionError as error:
                _case.strict = str(error)

    vars(np.testing)["assert_allclose"] = comparing


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Inputs and weights that depend on the test's name only: most tests draw them and set no seed."""
    _seed(name_of(item))


def _seed(name: str) -> None:
    seed = zlib.crc32(name.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the generator that the tests use
    torch.manual_seed(seed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """One line per test; one that is skipped, or fails, in its preparation comes no further."""
    report: Any = yield
    if call.when == "call" or (call.when == "setup" and not report.passed):
        kind, said = _judged(report, call)
        line = {"test": name_of(item), "kind": kind, "said": said[:600]}
        with open(RESULTS, "a", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write(json.dumps(line) + "\n")
        _case.__init__()  # type: ignore[misc]
    return report


def _judged(report: Any, call: pytest.CallInfo[None]) -> tuple[str, str]:
    if report.skipped or hasattr(report, "wasxfail"):
        return "skipped", ""
    if report.passed:
        if not _case.predicted:
            return "no prediction", ""
        return ("wrong", f"at {STRICT}: {_case.strict}") if _case.strict else ("right", "")
    error = call.excinfo.value if call.excinfo is not None else None
    said = f"{type(error).__name__}: {error}"
    if "UnsupportedOpError" in said:
        return "refused", said
    if isinstance(error, AssertionError) and _case.predicted:
        return "wrong", said
    return ("crashed" if _case.predicted or _case.loaded else "unconverted"), said
