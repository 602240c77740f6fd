"""Read a saved model from disk: `.mlpackage` or `.mlmodel` → Graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mish_guard.engines.emulator import mlprogram, neuralnetwork, reader
from mish_guard.engines.emulator.graph import Graph
from mish_guard.errors import UnreadableFileError, UnsupportedOpError

# What the translation of a model raises where a part of it is not what its type says. `soundness` names the usual
# contradictions; the rest of what a stranger can write ends here.
_CONTRADICTIONS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


def load(path: Path, *, single: bool = False) -> Graph:
    """The graph of the model saved at `path`; `single` keeps a neural network in single precision.

    Raises UnreadableFileError if there is no readable model, UnsupportedOpError for a model the emulator cannot
    express.
    """
    return translated(reader.open_model(path), single=single)


def translated(model: reader.Model, *, single: bool = False) -> Graph:
    """The graph of a model that was opened; raises as `load` does."""
    try:
        if model.kind == "mlProgram":
            return _fixed(mlprogram.read(model.spec, model.weights))
        if model.kind.startswith("neuralNetwork"):
            return _fixed(neuralnetwork.read(model.spec, single=single))
    except _CONTRADICTIONS as error:
        msg = f"'{model.path}' contradicts itself: {type(error).__name__}: {error}."
        raise UnreadableFileError(msg) from error
    msg = f"'{model.path}' holds a model of type '{model.kind}'; the emulator runs ML programs and neural networks."
    raise UnsupportedOpError(msg)


def _fixed(graph: Graph) -> Graph:
    """The graph with constants that nobody can write to: what is known of them is found once (`fast`)."""
    operands = (value for node in graph.nodes for value in node.operands.values())
    for value in (*graph.constants.values(), *operands):
        if isinstance(value, np.ndarray) and value.base is None:
            value.setflags(write=False)
    return graph
