"""Tests of other projects that predict with Core ML, run on this machine with the plugin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.console import ROOT

PAGE = ROOT / "docs" / "emulated-core-ml.md"

pytestmark = pytest.mark.slow

# coremltools' test of mish in small: the release's converter or the lowering that replaces it, inputs of -20 to 20.
_MISH = """
import coremltools as ct
import numpy as np
import pytest
import torch

from mish_guard.models import lowerings

net = torch.jit.trace(torch.nn.Mish(), torch.zeros(1, 8))


@pytest.mark.parametrize("lowering", ["as-is", "exp"])
@pytest.mark.parametrize("unit", ["CPU_ONLY", "CPU_AND_NE"])
def test_mish(lowering, unit):
    x = np.linspace(-20, 20, 8, dtype=np.float32).reshape(1, 8)
    with lowerings.registered(lowering):
        model = ct.convert(net, inputs=[ct.TensorType(name="x", shape=(1, 8))], compute_units=ct.ComputeUnit[unit])
    (got,) = model.predict({"x": x}).values()
    np.testing.assert_allclose(got, net(torch.from_numpy(x)), atol=2e-2, rtol=2e-2)


def test_devices_and_plan():
    devices = ct.models.MLModel.get_available_compute_devices()
    assert [type(each).__name__ for each in devices] == [
        "MLCPUComputeDevice", "MLGPUComputeDevice", "MLNeuralEngineComputeDevice"
    ]
    model = ct.convert(net, inputs=[ct.TensorType(name="x", shape=(1, 8))])
    plan = ct.models.compute_plan.MLComputePlan.load_from_path(model.get_compiled_model_path())
    operations = plan.model_structure.program.functions["main"].block.operations
    usages = [plan.get_compute_device_usage_for_mlprogram_operation(each) for each in operations]
    preferred = {type(each.preferred_compute_device).__name__ for each in usages if each is not None}
    assert "MLNeuralEngineComputeDevice" in preferred
    assert {each.operator_name.partition(".")[0] for each in operations} == {"const", "ios15"}
"""


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").touch()
    (folder / "test_theirs.py").write_text(_MISH)
    command = [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), "-q", "-p", "no:cacheprovider"]
    plugin = ["-p", "mish_guard.emulated_core_ml", "-W", "ignore", "-rA", "--tb=line"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [*command, *plugin, *options, "test_theirs.py"], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_mish_of_the_release_fails_on_an_emulated_neural_engine_and_the_exp_form_passes(tmp_path: Path) -> None:
    done = _run(tmp_path, "--ne-profile", "ane")
    ended = {
        line.split(" ")[1].partition("::")[2]: line.split(" ")[0] for line in done.stdout.splitlines() if "::" in line
    }
    assert ended == {
        "test_mish[CPU_ONLY-as-is]": "PASSED",
        "test_mish[CPU_ONLY-exp]": "PASSED",
        "test_mish[CPU_AND_NE-as-is]": "FAILED",
        "test_mish[CPU_AND_NE-exp]": "PASSED",
        "test_devices_and_plan": "PASSED",
    }, done.stdout + done.stderr


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="the command is for a checkout with its environment")
def test_the_command_of_the_guide_finds_the_tests_of_mish(tmp_path: Path) -> None:
    """As it stands, but that it ends before the conversions, whose outcome the tests above show in small."""
    command, wide = re.findall(r"```(?:python)?\n(COMPUTE_UNITS.*?|import pytest\n.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "wide.py").write_text(wide)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"}
    words = ["bash", "-c", f"{command.strip()} --collect-only -q -p no:cacheprovider"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1000:]
    assert done.stdout.count("::test_mish[") >= 10


def test_an_unknown_profile_is_named(tmp_path: Path) -> None:
    done = _run(tmp_path, "--ne-profile", "m9")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "m9" in done.stderr
    assert "ane-coarse" in done.stderr
