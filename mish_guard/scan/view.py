"""The operations of a saved model, also of one that the emulator cannot run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mish_guard.engines.emulator import package
from mish_guard.engines.emulator.graph import Array, DType, Graph, Node, Operand, Ref, Tensor
from mish_guard.engines.emulator.reader import Model
from mish_guard.engines.emulator.specification import Message
from mish_guard.errors import UnsupportedOpError

_PARAMETERS = ("x", "y", "z")

# MIL's names for what the layers of neural networks do, as far as a rule looks for it.
_LAYERS = {
    "add_broadcastable": "add",
    "batched_matmul": "matmul",
    "convolution": "conv",
    "divide_broadcastable": "real_div",
    "gather_along_axis": "gather_along_axis",
    "inner_product": "linear",
    "multiply": "mul",
    "multiply_broadcastable": "mul",
    "parametric_softplus": "softplus_parametric",
    "reduce_log_sum_exp": "reduce_log_sum_exp",
    "slice_static": "slice_by_index",
    "subtract_broadcastable": "sub",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A model as a list of operations; `gap` says why operands and constants are not known, where they are not."""

    graph: Graph
    nodes: tuple[Node, ...]
    producers: Mapping[str, Node]
    gap: str | None

    def producer(self, operand: Operand | None) -> Node | None:
        """The operation that made an operand, looked at through casts; None for an input or a constant."""
        node = self.producers.get(operand.name) if isinstance(operand, Ref) else None
        return self.producer(node.operands.get("x")) if node is not None and node.op in ("cast", "identity") else node

    def constant(self, operand: Operand | None) -> Array | str | None:
        """The value of a constant operand; None for everything else."""
        if isinstance(operand, Ref):
            return self.graph.constants.get(operand.name)
        return None if isinstance(operand, tuple) else operand


def view(model: Model) -> View:
    """The operations of a model that was opened, those inside blocks included."""
    gap = None
    try:
        graph = package.translated(model)
    except UnsupportedOpError as error:
        gap = str(error)
        graph = Graph(inputs=(), constants={}, nodes=tuple(_names_only(model)), outputs=())
    nodes = tuple(_every(graph))
    producers = {tensor.name: node for node in nodes for tensor in node.outputs}
    return View(graph=graph, nodes=nodes, producers=producers, gap=gap)


def runs_on_engine(node: Node) -> bool:
    """Whether an operation may run on a Neural Engine: single precision stays on the CPU (P6)."""
    return bool(node.outputs) and all(tensor.dtype is not DType.FP32 for tensor in node.outputs)


def _every(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for block in getattr(node, "blocks", ()):
            yield from _every(block)


def _names_only(model: Model) -> Iterator[Node]:
    spec = model.spec
    if model.kind == "mlProgram":
        for function in spec.mlProgram.functions.values():
            yield from _block(function.block_specializations[function.opset])
    elif model.kind.startswith("neuralNetwork"):
        for layer in getattr(spec, model.kind).layers:
            yield _node(_layer_op(layer), layer.name, layer.input, layer.output, DType.FP16)


def _block(block: Message) -> Iterator[Node]:
    for operation in block.operations:
        if operation.type == "const":
            continue
        inputs = [binding.name for argument in operation.inputs.values() for binding in argument.arguments]
        kinds = {each.type.tensorType.dataType for each in operation.outputs}
        dtype = DType.FP32 if 11 in kinds else DType.FP16 if 10 in kinds else DType.INT
        outputs = [each.name for each in operation.outputs]
        yield _node(operation.type, outputs[0] if outputs else operation.type, inputs, outputs, dtype)
        for inner in operation.blocks:
            yield from _block(inner)


def _node(op: str, name: str, inputs: Iterable[str], outputs: Iterable[str], dtype: DType) -> Node:
    operands: dict[str, Operand] = {key: Ref(each) for key, each in zip(_PARAMETERS, inputs, strict=False) if each}
    return Node(
        op=op,
        name=name,
        operands=operands,
        outputs=tuple(Tensor(name=each, dtype=dtype, shape=None) for each in outputs),
    )


def _layer_op(layer: Message) -> str:
    kind = str(layer.WhichOneof("layer"))
    settings = getattr(layer, kind, None)
    if kind == "activation" and settings is not None:
        kind = str(settings.WhichOneof("NonlinearityType"))
    elif kind == "unary" and settings is not None:
        kind = type(settings).Operation.Name(settings.type).lower()
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    return _LAYERS.get(name, name)
