"""`elir-edge build-engine`: a TensorRT engine for the GPU of this device."""

from pathlib import Path
from typing import Annotated

import typer

EPILOG = "Example: elir-edge build-engine dist/bfr-nano-tensorrt-fp16"


def build_engine(
    bundle: Annotated[
        Path, typer.Argument(help="Folder made by `make export TASK=... TARGET=tensorrt`.")
    ],
    gpu: Annotated[
        str | None, typer.Option(help="sm75, sm80, sm86, sm89, sm120; default: the GPU here.")
    ] = None,
) -> None:
    """Build a bundle's TensorRT engine anew from its ONNX, for the GPU of this device."""
    from elir_edge.runtime.rebuild import rebuild

    engine, path = rebuild(bundle, gpu)
    tried = "self-test passed" if engine.ran else "built ahead of time, not run here"
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB for {engine.capability} "
        f"by {engine.kind} {engine.version}; {tried}"
    )
