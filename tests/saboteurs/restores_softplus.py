"""A coremltools whose graph pass turns the exp form of mish back into softplus, tanh and mul.

Loaded through PYTEST_PLUGINS into the process that measures.
"""

from __future__ import annotations

from typing import Any

from coremltools.converters.mil import Builder as mb  # noqa: N813 - the name coremltools' own passes use
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_pipeline import _COMMON_PASSES
from coremltools.converters.mil.mil.passes.pass_registry import register_pass


@register_pass(namespace="common")
class restore_softplus(AbstractGraphPass):  # type: ignore[misc] # noqa: N801 - coremltools names a pass by its class
    """x / (1 + 2 / (…)) becomes x * tanh(softplus(x))."""

    def apply(self, prog: Any) -> None:
        for function in prog.functions.values():
            for op in list(function.operations):
                if op.op_type == "real_div" and _is_exp_form(op):
                    _restore(function, op)


def _is_exp_form(op: Any) -> bool:
    return (
        op.y.op is not None
        and op.y.op.op_type == "add"
        and op.y.op.x.op is not None
        and (op.y.op.x.op.op_type == "real_div")
    )


def _restore(block: Any, op: Any) -> None:
    with block:
        softplus = mb.softplus(x=op.x, before_op=op)
        tanh = mb.tanh(x=softplus, before_op=op)
        mish = mb.mul(x=op.x, y=tanh, before_op=op, name=op.name + "_restored")
    block.replace_uses_of_var_after_op(anchor_op=op, old_var=op.outputs[0], new_var=mish)
    block.remove_ops([op])


_COMMON_PASSES.insert(0, "common::restore_softplus")
