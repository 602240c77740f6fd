"""Edit the code that judges, one place at a time, and see whether the tests that guard it fall.

    python ci/mutate.py [--write] [PATH…]    --write: also put what came out into docs/trust.md and ci/survivors.yml
    python ci/mutate.py PATH --tests TEST…   with these tests alone: does what was just written see anything?
    python ci/mutate.py --check              edit nothing: 1 if these do not have today's files and edits

An edit that no test sees is a survivor, and ends this with 1 unless ci/mutants.yml says why none can or
ci/survivors.yml has it already. The tests of a file run once, to see which of them come by which line; then each edit
is tried in a fork of its own with those that come by its line. An edit of a function is put into the function as it
lives; one of what a module does when it is imported is tried with the module imported anew. No file changes. mutmut
leaves alone what stands outside of functions, here half of the rules, and cosmic-ray starts Python for each edit; hence
this file. `edits.py` makes the edits.
"""

from __future__ import annotations

import argparse
import ast
import functools
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import itertools
import os
import pickle
import re
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NoReturn, TypeAlias, TypeVar

import pytest
import yaml
from edits import Edit, edits, tree_and_edits

_T = TypeVar("_T")

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "trust.md"
EXPLAINED, SURVIVORS = ROOT / "ci" / "mutants.yml", ROOT / "ci" / "survivors.yml"
SURVIVORS_HEAD = (
    "# Edits that no test sees, as python ci/mutate.py --write found them; each is a test that could be written.\n"
)
START, END = "<!-- mutants -->\n", "<!-- end of mutants -->"
HEAD = "| file | edits | killed | explained | survived |\n|---|---|---|---|---|\n"
AT_ONCE = 2
SECONDS = 300
# How a fork ends that saw a test fail; 0 where none did, and anything else proves nothing.
_KILLED = 4
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
_EMULATOR = (
    "tests/emulator",
    "tests/test_hazards.py",
    "tests/test_assumptions.py",
    "tests/test_fast.py",
    "tests/test_culprit.py",
    "tests/test_bounds.py",
    "tests/test_hostile_packages.py",
    "tests/test_calibrate.py",
)
# The tests that guard the files of a folder.
FOLDERS = {
    "mish_guard/engines/emulator": _EMULATOR,
    "mish_guard/judge": _JUDGE,
    "mish_guard/numerics": (*_NUMBERS, *_JUDGE),
    "mish_guard/results": _STORED,
}


def guarded() -> dict[str, tuple[str, ...]]:
    """Every file that is edited, with the tests that guard it."""
    return {
        str(path.relative_to(ROOT)): tests
        for folder, tests in FOLDERS.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
        if any(edits(path.read_text(encoding="utf-8")))
    }


