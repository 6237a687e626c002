"""Reading and editing of TFLite files: operations, 8-bit inputs and outputs, metadata.

It uses the file schema that comes with LiteRT, but not LiteRT's runtime.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elir_edge.errors import ExportError
from export.int8.cost import Work
from export.onnx_graph.to_onnx import IMAGE, RESTORED

_LEVELS = 255


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of a file.

    Attributes:
        kind: name of the operation in the schema.
        inputs: names of the tensors that it reads, constants included.
        outputs: names of the tensors that it writes.
        relu: whether a ReLU is fused with it.
        rank: largest number of axes among its tensors.
        static: whether all sizes of its tensors are fixed.
        work: amount of work of a convolution; None for other operations.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    relu: bool
    rank: int
    static: bool
    work: Work | None = None


def read_operations(path: Path) -> list[Operation]:
    """Return the operations of a file's only graph, in order of execution."""
    tools, schema = _tools()
    model = _read(path)
    graph = model.subgraphs[0]

    def names(indices: Any) -> tuple[str, ...]:
        return tuple(graph.tensors[i].name.decode() for i in indices if i >= 0)

    result = []
    for operator in graph.operators:
        kind = tools.opcode_to_name(model, operator.opcodeIndex)
        tensors = [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", None)
        shapes = [[] if t.shape is None else list(t.shape) for t in tensors]
        signatures = [[] if t.shapeSignature is None else list(t.shapeSignature) for t in tensors]
        result.append(
            Operation(
                kind=kind,
                inputs=names(operator.inputs),
                outputs=names(operator.outputs),
                relu=fused == schema.ActivationFunctionType.RELU,
                rank=max(len(shape) for shape in shapes),
                static=all(side >= 0 for sides in signatures for side in sides),
                work=_work(kind, shapes),
            )
        )
    return result


def _work(kind: str, shapes: Sequence[Sequence[int]]) -> Work | None:
    """Return the work of an operation, given the shapes of its inputs and, last, its output."""
    output_shape = shapes[-1]
    if kind == "CONV_2D":
        input_shape, weights = shapes[:2]
        places = output_shape
    elif kind == "TRANSPOSE_CONV":  # the first input holds the output's shape
        weights, input_shape = shapes[1:3]
        places = input_shape
    else:
        return None
    return Work(
        macs=math.prod(places[:3]) * math.prod(weights),
        values=math.prod(input_shape) + math.prod(output_shape),
    )


def with_byte_images(path: Path) -> None:
    """Change a file's image and result to uint8, 0 black and 255 white, in place.

    The file gets a DEQUANTIZE at the start and a QUANTIZE, which saturates, at the end. XNNPACK
    runs both; it does not run a cast.

    Raises:
        ExportError: the file's image or result is not float32.
    """
    _, schema = _tools()
    model = _read(path)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    maps = {entry.name.decode(): entry for entry in (*signature.inputs, *signature.outputs)}
    for name, before in ((IMAGE, True), (RESTORED, False)):
        inner = maps[name].tensorIndex
        tensor = graph.tensors[inner]
        if tensor.type != schema.TensorType.FLOAT32:
            raise ExportError(f"{path.name} cannot get 8-bit images: {name} is not float32")
        graph.tensors.append(_byte_tensor(schema, tensor, name))
        outer = len(graph.tensors) - 1
        kind = schema.BuiltinOperator.DEQUANTIZE if before else schema.BuiltinOperator.QUANTIZE
        operator = schema.OperatorT()
        operator.opcodeIndex = _opcode(model, schema, kind, 2 if before else 1)
        operator.inputs = np.array([outer if before else inner], np.int32)
        operator.outputs = np.array([inner if before else outer], np.int32)
        graph.operators.insert(0 if before else len(graph.operators), operator)
        ends = graph.inputs if before else graph.outputs
        replaced = np.array([outer if i == inner else i for i in ends], np.int32)
        if before:
            graph.inputs = replaced
        else:
            graph.outputs = replaced
        maps[name].tensorIndex = outer
    _write(model, path)


def describe(path: Path, description: str, metadata: Mapping[str, bytes]) -> None:
    """Set a file's description and append metadata buffers, in place."""
    _, schema = _tools()
    model = _read(path)
    model.description = description.encode()
    model.metadata = list(model.metadata or [])
    for name, content in metadata.items():
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), len(model.buffers) - 1
        model.metadata.append(entry)
    _write(model, path)


def read_metadata(path: Path, name: str) -> bytes:
    """Return a metadata buffer.

    Raises:
        ExportError: the file has no buffer of that name.
    """
    model = _read(path)
    for entry in model.metadata or []:
        if entry.name.decode() == name:
            return bytes(model.buffers[entry.buffer].data)
    raise ExportError(f"{path.name} has no metadata named {name}")


def _byte_tensor(schema: Any, like: Any, name: str) -> Any:
    tensor = schema.TensorT()
    tensor.name = f"{name}_uint8".encode()
    tensor.shape = like.shape
    tensor.shapeSignature = like.shapeSignature
    tensor.type = schema.TensorType.UINT8
    tensor.buffer = 0  # buffer 0 is empty by convention
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.array([1 / _LEVELS], np.float32)
    tensor.quantization.zeroPoint = np.array([0], np.int64)
    return tensor


def _opcode(model: Any, schema: Any, kind: int, version: int) -> int:
    """Return the index of an operation's code; append the code if the file does not have it."""
    for i, code in enumerate(model.operatorCodes):
        if code.builtinCode == kind:
            code.version = max(code.version, version)
            return i
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, kind, version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _tools() -> tuple[Any, Any]:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils as tools

    return tools, schema


def _read(path: Path) -> Any:
    model = _tools()[0].read_model(str(path))
    if len(model.subgraphs) != 1 or len(model.signatureDefs or []) != 1:
        raise ExportError(f"{path.name} does not have exactly one graph and one signature")
    return model


def _write(model: Any, path: Path) -> None:
    _tools()[0].write_model(model, str(path))
