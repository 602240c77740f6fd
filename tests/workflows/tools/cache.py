"""A cache that holds one thing: an environment whose packages are those of the environment that runs the tests.

`restore` makes .venv of a checkout in a moment: its packages lie elsewhere, its mish_guard is the checkout's. Restoring
anything else misses. `venv` makes the same in the place of `python -m venv`. What a workflow asks of the cache is
written to STAND_IN_LOG.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

MAC = ("MISH_GUARD_VIRTUAL_MAC", "MISH_GUARD_VIRTUAL_STATE", "MISH_GUARD_TIMEOUT", "PATH")


def restore(folder: str, key: str) -> None:
    root = Path(folder).parent
    hit = Path(folder).name == ".venv"
    if hit:
        borrow(folder)
        (Path(folder) / "ready").write_text(_ready(root))
        (Path(folder) / "locked").touch()
    _log("restore", key, hit)
    print(f"cache-hit={'true' if hit else ''}")


def borrow(folder: str) -> None:
    root = Path(folder).resolve().parent
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    packages = next(Path(folder).glob("lib/python*/site-packages"))
    # The checkout stands before the tree that an editable install of the tests' environment names.
    (packages / "a.pth").write_text(f"{root}\n")
    base = os.environ["STAND_IN_PACKAGES"]
    (packages / "b.pth").write_text(f"import site; site.addsitedir({base!r})\n")
    woken = {name: os.environ[name] for name in MAC if name in os.environ}
    if MAC[0] in woken:
        # However isolated a process of this environment is started, it lives on the virtual Mac of the job.
        script = str(Path(__file__).parents[2] / "virtual_mac" / "site" / "sitecustomize.py")
        # Of several hosted Macs a job has the one with its Xcode.
        others = json.loads(os.environ.get("STAND_IN_MACS", "{}"))
        chosen = f"{others!r}.get(os.environ.get('DEVELOPER_DIR'), {woken!r})"
        wake_up = f"import os, runpy; os.environ.update({chosen}); runpy.run_path({script!r})"
        (packages / "c.pth").write_text(f"{wake_up}\n")
    (root / "build").mkdir(exist_ok=True)
    (root / "build" / "downloads").symlink_to(os.environ["STAND_IN_DOWNLOADS"])


def save(folder: str, key: str) -> None:
    if not Path(folder).exists():
        sys.exit(f"Path does not exist: {folder}")
    _log("save", key, True)


def _ready(root: Path) -> str:
    """What ci/environment leaves in an environment that is up to date."""
    command = 'cat pyproject.toml ci/constraints.txt ci/lock.txt ci/environment <("$PYTHON" -VV) | cksum'
    return subprocess.run(["bash", "-c", command], cwd=root, check=True, capture_output=True, text=True).stdout


def _log(what: str, key: str, hit: bool) -> None:
    with Path(os.environ["STAND_IN_LOG"]).open("a") as stream:
        stream.write(f"cache {what} {key} {'hit' if hit else 'miss'}\n")


if __name__ == "__main__":
    command, *given = sys.argv[1:]
    if command == "restore":
        restore(*given)
    elif command == "save":
        save(*given)
    else:
        borrow(*given)
