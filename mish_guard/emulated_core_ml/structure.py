"""The structure of a model as coremltools' compute plans report it."""

from __future__ import annotations

from mish_guard.engines.emulator.specification import Message


def of(spec: Message) -> object:
    """An MLModelStructure of the spec of an ML program or a neural network."""
    from coremltools.models import compute_plan as cp

    kind = spec.WhichOneof("Type") or ""
    if kind != "mlProgram":
        network = getattr(spec, kind)
        layers = [_layer(each) for each in getattr(network, "layers", ())]
        return cp.MLModelStructure(cp.MLModelStructureNeuralNetwork(layers), None, None)
    functions = {name: _function(each) for name, each in spec.mlProgram.functions.items()}
    return cp.MLModelStructure(None, cp.MLModelStructureProgram(functions), None)


def _layer(layer: Message) -> object:
    from coremltools.models import compute_plan as cp

    return cp.MLModelStructureNeuralNetworkLayer(
        name=layer.name,
        type=layer.WhichOneof("layer"),
        input_names=list(layer.input),
        output_names=list(layer.output),
        __proxy__=None,
    )


def _function(function: Message) -> object:
    from coremltools.models import compute_plan as cp

    block = _block(function.block_specializations[function.opset], _prefix(function.opset))
    return cp.MLModelStructureProgramFunction([_named(each) for each in function.inputs], block)


def _prefix(opset: str) -> str:
    """What a plan writes before the names of an opset's operations: ios17 for CoreML7."""
    from coremltools import _OPSET, target

    targets: dict[str, str] = {_OPSET[each.value]: each.name.lower() for each in target}
    return targets.get(opset, opset.lower())


def _block(block: Message, prefix: str) -> object:
    from coremltools.models import compute_plan as cp

    operations = [_operation(each, prefix) for each in block.operations]
    return cp.MLModelStructureProgramBlock([_named(each) for each in block.inputs], operations, list(block.outputs))


def _operation(operation: Message, prefix: str) -> object:
    from coremltools.models import compute_plan as cp

    return cp.MLModelStructureProgramOperation(
        inputs={},
        operator_name="const" if operation.type == "const" else f"{prefix}.{operation.type}",
        outputs=[_named(each) for each in operation.outputs],
        blocks=[_block(each, prefix) for each in operation.blocks],
        __proxy__=None,
    )


def _named(named: Message) -> object:
    from coremltools.models import compute_plan as cp

    return cp.MLModelStructureProgramNamedValueType(named.name, cp.MLModelStructureProgramValueType())
