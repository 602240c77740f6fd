"""The words of the gate as frozen records: what is measured, where, and what came out.

Nothing here computes, judges or prints. `CellKey` is the one key used in JSON, logs, test ids and on the command line.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mish_guard.errors import UsageError

# An object of JSON or YAML that its schema describes: the edge, and the one place where values have no type of ours.
Document: TypeAlias = Mapping[str, Any]

# Where a coremltools tree keeps its converters of PyTorch's operations, from the tree's root.
CONVERTERS = "coremltools/converters/mil/frontend/torch/ops.py"


class EngineName(str, enum.Enum):
    """What executes a package."""

    EMULATOR = "emulator"
    COREML = "coreml"


class Device(str, enum.Enum):
    """What an operation ran on, or was planned for."""

    CPU = "cpu"
    GPU = "gpu"
    NE = "ne"
    UNKNOWN = "unknown"


class Stage(str, enum.Enum):
    """On which step of its way a cell was lost.

    `convert`, `load` and `predict` are the candidate's doing where its baseline got further; `engine` is the engine's
    (an operation it does not know, an answer that never came); `machine` is the machine's (no memory, no disk), never
    the tree's.
    """

    CONVERT = "convert"
    LOAD = "load"
    PREDICT = "predict"
    ENGINE = "engine"
    MACHINE = "machine"


class Role(str, enum.Enum):
    """What a cell judges: the tree (candidate, graft) or the engine and the machine (the controls)."""

    CANDIDATE = "candidate"
    GRAFT = "graft"
    NEGATIVE_CONTROL = "negative-control"
    POSITIVE_CONTROL = "positive-control"

    @property
    def is_control(self) -> bool:
        """Whether the cell runs a stored package that the tree under test never touched."""
        return self in (Role.NEGATIVE_CONTROL, Role.POSITIVE_CONTROL)


class Frontend(str, enum.Enum):
    """The way into coremltools: how PyTorch is captured, or MIL, its own language, written by hand."""

    TORCHSCRIPT = "torchscript"
    EXPORT = "export"
    EXPORT_DECOMPOSED = "export-decomposed"
    MIL = "mil"
    STORED = "stored"


class Backend(str, enum.Enum):
    """Model format and precision."""

    MLPROGRAM_FP16 = "mlprogram-fp16"
    MLPROGRAM_FP32 = "mlprogram-fp32"
    NEURALNETWORK = "neuralnetwork"


class Family(str, enum.Enum):
    """The groups of cells in the stability matrix."""

    STABILITY = "stability"
    SWEEP = "sweep"
    SURFACE = "surface"
    MODEL = "model"
    ROADS = "roads"


_KEY = re.compile(
    r"(?:(?P<role>[a-z-]+):)?(?P<family>[a-z]+)/(?P<case>[\w.+-]+)/(?P<frontend>[a-z-]+)/(?P<backend>[\w-]+)@(?P<place>[\w-]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a tree of coremltools offers to those who call it, by its own names: every one of them is a road."""

    targets: tuple[str, ...]
    pipelines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CellKey:
    """One point of the matrix, written `[role:]family/case/frontend/backend@place`.

    `place` is an emulator profile (`ane`) or a compute unit (`cpu-and-ne`); the role `candidate` is not written.
    """

    family: Family
    case: str
    frontend: Frontend
    backend: Backend
    place: str
    role: Role = Role.CANDIDATE

    def __str__(self) -> str:
        prefix = "" if self.role is Role.CANDIDATE else f"{self.role.value}:"
        return f"{prefix}{self.family.value}/{self.case}/{self.frontend.value}/{self.backend.value}@{self.place}"

    @classmethod
    def parse(cls, text: str) -> CellKey:
        """The key that `text` spells; raises UsageError with the expected form."""
        match = _KEY.fullmatch(text)
        parts = {} if match is None else match.groupdict(default=Role.CANDIDATE.value)
        try:
            return cls(
                role=Role(parts["role"]),
                family=Family(parts["family"]),
                case=parts["case"],
                frontend=Frontend(parts["frontend"]),
                backend=Backend(parts["backend"]),
                place=parts["place"],
            )
        except (KeyError, ValueError):
            msg = f"'{text}' is not a cell; expected [role:]family/case/frontend/backend@place, as a run prints them."
            raise UsageError(msg) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInterval:
    """A run of neighbouring half-precision inputs over the ceiling; both ends belong to it."""

    first: float
    last: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The largest error and the input (or output index, where there is no single input) at which it occurs."""

    value: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BinadeFigures:
    """Errors of the inputs that share sign and exponent.

    `at` is the input of `max_ulp`. `material` is the largest |error| / (2**-11 + 2**-11 * |want|): up to 1 it is what
    half precision itself loses at a number of that size, and no reason to call a lowering worse.
    """

    count: int
    max_ulp: float
    mean_abs: float
    at: float
    material: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The error figures of one cell; see mish_guard.numerics.figures for their definitions and units."""

    n_total: int
    n_covered: int
    n_nonfinite: int
    n_collapsed: int
    n_over_ceiling: int
    max_abs: Worst
    max_ulp: Worst
    mean_abs: float
    material: float
    digest: str
    binades: Mapping[str, BinadeFigures] = field(default_factory=dict)
    bad_intervals: tuple[BadInterval, ...] = ()
    specials: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a cell has no figures: the stage that failed and the reason, one line each."""

    stage: Stage
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a cell ran, as far as the engine knows: the device of each operation by name.

    `activation` joins the devices of the activation's operations by '+'; it is `none` for a model without any.
    """

    activation: str
    ops: Mapping[str, Device]

    @property
    def is_on_neural_engine(self) -> bool:
        """Whether the activation ran, or was planned, on a Neural Engine and nowhere else."""
        return self.activation == Device.NE.value

    @property
    def is_known(self) -> bool:
        """Whether the engine could tell at all."""
        return self.activation != Device.UNKNOWN.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One operation, constants apart: its name, MIL's name for what it does, and its device."""

    name: str
    op: str
    device: Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One model offered to the Neural Engine on one rung of a ladder: the plan for it, or why there is none."""

    ladder: str
    rung: str
    cell: str
    activation: str
    operations: tuple[Placed, ...] = ()
    failure: str | None = None

    @property
    def is_placed(self) -> bool:
        """Whether the plan puts the whole activation on the Neural Engine."""
        return self.activation == Device.NE.value

    @property
    def is_refused(self) -> bool:
        """Whether there is a plan and it puts the activation, or a part of it, elsewhere."""
        return self.activation not in (Device.NE.value, Device.UNKNOWN.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of wall time that Core ML took: to compile and load a model, and for all predictions of a cell."""

    load: float
    predict: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """The first operation, in graph order, whose output is wrong at the first bad input."""

    op: str
    name: str
    got: float
    want: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation of a model at one input: what it gave, what it gives in float64, and whether that is wrong."""

    op: str
    name: str
    got: float
    want: float
    wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one cell gave: figures, or the failure that took their place.

    `rung` is the shape on which a cell with a routing ladder was measured at a real Neural Engine; None elsewhere:
    the shape is then the only one there is. `instrument` is the digest of what measured the cell (arithmetic, profile,
    inputs, ceiling, formulas): figures of two instruments do not compare. `assumptions` are the ids of what nobody has
    measured and the cell's pass rests on: read the other way, it would fail. `covered_by` is the cell whose
    figures these are: it was swept in this run, and what this cell's model does from the input of mish to its output is
    the same, operation by operation. `inexact` counts the inputs of a sweep that its convolution did not carry bit for
    bit, and that are judged by what entered mish instead; None where there are none.
    """

    key: CellKey
    known_gap: str | None
    figures: Figures | None = None
    failure: Failure | None = None
    placement: Placement | None = None
    culprit: Culprit | None = None
    repeats_agree: bool | None = None
    rung: str | None = None
    times: Times | None = None
    instrument: str | None = None
    assumptions: tuple[str, ...] = ()
    covered_by: str | None = None
    inexact: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The coremltools tree under test and the lowering it was asked to use.

    `converter_sha256` is the hash of the converter of mish that converted, `converter_line` where it stands in the
    tree's ops.py, `tree_sha256` the hash of the installed files of coremltools. `replaced` names the lowering that a
    build, or `--lowering`, put in place of the tree's own converter; None for a tree that is judged as it is. `source`,
    `commit`, `native` and `diff` (what was patched, as a unified diff) are known of a tree that
    `ci/build_coremltools.py` built.
    """

    coremltools: str
    path: str
    lowering: str
    converter_sha256: str
    torch: str
    numpy: str
    python: str
    source: str | None = None
    commit: str | None = None
    native: str | None = None
    diff: str | None = None
    tree_sha256: str | None = None
    replaced: str | None = None
    converter_line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlace:
    """What a place is: the engine it belongs to, what that ran on, and whether it is hardware.

    `is_neural_engine` says that the place is, or plays, a Neural Engine, so that the negative control must be caught.
    """

    engine: EngineName
    device: Document
    is_hardware: bool
    is_neural_engine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A base tree that was converted and measured in the same run, and what it gave by key."""

    candidate: Candidate
    measurements: Mapping[str, Measurement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """A road that was converted and not measured: its operations are those of a cell that was."""

    road: str
    ops: str
    covered_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the matrix: who was judged, on what, and every measurement by key.

    `engines` says of every place what it is; `expected` are the keys of every cell that the run set out to measure.
    `controls_error` says what is wrong with the stored controls, `broken` why the whole run proves nothing (the gate's
    own code, its controls or the tree changed while it ran). `partial` is the glob of a run that was asked for some
    cells only: it is never green as a whole. `against` is the base tree of `--against`. `conversions` counts the
    packages that the tree made; `covered` the roads that were converted and seen to be those of a measured cell.
    `attempts` is the climb of every routing ladder, `notes` what else a reader should know.
    """

    candidate: Candidate
    engines: Mapping[str, EnginePlace]
    matrix_sha256: str
    expected: tuple[str, ...]
    measurements: Mapping[str, Measurement]
    created: str
    controls_error: str | None = None
    broken: str | None = None
    partial: str | None = None
    against: Against | None = None
    conversions: int = 0
    covered: tuple[Covered, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def neural_engines(self) -> tuple[str, ...]:
        """The places that are, or play, a Neural Engine."""
        return tuple(place for place, each in self.engines.items() if each.is_neural_engine)

    def engine_at(self, place: str) -> EngineName:
        """The engine that a place belongs to."""
        return self.engines[place].engine

    def is_hardware(self, place: str) -> bool:
        """Whether what was measured at a place ran on hardware."""
        return self.engines[place].is_hardware

    def device_at(self, place: str) -> Document:
        """What the engine of a place ran on."""
        return self.engines[place].device
