"""docs/darwin.md: whatever only a Mac executes is in its table, with a test that is there or an experiment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.console import PACKAGE, ROOT

PAGE = (ROOT / "docs" / "darwin.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)

# Words of macOS, of its tools, and of the calls of coremltools that end in Core ML.
MARKS = re.compile(
    r"darwin|is_mac\(|_on_mac|sysctl|sw_vers|pmset|xcode|DEVELOPER_DIR|ARCHFLAGS|OSX_ARCH|mac_ver|is_rosetta|host\.rosetta"
    r"|_MACHO|xca\\xfe|libcoremlpython|MLCompute|ct\.ComputeUnit|get_all_compute_devices|MLModel\(|\.mlmodelc|/mach_"
    # What is done otherwise where the system is not Linux.
    r"|sys\.platform|CAN_FORK|/bin/ps|_CHILDREN\.exists|\.dylib|DYLD_|MACOSX_",
    re.IGNORECASE,
)


def _spots() -> Iterator[tuple[str, str]]:
    """File and function of every line of code that says one of those words."""
    sources = [(PACKAGE.parent, PACKAGE.rglob("*.py")), (ROOT, (ROOT / "ci").glob("*.py"))]
    for root, path in [(root, path) for root, paths in sources for path in paths]:
        relative = path.relative_to(root).as_posix()
        if relative.startswith("mish_guard/emulated_core_ml/"):
            continue  # a Core ML for machines that are no Mac
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        told = _docstrings(tree)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if number in told or not MARKS.search(line.partition("# ")[0]):
                continue
            inner = [each for each in functions if each.lineno <= number <= (each.end_lineno or 0)]
            yield relative, max(inner, key=lambda each: each.lineno).name if inner else "(module)"


def _docstrings(tree: ast.Module) -> set[int]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [node.body[0] for node in ast.walk(tree) if isinstance(node, owners) and ast.get_docstring(node)]
    return {number for each in found for number in range(each.lineno, (each.end_lineno or each.lineno) + 1)}


def _workflow_lines() -> Iterator[tuple[str, str]]:
    """Steps and settings of the workflows that name a Mac; the file and the job stand for them."""
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        job = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            job = found[1] if (found := re.match(r"  ([\w-]+):$", line)) else job
            if re.search(r"macos-\d|macOS|xcode", line.partition("# ")[0]):
                yield path.relative_to(ROOT).as_posix(), job


def test_whatever_only_a_mac_executes_is_in_the_table() -> None:
    listed = {(file, function) for file, function, *_ in ROW.findall(PAGE)}
    assert listed == {*_spots(), *_workflow_lines()}


def test_each_has_a_test_that_is_there_or_an_experiment() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for file, function, _, tests, experiment in ROW.findall(PAGE):
        named = re.findall(r"`(test_\w+)`", tests)
        assert [name for name in named if f"def {name}(" not in texts] == [], (file, function)
        assert named or experiment.strip() not in ("", "-"), (file, function)


def test_the_table_has_no_row_that_cannot_be_read() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) == len(ROW.findall(PAGE)) == len(set(rows))
    assert Path(ROOT / "docs" / "neural-engine.md").exists()
