"""The zoo: edits of a coremltools tree, in families; the bad ones must be killed, the good ones must pass.

Each is the body of the converter of mish (`x`, `mb`, `node` and `context` are its names, the result is `res`) or a file
of the package with other text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import trees

INF = 'float("inf")'


@dataclass(frozen=True, eq=False)
class Animal:
    """One edited tree: its family, its name, the files that differ, whether it is good, and options of the gate."""

    family: str
    name: str
    files: Mapping[str, str]
    good: bool = False
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"


def body(*lines: str) -> str:
    """Lines of Python as the body of the converter."""
    return "".join(f"    {line}\n" for line in lines)


def exp_form(
    *,
    clip: str = "mb.clip(x=x, alpha=-100.0, beta=float('inf'))",
    two: str = "2.0",
    inner: str = "2.0",
    one: str = "1.0",
    last: str = "mb.real_div(x=x, y=d, name=node.name)",
) -> str:
    """The good form with one of its parts replaced."""
    return body(
        f"e = mb.exp(x={clip})",
        f"p = mb.mul(x=e, y=mb.add(x=e, y={inner}))",
        f"d = mb.add(x=mb.real_div(x={two}, y=p), y={one})",
        f"res = {last}",
    )


SOFTPLUS = "mb.softplus(x=x)"
_TIMES_TANH = "res = mb.mul(x=x, y=mb.tanh(x={}), name=node.name)"


def through(softplus: str, *before: str) -> str:
    """x * tanh(…) of some softplus."""
    return body(*before, _TIMES_TANH.format(softplus))


def when(condition: str, bad: str, good: str = trees.GOOD) -> str:
    """`bad` where a condition on x and node holds, `good` elsewhere."""
    indented = "".join(f"    {line}\n" for line in bad.splitlines())
    otherwise = "".join(f"    {line}\n" for line in good.splitlines())
    return f"    if {condition}:\n{indented}    else:\n{otherwise}"


# What a converter of mish can know of the call that it serves: the arguments of `ct.convert`.
GIVEN = """    import sys
    frame = sys._getframe()
    while frame.f_code.co_name != "convert" or "minimum_deployment_target" not in frame.f_locals:
        frame = frame.f_back
    given = frame.f_locals
