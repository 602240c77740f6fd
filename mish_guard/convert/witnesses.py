"""The court's side of the witnesses: recipes out, packages in, one time limit for each conversion.

A family is one witness process with its forked converters, one for each slot; where forking is not safe (Apple's
frameworks) every slot has a family of its own. A thread for each slot hands out recipes in the order in which they are
wanted. What a witness cannot do, whatever is in the tree, is more than fail: its words are bounded, its packages are
copied, and it is killed with everything that it started.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import mish_guard
from mish_guard import processes
from mish_guard.convert import packages, recipes
from mish_guard.convert.recipes import Recipe
from mish_guard.errors import ConversionError, MachineError
from mish_guard.records import Frontend

# Apple's frameworks do not survive a fork.
CAN_FORK = sys.platform == "linux"

SECONDS = 120.0
JOBS = 2

_EXPORTS = frozenset({Frontend.EXPORT, Frontend.EXPORT_DECOMPOSED})

_IMPORT_SECONDS = 600.0
# What a converter has after its own alarm, before the court ends the whole family.
_GRACE_SECONDS = 20.0
# After so many conversions that never ended, or ended their process outright, the others are not waited for.
_PATIENCE = 5
_MOST_WORDS = 1 << 20
_MOST_LAST_WORDS = 1 << 16
# What a family may have started beside its converters; coremltools starts none.
_MOST_PROCESSES = 64
# What it may have in its folder: all packages of a run are some hundred megabytes.
_MOST_BYTES = 4 << 30
_SECONDS_BETWEEN_LOOKS = 0.25
_REASON_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """Who converts: a Python, and the folder that holds its coremltools where that is not on its own path."""

    python: Path
    folder: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a witness says of itself: not evidence, only names for the report."""

    coremltools: str
    torch: str
    numpy: str
    python: str
    path: str
    converter: str | None


class WitnessLostError(Exception):
    """The witness ended, said nothing within its time, or, where that is its text, did what it must not."""


