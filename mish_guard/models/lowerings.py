"""The lowerings: every known way to write mish as MIL operations.

Each builder takes coremltools' MIL builder `mb`, the input variable `x` and the `name` of the result, and returns
the result variable. Its body is also the text that `ci/build_coremltools.py` writes into a coremltools tree, so a
body uses nothing but its three arguments and ends in one `return`.

What is known of a lowering on the Neural Engine (NE) names its source; `docs/evidence.md` holds the numbers.
`ct#N` stands for https://github.com/apple/coremltools/issues/N.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from mish_guard.errors import UsageError

AS_IS = "as-is"
SHIPPED = "exp"

# coremltools has no type annotations for its builder and variables.
MilBuilder: TypeAlias = Any
Var: TypeAlias = Any

# What writes one operation after the other and returns the last result, called so.
Build: TypeAlias = Callable[[MilBuilder, Var, str], Var]


def softplus(mb: MilBuilder, x: Var, name: str) -> Var:
    """What coremltools registers up to 9.1.dev1."""
    softplus = mb.softplus(x=x)
    tanh = mb.tanh(x=softplus)
    return mb.mul(x=x, y=tanh, name=name)


def exp(mb: MilBuilder, x: Var, name: str) -> Var:
    """The fix of ct#2618."""
    # Core ML's softplus returns 0 on the Neural Engine where exp(x) >= 2**15. Here an overflow of e * (e + 2)
    # is harmless: 2 / inf = 0 and the result is x. The clip keeps exp away from -inf, where 0 * inf would appear.
    clipped = mb.clip(x=x, alpha=-100.0, beta=float("inf"))
    e = mb.exp(x=clipped)
    # tanh(softplus(x)) = product / (product + 2) with product = e * (e + 2), and that is 1 / (1 + 2 / product).
    product = mb.mul(x=e, y=mb.add(x=e, y=2.0))
    denominator = mb.add(x=mb.real_div(x=2.0, y=product), y=1.0)
    return mb.real_div(x=x, y=denominator, name=name)


def exp_unclamped(mb: MilBuilder, x: Var, name: str) -> Var:
    """The fix of ct#2618 without its clip."""
    e = mb.exp(x=x)
    product = mb.mul(x=e, y=mb.add(x=e, y=2.0))
    denominator = mb.add(x=mb.real_div(x=2.0, y=product), y=1.0)
    return mb.real_div(x=x, y=denominator, name=name)


def stable_softplus(mb: MilBuilder, x: Var, name: str) -> Var:
    """The softplus of ct#2725, used inside mish."""
    t = mb.exp(x=mb.mul(x=mb.abs(x=x), y=-1.0))
    softplus = mb.add(x=mb.relu(x=x), y=mb.log(x=mb.add(x=t, y=1.0)))
    return mb.mul(x=x, y=mb.tanh(x=softplus), name=name)


def sigmoid_blend(mb: MilBuilder, x: Var, name: str) -> Var:
    """The work-around of ct#2359: native softplus below 10.39, x above, blended by a sigmoid."""
    weight = mb.sigmoid(x=mb.sub(x=x, y=10.39))
    below = mb.softplus(x=mb.minimum(x=x, y=10.39))
    linear_part = mb.mul(x=x, y=weight)
    softplus_part = mb.mul(x=below, y=mb.sub(x=1.0, y=weight))
    softplus = mb.add(x=linear_part, y=softplus_part)
    return mb.mul(x=x, y=mb.tanh(x=softplus), name=name)


def capped_softplus(mb: MilBuilder, x: Var, name: str) -> Var:
    """Native softplus on min(x, 10), the rest added by relu."""
    capped = mb.softplus(x=mb.minimum(x=x, y=10.0))
    softplus = mb.add(x=capped, y=mb.relu(x=mb.sub(x=x, y=10.0)))
    return mb.mul(x=x, y=mb.tanh(x=softplus), name=name)


def ratio(mb: MilBuilder, x: Var, name: str) -> Var:
    """The exp form with one division less: inf / inf once e * (e + 2) overflows."""
    e = mb.exp(x=x)
    product = mb.mul(x=e, y=mb.add(x=e, y=2.0))
    fraction = mb.real_div(x=product, y=mb.add(x=product, y=2.0))
    return mb.mul(x=x, y=fraction, name=name)


def naive_log(mb: MilBuilder, x: Var, name: str) -> Var:
    """Softplus written out: exp, one more, log."""
    softplus = mb.log(x=mb.add(x=mb.exp(x=x), y=1.0))
    return mb.mul(x=x, y=mb.tanh(x=softplus), name=name)


