"""Search for forms of mish: every short program of +, -, * and / over exp(x) or sigmoid(x), 1 and 2.

python ci/search_lowerings.py                    search, measure what was found, print it ranked
python ci/search_lowerings.py --operations 3     shorter programs only (the default is 4, which takes half a minute)

mish(x) = x r with r = tanh(softplus(x)), an algebraic function of exp(x), and of sigmoid(x). The search builds
programs operation by operation and keeps those whose value is r, or 1 / r, at points in float64. Each is finished as
x * r or x / (1 / r), its exponential with and without a cap, and evaluated over all finite half-precision inputs under
every profile of the emulator, in half and in single precision. Forms inside the ceiling everywhere are printed, fewest
operations first, then by their largest error in units in the last place, then by that of single precision.

docs/lowerings.md tells what became of it.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.profiles import PROFILES
from mish_guard.numerics import ceiling, figures, fp16, reference
from mish_guard.records import Figures
from mish_guard.report import table

Doubles = NDArray[np.float64]

# Where a program must give r: both signs, and 0.4, so that no coincidence at a whole number survives.
POINTS: Doubles = np.array([-3.1, -0.7, 0.4, 1.3, 2.9])
CONSTANTS = (1.0, 2.0)
# exp(5) (exp(5) + 2) and exp(10) are the largest below 2**15; None leaves the input as it is.
CAPS = (None, 5.0, 10.0)
_TOLERANCE = 1e-12

_COMPUTE: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "mul": np.multiply,
    "sub": np.subtract,
    "real_div": np.true_divide,
}
_SIGNS = {"add": "+", "mul": "*", "sub": "-", "real_div": "/"}
_COMMUTE = frozenset({"add", "mul"})


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on two earlier values: 0 is the base, then the constants, then the steps in order."""

    op: str
    left: int
    right: int


Program = tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A way to compute mish: the function underneath, its cap, the program, and whether x is divided by its result."""

    base: str
    cap: float | None
    program: Program
    divides: bool

    @property
    def n_ops(self) -> int:
        """Operations of MIL."""
        return len(self.program) + 2 + (self.cap is not None)

    def __str__(self) -> str:
        inner = "x" if self.cap is None else f"min(x, {self.cap:g})"
        texts = ["b", *(f"{constant:g}" for constant in CONSTANTS)]
        for step in self.program:
            texts.append(f"({texts[step.left]} {_SIGNS[step.op]} {texts[step.right]})")
        return f"x {'/' if self.divides else '*'} {texts[-1]}, b = {self.base}({inner})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A form, its worst figures over all profiles in half precision, and its relative error in single precision."""

    form: Form
    half: Figures
    single_relative: float


def search(base: Doubles, target: Doubles, longest: int) -> Iterator[Program]:
    """Programs of up to `longest` operations that give `target` (one row of values per target) at the points."""
    start = [base, *(np.full_like(base, constant) for constant in CONSTANTS)]
    yield from _extend(start, (), target, longest)


def _extend(values: list[Doubles], program: Program, target: Doubles, left: int) -> Iterator[Program]:
    if left == 1:
        yield from _finished(values, program, target)
        return
    for step in _steps(len(values)):
        with np.errstate(all="ignore"):
            result = _COMPUTE[step.op](values[step.left], values[step.right])
        if _is(result, target):
            if _uses_every_step((*program, step)):
                yield (*program, step)
        elif _is_new(result, values) and not (program and _before(step, program[-1], len(values))):
            yield from _extend([*values, result], (*program, step), target, left - 1)


def _finished(values: list[Doubles], program: Program, target: Doubles) -> Iterator[Program]:
    """The program with each last operation that gives the target; all of them at once, for most are tried here."""
    known = np.stack(values)
    for op, compute in _COMPUTE.items():
        with np.errstate(all="ignore"):
            missed = np.abs(compute(known[:, None], known[None, :]) - target).max(axis=-1)
        for left, right in np.argwhere(missed <= _TOLERANCE * np.abs(target).max()):
            longer = (*program, Step(op, int(left), int(right)))
            if (op not in _COMMUTE or left <= right) and _uses_every_step(longer):
                yield longer


def _steps(known: int) -> Iterator[Step]:
    constants = range(1, 1 + len(CONSTANTS))
    for op, left, right in itertools.product(_COMPUTE, range(known), range(known)):
        if (left in constants and right in constants) or (op in _COMMUTE and right < left):
            continue
        yield Step(op, left, right)


def _before(step: Step, last: Step, known: int) -> bool:
    """Whether the step could have stood before the last one and has had its turn there."""
    independent = known - 1 not in (step.left, step.right)
    return independent and (step.op, step.left, step.right) < (last.op, last.left, last.right)


def _is(value: Doubles, target: Doubles) -> bool:
    return bool(np.abs(value - target).max() <= _TOLERANCE * np.abs(target).max())


