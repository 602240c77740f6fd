"""From a source to a proved environment: the real road on a release, the CMake road on a small project of our own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import sysconfig
import tempfile
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mish_guard import files
from mish_guard.candidate import (
    BuildError,
    cache,
    identify,
    locate,
    native,
    patch,
    pin,
    pipeline,
    proof,
    source,
    venv,
    wheel,
)
from mish_guard.candidate.native import Host, Mode
from mish_guard.convert.witnesses import Interpreter
from mish_guard.errors import ExitCode, GuardError, UnreadableFileError, UsageError
from mish_guard.models import lowerings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
DOWNLOADS = ROOT / "build" / "downloads"
PROJECT = Path(__file__).parent / "cmake_project"
HERE = Host(system="Linux", machine="x86_64")
LIBRARIES = {f"lib{target}.so" for target in native.TARGETS}


def quiet(_: str) -> None:
    """Nobody listens."""


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def checksum(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes() + oct(path.stat().st_mode).encode())
    return total.hexdigest()


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sources of release 9.0."""
    folder = tmp_path_factory.mktemp("release") / "tree"
    source.fetch(source.parse("sdist:9.0"), folder, DOWNLOADS)
    return folder


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for artefacts that shares the downloads of the checkout."""
    folder = tmp_path_factory.mktemp("artefacts")
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    (folder / "downloads").symlink_to(DOWNLOADS)
    return folder


@pytest.fixture(scope="session")
def built(release: Path, out: Path) -> Path:
    """The Python of an environment with release 9.0 and the exp lowering."""
    return pipeline.install(source.parse(f"dir:{release}"), "exp", Mode.REUSE, out, quiet)


def test_the_environment_holds_the_patched_tree(built: Path) -> None:
    who = Interpreter(python=built, folder=None)
    found = identify.identify(who, "as-is")
    assert found.coremltools.startswith("9.0+mish.exp.g")
    assert Path(found.path).is_relative_to(built.parent.parent)
    assert (found.native, found.replaced) == ("reuse", "exp")
    assert "mb.real_div" in (Path(found.path).parent / patch.OPS).read_text()


def test_the_same_source_is_not_built_again(
    built: Path, release: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "build", lambda *_: pytest.fail("it was built again"))
    assert pipeline.install(source.parse(f"dir:{release}"), "exp", Mode.REUSE, out, quiet) == built


def test_a_python_only_change_compiles_nothing(
    built: Path, release: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(release, tree)
    append(tree / "coremltools" / "__init__.py", "\nCHANGED = True\n")
    before = checksum(tree)
    monkeypatch.setattr(native, "build", lambda *_: pytest.fail("a Python-only change was compiled"))
    python = pipeline.install(source.parse(f"dir:{tree}"), "exp", Mode.AUTO, out, quiet)
    assert python != built
    assert checksum(tree) == before
    subprocess.run([str(python), "-W", "ignore", "-c", "import coremltools; assert coremltools.CHANGED"], check=True)
    # What is judged is what was proved: an environment that was edited since is built again.
    installed = locate.tree(Interpreter(python=python, folder=None)) / "__init__.py"
    append(installed, "\nEDITED = True\n")
    with pytest.raises(UnreadableFileError, match="its files changed"):
        identify.identify(Interpreter(python=python, folder=None), "as-is")
    assert pipeline.install(source.parse(f"dir:{tree}"), "exp", Mode.AUTO, out, quiet) == python
    assert "EDITED" not in installed.read_text()


def test_a_wheel_that_would_install_another_gate_is_refused(release: Path, tmp_path: Path) -> None:
    tree = source.fetch(source.parse(f"dir:{release}"), tmp_path / "tree", DOWNLOADS)
    (tree.folder / "mish_guard").mkdir()
    (tree.folder / "mish_guard" / "__init__.py").write_text("raise SystemExit(0)\n")
    setup = tree.folder / "setup.py"
    setup.write_text(setup.read_text().replace("packages=find_packages(", "packages=['mish_guard'] + find_packages("))
    with pytest.raises(BuildError, match="The wheel holds 'mish_guard' beside coremltools"):
        wheel.pack(tree, "9.0+stranger", tmp_path / "wheels")


def test_what_a_setup_script_writes_into_its_python_is_gone(release: Path, tmp_path: Path) -> None:
    tree = source.fetch(source.parse(f"dir:{release}"), tmp_path / "tree", DOWNLOADS)
    line = (
        "import os, sysconfig; open(os.path.join(sysconfig.get_path('purelib'), 'evil.pth'), 'w').write('import evil')"
    )
    append(tree.folder / "setup.py", f"\n{line}\n")
    wheel.pack(tree, "9.0+pth", tmp_path / "wheels")
    assert not (Path(sysconfig.get_path("purelib")) / "evil.pth").exists()


def test_packing_needs_no_network(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    tree = source.fetch(source.parse(f"dir:{release}"), tmp_path / "tree", DOWNLOADS)
    assert wheel.pack(tree, "9.0+offline", tmp_path / "wheels").exists()


def test_the_wheel_is_recorded_beside_it(built: Path, out: Path) -> None:
    (packed,) = [path for path in (out / "wheels").glob("*.whl") if "g" in path.name][:1]
    recorded = __import__("json").loads(packed.with_suffix(".json").read_text())
    assert recorded["wheel_sha256"] == hashlib.sha256(packed.read_bytes()).hexdigest()
    assert recorded["native"] == "reuse"
    assert packed.name.split("-")[2] == f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert built.exists()


def _without_libraries(package: Path) -> None:
    for library in native.libraries(package):
        library.unlink()


def _without_blobs(package: Path) -> None:
    (package / "libmilstoragepython.so").unlink()


def _make_foreign(library: Path) -> None:
    content = bytearray(library.read_bytes())
    content[18:20] = b"\xb7\x00" if content[18:20] == b"\x3e\x00" else b"\x3e\x00"
    library.write_bytes(content)


def _of_another_architecture(package: Path) -> None:
    _make_foreign(package / "libmodelpackage.so")


def _with_a_foreign_dependency(package: Path) -> None:
    """A library that no check loads by name."""
    _make_foreign(next((package / "_deps").rglob("*.so")))


def _with_another_converter(package: Path) -> None:
    ops = package.parent / patch.OPS
    ops.write_text(ops.read_text().replace("mb.clip(x=x, alpha=-100.0", "mb.clip(x=x, alpha=-50.0"))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_without_libraries, r"libmilstoragepython loads.*native libraries are missing"),
        (_without_blobs, r"libmilstoragepython loads.*native libraries are missing"),
        (_of_another_architecture, "libmodelpackage"),
        (_with_a_foreign_dependency, r"libraries match this machine: .*_core"),
        (_with_another_converter, r"patched text: .*another text"),
    ],
)
def test_the_proof_names_what_is_wrong(
    built: Path, tmp_path: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    folder = tmp_path / "environment"
    shutil.copytree(built.parent.parent, folder, symlinks=True)
    damage(next(folder.glob("lib/*/site-packages/coremltools")))
    with pytest.raises(BuildError, match=complaint):
        proof.prove(venv.python_of(folder), folder, "exp")


def test_the_proof_refuses_a_coremltools_from_elsewhere(built: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"lies in the environment: .*imported from"):
        proof.prove(built, tmp_path, "exp")


def test_libraries_tell_their_architecture(tmp_path: Path) -> None:
    heads = {
        "arm64": b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01",
        "x86_64": b"\xcf\xfa\xed\xfe\x07\x00\x00\x01",
        "unknown": b"!<arch>\n",
    }
    for kind, head in heads.items():
        (tmp_path / "library").write_bytes(head.ljust(64, b"\0"))
        assert native.architectures(tmp_path / "library") == {kind}
    elf = Path(sys.executable).resolve()
    assert native.architectures(elf) == {{"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)}


@pytest.mark.parametrize(("magic", "size"), [(0xCAFEBABE, 20), (0xCAFEBABF, 32)])
def test_a_fat_library_has_all_its_architectures(tmp_path: Path, magic: int, size: int) -> None:
    """What setuptools makes under a universal2 Python, such as that of GitHub's Macs."""
    library = tmp_path / "_core.cpython-312-darwin.so"
    entries = [struct.pack(">I", cpu).ljust(size, b"\0") for cpu in (0x01000007, 0x0100000C)]
    library.write_bytes(struct.pack(">II", magic, 2) + b"".join(entries) + bytes(4096))
    assert native.architectures(library) == {"x86_64", "arm64"}
    library.write_bytes(struct.pack(">II", magic, 2) + entries[0])
    assert native.architectures(library) == {"unknown"}
    # A compiled Java class starts with the same bytes; its version is no number of architectures.
    library.write_bytes(struct.pack(">II", magic, 65) + bytes(4096))
    assert native.architectures(library) == {"unknown"}


