"""The emulator: saved models evaluated with numpy, as a unit with the arithmetic of a profile would.

`reader` opens a model as the file of a stranger, `package` makes a `graph` of it, `evaluate` walks the graph with the
operations of `ops` and `products`. `arithmetic` rounds every result, adds the `hazards` of `profiles`, and reads
`assumptions` either way; `culprit` finds the operation that went wrong first.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from mish_guard.engines.base import Execution, Feed, Predictions
from mish_guard.engines.emulator import culprit, fast, package, profiles, sequence
from mish_guard.engines.emulator.arithmetic import Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate
from mish_guard.engines.emulator.graph import Array, Graph, Node
from mish_guard.engines.placement import summary
from mish_guard.records import Culprit, Device, Document, Placed, Placement, Step


class EmulatorEngine:
    """Implements `mish_guard.engines.Engine` for the profiles named in `places`."""

    name = "emulator"

    def __init__(self, places: tuple[str, ...]) -> None:
        self._profiles = {name: profiles.get(name) for name in places}
        self._graphs: dict[Path, Graph] = {}

    def places(self) -> tuple[str, ...]:
        return tuple(self._profiles)

    def engines(self) -> Mapping[str, str]:
        return {}

    def is_neural_engine(self, place: str) -> bool:
        return self._profiles[place].is_neural_engine

    def is_hardware(self, place: str) -> bool:
        del place
        return False

    def device(self) -> Document:
        return {"kind": "emulator", "profiles": list(self._profiles)}

    def run(self, package: Path, feeds: Sequence[Feed], place: str, output: int | None = None) -> Execution:
        graph, profile = self._graph(package), self._profiles[place]
        if output is not None:
            graph, feeds = _branch(graph, feeds, output)
        arithmetic = Emulated(profile)
        return Execution(
            predictions=_predictions(graph, feeds, arithmetic),
            placement=_placement(graph, arithmetic),
            readings={
                name: functools.partial(_predictions, graph, feeds, Emulated(profile, (name,)))
                for name in sorted(arithmetic.met)
            },
        )

    def first_wrong(
        self,
        package: Path,
        feed: Feed,
        place: str,
        index: tuple[int, ...] | None,
        output: int | None = None,
    ) -> Culprit | None:
        return culprit.find(*self._both(package, feed, place, output), index)

    def trace(
        self,
        package: Path,
        feed: Feed,
        place: str,
        index: tuple[int, ...] | None,
        output: int | None = None,
    ) -> tuple[Step, ...]:
        return culprit.trace(*self._both(package, feed, place, output), index)

    def _both(
        self, package: Path, feed: Feed, place: str, output: int | None
    ) -> tuple[Graph, dict[str, Array], dict[str, Array]]:
        """The graph, or what one output of it needs, every tensor under the profile, and every tensor in float64."""
        graph = self._graph(package)
        if output is not None:
            graph, (feed,) = _branch(graph, [feed], output)
        feeds = _named(graph, feed)
        return graph, evaluate(graph, feeds, Emulated(self._profiles[place])), evaluate(graph, feeds, Exact())

    def _graph(self, path: Path) -> Graph:
        if path not in self._graphs:
            self._graphs[path] = package.load(path)
        return self._graphs[path]


def _predictions(graph: Graph, feeds: Sequence[Feed], arithmetic: Emulated) -> Predictions:
    evaluated = (evaluate(graph, _named(graph, feed), arithmetic) for feed in feeds)
    return tuple(tuple(fast.narrowed(values[name]) for name in graph.outputs) for values in evaluated)


def _branch(graph: Graph, feeds: Sequence[Feed], output: int) -> tuple[Graph, tuple[Feed, ...]]:
    """What one output of a graph needs, and the part of the feeds that it takes."""
    part = sequence.pruned(graph, graph.outputs[output])
    wanted = {tensor.name for tensor in part.inputs}
    places = [place for place, tensor in enumerate(graph.inputs) if tensor.name in wanted]
    return part, tuple(tuple(feed[place] for place in places) for feed in feeds)


def _named(graph: Graph, feed: Feed) -> dict[str, Array]:
    return {tensor.name: array for tensor, array in zip(graph.inputs, feed, strict=True)}


def _placement(graph: Graph, arithmetic: Emulated) -> Placement:
    return summary(Placed(name=node.name, op=node.op, device=_device(node, arithmetic)) for node in graph.nodes)


def _device(node: Node, arithmetic: Emulated) -> Device:
    return Device.NE if arithmetic.on_neural_engine(node) else Device.CPU
