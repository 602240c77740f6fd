"""Pack a tree as a wheel with a local version, and tags that say for which Python and platform its libraries are."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from packaging.tags import sys_tags

from mish_guard.candidate import BuildError, venv
from mish_guard.candidate.source import Tree, run

_VERSION_LINE = re.compile(r"""^(__version__\s*=\s*)["'][^"']+["']""", re.MULTILINE)


def local_version(tree: Tree, lowering: str) -> str:
    """PEP 440 version with a local part, such as 9.0+mish.exp.g1a2b3c4 (as-is: 9.0+mish.as.is.g…)."""
    short = tree.commit.removeprefix("sha256-")[:7]
    return f"{tree.version.partition('+')[0]}+mish.{lowering.replace('-', '.')}.g{short}"


def pack(tree: Tree, version: str, folder: Path) -> Path:
    """The wheel of a tree in `folder`, complete or not there at all; raises BuildError with the reason."""
    _set_version(tree.folder / "coremltools" / "version.py", version)
    tag = next(sys_tags())
    with (tree.folder / "setup.cfg").open("a", encoding="utf-8") as config:
        config.write(f"\n[bdist_wheel]\npython_tag = {tag.interpreter}\nplat_name = {tag.platform}\n")
    scratch = tree.folder.with_name("wheel")
    # Whatever a setup.py writes into the Python that runs it goes with the scratch folder.
    python = venv.empty(tree.folder.with_name("builder"))
    command = [str(python), "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(scratch)]
    if not (tree.folder / "pyproject.toml").exists():
        # The setuptools at hand is all that a setup.py asks for; isolation would download one for every wheel.
        command.append("--no-build-isolation")
    run([*command, str(tree.folder)])
    (made,) = scratch.glob("*.whl")
    _refuse_strangers(made)
    if f"-{version}-" not in made.name:
        msg = f"The wheel is called {made.name}; expected version {version}. Does setup.py read version.py?"
        raise BuildError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    # The scratch folder lies on the same disk, so a wheel is there as a whole or not at all.
    return made.replace(folder / made.name)


def _refuse_strangers(wheel: Path) -> None:
    """Raise BuildError for a wheel that would install anything but coremltools, such as another mish_guard."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    strangers = sorted(
        top for top in tops if top != "coremltools" and not re.fullmatch(r"coremltools-.*\.dist-info", top)
    )
    if strangers:
        msg = f"The wheel holds '{strangers[0]}' beside coremltools. A tree that installs other things is not judged."
        raise BuildError(msg)


def _set_version(path: Path, version: str) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(_VERSION_LINE.sub(rf'\g<1>"{version}"', text, count=1), encoding="utf-8")
