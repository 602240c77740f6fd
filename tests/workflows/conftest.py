"""One hub for all stories: mish-guard as it stands here, a fork of coremltools, and Apple's.

Its matrix is small, with baselines for it, so that a story takes seconds: what is tested here is how the parts are
joined, the whole matrix is measured by other tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from mish_guard.candidate import patch, source
from tests import virtual_mac
from tests.conftest import SMALL_MATRIX
from tests.workflows.hub import HERE, NAME, ROOT, Hub, commit, git

FORK, APPLE = "somebody/coremltools", "apple/coremltools"
DOWNLOADS = ROOT / "build" / "downloads"

_CMAKE = HERE / "native"


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stories have a lane of their own, on Linux: act runs steps on the machine itself, whose tools must be GNU's."""
    for item in items:
        if HERE in item.path.parents and "hub" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stories)
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="workflows are executed on Linux only"))


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """mish-guard's repository with what lies in this checkout, committed or not, and a small matrix."""
    made = Hub(tmp_path_factory.mktemp("hub"))
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    made.create(NAME, ROOT)
    tree = made.repository(NAME)
    (tree / "mish_guard" / "matrix" / "matrix.yml").write_text(SMALL_MATRIX)
    shutil.rmtree(tree / "mish_guard" / "data" / "baselines")
    _refresh(tree, made.folder)
    vm = virtual_mac.interpreter(virtual_mac.SCENARIOS / "hosted-vm.yml", made.folder / "vm")
    _refresh(tree, made.folder, "--engine=coreml", "--profile=cpu-only", python=vm)
    commit(tree, "small matrix")
    return made


def _refresh(tree: Path, folder: Path, *options: str, python: Path = Path(sys.executable)) -> None:
    """Baselines of the small matrix through the pinned lowering."""
    package = tree / "mish_guard"
    command = [str(python), "-m", "mish_guard", "refresh", "--reason=tests", "--lowering=exp", "--repeats=2"]
    command += [f"--matrix={package / 'matrix' / 'matrix.yml'}", f"--baselines={package / 'data' / 'baselines'}"]
    done = subprocess.run([*command, f"--out={folder / 'out'}", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def mac(scenario: str, folder: Path) -> dict[str, str]:
    """The variables of a virtual Mac, with the stand-ins first on PATH."""
    return _living_on(virtual_mac.SCENARIOS / f"{scenario}.yml", folder / f"commands-{scenario}")


def hosted_macs(folder: Path) -> dict[str, str]:
    """The variables of a hosted Mac with macOS 15; where the Xcode is that of macOS 26, it is one with that."""
    newer = folder / "macos-26"
    newer.mkdir()
    machine = yaml.safe_load((virtual_mac.SCENARIOS / "hosted-vm.yml").read_text())["machine"]
    path = virtual_mac.variant("hosted-vm", newer, machine={**machine, "macos": "26.3", "build": "25D125"})
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "mish-gate.yml").read_text())["jobs"]
    (xcode,) = (
        each["xcode"] for each in jobs["core-ml"]["strategy"]["matrix"]["include"] if each["runner"] == "macos-26"
    )
    by_xcode = {xcode: _living_on(path, newer / "commands")}
    return {**mac("hosted-vm", folder), "STAND_IN_MACS": json.dumps(by_xcode)}


def _living_on(path: Path, commands: Path) -> dict[str, str]:
    commands.mkdir(exist_ok=True)
    made = virtual_mac.environment(path, commands)
    return {**made, "PATH": f"{HERE / 'tools'}{os.pathsep}{made['PATH']}"}


@pytest.fixture(scope="session")
def fork(hub: Hub) -> Path:
    """A fork of coremltools with the good lowering in its converter and the workflow of the guide."""
    folder = hub.repository(FORK)
    folder.parent.mkdir(parents=True)
    source.fetch(source.parse("sdist:9.0"), folder, DOWNLOADS)
    patch.apply(folder, "exp")
    workflow = folder / ".github" / "workflows" / "mish.yml"
    workflow.parent.mkdir(parents=True)
    base = git(hub.repository(NAME), "rev-parse", "main").strip()
    guide = (ROOT / "docs" / "workflows.md").read_text()
    shown = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)[0]
    workflow.write_text(shown.replace("OWNER/mish-guard", NAME).replace("@COMMIT", f"@{base}"))
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    return folder


@pytest.fixture(scope="session")
def apple(hub: Hub) -> Path:
    """Release 9.0 with its tag, and native sources that CMake builds in a second.

    Two of the three libraries are copied from the published wheel, since conversion needs them; the third is compiled,
    and takes no part in anything: the virtual Mac brings its own.
    """
    folder = hub.repository(APPLE)
    folder.parent.mkdir(parents=True)
    source.fetch(source.parse("sdist:9.0"), folder, DOWNLOADS)
    shutil.copytree(_CMAKE, folder, dirs_exist_ok=True)
    with zipfile.ZipFile(source.download("coremltools==9.0", DOWNLOADS, "--only-binary", "coremltools")) as wheel:
        for name in ("libmilstoragepython.so", "libmodelpackage.so"):
            (folder / "deps" / name).write_bytes(wheel.read(f"coremltools/{name}"))
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "release")
    git(folder, "tag", "9.0")
    return folder
