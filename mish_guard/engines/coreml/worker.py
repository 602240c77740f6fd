"""The process that talks to Core ML: one task, one answer, then it ends.

`python -m mish_guard.engines.coreml.worker FOLDER` reads `request.json` and `inputs.npz` from the folder and leaves
`outputs.npz` and `answer.json` there. `stage` says what it is doing, for whoever finds it dead. Core ML aborts
processes and hangs; nothing is lost here that is not on disk already.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mish_guard import files
from mish_guard.engines.coreml import exchange
from mish_guard.engines.placement import UNKNOWN
from mish_guard.numerics import fp16
from mish_guard.records import Document

Values = NDArray[np.generic]

# The descriptor on which the guardian hears of the start; far above those that libraries open.
_TOLD = 200

_DEVICES = {
    "MLCPUComputeDevice": "cpu",
    "MLGPUComputeDevice": "gpu",
    "MLNeuralEngineComputeDevice": "ne",
}

# The layers of a neural network that have another name in MIL and do not belong to the activation.
_LAYERS = {
    "batchedMatmul": "matmul",
    "convolution": "conv",
    "expandDims": "expand_dims",
    "flatten": "reshape",
    "flattenTo2D": "reshape",
    "innerProduct": "linear",
    "permute": "transpose",
    "reshapeStatic": "reshape",
}


def main(folder: Path) -> None:
    """Do what `request.json` asks for; what coremltools raises becomes the answer's `error`."""
    request = json.loads((folder / exchange.REQUEST).read_text())
    _wake_after(request["start_seconds"])
    _divert_output()
    # coremltools imports torch where there is one, which takes seconds and which no prediction needs.
    sys.modules["torch"] = None  # type: ignore[assignment]
    task = {"run": _run, "devices": _devices}[request["task"]]
    try:
        answer = task(request, folder)
    except Exception as error:  # noqa: BLE001 - coremltools raises whatever Core ML gave it; the parent reports it
        answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    files.write_atomically(folder / exchange.ANSWER, json.dumps(answer))


def _devices(request: Document, folder: Path) -> dict[str, object]:
    """The compute devices that Core ML lists, and the cores of its Neural Engine."""
    _enter(folder, exchange.IMPORTING)
    from coremltools.models.compute_device import MLComputeDevice

    _started(request)
    _enter(folder, "listing the compute devices")
    devices = MLComputeDevice.get_all_compute_devices()
    cores = [device.total_core_count for device in devices if _device(device) == "ne"]
    return {"devices": sorted(_device(device) for device in devices), "ne_cores": cores[0] if cores else None}


def _run(request: Document, folder: Path) -> dict[str, object]:
    """Load a model, ask for its plan, predict `repeats` times for each feed."""
    _enter(folder, exchange.IMPORTING)
    import coremltools as ct

    _started(request)
    unit = ct.ComputeUnit[request["compute_unit"]]
    _enter(folder, exchange.LOADING)
    started = time.perf_counter()
    with warnings.catch_warnings():
        # coremltools turns a failed load into this warning and keeps the reason to itself.
        warnings.filterwarnings("error", message="You will not be able to run predict", category=RuntimeWarning)
        model = ct.models.MLModel(request["package"], compute_units=unit)
    load_seconds = time.perf_counter() - started
    # The path lives as long as the model. Given the package instead, the plan aborts the process:
    # https://github.com/apple/coremltools/issues/2757
    compiled = model.get_compiled_model_path()
    (folder / exchange.COMPILED).write_text(compiled)
    _enter(folder, "making the compute plan")
    operations, plan_error = _planned(model, compiled, unit)
    _enter(folder, exchange.PREDICTING)
    started = time.perf_counter()
    outputs, repeats_agree = _predict(model, _feeds(model, folder), request["repeats"])
    predict_seconds = time.perf_counter() - started
    named: dict[str, Any] = {f"{feed}-{index}": array for (feed, index), array in outputs.items()}
    np.savez(folder / exchange.OUTPUTS, **named)
    return {
        "load_seconds": load_seconds,
        "predict_seconds": predict_seconds,
        "repeats_agree": repeats_agree,
        "operations": operations,
        "plan_error": plan_error,
    }


def _divert_output() -> None:
    """What is printed goes to stderr: stdout is where the guardian is told of the start."""
    os.dup2(1, _TOLD)
    os.dup2(2, 1)


def _wake_after(seconds: float) -> None:
    """The alarm that ends this process where no guardian does; it takes the place of an earlier one."""
    signal.alarm(int(seconds) + exchange.ORPHAN_SECONDS)


def _started(request: Document) -> None:
    """From here on the time is Core ML's; before, it was Python's."""
    _wake_after(request["timeout_seconds"])
    os.write(_TOLD, b"started")
    os.close(_TOLD)


