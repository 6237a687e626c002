"""The ways to run a model that the speed benchmark knows, and the machine's yardsticks."""

from dataclasses import dataclass

from elir_edge.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A way to run a model.

    Attributes:
        title: for people.
        target: of the export; `torch`: the checkpoint itself.
        precision: of the weights.
        runtime: what runs it, and where.
        kind: of `torch_worker.py`; None: a bundle, by `worker.py`.
        gpu: whether it needs a GPU.
    """

    title: str
    target: str
    precision: str
    runtime: str
    kind: str | None = None
    gpu: bool = False

    @property
    def portable(self) -> bool:
        """Whether it runs on a device without torch."""
        return self.kind is None


DEPLOYMENTS = (
    Deployment(
        title="torch eager (published way)",
        target="torch",
        precision="fp32",
        runtime="torch",
        kind="published",
    ),
    Deployment(
        title="torch eager, static graph",
        target="torch",
        precision="fp32",
        runtime="torch-static",
        kind="static",
    ),
    Deployment(title="ONNX Runtime fp32", target="onnx", precision="fp32", runtime="onnxruntime"),
    Deployment(title="ONNX Runtime fp16", target="onnx", precision="fp16", runtime="onnxruntime"),
    Deployment(title="ONNX Runtime int8", target="onnx", precision="int8", runtime="onnxruntime"),
    Deployment(title="OpenVINO fp32", target="onnx", precision="fp32", runtime="openvino"),
    Deployment(title="OpenVINO int8", target="onnx", precision="int8", runtime="openvino"),
    Deployment(title="LiteRT fp32", target="tflite", precision="fp32", runtime="litert"),
    Deployment(title="LiteRT int8", target="tflite", precision="int8", runtime="litert"),
    Deployment(
        title="torch eager on CUDA",
        target="torch",
        precision="fp32",
        runtime="torch-cuda",
        kind="cuda",
        gpu=True,
    ),
    *(
        Deployment(
            title=f"torch.compile {precision} on CUDA",
            target="torch",
            precision=precision,
            runtime="torch-compile-cuda",
            kind=f"gpu-compile-{precision}",
            gpu=True,
        )
        for precision in ("fp16", "bf16")
    ),
    Deployment(
        title="ONNX Runtime fp16 on CUDA",
        target="onnx",
        precision="fp16",
        runtime="onnxruntime-cuda",
        kind="gpu-onnxruntime-fp16",
        gpu=True,
    ),
    *(
        Deployment(
            title=f"TensorRT {precision}",
            target="tensorrt",
            precision=precision,
            runtime="trt",
            kind=f"gpu-tensorrt-{precision}",
            gpu=True,
        )
        for precision in ("fp16", "int8")
    ),
)
"""All ways, in the order of the table. The first that was measured is what others are compared
with; GPU rows are compared with the first GPU row that was measured."""
YARDSTICKS = {
    f"{runtime} {arithmetic}": (f"yardstick-{runtime}-{arithmetic}", arithmetic)
    for arithmetic in ("fp32", "int8")
    for runtime in ("onnxruntime", "openvino")
}
"""Chains of convolutions that suit the machine best (`peaks.py`): kind and arithmetic."""


def choose(
    *, targets: str | None, precisions: str | None, runtimes: str | None, portable: bool = False
) -> list[Deployment]:
    """Return the deployments that comma-separated lists ask for; None: any.

    Args:
        targets: of the export.
        precisions: of the weights.
        runtimes: what runs them.
        portable: leave out those that need torch.

    Raises:
        UsageError: a list names something that no deployment has, or nothing is left.
    """
    found = [deployment for deployment in DEPLOYMENTS if deployment.portable or not portable]
    asked = {"target": targets, "precision": precisions, "runtime": runtimes}
    for name, text in asked.items():
        if text is None:
            continue
        known = list(dict.fromkeys(getattr(deployment, name) for deployment in DEPLOYMENTS))
        wanted = [word.strip() for word in text.split(",")]
        for word in wanted:
            if word not in known:
                raise UsageError(f"unknown {name} {word!r}", expected=f"some of {', '.join(known)}")
        found = [deployment for deployment in found if getattr(deployment, name) in wanted]
    if not found:
        raise UsageError(
            "no row is left of these --target, --precision and --runtime",
            expected=", ".join(f"{v.target} {v.precision} {v.runtime}" for v in DEPLOYMENTS),
        )
    return found
