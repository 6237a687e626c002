"""Merging of equal constants in a quantized graph, since K Euler steps use the same kernels."""

import onnx

_WEIGHTS = "Weights"


def share_constants(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """Return the graph with equal initializers, constants and quantized kernels merged.

    If w_1 and w_2 have equal bytes, shape and type, and pass through quantizers with equal
    attributes, all readers of w_2 read w_1 instead. The results stay the same bit for bit.

    Returns:
        The graph, and the number of constants that were merged.
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
    # Copy the kept items first, since clearing a field frees its content.
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
    """Tell whether `key` is new; if it is not, record the equal tensor that replaces `name`."""
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
