"""One hub for all stories: mish-guard as it stands here, a fork of coremltools, and Apple's."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from mish_guard.build import patch, source
from tests.workflows.hub import HERE, NAME, ROOT, Hub, commit, git

FORK, APPLE = "somebody/coremltools", "apple/coremltools"
DOWNLOADS = ROOT / "build" / "downloads"

_CMAKE = HERE / "native"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stories are executed on Linux: act runs steps on the machine itself, whose tools must be GNU's."""
    for item in items:
        if HERE in item.path.parents and "hub" in getattr(item, "fixturenames", ()) and sys.platform != "linux":
            item.add_marker(pytest.mark.skip(reason="workflows are executed on Linux only"))


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """mish-guard's repository with what lies in this checkout, committed or not."""
    made = Hub(tmp_path_factory.mktemp("hub"))
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    made.create(NAME, ROOT)
    return made


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
