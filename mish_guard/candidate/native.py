"""The native libraries of a tree: built with CMake, or taken from the published wheel of the same version."""

from __future__ import annotations

import enum
import importlib.metadata
import os
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mish_guard import files
from mish_guard.candidate import BuildError, cache
from mish_guard.candidate.source import Tree, blobs, download, reason, run

TARGETS = ("coremlpython", "milstoragepython", "modelpackage")

# Folders and files of a full tree whose content ends up in a native library.
SOURCES = ("CMakeLists.txt", "cmake", "coremlpython", "deps", "milstoragepython", "mlmodel", "modelpackage")

# Variables that compilers and CMake obey besides their arguments.
_OBEYED = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "SDKROOT", "MACOSX_DEPLOYMENT_TARGET")

_SUFFIXES = (".so", ".dylib")
_ELF_MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}
_MACHO_CPUS = {0x01000007: "x86_64", 0x0100000C: "arm64"}

# A fat file lists so many architectures at most; what starts like one and lists more is a Java class.
_MOST_ARCHITECTURES = 8

# The Python of python.org, which GitHub's runners have, is universal2: setuptools, with which the vendored kmeans1d is
# built, would compile everything twice.
_ARCHFLAGS = "-arch arm64"


class Mode(str, enum.Enum):
    """Where native libraries come from; `auto` reuses where that is allowed."""

    AUTO = "auto"
    BUILD = "build"
    REUSE = "reuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What decides whether and how native code can be built here."""

    system: str
    machine: str
    rosetta: bool = False

    @classmethod
    def here(cls) -> Host:
        """The machine, as the running Python sees it."""
        translated = False
        if sys.platform == "darwin":
            asked = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "sysctl.proc_translated"], capture_output=True, text=True, check=False
            )
            translated = asked.stdout.strip() == "1"
        return cls(system=platform.system(), machine=platform.machine(), rosetta=translated)


def supply(tree: Tree, mode: Mode, downloads: Path, kept: Path, host: Host) -> tuple[Mode, str]:
    """Put native libraries into the tree's package; returns where they came from and why.

    What is built is kept in the folder `kept` and taken from there while its key is the same. Raises BuildError where
    `reuse` is asked for and not allowed, or the build fails.
    """
    refused = _why_not_reuse(tree)
    if mode is Mode.REUSE and refused is not None:
        msg = f"The libraries of the wheel {tree.version} cannot be reused: {refused} Use --native build on a Mac."
        raise BuildError(msg)
    for stale in libraries(tree.folder / cache.PACKAGE):
        # Whatever lay in the caller's tree, only what is built or taken here is packed.
        stale.unlink()
    if mode is Mode.BUILD or refused is not None:
        if refused is not None and not (tree.folder / "CMakeLists.txt").exists():
            msg = f"Nothing to build with, the tree has no CMakeLists.txt, and no libraries to reuse: {refused}"
            raise BuildError(msg)
        return Mode.BUILD, _build_or_restore(tree.folder, host, kept) + (f"; {refused}" if refused else "")
    known = tree.spec.sha256
    wheel = download(f"coremltools=={tree.version}", downloads, "--only-binary", "coremltools", sha256=known)
    _copy_libraries(wheel, tree.folder)
    return Mode.REUSE, f"no native source differs from release {tree.version}"


def _build_or_restore(tree: Path, host: Host, kept: Path) -> str:
    """Take the libraries of this key from `kept`, or build them and keep them there; says which it was."""
    _require_cmake_files(tree)
    key = cache_key(blobs(tree, SOURCES), host, os.environ)
    if cache.restore(kept, key, tree):
        return f"cached, key {key}"
    before = cache.hashes(tree / cache.PACKAGE)
    build(tree, host, os.environ)
    cache.keep(kept, key, tree, before)
    return f"compiled, key {key}"


def build(tree: Path, host: Host, environment: Mapping[str, str]) -> None:
    """Configure and build the three libraries by name with CMake; raises BuildError with the step that failed."""
    _require_cmake_files(tree)
    _refuse_wrong_architecture(host)
    prepared = build_environment(host, environment)
    cmake = shutil.which("cmake", path=prepared["PATH"])
    if cmake is None:
        msg = "cmake is neither beside the running Python nor on PATH. Install CMake 3.16 or later."
        raise BuildError(msg)
    for command in (configure_command(cmake, tree, host, environment), build_command(cmake, tree)):
        _run_step(command, tree, prepared)
    missing = [name for target in TARGETS if not (tree / cache.PACKAGE / (name := f"lib{target}.so")).exists()]
    if missing:
        msg = f"CMake ended well but left no {', '.join(missing)} in the package. Does CMakeLists.txt copy them there?"
        raise BuildError(msg)


