"""Roads: nets of branches, the calls that convert them, and sequences that tell whether two of them are the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mish_guard.candidate import locate
from mish_guard.convert import calls
from mish_guard.convert.conversion import quiet
from mish_guard.convert.recipes import Recipe
from mish_guard.engines.emulator import EmulatorEngine, package, sequence
from mish_guard.engines.emulator.graph import Graph
from mish_guard.errors import UsageError
from mish_guard.matrix import plan
from mish_guard.matrix.measurer import Measurer
from mish_guard.matrix.plan import Cell, Place
from mish_guard.models import lowerings, nets, roads, tiles
from mish_guard.numerics import ceiling
from mish_guard.records import Backend, CellKey, Frontend, Measurement
from tests import trees

Convert = Callable[..., Path]

# One word for each operation of the `exp` form.
EXP = ["clip", "exp", "add", "mul", "real_div", "add", "real_div"]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """What carries the branch of a case, through a lowering, each converted once."""
    import coremltools as ct

    folder = tmp_path_factory.mktemp("roads")
    done: dict[tuple[Any, ...], Path] = {}

    def convert(
        name: str,
        *,
        lowering: str = "exp",
        frontend: Frontend = Frontend.TORCHSCRIPT,
        backend: Backend = Backend.MLPROGRAM_FP16,
    ) -> Path:
        case = roads.case(name)
        key = (case.model, lowering, frontend, backend)
        if key not in done:
            suffix = ".mlmodel" if backend is Backend.NEURALNETWORK else ".mlpackage"
            done[key] = folder / f"{len(done)}{suffix}"
            with quiet(), lowerings.registered(lowering), tempfile.TemporaryDirectory() as scratch:
                request = calls.Request(
                    module=case.build(),
                    shapes=case.carried.shapes,
                    frontend=frontend,
                    backend=backend,
                    folder=Path(scratch),
                )
                calls.convert(ct, case.call, request).save(str(done[key]))
        return done[key]

    return convert


def sequence_of(saved: Path, name: str) -> str | None:
    case = roads.case(name)
    graph = package.load(saved)
    return sequence.between(graph, graph.outputs[case.output], case.probes())


def ops(found: str | None) -> list[str]:
    assert found is not None
    return [line.partition("(")[0].partition("@")[0] for line in found.splitlines()]


@pytest.mark.parametrize("call", ["default", "outputs", "pipeline-empty", "units-ne", "package-dir", "script"])
def test_a_call_converts_mish_and_its_sequence_is_found(converted: Convert, call: str) -> None:
    assert ops(sequence_of(converted(f"{call}+plain+plain"), f"{call}+plain+plain")) == EXP


def test_a_target_and_a_pipeline_that_a_tree_adds_are_roads(tmp_path: Path) -> None:
    compatibility, pipelines = (
        "converters/mil/_deployment_compatibility.py",
        "converters/mil/mil/passes/pass_pipeline.py",
    )
    last, cleanup = "    iOS26 = _SPECIFICATION_VERSION_IOS_26\n", '        "cleanup": _CLEANUP_PASSES,\n'
    added = {
        compatibility: trees.source(compatibility).replace(last, f"{last}    iOS99 = 99\n"),
        pipelines: trees.source(pipelines).replace(cleanup, f"{cleanup}        'of_tomorrow': [],\n"),
    }
    places = [Place(name="ane", is_neural_engine=True)]
    released = {str(cell.key) for cell in plan.load(plan.DEFAULT, places, locate.offered(trees.INSTALLED))}
    tree = trees.tree(tmp_path / "tree", added) / "coremltools"
    grown = {str(cell.key) for cell in plan.load(plan.DEFAULT, places, locate.offered(tree))}
    assert grown - released == {
        "roads/target-iOS99+plain+plain/torchscript/mlprogram-fp16@ane",
        "roads/target-iOS99+plain+plain/torchscript/mlprogram-fp32@ane",
        "roads/pipeline-of-tomorrow+plain+plain/torchscript/mlprogram-fp16@ane",
    }
    assert released < grown


def test_neighbours_are_no_part_of_the_sequence(converted: Convert) -> None:
    plain = sequence_of(converted("default+plain+plain"), "default+plain+plain")
    for branch in ("after-conv", "after-linear", "after-batch-norm", "after-transpose", "after-concat", "after-mul"):
        name = f"default+before+{branch}"
        assert sequence_of(converted(name), name) == plain


@pytest.mark.parametrize("net", nets.NETS.values(), ids=lambda net: net.name)
def test_the_parts_of_a_net_are_all_of_it_and_about_as_large_as_each_other(net: nets.Net) -> None:
    parts = {part.name: part for part in (net.carrying(each.name) for each in net.branches)}
    assert tuple(branch for part in parts.values() for branch in part.branches) == net.branches
    sizes = [len(part.branches) for part in parts.values()]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 10
    assert [net.carrying(each.name).branches.count(each) for each in net.branches] == [1] * len(net.branches)


def test_another_precision_and_another_format_are_other_sequences(converted: Convert) -> None:
    name = "default+plain+plain"
    found = [sequence_of(converted(name, backend=backend), name) for backend in Backend]
    assert all(ops(each) == EXP for each in found)
    assert len(set(found)) == 3


def test_a_rank_of_zero_is_probed_value_by_value(converted: Convert) -> None:
    for branch in ("rank-0", "rank-1", "rank-5"):
        name = f"default+ranks+{branch}"
        assert ops(sequence_of(converted(name), name)) == EXP


def test_another_constant_is_another_sequence(converted: Convert) -> None:
    name = "default+plain+plain"
    clipped = sequence_of(converted(name), name)
    bare = sequence_of(converted(name, lowering="exp-unclamped"), name)
    assert ops(bare) == EXP[1:]
    assert clipped != bare


def test_a_clip_in_front_of_mish_is_seen_although_it_changes_few_values() -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Hardtanh(-1e30, 5.0), torch.nn.Softplus())
    graph = _graph_of(module)
    x = tiles.probes((17,))[0]
    clipped = np.minimum(x, 5.0)
    leaving = np.log1p(np.exp(clipped))
    (output,) = graph.outputs
    assert ops(sequence.between(graph, output, [tiles.Probe(feeds=(x,), entering=x, leaving=leaving)])) == [
        "clip",
        "softplus",
    ]
    assert sequence.between(graph, output, [tiles.Probe(feeds=(x,), entering=x + 1, leaving=leaving)]) is None


def _graph_of(module: Any) -> Graph:
    import coremltools as ct
    import torch

    with quiet(), tempfile.TemporaryDirectory() as folder:
        program = torch.jit.trace(module.eval(), torch.zeros(17))  # type: ignore[no-untyped-call]
        model = ct.convert(
            program,
            inputs=[ct.TensorType(shape=(17,))],
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.save(f"{folder}/m.mlpackage")
        return package.load(Path(folder) / "m.mlpackage")


def test_what_a_state_was_given_is_read_back_by_the_branch_that_wants_it(converted: Convert) -> None:
    saved, case = converted("states+plain+plain"), roads.case("states+plain+plain")
    assert ops(sequence_of(saved, case.name)) == EXP
    figures = case.figures(EmulatorEngine(("ane",)).run(saved, case.feeds(), "ane", case.output).predictions)
    assert ceiling.is_within(figures)


@pytest.mark.parametrize("branch", ["after-conv", "after-linear", "after-concat"])
def test_a_branch_is_swept_with_the_numbers_that_every_neighbour_carries(converted: Convert, branch: str) -> None:
    case = roads.case(f"default+before+{branch}")
    engine = EmulatorEngine(("ane",))
    figures = case.figures(engine.run(converted(case.name), case.feeds(), "ane", case.output).predictions)
    assert figures.n_total == figures.n_covered == len(tiles.carried())
    assert ceiling.is_within(figures)


def test_softplus_on_a_branch_is_over_the_ceiling_at_the_cliff(converted: Convert) -> None:
    case = roads.case("default+plain+plain")
    saved = converted(case.name, lowering="softplus")
    engine = EmulatorEngine(("ane",))
    figures = case.figures(engine.run(saved, case.feeds(), "ane", case.output).predictions)
    assert figures.bad_intervals[0].first == 10.3984375
    assert case.locate(10.3984375) is not None


@dataclass(frozen=True)
class Stored:
    """What stands for witnesses: one package for each call, whatever it holds."""

    packages: dict[str, Path]

    def plan(self, wanted: object) -> None:
        del wanted

    def package(self, recipe: Recipe) -> Path:
        return self.packages[recipe.model.partition("+")[0]]


def _measured(first: Path, second: Path) -> tuple[Measurement, ...]:
    """What a measurer makes of the cells of two calls, one after the other, whose packages are given."""
    stored: Any = Stored({"skip-load": first, "default": second})
    cells = [
        Cell(
            key=CellKey.parse(f"roads/{call}+plain+plain/torchscript/mlprogram-fp16@ane"),
            known_gap=None,
        )
        for call in stored.packages
    ]
    measurer = Measurer(EmulatorEngine(("ane",)), lowerings.AS_IS, stored, Path(), cells)
    return tuple(measurer.measure(cell) for cell in cells)


def test_nothing_is_covered_by_name(converted: Convert) -> None:
    name = "default+plain+plain"
    good, again = converted("skip-load+plain+plain"), converted(name)
    other = converted(name, lowering="exp-unclamped")
    bad = converted(name, lowering="softplus")
    swept, covered = _measured(good, again)
    assert (swept.covered_by, covered.covered_by) == (None, str(swept.key))
    # The names are the same in every pair: only what was converted differs.
    assert [each.covered_by for each in _measured(good, other)] == [None, None]
    swept, hidden = _measured(good, bad)
    assert (swept.covered_by, hidden.covered_by) == (None, None)
    assert hidden.figures is not None
    assert hidden.figures.bad_intervals[0].first == 10.3984375


def test_every_branch_of_every_net_gives_its_reference_in_torch() -> None:
    import torch

    for net in nets.NETS.values():
        for branch in net.branches:
            case = roads.RoadCase(call="default", net=net, branch=branch)
            feeds = case.feeds()
            fed = feeds[len(feeds) // 2][net.shapes.index(branch.shape)].astype(np.float64)
            with torch.no_grad():
                output = nets.Path(branch).eval().double()(torch.from_numpy(fed)).numpy()
            assert output.shape == branch.shape, branch.name
            assert branch.mixes or np.allclose(output, branch.want(fed), rtol=1e-4, atol=1e-5), branch.name


def test_an_unknown_call_net_or_branch_is_told_with_the_known_ones(tmp_path: Path) -> None:
    import coremltools as ct

    net = nets.net("plain")
    request = calls.Request(
        module=net.build(),
        shapes=net.shapes,
        frontend=Frontend.TORCHSCRIPT,
        backend=Backend.MLPROGRAM_FP16,
        folder=tmp_path,
    )
    with pytest.raises(UsageError, match=r"'telephone'.*default, "):
        calls.convert(ct, "telephone", request)
    with pytest.raises(UsageError, match=r"'fishing'.*plain"):
        roads.case("default+fishing+plain")
    with pytest.raises(UsageError, match=r"'twig'.*after-conv"):
        roads.case("default+before+twig")
    with pytest.raises(AttributeError, match="iOS1"):
        calls.convert(ct, "target-iOS1", request)