def test_a_fat_library_that_holds_this_architecture_is_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [struct.pack(">I", cpu).ljust(20, b"\0") for cpu in (0x01000007, 0x0100000C)]
    (tmp_path / "_core.so").write_bytes(struct.pack(">II", 0xCAFEBABE, 2) + b"".join(entries) + bytes(64))
    monkeypatch.setitem(sys.modules, "coremltools", types.SimpleNamespace(__file__=str(tmp_path / "__init__.py")))
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert proof._architectures() == "1 libraries are arm64"
    monkeypatch.setattr(platform, "machine", lambda: "ppc64")
    with pytest.raises(RuntimeError, match=r"arm64\+x86_64"):
        proof._architectures()


# ---- sources ----


@pytest.mark.parametrize(
    "text", ["", "9.0", "git:url", "git:@x", "dir:", "sdist:", "sdist:../x", "svn:x", "git:u@--upload-pack=x"]
)
def test_a_source_that_makes_no_sense_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="git:URL@REF, dir:PATH or sdist:VERSION"):
        source.parse(text)


def test_a_folder_that_is_no_tree_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no coremltools source tree"):
        source.fetch(source.parse(f"dir:{tmp_path}"), tmp_path / "copy", DOWNLOADS)


def test_two_builds_that_download_the_same_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one build downloads, another does and finishes."""
    finished: list[Path] = []

    def pip(command: list[str]) -> str:
        target = Path(command[command.index("-d") + 1])
        target.mkdir()
        (target / "a.tar.gz").write_text("ours")
        if not started:
            started.append(target)
            finished.append(source.download("a==1", tmp_path))
        return ""

    started: list[Path] = []
    monkeypatch.setattr(source, "run", pip)
    ours = source.download("a==1", tmp_path)
    assert finished == [ours]
    assert [path.name for path in tmp_path.iterdir()] == [ours.parent.name]


def _offers(monkeypatch: pytest.MonkeyPatch, *contents: str, name: str = "coremltools-9.0.tar.gz") -> list[str]:
    """An index whose file has each of the contents in turn; what was not asked for yet."""
    left = list(contents)

    def pip(command: list[str]) -> str:
        target = Path(command[command.index("-d") + 1])
        target.mkdir()
        (target / name).write_text(left.pop(0))
        return ""

    monkeypatch.setattr(source, "run", pip)
    return left


GOOD = {"coremltools-9.0.tar.gz": hashlib.sha256(b"good").hexdigest()}


def test_a_download_that_is_not_the_published_file_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _offers(monkeypatch, "evil", "good")
    with pytest.raises(BuildError, match="is not the published file"):
        source.download("coremltools==9.0", tmp_path, sha256=GOOD)
    assert not list(tmp_path.iterdir())
    assert source.download("coremltools==9.0", tmp_path, sha256=GOOD).read_text() == "good"


def test_a_kept_download_that_changed_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = _offers(monkeypatch, "good", "good")
    source.download("coremltools==9.0", tmp_path, sha256=GOOD).write_text("go")
    assert source.download("coremltools==9.0", tmp_path, sha256=GOOD).read_text() == "good"
    assert not left


def test_a_file_of_the_pinned_release_that_is_not_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _offers(monkeypatch, "new", "other", name="coremltools-9.0-cp314-none-any.whl")
    with pytest.raises(BuildError, match="is no file of that release"):
        source.download("coremltools==9.0", tmp_path, sha256=GOOD)
    of_another = {"coremltools-8.3.0.tar.gz": "0" * 64}
    assert source.download("coremltools==9.0", tmp_path, sha256=of_another).read_text() == "other"


def test_a_release_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="ended with status"):
        source.fetch(source.parse("sdist:0.0.1"), tmp_path / "tree", tmp_path / "downloads")
    assert not list((tmp_path / "downloads").glob("[!.]*"))


def _git(folder: Path, *arguments: str) -> None:
    names = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with the small CMake project, tagged as release 9.0."""
    folder = tmp_path / "repository"
    shutil.copytree(PROJECT, folder)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "-A")
    _git(folder, "commit", "--quiet", "-m", "release")
    _git(folder, "tag", "9.0")
    return folder


