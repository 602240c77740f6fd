"""Calibration: every public measurement of the Neural Engine that the emulator can express, replayed.

`data/evidence.yml` holds the facts; `load` reads them, `replay` says for one profile which facts it reproduces.
Nothing here prints. To see the result: `mish-guard calibrate`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mish_guard import files
from mish_guard.engines.emulator import assumptions, profiles
from mish_guard.engines.emulator.arithmetic import Arithmetic, Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import Array, DType, Graph, Node, Operand, Ref, Tensor, widen
from mish_guard.engines.emulator.profiles import Profile
from mish_guard.errors import UnreadableFileError
from mish_guard.numerics import fp16
from mish_guard.records import Document

EVIDENCE = files.DATA / "evidence.yml"

# A result counts as good when it misses the float64 result by no more than this: 16 half-precision units, and as
# much near zero. Rounding of a few operations stays far inside; every collapse and overflow leaves it.
_GOOD_RELATIVE = 2.0**-6
_GOOD_ABSOLUTE = 2.0**-8
_SHOWN = 8
_RESULT = "result"
_SPECIAL = ("inf", "-inf", "nan")


class Certainty(str, enum.Enum):
    """How the source knows: on named silicon, by hearsay, from a binary, from Apple's documents, or by deduction."""

    MEASURED = "measured"
    REPORTED = "reported"
    DECOMPILED = "decompiled"
    DOCUMENTED = "documented"
    INFERRED = "inferred"


