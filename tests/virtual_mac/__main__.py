"""Make a Python that lives on a virtual Mac, and print its path: python -m tests.virtual_mac SCENARIO FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from tests import virtual_mac

sys.stdout.write(f"{virtual_mac.interpreter(virtual_mac.SCENARIOS / f'{sys.argv[1]}.yml', Path(sys.argv[2]))}\n")
