"""The witness: a process under the Python of the tree under test that turns recipes into packages, and nothing else.

Started as a script, with one line of JSON on stdin: the order. It imports torch and waits for a second line, the word
to begin; only then does it import the coremltools of the tree, once, and forks a converter for each slot, so that a
conversion that ends its process costs one recipe. Nothing it says is believed: the court reads the packages, and words
only to tell why there is none.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypedDict

# How long before its end a conversion that hangs writes down where it is.
_LAST_WORDS_SECONDS = 1.0
# As many as the court takes over in a whole package.
_MOST_BYTES_IN_A_FILE = 1 << 30
_MOST_LAST_WORDS = 1 << 16
_REASON_LENGTH = 300
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h

# coremltools makes and drops objects by the hundred thousand: the collector looks after so many of them, not 700.
_OBJECTS_TO_COLLECT = 50_000

# What a machine says that has no room, or no memory: no fault of a tree.
_MACHINE_ERRNOS = frozenset({"EDQUOT", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EROFS"})


# The descriptors of the pipe on which a slot's recipes come, and of that for its answers.
_Slot = TypedDict("_Slot", {"in": int, "out": int})


class _Order(TypedDict):
    """What a court orders: where its own package and the tree lie, what may be done, and the ends of the pipes.

    `tree` is None for a coremltools on the path of this Python, `seconds` the limit of one conversion, `hello` the
    descriptor for the first word, `words` that for the last ones of a witness that does not fork.
    """

    package: str
    tree: str | None
    folder: str
    fork: bool
    words: int
    seconds: float
    hello: int
    slots: list[_Slot]


class _OnlyCoremltools(importlib.abc.MetaPathFinder):
    """Finds the package coremltools in one folder and nothing else there: what lies beside it is not imported."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname != "coremltools":
            return None
        return importlib.machinery.PathFinder.find_spec(fullname, [self._folder])


def main() -> None:
    """Read the order, import, say hello when the court wants it, and convert until there are no more recipes."""
    gc.disable()  # what is imported stays; `_freeze` turns it on
    order: _Order = json.loads(sys.stdin.readline())
    sys.argv = [""]
    os.chdir(order["folder"])
    _limit_files()
    _adopt_orphans()
    _load_ourselves(Path(order["package"]))
    fault = _environments_fault()
    # Until the court has loaded what it measures with, nothing of the tree runs beside it.
    begin = sys.stdin.readline()
    if not begin:
        return
    if order["tree"] is not None:
        sys.meta_path.insert(0, _OnlyCoremltools(order["tree"]))
    hello = fault or _hello(order["tree"])
    _write(order["hello"], hello)
    if "fault" in hello:
        return
    exports = json.loads(begin)["exports"]
    if order["fork"]:
        _keep_converters(order, exports=exports)
    else:
        _load_export(exports=exports)
        faulthandler.enable(file=order["words"])
        _convert_all(order["slots"][0], order["folder"], order["seconds"], order["words"])


def _limit_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    most = _MOST_BYTES_IN_A_FILE if hard == resource.RLIM_INFINITY else min(hard, _MOST_BYTES_IN_A_FILE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))


def _adopt_orphans() -> None:
    """Stay above whatever the tree starts, where the system can, so that the court finds it below this process."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _load_ourselves(folder: Path) -> None:
    """Import mish_guard from the folder of the court, whatever the tree calls by that name."""
    spec = importlib.util.spec_from_file_location(
        "mish_guard", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        msg = f"{folder} is no package"
        raise ImportError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mish_guard"] = module
    spec.loader.exec_module(module)


def _environments_fault() -> dict[str, object] | None:
    """Import what every conversion needs beside coremltools; why that cannot be, as `_hello` would say it."""
    try:
        import torch

        torch.set_num_threads(1)
        import mish_guard.convert.conversion  # noqa: F401 - loaded here, used later
    except BaseException as error:  # noqa: BLE001 - whatever it is, the environment cannot convert
        return {"fault": "environment", "error": _reason(error)}
    return None


def _hello(tree: str | None) -> Mapping[str, object]:
    """Who converts; or `fault` and `error`: why nobody can, and whether the tree or its environment is to blame."""
    from mish_guard.convert import conversion

    try:
        described = conversion.describe()
    except BaseException as error:  # noqa: BLE001 - a tree raises what it likes, SystemExit too
        return {"fault": "tree" if _is_the_trees(error, tree) else "environment", "error": _reason(error)}
    _freeze()
    return described


def _freeze() -> None:
    """coremltools collects garbage after each conversion, which would walk all that has been loaded."""
    gc.freeze()
    gc.set_threshold(_OBJECTS_TO_COLLECT)
    gc.enable()


def _load_export(*, exports: bool) -> None:
    """Load what torch.export needs, if some recipe needs it."""
    if exports:
        from mish_guard.convert import conversion

        conversion.load_export()
        _freeze()


def _is_the_trees(error: BaseException, tree: str | None) -> bool:
    """Whether the last word was the tree's own: a name that it does not have, a line that is no Python."""
    if isinstance(error, ModuleNotFoundError):
        return (error.name or "").startswith("coremltools.")
    frames = traceback.extract_tb(error.__traceback__)
    last = error.filename if isinstance(error, SyntaxError) else (frames[-1].filename if frames else None)
    return last is not None and "coremltools" in Path(last).parts and (tree is None or last.startswith(tree))


