"""mish-guard: a regression gate for the lowering of mish to Apple's Neural Engine."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__version__ = "0.2.0"


def predict(model: str | PathLike[str], inputs: Mapping[str, ArrayLike], *, profile: str = "ane") -> dict[str, Any]:
    """The outputs of a saved Core ML model, by name, as a unit with the arithmetic of `profile` would give them.

    `model` is a `.mlpackage` or `.mlmodel`; `inputs` are arrays by input name, of the shapes that the model declares.
    Outputs have the type that the model declares (float16 for half precision), the probabilities of a classifier are
    numbers by class. Profiles: `mish-guard calibrate`.
    Runs anywhere: no Core ML is needed, and no hardware is measured.

    Raises mish_guard.errors.UnreadableFileError for a model that cannot be trusted, UnsupportedOpError for one the
    emulator cannot run, UsageError for inputs or a profile that there are not.
    """
    # Imported by name: this package stands below all others, and importing it must stay light.
    return dict(importlib.import_module("mish_guard.scan.trial").predict_saved(model, inputs, profile))
