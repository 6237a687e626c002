"""The GPU rows of `fps.py`: torch compiled, ONNX Runtime on CUDA, TensorRT.

A row that cannot run here gives one line about what is missing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.torch_worker import CHECKPOINT, as_image, as_pixels
from benchmarks.speed.worker import Calls, bundle_calls, network_input
from elir_edge.checkpoints.own import build_model, read_checkpoint
from elir_edge.errors import BackendError, ElirError, ParityError
from elir_edge.model import draw_noise
from elir_edge.runtime.arrays import float_as
from elir_edge.runtime.backends.tensorrt.engine import gpu_here
from elir_edge.runtime.bundle import Bundle
from elir_edge.tasks import get_task
from elir_edge.telemetry import without_telemetry
from export.plan import run_export
from export.request import Request
from export.static.unroll import static_form

_DTYPES: Mapping[str, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}


def require_cuda() -> None:
    """Require a CUDA device that torch can use.

    Raises:
        BackendError: there is none.
    """
    if not torch.cuda.is_available():
        raise BackendError("no CUDA device on this machine, or a torch without CUDA")


def gpu_name() -> str | None:
    """Return the name of the CUDA device that torch uses; None where there is none."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def make_calls(kind: str, folder: Path, task: str, size: int, threads: int) -> Calls:
    """Return the calls of a row: `gpu-compile-DTYPE`, `gpu-onnxruntime-fp16`, `gpu-tensorrt-...`.

    Args:
        kind: the row.
        folder: holds the checkpoint, and the ONNX bundles in `dist`.
        task: of the checkpoint.
        size: side of the network's input, in pixels.
        threads: of the CPU, for what runs there.

    Raises:
        ElirError: something is missing for it here.
    """
    _, name, precision = kind.split("-")
    if name == "compile":
        return _compiled(folder / CHECKPOINT, task, size, precision)
    if name == "onnxruntime":
        (bundle,) = (folder / "dist").glob(f"*-onnx-{precision}*")
        return _onnxruntime(bundle / "model.onnx", task, size)
    return _tensorrt(folder, task, size, threads, precision)


def _compiled(checkpoint: Path, task: str, size: int, precision: str) -> Calls:
    """Compile the static model; `max-autotune` captures CUDA graphs."""
    require_cuda()
    dtype, method = _DTYPES[precision], get_task(task).upscale_filter
    model = build_model(read_checkpoint(checkpoint, task=task))
    static = static_form(model, draw_noise(model.config, size, size))
    static = static.to("cuda", dtype, memory_format=torch.channels_last)
    # The published sizes have norms; their sums of squares stay in float32.
    for module in static.modules():
        if isinstance(module, torch.nn.GroupNorm):
            _in_float32(module)
    compiled = torch.compile(lambda x: static.stages(x, None)["restored"], mode="max-autotune")

    @torch.no_grad()
    def restore(image: Tensor) -> Tensor:
        restored: Tensor = compiled(image)
        torch.cuda.synchronize()
        return restored

    def load(path: Path) -> Tensor:
        image = torch.from_numpy(network_input(path, size, method)).to("cuda")
        batch = image.permute(2, 0, 1)[None].to(dtype)
        return batch.contiguous(memory_format=torch.channels_last)

    probe = torch.rand(1, 3, size, size, device="cuda").to(dtype)
    if not torch.isfinite(restore(probe.contiguous(memory_format=torch.channels_last))).all():
        raise ParityError(f"torch.compile in {precision} gives values that are not finite")
    return Calls(
        version=f"torch {torch.__version__}, compiled",
        load=load,
        model=restore,
        image=as_image,
        end_to_end=lambda path: as_pixels(restore(load(path))),
    )


def _in_float32(norm: torch.nn.GroupNorm) -> None:
    """Have a norm compute in float32, whatever it is given."""
    norm.float()
    plain = norm.forward
    norm.forward = lambda x: plain(x.float()).to(x.dtype)  # type: ignore[method-assign]


def _onnxruntime(path: Path, task: str, size: int) -> Calls:
    """Run the bundle's file; inputs and outputs stay on the device, so that no copy is timed."""
    without_telemetry()
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise BackendError("no CUDA in this ONNX Runtime", fix="pip install onnxruntime-gpu")
    providers = [("CUDAExecutionProvider", {"cudnn_conv_algo_search": "EXHAUSTIVE"})]
    session = ort.InferenceSession(str(path), providers=providers)
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise BackendError("ONNX Runtime cannot use CUDA on this machine")
    method = get_task(task).upscale_filter
    bound = session.io_binding()
    bound.bind_output("restored", "cuda")

    def tensor(path: Path) -> Any:
        return np.ascontiguousarray(network_input(path, size, method).transpose(2, 0, 1)[None])

    def alone(image: Any) -> Any:
        bound.bind_ortvalue_input("image", image)
        session.run_with_iobinding(bound)
        bound.synchronize_outputs()
        return bound.get_outputs()[0]

    def whole(path: Path) -> object:
        (restored,) = session.run(["restored"], {"image": tensor(path)})
        return float_as(restored[0].transpose(1, 2, 0), np.dtype(np.uint8), gray=False)

    return Calls(
        version=f"onnxruntime {ort.__version__}, CUDA",
        load=lambda path: ort.OrtValue.ortvalue_from_numpy(tensor(path), "cuda", 0),
        model=alone,
        image=lambda value: value.numpy()[0].transpose(1, 2, 0),
        end_to_end=whole,
    )


def _tensorrt(folder: Path, task: str, size: int, threads: int, precision: str) -> Calls:
    """Export for the GPU here and run the engine, as applications do."""
    if gpu_here() is None:
        raise BackendError("no CUDA device on this machine, or no cuda-python")
    request = Request(
        task=task,
        target="tensorrt",
        precision=precision,
        size=size,
        checkpoint=folder / CHECKPOINT,
        gpu="current",
        enforce_gates=False,
        out=folder / "engines",
    )
    try:
        made = run_export(request).folder
    except ParityError as error:
        raise ElirError(f"missed its gate: {error}") from error
    return bundle_calls(Bundle.open(made), "trt", threads)