def ratio_capped(mb: MilBuilder, x: Var, name: str) -> Var:
    """The textbook fraction with its exponential capped."""
    # n + 2 = 22324 at the cap: below 2**15, and n / (n + 2) is 1 in half precision. In single precision it is
    # 0.99991, which is what this cap costs there.
    e = mb.exp(x=mb.minimum(x=x, y=5.0))
    n = mb.mul(x=e, y=mb.add(x=e, y=2.0))
    return mb.mul(x=x, y=mb.real_div(x=n, y=mb.add(x=n, y=2.0)), name=name)


def nested(mb: MilBuilder, x: Var, name: str) -> Var:
    """The fraction cancelled by e + 2: nothing is larger than e itself."""
    # e = exp(min(x, 10)). exp(10) = 22026 stays below 2**15, from where on softplus is 0 on the Neural Engine and sums
    # may overflow there.
    e = mb.exp(x=mb.minimum(x=x, y=10.0))
    # tanh(softplus(x)) = n / (n + 2) with n = e * (e + 2); cancelled by e + 2 it is e / (e + rest), and rest is
    # 2 / (e + 2): nothing is larger than e itself.
    rest = mb.real_div(x=2.0, y=mb.add(x=e, y=2.0))
    # At the cap the fraction is 1 - 4e-9, which is 1 in half and in single precision. For small e it is e: the negative
    # tail stays.
    fraction = mb.real_div(x=e, y=mb.add(x=e, y=rest))
    return mb.mul(x=x, y=fraction, name=name)


def nested_half(mb: MilBuilder, x: Var, name: str) -> Var:
    """The nested fraction with exp(x / 2) taken twice, so that no factor of the negative tail is subnormal."""
    h = mb.exp(x=mb.mul(x=mb.minimum(x=x, y=10.0), y=0.5))
    e = mb.mul(x=h, y=h)
    denominator = mb.add(x=e, y=mb.real_div(x=2.0, y=mb.add(x=e, y=2.0)))
    return mb.mul(x=mb.mul(x=x, y=mb.real_div(x=h, y=denominator)), y=h, name=name)


def sigmoid_ratio(mb: MilBuilder, x: Var, name: str) -> Var:
    """The fraction written in the logistic function: nothing can overflow."""
    s = mb.sigmoid(x=x)
    p = mb.mul(x=s, y=mb.sub(x=2.0, y=s))
    return mb.mul(x=x, y=mb.real_div(x=p, y=mb.sub(x=2.0, y=p)), name=name)


