"""A model run under every profile beside float64: what comes out wrong, and where it began."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from mish_guard.engines.emulator import culprit, package, profiles
from mish_guard.engines.emulator.arithmetic import Arithmetic, Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import Array, DType, Graph, Tensor
from mish_guard.engines.emulator.reader import Model, checked
from mish_guard.errors import EvaluationError, UnreadableFileError, UsageError
from mish_guard.numerics import fp16
from mish_guard.records import Culprit

MAX_INPUT = 2**31
_RANDOM = "random:"

# An output that is off by this part of its largest value is wrong, although no element of it need be off by half.
_WRONG = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One profile: the largest error of any output beside float64, and the first operation that went wrong.

    `max_abs` is in units of the outputs and `relative` is that divided by the largest output; both are infinite where
    an output is finite in float64 only. Where an output is NaN in float64 too, `culprit` is the operation that gave the
    first NaN there: the model has no value that a profile could be held against. `assumptions` are the ids of what
    nobody has measured and the run depends on.
    `errors` holds the relative error of every operation's result, measured as that of an output, in the model's order.
    """

    profile: str
    max_abs: float
    relative: float
    culprit: Culprit | None
    assumptions: tuple[str, ...]
    errors: tuple[float, ...] = ()

    @property
    def is_wrong(self) -> bool:
        """Whether an operation went wrong, or roundings that have no culprit added up to as much."""
        return self.culprit is not None or self.relative > _WRONG


def run(graph: Graph, feeds: Mapping[str, Array], names: Sequence[str]) -> tuple[Trial, ...]:
    """One trial per profile; raises UnsupportedOpError for a model that the emulator cannot run."""
    exact = _evaluated(graph, feeds, Exact())
    return tuple(_trial(graph, feeds, name, exact) for name in names)


def run_saved(model: Model, given: str, names: Sequence[str]) -> tuple[Trial, ...]:
    """`run` for a model that was opened, in the precision that each profile keeps; `given` as `feeds` reads it."""
    trials: list[Trial] = []
    for single, group in itertools.groupby(names, lambda name: profiles.option(name).keeps_single):
        graph = package.translated(model, single=single)
        trials += run(graph, feeds(graph, given), tuple(group))
    return tuple(trials)


def predict(graph: Graph, feeds: Mapping[str, ArrayLike], profile: str) -> dict[str, Array]:
    """The outputs by name, in the type that the model declares."""
    values = _evaluated(graph, feeds, Emulated(profiles.option(profile)))
    tensors = itertools.chain(graph.inputs, *(node.outputs for node in graph.nodes))
    declared = {tensor.name: tensor.dtype for tensor in tensors}
    return {name: _typed(values[name], declared.get(name, _of_constant(values[name]))) for name in graph.outputs}


def array(value: object) -> Array:
    """An output as an array: a classifier's label has no axes, its probabilities are in the order of its classes."""
    return np.asarray(list(value.values()) if isinstance(value, dict) else value)


def predict_saved(model: str | PathLike[str], inputs: Mapping[str, ArrayLike], profile: str) -> dict[str, Array]:
    """`predict` for a model on disk; see `mish_guard.predict`."""
    graph = package.load(Path(model), single=profiles.option(profile).keeps_single)
    strange = sorted(set(inputs) - {tensor.name for tensor in graph.inputs})
    if strange:
        msg = f"The model has no input {', '.join(map(repr, strange))}."
        raise UsageError(msg)
    return predict(graph, inputs, profile)


def feeds(graph: Graph, spelled: str) -> dict[str, Array]:
    """Inputs from `FILE.npy` (a model of one input), `FILE.npz` (by name), or `random:SEED` (standard normal).

    Raises UsageError for inputs that the model does not have, UnreadableFileError for a file that cannot be read.
    """
    if spelled.startswith(_RANDOM):
        return _random(graph, spelled.removeprefix(_RANDOM))
    found = _loaded(Path(spelled))
    names = [tensor.name for tensor in graph.inputs]
    if isinstance(found, np.ndarray):
        if len(names) != 1:
            msg = f"The model has the inputs {', '.join(names) or 'none'}: give them by name in one .npz file."
            raise UsageError(msg)
        found = {names[0]: found}
    wanted = {tensor.name for tensor in graph.inputs if tensor.default is None}
    if not wanted <= set(found) <= set(names):
        msg = f"'{spelled}' holds {', '.join(found) or 'nothing'}; the model has the inputs {', '.join(names)}."
        raise UsageError(msg)
    for tensor in graph.inputs:
        if tensor.name in found and not tensor.admits(found[tensor.name].shape):
            shape = found[tensor.name].shape
            msg = f"'{spelled}': input '{tensor.name}' must have shape {tensor.spelled}, not {shape}."
            raise UsageError(msg)
    return dict(found)


