"""What coremltools imports from `coremltools.libcoremlpython`, on top of the emulator.

The names, constructors and failures are those of coremltools 8.3 to 9.1 (coremlpython/CoreMLPython.mm): a compiled
model is a folder that lives as long as its model, a plan for anything else aborts, errors are RuntimeErrors.
"""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mish_guard.emulated_core_ml import structure
from mish_guard.engines.emulator import package, profiles
from mish_guard.engines.emulator.arithmetic import Emulated
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import DType, Node
from mish_guard.errors import GuardError
from tests import virtual_mac

_SCENARIO = virtual_mac.load(Path(os.environ[virtual_mac.VARIABLE]))
_NEWEST_SPECIFICATION = 10
_HELPER_SECONDS = 600


class _MLCPUComputeDeviceProxy:
    pass


class _MLGPUComputeDeviceProxy:
    pass


class _MLNeuralEngineComputeDeviceProxy:
    def get_total_core_count(self) -> int:
        return _SCENARIO.machine.ne_cores


class _MLModelAssetProxy:
    pass


class _MLModelProxy:
    def __init__(self, path: str, unit: str, *_: Any) -> None:
        started = time.perf_counter_ns()
        self._source = Path(path).name
        self._unit = unit
        if self._is_struck("load-error"):
            msg = "Failed to build the model execution plan using a model architecture file with error code: -5."
            raise RuntimeError(msg)
        if self._is_struck("abort"):
            _abort("MLIR pass manager failed")
        if self._is_struck("hang"):
            _hang()
        if self._is_struck("helper"):
            _start_helper(outside=True)
        if self._is_struck("abort-exit"):
            atexit.register(_abort, "mutex lock failed: Invalid argument")
        self._compiled = Path(self.compileModel(path))
        self._model = _Model(self._compiled)
        self._count = 0
        self._load_ns = time.perf_counter_ns() - started
        self._predict_ns: int | None = None

    def __del__(self) -> None:
        if hasattr(self, "_compiled"):
            shutil.rmtree(self._compiled.parent, ignore_errors=True)

    def predict(self, data: Mapping[str, Any], _state: Any = None) -> dict[str, Any]:
        started = time.perf_counter_ns()
        if self._is_struck("abort-predict"):
            _abort("Unexpected failure in E5RT")
        if self._is_struck("hang-predict"):
            _hang()
        if self._is_struck("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        outputs = self._model.predict(data, self._unit)
        self._count += 1
        self._predict_ns = time.perf_counter_ns() - started
        return {name: self._spoiled(array) for name, array in outputs.items()}

    def batchPredict(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:  # noqa: N802 - coremltools' name
        return [self.predict(each) for each in batch]

    def get_compiled_model_path(self) -> str:
        return str(self._compiled)

    def get_load_duration_in_nano_seconds(self) -> int:
        return self._load_ns

    def get_last_predict_duration_in_nano_seconds(self) -> int | None:
        return self._predict_ns

    @staticmethod
    def compileModel(path: str) -> str:  # noqa: N802 - coremltools' name
        compiled = Path(tempfile.mkdtemp(prefix="virtual-mac-")) / f"{Path(path).stem}.mlmodelc"
        compiled.mkdir()
        if Path(path).is_dir():
            shutil.copytree(path, compiled / Path(path).name)
        else:
            shutil.copy(path, compiled)
        return str(compiled)

    @staticmethod
    def get_compute_plan(path: str, unit: str) -> _MLComputePlanProxy:
        if not path.endswith(".mlmodelc"):
            _abort("MLComputePlan: not a compiled model")
        if _is_struck("hang-plan", Path(path).stem + ".mlpackage", unit):
            _hang()
        if _SCENARIO.plan == "error":
            msg = "Unable to build a compute plan: E5RT shape inference failed."
            raise RuntimeError(msg)
        return _plan(_Model(Path(path)), unit)

    @staticmethod
    def get_model_structure(path: str) -> Any:
        return structure.of(_Model(Path(path)).spec)

    @staticmethod
    def get_all_compute_devices() -> list[Any]:
        if _is_struck("hang-devices", "", ""):
            _hang()
        return [_device(name) for name in _SCENARIO.machine.devices]

    get_available_compute_devices = get_all_compute_devices

    @staticmethod
    def maximum_supported_specification_version() -> int:
        return _NEWEST_SPECIFICATION

    @staticmethod
    def auto_set_specification_version(spec: Any) -> Any:
        return spec

    def _is_struck(self, kind: str) -> bool:
        return _is_struck(kind, self._source, self._unit)

    def _spoiled(self, array: Any) -> Any:
        if self._is_struck("wrong-dtype"):
            return array.astype(np.int32)
        if self._is_struck("zeros"):
            return np.zeros_like(array)
        if self._is_struck("stale"):
            # What the buffer held before: the outputs of the prediction before this one.
            self._stale, array = array, getattr(self, "_stale", np.zeros_like(array))
        if self._is_struck("wrong-shape"):
            return array.reshape(-1)[:-1]
        if self._is_struck("nan"):
            return np.full_like(array, np.nan)
        if self._is_struck("flicker") and self._count % 2:
            flipped = array.copy()
            flipped.reshape(-1)[0] = np.nextafter(np.float16(flipped.reshape(-1)[0]), np.float16(np.inf))
            return flipped
        return array


class _MLComputePlanProxy:
    def __init__(self, structure: Any, devices: Mapping[str, str]) -> None:
        self.model_structure = structure
        self._devices = devices

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        return self._usage("const" if operation.operator_name == "const" else operation.outputs[0].name)

    def get_compute_device_usage_for_neuralnetwork_layer(self, layer: Any) -> Any:
        return self._usage(layer.output_names[0])

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> None:
        del operation

    def _usage(self, output: str) -> Any:
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage

        if _SCENARIO.plan == "nothing" or output not in self._devices:
            return None
        device = _device(self._devices[output])
        return MLComputePlanDeviceUsage(preferred_compute_device=device, supported_compute_devices=[device])


class _Model:
    """A compiled model: its spec, and the emulator's view of it."""

    def __init__(self, compiled: Path) -> None:
        from coremltools.models.utils import load_spec

        (source,) = compiled.iterdir()
        self.spec = load_spec(str(source))
        self.graph = package.load(source)

    def predict(self, data: Mapping[str, Any], unit: str) -> dict[str, Any]:
        if sys.modules.get("torch", self) is None:
            # The worker keeps torch from coremltools; the emulator, which no worker on a Mac has, may need it.
            del sys.modules["torch"]
        try:
            values = evaluate(self.graph, data, _Mixed(unit))
        except GuardError as error:
            raise RuntimeError(str(error)) from error
        # coremltools widens half-precision outputs on their way to numpy.
        return {name: values[name].astype(np.float32) for name in self.graph.outputs}


class _Mixed(Emulated):
    """The scenario's profile for what runs on the Neural Engine, plain half precision for the rest."""

    def __init__(self, unit: str) -> None:
        super().__init__(profiles.get(_SCENARIO.profile))
        self._unit = unit

    def on_neural_engine(self, node: Node) -> bool:
        return not _SCENARIO.falls_back and _preferred(node, self._unit) == "ne"


def _preferred(node: Node, unit: str) -> str:
    """The device that the plan of a compute unit gives to an operation; fp32 is not for the Neural Engine."""
    if unit == "CPU_AND_GPU" and "gpu" in _SCENARIO.machine.devices:
        return "gpu"
    half = all(tensor.dtype is not DType.FP32 for tensor in node.outputs)
    shape = node.outputs[0].shape if node.outputs else None
    on_ne = unit in ("CPU_AND_NE", "ALL") and "ne" in _SCENARIO.machine.devices and half
    return "ne" if on_ne and _SCENARIO.routing.takes(node.op, shape) else "cpu"


def _plan(model: _Model, unit: str) -> _MLComputePlanProxy:
    devices = {tensor.name: _preferred(node, unit) for node in model.graph.nodes for tensor in node.outputs}
    return _MLComputePlanProxy(structure.of(model.spec), devices)


def _device(name: str) -> Any:
    from coremltools.models import compute_device as cd

    return {
        "cpu": lambda: cd.MLCPUComputeDevice(_MLCPUComputeDeviceProxy()),
        "gpu": lambda: cd.MLGPUComputeDevice(_MLGPUComputeDeviceProxy()),
        "ne": lambda: cd.MLNeuralEngineComputeDevice(_MLNeuralEngineComputeDeviceProxy()),
    }[name]()


def _abort(message: str) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
    os.abort()


def _hang() -> None:
    """As the compiler service does: a helper of its own, and no way back; a signal that can be refused is refused.

    What no signal ends, a wait in the kernel, no process can play. The worker's own alarm is left to it.
    """
    _start_helper(outside=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGALRM})
    while True:
        time.sleep(_HELPER_SECONDS)


def _start_helper(*, outside: bool) -> None:
    """A process that outlives this one, in its session or outside."""
    # The scenario among its arguments tells it from the helpers of other runs.
    sleep = [sys.executable, "-I", "-S", "-c", f"import time; time.sleep({_HELPER_SECONDS})"]
    subprocess.Popen([*sleep, os.environ[virtual_mac.VARIABLE]], start_new_session=outside)


def _is_struck(kind: str, package: str, unit: str) -> bool:
    """Whether a fault of the scenario strikes here, and has not been used up."""
    struck = [fault for fault in _SCENARIO.faults if fault.strikes(kind, package, unit)]
    return any(not fault.once or _first_time(kind) for fault in struck)


def _first_time(kind: str) -> bool:
    try:
        (Path(os.environ[virtual_mac.STATE]) / f"struck-{kind}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


# A busy machine takes long to import all that coremltools wants.
time.sleep(_SCENARIO.import_seconds)
