"""The table of lowerings: what is converted, what is written into a tree, and that nothing stays behind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.convert.conversion import convert
from mish_guard.engines.emulator import package
from mish_guard.engines.emulator.arithmetic import Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.profiles import PROFILES
from mish_guard.errors import ConversionError, UsageError
from mish_guard.matrix.survey import survey
from mish_guard.models import lowerings, networks
from mish_guard.numerics import fp16, reference
from mish_guard.records import Backend, Frontend

NAMES = list(lowerings.TABLE)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bare activation, converted through each lowering in single precision."""
    folder = tmp_path_factory.mktemp("lowerings")
    case = networks.case("rank-2")
    return {
        name: convert(
            case.build(),
            case.feeds()[0],
            lowering=name,
            frontend=Frontend.TORCHSCRIPT,
            backend=Backend.MLPROGRAM_FP32,
            stem=folder / name,
        )
        for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_in_exact_arithmetic_every_lowering_is_mish(saved: dict[str, Path], name: str) -> None:
    graph = package.load(saved[name])
    x = fp16.finite_values().astype(np.float64)
    padded = np.concatenate([x, np.zeros(65536 - len(x))]).reshape(256, 256)
    got = evaluate(graph, {graph.inputs[0].name: padded}, Exact())[graph.outputs[0]].ravel()[: len(x)]
    # e (e + 2) overflows float64 beyond 354, and 1 + exp(x) loses what lies below 2**-53 of 1. The blend is no
    # identity: it approximates softplus to a few parts in a million around its switch at 10.39. A cap c leaves
    # 2 / exp(2 c) of large inputs away.
    inside = (x >= -15) & (x <= 350)
    want = reference.mish(x)[inside]
    tolerance = {"sigmoid-blend": 2e-5, "nested": 2e-6, "nested-half": 2e-6, "ratio-capped": 4e-2}
    assert np.abs(got[inside] - want).max() <= tolerance.get(name, 1e-9)


def test_the_recommended_form_keeps_the_negative_tail_in_seven_operations_and_both_precisions() -> None:
    (name,) = (row.name for row in lowerings.TABLE.values() if row.recommended)
    for each in survey([name], list(PROFILES)):
        assert each.n_ops == 7
        figures = each.measurement.figures
        assert figures is not None
        assert figures.n_over_ceiling == 0
        assert figures.max_ulp.value <= 9
        assert each.single_relative <= 3e-7


def test_a_cap_for_half_precision_costs_single_precision() -> None:
    ((capped, *_), (nested, *_)) = (list(survey([name], ["ane"])) for name in ("ratio-capped", "nested"))
    assert capped.measurement.figures is not None
    assert capped.measurement.figures.max_ulp.value <= 9
    assert capped.single_relative > 100 * nested.single_relative


@pytest.mark.parametrize("name", NAMES)
def test_the_body_written_into_a_tree_is_the_builder_of_the_table(name: str) -> None:
    assert _operations(_converter_from_text(name)) == _operations(_converter_from_table(name))


def _converter_from_text(name: str) -> Any:
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.frontend.torch.ops import _get_inputs

    body = lowerings.converter_body(lowerings.get(name))
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    scope: dict[str, Any] = {"mb": Builder, "_get_inputs": _get_inputs}
    exec(f"def mish(context, node):\n{indented}", scope)  # noqa: S102 - the text under test
    return scope["mish"]


def _converter_from_table(name: str) -> Any:
    with lowerings.registered(name):
        return lowerings.registered_converter()


def _operations(converter: Any) -> list[tuple[str, Any]]:
    """Operation types and constants of a program that holds one mish."""
    from coremltools.converters.mil import Builder as mb  # noqa: N813
    from coremltools.converters.mil.mil import types

    class Node:
        name, inputs = "y", ("x",)

    class Context(dict[str, Any]):
        frontend = None

        def add(self, var: Any) -> None:
            self["y"] = var

    @mb.program(  # type: ignore[untyped-decorator]
        input_specs=[mb.TensorSpec(shape=(3,), dtype=types.fp32)]
    )
    def program(x: Any) -> Any:
        context = Context(x=x)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(converter.__globals__, "_get_inputs", lambda *_, **__: [x])
            if converter.__closure__:
                patch.setattr(
                    "coremltools.converters.mil.frontend.torch.ops._get_inputs", lambda *_, **__: [x], raising=True
                )
                for cell in converter.__closure__:
                    if getattr(cell.cell_contents, "__name__", "") == "_get_inputs":
                        cell.cell_contents = lambda *_, **__: [x]
            converter(context, Node())
        return context["y"]

    return [
        (op.op_type, None if op.op_type != "const" else np.asarray(op.val.val).tolist())
        for op in program.functions["main"].operations
    ]


def test_the_candidates_converter_is_put_back(tmp_path: Path) -> None:
    original = lowerings.registered_converter()
    with lowerings.registered("exp"):
        assert lowerings.registered_converter() is not original
    assert lowerings.registered_converter() is original
    with contextlib.suppress(ZeroDivisionError), lowerings.registered("ratio"):
        _ = 1 / 0
    assert lowerings.registered_converter() is original
    with pytest.raises(ConversionError):
        convert(object(), [], lowering="exp", frontend=Frontend.EXPORT, backend=Backend.MLPROGRAM_FP16, stem=tmp_path)  # type: ignore[arg-type]
    assert lowerings.registered_converter() is original


def test_a_tree_without_a_converter_stays_without(monkeypatch: pytest.MonkeyPatch) -> None:
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY

    monkeypatch.delitem(_TORCH_OPS_REGISTRY.name_to_func_mapping, "mish")
    assert lowerings.registered_converter() is None
    with lowerings.registered("exp"):
        assert lowerings.registered_converter() is not None
    assert "mish" not in _TORCH_OPS_REGISTRY.name_to_func_mapping


def test_as_is_changes_nothing() -> None:
    original = lowerings.registered_converter()
    with lowerings.registered(lowerings.AS_IS):
        assert lowerings.registered_converter() is original


def test_an_unknown_lowering_is_told_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'relu'.*as-is, softplus, exp"), lowerings.registered("relu"):
        pass


@pytest.mark.parametrize("backend", list(Backend))
@pytest.mark.parametrize("frontend", [Frontend.TORCHSCRIPT, Frontend.EXPORT, Frontend.EXPORT_DECOMPOSED])
def test_a_conversion_is_silent_and_leaves_a_readable_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], frontend: Frontend, backend: Backend
) -> None:
    case = networks.case("rank-3")
    path = convert(
        case.build(), case.feeds()[0], lowering="exp", frontend=frontend, backend=backend, stem=tmp_path / "m"
    )
    assert capfd.readouterr() == ("", "")
    assert package.load(path).outputs


def test_a_conversion_that_fails_gives_one_line_of_reason(tmp_path: Path) -> None:
    import torch

    class Unsupported(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.i0(x)  # type: ignore[no-any-return]

    with pytest.raises(ConversionError) as raised:
        convert(
            Unsupported().eval(),
            [np.zeros((2, 2), np.float16)],
            lowering="exp",
            frontend=Frontend.TORCHSCRIPT,
            backend=Backend.MLPROGRAM_FP16,
            stem=tmp_path / "m",
        )
    assert "\n" not in str(raised.value)
    assert "i0" in str(raised.value)
    assert not list(tmp_path.iterdir())