def _evaluated(graph: Graph, feeds: Mapping[str, ArrayLike], arithmetic: Arithmetic) -> dict[str, Array]:
    try:
        return evaluate(graph, feeds, arithmetic)
    except MemoryError as error:
        msg = f"The model needs more memory than this machine gives. {error}"
        raise EvaluationError(msg) from error


def _trial(graph: Graph, feeds: Mapping[str, Array], name: str, exact: Mapping[str, Array]) -> Trial:
    arithmetic = Emulated(profiles.option(name))
    got = _evaluated(graph, feeds, arithmetic)
    # The label of a classifier says nothing that its probabilities do not.
    compared = [name for name in graph.outputs if isinstance(got[name], np.ndarray | dict)]
    errors = [_error(array(got[name]), array(exact[name])) for name in compared]
    relative = max(map(_relative, errors), default=0.0)
    results = [node.outputs[0].name for node in graph.nodes if node.outputs]
    return Trial(
        profile=name,
        max_abs=max((each for each, _ in errors), default=0.0),
        relative=relative,
        culprit=culprit.find(graph, got, exact, None)
        or (_first(graph, got, exact) if relative > _WRONG else _undefined(graph, got, exact)),
        assumptions=tuple(sorted(arithmetic.met)),
        errors=tuple(_relative(_error(got[each], exact[each])) for each in results if _is_array(got[each])),
    )


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _relative(error: tuple[float, float]) -> float:
    largest, size = error
    return largest / size if size else largest


def _first(graph: Graph, got: Mapping[str, Array], exact: Mapping[str, Array]) -> Culprit | None:
    """The first operation that is wrong by itself, whatever later ones made of it."""
    wrong = (step for step in culprit.trace(graph, got, exact, None) if step.wrong)
    first = next(wrong, None)
    return None if first is None else Culprit(op=first.op, name=first.name, got=first.got, want=first.want)


def _undefined(graph: Graph, got: Mapping[str, Array], exact: Mapping[str, Array]) -> Culprit | None:
    """The first operation that gives NaN in float64, if an output does."""
    if not any(_has_nan(exact[output]) for output in graph.outputs):
        return None
    for node in graph.nodes:
        for tensor in node.outputs:
            if _has_nan(exact[tensor.name]):
                at = np.isnan(exact[tensor.name])
                return Culprit(op=node.op, name=node.name, got=float(got[tensor.name][at][0]), want=float("nan"))
    return None


def _has_nan(values: object) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind == "f" and bool(np.isnan(values).any())


def _error(got: Array, want: Array) -> tuple[float, float]:
    """The largest error of one output, and its largest value in float64."""
    got, want = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    if not want.size:
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        errors = np.where((got == want) | (np.isnan(got) & np.isnan(want)), 0.0, np.abs(got - want))
    worst = np.max(np.where(np.isnan(errors), np.inf, errors))
    return float(worst), float(np.max(np.abs(np.nan_to_num(want, posinf=0.0, neginf=0.0))))


def _of_constant(values: Array) -> DType:
    """The type of a constant that is an output: single precision holds it as it was written."""
    return DType.FP32 if _is_array(values) else DType.OBJECT


def _typed(values: Array, dtype: DType) -> Array:
    if dtype is DType.FP16:
        return fp16.to_fp16(values)
    if dtype is DType.FP32:
        return values.astype(np.float32)
    # The evaluation's own arrays are nobody's to write to, the model's constants among them.
    return np.array(values) if isinstance(values, np.ndarray) else values


def _random(graph: Graph, seed: str) -> dict[str, Array]:
    if not seed.isdecimal() or len(seed) > 9:
        msg = f"'{_RANDOM}{seed}' has no seed; write random:0, or any number up to nine digits."
        raise UsageError(msg)
    generator = np.random.default_rng(int(seed))
    return {tensor.name: _drawn(tensor, generator) for tensor in graph.inputs}


def _drawn(tensor: Tensor, generator: np.random.Generator) -> Array:
    if tensor.shape is None or None in tensor.shape:
        msg = f"Input '{tensor.name}' has no fixed shape: give a file with values."
        raise UsageError(msg)
    shape = [size for size in tensor.shape if size is not None]
    drawn = generator.standard_normal(shape)
    return drawn if tensor.dtype.is_float else np.zeros(shape, dtype=np.int64)


def _loaded(path: Path) -> Array | dict[str, Array]:
    """An array, or arrays by name; never an object that would run code."""
    checked(path, MAX_INPUT)
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            found = loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile) as error:
        msg = f"'{path}' cannot be read as .npy or .npz: {error}."
        raise UnreadableFileError(msg) from error
    arrays = [found] if isinstance(found, np.ndarray) else list(found.values())
    if not all(isinstance(array, np.ndarray) and array.dtype.kind in "fiub" for array in arrays):
        msg = f"'{path}' holds something else than numbers."
        raise UnreadableFileError(msg)
    return found
