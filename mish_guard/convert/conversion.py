"""A torch module, a lowering, a frontend and a backend → a saved Core ML model.

coremltools is silenced while it converts: its progress bars and warnings are not results. Everything it raises
becomes a ConversionError with one line of reason, so that a failed conversion is a result and not a lost cell.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import io
import logging
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mish_guard.convert import calls
from mish_guard.convert.recipes import Recipe
from mish_guard.errors import ConversionError, UsageError
from mish_guard.models import lowerings, networks
from mish_guard.models.roads import RoadCase
from mish_guard.records import Backend, Document, Frontend

# Arrays of the shapes of a model's inputs.
Example: TypeAlias = Sequence[NDArray[np.generic]]

_FIRST_LINES = 300


def convert(
    module: nn.Module,
    example: Example,
    *,
    lowering: str,
    frontend: Frontend,
    backend: Backend,
    stem: Path,
) -> Path:
    """Convert `module` and save it as `stem` + `.mlpackage` or `.mlmodel`; returns that path.

    `example` holds numpy arrays of the input shapes. ML programs target macOS 14 and take and return half precision,
    where the frontend allows it. Raises ConversionError with coremltools' reason.
    """
    path = stem.with_name(stem.name + (".mlmodel" if backend is Backend.NEURALNETWORK else ".mlpackage"))
    try:
        _save(module, example, lowering, frontend, backend, path)
    except UsageError:
        raise
    except Exception as error:
        # coremltools raises whatever its passes raise; the kind of error is part of the result.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_FIRST_LINES]
        raise ConversionError(reason) from error
    return path


def convert_recipe(recipe: Recipe, path: Path) -> None:
    """Convert what a recipe says and save it as `path`; raises whatever coremltools raises."""
    if recipe.own is not None:
        networks.add(recipe.own)
    case = networks.case(recipe.case)
    if isinstance(case, RoadCase):
        _save_road(case, recipe, path)
        return
    case = case if recipe.rung is None else case.on(recipe.rung)
    _save(case.build(), case.feeds()[0], recipe.lowering, recipe.frontend, recipe.backend, path)


def describe() -> Document:
    """Who would convert: versions, where coremltools lies, and its converter of mish.

    Raises whatever the import of coremltools raises.
    """
    with quiet():
        import coremltools

        converter = lowerings.registered_converter()
    return {
        "coremltools": str(coremltools.__version__),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "path": str(Path(coremltools.__file__).parent),
        "converter": None if converter is None else _digest(converter),
    }


def load_export() -> None:
    """Let torch load what its export needs, so that processes that are forked later need not each do it."""
    # A torch that cannot export says so in the conversion that asks for it.
    with contextlib.suppress(Exception), quiet():
        exported = torch.export.export(nn.Identity(), (torch.zeros(1),))
        exported.run_decompositions({})
        exported.run_decompositions()


def _digest(converter: Callable[..., object]) -> str:
    """The sha256 of a converter's text; of its code where it has no text, as a function made by others may not."""
    while isinstance(converter, functools.partial):
        converter = converter.func
    try:
        text = inspect.getsource(converter)
    except (OSError, TypeError):
        code = getattr(converter, "__code__", None)
        text = repr(type(converter)) if code is None else f"{code.co_code.hex()} {code.co_consts!r} {code.co_names!r}"
    return hashlib.sha256(text.encode()).hexdigest()


def _save_road(case: RoadCase, recipe: Recipe, path: Path) -> None:
    with quiet(), lowerings.registered(recipe.lowering), tempfile.TemporaryDirectory() as scratch:
        import coremltools as ct

        request = calls.Request(
            module=case.build(),
            shapes=case.carried.shapes,
            frontend=recipe.frontend,
            backend=recipe.backend,
            folder=Path(scratch),
        )
        calls.convert(ct, case.call, request).save(str(path))


def _save(
    module: nn.Module,
    example: Example,
    lowering: str,
    frontend: Frontend,
    backend: Backend,
    path: Path,
) -> None:
    tensors = tuple(torch.zeros(array.shape) for array in example)
    with quiet(), lowerings.registered(lowering):
        exported = calls.captured(module, tensors, frontend)
        _to_core_ml(exported, tensors, frontend, backend).save(str(path))


def _to_core_ml(
    exported: object, tensors: tuple[torch.Tensor, ...], frontend: Frontend, backend: Backend
) -> calls.Model:
    import coremltools as ct

    options: dict[str, object] = {"skip_model_load": True}
    if backend is Backend.NEURALNETWORK:
        options["convert_to"] = "neuralnetwork"
    else:
        options["minimum_deployment_target"] = ct.target.macOS14
        half = backend is Backend.MLPROGRAM_FP16
        options["compute_precision"] = ct.precision.FLOAT16 if half else ct.precision.FLOAT32
    if frontend is Frontend.TORCHSCRIPT:
        dtype = np.float16 if backend is Backend.MLPROGRAM_FP16 else np.float32
        options["inputs"] = [ct.TensorType(shape=tuple(tensor.shape), dtype=dtype) for tensor in tensors]
    made: calls.Model = ct.convert(exported, **options)
    return made


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, no log lines below errors, nothing on stdout or stderr from Python code inside the block."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
