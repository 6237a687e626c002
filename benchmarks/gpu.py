"""The GPU rows of `fps.py`: torch compiled, ONNX Runtime on CUDA, TensorRT.

A row that cannot run here gives one line about what is missing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elir_edge.checkpoints.own import build_model, read_checkpoint
from elir_edge.errors import BackendError, ElirError, ParityError
from elir_edge.model import draw_noise
from elir_edge.runtime import Restorer
from elir_edge.runtime.backends.tensorrt.engine import gpu_here
from elir_edge.telemetry import without_telemetry
from export.plan import run_export
from export.request import Request
from export.static.unroll import static_form

EAGER = "torch eager on CUDA"
ROWS: dict[str, str] = {
    EAGER: "torch-cuda",
    "torch.compile fp16 on CUDA": "gpu-compile-fp16",
    "torch.compile bf16 on CUDA": "gpu-compile-bf16",
    "ONNX Runtime fp16 on CUDA": "gpu-onnxruntime-fp16",
    "TensorRT fp16": "gpu-tensorrt-fp16",
    "TensorRT int8": "gpu-tensorrt-int8",
}
"""Titles and workers; the first is what the others are compared with."""
PROTOCOL_IMAGES = 200
"""Of the paper, after 10 for warming up, batch 1, synchronised."""
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
Calls = tuple[Callable[[], object], Callable[[], object]]
"""The model alone; an 8-bit image through everything."""


def require_cuda() -> None:
    """Require a CUDA device that torch can use.

    Raises:
        BackendError: there is none.
    """
    if not torch.cuda.is_available():
        raise BackendError("no CUDA device on this machine, or a torch without CUDA")


def make_calls(worker: str, checkpoint: Path, work: Path, task: str, photo: Any) -> Calls:
    """Return what a `gpu-` worker times.

    Raises:
        ElirError: something is missing for it here.
    """
    _, kind, precision = worker.split("-")
    if kind == "compile":
        return _compiled(checkpoint, task, photo, precision)
    if kind == "onnxruntime":
        (bundle,) = (work / "dist").glob(f"*-onnx-{precision}*")
        return _onnxruntime(bundle / "model.onnx", photo)
    return _tensorrt(checkpoint, work, task, photo, precision)


def _compiled(checkpoint: Path, task: str, photo: Any, precision: str) -> Calls:
    """Compile the static model; `max-autotune` captures CUDA graphs."""
    require_cuda()
    dtype = _DTYPES[precision]
    model = build_model(read_checkpoint(checkpoint, task=task))
    static = static_form(model, draw_noise(model.config, *photo.shape[:2]))
    static = static.to("cuda", dtype, memory_format=torch.channels_last)
    # The published sizes have norms; their sums of squares stay in float32.
    for module in static.modules():
        if isinstance(module, torch.nn.GroupNorm):
            _in_float32(module)
    compiled = torch.compile(lambda x: static.stages(x, None)["restored"], mode="max-autotune")

    @torch.no_grad()
    def restore(image: torch.Tensor) -> torch.Tensor:
        restored: torch.Tensor = compiled(image)
        torch.cuda.synchronize()
        return restored

    def upload() -> torch.Tensor:
        pixels = torch.from_numpy(photo).to("cuda").permute(2, 0, 1)[None].to(dtype) / 255
        return pixels.contiguous(memory_format=torch.channels_last)

    def whole() -> object:
        return (restore(upload())[0].permute(1, 2, 0).float() * 255).round().byte().cpu().numpy()

    x = upload()
    if not torch.isfinite(restore(x)).all():
        raise ParityError(f"torch.compile in {precision} gives values that are not finite")
    return lambda: restore(x), whole


def _in_float32(norm: torch.nn.GroupNorm) -> None:
    """Have a norm compute in float32, whatever it is given."""
    norm.float()
    plain = norm.forward
    norm.forward = lambda x: plain(x.float()).to(x.dtype)  # type: ignore[method-assign]


def _onnxruntime(path: Path, photo: Any) -> Calls:
    """Run the bundle's file; device memory is bound once, so that copies are not timed."""
    without_telemetry()
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise BackendError("no CUDA in this ONNX Runtime", fix="pip install onnxruntime-gpu")
    providers = [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "EXHAUSTIVE"})]
    session = ort.InferenceSession(str(path), providers=providers)
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise BackendError("ONNX Runtime cannot use CUDA on this machine")
    x = np.ascontiguousarray(photo.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
    bound = session.io_binding()
    bound.bind_ortvalue_input("image", ort.OrtValue.ortvalue_from_numpy(x, "cuda", 0))
    bound.bind_output("restored", "cuda")

    def alone() -> None:
        session.run_with_iobinding(bound)
        bound.synchronize_outputs()

    def whole() -> object:
        image = photo.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        (restored,) = session.run(["restored"], {"image": image})
        return np.rint(restored[0].transpose(1, 2, 0) * 255).astype(np.uint8)

    return alone, whole


def _tensorrt(checkpoint: Path, work: Path, task: str, photo: Any, precision: str) -> Calls:
    """Export for the GPU here and run the engine, as applications do."""
    if gpu_here() is None:
        raise BackendError("no CUDA device on this machine, or no cuda-python")
    request = Request(
        task=task,
        target="tensorrt",
        precision=precision,
        size=len(photo),
        checkpoint=checkpoint,
        gpu="current",
        enforce_gates=False,
        out=work / "engines",
    )
    try:
        restorer = Restorer(run_export(request).folder)
    except ParityError as error:
        raise ElirError(f"missed its gate: {error}") from error
    x = photo.astype(np.float32) / np.float32(255)
    small = photo[: len(photo) // restorer.upscale, : len(photo) // restorer.upscale]
    return lambda: restorer.run(x), lambda: restorer.restore(small)
