"""Edits of Python: every single place of a module that can be otherwise, with what to put there.

A limit is moved, a condition turned round or left out, a number or a word changed, a row of a table dropped. Not
edited: annotations, names of types, decorators, docstrings, and words for a reader (strings with a blank, text of
f-strings).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, eq=False)
class Edit:
    """One place in a tree with what to put there: field `name` of `owner`, its element `index` in a list."""

    owner: ast.AST
    name: str
    index: int | None
    old: ast.AST
    new: ast.AST
    line: str

    @property
    def words(self) -> str:
        """The line and what becomes of the place, as ci/mutants.yml names it."""
        return f"{self.line} ⟶ {_short(self.old)} ⟶ {_short(self.new)}"

    def put(self, node: ast.AST) -> None:
        """Let `node` stand at the place."""
        if self.index is None:
            setattr(self.owner, self.name, node)
        else:
            getattr(self.owner, self.name)[self.index] = node


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:40]} … {text[-16:]}"


_UNTOUCHED = frozenset({"annotation", "returns", "decorator_list", "type_params"})
_ORDER: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_OTHER_CALLS = {"max": "min", "min": "max", "any": "all", "all": "any", "sorted": "list"}


def edits(source: str) -> Iterator[Edit]:
    """Every edit of a module, in the order of its text, all of one tree, which is to be compiled edited."""
    yield from tree_and_edits(source)[1]


def tree_and_edits(source: str) -> tuple[ast.Module, list[Edit]]:
    """The tree of a module and every edit of it."""
    tree, lines = ast.parse(source), source.splitlines()
    return tree, [
        Edit(owner, name, index, old, new, lines[getattr(old, "lineno", 1) - 1].strip())
        for owner, name, index, old in _places(tree)
        for new in _others(old, name)
    ]


def _places(owner: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    for name, value in ast.iter_fields(owner):
        if name in _UNTOUCHED:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _is_left_alone(child, owner):
                yield owner, name, index, child
                yield from _places(child)


def _is_left_alone(node: ast.AST, owner: ast.AST) -> bool:
    """Docstrings, what a module offers by `*`, names of types, and the words of an f-string."""
    if isinstance(node, ast.Assign):
        is_type = ast.unparse(node.value).startswith(("TypeVar(", "Callable[", "tuple["))
        return is_type or ast.unparse(node.targets[0]) == "__all__"
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(owner, ast.JoinedStr) and isinstance(node, ast.Constant) and not _is_format(owner)


def _is_format(node: ast.JoinedStr) -> bool:
    return len(node.values) == 1 and isinstance(node.values[0], ast.Constant)


def _others(node: ast.AST, field: str) -> Iterator[ast.AST]:
    """What may stand in place of a node in a field of its owner."""
    yield from _CHANGES.get(type(node), _nothing)(node)
    if field in ("test", "ifs") and not isinstance(node, ast.Compare | ast.UnaryOp | ast.BoolOp):
        yield ast.UnaryOp(ast.Not(), cast("ast.expr", node))


def _nothing(_: Any) -> Iterator[ast.AST]:
    yield from ()


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    yield from (ast.Constant(value) for value in _values(node.value))


def _junctions(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    for rest in _without_one(node.values):
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _operators(node: ast.BinOp) -> Iterator[ast.AST]:
    if type(node.op) in _OPERATORS:
        yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)


def _displays(node: ast.Tuple | ast.List | ast.Set) -> Iterator[ast.AST]:
    if isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        for rest in _without_one(node.elts):
            yield ast.Set(rest) if isinstance(node, ast.Set) else type(node)(rest, ast.Load())


def _dicts(node: ast.Dict) -> Iterator[ast.AST]:
    for rest in _without_one(list(zip(node.keys, node.values, strict=True))):
        yield ast.Dict([key for key, _ in rest], [value for _, value in rest])


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Name) and node.func.id in _OTHER_CALLS:
        keywords = [] if node.func.id == "sorted" else node.keywords
        yield ast.Call(ast.Name(_OTHER_CALLS[node.func.id], ast.Load()), node.args, keywords)


def _returns(node: ast.Return) -> Iterator[ast.AST]:
    if node.value is not None and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))


def _removed(_: ast.AST) -> Iterator[ast.AST]:
    yield ast.Pass()


def _operand(node: ast.UnaryOp) -> Iterator[ast.AST]:
    yield node.operand


def _values(value: object) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, float):
        yield from (value * 1.01, value * 0.99) if value else (0.01,)
    elif isinstance(value, str) and " " not in value:
        yield f"{value}X"


def _comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    for index, each in enumerate(node.ops):
        for other in _ORDER[type(each)]:
            yield ast.Compare(node.left, [*node.ops[:index], other(), *node.ops[index + 1 :]], node.comparators)


def _without_one(values: Sequence[Any]) -> Iterator[list[Any]]:
    """All but one of the values, for each of them; one that stands alone stays."""
    if len(values) > 1:
        yield from ([*values[:index], *values[index + 1 :]] for index in range(len(values)))


_CHANGES: dict[type[ast.AST], Callable[[Any], Iterator[ast.AST]]] = {
    ast.AugAssign: _removed,
    ast.BinOp: _operators,
    ast.BoolOp: _junctions,
    ast.Call: _calls,
    ast.Compare: _comparisons,
    ast.Constant: _constants,
    ast.Dict: _dicts,
    ast.Expr: _removed,
    ast.List: _displays,
    ast.Raise: _removed,
    ast.Return: _returns,
    ast.Set: _displays,
    ast.Tuple: _displays,
    ast.UnaryOp: _operand,
}