def _head(repository: Path, name: str) -> str:
    asked = ["git", "rev-parse", f"{name}^{{commit}}"]
    return subprocess.run(asked, cwd=repository, capture_output=True, text=True, check=True).stdout.strip()


def supply(tree: source.Tree, mode: Mode, folder: Path) -> tuple[Mode, str]:
    return native.supply(tree, mode, DOWNLOADS, folder / "native", HERE)


def _fetched(repository: Path, folder: Path) -> source.Tree:
    return source.fetch(source.parse(f"git:{repository}@{_head(repository, 'HEAD')}"), folder, DOWNLOADS)


def test_a_git_source_is_identified_by_its_commit(repository: Path, tmp_path: Path) -> None:
    tree = _fetched(repository, tmp_path / "tree")
    assert len(tree.commit) == 40
    assert wheel.local_version(tree, "stable-softplus") == f"9.0+mish.stable.softplus.g{tree.commit[:7]}"


@pytest.mark.parametrize("ref", ["main", "topic/x", "v1", "annotated", "pull/7/head", "refs/pull/7/head", "HEAD"])
def test_a_git_source_is_a_branch_a_tag_or_a_pull_request(repository: Path, tmp_path: Path, ref: str) -> None:
    _git(repository, "branch", "--move", "main")
    _git(repository, "switch", "--quiet", "--create", "topic/x")
    for naming in (["tag", "v1"], ["tag", "-m", "text", "annotated"], ["update-ref", "refs/pull/7/head", "HEAD"]):
        append(repository / "CMakeLists.txt", f"# {naming}\n")
        _git(repository, "commit", "--quiet", "-a", "-m", "change")
        _git(repository, *naming)
    _git(repository, "reset", "--quiet", "--hard", "HEAD~2")
    wanted = _head(repository, ref if ref.startswith(("refs", "HEAD")) else ref.replace("pull/", "refs/pull/"))
    tree = source.fetch(source.parse(f"git:{repository}@{ref}"), tmp_path / "tree", DOWNLOADS)
    assert tree.commit == wanted
    assert (tree.folder / "CMakeLists.txt").exists()


def test_a_branch_that_moved_is_another_source(repository: Path) -> None:
    _git(repository, "branch", "--move", "main")
    spec = source.parse(f"git:{repository}@main")
    before = source.resolve(spec)
    assert before.ref == _head(repository, "HEAD")
    append(repository / "CMakeLists.txt", "# changed\n")
    _git(repository, "commit", "--quiet", "-a", "-m", "moves")
    assert source.resolve(spec) != before
    assert pipeline.key(source.resolve(spec), "exp", Mode.AUTO) != pipeline.key(before, "exp", Mode.AUTO)