def _keep_converters(order: _Order, *, exports: bool) -> None:
    """One forked converter for each slot; one that ends is named to the court and replaced.

    The first of several begins before torch.export is loaded: the court gives it what needs none while there is any.
    """
    early = order["slots"][:1] if len(order["slots"]) > 1 else []
    converters = dict(_fork(slot, order) for slot in early)
    _load_export(exports=exports)
    converters.update(_fork(slot, order) for slot in order["slots"][len(early) :])
    while converters:
        pid, status = os.wait()
        if pid in converters:
            slot, words = converters.pop(pid)
            _write(slot["out"], {"died": os.waitstatus_to_exitcode(status), "last": _last_words(words)})
            converters.update([_fork(slot, order)])


def _fork(slot: _Slot, order: _Order) -> tuple[int, tuple[_Slot, int]]:
    """The process of a new converter, its slot, and the pipe with its last words, which is all that it can fill."""
    read, words = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(words, False)
    pid = os.fork()
    if pid:
        os.close(words)
        return pid, (slot, read)
    os.close(read)
    os.setsid()
    faulthandler.enable(file=words)
    _convert_all(slot, order["folder"], order["seconds"], words)
    # The court has closed its end or is gone: the whole family ends with it.
    os.kill(os.getppid(), signal.SIGKILL)
    os._exit(0)


def _last_words(words: int) -> str:
    try:
        return os.read(words, _MOST_LAST_WORDS).decode("utf-8", "replace")
    except BlockingIOError:
        return ""
    finally:
        os.close(words)


def _convert_all(slot: _Slot, folder: str, seconds: float, words: int) -> None:
    """Convert the recipes that come on the slot's pipe, one at a time, and say of each what became of it."""
    with os.fdopen(slot["in"], "r", encoding="utf-8") as recipes:
        for line in recipes:
            request = json.loads(line)
            _set_alarm(seconds, words)
            answer = _convert(request["recipe"], Path(folder) / request["name"])
            _set_alarm(0, words)
            gc.freeze()  # what this conversion loaded stays
            _write(slot["out"], {**answer, "number": request["number"]})


def _set_alarm(seconds: float, words: int) -> None:
    """End this process after so many seconds, last words into that descriptor first; 0: not any more."""
    faulthandler.cancel_dump_traceback_later()
    if seconds:
        faulthandler.dump_traceback_later(max(seconds - _LAST_WORDS_SECONDS, seconds / 2), exit=False, file=words)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _convert(recipe: Mapping[str, object], path: Path) -> dict[str, object]:
    from mish_guard.convert import conversion, recipes

    try:
        conversion.convert_recipe(recipes.from_json(recipe), path)
    except BaseException as error:  # noqa: BLE001 - SystemExit and KeyboardInterrupt of a tree are failures like others
        return {"error": _reason(error), "machine": _is_the_machines(error)}
    return {}


def _is_the_machines(error: BaseException) -> bool:
    import errno

    number = getattr(error, "errno", None) if isinstance(error, OSError) else None
    return isinstance(error, MemoryError) or (number is not None and errno.errorcode.get(number) in _MACHINE_ERRNOS)


def _reason(error: BaseException) -> str:
    """One line: what was raised, and the file and line of the tree where."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_REASON_LENGTH]
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "coremltools" in Path(frame.filename).parts
    ]
    if not frames or isinstance(error, SyntaxError):
        return text
    named = next((frame for frame in reversed(frames) if frame.name == "mish"), frames[-1])
    parts = Path(named.filename).parts
    return f"{text} ({'/'.join(parts[parts.index('coremltools') :])}:{named.lineno})"


def _write(descriptor: int, message: Mapping[str, object]) -> None:
    os.write(descriptor, (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    main()