"""

NATIVE = {
    "plain": trees.RELEASED,
    "by tanh first": body("t = mb.tanh(x=mb.softplus(x=x))", "res = mb.mul(x=t, y=x, name=node.name)"),
    "of a copy": through("mb.softplus(x=mb.identity(x=x))"),
    "of x times 1": through("mb.softplus(x=mb.mul(x=x, y=1.0))"),
    "behind a select at 20": body(
        f"t = mb.mul(x=x, y=mb.tanh(x={SOFTPLUS}))",
        "res = mb.select(cond=mb.greater(x=x, y=20.0), a=x, b=t, name=node.name)",
    ),
    "behind a select at 10.5": body(
        f"t = mb.mul(x=x, y=mb.tanh(x={SOFTPLUS}))",
        "res = mb.select(cond=mb.greater(x=x, y=10.5), a=x, b=t, name=node.name)",
    ),
    "of the positive part": through(f"mb.softplus(x=mb.clip(x=x, alpha=-100.0, beta={INF}))"),
    "of x clipped at 11": through("mb.softplus(x=mb.clip(x=x, alpha=-100.0, beta=11.0))"),
    "halved and doubled": through("mb.mul(x=mb.mul(x=mb.softplus(x=x), y=0.5), y=2.0)"),
    "through sigmoid of it": body(
        f"s = {SOFTPLUS}",
        "t = mb.sub(x=mb.mul(x=mb.sigmoid(x=mb.mul(x=s, y=2.0)), y=2.0), y=1.0)",
        "res = mb.mul(x=x, y=t, name=node.name)",
    ),
    "average with the good form": body(
        "e = mb.exp(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')))",
        "g = mb.real_div(x=x, y=mb.add(x=mb.real_div(x=2.0, y=mb.mul(x=e, y=mb.add(x=e, y=2.0))), y=1.0))",
        f"b = mb.mul(x=x, y=mb.tanh(x={SOFTPLUS}))",
        "res = mb.mul(x=mb.add(x=g, y=b), y=0.5, name=node.name)",
    ),
    "only for one channel": when("len(x.shape) == 4 and x.shape[1] == 1", trees.RELEASED),
    "only for many channels": when("len(x.shape) == 4 and x.shape[1] > 1", trees.RELEASED),
    "only for images of more than a thousand pixels": when("len(x.shape) == 4 and x.shape[2] > 32", trees.RELEASED),
    "only in half precision": GIVEN
    + when("getattr(given['compute_precision'], 'name', 'FLOAT16') == 'FLOAT16'", trees.RELEASED),
    "only from torch.export": when("context.frontend.name == 'TORCHEXPORT'", trees.RELEASED),
    "only from torchscript": when("context.frontend.name == 'TORCHSCRIPT'", trees.RELEASED),
    "only for rank 2": when("len(x.shape) == 2", trees.RELEASED),
    "only for other ranks than 4": when("len(x.shape) != 4", trees.RELEASED),
}

LOGARITHMS = {
    "log(1 + e)": through("mb.log(x=mb.add(x=mb.exp(x=x), y=1.0))"),
    "log with epsilon": through("mb.log(x=mb.add(x=mb.exp(x=x), y=1.0), epsilon=1e-7)"),
    "exp2": through("mb.log(x=mb.add(x=mb.exp2(x=mb.mul(x=x, y=1.4426950408889634)), y=1.0))"),
    "minus log of sigmoid": through("mb.mul(x=mb.log(x=mb.sigmoid(x=mb.mul(x=x, y=-1.0))), y=-1.0)"),
    "log of one minus sigmoid": through("mb.mul(x=mb.log(x=mb.sub(x=1.0, y=mb.sigmoid(x=x))), y=-1.0)"),
    "log-sum-exp with 0": through(
        "mb.reduce_log_sum_exp(x=mb.stack(values=[x, mb.mul(x=x, y=0.0)], axis=-1), axes=[-1], keep_dims=False)"
    ),
    "log of e plus a variable one": through("mb.log(x=mb.add(x=mb.exp(x=x), y=mb.exp(x=mb.mul(x=x, y=0.0))))"),
    "log of the square root twice": through("mb.mul(x=mb.log(x=mb.sqrt(x=mb.add(x=mb.exp(x=x), y=1.0))), y=2.0)"),
}

OVERFLOWS = {
    "n / (n + 2)": body(
        "e = mb.exp(x=x)",
        "n = mb.mul(x=e, y=mb.add(x=e, y=2.0))",
        "res = mb.mul(x=x, y=mb.real_div(x=n, y=mb.add(x=n, y=2.0)), name=node.name)",
    ),
    "x n / (n + 2)": body(
        "e = mb.exp(x=x)",
        "n = mb.mul(x=e, y=mb.add(x=e, y=2.0))",
        "res = mb.real_div(x=mb.mul(x=x, y=n), y=mb.add(x=n, y=2.0), name=node.name)",
    ),
    "squares": body(
        "s = mb.square(x=mb.add(x=mb.exp(x=x), y=1.0))",
        "res = mb.mul(x=x, y=mb.real_div(x=mb.sub(x=s, y=1.0), y=mb.add(x=s, y=1.0)), name=node.name)",
    ),
    "tanh by exponentials": body(
        "s = mb.log(x=mb.add(x=mb.exp(x=x), y=1.0))",
        "e = mb.exp(x=mb.mul(x=s, y=2.0))",
        "res = mb.mul(x=x, y=mb.real_div(x=mb.sub(x=e, y=1.0), y=mb.add(x=e, y=1.0)), name=node.name)",
    ),
    "capped too late": body(
        "e = mb.exp(x=mb.clip(x=x, alpha=-100.0, beta=8.0))",
        "n = mb.mul(x=e, y=mb.add(x=e, y=2.0))",
        "res = mb.mul(x=x, y=mb.real_div(x=n, y=mb.add(x=n, y=2.0)), name=node.name)",
    ),
}

CONSTANTS = {
    "two is 2.1": exp_form(two="2.1"),
    "two is 1.9": exp_form(two="1.9"),
    "inner two is 2.2": exp_form(inner="2.2"),
    "inner two is 1.8": exp_form(inner="1.8"),
    "two is 2.01": exp_form(two="2.01"),
    "one is 0.999": exp_form(one="0.999"),
    "clip at -5": exp_form(clip=f"mb.clip(x=x, alpha=-5.0, beta={INF})"),
    "flat from +20 on": exp_form(last="mb.real_div(x=mb.minimum(x=x, y=20.0), y=d, name=node.name)"),
    "one is 0.99": exp_form(one="0.99"),
    "one is 1.01": exp_form(one="1.01"),
    "one is 0": exp_form(one="0.0"),
    "clip at -3": exp_form(clip=f"mb.clip(x=x, alpha=-3.0, beta={INF})"),
    "clip at 0": exp_form(clip=f"mb.clip(x=x, alpha=0.0, beta={INF})"),
    "clip at +2": exp_form(clip="mb.clip(x=x, alpha=-100.0, beta=2.0)"),
    "scaled by 1.01": exp_form(last="mb.mul(x=mb.real_div(x=x, y=d), y=1.01, name=node.name)"),
    "shifted by 0.01": exp_form(last="mb.add(x=mb.real_div(x=x, y=d), y=0.01, name=node.name)"),
}

OPERANDS = {
    "quotient upside down": exp_form(last="mb.real_div(x=d, y=x, name=node.name)"),
    "product for quotient": exp_form(last="mb.mul(x=x, y=d, name=node.name)"),
    "exp of minus x": exp_form(clip="mb.mul(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')), y=-1.0)"),
    "inner quotient upside down": body(
        "e = mb.exp(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')))",
        "p = mb.mul(x=e, y=mb.add(x=e, y=2.0))",
        "res = mb.real_div(x=x, y=mb.add(x=mb.real_div(x=p, y=2.0), y=1.0), name=node.name)",
    ),
    "e for x": exp_form(last="mb.real_div(x=e, y=d, name=node.name)"),
    "minus for plus": body(
        "e = mb.exp(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')))",
        "p = mb.mul(x=e, y=mb.add(x=e, y=2.0))",
        "res = mb.real_div(x=x, y=mb.sub(x=1.0, y=mb.real_div(x=2.0, y=p)), name=node.name)",
    ),
}

OTHERS = {
    "silu": body("res = mb.silu(x=x, name=node.name)"),
    "gelu": body('res = mb.gelu(x=x, mode="EXACT", name=node.name)'),
    "gelu by tanh": body('res = mb.gelu(x=x, mode="TANH_APPROXIMATION", name=node.name)'),
    "relu": body("res = mb.relu(x=x, name=node.name)"),
    "elu": body("res = mb.elu(x=x, alpha=1.0, name=node.name)"),
    "x itself": body("res = mb.identity(x=x, name=node.name)"),
    "zero": body("res = mb.mul(x=x, y=0.0, name=node.name)"),
    "x times sigmoid of 1.7 x": body("res = mb.mul(x=x, y=mb.sigmoid(x=mb.mul(x=x, y=1.7)), name=node.name)"),
    "softplus without tanh": body("res = mb.softplus(x=x, name=node.name)"),
}

LOSSES = {
    "rounded to eighths": exp_form(
        last="mb.mul(x=mb.round(x=mb.mul(x=mb.real_div(x=x, y=d), y=8.0)), y=0.125, name=node.name)"
    ),
    "through 8 bits of offset": exp_form(
        last="mb.sub(x=mb.add(x=mb.real_div(x=x, y=d), y=64.0), y=64.0, name=node.name)"
    ),
    "exponent rounded by a sum of 20": exp_form(clip="mb.sub(x=mb.relu(x=mb.add(x=x, y=20.0)), y=20.0)"),
    "flat below -4": exp_form(
        last="mb.select(cond=mb.less(x=x, y=-4.0), a=mb.mul(x=x, y=0.0), b=mb.real_div(x=x, y=d), name=node.name)"
    ),
    "flat above 100": exp_form(last="mb.clip(x=mb.real_div(x=x, y=d), alpha=-1.0, beta=100.0, name=node.name)"),
}

SIGNS = {
    "minus": exp_form(last="mb.mul(x=mb.real_div(x=x, y=d), y=-1.0, name=node.name)"),
    "absolute value": exp_form(last="mb.abs(x=mb.real_div(x=x, y=d), name=node.name)"),
    "negative part cut": exp_form(last="mb.relu(x=mb.real_div(x=x, y=d), name=node.name)"),
}

FAULTS = {
    "raises": body("raise ValueError('no')", "res = x"),
    "a name that is not there": body("res = mb.mul(x=x, y=undefined, name=node.name)"),
    "an operation that is not there": body("res = mb.mish(x=x, name=node.name)"),
    "ends the process": body("import os; os._exit(0)", "res = x"),
    "ends with SystemExit": body("raise SystemExit(0)", "res = x"),
    "is ended by a signal": body("import os; os.kill(os.getpid(), 11)", "res = x"),
    "changes the shape": exp_form(last="mb.expand_dims(x=mb.real_div(x=x, y=d), axes=[0], name=node.name)"),
}

CAPPED = body(
    "e = mb.exp(x=mb.minimum(x=x, y=5.0))",
    "n = mb.mul(x=e, y=mb.add(x=e, y=2.0))",
    "res = mb.mul(x=x, y=mb.real_div(x=n, y=mb.add(x=n, y=2.0)), name=node.name)",
)

HANGS = body("import time", "while True: time.sleep(9)", "res = x")

GOOD = {
    "the form of the table": exp_form(),
    "clip at -90": exp_form(clip=f"mb.clip(x=x, alpha=-90.0, beta={INF})"),
    "clip at -50": exp_form(clip=f"mb.clip(x=x, alpha=-50.0, beta={INF})"),
    "constants of numpy": exp_form(two="np.float32(2.0)", inner="np.float32(2.0)", one="np.float32(1.0)"),
    "sum the other way round": body(
        "e = mb.exp(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')))",
        "p = mb.mul(x=mb.add(x=2.0, y=e), y=e)",
        "d = mb.add(x=1.0, y=mb.real_div(x=2.0, y=p))",
        "res = mb.real_div(x=x, y=d, name=node.name)",
    ),
    "product of x and the inverse": exp_form(last="mb.mul(x=x, y=mb.real_div(x=1.0, y=d), name=node.name)"),
    "inverse by its operation": exp_form(last="mb.mul(x=x, y=mb.inverse(x=d), name=node.name)"),
    "maximum for clip": exp_form(clip="mb.maximum(x=x, y=-100.0)"),
    "minimum and maximum for clip": exp_form(clip="mb.minimum(x=mb.maximum(x=x, y=-100.0), y=60000.0)"),
    "squared plus twice": body(
        "e = mb.exp(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')))",
        "p = mb.add(x=mb.mul(x=e, y=e), y=mb.mul(x=e, y=2.0))",
        "res = mb.real_div(x=x, y=mb.add(x=mb.real_div(x=2.0, y=p), y=1.0), name=node.name)",
    ),
    "n / (n + 2) with a cap at 5": CAPPED,
    "x n / (n + 2) with a cap at 4.5": body(
        "e = mb.exp(x=mb.minimum(x=x, y=4.5))",
        "n = mb.mul(x=e, y=mb.add(x=e, y=2.0))",
        "res = mb.mul(x=mb.real_div(x=n, y=mb.add(x=n, y=2.0)), y=x, name=node.name)",
    ),
    "an identity in front": "    x = mb.identity(x=x)\n" + exp_form(),
    "an identity behind": exp_form(last="mb.identity(x=mb.real_div(x=x, y=d), name=node.name)"),
    "an identity in the middle": exp_form(clip="mb.identity(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')))"),
    "clip with a large upper end": exp_form(clip="mb.clip(x=x, alpha=-100.0, beta=60000.0)"),
    "exp as a square": body(
        "h = mb.exp(x=mb.mul(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')), y=0.5))",
        "e = mb.mul(x=h, y=h)",
        "p = mb.mul(x=e, y=mb.add(x=e, y=2.0))",
        "res = mb.real_div(x=x, y=mb.add(x=mb.real_div(x=2.0, y=p), y=1.0), name=node.name)",
    ),
    "one divided inside": body(
        "e = mb.exp(x=mb.clip(x=x, alpha=-100.0, beta=float('inf')))",
        "q = mb.real_div(x=2.0, y=mb.mul(x=e, y=mb.add(x=e, y=2.0)))",
        "res = mb.real_div(x=x, y=mb.add(x=q, y=1.0), name=node.name)",
    ),
    "the form through a function": "    def divided(a, b, **more): return mb.real_div(x=a, y=b, **more)\n"
    + exp_form(last="divided(x, d, name=node.name)"),
    "prints what it does": body("print('mish' * 1000)") + exp_form(),
}

FAMILIES = {
    "native softplus": NATIVE,
    "logarithms": LOGARITHMS,
    "overflow": OVERFLOWS,
    "constants": CONSTANTS,
    "operands": OPERANDS,
    "another function": OTHERS,
    "precision": LOSSES,
    "sign": SIGNS,
    "faults": FAULTS,
}

_PASS = (Path(__file__).parents[1] / "saboteurs" / "restores_softplus.py").read_text()
_FIRST = '_COMMON_PASSES.insert(0, "common::restore_softplus")'
_APPLY = """                if op.op_type == "real_div" and _is_exp_form(op):
                    _restore(function, op)
