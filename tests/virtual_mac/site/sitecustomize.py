"""Python imports this at start when it is on PYTHONPATH: the process wakes up on a virtual Mac.

Building is done by the machine that is there: its libraries have to load here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_BUILDING = ("build_coremltools", "mish_guard.candidate", "pip", "setup.py")


def _builds() -> bool:
    return any(part in argument for argument in sys.orig_argv for part in _BUILDING)


if os.environ.get("MISH_GUARD_VIRTUAL_MAC") and not _builds():
    root = str(Path(__file__).resolve().parents[3])
    before = list(sys.path)
    sys.path.insert(0, root)
    from tests import virtual_mac

    # The mish_guard under test may be another one than that beside these tests, which is for who has none.
    sys.path[:] = [*before, root]
    from tests.virtual_mac import install

    sys.path[:] = before
    install.install(Path(os.environ[virtual_mac.VARIABLE]))
