"""The static rules: what is known to go wrong on a Neural Engine, how to see it in a graph, and what to do.

Evidence ids are those of `data/evidence.yml` (docs/evidence.md). A rule reports an operation only where nothing in
front of it rules the trouble out, as far as `ranges` can see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mish_guard.engines.emulator import accuracy
from mish_guard.engines.emulator.accuracy import Standing
from mish_guard.engines.emulator.graph import DType, Node, Operand, Ref
from mish_guard.engines.emulator.hazards import LIMIT, ROUNDS_TO_LIMIT
from mish_guard.numerics import fp16
from mish_guard.scan.ranges import Ranges
from mish_guard.scan.view import View, runs_on_engine

# From here on exp(x) reaches 2**15.
CLIFF = 10.3984375

# The largest value that an int8 product and a slice with an offset carry (F77).
ENCODED = 4094.0

# Where nothing bounds an input, a sum is suspicious if an input of this size is enough to pass 2**15.
SMALL_INPUT = 16.0

# Stand-alone only: casts and states run as parts of a program.
_PARTS = frozenset({"cast", "identity", "read_state", "make_list", "list_length"})
_ELEMENTWISE = frozenset(
    {"add", "sub", "mul", "real_div", "maximum", "minimum", "reduce_sum", "cumsum", "square", "inverse"}
)
_PRODUCTS = frozenset({"conv", "linear", "matmul"})
_CLAMPING = frozenset({"clip", "minimum", "maximum"})
# Where an operation does not run on the engine, and what is said of it then.
_LEAVING = {
    Standing.NOT_IMPLEMENTED: "the Neural Engine does not implement it",
    Standing.STOPPED: "the compiler of the Neural Engine stops at it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """One operation at risk: the rule that found it, MIL's name, the operation's own, and what is wrong with it."""

    rule: str
    op: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of trouble: how it is found, the facts behind it, and what to do about it."""

    id: str
    evidence: tuple[str, ...]
    advice: str
    find: Callable[[View, Ranges], Iterator[tuple[Node, str]]]


RULES: dict[str, Rule] = {}


def scan(view: View) -> tuple[Risk, ...]:
    """Every risk in a model, rule by rule, in the order of its operations."""
    ranges = Ranges(view)
    return tuple(
        Risk(rule=rule.id, op=node.op, name=node.name, detail=detail)
        for rule in RULES.values()
        for node, detail in rule.find(view, ranges)
    )


def _rule(evidence: str, advice: str) -> Callable[[Callable[[View, Ranges], Iterator[tuple[Node, str]]]], None]:
    def register(find: Callable[[View, Ranges], Iterator[tuple[Node, str]]]) -> None:
        name = find.__name__.strip("_").replace("_", "-")
        RULES[name] = Rule(id=name, evidence=tuple(evidence.split()), advice=advice, find=find)

    return register


def _engine(view: View, *ops: str) -> Iterator[Node]:
    return (node for node in view.nodes if node.op in ops and runs_on_engine(node))


