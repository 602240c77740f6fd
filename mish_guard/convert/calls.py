"""The calls of coremltools that users make: how a torch module is captured, and the options of `ct.convert`.

Every entry of `CALLS` is one road. It runs in the witness, under the coremltools of the tree; it gets that module as
`ct`, so that nothing here decides which coremltools it is. `target-NAME` and `pipeline-NAME` stand for a deployment
target and a ready-made pipeline of passes by the tree's own name for them, whichever there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from torch import nn

from mish_guard.errors import UsageError
from mish_guard.records import Backend, Frontend

TARGET = "target-"
PIPELINE = "pipeline-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is converted: module, input shapes, frontend, backend, and a folder for what a call leaves behind."""

    module: nn.Module
    shapes: tuple[tuple[int, ...], ...]
    frontend: Frontend
    backend: Backend
    folder: Path

    def zeros(self, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
        """An example of the inputs."""
        return tuple(torch.zeros(shape, dtype=dtype) for shape in self.shapes)


class Model(Protocol):
    """What coremltools made: whatever else it is, it can be saved."""

    def save(self, save_path: str) -> None: ...


Call = Callable[[ModuleType, Request], Model]


def convert(ct: ModuleType, call: str, request: Request) -> Model:
    """The converted model of a call; raises whatever coremltools raises, UsageError for a call that there is not."""
    if call.startswith(TARGET):
        return _target(ct, request, call.removeprefix(TARGET))
    if call.startswith(PIPELINE):
        return _pipeline(ct, request, call.removeprefix(PIPELINE).replace("-", "_"))
    if call not in CALLS:
        msg = f"No call is called '{call}'. Choose from: {', '.join(CALLS)}, {TARGET}NAME, {PIPELINE}NAME."
        raise UsageError(msg)
    return CALLS[call](ct, request)


def captured(module: nn.Module, example: tuple[torch.Tensor, ...], frontend: Frontend) -> object:
    """The program that a frontend of coremltools makes of a module for inputs like `example`."""
    if frontend is Frontend.TORCHSCRIPT:
        return torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    exported = torch.export.export(module, example)
    return exported.run_decompositions() if frontend is Frontend.EXPORT_DECOMPOSED else exported.run_decompositions({})


def _captured(
    request: Request, module: nn.Module | None = None, example: Sequence[torch.Tensor] | None = None
) -> object:
    """The module of a request, or another in its place, as the frontend captures it."""
    tensors = request.zeros() if example is None else tuple(example)
    return captured(request.module if module is None else module, tensors, request.frontend)


def _described(ct: ModuleType, request: Request, **options: object) -> dict[str, object]:
    """The inputs as `ct.convert` wants them: an exported program brings its own."""
    if request.frontend is not Frontend.TORCHSCRIPT:
        return {}
    return {"inputs": [ct.TensorType(shape=shape, **options) for shape in request.shapes]}


def _precision(ct: ModuleType, backend: Backend) -> dict[str, object]:
    """What names the backend, and nothing where it is the default."""
    if backend is Backend.NEURALNETWORK:
        return {"convert_to": "neuralnetwork"}
    return {"compute_precision": ct.precision.FLOAT32} if backend is Backend.MLPROGRAM_FP32 else {}


def _plain(ct: ModuleType, request: Request, program: object = None, **options: object) -> Model:
    """A conversion that loads nothing, with `options` beside what the backend needs."""
    given = {**_described(ct, request), **_precision(ct, request.backend), "skip_model_load": True, **options}
    made: Model = ct.convert(_captured(request) if program is None else program, **given)
    return made


def _default(ct: ModuleType, request: Request) -> Model:
    """The call of the user guide: the program and its inputs. The model is loaded, or a warning says why not."""
    made: Model = ct.convert(_captured(request), **_described(ct, request), **_precision(ct, request.backend))
    return made


def _target(ct: ModuleType, request: Request, name: str) -> Model:
    """A deployment target that the tree has; raises AttributeError for one that it has not."""
    return _plain(ct, request, minimum_deployment_target=getattr(ct.target, name))


def _selector(ct: ModuleType, request: Request) -> Model:
    return _plain(ct, request, compute_precision=ct.transform.FP16ComputePrecision(op_selector=lambda _: True))


def _outputs(ct: ModuleType, request: Request) -> Model:
    return _plain(ct, request, outputs=[ct.TensorType(name="result")])


def _half_io(ct: ModuleType, request: Request) -> Model:
    return _plain(
        ct,
        request,
        inputs=[ct.TensorType(shape=shape, dtype=_HALF) for shape in request.shapes],
        outputs=[ct.TensorType(dtype=_HALF)],
        minimum_deployment_target=ct.target.iOS16,
    )


def _single_io(ct: ModuleType, request: Request) -> Model:
    return _plain(
        ct,
        request,
        inputs=[ct.TensorType(shape=shape, dtype=_SINGLE) for shape in request.shapes],
        outputs=[ct.TensorType(dtype=_SINGLE)],
    )


def _pipeline(ct: ModuleType, request: Request, name: str) -> Model:
    """A ready-made pipeline of passes; raises ValueError for one that the tree has not."""
    return _plain(ct, request, pass_pipeline=ct.PassPipeline.get_pipeline(name))


def _units(name: str) -> Call:
    return lambda ct, request: _plain(ct, request, compute_units=getattr(ct.ComputeUnit, name))


def _package_dir(ct: ModuleType, request: Request) -> Model:
    return _plain(ct, request, package_dir=str(request.folder / "given.mlpackage"))


def _image(ct: ModuleType, request: Request) -> Model:
    (shape,) = request.shapes
    return _plain(ct, request, inputs=[ct.ImageType(shape=shape)])


class Remembering(nn.Module):
    """A state that the input replaces by way of arithmetic; the module is applied to it."""

    def __init__(self, inner: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("total", torch.zeros(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The shape of the state to what the module makes of it."""
        self.total.mul_(0.0).add_(x)  # type: ignore[operator]
        return self.inner(self.total)  # type: ignore[no-any-return]


def _states(ct: ModuleType, request: Request) -> Model:
    (shape,) = request.shapes
    program = _captured(request, Remembering(request.module, shape).eval())
    state = ct.StateType(wrapped_type=ct.TensorType(shape=shape), name="total")
    described = {} if request.frontend is not Frontend.TORCHSCRIPT else {"states": [state]}
    return _plain(ct, request, program, minimum_deployment_target=ct.target.iOS18, **described)


def _flexible(make: Callable[[ModuleType, tuple[int, ...]], object]) -> Call:
    """A call whose input leaves a size open."""

    def call(ct: ModuleType, request: Request) -> Model:
        return _plain(ct, request, inputs=[ct.TensorType(shape=make(ct, shape)) for shape in request.shapes])

    return call


def _ranged(ct: ModuleType, shape: tuple[int, ...]) -> object:
    last = ct.RangeDim(lower_bound=shape[-1] // 2, upper_bound=2 * shape[-1], default=shape[-1])
    return (*shape[:-1], last)


def _ranged_batch(ct: ModuleType, shape: tuple[int, ...]) -> object:
    return (ct.RangeDim(lower_bound=1, upper_bound=8, default=shape[0]), *shape[1:])


def _enumerated(ct: ModuleType, shape: tuple[int, ...]) -> object:
    return ct.EnumeratedShapes(shapes=[shape, (*shape[:-1], 2 * shape[-1])], default=shape)


def _symbolic(ct: ModuleType, shape: tuple[int, ...]) -> object:
    return ct.Shape(shape=(*shape[:-1], ct.RangeDim(lower_bound=1, upper_bound=64, symbol="width")))


def _default_shape(ct: ModuleType, shape: tuple[int, ...]) -> object:
    return ct.Shape(shape=_ranged(ct, shape), default=shape)


def _script(ct: ModuleType, request: Request) -> Model:
    return _plain(ct, request, torch.jit.script(request.module))


def _dynamic_export(ct: ModuleType, request: Request) -> Model:
    # An example of 1 would be taken for a constant.
    dims = {0: torch.export.Dim("batch", min=1, max=8)}
    tensors = tuple(torch.zeros((2, *shape[1:])) for shape in request.shapes)
    exported = torch.export.export(request.module, tensors, dynamic_shapes=tuple(dims for _ in tensors), strict=False)
    return _plain(ct, request, exported.run_decompositions({}))


def _half_module(ct: ModuleType, request: Request) -> Model:
    module = request.module.half()
    program = _captured(request, module, request.zeros(torch.float16))
    inputs = [ct.TensorType(shape=shape, dtype=_HALF) for shape in request.shapes]
    given = {} if request.frontend is not Frontend.TORCHSCRIPT else {"inputs": inputs}
    return _plain(ct, request, program, minimum_deployment_target=ct.target.iOS16, **given)


def _double_module(ct: ModuleType, request: Request) -> Model:
    return _plain(ct, request, _captured(request, request.module.double(), request.zeros(torch.float64)))


def _channels_last(ct: ModuleType, request: Request) -> Model:
    module = request.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    example = [tensor.to(memory_format=torch.channels_last) for tensor in request.zeros()]
    return _plain(ct, request, _captured(request, module, example))


def _mil(ct: ModuleType, request: Request) -> Model:
    """Mish as MIL programs have it that are written by hand: no frontend sees it, every graph pass does."""
    mb = ct.converters.mil.Builder
    (shape,) = request.shapes

    @mb.program(input_specs=[mb.TensorSpec(shape=shape)])  # type: ignore[untyped-decorator]
    def program(x: object) -> object:
        return mb.mul(x=x, y=mb.tanh(x=mb.softplus(x=x)))

    return _plain(ct, request, program)


def _compressed(compress: Callable[[ModuleType, Model], Model]) -> Call:
    """A converted model whose weights are compressed afterwards."""
    return lambda ct, request: compress(
        ct.optimize.coreml, _plain(ct, request, minimum_deployment_target=ct.target.iOS16)
    )


def _quantised(opt: ModuleType, model: Model) -> Model:
    config = opt.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=1)
    made: Model = opt.linear_quantize_weights(model, opt.OptimizationConfig(global_config=config))
    return made


def _palettised(opt: ModuleType, model: Model) -> Model:
    config = opt.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=1)
    made: Model = opt.palettize_weights(model, opt.OptimizationConfig(global_config=config))
    return made


def _pruned(opt: ModuleType, model: Model) -> Model:
    config = opt.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=1)
    made: Model = opt.prune_weights(model, opt.OptimizationConfig(global_config=config))
    return made


_HALF = np.float16
_SINGLE = np.float32

CALLS: dict[str, Call] = {
    "default": _default,
    "skip-load": _plain,
    "selector": _selector,
    "outputs": _outputs,
    "half-io": _half_io,
    "single-io": _single_io,
    "units-cpu": _units("CPU_ONLY"),
    "units-ne": _units("CPU_AND_NE"),
    "units-gpu": _units("CPU_AND_GPU"),
    "package-dir": _package_dir,
    "image": _image,
    "states": _states,
    "ranged": _flexible(_ranged),
    "ranged-batch": _flexible(_ranged_batch),
    "enumerated": _flexible(_enumerated),
    "symbolic": _flexible(_symbolic),
    "default-shape": _flexible(_default_shape),
    "script": _script,
    "dynamic-export": _dynamic_export,
    "half-module": _half_module,
    "double-module": _double_module,
    "channels-last": _channels_last,
    "mil": _mil,
    "quantised": _compressed(_quantised),
    "palettised": _compressed(_palettised),
    "pruned": _compressed(_pruned),
}