@dataclass(slots=True)
class _Slot:
    """The court's ends of the pipes of one converter."""

    recipes: int
    answers: int
    look: Callable[[], None]
    read: bytes = b""

    def ask(self, request: dict[str, object], seconds: float) -> dict[str, object]:
        """Hand out a recipe and wait for the answer; raises WitnessLostError."""
        while b"\n" in self.read or select.select([self.answers], [], [], 0)[0]:
            self.answer(0)  # the end of a converter that had nothing in hand blames no recipe
        try:
            os.write(self.recipes, (json.dumps(request) + "\n").encode())
        except OSError as error:
            raise WitnessLostError from error
        return self.answer(seconds)

    def answer(self, seconds: float) -> dict[str, object]:
        """The next line as a JSON object; raises WitnessLostError for silence, an end, or anything else.

        Looks at what the family does, now and then while it waits and when an answer comes.
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self.read:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.answers], [], [], max(0.0, min(left, _SECONDS_BETWEEN_LOOKS)))
            self.look()
            if not ready and left > 0:
                continue
            more = os.read(self.answers, 65536) if ready else b""
            self.read += more
            if not more or len(self.read) > _MOST_WORDS:
                raise WitnessLostError
        line, _, self.read = self.read.partition(b"\n")
        try:
            found = json.loads(line)
        except ValueError as error:
            raise WitnessLostError from error
        if not isinstance(found, dict):
            raise WitnessLostError
        return found

    def close(self) -> None:
        for descriptor in (self.recipes, self.answers):
            with suppress(OSError):
                os.close(descriptor)


class _Family:
    """One witness process and its slots."""

    def __init__(self, interpreter: Interpreter, folder: Path, slots: int, seconds: float, mark: str) -> None:
        self.folder = folder
        self.has_begun = False
        folder.mkdir()
        out = [os.pipe() for _ in range(slots)]
        back = [os.pipe() for _ in range(slots)]
        theirs = [(read, write) for (read, _), (_, write) in zip(out, back, strict=True)]
        self.slots = [
            _Slot(recipes=write, answers=read, look=self._look) for (_, write), (read, _) in zip(out, back, strict=True)
        ]
        # A converter's last words go to the witness that forked it, those of a witness that converts itself come here.
        self._words, words = os.pipe()
        self._free = _free_bytes(folder)
        for each in (self._words, words):
            os.set_blocking(each, False)
        order = {
            "package": str(Path(mish_guard.__file__).parent),
            "tree": None if interpreter.folder is None else str(interpreter.folder),
            "folder": str(folder),
            "fork": CAN_FORK,
            "words": words,
            "seconds": seconds,
            "hello": theirs[0][1],
            "slots": [{"in": read, "out": write} for read, write in theirs],
        }
        self.process = subprocess.Popen(  # noqa: S603 - the Python under test, no shell
            [str(interpreter.python), "-I", str(Path(__file__).with_name("witness.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=processes.neutral_environment(folder, mark),
            pass_fds=[words, *(each for pair in theirs for each in pair)],
            start_new_session=True,
        )
        for each in (words, *(each for pair in theirs for each in pair)):
            os.close(each)
        self._say(order)

    def begin(self, *, exports: bool) -> None:
        """Let it import the tree; `exports`: some recipe will need torch.export."""
        self.has_begun = True
        self._say({"exports": exports})
        self._hang_up()

    def _say(self, words: Mapping[str, object]) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write((json.dumps(words) + "\n").encode())
            self.process.stdin.flush()

    def _hang_up(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def _look(self) -> None:
        """Raise WitnessLostError where there are too many processes, or too much is written."""
        if len(processes.descendants(self.process.pid)) > len(self.slots) + _MOST_PROCESSES:
            msg = f"the conversion started more than {_MOST_PROCESSES} processes"
            raise WitnessLostError(msg)
        # Others may use the disk too: only where so much of it is gone all files are looked at.
        if self._free - _free_bytes(self.folder) > _MOST_BYTES and _bytes_in(self.folder) > _MOST_BYTES:
            msg = f"the conversion wrote more than {_MOST_BYTES / 2**30:g} GiB"
            raise WitnessLostError(msg)

    def end(self) -> dict[str, object] | None:
        """The end of a witness that converts itself, as one that forks tells it of a converter; None if it lives."""
        if CAN_FORK:
            return None
        try:
            status = self.process.wait(1)  # its pipe is closed: it is about to end
        except subprocess.TimeoutExpired:
            return None
        last = b""
        with suppress(OSError):
            last = os.read(self._words, _MOST_LAST_WORDS)
        return {"died": status, "last": last.decode("utf-8", "replace")}

    def close(self) -> None:
        """Kill the family and whatever it started, and close its pipes."""
        self._hang_up()
        processes.end_tree(self.process)
        os.close(self._words)
        for slot in self.slots:
            slot.close()


@dataclass(slots=True)
class _Outcome:
    package: Path | None = None
    error: Exception | None = None


@dataclass(slots=True)
class _Queue:
    """Recipes by number, which of them wait, and what became of the others; guarded by `changed`."""

    numbers: dict[Recipe, int] = field(default_factory=dict)
    waiting: deque[Recipe] = field(default_factory=deque)
    outcomes: dict[Recipe, _Outcome] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False

    def add(self, recipe: Recipe, *, first: bool = False) -> None:
        if recipe not in self.numbers:
            self.numbers[recipe] = len(self.numbers)
            (self.waiting.appendleft if first else self.waiting.append)(recipe)

    def take(self, *, rather_no_export: bool) -> Recipe:
        """The next that waits."""
        taken = self.waiting[0]
        if rather_no_export:
            taken = next((each for each in self.waiting if each.frontend not in _EXPORTS), taken)
        self.waiting.remove(taken)
        return taken


class Witnesses:
    """Packages by recipe, converted by `jobs` witnesses of one interpreter; keeps them in `folder`."""

    def __init__(
        self,
        interpreter: Interpreter,
        folder: Path,
        *,
        mark: str,
        jobs: int = JOBS,
        seconds: float = SECONDS,
    ) -> None:
        self._interpreter = interpreter
        self._folder = folder
        self._mark = mark
        self._seconds = seconds
        self._kept = folder / "packages"
        self._kept.mkdir()
        self._queue = _Queue()
        self._patience = _PATIENCE
        self._made = 0
        self._lock = threading.Lock()
        per_family = jobs if CAN_FORK else 1
        self._crews = [_Crew(self, per_family) for _ in range(jobs // per_family)]

    @property
    def hello(self) -> Hello:
        """Who converts; raises ConversionError where the tree cannot be imported, MachineError where its Python fails.

        Waits until the tree is imported.
        """
        return self._crews[0].hello()

    def summon(self) -> None:
        """Start the processes, which import torch and wait; nothing of the tree is imported before it is needed."""
        for crew in self._crews:
            crew.summon()

    def plan(self, wanted: Sequence[Recipe]) -> None:
        """Convert these, in this order, from now on."""
        with self._queue.changed:
            for recipe in wanted:
                self._queue.add(recipe)
            self._queue.changed.notify_all()
        for crew in self._crews:
            crew.start()

    def package(self, recipe: Recipe) -> Path:
        """The saved model of a recipe; raises ConversionError with the reason, or MachineError."""
        self.plan(())
        with self._queue.changed:
            self._queue.add(recipe, first=True)
            self._queue.changed.notify_all()
            while recipe not in self._queue.outcomes:
                self._queue.changed.wait()
            outcome = self._queue.outcomes[recipe]
        if outcome.error is not None:
            raise outcome.error
        assert outcome.package is not None
        return outcome.package

    @property
    def conversions(self) -> int:
        """How many recipes were tried so far."""
        with self._queue.changed:
            return len(self._queue.outcomes)

    def close(self) -> None:
        """End every witness."""
        with self._queue.changed:
            self._queue.closed = True
            self._queue.changed.notify_all()
        for crew in self._crews:
            crew.close()

    # What the crews and the threads of their slots call.

    def will_export(self) -> bool:
        """Whether some recipe that is known needs torch.export."""
        with self._queue.changed:
            return any(recipe.frontend in _EXPORTS for recipe in self._queue.numbers)

    def new_family(self, slots: int) -> _Family:
        with self._lock:
            self._made += 1
            folder = self._folder / f"witness-{self._made}"
        return _Family(self._interpreter, folder, slots, self._seconds, self._mark)

    def next_recipe(self, *, rather_no_export: bool) -> Recipe | None:
        """Wait for a recipe that nobody has taken; None when there will be none."""
        with self._queue.changed:
            while not self._queue.waiting and not self._queue.closed:
                self._queue.changed.wait()
            return None if self._queue.closed else self._queue.take(rather_no_export=rather_no_export)

    def convert(self, recipe: Recipe, slot: _Slot, folder: Path) -> None:
        """One recipe by one converter; what comes of it is kept. Raises WitnessLostError."""
        number = self._queue.numbers[recipe]
        name = f"{number:03d}{recipe.suffix}"
        if self._patience <= 0:
            self._finish(recipe, error=ConversionError(f"not tried: {_PATIENCE} conversions before it never ended"))
            return
        request = {"number": number, "name": name, "recipe": recipes.to_json(recipe)}
        answer = slot.ask(request, self._seconds + _GRACE_SECONDS)
        if "died" not in answer and answer.get("number") != number:
            raise WitnessLostError
        if "died" in answer:
            self._patience -= 1
            self._finish(recipe, error=ConversionError(self.death(answer)))
        elif answer.get("error") is not None:
            reason = str(answer["error"])[:_REASON_LENGTH]
            kind = MachineError if answer.get("machine") is True else ConversionError
            self._finish(recipe, error=kind(reason))
        else:
            self._take(recipe, folder / name)

    def fail(self, recipe: Recipe, error: Exception) -> None:
        """A recipe that no witness will convert."""
        self._patience -= 1
        self._finish(recipe, error=error)

    def give_back(self, recipe: Recipe) -> None:
        """A recipe whose witness was ended for another's sake."""
        with self._queue.changed:
            self._queue.waiting.appendleft(recipe)
            self._queue.changed.notify_all()

    def _take(self, recipe: Recipe, left: Path) -> None:
        try:
            kept = packages.take(left, self._kept / left.name)
        except ConversionError as error:
            self._finish(recipe, error=error)
        except OSError as error:
            self._finish(recipe, error=MachineError(f"The package cannot be kept: {error.strerror or error}."))
        else:
            self._finish(recipe, package=kept)

    def _finish(self, recipe: Recipe, *, package: Path | None = None, error: Exception | None = None) -> None:
        with self._queue.changed:
            self._queue.outcomes[recipe] = _Outcome(package=package, error=error)
            self._queue.changed.notify_all()

    def death(self, answer: dict[str, object]) -> str:
        """The end of a converter in words."""
        status = answer["died"] if isinstance(answer["died"], int) else 0
        where = _where(str(answer.get("last", "")))
        if status == -14:  # SIGALRM
            return f"the conversion did not end within {self._seconds:g} s{where}"
        return f"the converting process {processes.how_it_ended(status)}{where}"


