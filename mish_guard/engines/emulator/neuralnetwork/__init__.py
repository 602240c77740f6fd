"""Neural networks (the format before ML programs): the layers of a saved spec → Graph.

By default every tensor is half precision: Core ML runs this format in fp16 on the Neural Engine whatever the model
declares. `single` keeps single precision, as the CPU may. A layer or a setting that is not known here is an error
that names it, and so is a setting that nothing here has read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from mish_guard.engines.emulator.described import described
from mish_guard.engines.emulator.graph import Array, DType, Graph, Node, Operand, Ref, Tensor
from mish_guard.engines.emulator.neuralnetwork import places
from mish_guard.engines.emulator.neuralnetwork.learned import LEARNED
from mish_guard.engines.emulator.neuralnetwork.plain import PLAIN, Translator
from mish_guard.engines.emulator.neuralnetwork.settings import PREVIOUS, Layer, Settings, Step
from mish_guard.engines.emulator.neuralnetwork.shapes import SHAPES
from mish_guard.engines.emulator.specification import Message
from mish_guard.errors import UnreadableFileError, UnsupportedOpError

__all__ = ["LAYERS", "read", "steps"]

LAYERS: dict[str, Translator] = {**PLAIN, **SHAPES, **LEARNED}

_CONSTANTS = ("loadConstant", "loadConstantND")
_EXACT_MAPPING = 1  # NeuralNetwork.proto: arrays keep their rank
_INT32 = 131104
_KINDS = ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")


def read(spec: Message, *, single: bool = False) -> Graph:
    """The graph of a neural network spec; raises UnsupportedOpError for a layer the emulator does not know."""
    kind = spec.WhichOneof("Type")
    if kind not in _KINDS:
        msg = f"A model of type '{kind}' is no neural network."
        raise UnsupportedOpError(msg)
    network = getattr(spec, kind)
    arrays = [each for each in spec.description.input if each.type.WhichOneof("Type") == "multiArrayType"]
    if arrays and network.arrayInputShapeMapping != _EXACT_MAPPING:
        msg = "The emulator does not know neural networks that map arrays to rank 5 (arrayInputShapeMapping)."
        raise UnsupportedOpError(msg)
    reader, body = _body(spec, network, single=single)
    first = [node for each in network.preprocessing for node in reader.preprocessing(each, spec)]
    last = list(_classification(spec, network)) if kind == "neuralNetworkClassifier" else []
    return Graph(
        inputs=tuple(described(reader.tensor(each.name, _shape(each)), each) for each in spec.description.input),
        constants=body.constants,
        nodes=(*first, *body.nodes, *last),
        outputs=tuple(each.name for each in spec.description.output),
    )


def _body(spec: Message, network: Message, *, single: bool) -> tuple[_Reader, Graph]:
    """The layers, and who read them: a second time where only what uses a tensor tells that it holds places."""
    whole = [each.name for each in spec.description.input if _is_whole(each)]
    reader = _Reader(half=not single, whole=whole)
    body = reader.graph(network, outputs=())
    used = places.looked_up(body.nodes, (each.name for each in spec.description.output))
    exact = {name for name in used if not reader.is_whole(name)}
    if single or not exact:
        return reader, body
    reader = _Reader(half=True, whole=whole, exact=exact)
    return reader, reader.graph(network, outputs=())


def steps(layer: Layer) -> list[Step]:
    """The operations that a layer means; raises UnsupportedOpError if it is unknown or says more than was read."""
    if layer.kind not in LAYERS:
        raise layer.unknown()
    found = LAYERS[layer.kind](layer)
    overlooked = list(layer.settings.unread())
    if overlooked:
        raise layer.unknown(f"setting {', '.join(overlooked)}")
    return found


class _Reader:
    """Layers of one net in one precision; `whole` are the inputs that hold whole numbers, `exact` keep their digits."""

    def __init__(self, *, half: bool, whole: Iterable[str] = (), exact: Collection[str] = ()) -> None:
        self._half = half
        self._exact = exact
        self._dtype = DType.FP16 if half else DType.FP32
        self._whole = places.Whole(whole)

    def is_whole(self, name: str) -> bool:
        """Whether a tensor is known to hold whole numbers by how it is made."""
        return name in self._whole

    def tensor(self, name: str, shape: tuple[int | None, ...] | None = None) -> Tensor:
        """A tensor of the net's precision, of whole numbers, or of places that are declared as floating point."""
        dtype = DType.INT if self.is_whole(name) else DType.FP32 if name in self._exact else self._dtype
        return Tensor(name=name, dtype=dtype, shape=shape)

    def graph(self, network: Message, outputs: tuple[str, ...]) -> Graph:
        """A net, or one that a branch or loop holds."""
        constants: dict[str, Array | str] = {}
        nodes: list[Node] = []
        for message in network.layers:
            kind = message.WhichOneof("layer")
            if kind in _CONSTANTS:
                constants[message.output[0]] = self._constant(message, kind)
            elif kind in ("branch", "loop"):
                nodes.append(self._control(message, kind))
            else:
                nodes.extend(self._nodes(Layer(message, half=self._half)))
        return Graph(inputs=(), constants=constants, nodes=tuple(nodes), outputs=outputs)

    def _constant(self, message: Message, kind: str) -> Array:
        layer, exact = (Layer(message, half=half) for half in (self._half, False))
        shape = tuple(getattr(message, kind).shape)
        values = exact.weights(exact.settings.data, shape)
        if self._whole.constant(message.output[0], values):
            return values
        return layer.weights(layer.settings.data, shape)

    def _control(self, message: Message, kind: str) -> Node:
        """Branches and loops write to the tensors around them and have no outputs of their own."""
        settings = getattr(message, kind)
        if kind == "branch":
            blocks = [self.graph(settings.ifBranch, ())]
            if settings.HasField("elseBranch"):
                blocks.append(self.graph(settings.elseBranch, ()))
            operands: dict[str, Operand] = {"pred": Ref(message.input[0])}
        else:
            if not settings.HasField("conditionNetwork"):
                msg = f"The emulator does not know a loop without a condition ('{message.name}')."
                raise UnsupportedOpError(msg)
            condition = self.graph(settings.conditionNetwork, (settings.conditionVar,))
            blocks = [condition, self.graph(settings.bodyNetwork, ())]
            operands = {"max_iterations": np.asarray(int(settings.maxLoopIterations))}
        return Node(op=f"nn_{kind}", name=message.name, operands=operands, outputs=(), blocks=tuple(blocks))

    def _nodes(self, layer: Layer) -> list[Node]:
        nodes: list[Node] = []
        found = steps(layer)
        if not layer.outputs:
            msg = f"The layer '{layer.name}' ({layer.kind}) has no output."
            raise UnreadableFileError(msg)
        for position, (op, operands) in enumerate(found):
            last = position == len(found) - 1
            names = layer.outputs if last else (f"{layer.outputs[0]}.{position}",)
            given = {key: Ref(nodes[-1].name) if value is PREVIOUS else value for key, value in operands.items()}
            ranks = layer.output_ranks if last and len(layer.output_ranks) == len(names) else (0,) * len(names)
            self._whole.follow(op, given, names)
            outputs = tuple(self.tensor(*each) for each in zip(names, map(_open, ranks), strict=True))
            nodes.append(Node(op=op, name=names[0], operands=given, outputs=outputs))
        return nodes

    def preprocessing(self, message: Message, spec: Message) -> Iterator[Node]:
        """What is done to an image before the first layer."""
        settings = Settings(message, "preprocessing")
        if settings.which("preprocessor") != "scaler":
            msg = "The emulator does not know the preprocessing 'meanImage' of a neural network."
            raise UnsupportedOpError(msg)
        images = [each for each in spec.description.input if each.type.WhichOneof("Type") == "imageType"]
        chosen = [each for each in images if settings.featureName in ("", each.name)]
        if not chosen:
            return
        image, scaler = chosen[0], settings.scaler
        colours = (scaler.redBias, scaler.greenBias, scaler.blueBias)
        kind = image.type.imageType.ColorSpace.Name(image.type.imageType.colorSpace)
        bias = {"RGB": colours, "BGR": colours[::-1]}.get(kind, (scaler.grayBias,))
        for op, value in (("mul", np.asarray(scaler.channelScale)), ("add", np.reshape(bias, (-1, 1, 1)))):
            operands: dict[str, Operand] = {"x": Ref(image.name), "y": np.asarray(value, dtype=np.float64)}
            yield Node(op=op, name=image.name, operands=operands, outputs=(self.tensor(image.name),))


