"""Whatever a tree does while it converts costs it the recipe in hand, named, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from mish_guard import processes
from mish_guard.convert import witnesses as the_module
from mish_guard.convert.recipes import Recipe
from mish_guard.convert.witnesses import Interpreter, Witnesses
from mish_guard.engines.emulator import package
from mish_guard.errors import ConversionError, MachineError
from mish_guard.models import networks
from mish_guard.records import Backend, Frontend
from tests import trees

pytestmark = pytest.mark.slow

MARK = "a-test"


def recipe(case: str = "rank-2", *, lowering: str = "as-is", backend: Backend = Backend.MLPROGRAM_FP16) -> Recipe:
    model = networks.case(case).model
    return Recipe(model=model, case=case, lowering=lowering, frontend=Frontend.TORCHSCRIPT, backend=backend)


Testify = Callable[..., Witnesses]


@pytest.fixture
def testify(tmp_path: Path) -> Iterator[Testify]:
    """Witnesses of a tree with other files, of the installed one without."""
    with contextlib.ExitStack() as stack:

        def start(files: Mapping[str, str] | None = None, *, seconds: float = 300, jobs: int = 1) -> Witnesses:
            folder = None if files is None else trees.tree(tmp_path / "tree", files)
            (tmp_path / "out").mkdir()
            who = Interpreter(python=Path(sys.executable), folder=folder)
            witnesses = Witnesses(who, tmp_path / "out", mark=MARK, jobs=jobs, seconds=seconds)
            stack.callback(witnesses.close)
            return witnesses

        yield start


def ops_of(path: Path) -> list[str]:
    return [node.op for node in package.load(path).nodes]


def refusal(witnesses: Witnesses, case: str = "rank-2") -> str:
    with pytest.raises(ConversionError) as caught:
        witnesses.package(recipe(case))
    return str(caught.value)


def test_the_converter_that_begins_early_leaves_exports_to_the_others_while_there_is_anything_else() -> None:
    queue = the_module._Queue()
    scripts = [recipe(case) for case in ("rank-2", "rank-3")]
    exports = [dataclasses.replace(each, frontend=Frontend.EXPORT) for each in scripts]
    for each in (exports[0], scripts[0], exports[1], scripts[1]):
        queue.add(each)
    assert [queue.take(rather_no_export=early) for early in (True, False, True, True)] == [
        scripts[0],
        exports[0],
        scripts[1],
        exports[1],
    ]
    assert not queue.waiting


def test_a_recipe_becomes_a_package_of_the_tree_that_is_named(testify: Testify) -> None:
    witnesses = testify(trees.with_mish(trees.GOOD), jobs=2)
    witnesses.plan([recipe(), recipe("rank-1")])
    assert "softplus" not in ops_of(witnesses.package(recipe()))
    assert "softplus" in ops_of(witnesses.package(recipe(lowering="softplus")))
    assert witnesses.package(recipe("rank-1", backend=Backend.NEURALNETWORK)).suffix == ".mlmodel"
    assert witnesses.hello.coremltools == "9.0"
    assert witnesses.hello.path.endswith("/tree/coremltools")


# What the converter of one tree does, by the rank of its input.
FAILURES = """
    import os, time
    if len(x.shape) == 1: return undefined
    if len(x.shape) == 2: raise SystemExit(0)
    if len(x.shape) == 3: os._exit(0)
    if len(x.shape) == 5: os.kill(os.getpid(), 11)
    while x.shape[1] == 1: time.sleep(9)
"""


def test_a_converter_that_fails_is_named_with_file_and_line(testify: Testify) -> None:
    """A NameError, a SystemExit, an exit, a segmentation fault and a hang, each with the next recipe unharmed."""
    witnesses = testify(trees.with_mish(FAILURES + trees.GOOD), seconds=20)
    ops = "(coremltools/converters/mil/frontend/torch/ops.py:18"
    for case, said in (
        ("rank-1", f"NameError: name 'undefined' is not defined {ops}"),
        ("rank-2", f"SystemExit: 0 {ops}"),
        ("rank-3", "the converting process ended with status 0"),
        ("rank-5", f"the converting process was ended by SIGSEGV {ops}"),
        ("mish-k1", f"the conversion did not end within 20 s {ops}"),
    ):
        assert said in refusal(witnesses, case)
    assert witnesses.package(recipe("scale-0.1")).exists()


def test_where_forking_is_not_safe_a_witness_converts_itself(testify: Testify, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, whose frameworks do not survive a fork: what a conversion ends is a witness, and replaced."""
    monkeypatch.setattr(the_module, "CAN_FORK", False)
    witnesses = testify(trees.with_mish(FAILURES + trees.GOOD), seconds=20)
    assert "was ended by SIGSEGV (coremltools/converters/mil/frontend/torch/ops.py:18" in refusal(witnesses, "rank-5")
    assert "SystemExit: 0" in refusal(witnesses, "rank-2")
    assert witnesses.package(recipe("scale-0.1")).exists()