class _Crew:
    """The threads of one family's slots, and the family, which is started anew where it is lost."""

    def __init__(self, witnesses: Witnesses, slots: int) -> None:
        self._witnesses = witnesses
        self._lock = threading.Lock()
        self._family: _Family | None = None
        self._hello: Hello | Exception | None = None
        self._threads = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(slots)]
        self._started = self._closed = False

    def summon(self) -> None:
        """Start the family, which waits; what hinders it is told when somebody asks for a package."""
        with self._lock, suppress(OSError):
            if self._family is None and not self._closed:
                self._family = self._witnesses.new_family(len(self._threads))

    def start(self) -> None:
        """Let the threads work; does nothing the second time."""
        with self._lock:
            if self._started:
                return
            self._started = True
        for thread in self._threads:
            thread.start()

    def hello(self) -> Hello:
        self._living()
        if isinstance(self._hello, Hello):
            return self._hello
        assert self._hello is not None
        raise self._hello

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._family is not None:
                self._family.close()
                self._family = None  # its descriptors may be others' by the next time
        for thread in self._threads if self._started else ():
            thread.join()

    def _living(self) -> _Family | None:
        """The family, at work, started where there is none; None where it cannot be or shall not be any more."""
        with self._lock:
            if self._closed or isinstance(self._hello, Exception):
                return None
            if self._family is None:
                self._family = self._witnesses.new_family(len(self._threads))
            if not self._family.has_begun:
                self._family.begin(exports=self._witnesses.will_export())
                self._hello = _hello_of(self._family)
                if isinstance(self._hello, Exception):
                    self._family.close()
                    self._family = None
            return self._family

    def _lose(self, family: _Family) -> bool:
        """End a family; whether this was the first to say so."""
        with self._lock:
            if self._family is not family:
                return False
            family.close()
            self._family = None
            return True

    def _work(self, number: int) -> None:
        # The first of several converters begins before torch.export is loaded.
        is_early = number == 0 and len(self._threads) > 1
        while (recipe := self._witnesses.next_recipe(rather_no_export=is_early)) is not None:
            family = self._living()
            if family is None:
                error = self._hello if isinstance(self._hello, Exception) else ConversionError("the run was closed")
                self._witnesses.fail(recipe, error)
                continue
            try:
                self._witnesses.convert(recipe, family.slots[number], family.folder)
            except (WitnessLostError, OSError, ValueError) as error:
                if self._closed:
                    return
                said = str(error) if isinstance(error, WitnessLostError) else ""
                end = None if said else family.end()
                if self._lose(family):
                    said = said or ("the converting process was lost" if end is None else self._witnesses.death(end))
                    self._witnesses.fail(recipe, ConversionError(said))
                else:
                    self._witnesses.give_back(recipe)


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize


