"""The native libraries of a tree: built with CMake, or taken from the published wheel of the same version."""

from __future__ import annotations

import enum
import hashlib
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

from mish_guard.build import BuildError
from mish_guard.build.source import Tree, download, run

TARGETS = ("coremlpython", "milstoragepython", "modelpackage")

# Folders and files of a full tree whose content ends up in a native library.
SOURCES = ("CMakeLists.txt", "cmake", "coremlpython", "deps", "milstoragepython", "mlmodel", "modelpackage")

_ELF_MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}
_MACHO_CPUS = {0x01000007: "x86_64", 0x0100000C: "arm64"}


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


def supply(tree: Tree, mode: Mode, downloads: Path, host: Host) -> tuple[Mode, str]:
    """Put native libraries into the tree's package; returns where they came from and why.

    Raises BuildError where `reuse` is asked for and not allowed, or the build fails.
    """
    refused = _why_not_reuse(tree)
    if mode is Mode.REUSE and refused is not None:
        msg = f"The libraries of the wheel {tree.version} cannot be reused: {refused} Use --native build on a Mac."
        raise BuildError(msg)
    if mode is Mode.BUILD or refused is not None:
        build(tree.folder, host, os.environ)
        return Mode.BUILD, refused or "asked for"
    wheel = download(f"coremltools=={tree.version}", downloads, "--only-binary", "coremltools")
    _copy_libraries(wheel, tree.folder)
    return Mode.REUSE, f"no native source differs from release {tree.version}"


def build(tree: Path, host: Host, environment: Mapping[str, str]) -> None:
    """Configure and build the three libraries by name with CMake; raises BuildError with the step that failed."""
    if not (tree / "CMakeLists.txt").exists():
        msg = "The tree has no CMakeLists.txt: an sdist holds Python only. Use git:URL@REF to build native libraries."
        raise BuildError(msg)
    _refuse_wrong_architecture(host)
    cmake = shutil.which("cmake", path=environment.get("PATH"))
    if cmake is None:
        msg = "cmake is not on PATH. Install CMake 3.16 or later."
        raise BuildError(msg)
    prepared = build_environment(host, environment)
    for command in (configure_command(cmake, tree, host, environment), build_command(cmake, tree)):
        _run_step(command, tree, prepared)


def configure_command(cmake: str, tree: Path, host: Host, environment: Mapping[str, str]) -> list[str]:
    """CMake's first step: architecture, policy, the very Python that runs this, ccache where there is one."""
    include = sysconfig.get_path("include")
    command = [cmake, "-S", str(tree), "-B", str(tree / "build"), "-DCMAKE_BUILD_TYPE=Release"]
    # CMake 4 refuses the vendored projects' minimum of 3.0 without this.
    command += ["-DCMAKE_POLICY_VERSION_MINIMUM=3.5"]
    command += [f"-DPYTHON_EXECUTABLE={sys.executable}", f"-DPython3_EXECUTABLE={sys.executable}"]
    command += [f"-DPYTHON_INCLUDE_DIR={include}", f"-DPython3_INCLUDE_DIR={include}"]
    if host.system == "Darwin":
        command += ["-DCMAKE_OSX_ARCHITECTURES=arm64"]
    if shutil.which("ccache", path=environment.get("PATH")):
        command += ["-DCMAKE_C_COMPILER_LAUNCHER=ccache", "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"]
    return command


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
        prepared["DEVELOPER_DIR"] = environment.get("DEVELOPER_DIR") or _selected_xcode(environment)
    return prepared


def _selected_xcode(environment: Mapping[str, str]) -> str:
    tool = shutil.which("xcode-select", path=environment.get("PATH"))
    asked = None
    if tool is not None:
        asked = subprocess.run([tool, "-p"], capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH
    if asked is None or asked.returncode or not asked.stdout.strip():
        msg = "No Xcode is selected. Set DEVELOPER_DIR to its path, such as /Applications/Xcode.app/Contents/Developer."
        raise BuildError(msg)
    return asked.stdout.strip()


def architecture(library: Path) -> str:
    """`arm64`, `x86_64` or `unknown`, from the header of a Mach-O or ELF file."""
    head = library.read_bytes()[:20]
    if head[:4] == b"\x7fELF" and len(head) == 20:  # up to e_machine
        return _ELF_MACHINES.get(struct.unpack_from("<H", head, 18)[0], "unknown")
    if head[:4] == b"\xcf\xfa\xed\xfe":
        return _MACHO_CPUS.get(struct.unpack_from("<I", head, 4)[0], "unknown")
    return "unknown"


def cache_key(tree: Path, host: Host) -> str:
    """The sha256 of everything a native build depends on: sources, Python, architecture, compiler, CMake."""
    total = hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in (tree / name, *(tree / name).rglob("*")) if path.is_file()):
        total.update(path.relative_to(tree).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for part in (sys.version, host.system, host.machine, _version("cc"), _version("cmake"), _version("xcodebuild")):
        total.update(part.encode() + b"\0")
    return total.hexdigest()


def _version(tool: str) -> str:
    """What a tool says of itself; empty if it is not there."""
    path = shutil.which(tool)
    if path is None:
        return ""
    command = [path, "-version" if tool == "xcodebuild" else "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - found on PATH


def libraries(package: Path) -> list[Path]:
    """The native libraries in a coremltools package."""
    return sorted(path for path in package.rglob("*") if path.suffix in (".so", ".dylib"))


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
        archive.extractall(tree, members=names)
    if not names:
        msg = f"The published wheel {wheel.name} holds no native libraries."
        raise BuildError(msg)


def _is_native(name: str) -> bool:
    """What a CMake build adds to the package: libraries, the vendored kmeans1d, and Apple's model runner."""
    return name.endswith((".so", ".dylib")) or "/_deps/kmeans1d/" in name or "/modelrunner/" in name


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
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "rror" in line or "No rule" in line] or lines or ["no output"]
        msg = f"`{' '.join(command[:4])} …` ended with status {done.returncode}: {telling[-1].strip()}"
        raise BuildError(msg)
