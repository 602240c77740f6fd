"""Edit the code that judges, one place at a time, and see whether the tests that guard it fall.

    python ci/mutate.py [--write] [FILE…]    --write: also put the rows of these files into docs/trust.md
    python ci/mutate.py --sample [--write]   some edits of all other files of the emulator, the same ones each time
    python ci/mutate.py --check              edit nothing: 1 if docs/trust.md does not have today's files and edits

An edit that no test sees is a survivor, and ends this with 1 unless ci/mutants.yml says why none can. Each is tried in
a fork of this process: its module is compiled from the edited tree, no file changes. mutmut leaves alone what stands
outside of functions, here half of the rules, and cosmic-ray starts Python for each edit; hence this file.

Not edited: annotations, names of types, decorators, docstrings, and words for a reader (strings with a blank, text of
f-strings).
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, cast

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "trust.md"
START, END = "<!-- mutants -->\n", "<!-- end of mutants -->"
SAMPLED_END = "<!-- end of sample -->"
HEAD = "| file | edits | killed | explained | survived |\n|---|---|---|---|---|\n"
AT_ONCE = 2
SECONDS = 300
# Without plugins, and with assertions as they stand, a run of a hundred tests takes half a second.
OPTIONS = (
    "-q",
    "-x",
    "--assert=plain",
    "-p",
    "no:cacheprovider",
    "--override-ini=addopts=",
    "-m",
    "not slow and not teeth",
)

_JUDGE = ("tests/judge", "tests/test_verdict.py", "tests/test_judgement.py", "tests/test_changes.py")
_NUMBERS = ("tests/numerics", "tests/test_numerics.py")
_STORED = (
    "tests/results/test_stored_files.py",
    "tests/results/test_curves.py",
    "tests/results/test_measurement_files.py",
)
_EVIDENCE = "tests/test_calibrate.py::test_no_profile_contradicts_a_measurement"
_HAZARDS = ("tests/test_hazards.py", "tests/test_assumptions.py", "tests/test_fast.py", _EVIDENCE)
_READER = ("tests/emulator/test_reader.py", "tests/emulator/test_fields.py", "tests/test_hostile_packages.py")
# The tests that guard a file, those that were written for it first.
GUARDS = {
    "mish_guard/engines/emulator/blobs.py": ("tests/emulator/test_blobs.py", *_READER),
    "mish_guard/engines/emulator/fields.py": _READER,
    "mish_guard/engines/emulator/hazards.py": _HAZARDS,
    "mish_guard/engines/emulator/profiles.py": _HAZARDS,
    "mish_guard/engines/emulator/reader.py": _READER,
    "mish_guard/judge/baseline_diff.py": ("tests/judge/test_defects_and_findings.py", *_JUDGE),
    "mish_guard/judge/compare.py": ("tests/judge/test_compare.py", *_JUDGE),
    "mish_guard/judge/defects.py": ("tests/judge/test_defects_and_findings.py", *_JUDGE),
    "mish_guard/judge/findings.py": ("tests/judge/test_defects_and_findings.py", *_JUDGE),
    "mish_guard/judge/rules.py": ("tests/judge/test_rules.py", *_JUDGE),
    "mish_guard/judge/status.py": ("tests/judge/test_status.py", *_JUDGE),
    "mish_guard/judge/verdict.py": ("tests/judge/test_rules.py", *_JUDGE),
    "mish_guard/numerics/ceiling.py": (*_NUMBERS, *_JUDGE),
    "mish_guard/numerics/figures.py": _NUMBERS,
    "mish_guard/numerics/fp16.py": _NUMBERS,
    "mish_guard/numerics/reference.py": _NUMBERS,
    "mish_guard/results/baseline.py": _STORED,
    "mish_guard/results/curves.py": _STORED,
    "mish_guard/results/measurement.py": _STORED,
    "mish_guard/results/run_file.py": _STORED,
}

# What a sample is drawn from, how many, and the tests that guard it.
SAMPLED = "mish_guard/engines/emulator"
SAMPLE = 60
SEED = 2359
_EMULATOR = (
    "tests/emulator/test_ops.py",
    "tests/emulator/test_layers.py",
    *_HAZARDS,
    "tests/test_culprit.py",
    "tests/test_bounds.py",
    "tests/emulator",
    "tests/test_hostile_packages.py",
    "tests/test_calibrate.py",
)


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
        is_type = ast.unparse(node.value).startswith(("TypeVar(", "Callable["))
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


class _Edited(importlib.machinery.SourceFileLoader):
    """Loads one module from code that stands in no file."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        super().__init__(name, str(path))
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        del fullname
        return self._code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module, edited."""

    def __init__(self, path: Path, code: CodeType) -> None:
        self.name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        self._path, self._code = path, code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname != self.name:
            return None
        inner = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        loader = _Edited(fullname, self._path, self._code)
        return importlib.util.spec_from_file_location(
            fullname, self._path, loader=loader, submodule_search_locations=inner
        )


def _warm(tests: Sequence[str]) -> None:
    """Import here what the tests import, so that no fork has to, but for what every fork imports with its edit."""
    named = [ROOT / each.split("::")[0] for each in tests]
    for path in (file for each in named for file in (sorted(each.glob("*.py")) if each.is_dir() else [each])):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if any("emulator" in each for each in tests):
        importlib.import_module("coremltools")  # what its tests convert or write with
    for name in [each for each in sys.modules if each.split(".")[0] in ("mish_guard", "tests")]:
        del sys.modules[name]


def survivors(file: str, tests: Sequence[str]) -> tuple[int, list[Edit]]:
    """The number of edits of a file and those that its tests do not see; leaves with 1 if they fail without any."""
    path = ROOT / file
    _warm(tests)
    tree, found = tree_and_edits(path.read_text(encoding="utf-8"))
    _check_that_they_pass(path, tests)
    return len(found), _unseen(path, tree, found, tests)


def sampled(tests: Sequence[str]) -> tuple[int, list[tuple[str, Edit]]]:
    """The number of edits that a sample is drawn from, and those of the sample that the tests do not see, by file."""
    files = [str(path.relative_to(ROOT)) for path in sorted((ROOT / SAMPLED).rglob("*.py"))]
    trees = {file: tree_and_edits((ROOT / file).read_text(encoding="utf-8")) for file in files if file not in GUARDS}
    every = [(file, number) for file, (_, found) in trees.items() for number in range(len(found))]
    drawn = set(random.Random(SEED).sample(every, SAMPLE))  # noqa: S311 - nothing secret
    _warm(tests)
    _check_that_they_pass(ROOT / next(iter(trees)), tests)
    alive = []
    for file, (tree, found) in trees.items():
        chosen = [edit for number, edit in enumerate(found) if (file, number) in drawn]
        alive += [(file, edit) for edit in _unseen(ROOT / file, tree, chosen, tests)]
    return len(every), alive


def _check_that_they_pass(path: Path, tests: Sequence[str]) -> None:
    """Leave with 1 if the tests fail with a file as it is."""
    if not _pass(path, compile(path.read_text(encoding="utf-8"), path, "exec"), tests):
        sys.exit(f"ci/mutate.py: the tests of {path.relative_to(ROOT)} fail without an edit.")


def _unseen(path: Path, tree: ast.Module, chosen: Sequence[Edit], tests: Sequence[str]) -> list[Edit]:
    """Those edits of a file after which its tests still pass, in the order of the text."""
    running: dict[int, Edit] = {}
    alive: list[Edit] = []
    for edit in chosen:
        if len(running) == AT_ONCE:
            _await(running, alive)
        running[_start(path, _compiled(tree, edit, path), tests)] = edit
    while running:
        _await(running, alive)
    return sorted(alive, key=chosen.index)


def _compiled(tree: ast.Module, edit: Edit, path: Path) -> CodeType:
    edit.put(ast.copy_location(edit.new, edit.old) if hasattr(edit.old, "lineno") else edit.new)
    code = compile(ast.fix_missing_locations(tree), path, "exec")
    edit.put(edit.old)
    return code


def _await(running: dict[int, Edit], alive: list[Edit]) -> None:
    process, status = os.wait()
    edit = running.pop(process)
    if status == 0:
        alive.append(edit)
        sys.stderr.write(f"survived: {edit.words}\n")
    elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:  # counts as killed: say so, it may be busy
        sys.stderr.write(f"ended after {SECONDS} s: {edit.words}\n")


def _pass(path: Path, code: CodeType, tests: Sequence[str]) -> bool:
    return os.waitpid(_start(path, code, tests), 0)[1] == 0


def _start(path: Path, code: CodeType, tests: Sequence[str]) -> int:
    """A process that runs the tests with the module edited, and ends with 0 if they all pass."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        signal.alarm(SECONDS)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silence, stream)
        finder = _Finder(path, code)
        sys.meta_path.insert(0, finder)
        importlib.import_module(finder.name)  # before pytest, whose own hook would find the file
        status = int(pytest.main([*OPTIONS, *tests]))
    finally:
        os._exit(status)