def _require_cmake_files(tree: Path) -> None:
    if not (tree / "CMakeLists.txt").exists():
        msg = "The tree has no CMakeLists.txt: an sdist holds Python only. Use git:URL@REF to build native libraries."
        raise BuildError(msg)


def configure_command(cmake: str, tree: Path, host: Host, environment: Mapping[str, str]) -> list[str]:
    """CMake's first step: architecture, policy, the very Python that runs this, ccache where there is one."""
    include = sysconfig.get_path("include")
    command = [cmake, "-S", str(tree), "-B", str(tree / "build"), *_flags(host)]
    command += [f"-DPYTHON_EXECUTABLE={sys.executable}", f"-DPython3_EXECUTABLE={sys.executable}"]
    command += [f"-DPYTHON_INCLUDE_DIR={include}", f"-DPython3_INCLUDE_DIR={include}"]
    # coremltools' own CMakeLists.txt puts ccache before every command where it finds one; twice is once too often.
    asks_itself = (tree / "CMakeLists.txt").exists() and "ccache" in (tree / "CMakeLists.txt").read_text("utf-8")
    if shutil.which("ccache", path=environment.get("PATH")) and not asks_itself:
        command += ["-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"]
    return command


def _flags(host: Host) -> list[str]:
    """What decides what the libraries become, wherever they are built."""
    # CMake 4 refuses the vendored projects' minimum of 3.0 without the policy.
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_POLICY_VERSION_MINIMUM=3.5"]
    return [*flags, "-DCMAKE_OSX_ARCHITECTURES=arm64"] if host.system == "Darwin" else flags


def build_command(cmake: str, tree: Path) -> list[str]:
    """CMake's second step: the three targets by name, so that a missing one is an error, on all cores."""
    return [cmake, "--build", str(tree / "build"), "--parallel", str(os.cpu_count() or 1), "--target", *TARGETS]