def test_after_some_conversions_that_never_end_the_others_are_not_waited_for(testify: Testify) -> None:
    witnesses = testify(trees.with_mish("    import time\n    while True: time.sleep(9)\n    res = x\n"), seconds=1)
    cases = ["rank-1", "rank-2", "rank-3", "rank-5", "mish-k1", "mish-k3", "inplace", "F.mish"]
    with contextlib.suppress(ConversionError):
        witnesses.package(recipe(cases[0]))
    told = []
    for case in cases[1:]:
        with pytest.raises(ConversionError) as caught:
            witnesses.package(recipe(case))
        told.append(str(caught.value))
    assert told[-1] == "not tried: 5 conversions before it never ended"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("this is no Python", "cannot be imported: SyntaxError"),
        ("import os; os._exit(0)", "cannot be imported: the process ended with status 0"),
        ("import os; os.kill(os.getpid(), 11)", "cannot be imported: the process was ended by SIGSEGV"),
        ("from coremltools import nothing_of_that_name", "cannot be imported: ImportError"),
    ],
    ids=["SyntaxError", "_exit", "segmentation fault", "ImportError"],
)
def test_a_tree_that_cannot_be_imported_is_at_fault(testify: Testify, code: str, said: str) -> None:
    assert said in refusal(testify(trees.with_import(code)))


def test_a_python_that_lacks_what_the_tree_needs_is_not_the_trees_fault(testify: Testify) -> None:
    witnesses = testify(trees.with_import("import a_library_that_is_not_there"))
    with pytest.raises(MachineError, match="a_library_that_is_not_there"):
        witnesses.package(recipe())


def test_a_tree_without_mish_is_at_fault(testify: Testify) -> None:
    text = trees.source().replace("@register_torch_op\ndef mish(", "def mish(")
    assert "mish" in refusal(testify({trees.OPS: text}))


def test_any_callable_may_be_the_converter(testify: Testify) -> None:
    """A functools.partial has no source text."""
    text = trees.source().replace("@register_torch_op\ndef mish(", "def _mish(")
    text += (
        "\nimport functools\nfrom .torch_op_registry import _TORCH_OPS_REGISTRY as _registry\n"
        "_registry.set_func_by_name(functools.partial(_mish), 'mish')\n"
    )
    witnesses = testify({trees.OPS: text})
    assert "softplus" in ops_of(witnesses.package(recipe()))
    assert len(witnesses.hello.converter or "") == 64


# On each channel two hundred megabytes, on every other descriptor the answer that all is well.
NOISE = """
    import os, time
    for channel in (1, 2):
        for _ in range(200): os.write(channel, b"x" * (1 << 20))
    for descriptor in range(3, 64 if len(x.shape) == 1 else 3):
        try: os.write(descriptor, b'{"number": 1}' + bytes([10]))
        except OSError: pass
    while len(x.shape) == 1: time.sleep(9)
"""


def test_neither_noise_nor_words_of_a_converter_are_taken_for_a_package(testify: Testify) -> None:
    witnesses = testify(trees.with_mish(NOISE + trees.GOOD))
    assert "softplus" not in ops_of(witnesses.package(recipe("rank-2")))
    assert "left no package" in refusal(witnesses, "rank-1")


def test_a_package_with_a_link_is_refused(testify: Testify) -> None:
    code = (
        "import coremltools.models.model as _model\n_save = _model.MLModel.save\n"
        "def _linked(self, path, *rest):\n    _save(self, path, *rest)\n    import os\n"
        "    os.symlink('/etc/passwd', os.path.join(path, 'link'))\n_model.MLModel.save = _linked\n"
    )
    witnesses = testify({"__init__.py": f"{trees.source('__init__.py')}\n{code}"})
    assert "'link', which is neither a file nor a folder" in refusal(witnesses)


