"""Tell GitHub: `python3 ci/github.py COMMAND`. Needs nothing but Python 3.10 or later."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mish_guard.github.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