def main(arguments: list[str]) -> int:
    """Try every edit, print, and return 0 where nothing survived that is not explained."""
    files = [each for each in arguments if not each.startswith("--")] or list(GUARDS)
    if "--check" in arguments:
        return _check()
    if "--sample" in arguments:
        return _sample(is_written="--write" in arguments)
    rows, explained = _rows(), _explained()
    is_good = True
    for file in files:
        number, alive = survivors(file, GUARDS[file])
        unexplained = [each for each in alive if (file, each.words) not in explained]
        sys.stdout.write("".join(f"{file}: survived: {each.words}\n" for each in unexplained))
        rows[file] = (number, number - len(alive), len(alive) - len(unexplained), len(unexplained))
        is_good = is_good and not unexplained
        sys.stdout.write(f"{_row(file, rows[file])}\n")
        sys.stdout.flush()
    if "--write" in arguments:
        _write(rows)
    return int(not is_good)


def _sample(*, is_written: bool) -> int:
    """Try the sample, print, and return 0 where nothing survived that is not explained."""
    number, alive = sampled(_EMULATOR)
    explained = _explained()
    unexplained = [each for each in alive if (each[0], each[1].words) not in explained]
    sys.stdout.write("".join(f"{file}: survived: {edit.words}\n" for file, edit in unexplained))
    killed = SAMPLE - len(alive)
    words = (
        f"Of the other files of `{SAMPLED}` {SAMPLE} of {number:,} edits were drawn\n(`--sample`): {killed} killed, "
    )
    words += f"{len(alive) - len(unexplained)} explained, {len(unexplained)} survived.\n"
    sys.stdout.write(words)
    if is_written:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(END)
        _, _, after = rest.partition(SAMPLED_END)
        PAGE.write_text(f"{before}{END}\n\n{words}{SAMPLED_END}{after}", encoding="utf-8")
    return int(bool(unexplained))