def test_a_witness_finds_nothing_of_the_caller(testify: Testify, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tokens nor settings of pytest or Python, nor pytest itself, nor arguments."""
    for name in ("GITHUB_TOKEN", "GITHUB_ENV", "PYTEST_ADDOPTS", "PYTHONPATH", "MISH_GUARD_OUT"):
        monkeypatch.setenv(name, "secret")
    body = (
        "    import os, sys\n"
        "    found = [name for name, value in os.environ.items() if value == 'secret']\n"
        "    found += [name for name in ('pytest', 'mish_guard.judge', 'mish_guard.results') if name in sys.modules]\n"
        "    found += [each for each in sys.argv if each]\n"
        "    if found: raise RuntimeError(f'found {found}')\n" + trees.GOOD
    )
    assert "softplus" not in ops_of(testify(trees.with_mish(body)).package(recipe()))


def test_what_lies_beside_the_tree_is_not_imported(tmp_path: Path) -> None:
    folder = trees.tree(tmp_path / "tree", trees.with_mish(trees.GOOD))
    for name in ("mish_guard.py", "torch.py", "sitecustomize.py", "attrs.py"):
        (folder / name).write_text("raise RuntimeError('imported')\n")
    (tmp_path / "out").mkdir()
    who = Interpreter(python=Path(sys.executable), folder=folder)
    with contextlib.closing(Witnesses(who, tmp_path / "out", mark=MARK, jobs=1)) as witnesses:
        assert "softplus" not in ops_of(witnesses.package(recipe()))


@pytest.mark.parametrize("is_wanted", [False, True])
def test_a_tree_is_imported_when_a_conversion_is_wanted_and_not_before(is_wanted: bool, tmp_path: Path) -> None:
    """The court loads what it measures with while its witnesses wait; one that is hung up on ends as it is."""
    trace = tmp_path / "imported"
    folder = trees.tree(tmp_path / "tree", trees.with_import(f"open({str(trace)!r}, 'w').close()"))
    (tmp_path / "out").mkdir()
    family = the_module._Family(
        Interpreter(python=Path(sys.executable), folder=folder), tmp_path / "out" / "family", 1, 300, MARK
    )
    with contextlib.closing(family):
        if is_wanted:
            family.begin(exports=False)
            assert isinstance(the_module._hello_of(family), the_module.Hello)
        else:
            family._hang_up()
            assert family.process.wait(timeout=300) == 0
    assert trace.exists() is is_wanted


def test_what_a_tree_starts_ends_with_its_witness(testify: Testify) -> None:
    """A process in a session of its own that ignores every polite signal."""
    body = (
        "    import os, signal, sys, time\n"
        "    if os.fork() == 0:\n        os.setsid()\n        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "        time.sleep(3600)\n        os._exit(0)\n" + trees.GOOD
    )
    witnesses = testify(trees.with_mish(body))
    witnesses.package(recipe())
    left = _carrying(MARK)
    assert len(left) >= 2
    witnesses.close()
    processes.end_descendants(MARK)
    assert _carrying(MARK) == []


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
def test_where_no_list_of_children_is_kept_they_are_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_CHILDREN", tmp_path / "no such list")
    with subprocess.Popen(["sleep", "60"]) as started:
        assert started.pid in processes.descendants(os.getpid())
        started.kill()
    assert processes.descendants(started.pid) == set()


def test_the_ends_of_adopted_orphans_are_taken_and_their_time_counts() -> None:
    code = """
import os, resource, time
from mish_guard import processes
processes.adopt_orphans()
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        while time.process_time() < 0.3: pass
    os._exit(0)
os.close(write)
os.wait()
os.read(read, 1)  # nothing: the last process that holds the other end has ended
processes.end_descendants()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(processes.descendants(os.getpid()), used.ru_utime + used.ru_stime >= 0.2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["set()", "True"]


def _carrying(mark: str) -> list[int]:
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.status() != psutil.STATUS_ZOMBIE and each.environ().get(processes.MARK) == mark:
                found.append(each.pid)
    return [pid for pid in found if pid != os.getpid()]


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_a_conversion_writes_in_many_files_is_bounded(
    testify: Testify, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    """Files below the limit of one, more of them than the limit of all; what is removed again does not count."""
    monkeypatch.setattr(the_module, "_MOST_BYTES", 64 << 20)
    body = f"""
    import os
    for number in range(100):
        name = f"{{number if {is_kept} else 0}}.bin"
        open(name, "wb").write(bytes(2 << 20))
    os.sync()
"""
    witnesses = testify(trees.with_mish(body + trees.GOOD))
    if is_kept:
        assert refusal(witnesses).startswith("the conversion wrote more than")
    else:
        assert ops_of(witnesses.package(recipe()))


def test_a_full_disk_is_the_machines_fault(testify: Testify) -> None:
    body = "    raise OSError(28, 'No space left on device')\n    res = x\n"
    with pytest.raises(MachineError, match="No space left on device"):
        testify(trees.with_mish(body)).package(recipe())
