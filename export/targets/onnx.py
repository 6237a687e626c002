"""ONNX files for ONNX Runtime and whatever else reads opset 20."""

from importlib.metadata import version
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from elir_edge.runtime.manifest import Check, Precision, TensorSpec
from elir_edge.runtime.manifest import Target as TargetRecord
from export.parity import MIN_PSNR_FP16
from export.targets.base import Emitted, Graph
from export.to_onnx import IMAGE, NOISE, OPSET, RESTORED, to_shipped_graph
from export.verify import verify_half

_NORMS = ("InstanceNormalization", "LayerNormalization", "GroupNormalization")


class OnnxTarget:
    """float32 NCHW in [0, 1] in and out, whatever the precision inside."""

    name = "onnx"
    title = "ONNX Runtime on CPUs, and other readers of ONNX"
    precisions = ("fp32", "fp16")
    rewrites = ("fold_scales", "fold_projections")

    def emit(self, graph: Graph, precision: str, folder: Path) -> Emitted:
        """Write `model.onnx` into `folder`; fp16 is checked against fp32 by running it."""
        shipped = to_shipped_graph(graph.probe, graph.description)
        excluded: dict[str, str] = {}
        if precision == "fp16":
            shipped, excluded = _to_half(shipped)
        artifact = folder / "model.onnx"
        onnx.save(shipped, artifact)
        checks: list[Check] = []
        if precision == "fp16":
            checks = verify_half(artifact, graph.reference, graph.image, graph.noise, MIN_PSNR_FP16)
        return Emitted(
            artifact=artifact,
            inputs=tuple(_spec(value) for value in shipped.graph.input),
            outputs=tuple(_spec(value) for value in shipped.graph.output),
            precision=Precision(name=precision, excluded=excluded),
            target=TargetRecord(
                name=self.name,
                backend="onnxruntime",
                versions={name: version(name) for name in ("onnx", "onnxruntime", "torch")},
                details={"opset": OPSET, "num_nodes": len(shipped.graph.node)},
            ),
            checks=checks,
        )

    def readme(self, emitted: Emitted) -> str:
        """Return the lines for ONNX Runtime without elir-edge."""
        image = emitted.inputs[0]
        side = image.shape[-1]
        noise = ""
        if len(emitted.inputs) > 1:
            shape = ", ".join(str(n) for n in emitted.inputs[1].shape)
            noise = (
                f"noise = (SIGMA_S * np.random.randn({shape})).astype(np.float32)"
                f'  # SIGMA_S: "sigma_s" in manifest.json\n'
            )
        feed = '{"image": x, "noise": noise}' if noise else '{"image": x}'
        return (
            "Any ONNX Runtime runs the file alone "
            f"(float32 NCHW, RGB in [0, 1], {side} x {side}):\n\n"
            "```python\n"
            "import numpy as np, onnxruntime as ort\n"
            "from PIL import Image\n\n"
            f'image = Image.open("photo.png").convert("RGB").resize(({side}, {side}))\n'
            "x = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255\n"
            f"{noise}"
            'session = ort.InferenceSession("model.onnx")\n'
            f'y = session.run(["restored"], {feed})[0]\n'
            "Image.fromarray((y[0].transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8))"
            '.save("restored.png")\n'
            "```\n"
        )


def _to_half(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Convert weights and arithmetic to fp16; inputs, outputs and norms stay float32."""
    norms = {node.name for node in model.graph.node if node.op_type in _NORMS}
    half = convert_float_to_float16(
        model, keep_io_types=True, node_block_list=sorted(norms), disable_shape_infer=False
    )
    # The converter appends its casts at the end, where a valid file may not have them.
    OnnxModel(half).topological_sort()
    onnx.checker.check_model(half, full_check=True)
    reason = "sums of squares over many pixels leave fp16's range"
    return half, dict.fromkeys(sorted(norms), reason)


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    image = value.name in (IMAGE, RESTORED)
    return TensorSpec(
        name=value.name,
        role="image" if value.name != NOISE else "noise",
        shape=tuple(d.dim_value for d in tensor.shape.dim),
        dtype=onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        layout="NCHW",
        colour="RGB" if image else "",
        low=0.0,
        high=1.0,
    )
