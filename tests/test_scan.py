"""Scanning a user's own model: every hazard found once, nothing found in a sound model, and what a run shows."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mish_guard
from mish_guard.engines.emulator import package, reader, replay, specification
from mish_guard.engines.emulator.graph import DType, Graph, Node, Ref, Tensor
from mish_guard.engines.emulator.sketch import sketch
from mish_guard.errors import ExitCode, UnreadableFileError, UnsupportedOpError, UsageError
from mish_guard.numerics import reference
from mish_guard.report import scanned
from mish_guard.report.scanned import Scanned
from mish_guard.scan import rules, trial
from mish_guard.scan.rules import RULES
from mish_guard.scan.trial import Trial
from mish_guard.scan.view import View, view
from tests import hostile
from tests.conftest import Invoke

SHAPE = (2, 6)


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def _heavy() -> nn.Module:
    linear = nn.Linear(6, 3)
    nn.init.constant_(linear.weight, 900.0)
    return linear


def _sums() -> nn.Module:
    """Sums of six inputs, made small again behind them."""
    linear = nn.Linear(6, 3, bias=False)
    nn.init.constant_(linear.weight, 1.0)
    return nn.Sequential(linear, nn.ReLU(), Of(lambda x: x * 0.001))


def _sound() -> nn.Module:
    """Convolutions, normalisation, pooling and a head."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(stem, nn.Conv2d(8, 8, 1), nn.Tanh(), nn.Flatten(), nn.Linear(128, 4), nn.Sigmoid())


def _careful(x: torch.Tensor) -> torch.Tensor:
    """What is dangerous written carefully: shifted, clamped, and never infinite."""
    shifted = torch.exp(x - x.amax(1, keepdim=True))
    weights = shifted / shifted.sum(1, keepdim=True)
    softplus = torch.relu(x) + torch.log(torch.exp(-x.abs()) + 1)
    e = torch.exp(x.clamp(max=5.0))
    return weights + x * torch.tanh(softplus) + e * (e + 2) / (e * (e + 2) + 2) + torch.sigmoid(x)[:, :3].sum()


NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "native-softplus": (nn.Softplus(), SHAPE),
    "log-of-one-plus-exp": (Of(lambda x: torch.log(torch.exp(x) + 1)), SHAPE),
    "log-of-softmax": (nn.LogSoftmax(1), SHAPE),
    "log-sum-exp": (Of(lambda x: torch.logsumexp(x, 1)), SHAPE),
    "unclamped-ratio-of-exponentials": (Of(lambda x: torch.exp(x) / (torch.exp(x) + 2)), SHAPE),
    "sums-past-two-to-the-fifteen": (_heavy(), SHAPE),
    "native-silu": (nn.SiLU(), SHAPE),
    "native-gelu": (nn.GELU(), SHAPE),
    "not-implemented-on-the-engine": (Of(lambda x: torch.cumsum(x, 1) * 2), SHAPE),
    "slice-with-an-offset": (Of(lambda x: x[:, 1:] * 2), SHAPE),
    "int8-product": (nn.Linear(64, 64), (2, 64)),
    "single-precision-island": (Of(lambda x: torch.tanh(torch.relu(x)) * 2), SHAPE),
    "mask-beyond-half-precision": (Of(lambda x: torch.where(x > 0, x, -1e9)), SHAPE),
    "sound": (_sound(), (1, 3, 8, 8)),
    "careful": (Of(_careful), SHAPE),
    "sums": (_sums(), SHAPE),
    "classifier": (nn.Sequential(nn.Linear(6, 3), nn.Softmax(1)), (1, 6)),
    "leaves-at-its-end": (Of(lambda x: torch.cumsum(torch.cumsum(torch.tanh(x), 1), 1)), SHAPE),
    "cumulative": (Of(lambda x: torch.logcumsumexp(x, 1)), SHAPE),
    "older-format": (Of(lambda x: torch.cat([-x[:, 3:], x[:, :3]], 1)), SHAPE),
}

# Nets that no rule has anything to say of.
CLEAN = {"sound", "careful", "sums", "classifier", "leaves-at-its-end"}

# Hazards in another dress.
DRESSED = {
    "cumulative": {"log-sum-exp", "not-implemented-on-the-engine"},
    "older-format": {"slice-with-an-offset"},
}


