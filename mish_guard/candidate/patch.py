"""Rewrite the body of the converter registered for mish, found by syntax tree; the rest stays byte for byte."""

from __future__ import annotations

import ast
import difflib
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from mish_guard.errors import UsageError
from mish_guard.models import lowerings
from mish_guard.records import CONVERTERS

OPS = Path(CONVERTERS)

_DECORATOR = "register_torch_op"
_RELEASED = ["softplus", "tanh", "mul"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The text of ops.py before and after; equal if the tree already holds the lowering."""

    before: str
    after: str

    @property
    def diff(self) -> str:
        """Unified diff; empty if nothing changes."""
        before, after = _lines(self.before), _lines(self.after)
        return "".join(difflib.unified_diff(before, after, fromfile=f"a/{OPS}", tofile=f"b/{OPS}"))


def apply(tree: Path, lowering: str) -> Patch:
    """Write `lowering` into the tree's ops.py; `as-is` and a tree that holds it already change nothing.

    Raises UsageError for a tree without ops.py, with a syntax error in it, with no or several converters for mish, or
    with one that is neither the released form nor this lowering.
    """
    path = tree / OPS
    try:
        before = path.read_bytes().decode("utf-8")
    except OSError as error:
        msg = f"'{tree}' has no {OPS}: {error.strerror or error}. Name a coremltools source tree."
        raise UsageError(msg) from error
    made = Patch(before=before, after=patched(before, lowering))
    if made.after != made.before:
        path.write_bytes(made.after.encode("utf-8"))
    return made


def patched(text: str, lowering: str) -> str:
    """The text of ops.py with `lowering` as the converter of mish; raises UsageError as `apply` does."""
    if lowering == lowerings.AS_IS:
        return text
    function = _converter(text)
    body = _body(function, lowering)
    if _same(function, body):
        return text
    if _operations(function) != _RELEASED:
        msg = (
            f"The converter of mish at line {function.lineno} of ops.py is neither the released one nor '{lowering}': "
            "it was patched before. Restore it, or build the tree as-is."
        )
        raise UsageError(msg)
    return _with_body(text, function, body)


def _converter(text: str) -> ast.FunctionDef:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        msg = f"ops.py has a syntax error at line {error.lineno}: {error.msg}. Repair the tree."
        raise UsageError(msg) from error
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and "mish" in _registered_names(node)]
    if len(found) != 1:
        lines = ", ".join(str(node.lineno) for node in found)
        msg = f"ops.py registers {len(found)} converters for mish{f' (lines {lines})' if found else ''}; expected one."
        raise UsageError(msg)
    return found[0]


def _registered_names(function: ast.FunctionDef) -> set[str]:
    """The torch operations that a function converts: its own name and its aliases, if it is registered at all."""
    for decorator in function.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(call, ast.Name) and call.id == _DECORATOR:
            constants = (each.value for each in ast.walk(decorator) if isinstance(each, ast.Constant))
            return {function.name, *(value for value in constants if isinstance(value, str))}
    return set()


def _operations(function: ast.FunctionDef) -> list[str]:
    """The MIL operations of a converter, in order."""
    calls = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "mb"
    ]
    ordered = sorted(calls, key=lambda call: (call.lineno, call.col_offset))
    return [call.func.attr for call in ordered if isinstance(call.func, ast.Attribute)]


def _body(function: ast.FunctionDef, lowering: str) -> str:
    """The lowering's text for a converter whose arguments may have names of their own."""
    body = lowerings.converter_body(lowerings.get(lowering))
    given = [argument.arg for argument in function.args.args]
    return body if given == ["context", "node"] else f"context, node = {', '.join(given)}\n{body}"


def _same(function: ast.FunctionDef, body: str) -> bool:
    return [ast.dump(each) for each in function.body] == [ast.dump(each) for each in ast.parse(body).body]


def _with_body(text: str, function: ast.FunctionDef, body: str) -> str:
    lines = _lines(text)
    start, end = function.body[0], function.body[-1]
    first, last = start.lineno - 1, end.end_lineno or end.lineno
    newline = "\r\n" if lines[first].endswith("\r\n") else "\n"
    head = lines[:first]
    # Python counts columns in bytes of UTF-8.
    before = lines[first].encode()[: start.col_offset].decode()
    if before.strip():
        # The body begins on the line where the signature ends.
        head.append(before.rstrip() + newline)
    written = textwrap.indent(body, "    ").replace("\n", newline)
    return "".join([*head, written, *lines[last:]])


def _lines(text: str) -> list[str]:
    """Lines with their ends as Python's syntax tree counts them: a form feed or U+2028 does not end one."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)
