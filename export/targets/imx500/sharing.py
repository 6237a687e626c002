"""Let equal constants of a quantized graph be one: K Euler steps use the same kernels."""

import onnx

_WEIGHTS = "Weights"


def share_constants(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Return the graph with equal initializers, constants and quantized kernels merged.

    w_1 = w_2 (bytes, shape, type), and the same quantizer with the same attributes on it: every
    reader of w_2 reads w_1. Nothing is computed anew, so results are the same bytes.

    Returns:
        The graph, and how many were merged.
    """
    merged = onnx.ModelProto()
    merged.CopyFrom(model)
    graph = merged.graph
    seen: dict[tuple[object, ...], str] = {}
    renamed: dict[str, str] = {}
    tensors = [t for t in graph.initializer if _first(seen, renamed, _content(t), t.name)]
    nodes = []
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        key = _key(node)
        if key is None or _first(seen, renamed, key, node.output[0]):
            nodes.append(node)
    # Copies first: clearing a field frees what it holds.
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    constants = [onnx.TensorProto.FromString(t.SerializeToString()) for t in tensors]
    del graph.initializer[:]
    del graph.node[:]
    graph.initializer.extend(constants)
    graph.node.extend(kept)
    return merged, len(renamed)


def _first(
    seen: dict[tuple[object, ...], str], renamed: dict[str, str], key: tuple[object, ...], name: str
) -> bool:
    """Tell whether nothing equal came before; if it did, note who takes its place."""
    if key in seen:
        renamed[name] = seen[key]
        return False
    seen[key] = name
    return True


def _key(node: onnx.NodeProto) -> tuple[object, ...] | None:
    if node.op_type == "Constant" and node.attribute[0].HasField("t"):
        return _content(node.attribute[0].t)
    if node.op_type.startswith(_WEIGHTS):
        attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
        return (node.op_type, *node.input, *attributes)
    return None


def _content(tensor: onnx.TensorProto) -> tuple[object, ...]:
    unnamed = onnx.TensorProto()
    unnamed.CopyFrom(tensor)
    unnamed.name = ""
    return ("tensor", unnamed.SerializeToString(deterministic=True))