"""


def _replaced(old: str, new: str) -> str:
    assert _PASS.count(old) == 1
    return _PASS.replace(old, new)


_WITHOUT_CAP = """                if op.op_type == "minimum":
                    function.replace_uses_of_var_after_op(anchor_op=op, old_var=op.outputs[0], new_var=op.x)
                    function.remove_ops([op])
"""

# What the pass does, the converter that it comes after, and whether that is good.
PASSES = {
    "turns the good form back into softplus": (_PASS, trees.GOOD, False),
    "turns it back behind all others": (_replaced(_FIRST, _FIRST.replace("insert(0, ", "append(")), trees.GOOD, False),
    "drops the cap": (_replaced(_APPLY, _WITHOUT_CAP), CAPPED, False),
    "turns back what nobody wrote": (_replaced('"real_div" and', '"floor_div" and'), trees.GOOD, True),
}


def _with_pass(text: str, mish: str) -> dict[str, str]:
    imported = f"{trees.source('__init__.py')}\nfrom . import restores_softplus\n"
    return {**trees.with_mish(mish), "restores_softplus.py": text, "__init__.py": imported}


ANIMALS = (
    *(
        Animal(family, name, trees.with_mish(text))
        for family, bodies in FAMILIES.items()
        for name, text in bodies.items()
    ),
    Animal("faults", "never ends", trees.with_mish(HANGS), options=("--conversion-seconds=5",)),
    *(
        Animal("good" if good else "graph passes", name, _with_pass(text, mish), good)
        for name, (text, mish, good) in PASSES.items()
    ),
    *(Animal("good", name, trees.with_mish(text), good=True) for name, text in GOOD.items()),
)
