"""The figures of one gate run that may be repeated anywhere: checked against fixed forms, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from mish_guard.errors import ExitCode, UnreadableFileError, Verdict

VERDICTS = tuple(each.value for each in Verdict)

# The runs and jobs of mish-gate.yml; a test compares them with that file.
BASE_COURT = "mish-gate-base-court"
RUNS = frozenset({"mish-gate-emulated", "mish-gate-core-ml-macos-26", "mish-gate-core-ml-macos-15", BASE_COURT})
JOBS = frozenset({"emulated", "core-ml", "base-court"})

# A report of the whole matrix takes well under a tenth of this; a larger file is none of ours.
_T = TypeVar("_T")
_Few = TypeVar("_Few", bound=Sized)

_MOST_BYTES = 8_000_000
_MOST_ITEMS = 40

_PLACE = re.compile(r"[a-z][a-z0-9-]{0,30}")
_STATUS = re.compile(r"[a-z][a-z ]{0,30}")
_DEFECT = re.compile(r"[A-Z][A-Z0-9-]{0,60}")
_LOWERING = re.compile(r"[a-z][a-z-]{0,30}")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+]{0,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """One gate run: verdict and exit code, what it rests on, the number of cells by status, the defects found."""

    verdict: str
    exit_code: int
    armed: bool
    hardware: tuple[str, ...]
    emulated: tuple[str, ...]
    coremltools: str
    lowering: str
    counts: Mapping[str, int]
    defects: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The verdict and why, in one line."""
        armed = "armed" if self.armed else "not armed"
        why = f": reintroduces {', '.join(self.defects)}" if self.defects else ""
        return f"{self.verdict} ({armed}){why}"

    def to_json(self) -> dict[str, object]:
        """As JSON types; `from_json` is the inverse."""
        return asdict(self)


def known_defects() -> frozenset[str]:
    """The ids in defects.yml, read without a YAML parser: the jobs that write to GitHub have none."""
    text = (Path(__file__).parent.parent / "data" / "defects.yml").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^\s*- id: ([A-Z][A-Z0-9-]*)$", text, re.MULTILINE))


def read(path: Path) -> Any:
    """The JSON document of a file; raises UnreadableFileError for one that is absent, too large or damaged."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            msg = f"'{path.name}' is larger than {_MOST_BYTES} bytes: it is no report of mish-guard."
            raise UnreadableFileError(msg)
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"'{path.name}' cannot be read as JSON: {type(error).__name__}."
        raise UnreadableFileError(msg) from error


def of_report(document: Any) -> Numbers:
    """The numbers of a `report.json`; raises UnreadableFileError for whatever is not of the expected form."""
    try:
        return from_json(
            {
                **{name: document[name] for name in ("verdict", "exit_code", "armed", "counts")},
                "hardware": document["evidence"]["hardware_places"],
                "emulated": sorted({*document["evidence"]["places"]} - {*document["evidence"]["hardware_places"]}),
                "coremltools": document["candidate"]["coremltools"],
                "lowering": document["candidate"]["lowering"],
                "defects": sorted({each["defect"] for each in document["findings"] if each["defect"] is not None}),
            }
        )
    except (KeyError, TypeError) as error:
        msg = f"The report lacks what every report has: {type(error).__name__}."
        raise UnreadableFileError(msg) from error


def from_json(document: Any) -> Numbers:
    """The numbers in a JSON object; raises UnreadableFileError for whatever is not of the expected form."""
    try:
        made = Numbers(
            verdict=_one_of(document["verdict"], VERDICTS),
            exit_code=_one_of(document["exit_code"], [int(code) for code in ExitCode]),
            armed=_flag(document["armed"]),
            hardware=_names(document["hardware"], _PLACE),
            emulated=_names(document["emulated"], _PLACE),
            coremltools=_name(document["coremltools"], _VERSION),
            lowering=_name(document["lowering"], _LOWERING),
            counts={_name(key, _STATUS): _count(document["counts"][key]) for key in _few(document["counts"])},
            defects=_names(document["defects"], _DEFECT),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"A report does not have the form of a report: {type(error).__name__}."
        raise UnreadableFileError(msg) from error
    if (made.verdict == "PASS") != (made.exit_code == ExitCode.PASS):
        msg = f"A report says {made.verdict} and exit code {made.exit_code}, which contradict each other."
        raise UnreadableFileError(msg)
    return made


def _one_of(value: _T, allowed: Collection[_T]) -> _T:
    if isinstance(value, bool) or value not in allowed:
        raise ValueError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**6:
        raise ValueError
    return value


def _name(value: object, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise ValueError
    return value


def _names(values: object, form: re.Pattern[str]) -> tuple[str, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError
    return tuple(_name(value, form) for value in _few(values))


def _few(values: _Few) -> _Few:
    if len(values) > _MOST_ITEMS:
        raise ValueError
    return values