class Status(str, enum.Enum):
    """What one profile makes of one fact."""

    REPRODUCED = "reproduced"
    CONTRADICTED = "contradicted"
    NOT_EXPRESSIBLE = "cannot be expressed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """Sweep every half-precision value of [first, last] through `input`: where results stop being good.

    `repeat` copies each value along a second axis; `then` is what every result from `first_bad` on must be. Without
    a `first_bad` every result must be good.
    """

    input: str
    first: float
    last: float
    repeat: int | None
    last_good: float | None
    first_bad: float | None
    then: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A graph of a few operations and what the source saw it do.

    Exactly one of `want` (every result, within `ulp` half-precision units, signs of zero included), `boundary` and
    `wrong` (every result misses the float64 result, how is not recorded) is set.
    """

    profiles: tuple[str, ...]
    dtype: DType
    steps: tuple[Document, ...]
    inputs: Mapping[str, Array]
    want: tuple[float, ...] | None
    ulp: int
    boundary: Boundary | None
    wrong: bool

    @property
    def label(self) -> str:
        """The operations in order."""
        return " > ".join(step["op"] for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that is publicly known, and how the emulator can answer for it."""

    id: str
    topic: str
    statement: str
    numbers: Mapping[str, float | str]
    chips: tuple[str, ...]
    os: str | None
    certainty: Certainty
    sources: tuple[str, ...]
    derived_from: tuple[str, ...]
    replay: tuple[Experiment, ...]
    cannot_express: str | None
    unknown: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One experiment replayed: what came out and what the source saw, as text."""

    label: str
    got: str
    want: str
    reproduced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a profile makes of a fact; `detail` is one line, `trials` are the experiments behind it."""

    fact: Fact
    status: Status
    detail: str
    trials: tuple[Trial, ...] = ()


def load(path: Path = EVIDENCE) -> tuple[Fact, ...]:
    """The facts in an evidence file, in its order.

    Raises UnreadableFileError for a file that is missing, does not follow the schema, uses an id twice or names a
    fact, a profile or an assumption that does not exist.
    """
    document = files.read_yaml(path)
    files.validate(document, "evidence", path)
    facts = tuple(_fact(entry) for entry in document["facts"])
    complaint = _complaint(facts)
    if complaint is not None:
        msg = f"'{path}' contradicts itself: {complaint}"
        raise UnreadableFileError(msg)
    return facts


def replay(profile: Profile, facts: Sequence[Fact] | None = None) -> tuple[Outcome, ...]:
    """One outcome per fact (of the shipped evidence by default) for `profile`, whose name selects the experiments."""
    return tuple(_outcome(profile, fact) for fact in (load() if facts is None else facts))


def attempt(profile: Profile, experiment: Experiment) -> Trial:
    """`experiment` under `profile`, whatever profiles it was meant for."""
    if experiment.boundary is not None:
        return _sweep(profile, experiment, experiment.boundary)
    got = _run(experiment, experiment.inputs, Emulated(profile))
    if experiment.want is None:
        exact = _run(experiment, experiment.inputs, Exact())
        wrong = bool(got.size) and not _good(got, exact).any()
        want = f"not {_numbers(exact)}"
        return Trial(label=experiment.label, got=_numbers(got), want=want, reproduced=wrong)
    want_values = np.asarray(experiment.want, dtype=np.float64)
    same = _same(np.ravel(got), want_values, experiment.ulp)
    return Trial(label=experiment.label, got=_numbers(got), want=_numbers(want_values), reproduced=same)


def unmeasured(profile: Profile) -> tuple[str, ...]:
    """The assumptions that a Neural Engine's profile makes; none for IEEE arithmetic."""
    return tuple(assumptions.TABLE) if profile.is_neural_engine else ()


def _outcome(profile: Profile, fact: Fact) -> Outcome:
    if fact.unknown is not None:
        assumed = assumptions.TABLE[fact.unknown]
        detail = f"{assumed.id}: {assumed.friendly}; or {assumed.pessimistic}"
        return Outcome(fact=fact, status=Status.UNKNOWN, detail=detail)
    if fact.cannot_express is not None:
        return Outcome(fact=fact, status=Status.NOT_EXPRESSIBLE, detail=fact.cannot_express)
    trials = tuple(attempt(profile, each) for each in fact.replay if profile.name in each.profiles)
    if not trials:
        others = sorted({name for each in fact.replay for name in each.profiles})
        detail = f"not behaviour of this profile; replayed under {', '.join(others)}"
        return Outcome(fact=fact, status=Status.NOT_EXPRESSIBLE, detail=detail)
    failed = [trial for trial in trials if not trial.reproduced]
    if failed:
        detail = "; ".join(f"{trial.label}: got {trial.got}, want {trial.want}" for trial in failed)
        return Outcome(fact=fact, status=Status.CONTRADICTED, detail=detail, trials=trials)
    detail = "; ".join(f"{trial.label}: {trial.got}" for trial in trials)
    return Outcome(fact=fact, status=Status.REPRODUCED, detail=detail, trials=trials)


def _sweep(profile: Profile, experiment: Experiment, boundary: Boundary) -> Trial:
    values = fp16.finite_values().astype(np.float64)
    values = values[(values >= boundary.first) & (values <= boundary.last)]
    fed = values if boundary.repeat is None else np.repeat(values[:, None], boundary.repeat, axis=1)
    feeds = {**experiment.inputs, boundary.input: fed}
    got = _run(experiment, feeds, Emulated(profile)).reshape(len(values), -1)
    exact = _run(experiment, feeds, Exact()).reshape(len(values), -1)
    good = _good(got, exact).all(axis=-1)
    edge = int(np.argmin(good)) if not good.all() else len(values)
    last_good = float(values[edge - 1]) if edge else None
    first_bad = float(values[edge]) if edge < len(values) else None
    after = got[edge:]
    ends = boundary.then is None or _same(np.ravel(after), np.full(after.size, boundary.then), 0)
    found = first_bad == boundary.first_bad and (boundary.first_bad is None or last_good == boundary.last_good)
    then = "" if ends else f", then {_numbers(after)}"
    want_then = "" if ends else f", then {boundary.then}"
    return Trial(
        label=experiment.label,
        got=_edge(last_good, first_bad) + then,
        want=_edge(boundary.last_good, boundary.first_bad) + want_then,
        reproduced=found and ends,
    )


def _edge(last_good: float | None, first_bad: float | None) -> str:
    return "good throughout" if first_bad is None else f"last good {last_good}, first bad {first_bad}"


def _run(experiment: Experiment, feeds: Mapping[str, Array], arithmetic: Arithmetic) -> Array:
    return evaluate(_graph(experiment, feeds), feeds, arithmetic)[_RESULT]


def _graph(experiment: Experiment, feeds: Mapping[str, Array]) -> Graph:
    nodes = []
    for position, step in enumerate(experiment.steps):
        last = position == len(experiment.steps) - 1
        name = _RESULT if last else step["as"]
        dtype = DType(step.get("dtype", experiment.dtype))
        operands = {key: _operand(value) for key, value in step.items() if key not in ("op", "as", "dtype")}
        nodes.append(
            Node(op=step["op"], name=name, operands=operands, outputs=(Tensor(name=name, dtype=dtype, shape=None),))
        )
    inputs = tuple(Tensor(name=name, dtype=experiment.dtype, shape=None) for name in feeds)
    return Graph(inputs=inputs, constants={}, nodes=tuple(nodes), outputs=(_RESULT,))


def _operand(value: object) -> Operand:
    if isinstance(value, str) and value not in _SPECIAL:
        return Ref(value[1:]) if value.startswith("$") else value
    return _values(value)


def _values(spelled: object) -> Array:
    """A number, nested lists of numbers, or {runs: [[value, count], …], shape: […]}; infinities are words."""
    if not isinstance(spelled, Mapping):
        return widen(_numeric(spelled))
    flat = np.concatenate([np.full(int(count), float(value)) for value, count in spelled["runs"]])
    return np.asarray(flat.reshape(spelled.get("shape", flat.shape)))


def _numeric(spelled: object) -> Any:
    if isinstance(spelled, list):
        return [_numeric(each) for each in spelled]
    return float(spelled) if spelled in _SPECIAL else spelled


def _good(got: Array, exact: Array) -> Array:
    with np.errstate(invalid="ignore"):
        close = np.abs(got - exact) <= _GOOD_RELATIVE * np.abs(exact) + _GOOD_ABSOLUTE
    return np.asarray(close)


def _same(got: Array, want: Array, ulp: int) -> bool:
    """Equal shapes, and each pair the same half-precision number within `ulp`; NaN and infinities only themselves."""
    if got.shape != want.shape:
        return False
    got_half, want_half = fp16.to_fp16(got), fp16.to_fp16(want)
    finite = np.isfinite(got_half) & np.isfinite(want_half)
    near = finite & (np.abs(fp16.ordinal(got_half) - fp16.ordinal(want_half)) <= ulp)
    special = ~finite & ((got_half == want_half) | (np.isnan(got_half) & np.isnan(want_half)))
    return bool((near | special).all())


def _numbers(values: Array) -> str:
    flat = [f"{value:.9g}" for value in np.ravel(fp16.to_fp16(values)).astype(np.float64)]
    more = f", … ({len(flat)} values)" if len(flat) > _SHOWN else ""
    return ", ".join(flat[:_SHOWN]) + more


def _fact(entry: Document) -> Fact:
    return Fact(
        id=entry["id"],
        topic=entry["topic"],
        statement=" ".join(entry["statement"].split()),
        numbers=entry.get("numbers", {}),
        chips=tuple(entry.get("chips", ())),
        os=entry.get("os"),
        certainty=Certainty(entry["certainty"]),
        sources=tuple(entry.get("sources", ())),
        derived_from=tuple(entry.get("derived_from", ())),
        replay=tuple(_experiment(each) for each in entry.get("replay", ())),
        cannot_express=entry.get("cannot_express"),
        unknown=entry.get("unknown"),
    )


def _experiment(entry: Document) -> Experiment:
    engines = tuple(name for name, profile in profiles.PROFILES.items() if profile.is_neural_engine)
    boundary = entry.get("boundary")
    return Experiment(
        profiles=tuple(entry.get("profiles", engines)),
        dtype=DType(entry.get("dtype", DType.FP16.value)),
        steps=tuple(entry["steps"]),
        inputs={name: _values(spelled).astype(np.float64) for name, spelled in entry.get("inputs", {}).items()},
        want=None if "want" not in entry else tuple(float(value) for value in entry["want"]),
        ulp=entry.get("ulp", 0),
        boundary=None if boundary is None else _boundary(boundary),
        wrong=entry.get("wrong", False),
    )


def _boundary(entry: Document) -> Boundary:
    return Boundary(
        input=entry["input"],
        first=entry["first"],
        last=entry["last"],
        repeat=entry.get("repeat"),
        last_good=entry["last_good"],
        first_bad=entry["first_bad"],
        then=None if "then" not in entry else float(entry["then"]),
    )


def _complaint(facts: Sequence[Fact]) -> str | None:
    """What the schema cannot see: ids used twice, and names of things that do not exist."""
    ids = [fact.id for fact in facts]
    for fact in facts:
        if ids.count(fact.id) > 1:
            return f"{fact.id} is used twice."
        missing = sorted(set(fact.derived_from) - set(ids))
        if missing:
            return f"{fact.id} is derived from {', '.join(missing)}, which is not there."
        if fact.unknown is not None and fact.unknown not in assumptions.TABLE:
            return f"{fact.id} names '{fact.unknown}', which is no assumption."
        strange = sorted({name for each in fact.replay for name in each.profiles} - set(profiles.PROFILES))
        if strange:
            return f"{fact.id} is replayed under {', '.join(strange)}, which is no profile."
    return None
