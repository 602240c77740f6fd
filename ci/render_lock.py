"""Write ci/lock.txt: the files of ci/constraints.txt by their hashes, for every Python and system that is supported.

python ci/render_lock.py            resolves with uv, which must be on PATH, and writes it
python ci/render_lock.py --check    needs neither uv nor a network: the two name the same versions

torch for Linux is PyTorch's own build for CPUs: the one on the index of everybody brings gigabytes of CUDA, which is
left out here. Its hashes stand below, by file, as https://download.pytorch.org/whl/cpu/torch/ gives them, and with them
lock files of others: all of them uv.lock in https://github.com/cdeust/Cortex, those for aarch64
pkgs/development/python-modules/torch/bin/binary-hashes.nix in nixpkgs.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "ci" / "constraints.txt"
LOCK = ROOT / "ci" / "lock.txt"

TORCH = "2.13.0+cpu"
TORCH_FILES = {
    "cp310-cp310-manylinux_2_28_x86_64": "f5cbb61180a9793d9e12fe115a2310d2600bd449dfb9a01ec5640e21359fa5ea",
    "cp310-cp310-manylinux_2_28_aarch64": "f028e428bddee95cdb86e2470254e95c9af629362488550c200ed4793125a817",
    "cp311-cp311-manylinux_2_28_x86_64": "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
    "cp311-cp311-manylinux_2_28_aarch64": "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",
    "cp312-cp312-manylinux_2_28_x86_64": "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
    "cp312-cp312-manylinux_2_28_aarch64": "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",
    "cp313-cp313-manylinux_2_28_x86_64": "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
    "cp313-cp313-manylinux_2_28_aarch64": "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",
}

_HEAD = "# The files that ci/environment takes where MISH_GUARD_LOCKED is set: python ci/render_lock.py\n"
_CUDA = re.compile(r"nvidia-|cuda-|triton$")
_PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Write or check; 1 where the files do not belong together."""
    if "--check" not in arguments:
        LOCK.write_text(_HEAD + "".join(_blocks(_resolved())), encoding="utf-8")
    problems = sorted(_problems(_pins(CONSTRAINTS), _pins(LOCK)))
    if _torch_for_linux() not in LOCK.read_text(encoding="utf-8"):
        problems.append("the files of torch for Linux are not those that ci/render_lock.py has")
    for line in problems:
        print(f"ci/lock.txt: {line}; run python ci/render_lock.py")
    return 1 if problems else 0


def _resolved() -> str:
    """Every package with its markers and the hashes of all its files, as uv has it."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--python-version", "3.10", "--group", "dev", "pyproject.toml", "ci/lock.in", "-c", str(CONSTRAINTS)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _blocks(resolved: str) -> Iterator[str]:
    """One package after another, without CUDA, and torch as Linux and as everybody else gets it."""
    for block in re.split(r"(?m)^(?=\S)", resolved):
        name = block.partition("==")[0]
        if name == "torch":
            first, _, hashes = block.partition(" \\\n")
            yield f"{first} ; sys_platform != 'linux' \\\n{hashes}"
            yield _torch_for_linux()
        elif name and not _CUDA.match(name):
            yield block


def _torch_for_linux() -> str:
    hashes = " \\\n".join(f"    --hash=sha256:{digest}" for digest in TORCH_FILES.values())
    return f"torch=={TORCH} ; sys_platform == 'linux' \\\n{hashes}\n"


def _pins(path: Path) -> Mapping[str, set[str]]:
    """The versions of each package, by its name as indexes spell it."""
    found: dict[str, set[str]] = {}
    for name, version in _PIN.findall(path.read_text(encoding="utf-8")):
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(version.partition("+")[0])
    return found


def _problems(wanted: Mapping[str, set[str]], locked: Mapping[str, set[str]]) -> Iterator[str]:
    for name in wanted.keys() | locked.keys():
        if wanted.get(name) != locked.get(name):
            given, found = (", ".join(sorted(each.get(name, {"none"}))) for each in (wanted, locked))
            yield f"{name} is {found} here and {given} in ci/constraints.txt"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