# A function: its file, its name, and the line on which it begins.
_Place: TypeAlias = tuple[str, str, int]
_Line: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One edit of a file, with the module as it then is, and the lines of the statement that is edited."""

    file: str
    edit: Edit
    code: CodeType
    lines: Collection[_Line]
    # What to put into functions that live: where each begins, and its new code. None: the edit is one of the import.
    functions: Mapping[_Place, CodeType] | None


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What tests came by: seconds of each by its id, and those that came by each line."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[_Line, set[str]] = field(default_factory=lambda: defaultdict(set))


def _tries(file: str) -> list[_Try]:
    """Every edit of a file, in the order of its text."""
    path = ROOT / file
    tree, found = tree_and_edits(path.read_text(encoding="utf-8"))
    plain, statements = compile(tree, path, "exec"), _statements(tree)
    places = Counter(map(_place, _all_in(plain)))
    tries = []
    for edit in found:
        code = _compiled(tree, edit, path)
        at = getattr(edit.old, "lineno", 0)
        lines = [(str(path), line) for line in statements.get(at, (at,))]
        functions = _changed(plain, code)
        if any(places[each] > 1 for each in functions or ()):  # lambdas on one line
            functions = None
        tries.append(_Try(file=file, edit=edit, code=code, lines=lines, functions=functions))
    return tries


def _compiled(tree: ast.Module, edit: Edit, path: Path) -> CodeType:
    edit.put(ast.copy_location(edit.new, edit.old) if hasattr(edit.old, "lineno") else edit.new)
    code = compile(ast.fix_missing_locations(tree), path, "exec")
    edit.put(edit.old)
    return code


def _statements(tree: ast.Module) -> dict[int, range]:
    """The lines of the innermost statement on each line; of one with a body, those before the body."""
    found: dict[int, range] = {}
    for node in ast.walk(tree):  # what is inside comes later
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            lines = range(node.lineno, max(last, node.lineno) + 1)
            found.update(dict.fromkeys(lines, lines))
    return found


def _changed(old: CodeType, new: CodeType) -> dict[_Place, CodeType] | None:
    """The outermost functions that an edit changes; None if it changes what a module or a class does by itself."""
    if _own(old) != _own(new):
        return None
    changed: dict[_Place, CodeType] = {}
    for before, after in zip(_inner(old), _inner(new), strict=True):
        if before.co_flags & inspect.CO_OPTIMIZED:
            if _whole(before) != _whole(after):
                changed[_place(before)] = after
        else:
            inside = _changed(before, after)
            if inside is None:
                return None
            changed.update(inside)
    return changed


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _all_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in _inner(code):
        yield from _all_in(each)


def _own(code: CodeType) -> tuple[object, ...]:
    """What a piece of code does itself, without the functions in it; 1 and True are not the same."""
    plain = tuple(repr(each) for each in code.co_consts if not isinstance(each, CodeType))
    return code.co_code, plain, len(_inner(code)), code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars


def _whole(code: CodeType) -> tuple[object, ...]:
    return _own(code), *map(_whole, _inner(code))


def _place(code: CodeType) -> _Place:
    return code.co_filename, code.co_name, code.co_firstlineno


class _Session:
    """A plugin of pytest that tries edits with the tests that were collected, in place of running them.

    `seen` and `alive`, the places of the survivors in `tries`, are there when pytest ends; `left` are those tries that
    need an import of their own.
    """

    def __init__(self, tries: Sequence[_Try]) -> None:
        self._tries = tries
        self._files = {str(ROOT / each.file) for each in tries}
        self._called: set[_Place] = set()
        self.seen = _Seen()
        self.alive: list[int] = []
        self.left: list[int] = []

    def note_a_call(self, frame: FrameType, event: str, arg: object) -> None:
        """A function that runs while the tests are imported and collected."""
        del event, arg
        if frame.f_code.co_filename in self._files:
            self._called.add(_place(frame.f_code))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests once, then those that matter for each edit."""
        sys.settrace(None)
        self.seen = _in_a_fork(lambda: _run_once(session, self._files))
        items = {item.nodeid: item for item in session.items}
        living = _living(self._files)
        every = [items[name] for name in _in_order(items, self.seen.seconds)]
        if not _in_a_fork(lambda: _try_here(session, every, {}, living)):
            msg = "the tests fail in another order without an edit"
            raise RuntimeError(msg)
        forks = _Forks(self._tries)
        for number, each in enumerate(self._tries):
            if each.functions is None or not _can_be_put(each.functions, living, self._called):
                self.left.append(number)
                continue
            wanted = [items[name] for name in _in_order(_came_by(self.seen, each.lines), self.seen.seconds)]
            forks.start(number, functools.partial(_try_here, session, wanted, each.functions, living))
        self.alive = forks.ended_well()
        return True


def _run_once(session: pytest.Session, files: Collection[str]) -> _Seen:
    """What each test comes by, were it alone; leaves with 1 where one fails."""
    seen = _Seen()
    caches = _caches(files)
    for item, following in itertools.zip_longest(session.items, session.items[1:]):
        name = item.nodeid

        def on_line(frame: FrameType, event: str, arg: object, name: str = name) -> Any:
            del event, arg
            seen.lines[frame.f_code.co_filename, frame.f_lineno].add(name)
            return on_line

        def on_call(frame: FrameType, event: str, arg: object, on_line: Any = on_line) -> Any:
            return on_line(frame, event, arg) if frame.f_code.co_filename in files else None

        for cache in caches:  # what another test left there, this one would not come by
            cache.cache_clear()
        started = time.perf_counter()
        sys.settrace(on_call)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        sys.settrace(None)
        seen.seconds[name] = time.perf_counter() - started
        if session.testsfailed:
            msg = f"{name} fails without an edit"
            raise RuntimeError(msg)
    return seen


def _caches(files: Collection[str]) -> list[Any]:
    """What the functions of the files remember."""
    caches = [each for each in gc.get_objects() if type(each) is functools._lru_cache_wrapper]  # noqa: SLF001
    cached = ((each, getattr(each.__wrapped__, "__code__", None)) for each in caches)
    return [each for each, code in cached if code is not None and code.co_filename in files]