def _explained() -> set[tuple[str, str]]:
    """The edits of which ci/mutants.yml says why no test can see them, by file."""
    document = yaml.safe_load((ROOT / "ci" / "mutants.yml").read_text(encoding="utf-8"))
    return {(file, each["edit"]) for file, found in document.items() for each in found}


def _rows() -> dict[str, tuple[int, ...]]:
    """The rows of the page by file."""
    row = r"^\| `(mish_guard/\S+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$"
    rows = re.findall(row, PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {file: tuple(map(int, numbers)) for file, *numbers in rows}


def _row(file: str, numbers: Sequence[int]) -> str:
    return f"| `{file}` | {' | '.join(map(str, numbers))} |"


def _write(rows: dict[str, tuple[int, ...]]) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    table = "".join(f"{_row(file, rows[file])}\n" for file in GUARDS if file in rows)
    PAGE.write_text(f"{before}{START}{HEAD}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")


def _check() -> int:
    rows = _rows()
    today = {file: len(list(edits((ROOT / file).read_text(encoding="utf-8")))) for file in GUARDS}
    stale = [file for file in GUARDS if file not in rows or rows[file][0] != today[file]]
    files = {file for file, _ in _explained()}
    words = {(file, each.words) for file in files for each in edits((ROOT / file).read_text(encoding="utf-8"))}
    gone = sorted(f"{file}: {edit}" for file, edit in _explained() - words)
    sys.stdout.write("".join(f"run python ci/mutate.py --write {file}\n" for file in stale))
    sys.stdout.write("".join(f"ci/mutants.yml explains what is no edit of {each}\n" for each in gone))
    return int(bool(stale or gone))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.exit(main(sys.argv[1:]))
