"""The virtual Mac offers what the installed coremltools asks its native bindings for; 8.3, 9.0 and 9.1 differ."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mish_guard
from tests import virtual_mac

PACKAGE = Path(mish_guard.__file__).parent

# Models with state and models from memory: no model of the matrix is one.
NOT_OFFERED = {
    "create_model_asset_from_memory",
    "create_model_asset_from_path",
    "newState",
    "read_state",
    "write_state",
}
_IMPORTED = re.compile(r"from \.\.libcoremlpython import (\w+)")
_CALLED = re.compile(r"(?:_MLModelProxy|\b__proxy__|self\._proxy|return proxy)\.(\w+)\(")


def _sources() -> Iterator[str]:
    """The Python of coremltools that talks to the bindings; coremltools itself is not imported."""
    spec = importlib.util.find_spec("coremltools")
    assert spec is not None
    assert spec.origin is not None
    for path in sorted((Path(spec.origin).parent / "models").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "libcoremlpython" in text:
            yield text


def _offered() -> tuple[set[str], set[str]]:
    """The classes of the proxies, and the methods and names that they have."""
    classes = [
        node for node in ast.parse((virtual_mac.HERE / "proxies.py").read_text()).body if isinstance(node, ast.ClassDef)
    ]
    methods = {item.name for node in classes for item in node.body if isinstance(item, ast.FunctionDef)}
    aliases = {
        target.id
        for node in classes
        for item in node.body
        if isinstance(item, ast.Assign)
        for target in item.targets
        if isinstance(target, ast.Name)
    }
    return {node.name for node in classes}, methods | aliases


def test_every_binding_that_is_imported_is_there() -> None:
    wanted = {name for text in _sources() for name in _IMPORTED.findall(text)}
    assert wanted >= {"_MLModelProxy", "_MLComputePlanProxy", "_MLNeuralEngineComputeDeviceProxy"}
    assert wanted - _offered()[0] == set()


def test_every_call_into_a_binding_is_answered() -> None:
    wanted = {name for text in _sources() for name in _CALLED.findall(text)}
    assert wanted >= {
        "batchPredict",
        "compileModel",
        "get_all_compute_devices",
        "get_compiled_model_path",
        "get_compute_plan",
        "get_last_predict_duration_in_nano_seconds",
        "get_load_duration_in_nano_seconds",
        "get_model_structure",
        "predict",
    }
    assert wanted - _offered()[1] - NOT_OFFERED == set()


def test_another_mish_guard_than_that_of_these_tests_wakes_up_as_itself(tmp_path: Path) -> None:
    """Stories run the mish_guard of a checkout: whatever wakes a process up must not have imported another one."""
    (tmp_path / "mish_guard").symlink_to(PACKAGE)
    made = virtual_mac.environment(virtual_mac.SCENARIOS / "hosted-vm.yml", tmp_path)
    path = os.pathsep.join([made["PYTHONPATH"], str(tmp_path)])
    ask = "import platform, mish_guard; print(platform.mac_ver()[0], mish_guard.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", ask], env={**os.environ, **made, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["15.6", str(tmp_path / "mish_guard" / "__init__.py")], done.stderr
