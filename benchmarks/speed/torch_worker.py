"""Rows of the speed benchmark that need torch or ONNX: checkpoints, GPUs, yardsticks.

    python -m benchmarks.speed.torch_worker KIND FOLDER TASK SIZE PHOTOS THREADS

KIND is `published` (the network as the published code calls it, with new noise for every image),
`static` (unrolled, constant noise), `cuda` (published, on a GPU), a `gpu-` kind of `gpu.py`, or
`yardstick-RUNTIME-ARITHMETIC` (`peaks.py`). FOLDER holds `checkpoint.safetensors` and `dist`.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.allocator import keep_all_freed_memory
from benchmarks.speed.worker import Calls, answer, list_photos, network_input, serve
from elir_edge.checkpoints.own import build_model, read_checkpoint
from elir_edge.errors import ElirError
from elir_edge.model import Elir, draw_noise
from elir_edge.runtime.arrays import FloatImage
from elir_edge.tasks import get_task

CHECKPOINT = "checkpoint.safetensors"


def as_batch(image: FloatImage, device: str = "cpu") -> Tensor:
    """Return (H, W, 3) as (1, 3, H, W)."""
    return torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().to(device)


def as_image(batch: Tensor) -> FloatImage:
    """Return (1, 3, H, W) as (H, W, 3), on the CPU, float32."""
    image: FloatImage = batch[0].permute(1, 2, 0).float().cpu().numpy()
    return image


def as_pixels(batch: Tensor) -> Any:
    """Return (1, 3, H, W) in [0, 1] as uint8 (H, W, 3), on the CPU."""
    return (batch[0].permute(1, 2, 0).float() * 255).round().to(torch.uint8).cpu().numpy()


def torch_calls(checkpoint: Path, task: str, size: int, *, static: bool, device: str) -> Calls:
    """Return the calls of a checkpoint in torch, eager, float32.

    Args:
        checkpoint: of the task.
        task: its name.
        size: side of the network's input, in pixels.
        static: the unrolled form with constant noise, instead of what the published code does.
        device: `cpu` or `cuda`; on a GPU a run waits until it is done.
    """
    model = build_model(read_checkpoint(checkpoint, task=task))
    method = get_task(task).upscale_filter
    restore = _static_run(model, size) if static else _published_run(model.to(device), size, device)

    def load(path: Path) -> Tensor:
        return as_batch(network_input(path, size, method), device)

    @torch.no_grad()
    def run(image: Tensor) -> Tensor:
        restored = restore(image)
        if device != "cpu":
            torch.cuda.synchronize()
        return restored

    return Calls(
        version=f"torch {torch.__version__}",
        load=load,
        model=run,
        image=as_image,
        end_to_end=lambda path: as_pixels(run(load(path))),
    )


def _static_run(model: Elir, size: int) -> Callable[[Tensor], Tensor]:
    from export.static.unroll import static_form

    static = static_form(model, draw_noise(model.config, size, size))
    return lambda image: static.stages(image)["restored"]


def _published_run(model: Elir, size: int, device: str) -> Callable[[Tensor], Tensor]:
    shape = draw_noise(model.config, size, size).shape

    def restore(image: Tensor) -> Tensor:
        noise = model.config.sigma_s * torch.randn(shape, device=device)
        restored: Tensor = model(image, noise).clamp(0, 1)
        return restored

    return restore


@contextlib.contextmanager
def _yardstick(runtime: str, arithmetic: str, threads: int) -> Iterator[Calls]:
    from benchmarks.peaks import Arithmetic, fastest_chain
    from export.qdq.running import running

    chain = fastest_chain(cast("Arithmetic", arithmetic), runtime, threads)
    with running(chain.model, runtime, threads) as run:
        yield Calls(
            version=f"{runtime}, {chain.shape}",
            load=lambda path: chain.feed,
            model=run,
            image=lambda outputs: outputs["y"],
            end_to_end=lambda path: run(chain.feed),
            macs=chain.macs,
        )


@contextlib.contextmanager
def open_calls(kind: str, folder: Path, task: str, size: int, threads: int) -> Iterator[Calls]:
    """Yield the calls of a kind (see the module).

    Raises:
        ElirError: it cannot run on this machine.
    """
    checkpoint = folder / CHECKPOINT
    if kind.startswith("yardstick-"):
        _, runtime, arithmetic = kind.split("-")
        with _yardstick(runtime, arithmetic, threads) as calls:
            yield calls
        return
    if kind == "cuda" or kind.startswith("gpu-"):
        from benchmarks import gpu

        if kind.startswith("gpu-"):
            yield gpu.make_calls(kind, folder, task, size, threads)
            return
        gpu.require_cuda()
    device = "cuda" if kind == "cuda" else "cpu"
    yield torch_calls(checkpoint, task, size, static=kind == "static", device=device)


def reference_outputs(
    folder: Path, task: str, size: int, photos: list[Path]
) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Return float32 results of the static form, (size, size, 3) each, for PSNR."""
    calls = torch_calls(folder / CHECKPOINT, task, size, static=True, device="cpu")
    return [calls.image(calls.model(calls.load(photo))) for photo in photos]


def main(arguments: list[str]) -> None:
    """Open a row and serve; one that cannot run here is answered by the reason."""
    kind, folder, task, size, photos, threads = arguments
    torch.set_num_threads(int(threads))
    keep_all_freed_memory()
    with contextlib.ExitStack() as stack:
        try:
            calls = stack.enter_context(
                open_calls(kind, Path(folder), task, int(size), int(threads))
            )
        except ElirError as error:
            answer({"reason": str(error)})
            return
        serve(calls, list_photos(Path(photos)), sys.stdin)


if __name__ == "__main__":
    main(sys.argv[1:])
