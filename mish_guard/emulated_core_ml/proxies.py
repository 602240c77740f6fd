"""What coremltools imports from `coremltools.libcoremlpython`, on top of the emulator.

The names, constructors and failures are those of coremltools 8.3 to 9.1 (coremlpython/CoreMLPython.mm): a compiled
model is a folder that lives as long as its model, a plan is for compiled models only, errors are RuntimeErrors.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from mish_guard.emulated_core_ml import features, machine, structure
from mish_guard.engines.emulator import described, mlprogram, neuralnetwork, reader
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import Array, Graph
from mish_guard.errors import GuardError, UnreadableFileError, UnsupportedOpError


class _MLCPUComputeDeviceProxy:
    pass


class _MLGPUComputeDeviceProxy:
    pass


class _MLNeuralEngineComputeDeviceProxy:
    def get_total_core_count(self) -> int:
        return machine.current().ne_cores


class _MLModelAssetProxy:
    """A compiled model by its path."""

    def __init__(self, path: str) -> None:
        self.path = path


class _MLStateProxy:
    """The states of a model between predictions."""

    def __init__(self, values: dict[str, Array]) -> None:
        self.values = values

    def read_state(self, name: str) -> Array:
        return self._known(name).astype("float32")

    def write_state(self, name: str, value: Array) -> None:
        if self._known(name).shape != value.shape:
            msg = f"The state '{name}' has the shape {self._known(name).shape}, not {value.shape}."
            raise RuntimeError(msg)
        self.values[name] = value.astype("float16").astype("float64")

    def _known(self, name: str) -> Array:
        if name not in self.values:
            msg = f"The model has no state '{name}'."
            raise RuntimeError(msg)
        return self.values[name]


class _MLModelProxy:
    def __init__(
        self, path: str, unit: str, function: str = "", _hints: object = None, asset: _MLModelAssetProxy | None = None
    ) -> None:
        started = time.perf_counter_ns()
        self._own: Path | None = None
        source = asset.path if asset is not None else path
        if not source.rstrip("/").endswith(".mlmodelc"):
            source = self.compileModel(source)
            self._own = Path(source).parent
        self._compiled = source
        self._unit = unit
        self._model = _Model(Path(source), unit, function)
        self._load_ns = time.perf_counter_ns() - started
        self._predict_ns: int | None = None

    def __del__(self) -> None:
        if getattr(self, "_own", None) is not None:
            shutil.rmtree(str(self._own), ignore_errors=True)

    def predict(self, data: Mapping[str, object], state: _MLStateProxy | None = None) -> dict[str, object]:
        started = time.perf_counter_ns()
        outputs = self._model.predict(data, state)
        self._predict_ns = time.perf_counter_ns() - started
        return outputs

    def batchPredict(self, batch: list[dict[str, object]]) -> list[dict[str, object]]:  # noqa: N802 - coremltools' name
        return [self.predict(each) for each in batch]

    def newState(self) -> _MLStateProxy:  # noqa: N802 - coremltools' name
        return _MLStateProxy(self._model.new_state())

    def get_compiled_model_path(self) -> str:
        return self._compiled

    def get_load_duration_in_nano_seconds(self) -> int:
        return self._load_ns

    def get_last_predict_duration_in_nano_seconds(self) -> int | None:
        return self._predict_ns

    @staticmethod
    def compileModel(path: str) -> str:  # noqa: N802 - coremltools' name
        """A folder with a copy of the model: the emulator reads models as they are."""
        compiled = Path(tempfile.mkdtemp(prefix="emulated-core-ml-")) / f"{Path(path).stem}.mlmodelc"
        compiled.mkdir()
        if Path(path).is_dir():
            shutil.copytree(path, compiled / Path(path).name)
        else:
            shutil.copy(path, compiled)
        return str(compiled)

    @staticmethod
    def create_model_asset_from_path(path: str) -> object:
        from coremltools.models.model import MLModelAsset

        return MLModelAsset(_MLModelAssetProxy(path))

    @staticmethod
    def create_model_asset_from_memory(spec_data: bytes, blobs: Mapping[str, bytes]) -> NoReturn:
        del spec_data, blobs
        msg = "The emulated Core ML has no models from memory."
        raise RuntimeError(msg)

    @staticmethod
    def get_compute_plan(path: str, unit: str) -> _MLComputePlanProxy:
        if not path.rstrip("/").endswith(".mlmodelc"):
            msg = "A compute plan is made for a compiled model (.mlmodelc)."
            raise RuntimeError(msg)
        model = _Model(Path(path), unit, "")
        devices = {tensor.name: machine.preferred(node, unit) for node in model.graph.nodes for tensor in node.outputs}
        return _MLComputePlanProxy(structure.of(model.spec), devices)

    @staticmethod
    def get_model_structure(path: str) -> object:
        return structure.of(_opened(_source(Path(path))).spec)

    @staticmethod
    def get_all_compute_devices() -> list[object]:
        return [_device(name) for name in machine.current().devices]

    get_available_compute_devices = get_all_compute_devices

    @staticmethod
    def maximum_supported_specification_version() -> int:
        return machine.NEWEST_SPECIFICATION

    @staticmethod
    def auto_set_specification_version(spec: object) -> object:
        return spec


class _MLComputePlanProxy:
    def __init__(self, model_structure: object, devices: Mapping[str, str]) -> None:
        self.model_structure = model_structure
        self._devices = devices

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> object:
        return self._usage(operation.outputs[0].name if operation.outputs else "")

    def get_compute_device_usage_for_neuralnetwork_layer(self, layer: Any) -> object:
        return self._usage(layer.output_names[0])

    def get_estimated_cost_for_mlprogram_operation(self, operation: object) -> None:
        del operation

    def _usage(self, output: str) -> object:
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage

        if output not in self._devices:
            return None
        device = _device(self._devices[output])
        return MLComputePlanDeviceUsage(preferred_compute_device=device, supported_compute_devices=[device])


class _Model:
    """A compiled model: its spec, the emulator's view of it, and how its unit computes."""

    def __init__(self, compiled: Path, unit: str, function: str) -> None:
        opened = _opened(_source(compiled))
        self.spec = opened.spec
        self._arithmetic = machine.arithmetic(unit)
        self._description = described.of(self.spec, function)
        # What cannot be read is an error of the prediction, as for an operation that is met there.
        self._unread: GuardError | None = None
        self.graph = Graph(inputs=(), constants={}, nodes=(), outputs=())
        try:
            self.graph = _graph(opened, unit, function)
        except UnsupportedOpError as error:
            self._unread = error
        except GuardError as error:
            raise RuntimeError(str(error)) from error

    def new_state(self) -> dict[str, Array]:
        return {tensor.name: features.zeros(tensor) for tensor in self.graph.states}

    def predict(self, data: Mapping[str, object], state: _MLStateProxy | None) -> dict[str, object]:
        try:
            if self._unread is not None:
                raise self._unread
            feeds = features.feeds(self._description, data, self.graph.inputs)
            held = None if state is None else state.values
            values = evaluate(self.graph, feeds, self._arithmetic, held)
            return {name: features.output(self._description, name, values[name]) for name in self.graph.outputs}
        except GuardError as error:
            # Core ML's own words come first: programs look for them.
            msg = f"Error computing NN outputs. {type(error).__name__}: {error}"
            raise RuntimeError(msg) from error