def two_sided(mb: MilBuilder, x: Var, name: str) -> Var:
    """The fraction in exp(min(x, 0)) and exp(min(-x, 0)), neither of which exceeds 1: needs no cap."""
    negative = mb.minimum(x=x, y=0.0)
    a = mb.exp(x=negative)
    b = mb.exp(x=mb.sub(x=negative, y=x))
    twice = mb.add(x=b, y=b)
    n = mb.mul(x=a, y=mb.add(x=a, y=twice))
    denominator = mb.add(x=n, y=mb.mul(x=b, y=twice))
    return mb.mul(x=x, y=mb.real_div(x=n, y=denominator), name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowering:
    """One row of the table: the builder, its formula, where it comes from and what is known of it.

    `recommended` marks the form to use: few operations, the negative tail kept, one cap for half and single precision.
    """

    name: str
    build: Build
    formula: str
    source: str
    known: str
    recommended: bool = False


TABLE: dict[str, Lowering] = {
    row.name: row
    for row in (
        Lowering(
            name="softplus",
            build=softplus,
            formula="x * tanh(softplus(x))",
            source="coremltools up to 9.1.dev1",
            known="0 from x = 10.3984375 on: M1 Pro, M3 Max, M4 Pro, M5 (ct#2687, ct#2618, ANEForge #113)",
        ),
        Lowering(
            name="exp",
            build=exp,
            formula="x / (1 + 2 / (e (e + 2))), e = exp(clip(x, -100, inf))",
            source="ct#2618",
            known="mean absolute error of a KataGo-like net on the NE 2.955 -> 0.0017 (ct#2618)",
        ),
        Lowering(
            name="exp-unclamped",
            build=exp_unclamped,
            formula="x / (1 + 2 / (e (e + 2))), e = exp(x)",
            source="ct#2618 without the clip; KataGo's bundled MIL converter",
            known="shipped by KataGo on the NE without a report of trouble",
        ),
        Lowering(
            name="stable-softplus",
            build=stable_softplus,
            formula="x * tanh(max(x, 0) + log(1 + exp(-|x|)))",
            source="ct#2725",
            known="no cliff on an M3 Max, says the reporter of ct#2687",
        ),
        Lowering(
            name="sigmoid-blend",
            build=sigmoid_blend,
            formula="x * tanh(x s + (1 - s) softplus(min(x, 10.39))), s = sigmoid(x - 10.39)",
            source="ct#2359",
            known="mean absolute error of a KataGo-like net on the NE 0.0018 (ct#2359)",
        ),
        Lowering(
            name="capped-softplus",
            build=capped_softplus,
            formula="x * tanh(softplus(min(x, 10)) + relu(x - 10))",
            source="ANEForge's fix of its softplus",
            known="no cliff on an M5 (ANEForge #114)",
        ),
        Lowering(
            name="ratio",
            build=ratio,
            formula="x * n / (n + 2), n = e (e + 2), e = exp(x)",
            source="the textbook simplification",
            known="not measured on the NE; inf / inf by arithmetic from x = 5.54 on",
        ),
        Lowering(
            name="naive-log",
            build=naive_log,
            formula="x * tanh(log(1 + exp(x)))",
            source="softplus written out",
            known="not measured on the NE; the same cliff is inferred",
        ),
        Lowering(
            name="nested",
            build=nested,
            formula="x e / (e + 2 / (e + 2)), e = exp(min(x, 10))",
            source="ci/search_lowerings.py",
            known="not measured on the NE; no value exceeds 2**15 but x itself",
            recommended=True,
        ),
        Lowering(
            name="nested-half",
            build=nested_half,
            formula="(x h / (e + 2 / (e + 2))) h, h = exp(min(x, 10) / 2), e = h h",
            source="nested, with the exponential halved",
            known="not measured on the NE",
        ),
        Lowering(
            name="ratio-capped",
            build=ratio_capped,
            formula="x n / (n + 2), n = e (e + 2), e = exp(min(x, 5))",
            source="ci/search_lowerings.py",
            known="not measured on the NE; its cap is for half precision only",
        ),
        Lowering(
            name="sigmoid-ratio",
            build=sigmoid_ratio,
            formula="x p / (2 - p), p = s (2 - s), s = sigmoid(x)",
            source="ci/search_lowerings.py",
            known="not measured on the NE, whose sigmoid is a table with an error of 0.0034 (ANEForge)",
        ),
        Lowering(
            name="two-sided",
            build=two_sided,
            formula="x n / (n + 2 b b), n = a (a + 2 b), a = exp(min(x, 0)), b = exp(min(-x, 0))",
            source="the fraction, expanded by exp(min(-x, 0)) squared",
            known="not measured on the NE",
        ),
    )
}


def get(name: str) -> Lowering:
    """The row called `name`; raises UsageError with the names there are."""
    try:
        return TABLE[name]
    except KeyError:
        msg = f"No lowering is called '{name}'. Choose one of: {AS_IS}, {', '.join(TABLE)}."
        raise UsageError(msg) from None


def converter_body(lowering: Lowering) -> str:
    """The body of a `mish(context, node)` converter with this lowering, as it stands in coremltools' ops.py.

    Unindented text that uses the names `_get_inputs` and `mb` of that file. It is made from the source of the
    builder above, so the table and a patched tree cannot differ.
    """
    source = textwrap.dedent(inspect.getsource(lowering.build))
    function = ast.parse(source).body[0]
    if not isinstance(function, ast.FunctionDef) or not isinstance(function.body[-1], ast.Return):
        msg = f"The builder of '{lowering.name}' must be one function that ends in a return."
        raise TypeError(msg)
    lines = source.splitlines()
    first_line_after_docstring = function.body[0].end_lineno or 1
    statements = textwrap.dedent("\n".join(lines[first_line_after_docstring:])).replace("name=name", "name=node.name")
    kept, _, result = statements.rpartition("return ")
    return f"x = _get_inputs(context, node, expected=1)[0]\n{kept}context.add({result.strip()})\n"


@contextlib.contextmanager
def registered(name: str) -> Iterator[None]:
    """Convert mish through lowering `name` inside the block; the candidate's own converter is always put back.

    `as-is` changes nothing. Raises UsageError for an unknown name.
    """
    if name == AS_IS:
        yield
        return
    build = get(name).build

    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.frontend.torch import register_torch_op
    from coremltools.converters.mil.frontend.torch.ops import _get_inputs
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    original = registered_converter()

    def mish(context: MilBuilder, node: Var) -> None:
        (x,) = _get_inputs(context, node, expected=1)
        context.add(build(Builder, x, node.name))

    register_torch_op(mish, override=True)
    try:
        yield
    finally:
        if original is None:
            _TORCH_OPS_REGISTRY.name_to_func_mapping.pop("mish")
        else:
            _TORCH_OPS_REGISTRY.set_func_by_name(original, "mish")


def registered_converter() -> Callable[..., None] | None:
    """The function that the imported coremltools has registered for `mish`; None if there is none."""
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    converter: Callable[..., None] | None = _TORCH_OPS_REGISTRY.get_func("mish")
    return converter