def _bytes_in(folder: Path) -> int:
    """What the files of a folder take on the disk."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(inside, name).lstat().st_blocks * 512
    return total


def _hello_of(family: _Family) -> Hello | Exception:
    try:
        said = family.slots[0].answer(_IMPORT_SECONDS)
    except WitnessLostError as error:
        if str(error):
            return ConversionError(f"coremltools cannot be imported: {error}")
        try:
            how = processes.how_it_ended(family.process.wait(1))  # its pipe is closed: it is about to end
        except subprocess.TimeoutExpired:
            how = "said nothing"
        return ConversionError(f"coremltools cannot be imported: the process {how}")
    reason = str(said.get("error", ""))[:_REASON_LENGTH]
    if said.get("fault") == "tree":
        return ConversionError(f"coremltools cannot be imported: {reason}")
    if said.get("fault") is not None:
        return MachineError(
            f"coremltools cannot be imported: {reason} Install one that fits this Python, torch and numpy, or name "
            "another Python."
        )
    converter = said.get("converter")
    texts = {name: str(said.get(name))[:200] for name in ("coremltools", "torch", "numpy", "python", "path")}
    return Hello(**texts, converter=None if converter is None else str(converter)[:64])


def _where(last_words: str) -> str:
    """The innermost line of the tree in what faulthandler wrote, as ' (file:line)'; else empty."""
    for line in last_words.splitlines():
        parts = line.strip().split('"')
        if len(parts) > 2 and "/coremltools/" in parts[1] and "line " in parts[2]:
            number = parts[2].split("line ")[1].split(" ")[0]
            return f" (coremltools/{parts[1].rpartition('/coremltools/')[2]}:{number})"
    return ""