def _enter(folder: Path, stage: str) -> None:
    (folder / exchange.STAGE).write_text(stage)


def _feeds(model: Any, folder: Path) -> Iterator[dict[str, Values]]:
    """The inputs of each prediction by name; coremltools widens half precision itself, which changes no value."""
    names = [each.name for each in model.get_spec().description.input]
    with np.load(folder / exchange.INPUTS) as arrays:
        for feed in range(len(arrays.files) // len(names)):
            yield {name: arrays[f"{feed}-{index}"] for index, name in enumerate(names)}


def _predict(
    model: Any, feeds: Iterator[dict[str, Values]], repeats: int
) -> tuple[dict[tuple[int, int], Values], bool | None]:
    """The first prediction of every feed by feed and output, and whether all repeats gave the same bits."""
    names = [each.name for each in model.get_spec().description.output]
    outputs: dict[tuple[int, int], Values] = {}
    agree = True
    for number, feed in enumerate(feeds):
        # predict() replaces the values of the dictionary that it is given.
        first, *others = (_named(model.predict(dict(feed)), names) for _ in range(repeats))
        outputs.update({(number, index): array for index, array in enumerate(first)})
        agree = agree and all(_same_bits(first, other) for other in others)
    return outputs, agree if repeats > 1 else None


def _named(prediction: Mapping[str, ArrayLike], names: Sequence[str]) -> list[Values]:
    missing = [name for name in names if name not in prediction]
    if missing:
        msg = f"Core ML returned {sorted(prediction)}; the model declares '{missing[0]}' too."
        raise ValueError(msg)
    # Copied: the next prediction may be written into the buffer of this one.
    arrays = [np.array(prediction[name]) for name in names]
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind != "f":
            msg = f"Core ML returned {array.dtype} for '{name}', which is declared as floating point."
            raise ValueError(msg)
    return arrays


def _same_bits(first: Sequence[Values], second: Sequence[Values]) -> bool:
    """Whether two predictions agree in shape and in every half-precision bit; the payload of a NaN means nothing."""
    return all(
        left.shape == right.shape and np.array_equal(_bits(left), _bits(right))
        for left, right in zip(first, second, strict=True)
    )


def _bits(values: Values) -> fp16.Bits:
    half = fp16.to_fp16(values)
    return np.where(np.isnan(half), np.float16(np.nan), half).view(np.uint16)


def _planned(model: Any, compiled: str, unit: Any) -> tuple[list[dict[str, str]], str | None]:
    """Every operation with the device Core ML prefers for it, or why there is no plan (before macOS 14.4: always)."""
    try:
        from coremltools.models.compute_plan import MLComputePlan

        plan = MLComputePlan.load_from_path(compiled, compute_units=unit)
        structure = plan.model_structure
        if structure.program is not None:
            blocks = [function.block for function in structure.program.functions.values()]
            return [_operation(plan, each) for block in blocks for each in _operations(block)], None
        if structure.neuralnetwork is not None:
            return list(_layers(plan, structure.neuralnetwork.layers, model)), None
    except Exception as error:  # noqa: BLE001 - a missing plan is a fact about the machine, the prediction still counts
        return [], f"{type(error).__name__}: {' '.join(str(error).split())}"
    return [], "the plan describes neither an ML program nor a neural network"


def _operations(block: Any) -> Iterator[Any]:
    """The operations of a block and of those inside it; constants are not computed and have no device."""
    for operation in block.operations:
        if not _kind(operation).startswith("const"):
            yield operation
        for inner in operation.blocks:
            yield from _operations(inner)


def _kind(operation: Any) -> str:
    """MIL's name: a compiled program writes `ios17.conv`."""
    return str(operation.operator_name).rpartition(".")[2]


def _operation(plan: Any, operation: Any) -> dict[str, str]:
    usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
    name = operation.outputs[0].name if operation.outputs else _kind(operation)
    return {"name": name, "op": _kind(operation), "device": _preferred(usage)}


def _layers(plan: Any, layers: Sequence[Any], model: Any) -> Iterator[dict[str, str]]:
    """As `_operation`; what a layer does is read from the model, whose names for it are known."""
    kinds = {layer.name: layer.WhichOneof("layer") for layer in model.get_spec().neuralNetwork.layers}
    for layer in layers:
        kind = kinds.get(layer.name, layer.type)
        if kind != "loadConstantND":
            usage = plan.get_compute_device_usage_for_neuralnetwork_layer(layer)
            yield {"name": layer.name, "op": _LAYERS.get(kind, kind), "device": _preferred(usage)}


def _preferred(usage: Any) -> str:
    return UNKNOWN if usage is None else _device(usage.preferred_compute_device)


def _device(device: object) -> str:
    return _DEVICES.get(type(device).__name__, UNKNOWN)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
