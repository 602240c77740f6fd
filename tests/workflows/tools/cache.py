"""A cache that holds one thing: an environment whose packages are those of the environment that runs the tests.

`restore` makes .venv of a checkout in a moment: its packages lie elsewhere, its mish_guard is the checkout's. Restoring
anything else misses. Every use is written to STAND_IN_LOG.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path


def restore(folder: str, key: str) -> None:
    root = Path(folder).parent
    hit = Path(folder).name == ".venv"
    if hit:
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
        packages = next(Path(folder).glob("lib/python*/site-packages"))
        # The checkout stands before the tree that an editable install of the tests' environment names.
        (packages / "a.pth").write_text(f"{root}\n")
        base = os.environ["STAND_IN_PACKAGES"]
        (packages / "b.pth").write_text(f"import site; site.addsitedir({base!r})\n")
        (Path(folder) / "ready").write_text(_ready(root))
        (root / "build").mkdir(exist_ok=True)
        (root / "build" / "downloads").symlink_to(os.environ["STAND_IN_DOWNLOADS"])
    _log("restore", key, hit)
    print(f"cache-hit={'true' if hit else ''}")


def save(folder: str, key: str) -> None:
    if not Path(folder).exists():
        sys.exit(f"Path does not exist: {folder}")
    _log("save", key, True)


def _ready(root: Path) -> str:
    """What ci/environment leaves in an environment that is up to date."""
    command = 'cat pyproject.toml ci/constraints.txt ci/environment <("$PYTHON" -VV) | cksum'
    return subprocess.run(["bash", "-c", command], cwd=root, check=True, capture_output=True, text=True).stdout


def _log(what: str, key: str, hit: bool) -> None:
    with Path(os.environ["STAND_IN_LOG"]).open("a") as stream:
        stream.write(f"cache {what} {key} {'hit' if hit else 'miss'}\n")


if __name__ == "__main__":
    {"restore": restore, "save": save}[sys.argv[1]](*sys.argv[2:])