def _is_new(value: Doubles, known: list[Doubles]) -> bool:
    return bool(np.isfinite(value).all()) and not any(_is(value, each) for each in known)


def _uses_every_step(program: Program) -> bool:
    used = {place for step in program for place in (step.left, step.right)}
    first = 1 + len(CONSTANTS)
    return all(first + number in used for number in range(len(program) - 1))


def forms(longest: int, bases: Sequence[str] = ("exp", "sigmoid")) -> Iterator[Form]:
    """Every form that the search finds, with every cap that its base can use."""
    r = np.tanh(reference.softplus(POINTS))
    for base in bases:
        values = np.exp(POINTS) if base == "exp" else 1 / (1 + np.exp(-POINTS))
        caps = CAPS if base == "exp" else CAPS[:1]
        for divides, target in ((False, r), (True, 1 / r)):
            for program, cap in itertools.product(search(values, target, longest), caps):
                yield Form(base=base, cap=cap, program=program, divides=divides)


def graph(form: Form, dtype: DType) -> Graph:
    """The form as a model of one input `x`, its values and constants of `dtype`."""
    nodes: list[Node] = []

    def node(op: str, **operands: Any) -> Ref:
        name = f"v{len(nodes)}"
        tensor = Tensor(name=name, dtype=dtype, shape=None)
        nodes.append(Node(op=op, name=name, operands=operands, outputs=(tensor,)))
        return Ref(name)

    x = Ref("x")
    inner = x if form.cap is None else node("minimum", x=x, y=np.asarray(form.cap))
    values: list[Any] = [node(form.base, x=inner), *map(np.asarray, CONSTANTS)]
    for step in form.program:
        values.append(node(step.op, x=values[step.left], y=values[step.right]))
    result = node("real_div" if form.divides else "mul", x=x, y=values[-1])
    entry = Tensor(name="x", dtype=dtype, shape=None)
    return Graph(inputs=(entry,), constants={}, nodes=tuple(nodes), outputs=(result.name,))


def outputs(form: Form, dtype: DType, profile: str) -> Doubles:
    """What a form gives for all finite half-precision inputs, in ascending order, on the grid of `dtype`."""
    model = graph(form, dtype)
    got = evaluate(model, {"x": fp16.finite_values()}, Emulated(PROFILES[profile]))[model.outputs[0]]
    return np.asarray(got, dtype=np.float64)


def ranked(found: Iterable[Form]) -> list[Ranked]:
    """The forms inside the ceiling under every profile and in both precisions, the best first."""
    measured = [(form, _worst(form), _single_relative(form)) for form in found]
    kept = [
        Ranked(form=form, half=half, single_relative=single)
        for form, half, single in measured
        if half is not None and single <= ceiling.CEILING.relative
    ]
    return sorted(kept, key=lambda each: (each.form.n_ops, each.half.max_ulp.value, each.single_relative))


def _worst(form: Form) -> Figures | None:
    """The worst half-precision figures of all profiles; None as soon as one is over the ceiling."""
    x = fp16.finite_values()
    everything = np.ones(len(x), dtype=bool)
    worst: Figures | None = None
    # The Neural Engine's profile rejects the most, so it comes first.
    for name in sorted(PROFILES, key=lambda name: name != "ane"):
        got = fp16.to_fp16(outputs(form, DType.FP16, name))
        measured = figures.sweep(x, got, reference.mish(x), covered=everything, specials={})
        if not ceiling.is_within(measured):
            return None
        worst = measured if worst is None or measured.max_ulp.value > worst.max_ulp.value else worst
    return worst


def _single_relative(form: Form) -> float:
    """The largest relative error in single precision where mish is a normal half-precision number."""
    want = reference.mish(fp16.finite_values())
    normal = np.abs(want) >= fp16.MIN_NORMAL
    with np.errstate(invalid="ignore"):
        errors = np.abs(outputs(form, DType.FP32, "ieee-fp16") - want)[normal] / np.abs(want)[normal]
    return float(np.max(np.where(np.isfinite(errors), errors, np.inf)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=4, help="the longest program (default: 4)")
    chosen = parser.parse_args(arguments)
    found = list(forms(chosen.operations))
    best = ranked(found)
    headings = ("ops", "max_ulp fp16", "at", "mean_abs fp16", "relative fp32", "form")
    print(table.render(headings, map(_row, best)))
    print(f"{len(found)} forms found, {len(best)} inside the ceiling everywhere. Emulated: no hardware was measured.")
    return 0


def _row(each: Ranked) -> tuple[str, ...]:
    half = each.half
    return (
        str(each.form.n_ops),
        f"{half.max_ulp.value:.4g}",
        f"{half.max_ulp.at:.6g}",
        f"{half.mean_abs:.3g}",
        f"{each.single_relative:.2g}",
        str(each.form),
    )


if __name__ == "__main__":
    raise SystemExit(main())
