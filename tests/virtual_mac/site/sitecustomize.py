"""Python imports this at start when it is on PYTHONPATH: the process wakes up on a virtual Mac."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if os.environ.get("MISH_GUARD_VIRTUAL_MAC"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    from tests.virtual_mac import install

    install.install(Path(os.environ["MISH_GUARD_VIRTUAL_MAC"]))
