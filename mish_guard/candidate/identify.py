"""The candidate: which coremltools `import coremltools` gives, and which converter for mish it holds."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import platform
from pathlib import Path

from mish_guard.convert.conversion import quiet
from mish_guard.errors import MachineError
from mish_guard.models import lowerings
from mish_guard.records import Candidate


def identify(lowering: str) -> Candidate:
    """Versions, path and converter of the imported coremltools; raises MachineError if it does not import."""
    try:
        with quiet():
            import coremltools
            import numpy as np
            import torch

            converter = lowerings.registered_converter()
            # A tree without one is judged too: its conversions fail.
            source = "" if converter is None else inspect.getsource(converter)
    except Exception as error:
        # A tree that does not fit the installed torch or numpy raises whatever it stumbles over.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        msg = (
            f"coremltools cannot be imported: {reason} Install one that fits this Python, torch and numpy, or run the "
            "gate in the environment that has it."
        )
        raise MachineError(msg) from error
    folder = Path(coremltools.__file__).parent
    build = _build_record()
    return Candidate(
        coremltools=coremltools.__version__,
        path=str(folder),
        lowering=lowering,
        converter_sha256=hashlib.sha256(source.encode()).hexdigest(),
        torch=torch.__version__,
        numpy=np.__version__,
        python=platform.python_version(),
        source=build.get("source"),
        commit=build.get("commit"),
        native=build.get("native"),
        diff=build.get("diff"),
    )


def _build_record() -> dict[str, str]:
    """What `ci/build_coremltools.py` left in a package that it built; empty for a released one."""
    try:
        return dict(importlib.import_module("coremltools.mish_guard_build").RECORD)
    except ModuleNotFoundError:
        return {}