def test_a_ref_that_is_not_there_is_told(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no tag, branch or pull request 'gone'"):
        source.resolve(source.parse(f"git:{repository}@gone"))
    with pytest.raises(BuildError, match="ls-remote"):
        source.resolve(source.parse(f"git:{tmp_path}/nowhere@main"))


def test_libraries_are_reused_only_while_native_sources_are_those_of_the_release(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "coremltools" / "new.py").write_text("")
    _git(repository, "add", "-A")
    _git(repository, "commit", "--quiet", "-m", "python")
    mode, reason = supply(_fetched(repository, tmp_path / "a"), Mode.AUTO, tmp_path)
    assert (mode, reason) == (Mode.REUSE, "no native source differs from release 9.0")

    append(repository / "CMakeLists.txt", "# changed\n")
    _git(repository, "commit", "--quiet", "-a", "-m", "native")
    with pytest.raises(BuildError, match=r"native sources differ from 9\.0, first CMakeLists\.txt"):
        supply(_fetched(repository, tmp_path / "b"), Mode.REUSE, tmp_path)
    mode, reason = supply(_fetched(repository, tmp_path / "c"), Mode.AUTO, tmp_path)
    assert (mode, "differ" in reason) == (Mode.BUILD, True)


def test_a_working_tree_with_a_native_file_that_git_does_not_know_is_not_that_of_the_release(
    repository: Path, tmp_path: Path
) -> None:
    spec = source.parse(f"dir:{repository}")
    assert supply(source.fetch(spec, tmp_path / "a", DOWNLOADS), Mode.AUTO, tmp_path)[0] is Mode.REUSE
    (repository / "deps" / "new.c").write_text("int x;")
    with pytest.raises(BuildError, match=r"differ from 9\.0, first deps/new\.c"):
        supply(source.fetch(spec, tmp_path / "b", DOWNLOADS), Mode.REUSE, tmp_path)


def test_native_sources_without_a_history_are_not_trusted(tmp_path: Path) -> None:
    tree = source.fetch(source.parse(f"dir:{PROJECT}"), tmp_path / "tree", DOWNLOADS)
    with pytest.raises(BuildError, match="no git history to compare"):
        supply(tree, Mode.REUSE, tmp_path)


# ---- CMake ----


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder)
    return folder


def test_cmake_builds_the_three_targets(project: Path) -> None:
    native.build(project, HERE, os.environ)
    made = {path.name for path in native.libraries(project / "coremltools")}
    assert made == LIBRARIES


def test_a_target_that_is_missing_is_an_error(project: Path) -> None:
    (project / "without_modelpackage").touch()
    with pytest.raises(BuildError, match=r"--build.*modelpackage"):
        native.build(project, HERE, os.environ)


def test_libraries_that_land_elsewhere_are_an_error(project: Path) -> None:
    (project / "elsewhere").touch()
    with pytest.raises(BuildError, match=r"left no libcoremlpython\.so, libmilstoragepython\.so, libmodelpackage\.so"):
        native.build(project, HERE, os.environ)


def test_code_that_does_not_compile_is_an_error(project: Path) -> None:
    (project / "deps" / "library.c").write_text("int answer(void) { return forty_two; }")
    with pytest.raises(BuildError, match=r"--build.*rror"):
        native.build(project, HERE, os.environ)


def test_a_tree_without_cmake_files_cannot_be_built(release: Path) -> None:
    with pytest.raises(BuildError, match=r"no CMakeLists\.txt"):
        native.build(release, HERE, os.environ)


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        (Host(system="Darwin", machine="x86_64"), "is x86_64"),
        (Host(system="Darwin", machine="arm64", rosetta=True), "runs under Rosetta"),
    ],
)
def test_a_python_of_the_wrong_architecture_is_refused(project: Path, host: Host, complaint: str) -> None:
    with pytest.raises(BuildError, match=complaint):
        native.build(project, host, os.environ)