def _came_by(seen: _Seen, lines: Collection[_Line]) -> set[str]:
    return set().union(*(seen.lines.get(each, ()) for each in lines))


def _in_order(names: Collection[str], seconds: Mapping[str, float]) -> list[str]:
    """One case of each test first, then another of each; the quick ones before the slow ones."""
    cases: Counter[str] = Counter()
    turn = {}
    for name in sorted(names, key=lambda each: (seconds[each], each)):
        test = name.partition("[")[0]
        turn[name] = cases[test]
        cases[test] += 1
    return sorted(names, key=lambda each: (turn[each], seconds[each], each))


def _living(files: Collection[str]) -> dict[_Place, list[FunctionType]]:
    """Every function of the files as it lives in this process, by its place."""
    found = defaultdict(list)
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename in files:
            found[_place(each.__code__)].append(each)
    return found


def _can_be_put(
    functions: Mapping[_Place, CodeType], living: Mapping[_Place, list[FunctionType]], called: Collection[_Place]
) -> bool:
    """Whether each lives and was not called yet, so that nothing is left of what it did before."""
    return all(
        place in living
        and place not in called
        and all(each.__code__.co_freevars == code.co_freevars for each in living[place])
        for place, code in functions.items()
    )


def _try_here(
    session: pytest.Session,
    items: Sequence[pytest.Item],
    functions: Mapping[_Place, CodeType],
    living: Mapping[_Place, list[FunctionType]],
) -> bool:
    """Whether the tests pass with the functions changed."""
    for place, code in functions.items():
        for each in living[place]:
            each.__code__ = code
    for item, following in itertools.zip_longest(items, items[1:]):
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except BaseException:  # noqa: BLE001 - what ends pytest itself is no success
            return False
        if session.testsfailed:
            return False
    return True


class _Forks:
    """Processes that end with 0 where an edit survives, some at a time; each survivor is told."""

    def __init__(self, tries: Sequence[_Try]) -> None:
        self._tries = tries
        self._running: dict[int, int] = {}
        self._well: list[int] = []

    def start(self, number: int, tried: Callable[[], bool]) -> None:
        """Fork as soon as there is room."""
        if len(self._running) == AT_ONCE:
            self._await()
        process = os.fork()
        if not process:
            _end_with(tried)
        self._running[process] = number

    def ended_well(self) -> list[int]:
        """Wait for all; the numbers of those that did."""
        while self._running:
            self._await()
        return sorted(self._well)

    def _await(self) -> None:
        process, status = os.wait()
        number = self._running.pop(process)
        if status == 0:
            self._well.append(number)
            _tell(f"survived: {self._tries[number].file}: {self._tries[number].edit.words}")
        elif os.waitstatus_to_exitcode(status) == -signal.SIGALRM:  # counts as killed: say so
            _tell(f"ended after {SECONDS} s: {self._tries[number].edit.words}")
        elif os.waitstatus_to_exitcode(status) != _KILLED:
            msg = f"ci/mutate.py: this edit could not be tried: {self._tries[number].edit.words}"
            _tell(msg)
            raise RuntimeError(msg)


def _end_with(tried: Callable[[], bool]) -> NoReturn:
    """The life of a fork: it ends with 0 where what is tried is true, with _KILLED where not."""
    status = 1
    try:
        signal.alarm(SECONDS)
        _silence(0, 1, 2)
        status = 0 if tried() else _KILLED
    finally:
        os._exit(status)


_COMPLAINTS = os.dup(2)  # pytest takes the streams of a run


def _tell(words: str) -> None:
    os.write(_COMPLAINTS, f"{words}\n".encode())


def _silence(*streams: int) -> None:
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        os.dup2(silence, stream)


def _in_a_fork(find: Callable[[], _T]) -> _T:
    """What `find` gives in a process of its own, so that this one stays as it is; leaves with 1 where it fails."""
    with tempfile.TemporaryFile() as kept:
        process = os.fork()
        if not process:
            status = 1
            try:
                pickle.dump(find(), kept)
                kept.flush()
                status = 0
            except BaseException as error:  # noqa: BLE001 - told, and then the process ends
                _tell(repr(error))
            finally:
                os._exit(status)
        if os.waitpid(process, 0)[1]:
            sys.exit(1)
        kept.seek(0)
        found: _T = pickle.load(kept)  # noqa: S301 - our own fork wrote it
    return found


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