def _open(rank: int) -> tuple[None, ...] | None:
    """A shape of which only the rank is declared, if that."""
    return (None,) * rank if rank > 0 else None


def _classification(spec: Message, network: Message) -> Iterator[Node]:
    """The class label and the probabilities that a classifier adds to its last layer."""
    kind = network.WhichOneof("ClassLabels")
    if kind is None:
        msg = "The classifier names no classes."
        raise UnreadableFileError(msg)
    last = network.labelProbabilityLayerName or network.layers[-1].output[0]
    names = (spec.description.predictedFeatureName, spec.description.predictedProbabilitiesName)
    operands: dict[str, Operand] = {
        "probabilities": Ref(last),
        "classes": np.asarray(list(getattr(network, kind).vector)),
    }
    outputs = tuple(Tensor(name=name, dtype=DType.OBJECT, shape=None) for name in names)
    yield Node(op="classify", name=names[0], operands=operands, outputs=outputs)


def _shape(feature: Message) -> tuple[int | None, ...] | None:
    """What an input may look like; None where several sizes are allowed."""
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        if image.WhichOneof("SizeFlexibility"):
            return (1, _channels(image), None, None)
        return (1, _channels(image), int(image.height), int(image.width))
    array = feature.type.multiArrayType
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "shapeRange":
        return tuple(
            int(each.lowerBound) if each.lowerBound == each.upperBound else None for each in array.shapeRange.sizeRanges
        )
    if kind == "enumeratedShapes":
        shapes = [tuple(each.shape) for each in array.enumeratedShapes.shapes]
        if len({len(each) for each in shapes}) > 1:
            return None
        return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))
    return tuple(array.shape) or None


def _is_whole(feature: Message) -> bool:
    """Whether an input is an array of 32-bit integers (FeatureTypes.proto, ArrayDataType)."""
    return bool(feature.type.multiArrayType.dataType == _INT32)


def _channels(image: Message) -> int:
    return 1 if image.ColorSpace.Name(image.colorSpace).startswith("GRAYSCALE") else 3
