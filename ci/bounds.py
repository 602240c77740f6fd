"""Install the wheel with the lowest or the highest versions of what it declares, and carry out the README there.

    python ci/bounds.py lowest [REQUIREMENT …]       every dependency at the lower bound of pyproject.toml
    python ci/bounds.py highest [REQUIREMENT …]      every dependency as new as pip finds it

The environment is empty before: what comes in is the wheel and what the wheel declares. NAME==VERSION, or NAME @ URL
with the sha256 of the file, takes another version where pip cannot get the one that would be tried. If all went well
the versions are written to ci/bounds.yml, with which of them were named; tests/docs/test_versions.py holds
pyproject.toml against it. Takes some minutes.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "ci" / "bounds.yml"
ENDS = ("lowest", "highest")

# What is carried out there: the commands of the README as they stand, and every face of the committed runs.
TESTS = ("tests/docs/test_commands.py", "tests/report/test_commands.py")


def main(arguments: Sequence[str]) -> int:
    """Try one end; returns the exit code of pip or pytest that went wrong, or 0."""
    end, *named = arguments or [""]
    if end not in ENDS:
        print(__doc__, file=sys.stderr)
        return 2
    wanted = [Requirement(each) for each in named]
    instead = {each.name: f" @ {each.url}" if each.url else str(each.specifier) for each in wanted}
    with tempfile.TemporaryDirectory() as scratch:
        return attempt(end, instead, Path(scratch))


def attempt(end: str, instead: Mapping[str, str], scratch: Path) -> int:
    """Fill an environment in `scratch`, test in it, and record what it held if that went well."""
    constraints = scratch / "constraints.txt"
    pinned = {**(bounds() if end == "lowest" else {}), **instead}
    constraints.write_text("".join(f"{name}{version}\n" for name, version in pinned.items()), encoding="utf-8")
    environment = scratch / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    code = subprocess.call([*pip, "install", "--quiet", "--constraint", str(constraints), str(ROOT)])
    code = code or subprocess.call([*pip, "check"]) or _tests(python, scratch / "checkout")
    if code == 0:
        record(end, installed(python), instead)
    return code


def bounds() -> dict[str, str]:
    """The lower bound of every dependency as a version to install, by name."""
    return {each.name: f"=={lower(each)}" for each in declared()}


def declared() -> list[Requirement]:
    """What mish-guard needs, as its installed metadata say: `ci/environment` renews them with pyproject.toml."""
    return [Requirement(each) for each in metadata.requires("mish-guard") or []]


def lower(requirement: Requirement) -> Version:
    """The one lower bound of a dependency."""
    (bound,) = (Version(each.version) for each in requirement.specifier if each.operator == ">=")
    return bound


def installed(python: Path) -> dict[str, str]:
    """The versions in an environment of all that mish-guard declares, by name."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    names = sorted(each.name for each in declared())
    told = subprocess.run([python, "-I", "-c", code, *names], capture_output=True, text=True, check=True).stdout
    return dict(zip(names, told.split(), strict=True))


def record(end: str, versions: Mapping[str, str], instead: Mapping[str, str]) -> None:
    """Write what was tried at one end beside what is known of the other."""
    tried = yaml.safe_load(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    tried[end] = {"python": platform.python_version(), "named": sorted(instead), "versions": dict(versions)}
    head = "# The versions of every dependency with which the README was carried out. Written by ci/bounds.py.\n"
    RECORD.write_text(head + yaml.safe_dump(tried, sort_keys=True), encoding="utf-8")
    print(f"Wrote {RECORD.relative_to(ROOT)}.")


def _tests(python: Path, checkout: Path) -> int:
    """The tests, with no source of the package in reach and no plugin that is not declared."""
    listed = subprocess.run(["git", "ls-files", "-z", "--", ":!mish_guard"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name, follow_symlinks=False)
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", *TESTS]
    return subprocess.call(command, cwd=checkout)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