def build_environment(host: Host, environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with the running Python first on PATH and the CMake policy set for nested projects.

    On a Mac it names Xcode by path in DEVELOPER_DIR, the caller's or the selected one, so that nothing else on PATH
    decides; raises BuildError where there is none.
    """
    first = str(Path(sys.executable).parent)
    path = os.pathsep.join([first, environment.get("PATH", os.defpath)])
    prepared = {**environment, "PATH": path, "CMAKE_POLICY_VERSION_MINIMUM": "3.5"}
    if host.system == "Darwin":
        prepared["ARCHFLAGS"] = _ARCHFLAGS
        prepared["DEVELOPER_DIR"] = _existing_xcode(environment) or _selected_xcode(environment)
    return prepared


def _existing_xcode(environment: Mapping[str, str], applications: Path = Path("/Applications")) -> str | None:
    """What DEVELOPER_DIR names; raises BuildError, with what there is, where that folder is not there."""
    named = environment.get("DEVELOPER_DIR")
    if not named or Path(named).is_dir():
        return named or None
    there = ", ".join(str(path / "Contents" / "Developer") for path in sorted(applications.glob("Xcode*.app")))
    msg = f"DEVELOPER_DIR names '{named}', which is not there. Set it to one of: {there or 'none, Xcode is missing'}."
    raise BuildError(msg)


def _selected_xcode(environment: Mapping[str, str]) -> str:
    tool = shutil.which("xcode-select", path=environment.get("PATH"))
    asked = None
    if tool is not None:
        asked = subprocess.run([tool, "-p"], capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH
    if asked is None or asked.returncode or not asked.stdout.strip():
        msg = "No Xcode is selected. Set DEVELOPER_DIR to its path, such as /Applications/Xcode.app/Contents/Developer."
        raise BuildError(msg)
    return asked.stdout.strip()


def architectures(library: Path) -> frozenset[str]:
    """`arm64`, `x86_64` or `unknown`, from the header of an ELF, Mach-O or fat Mach-O file; a fat one has several."""
    with library.open("rb") as stream:
        head = stream.read(8 + _MOST_ARCHITECTURES * 32)
    if head[:4] == b"\x7fELF" and len(head) >= 20:  # up to e_machine
        return frozenset({_ELF_MACHINES.get(struct.unpack_from("<H", head, 18)[0], "unknown")})
    if head[:4] == b"\xcf\xfa\xed\xfe" and len(head) >= 8:
        return frozenset({_MACHO_CPUS.get(struct.unpack_from("<I", head, 4)[0], "unknown")})
    return _of_fat(head) or frozenset({"unknown"})


def _of_fat(head: bytes) -> frozenset[str]:
    """The architectures of a fat file (mach-o/fat.h: big-endian, entries of 20 bytes, or 32 with 64-bit offsets)."""
    size = {b"\xca\xfe\xba\xbe": 20, b"\xca\xfe\xba\xbf": 32}.get(head[:4])
    if size is None or len(head) < 8:
        return frozenset()
    count = struct.unpack_from(">I", head, 4)[0]
    if not 0 < count <= _MOST_ARCHITECTURES or len(head) < 8 + count * size:
        return frozenset()
    cpus = [struct.unpack_from(">I", head, 8 + index * size)[0] for index in range(count)]
    return frozenset(_MACHO_CPUS.get(cpu, "unknown") for cpu in cpus)


def cache_key(sources: Mapping[str, str], host: Host, environment: Mapping[str, str]) -> str:
    """16 hex digits of everything a native build depends on.

    `sources` are the native sources by path, as `source.blobs` gives them; then Python, numpy, architecture, flags,
    compiler, CMake, Xcode and the variables that these obey.
    """
    # As the build sees it: the running Python's own CMake comes first.
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    tools = [_version(tool, path) for tool in (environment.get("CC", "cc"), "cmake", "xcodebuild")]
    obeyed = [environment.get(name, "") for name in _OBEYED]
    machine = [sys.version, importlib.metadata.version("numpy"), host.system, host.machine, _ARCHFLAGS, *_flags(host)]
    return files.sha256(files.canonical_json([dict(sources), machine, tools, obeyed]))[:16]


def _version(tool: str, path: str | None) -> str:
    """What a tool says of itself; empty if it is not there."""
    found = shutil.which(tool, path=path)
    if found is None:
        return ""
    command = [found, "-version" if tool == "xcodebuild" else "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - found on PATH


def libraries(package: Path) -> list[Path]:
    """The native libraries in a coremltools package."""
    return sorted(path for path in package.rglob("*") if path.suffix in _SUFFIXES)


def _why_not_reuse(tree: Tree) -> str | None:
    """The reason why the published libraries do not fit the tree; None if they do."""
    native = [name for name in SOURCES if (tree.folder / name).exists()]
    if not native:
        return None
    history = Path(tree.spec.place) if tree.spec.kind == "dir" else tree.folder
    if not (history / ".git").exists():
        return f"the tree holds native sources ({', '.join(native)}) and no git history to compare them with."
    known = subprocess.run(  # noqa: S603 - our own arguments, no shell
        ["git", "rev-parse", "--verify", "--quiet", f"refs/tags/{tree.version}"],  # noqa: S607 - git as the user has it
        cwd=history, capture_output=True, check=False,
    )  # fmt: skip
    if known.returncode:
        return f"the tree has no tag {tree.version} to compare its native sources with."
    changed = run(["git", "diff", "--name-only", f"refs/tags/{tree.version}", "--", *SOURCES], cwd=history)
    changed += run(["git", "ls-files", "--others", "--exclude-standard", "--", *SOURCES], cwd=history)
    return f"native sources differ from {tree.version}, first {changed.splitlines()[0]}." if changed else None


def _copy_libraries(wheel: Path, tree: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if _is_native(name)]
        # What the tree brings itself may have been edited.
        archive.extractall(tree, members=[name for name in names if not (tree / name).exists()])
    if not any(name.endswith(_SUFFIXES) for name in names):
        msg = f"The published wheel {wheel.name} holds no native libraries."
        raise BuildError(msg)


def _is_native(name: str) -> bool:
    """What a CMake build adds to the package: libraries, the vendored kmeans1d, and Apple's model runner."""
    return name.endswith(_SUFFIXES) or "/_deps/kmeans1d/" in name or "/modelrunner/" in name


def _refuse_wrong_architecture(host: Host) -> None:
    if host.system == "Darwin" and (host.rosetta or host.machine != "arm64"):
        what = "runs under Rosetta" if host.rosetta else f"is {host.machine}"
        msg = f"This Python {what}; it would build x86_64 libraries under an arm64 name. Use a native arm64 Python."
        raise BuildError(msg)


def _run_step(command: list[str], tree: Path, environment: Mapping[str, str]) -> None:
    log = tree / "native-build.log"
    with log.open("a", encoding="utf-8") as stream:
        done = subprocess.run(  # noqa: S603 - our own arguments, no shell
            command, cwd=tree, env=dict(environment), stdout=stream, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        said = reason(log.read_text(encoding="utf-8", errors="replace"))
        msg = f"`{' '.join(command[:4])} …` ended with status {done.returncode}: {said}"
        raise BuildError(msg)