def _graph(model: reader.Model, unit: str, function: str) -> Graph:
    if model.kind == "mlProgram":
        return mlprogram.read(model.spec, model.weights, function)
    if model.kind.startswith("neuralNetwork"):
        # The CPU keeps single precision in this format.
        return neuralnetwork.read(model.spec, single=unit == "CPU_ONLY")
    msg = f"The emulated Core ML runs ML programs and neural networks, not a model of type '{model.kind}'."
    raise UnsupportedOpError(msg)


def _source(compiled: Path) -> Path:
    sources = [each for each in compiled.iterdir() if each.suffix in (".mlpackage", ".mlmodel")]
    if len(sources) != 1:
        msg = f"'{compiled}' was not compiled by the emulated Core ML."
        raise RuntimeError(msg)
    return sources[0]


def _opened(source: Path) -> reader.Model:
    try:
        return reader.open_model(source)
    except UnreadableFileError as error:
        raise RuntimeError(str(error)) from error


def _device(name: str) -> object:
    from coremltools.models import compute_device as cd

    return {
        "cpu": lambda: cd.MLCPUComputeDevice(_MLCPUComputeDeviceProxy()),
        "gpu": lambda: cd.MLGPUComputeDevice(_MLGPUComputeDeviceProxy()),
        "ne": lambda: cd.MLNeuralEngineComputeDevice(_MLNeuralEngineComputeDeviceProxy()),
    }[name]()