def _converted(name: str, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what coremltools, torch and numpy say to each other
        return _saved(name, folder)


def _saved(name: str, folder: Path) -> Path:
    import coremltools as ct

    jit: Any = torch.jit
    net, shape = NETS[name]
    example = torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
    precision: Any = ct.precision.FLOAT16
    if name == "single-precision-island":
        precision = ct.transform.FP16ComputePrecision(op_selector=lambda op: op.op_type != "tanh")
    if name == "older-format":
        return _saved_network(net, example, folder)
    is_classifier = name == "classifier"
    model = ct.convert(
        jit.trace(net.eval(), example),
        inputs=[ct.TensorType(name="x", shape=shape, dtype=np.float32)],
        outputs=None if is_classifier else [ct.TensorType(name="y", dtype=np.float32)],
        classifier_config=ct.ClassifierConfig(["left", "right", "none"]) if is_classifier else None,
        compute_precision=precision,
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )
    if name == "int8-product":
        from coremltools.optimize import coreml

        settings = coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=100)
        model = coreml.linear_quantize_weights(model, coreml.OptimizationConfig(global_config=settings))
    path = folder / f"{name}.mlpackage"
    model.save(str(path))
    return path


def _saved_network(net: nn.Module, example: torch.Tensor, folder: Path) -> Path:
    """A net in the format before ML programs."""
    import coremltools as ct

    jit: Any = torch.jit
    inputs = [ct.TensorType(name="x", shape=tuple(example.shape))]
    path = folder / "older.mlmodel"
    ct.convert(jit.trace(net.eval(), example), inputs=inputs, convert_to="neuralnetwork").save(str(path))
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The package of a net, converted once."""
    folder = tmp_path_factory.mktemp("nets")
    made: dict[str, Path] = {}

    def path(name: str) -> Path:
        if name not in made:
            made[name] = _converted(name, folder)
        return made[name]

    return path


@pytest.mark.parametrize("name", NETS)
def test_each_net_shows_its_hazard_and_no_other(name: str, saved: Callable[[str], Path]) -> None:
    found = {each.rule for each in rules.scan(view(reader.open_model(saved(name))))}
    assert found == DRESSED.get(name, {name} if name in RULES else set())


def _half(name: str) -> Tensor:
    return Tensor(name=name, dtype=DType.FP16, shape=(2, 6))


@pytest.mark.parametrize("where", ["end", "end of a branch", "end by its name"])
def test_what_leaves_the_engine_is_told_unless_it_is_known_to_be_the_end(where: str) -> None:
    last = Node(op="cumsum", name="last", operands={"x": Ref("x")}, outputs=(_half("y"),))
    inner = Graph(inputs=(), constants={}, nodes=(last,), outputs=("y",))
    choice = Node(op="cond", name="choice", operands={"pred": Ref("p")}, outputs=(_half("z"),), blocks=(inner, inner))
    nodes = (choice, last) if where == "end of a branch" else (last,)
    seen = View(graph=inner, nodes=nodes, producers={}, gap="unknown" if where == "end by its name" else None)
    assert [each.name for each in rules.scan(seen)] == ([] if where == "end" else ["last"])


def test_every_rule_has_a_net_evidence_and_advice() -> None:
    facts = {fact.id for fact in replay.load()}
    assert set(RULES) == set(NETS) - CLEAN - set(DRESSED)
    for rule in RULES.values():
        assert rule.evidence
        assert set(rule.evidence) <= facts, rule.id
        assert rule.advice


def test_a_risk_is_printed_with_evidence_and_advice(invoke: Invoke) -> None:
    ended = invoke("scan", hostile.GOOD)
    assert ended.code == ExitCode.FAIL
    assert ended.first_line == f"AT RISK: {hostile.GOOD.name}: 1 of 6 operations"
    for text in ("native-softplus (F1, F2, F3, F71)", "do: write max(x, 0)", "softplus_0_cast_fp16"):
        assert text in ended.out


def test_a_run_names_the_first_operation_that_goes_wrong_and_its_values(invoke: Invoke, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 32, 8, 8), 20.0))
    ended = invoke("scan", hostile.GOOD, "--input", tmp_path / "x.npy", "--format", "json")
    trials = {each["profile"]: each for each in ended.json["trials"]}
    assert ended.code == ExitCode.FAIL
    assert trials["ieee-fp16"]["first_wrong"] is None
    first = trials["ane"]["first_wrong"]
    assert (first["op"], first["got"], round(first["float64"])) == ("softplus", 0.0, 20)
    assert [each["rule"] for each in ended.json["risks"]] == ["native-softplus"]


def test_a_model_that_is_only_wrong_when_it_runs_is_at_risk(
    invoke: Invoke, tmp_path: Path, saved: Callable[[str], Path]
) -> None:
    path = saved("sums")
    assert invoke("scan", path).code == ExitCode.PASS
    # Six times 10000 is 60000: past 2**15, where the Neural Engine has infinity, and half precision has not.
    np.save(tmp_path / "x.npy", np.full(SHAPE, 10000.0))
    ended = invoke("scan", path, "--input", tmp_path / "x.npy", "--profile", "ieee-fp16", "--profile", "ane")
    assert ended.code == ExitCode.FAIL
    assert ended.first_line == "AT RISK: sums.mlpackage: wrong under ane"
    assert "linear '" in ended.out
    np.save(tmp_path / "x.npy", np.full(SHAPE, 5000.0))
    assert invoke("scan", path, "--input", tmp_path / "x.npy").code == ExitCode.PASS


@pytest.mark.parametrize("profile", ["ieee-fp16", "ane"])
def test_a_model_that_gives_no_number_in_float64_either_is_no_clean_one(profile: str) -> None:
    graph = sketch(lambda mb, x, name: mb.mul(x=mb.log(x=x), y=2.0, name=name))
    (found,) = trial.run(graph, {"x": np.array([1.0, -1.0])}, [profile])
    assert found.is_wrong
    assert found.culprit is not None
    assert found.culprit.op == "log"
    assert np.isnan(found.culprit.want)
    (sound,) = trial.run(graph, {"x": np.array([1.0, 2.0])}, [profile])
    assert not sound.is_wrong


def test_a_page_marks_what_is_at_risk_and_draws_the_error_along_the_model(invoke: Invoke, tmp_path: Path) -> None:
    model = hostile.GOOD.with_name("softplus-mish-k3.mlpackage")
    (tensor,) = package.load(model).inputs
    np.save(tmp_path / "x.npy", np.full([size or 1 for size in tensor.shape or ()], 20.0))
    ended = invoke("scan", model, "--input", tmp_path / "x.npy", "--profile", "ane", "--html")
    assert ended.code == ExitCode.FAIL
    assert "<h1>AT RISK</h1>" in ended.out
    marked = ended.out.partition('<li class="culprit">')[2].partition("</li>")[0]
    assert marked.startswith("<strong>softplus</strong>")
    assert "native-softplus, first wrong under ane" in marked
    assert ended.out.count('<li class="culprit">') == 1
    assert (ended.out.count("<svg"), ended.out.count("<script")) == (1, 0)


def test_a_page_of_a_clean_model_says_so_and_draws_nothing_that_was_not_run(invoke: Invoke) -> None:
    ended = invoke("scan", hostile.GOOD.with_name("exp-mish-k3.mlpackage"), "--format", "html")
    assert ended.code == ExitCode.PASS
    assert "<h1>CLEAN</h1>" in ended.out
    assert "<svg" not in ended.out
    assert 'class="culprit"' not in ended.out


def test_a_sound_model_is_clean(invoke: Invoke, saved: Callable[[str], Path]) -> None:
    ended = invoke("scan", saved("careful"), "--input", "random:7")
    assert ended.code == ExitCode.PASS
    assert ended.first_line.startswith("CLEAN: careful.mlpackage: no known risk in ")
    assert ended.first_line.endswith("right under 4 profiles")


def test_a_model_that_the_emulator_cannot_run_is_scanned_all_the_same(invoke: Invoke, tmp_path: Path) -> None:
    path = _copied(tmp_path, hostile.operation("tanh", lambda each: setattr(each, "type", "warp")))
    ended = invoke("scan", path)
    assert (ended.code, ended.first_line) == (ExitCode.FAIL, "AT RISK: model.mlpackage: 1 of 6 operations")
    ended = invoke("scan", path, "--input", "random:1")
    assert ended.code == UnsupportedOpError.exit_code
    assert "warp" in ended.err


def test_a_neural_network_with_an_unknown_layer_is_scanned_by_names(tmp_path: Path, invoke: Invoke) -> None:
    from coremltools.proto import Model_pb2

    message = Model_pb2.Model(specificationVersion=4)
    message.description.input.add(name="x").type.multiArrayType.shape[:] = [3]
    message.description.output.add(name="y")
    message.neuralNetwork.layers.add(name="a", input=["x"], output=["h"]).activation.softplus.SetInParent()
    message.neuralNetwork.layers.add(name="b", input=["h"], output=["y"]).custom.className = "Mine"
    path = tmp_path / "net.mlmodel"
    path.write_bytes(message.SerializeToString())
    ended = invoke("scan", path)
    assert ended.code == ExitCode.FAIL
    assert "native-softplus" in ended.out
    assert "Seen by the names of its operations only" in ended.out
    del message.neuralNetwork.layers[0]
    message.neuralNetwork.layers[0].input[:] = ["x"]
    path.write_bytes(message.SerializeToString())
    ended = invoke("scan", path)
    assert ended.code == ExitCode.INCONCLUSIVE
    assert (
        ended.first_line == "INCONCLUSIVE: net.mlmodel: no known risk by the names of 1 operation, and no more is known"
    )
    assert "<h1>INCONCLUSIVE</h1>" in invoke("scan", path, "--html").out


def test_an_output_that_is_off_is_wrong_although_no_operation_is_to_blame() -> None:
    """Roundings that only add up have no culprit, and are no reason to call a model right."""
    seen = view(reader.open_model(hostile.GOOD))
    off = Trial(profile="ane", max_abs=1.0, relative=0.2, culprit=None, assumptions=())
    near = dataclasses.replace(off, relative=0.01)
    wrong = Scanned(model=Path("m"), view=seen, risks=(), trials=(off, near))
    assert scanned.headline(wrong) == "AT RISK: m: wrong under ane"
    assert Scanned(model=Path("m"), view=seen, risks=(), trials=(near,)).is_clean


@pytest.mark.parametrize("name", hostile.HOSTILE)
def test_a_hostile_package_ends_with_2_and_nothing_written(name: str, tmp_path: Path, invoke: Invoke) -> None:
    path = hostile.made(name, tmp_path)
    before = hostile.listing(tmp_path)
    ended = invoke("scan", path, "--input", "random:1")
    assert (ended.code, ended.out) == (ExitCode.USAGE, "")
    assert len(ended.err.splitlines()) == 1
    assert hostile.listing(tmp_path) == before


def _copied(folder: Path, edit: hostile.Edit) -> Path:
    import shutil

    path = folder / "model.mlpackage"
    shutil.copytree(hostile.GOOD, path)
    edit(path)
    return path


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cannot be read as .npy or .npz"),
        (b"PK\x03\x04", "cannot be read as .npy or .npz"),
        (
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }",
            "cannot be read",
        ),
    ],
)
def test_an_input_file_that_is_none_is_told(content: bytes, complaint: str, tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    ended = invoke("scan", hostile.GOOD, "--input", tmp_path / "x.npy")
    assert ended.code == ExitCode.USAGE
    assert complaint in ended.err


@pytest.mark.parametrize("given", ["random:", "random:-1", "random:x", "nowhere.npy"])
def test_an_input_that_makes_no_sense_is_told(given: str, invoke: Invoke) -> None:
    assert invoke("scan", hostile.GOOD, "--input", given).code == ExitCode.USAGE


def test_predictions_are_written_by_name(invoke: Invoke, tmp_path: Path) -> None:
    x = np.linspace(-8, 8, 2048).reshape(1, 32, 8, 8)
    np.savez(tmp_path / "in.npz", x=x)
    out = tmp_path / "out.npz"
    ended = invoke("predict", hostile.GOOD, "--input", tmp_path / "in.npz", "--out", out)
    assert ended.code == ExitCode.PASS
    with np.load(out) as written:
        assert sorted(written.files) == ["activated", "input_1", "var_18"]
        fed = written["input_1"].astype(np.float64)
        assert np.abs(written["activated"] - reference.mish(fed)).max() < 0.01
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    assert invoke("predict", hostile.GOOD, "--input", "random:1", "--out", tmp_path / "out.npy").code == ExitCode.USAGE
    (tmp_path / "file").touch()
    beneath = tmp_path / "file" / "out.npz"
    assert invoke("predict", hostile.GOOD, "--input", "random:1", "--out", beneath).code == ExitCode.USAGE


def test_the_python_call_predicts_as_the_command_does() -> None:
    x = np.full((1, 32, 8, 8), 20.0)
    broken = mish_guard.predict(hostile.GOOD, {"x": x})
    sound = mish_guard.predict(str(hostile.GOOD), {"x": x}, profile="ieee-fp16")
    assert broken["activated"].dtype == np.float16
    assert (broken["activated"].max(), sound["activated"].max()) == (0, 20)
    with pytest.raises(UsageError, match="wants an input 'x'"):
        mish_guard.predict(hostile.GOOD, {})
    with pytest.raises(UsageError, match="no input 'z'"):
        mish_guard.predict(hostile.GOOD, {"x": x, "z": x})
    with pytest.raises(UnreadableFileError):
        mish_guard.predict("nowhere.mlpackage", {"x": x})


def test_a_neural_network_may_keep_single_precision(invoke: Invoke, tmp_path: Path) -> None:
    path = _product(tmp_path, weight=1 + 2.0**-12)
    x = {"x": np.array([[1 + 2.0**-12]])}
    single, half = (mish_guard.predict(path, x, profile=name)["y"] for name in ("cpu-fp32", "ieee-fp16"))
    assert (single.dtype, single.item(), half.item()) == (np.float32, (1 + 2.0**-12) ** 2 - 2.0**-24, 1.0)
    np.save(tmp_path / "x.npy", np.full((1, 1), 10000.0))
    told = invoke(
        "scan", path, "--input", tmp_path / "x.npy", "--profile", "cpu-fp32", "--profile", "ane", "--format", "json"
    )
    errors = {each["profile"]: each["max_abs"] for each in told.json["trials"]}
    assert (errors["cpu-fp32"] < 0.001, errors["ane"] == 0.0) == (True, True)
    assert invoke("gate", "--engine", "emulator", "--profile", "cpu-fp32").code == ExitCode.USAGE


def test_outputs_may_be_called_as_numpy_calls_its_parameters(invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    model = _product(tmp_path, weight=2.0, output="file")
    assert invoke("predict", model, "--input", "random:1", "--out", out).code == ExitCode.PASS
    with np.load(out) as written:
        assert written.files == ["file"]


def test_a_classifier_is_run_and_its_label_and_probabilities_are_written(invoke: Invoke, tmp_path: Path) -> None:
    model, out = _classifier(tmp_path), tmp_path / "out.npz"
    np.save(tmp_path / "x.npy", np.array([[0.0, 12.0, 1.0]]))
    told = invoke("scan", model, "--input", tmp_path / "x.npy", "--profile", "ane", "--format", "json")
    assert [each["max_abs"] < 0.001 for each in told.json["trials"]] == [True]
    ended = invoke("predict", model, "--input", tmp_path / "x.npy", "--out", out)
    assert (ended.code, "label: <U5 (), 1 values" in ended.out) == (ExitCode.PASS, True)
    with np.load(out) as written:
        assert (written["label"].item(), written["shares"].argmax(), written["shares"].shape) == ("right", 1, (3,))


def _classifier(folder: Path) -> Path:
    """A neural network that hands its input on as the probabilities of three classes."""
    message = specification.model()
    network = message.neuralNetworkClassifier
    message.specificationVersion, network.arrayInputShapeMapping = 4, 1
    message.description.input.add(name="x").type.multiArrayType.shape[:] = [1, 3]
    network.layers.add(name="a", input=["x"], output=["p"]).softmaxND.axis = -1
    network.stringClassLabels.vector[:] = ["left", "right", "none"]
    network.labelProbabilityLayerName = "p"
    message.description.output.add(name="label").type.stringType.SetInParent()
    message.description.output.add(name="shares").type.dictionaryType.stringKeyType.SetInParent()
    message.description.predictedFeatureName, message.description.predictedProbabilitiesName = "label", "shares"
    path = folder / "classifier.mlmodel"
    path.write_bytes(message.SerializeToString())
    return path


def _product(folder: Path, weight: float, output: str = "y") -> Path:
    """A neural network of one product, by a weight that half precision has no room for."""
    message = specification.model()
    message.specificationVersion, message.neuralNetwork.arrayInputShapeMapping = 4, 1
    message.description.input.add(name="x").type.multiArrayType.shape[:] = [1, 1]
    message.description.output.add(name=output).type.multiArrayType.dataType = 65568
    layer = message.neuralNetwork.layers.add(name="a", input=["x"], output=[output]).innerProduct
    layer.inputChannels = layer.outputChannels = 1
    layer.weights.floatValue.append(weight)
    path = folder / "product.mlmodel"
    path.write_bytes(message.SerializeToString())
    return path


def test_the_form_that_a_script_reads_is_json_without_infinities(invoke: Invoke, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 32, 8, 8), 60000.0))
    out = invoke("scan", hostile.GOOD, "--input", tmp_path / "x.npy", "--format", "json").out
    assert "Infinity" not in out
    assert json.loads(out)["operations"] == len(package.load(hostile.GOOD).nodes)


def test_the_documentation_lists_every_rule() -> None:
    text = (Path(__file__).parent.parent / "docs" / "scan.md").read_text(encoding="utf-8")
    assert [rule for rule in RULES if f"`{rule}`" not in text] == []
