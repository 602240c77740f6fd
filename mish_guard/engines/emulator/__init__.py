"""The emulator: saved models evaluated with numpy, as a unit with the arithmetic of a profile would.

`reader` opens a model as the file of a stranger, `package` makes a `graph` of it, `evaluate` walks the graph with the
operations of `ops` and `products`. `arithmetic` rounds every result, adds the `hazards` of `profiles`, and reads
`assumptions` either way; `culprit` finds the operation that went wrong first.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from mish_guard.engines.base import Execution, Feed, Predictions
from mish_guard.engines.emulator import culprit, fast, package, profiles, sequence
from mish_guard.engines.emulator.arithmetic import Emulated, Exact
from mish_guard.engines.emulator.evaluate import evaluate, up_to
from mish_guard.engines.emulator.graph import Array, Graph, Node
from mish_guard.engines.placement import summary
from mish_guard.records import Culprit, Device, Document, Placed, Placement, Step


class EmulatorEngine:
    """Implements `mish_guard.engines.Engine` for the profiles named in `places`."""

    name = "emulator"

    def __init__(self, places: tuple[str, ...]) -> None:
        self._profiles = {name: profiles.get(name) for name in places}
        self._graphs: dict[Path, Graph] = {}
        self._exact: tuple[Hashable, dict[str, Array]] = None, {}

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
        runs = [_Evaluated(graph, _named(graph, feed), profile) for feed in feeds]
        return Execution(
            predictions=tuple(each.prediction for each in runs),
            placement=_placement(graph, Emulated(profile)),
            readings={
                name: functools.partial(_read, runs, name)
                for name in sorted({name for run in runs for name in run.met})
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
        # No place changes what is exact, and one place is asked after another.
        asked = package, output, *(each.tobytes() for each in feeds.values())
        if asked != self._exact[0]:
            self._exact = asked, evaluate(graph, feeds, Exact())
        return graph, evaluate(graph, feeds, Emulated(self._profiles[place])), self._exact[1]

    def _graph(self, path: Path) -> Graph:
        if path not in self._graphs:
            self._graphs[path] = package.load(path)
        return self._graphs[path]


class _Evaluated:
    """One feed as the friendly readings have it, and what the others need of it."""

    def __init__(self, graph: Graph, feed: Mapping[str, Array], profile: profiles.Profile) -> None:
        self._graph, self._feed, self._profile = graph, feed, profile
        arithmetic = Emulated(profile)
        values = evaluate(graph, feed, arithmetic)
        self.met = arithmetic.met
        self.prediction = _narrowed(graph, values)
        # Where no reading differs nothing is evaluated again.
        self._values = values if self.met else {}

    def read(self, assumption: str) -> tuple[Array, ...]:
        """The prediction under the pessimistic reading, evaluated from where it first differs."""
        if assumption not in self.met:
            return self.prediction
        known = up_to(self.met[assumption], self._graph, self._values)
        arithmetic = Emulated(self._profile, (assumption,))
        return _narrowed(self._graph, evaluate(self._graph, self._feed, arithmetic, known=known))


def _read(runs: Sequence[_Evaluated], assumption: str) -> Predictions:
    return tuple(each.read(assumption) for each in runs)


def _narrowed(graph: Graph, values: Mapping[str, Array]) -> tuple[Array, ...]:
    return tuple(fast.narrowed(values[name]) for name in graph.outputs)


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