def test_without_cmake_the_error_says_what_to_install(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    with pytest.raises(BuildError, match="cmake is neither beside the running Python nor on PATH"):
        native.build(project, HERE, {"PATH": str(tmp_path)})


def test_the_cmake_beside_the_running_python_builds_and_is_in_the_key(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of an environment which is not on PATH."""
    said = tmp_path / "said"
    cmake = tmp_path / "bin" / "cmake"
    cmake.parent.mkdir()
    cmake.write_text(f'#!/bin/sh\necho "$@" >>{said}\necho one\nexit 1\n')
    cmake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(cmake.with_name("python")))
    one = native.cache_key({}, HERE, {"PATH": "/nowhere"})
    with pytest.raises(BuildError, match="ended with status 1"):
        native.build(project, HERE, {"PATH": "/nowhere"})
    assert [line.split()[0] for line in said.read_text().splitlines()] == ["--version", "-S"]
    cmake.write_text("#!/bin/sh\necho two\n")
    assert native.cache_key({}, HERE, {"PATH": "/nowhere"}) != one


def test_an_xcode_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "Xcode_26.4.app").mkdir()
    with pytest.raises(BuildError, match=r"'/Xcode_9.app', which is not there. Set it to one of: .*/Xcode_26\.4\.app/"):
        native._existing_xcode({"DEVELOPER_DIR": "/Xcode_9.app"}, tmp_path)
    assert native._existing_xcode({"DEVELOPER_DIR": str(tmp_path)}) == str(tmp_path)
    assert native._existing_xcode({}) is None


def test_the_command_line_on_a_mac(project: Path, tmp_path: Path) -> None:
    ccache = tmp_path / "ccache"
    ccache.write_text("#!/bin/sh\n")
    ccache.chmod(0o755)
    mac = Host(system="Darwin", machine="arm64")
    command = native.configure_command("cmake", project, mac, {"PATH": str(tmp_path)})
    assert "-DCMAKE_OSX_ARCHITECTURES=arm64" in command
    assert "-DCMAKE_POLICY_VERSION_MINIMUM=3.5" in command
    assert f"-DPYTHON_EXECUTABLE={sys.executable}" in command
    assert "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache" in command
    assert not any("LAUNCHER" in part for part in native.configure_command("cmake", project, mac, {"PATH": ""}))
    listing = project / "CMakeLists.txt"
    listing.write_text(f"{listing.read_text()}\nfind_program(CCACHE_FOUND ccache)\n")
    once = native.configure_command("cmake", project, mac, {"PATH": str(tmp_path)})
    assert not any("LAUNCHER" in part for part in once)
    assert native.build_command("cmake", project)[-3:] == ["coremlpython", "milstoragepython", "modelpackage"]
    assert native.build_environment(HERE, {"PATH": "x"})["PATH"].startswith(
        f"{Path(sys.executable).parent}{os.pathsep}"
    )


def test_xcode_is_named_by_its_path(tmp_path: Path) -> None:
    mac = Host(system="Darwin", machine="arm64")
    with pytest.raises(BuildError, match="Set DEVELOPER_DIR"):
        native.build_environment(mac, {"PATH": str(tmp_path)})
    tool = tmp_path / "xcode-select"
    tool.write_text("#!/bin/sh\necho /Applications/Xcode_26.app/Contents/Developer\n")
    tool.chmod(0o755)
    selected = native.build_environment(mac, {"PATH": str(tmp_path)})
    assert selected["DEVELOPER_DIR"] == "/Applications/Xcode_26.app/Contents/Developer"
    named = native.build_environment(mac, {"PATH": "", "DEVELOPER_DIR": str(tmp_path)})
    assert (named["DEVELOPER_DIR"], named["ARCHFLAGS"]) == (str(tmp_path), "-arch arm64")


def _key(tree: Path, host: Host = HERE, **environment: str) -> str:
    return native.cache_key(source.blobs(tree, native.SOURCES), host, {"PATH": os.environ["PATH"], **environment})


def test_the_cache_key_follows_native_sources_only(project: Path) -> None:
    key = _key(project)
    (project / "coremltools" / "new.py").write_text("x = 1")
    assert _key(project) == key
    (project / "deps" / "new.c").write_text("int x;")
    changed = _key(project)
    assert changed != key
    assert _key(project, Host(system="Darwin", machine="arm64")) != changed
    assert _key(project, CFLAGS="-O0") != changed
    assert _key(project, PATH="") != changed


def test_the_key_of_a_repository_is_told_without_its_files(repository: Path, out: Path, tmp_path: Path) -> None:
    (repository / "deps" / "link").symlink_to("library.c")
    (repository / "cmake").mkdir()
    (repository / "cmake" / "é.cmake").write_text("# a name that git would quote")
    _git(repository, "add", "-A")
    _git(repository, "commit", "--quiet", "-m", "more")
    told = pipeline.native_key(source.parse(f"git:{repository}@9.0"), out)
    tagged = source.fetch(source.parse(f"git:{repository}@9.0"), tmp_path / "tagged", DOWNLOADS)
    assert told == native.cache_key(source.blobs(tagged.folder, native.SOURCES), Host.here(), os.environ)
    latest = _fetched(repository, tmp_path / "latest").folder
    blobs = source.blobs(latest, native.SOURCES)
    assert blobs.keys() == {"CMakeLists.txt", "deps/library.c", "deps/link", "cmake/é.cmake"}
    listed = source.blobs_of(
        source.parse(f"git:{repository}@{_head(repository, 'HEAD')}"), tmp_path / "list", DOWNLOADS, native.SOURCES
    )
    assert listed == blobs


def test_the_key_of_a_release_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "run", lambda *_, **__: pytest.fail("something was fetched"))
    pinned = pin.load(ROOT / "ci" / "coremltools.yml")
    assert pipeline.native_key(pinned.source, tmp_path) == pipeline.native_key(pinned.source, tmp_path)


# ---- the cache of native libraries ----

Compiled = Callable[[], tuple[bool, str]]


@pytest.fixture
def compiled(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiled:
    """Supplies the libraries of a fresh copy of `project`; whether CMake was called, and what was said."""
    calls: list[Path] = []
    build = native.build

    def counted(tree: Path, *others: Any) -> None:
        calls.append(tree)
        build(tree, *others)

    monkeypatch.setattr(native, "build", counted)

    def supplied() -> tuple[bool, str]:
        calls.clear()
        tree = source.fetch(source.parse(f"dir:{project}"), Path(tempfile.mkdtemp(dir=tmp_path)) / "t", DOWNLOADS)
        mode, said = supply(tree, Mode.BUILD, tmp_path)
        assert mode is Mode.BUILD
        assert {path.name for path in native.libraries(tree.folder / "coremltools")} == LIBRARIES
        assert (tree.folder / "coremltools" / "_deps" / "kmeans1d" / "_core.txt").exists()
        return bool(calls), said

    return supplied


def test_an_edit_of_python_alone_does_not_call_cmake(compiled: Compiled, project: Path) -> None:
    first, said = compiled()
    assert (first, said.partition(",")[0]) == (True, "compiled")
    (project / "coremltools" / "new.py").write_text("x = 1")
    append(project / "coremltools" / "version.py", "# edited\n")
    again, said_again = compiled()
    assert (again, said_again) == (False, said.replace("compiled", "cached"))


def test_an_edited_native_source_is_compiled(compiled: Compiled, project: Path) -> None:
    compiled()
    append(project / "deps" / "library.c", "/* edited */\n")
    assert compiled()[0]
    assert not compiled()[0]


def _entry(folder: Path) -> Path:
    (entry,) = (folder / "native").iterdir()
    return entry


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: append(entry / "coremltools" / "_deps" / "kmeans1d" / "_core.txt", "x"),
        lambda entry: (entry / "coremltools" / "libcoremlpython.so").unlink(),
        lambda entry: (entry / "coremltools" / "libother.so").touch(),
        lambda entry: (entry / cache.MANIFEST).unlink(),
        lambda entry: (entry / cache.MANIFEST).write_text("{"),
        lambda entry: (entry / cache.MANIFEST).write_text('{"files": {}}'),
        lambda entry: shutil.rmtree(entry / "coremltools"),
    ],
    ids=["edited", "gone", "added", "no manifest", "torn manifest", "empty manifest", "no files"],
)
def test_a_damaged_entry_is_not_used_and_replaced(
    compiled: Compiled, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    compiled()
    intact = checksum(_entry(tmp_path) / "coremltools")
    damage(_entry(tmp_path))
    assert compiled()[0]
    assert checksum(_entry(tmp_path) / "coremltools") == intact
    assert not compiled()[0]


def test_an_entry_under_another_key_is_not_used(compiled: Compiled, project: Path, tmp_path: Path) -> None:
    compiled()
    append(project / "deps" / "library.c", "/* edited */\n")
    (tmp_path / "native" / _key_of_next_build(project)).symlink_to(_entry(tmp_path))
    assert compiled()[0]


def _key_of_next_build(project: Path) -> str:
    return native.cache_key(source.blobs(project, native.SOURCES), HERE, os.environ)


def test_a_build_that_fails_or_a_disk_that_is_full_keeps_nothing(
    compiled: Compiled, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "copy2", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        compiled()
    assert list((tmp_path / "native").iterdir()) == []
    (project / "deps" / "library.c").write_text("int answer(void) { return forty_two; }")
    with pytest.raises(BuildError, match=r"--build.*rror"):
        compiled()
    assert list((tmp_path / "native").iterdir()) == []


def test_a_build_says_that_its_libraries_were_kept(release: Path, project: Path, out: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(release, tree)
    shutil.copytree(project, tree, dirs_exist_ok=True, ignore=shutil.ignore_patterns("version.py"))
    (tmp_path / "downloads").symlink_to(out / "downloads")
    said: list[str] = []
    keys = set()
    for edit in ("", "\n# edited\n"):
        append(tree / "coremltools" / "__init__.py", edit)
        spec = source.parse(f"dir:{tree}")
        keys.add(pipeline.native_key(spec, tmp_path))
        packed, record = pipeline.build(spec, "exp", Mode.BUILD, tmp_path, said.append)
        assert record.native == "build"
        assert {f"coremltools/{name}" for name in LIBRARIES} <= set(zipfile.ZipFile(packed).namelist())
    told = [line for line in said if line.startswith("native libraries")]
    (key,) = keys
    assert [line[: line.index(key)] for line in told] == [
        "native libraries: build (compiled, key ",
        "native libraries: build (cached, key ",
    ]
    assert [path.name for path in (tmp_path / "native").iterdir()] == [key]


def test_libraries_that_lay_in_the_tree_are_not_packed(compiled: Compiled, project: Path, tmp_path: Path) -> None:
    (project / "coremltools" / "libstale.so").touch()
    compiled()
    assert (project / "coremltools" / "libstale.so").exists()
    assert not list((tmp_path / "native").rglob("libstale.so"))


def test_a_changed_native_source_without_cmake_files_is_told_with_both_reasons(release: Path, tmp_path: Path) -> None:
    tree = source.fetch(source.parse(f"dir:{release}"), tmp_path / "tree", DOWNLOADS)
    (tree.folder / "mlmodel").mkdir()
    with pytest.raises(BuildError, match=r"has no CMakeLists\.txt, and no libraries to reuse: .*\(mlmodel\)"):
        supply(tree, Mode.AUTO, tmp_path)


# ---- broken trees ----


def _edit_ops(old: str, new: str) -> Callable[[Path], object]:
    def spoil(tree: Path) -> None:
        text = (tree / patch.OPS).read_text()
        assert old in text
        (tree / patch.OPS).write_text(text.replace(old, new))

    return spoil


def _second_mish(tree: Path) -> None:
    append(tree / patch.OPS, "\n\n@register_torch_op(torch_alias=['mish'])\ndef other(context, node):\n    pass\n")


@pytest.mark.parametrize(
    ("spoil", "code", "complaint"),
    [
        (_edit_ops("def mish(", "def smish("), ExitCode.USAGE, "registers 0 converters for mish"),
        (_second_mish, ExitCode.USAGE, "registers 2 converters for mish"),
        (_edit_ops("def mish(", "def mish(("), ExitCode.USAGE, r"ops\.py has a syntax error at line \d+"),
        (_edit_ops("softplus = mb.softplus(x=x)", "softplus = mb.relu(x=x)"), ExitCode.USAGE, "was patched before"),
        (lambda tree: (tree / patch.OPS).unlink(), ExitCode.USAGE, r"has no .*ops\.py"),
        (lambda tree: (tree / "coremltools" / "version.py").unlink(), ExitCode.USAGE, "holds no coremltools"),
        (lambda tree: (tree / "setup.py").unlink(), ExitCode.BROKEN, "pip wheel"),
        (lambda tree: (tree / "setup.py").write_text("raise SystemExit('no')"), ExitCode.BROKEN, "pip wheel"),
    ],
    ids=["no mish", "two", "syntax", "other form", "no ops", "no version", "no setup", "setup fails"],
)
def test_a_broken_tree_is_told_and_left_as_it_is(
    release: Path, out: Path, tmp_path: Path, spoil: Callable[[Path], object], code: ExitCode, complaint: str
) -> None:
    tree, own = tmp_path / "tree", tmp_path / "out"
    shutil.copytree(release, tree)
    spoil(tree)
    before = checksum(tree)
    own.mkdir()
    (own / "downloads").symlink_to(out / "downloads")
    with pytest.raises(GuardError, match=complaint) as raised:
        pipeline.build(source.parse(f"dir:{tree}"), "exp", Mode.AUTO, own, quiet)
    assert (raised.value.exit_code, "\n" in str(raised.value)) == (code, False)
    assert checksum(tree) == before
    assert [path.name for path in own.iterdir()] == ["downloads"]


def test_a_wheel_of_another_version_than_was_set_is_refused(release: Path, tmp_path: Path) -> None:
    tree = source.fetch(source.parse(f"dir:{release}"), tmp_path / "tree", DOWNLOADS)
    (tree.folder / "setup.py").write_text("import setuptools; setuptools.setup(name='coremltools', version='9.0')")
    with pytest.raises(BuildError, match=r"expected version 9\.0\+x\. Does setup\.py read version\.py"):
        wheel.pack(tree, "9.0+x", tmp_path / "wheels")
    assert not (tmp_path / "wheels").exists()


def test_a_tree_as_it_is_that_lost_mish_is_named_by_the_proof(built: Path, tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    shutil.copytree(built.parent.parent, folder, symlinks=True)
    _edit_ops("def mish(", "def smish(")(next(folder.glob("lib/*/site-packages")))
    with pytest.raises(BuildError, match="the tree registers no converter for mish"):
        proof.prove(venv.python_of(folder), folder, "as-is")


def test_a_published_wheel_without_libraries_is_told(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "coremltools-9.0-py3-none-any.whl", "w") as archive:
        archive.writestr("coremltools/__init__.py", "")
    monkeypatch.setattr(native, "download", lambda *_, **__: tmp_path / "coremltools-9.0-py3-none-any.whl")
    tree = source.fetch(source.parse(f"dir:{release}"), tmp_path / "tree", DOWNLOADS)
    with pytest.raises(BuildError, match="holds no native libraries"):
        supply(tree, Mode.AUTO, tmp_path)


# ---- nothing half done ----


def _wheels(out: Path) -> list[str]:
    return sorted(path.name for path in out.rglob("*.whl"))


def test_a_source_that_cannot_be_written_stays_as_it_is(release: Path, out: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(release, tree)
    for path in [tree, *tree.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = checksum(tree)
    spec = source.parse(f"dir:{tree}")
    # The super-user may write anything, so the copy's modes are looked at too.
    copied = source.fetch(spec, tmp_path / "copy", DOWNLOADS).folder
    assert [path for path in (copied, *copied.rglob("*")) if not path.stat().st_mode & stat.S_IWUSR] == []
    packed, _ = pipeline.build(spec, "exp", Mode.REUSE, out, quiet)
    assert packed.exists()
    assert checksum(tree) == before


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size`, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_no_wheel(release: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "downloads").symlink_to(out / "downloads")
    command = [sys.executable, "ci/build_coremltools.py", f"dir:{release}", "--out", str(tmp_path)]
    with _largest_file(300_000):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.BROKEN
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert _wheels(tmp_path / "wheels") == []
    assert not list(tmp_path.glob(".build-*"))


OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]
ON_A_SMALL_DISK = """
mount -t tmpfs -o "size=$1" tmpfs "$2" && ln -s "$3" "$2/downloads" || exit 99
"$4" ci/build_coremltools.py "dir:$5" --out "$2"
code=$?
find "$2" -mindepth 1
exit $code
"""


def _may_mount() -> bool:
    tried = [*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(tried, capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="a small disk needs a Linux that lets a user mount one")
@pytest.mark.parametrize("size", ["4m", "30m"], ids=["while fetching", "while packing"])
def test_a_small_disk_that_fills_up_leaves_nothing(size: str, release: Path, tmp_path: Path) -> None:
    before = checksum(release)
    arguments = (size, tmp_path, DOWNLOADS, sys.executable, release)
    done = subprocess.run(
        [*OWN_MOUNTS, "bash", "-c", ON_A_SMALL_DISK, "bash", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.splitlines()) == (ExitCode.BROKEN, [str(tmp_path / "downloads")])
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert checksum(release) == before


def test_what_a_tree_brings_itself_is_not_replaced_from_the_wheel(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / "coremltools-9.0-py3-none-any.whl"
    with zipfile.ZipFile(published, "w") as archive:
        for name in ("libmodelpackage.so", "modelrunner/edited.swift", "modelrunner/added.swift"):
            archive.writestr(f"coremltools/{name}", "published")
    monkeypatch.setattr(native, "download", lambda *_, **__: published)
    tree = source.fetch(source.parse(f"dir:{release}"), tmp_path / "tree", DOWNLOADS)
    package = tree.folder / "coremltools"
    (package / "modelrunner" / "edited.swift").write_text("mine")
    (package / "libmodelpackage.so").write_text("mine")
    supply(tree, Mode.AUTO, tmp_path)
    assert (package / "modelrunner" / "edited.swift").read_text() == "mine"
    assert (package / "modelrunner" / "added.swift").read_text() == "published"
    assert (package / "libmodelpackage.so").read_text() == "published"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "note: x\n  error: [Errno 28] No space left\n  ERROR: Failed building wheel\nERROR: Failed to build one\n",
            "error: [Errno 28] No space left",
        ),
        (
            "library.c:1: error: 'forty_two' undeclared\nmake[1]: *** [all] Error 2\nmake: *** [all] Error 2\n",
            "library.c:1: error: 'forty_two' undeclared",
        ),
        ("something\nwent wrong\n\n", "went wrong"),
        ("", "no reason given"),
    ],
    ids=["pip", "make", "plain", "silent"],
)
def test_the_line_that_tells_most_is_told(said: str, reason: str) -> None:
    assert source.reason(said) == reason


def test_an_interruption_leaves_no_wheel_and_no_scratch(release: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "downloads").symlink_to(out / "downloads")
    command = [sys.executable, "ci/build_coremltools.py", f"dir:{release}", "--out", str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "native libraries" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    shown, _ = process.communicate(timeout=60)
    assert (process.returncode, shown) == (ExitCode.INTERRUPTED, "")
    assert _wheels(tmp_path / "wheels") == []
    assert not list(tmp_path.glob(".build-*"))


# ---- the pin ----


def test_the_pin_ships_release_9_with_exp() -> None:
    pinned = pin.load(ROOT / "ci" / "coremltools.yml")
    assert (pinned.ref, pinned.lowering, pinned.native) == ("9.0", "exp", Mode.AUTO)
    assert str(pinned.source) == "sdist:9.0"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('ref: "9.0"', "ref: main"),
        ("lowering: exp", "lowering: relu"),
        ("native: auto", "native: maybe"),
        ("ref:", "rev:"),
    ],
)
def test_a_pin_that_is_not_one_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "pin.yml"
    path.write_text((ROOT / "ci" / "coremltools.yml").read_text().replace(old, new))
    with pytest.raises(UnreadableFileError, match="does not follow the coremltools schema"):
        pin.load(path)


def test_every_lowering_of_the_table_can_be_pinned() -> None:
    schema = files.read_json(files.DATA / "schemas" / "coremltools.schema.json")
    assert schema["properties"]["lowering"]["enum"] == [lowerings.AS_IS, *lowerings.TABLE]
    assert schema["properties"]["native"]["enum"] == [mode.value for mode in Mode]


def test_a_pinned_commit_is_cloned(tmp_path: Path) -> None:
    path = tmp_path / "pin.yml"
    path.write_text((ROOT / "ci" / "coremltools.yml").read_text().replace('"9.0"', "a" * 40))
    assert str(pin.load(path).source) == f"git:https://github.com/apple/coremltools@{'a' * 40}"


def test_the_command_prints_the_patch_and_builds_nothing(out: Path, tmp_path: Path) -> None:
    (tmp_path / "downloads").symlink_to(out / "downloads")
    command = [sys.executable, "ci/build_coremltools.py", "--print-diff", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-    softplus = mb.softplus(x=x)" in done.stdout
    assert "+    clipped = mb.clip(" in done.stdout
    assert _wheels(tmp_path / "wheels") == []
    refused = subprocess.run([*command[:2], "svn:x"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (ExitCode.USAGE, "")