class _Ordered:
    """A plugin of pytest that runs the tests in this order."""

    def __init__(self, names: Sequence[str]) -> None:
        self._turn = {name: turn for turn, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """A test that an edit brings comes last."""
        items.sort(key=lambda item: self._turn.get(item.nodeid, len(self._turn)))


def _near_first(seen: _Seen, file: str) -> list[str]:
    """All tests; those that come by a file before the others."""
    near = _came_by(seen, [line for line in seen.lines if line[0] == str(ROOT / file)])
    return [*_in_order(near, seen.seconds), *_in_order(seen.seconds.keys() - near, seen.seconds)]


def _check_that_they_pass(tests: Sequence[str], names: Sequence[str], files: Sequence[str]) -> None:
    """Leave with 1 unless each file can be imported first as it is, and the tests pass where one of them is."""
    plain = {file: compile((ROOT / file).read_text(encoding="utf-8"), ROOT / file, "exec") for file in files}
    for file, code in plain.items():
        if not _in_a_fork(functools.partial(_can_be_imported, file, code)):
            sys.exit(f"ci/mutate.py: {file} cannot be imported first.")
    if not _in_a_fork(lambda: _try_anew(tests, names, files[0], plain[files[0]], is_silent=True)):
        sys.exit(f"ci/mutate.py: the tests of {files[0]} fail without an edit where it is imported anew.")


def _can_be_imported(file: str, code: CodeType) -> bool:
    """Import a module from this code, before pytest, whose own hook would find the file; whether that went well."""
    finder = _Finder(ROOT / file, code)
    sys.meta_path.insert(0, finder)
    try:
        importlib.import_module(finder.name)
    except BaseException:  # noqa: BLE001 - whatever an edit makes a module raise
        return False
    return True


def _try_anew(
    tests: Sequence[str], names: Sequence[str], file: str, code: CodeType, *, is_silent: bool = False
) -> bool:
    """Whether all tests pass, in this order, where a module is imported from this code."""
    if is_silent:
        _silence(0, 1, 2)
    if not _can_be_imported(file, code):
        return False
    return pytest.main([*OPTIONS, *tests], plugins=[_Ordered(names)]) == pytest.ExitCode.OK


def _warm(tests: Sequence[str]) -> None:
    """Import here what the tests import, so that no fork has to, but for what every fork imports with its edit."""
    named = [ROOT / each for each in tests]
    for path in (file for each in named for file in (sorted(each.glob("*.py")) if each.is_dir() else [each])):
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if any("emulator" in each for each in tests):
        importlib.import_module("coremltools")  # what its tests convert or write with
    for name in [each for each in sys.modules if each.split(".")[0] in ("mish_guard", "tests")]:
        del sys.modules[name]


def survivors(files: Sequence[str], tests: Sequence[str]) -> dict[str, tuple[int, list[Edit]]]:
    """The number of edits of each file, and those that its tests do not see, in the order of the text."""
    _warm(tests)
    tries = [each for file in files for each in _tries(file)]
    alive, left, seen = _in_a_fork(lambda: _tried_here(tries, tests))
    _tell(f"{len(tries) - len(left)} edits tried, {len(alive)} survived; {len(left)} more to try")
    order = {file: _near_first(seen, file) for file in dict.fromkeys(tries[number].file for number in left)}
    if left:
        _check_that_they_pass(tests, order[tries[left[0]].file], list(order))
    forks = _Forks(tries)
    for number in left:
        tried = tries[number]
        forks.start(number, functools.partial(_try_anew, tests, order[tried.file], tried.file, tried.code))
    numbers = sorted({*alive, *forks.ended_well()})
    return {
        file: (
            sum(each.file == file for each in tries),
            [tries[number].edit for number in numbers if tries[number].file == file],
        )
        for file in files
    }


def _tried_here(tries: Sequence[_Try], tests: Sequence[str]) -> tuple[list[int], list[int], _Seen]:
    session = _Session(tries)
    _silence(1)
    sys.settrace(session.note_a_call)
    code = pytest.main([*OPTIONS, *tests], plugins=[session])
    if code is not pytest.ExitCode.OK:
        sys.exit(f"ci/mutate.py: pytest ended with {code} without an edit.")
    return session.alive, session.left, session.seen


def main() -> int:
    """Try every edit, print, and return 0 where nothing survived that was not known before."""
    parser = argparse.ArgumentParser(description="Edit the code that judges and see whether its tests fall.")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or folders to edit (default: all there are)")
    parser.add_argument("--tests", nargs="+", metavar="TEST", help="with these alone; nothing is written then")
    parser.add_argument("--write", action="store_true", help="put the table and the survivors where they belong")
    parser.add_argument("--check", action="store_true", help="edit nothing; 1 if these do not fit today's files")
    asked = parser.parse_args()
    guards = guarded()
    if asked.check:
        return _check(guards)
    rows, known = _rows(), _named(SURVIVORS)
    files = [each for each in guards if not asked.paths or _is_below(each, asked.paths)]
    if not files:
        parser.error(f"nothing is edited there; choose from: {', '.join(FOLDERS)}")
    tests_of = dict.fromkeys(files, tuple(asked.tests)) if asked.tests else guards
    fresh = [each for together, tests in _by_tests(files, tests_of) for each in _tried(together, tests, rows, known)]
    sys.stdout.write("".join(f"{each}\n" for each in fresh))
    if asked.write and not asked.tests:
        _write(rows, known, guards)
    return int(bool(fresh))


def _is_below(file: str, paths: Sequence[str]) -> bool:
    return any(Path(file).is_relative_to(each) for each in paths)


def _by_tests(
    files: Sequence[str], tests_of: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    for tests in dict.fromkeys(tests_of[file] for file in files):
        yield [file for file in files if tests_of[file] == tests], tests


def _tried(
    files: Sequence[str], tests: Sequence[str], rows: dict[str, tuple[int, ...]], known: dict[str, list[str]]
) -> Iterator[str]:
    """Try the edits of files with the same tests and keep what comes of it; the survivors that are new."""
    explained = _named(EXPLAINED)
    found = _in_a_fork(lambda: _words_of(files, tests))
    for file, (number, alive) in found.items():
        unexplained = [words for words in alive if words not in explained.get(file, ())]
        yield from (f"{file}: survived: {each}" for each in unexplained if each not in known.get(file, ()))
        rows[file] = (number, number - len(alive), len(alive) - len(unexplained), len(unexplained))
        known[file] = unexplained
        sys.stdout.write(f"{_row(file, rows[file])}\n")


def _words_of(files: Sequence[str], tests: Sequence[str]) -> dict[str, tuple[int, list[str]]]:
    found = survivors(files, tests)
    return {file: (number, [each.words for each in alive]) for file, (number, alive) in found.items()}


def _named(path: Path) -> dict[str, list[str]]:
    """The edits that a list names, by file."""
    document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {
        file: [each if isinstance(each, str) else each["edit"] for each in found] for file, found in document.items()
    }


def _rows() -> dict[str, tuple[int, ...]]:
    """The rows of the page by file."""
    row = r"^\| `(mish_guard/\S+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$"
    rows = re.findall(row, PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {file: tuple(map(int, numbers)) for file, *numbers in rows}


def _row(file: str, numbers: Sequence[int]) -> str:
    return f"| `{file}` | {' | '.join(map(str, numbers))} |"


def _write(rows: Mapping[str, tuple[int, ...]], known: Mapping[str, list[str]], files: Collection[str]) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    table = "".join(f"{_row(file, rows[file])}\n" for file in files if file in rows)
    PAGE.write_text(f"{before}{START}{HEAD}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")
    kept = {file: known[file] for file in files if known.get(file)}
    text = yaml.safe_dump(kept, allow_unicode=True, sort_keys=False, width=120)
    SURVIVORS.write_text(f"{SURVIVORS_HEAD}{text}", encoding="utf-8")


def _check(files: Collection[str]) -> int:
    rows, explained, known = _rows(), _named(EXPLAINED), _named(SURVIVORS)
    today = {file: [each.words for each in edits((ROOT / file).read_text(encoding="utf-8"))] for file in files}
    stale = [
        file
        for file, words in today.items()
        if file not in rows or (rows[file][0], rows[file][3]) != (len(words), len(known.get(file, ())))
    ]
    named = [(file, words) for each in (explained, known) for file, found in each.items() for words in found]
    gone = sorted(f"{file}: {words}" for file, words in named if words not in today.get(file, ()))
    sys.stdout.write("".join(f"run python ci/mutate.py --write {file}\n" for file in stale))
    sys.stdout.write("".join(f"ci/mutants.yml or ci/survivors.yml names what is no edit of {each}\n" for each in gone))
    return int(bool(stale or gone))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # A fork of a process with threads waits for them for ever; PyTorch starts its own as soon as tests are collected.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    sys.exit(main())
