"""Several gate runs of one workflow → one verdict. A run that is absent, or a job that did not succeed, is no pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mish_guard.errors import ExitCode, UnreadableFileError
from mish_guard.github import numbers
from mish_guard.github.announce import REPORT
from mish_guard.github.numbers import Numbers

# The worst first: one tree that brings the defect back is what everybody needs to know.
_ORDER = (ExitCode.FAIL, ExitCode.BROKEN, ExitCode.LOST, ExitCode.NO_BASELINE, ExitCode.INCONCLUSIVE)
_VERDICT = {ExitCode.PASS: "PASS", ExitCode.FAIL: "FAIL", ExitCode.BROKEN: "BROKEN"}


_CLICK = "Next: Actions, refresh-baselines, Run workflow, with what: missing; then merge the pull request that it opens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overall:
    """The verdict of a workflow: of its jobs by name, and of its gate runs by name (None: no readable report)."""

    jobs: Mapping[str, str]
    runs: Mapping[str, Numbers | None]

    @property
    def exit_code(self) -> ExitCode:
        """PASS only if every job succeeded and every run, one at least, passed."""
        codes = [ExitCode.LOST if run is None else _known(run.exit_code) for run in self.runs.values()]
        codes += [ExitCode.LOST for job, result in self.jobs.items() if result != "success" and not self._is_told(job)]
        if not self.runs or not self.jobs:
            codes.append(ExitCode.LOST)
        return next((code for code in _ORDER if code in codes), ExitCode.PASS)

    @property
    def verdict(self) -> str:
        """The word for it."""
        return _VERDICT.get(self.exit_code, "INCONCLUSIVE")

    @property
    def headline(self) -> str:
        """The verdict and why, in one line."""
        defects = sorted({name for run in self.runs.values() if run is not None for name in run.defects})
        if defects:
            return f"{self.verdict}: reintroduces {', '.join(defects)}"
        first_day = self._without_baseline()
        if first_day:
            return f"{self.verdict}: no baseline yet for {', '.join(first_day)}. {_CLICK}"
        return f"{self.verdict}: {'; '.join(self._reasons()) or 'every job passed'}"

    def _is_told(self, job: str) -> bool:
        """Whether a job of mish-gate.yml failed as a run of it does that lacks a baseline; its runs bear its name."""
        own = [run for name, run in self.runs.items() if f"{name}-".startswith(f"mish-gate-{job}-")]
        return self.jobs[job] == "failure" and any(run and run.exit_code == ExitCode.NO_BASELINE for run in own)

    def _without_baseline(self) -> list[str]:
        """The runs that only lack a baseline, if that is all that is missing anywhere."""
        if self.exit_code is not ExitCode.NO_BASELINE:
            return []
        return [name for name, run in self.runs.items() if run and run.exit_code == ExitCode.NO_BASELINE]

    def _reasons(self) -> Iterator[str]:
        yield from (f"job {name} ended as {result}" for name, result in self.jobs.items() if result != "success")
        yield from (f"{name} left no report" for name, run in self.runs.items() if run is None)
        yield from (f"{name} is {run.verdict}" for name, run in self.runs.items() if run and run.verdict != "PASS")
        if not self.runs or not self.jobs:
            yield "nothing was run"

    def to_json(self) -> dict[str, object]:
        """As JSON types; `from_json` is the inverse."""
        runs = {name: None if run is None else run.to_json() for name, run in self.runs.items()}
        return {"jobs": dict(self.jobs), "runs": runs}


def gather(needs: Any, reports: Path, expected: Sequence[str], may_be_skipped: Sequence[str] = ()) -> Overall:
    """The verdict of the jobs in `needs` (GitHub's context) and of the expected runs, each a folder in `reports`.

    A job in `may_be_skipped` that was skipped does not count; one that ended otherwise does. Raises UnreadableFileError
    for a `needs` that is not GitHub's. An unreadable report counts as none.
    """
    jobs = {name: result for name, result in _jobs(needs).items() if (name, result) not in _skipped(may_be_skipped)}
    return Overall(jobs=jobs, runs={name: _run(reports / name / REPORT) for name in expected})


def from_json(document: Any) -> Overall:
    """The verdict in a JSON object; raises UnreadableFileError for whatever is not of the expected form."""
    try:
        runs = {name: None if run is None else numbers.from_json(run) for name, run in document["runs"].items()}
        jobs = document["jobs"]
        names = [*runs, *jobs, *jobs.values()]
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"The verdict does not have the form of a verdict: {type(error).__name__}."
        raise UnreadableFileError(msg) from error
    if len(names) > 60 or not all(isinstance(name, str) and _is_name(name) for name in names):
        msg = "The verdict names jobs or runs in a form that no job has."
        raise UnreadableFileError(msg)
    return Overall(jobs=dict(jobs), runs=runs)


def _skipped(names: Sequence[str]) -> set[tuple[str, str]]:
    return {(name, "skipped") for name in names}


def _jobs(needs: Any) -> dict[str, str]:
    try:
        return {name: str(job["result"]) for name, job in needs.items()}
    except (AttributeError, KeyError, TypeError) as error:
        msg = "NEEDS is not the needs context of GitHub; set it to ${{ toJSON(needs) }}."
        raise UnreadableFileError(msg) from error


def _run(path: Path) -> Numbers | None:
    try:
        return numbers.of_report(numbers.read(path))
    except UnreadableFileError:
        return None


def _known(code: int) -> ExitCode:
    """A verdict's own code; any other end of a run is a machine that did not do its work."""
    return ExitCode(code) if code in (*_ORDER, ExitCode.PASS) else ExitCode.BROKEN


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 40 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()