@_rule("F1 F2 F3 F71", "write max(x, 0) + log(1 + exp(-|x|)); for mish take a form of docs/lowerings.md")
def _native_softplus(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    for node in _engine(view, "softplus", "softplus_parametric"):
        if ranges.of(node.operands.get("x"))[1] >= CLIFF:
            known = "is 0 from x = 10.3984375 on" if node.op == "softplus" else "is unmeasured there (U1)"
            yield node, f"its input can exceed 10.39, and native {node.op} {known}"


@_rule("C1 F5 F54 F55", "write max(x, 0) + log(1 + exp(-|x|)), which never leaves (1, 2]")
def _log_of_one_plus_exp(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    for node in _engine(view, "log"):
        added = view.producer(node.operands.get("x"))
        grown = _grown_exp(view, ranges, added)
        if grown and ((added is not None and added.op == "add") or _has_epsilon(view, node)):
            yield node, "the sum under the logarithm can reach 2^15, where it becomes 0"


@_rule("F19 F20 F22 F23", "subtract the maximum first: m + log(sum(exp(x - m)))")
def _log_sum_exp(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    for node in _engine(view, "reduce_log_sum_exp"):
        if ranges.of(node.operands.get("x"))[1] > 0:
            yield node, "the sum is taken without a shift by the maximum: past 65504 the result is 0"
    for node in _engine(view, "log"):
        summed = view.producer(node.operands.get("x"))
        if summed is not None and summed.op in ("reduce_sum", "cumsum") and _grown_exp(view, ranges, summed):
            yield node, "the sum of exponentials under the logarithm can overflow"


@_rule("F23 F39", "write (x - max(x)) - log(sum(exp(x - max(x)))), which takes no logarithm of 0")
def _log_of_softmax(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    del ranges
    for node in _engine(view, "log"):
        probability = view.producer(node.operands.get("x"))
        if probability is not None and probability.op == "softmax" and not _has_epsilon(view, node):
            yield node, "a small probability is 0 in half precision, and log(0) is -45440, whatever the input was"


@_rule("C3 C5 F48 U4", "clamp what goes into exp, or subtract the maximum first, so that no quotient is inf / inf")
def _unclamped_ratio_of_exponentials(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    for node in _engine(view, "real_div"):
        parts = [view.producer(node.operands.get(name)) for name in ("x", "y")]
        roots = [_exponentials(view, ranges, part) for part in parts]
        if roots[0] & roots[1]:
            yield node, "numerator and denominator both grow with one exp and can be inf / inf, which is 0"


@_rule("F30 F31 F32 F72 F62", "scale inputs or weights down so that no partial sum reaches 32768")
def _sums_past_two_to_the_fifteen(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    for node in _engine(view, *_PRODUCTS):
        weight = view.constant(node.operands.get("weight", node.operands.get("y")))
        if not isinstance(weight, np.ndarray) or weight.ndim < 2 or weight.dtype.kind != "f":
            continue
        taps = _row_sums(node, weight)
        if taps <= 0 or (node.op == "conv" and weight[0].size == 1):
            continue
        largest = max(map(abs, ranges.of(node.operands.get("x"))))
        needed = ROUNDS_TO_LIMIT / taps
        if needed <= (largest if math.isfinite(largest) else SMALL_INPUT):
            yield node, f"inputs of {needed:.4g} are enough for a sum of 2^15, which is inf"


@_rule("F42 F69", "write x exp(min(x, 0)) / (1 + exp(-|x|)) where 1 % matters")
def _native_silu(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    del ranges
    yield from ((node, "native silu is off by up to 1.3 %") for node in _engine(view, "silu"))


@_rule("F42 F70", "write x (1 + erf(x / sqrt(2))) / 2 and leave out the pass common::fuse_gelu_exact")
def _native_gelu(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    del ranges
    yield from ((node, "native gelu is off by up to 2.7 %") for node in _engine(view, "gelu"))


@_rule("F78 P14", "expect a transfer to the CPU and back; move it to the end, or write it with what the engine has")
def _not_implemented_on_the_engine(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    del ranges
    taken = _taken_by_the_engine(view)
    for node in view.nodes:
        standing = _standing(node)
        if standing is None or standing not in _LEAVING:
            continue
        # What stands at the end leaves the engine once, as every result does. By names alone no end is known.
        if view.gap is not None or any(tensor.name in taken for tensor in node.outputs):
            yield node, _LEAVING[standing]


def _standing(node: Node) -> Standing | None:
    """What became of an operation that was compiled alone; None for a part of a program and for what was not tried."""
    measured = accuracy.of(node.op)
    return None if measured is None or node.op in _PARTS or not node.outputs else measured.standing


def _taken_by_the_engine(view: View) -> set[str]:
    """The tensors that an operation on the engine takes, be it behind others that leave it."""
    taken = {name for node in view.nodes for block in node.blocks for name in block.outputs}
    for node in reversed(view.nodes):
        is_there = runs_on_engine(node) and node.op not in _PARTS and _standing(node) not in _LEAVING
        if is_there or any(tensor.name in taken for tensor in node.outputs):
            taken |= {each.name for each in _operands(node) if isinstance(each, Ref)}
    return taken


@_rule("F57 F77", "slice another axis, start at 0, or keep values below 4094")
def _slice_with_an_offset(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    for node in _engine(view, "slice_by_index", "slice_by_size", "nn_slice"):
        is_large = max(map(abs, ranges.of(node.operands.get("x")))) > ENCODED
        if is_large and node.outputs[0].dtype.is_float and _starts_inside(view, node):
            yield node, "a slice of the last axis that does not start at 0 makes values beyond 4094 inf on M1 and M2"


def _starts_inside(view: View, node: Node) -> bool:
    """Whether a slice is known to begin behind the first element of the last axis."""
    if node.op == "nn_slice":
        return view.constant(node.operands.get("axis")) == -1 and view.constant(node.operands.get("start")) != 0
    begin, mask = (view.constant(node.operands.get(name)) for name in ("begin", "begin_mask"))
    if not isinstance(begin, np.ndarray) or not begin.size or (isinstance(mask, np.ndarray) and mask.ravel()[-1]):
        return False
    return bool(begin.ravel()[-1] != 0)


@_rule("F77", "keep the activations in front of it below 4094, or leave these weights in half precision")
def _int8_product(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    for node in _engine(view, *_PRODUCTS):
        packed = view.producer(node.operands.get("weight", node.operands.get("y")))
        if packed is None or packed.op not in ("constexpr_affine_dequantize", "constexpr_blockwise_shift_scale"):
            continue
        if max(map(abs, ranges.of(node.operands.get("x")))) > ENCODED:
            yield node, "with int8 weights, activations beyond 4094 become inf"


@_rule("P6", "convert with compute_precision=FLOAT16 throughout, or accept two transfers")
def _single_precision_island(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    del ranges
    kinds = {tensor.dtype for node in view.nodes if node.op != "cast" for tensor in node.outputs}
    if DType.FP16 not in kinds:
        return
    for node in view.nodes:
        if node.op != "cast" and any(tensor.dtype is DType.FP32 for tensor in node.outputs):
            yield node, "single precision in a model of half precision runs on the CPU"


@_rule("F60 F61", "mask with -30000, or with a number that half precision holds")
def _mask_beyond_half_precision(view: View, ranges: Ranges) -> Iterator[tuple[Node, str]]:
    del ranges
    for node in view.nodes:
        if node.op in _CLAMPING or not node.outputs or not node.outputs[0].dtype.is_float:
            continue
        beyond = [value for operand in node.operands.values() for value in _beyond(view, operand)]
        if beyond:
            yield node, f"its constant {beyond[0]:.6g} is beyond 65504: -inf in half precision, or -65504"


def _beyond(view: View, operand: Operand) -> Iterator[float]:
    value = view.constant(operand)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size and value.min() < -fp16.MAX_FINITE:
        yield float(value.min())


def _row_sums(node: Node, weight: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """The largest sum of the magnitudes of the weights that one output is made with."""
    if node.op == "matmul":
        axis = -1 if node.operands.get("transpose_y") is not None else -2
        return float(np.abs(weight).sum(axis=axis).max())
    return float(np.abs(weight).reshape(len(weight), -1).sum(axis=-1).max())


def _has_epsilon(view: View, node: Node) -> bool:
    epsilon = view.constant(node.operands.get("epsilon"))
    return isinstance(epsilon, np.ndarray) and float(epsilon) >= fp16.MIN_SUBNORMAL * 1000


def _grown_exp(view: View, ranges: Ranges, node: Node | None) -> bool:
    """Whether a result is made of an exp by sums and can reach 2**15."""
    if node is None or node.op not in ("exp", "add", "reduce_sum", "cumsum"):
        return False
    return bool(_exponentials(view, ranges, node))


def _exponentials(view: View, ranges: Ranges, node: Node | None, depth: int = 8) -> set[str]:
    """The exps that a result grows with, where nothing keeps it below 2**15."""
    if node is None or depth == 0 or (node.outputs and _bounded(ranges, node)):
        return set()
    if node.op == "exp":
        return {node.name}
    if node.op not in _ELEMENTWISE or node.op in ("real_div", "inverse"):
        return set()
    return {name for each in _operands(node) for name in _exponentials(view, ranges, view.producer(each), depth - 1)}


def _operands(node: Node) -> Iterator[Operand]:
    """Every operand, those of a list one by one."""
    for value in node.operands.values():
        yield from value if isinstance(value, tuple) else (value,)


def _bounded(ranges: Ranges, node: Node) -> bool:
    return ranges.of(Ref(node.outputs[0].name))[1] < LIMIT
