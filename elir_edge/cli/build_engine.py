"""`elir-edge build-engine`: build a TensorRT engine for this device's GPU."""

from pathlib import Path
from typing import Annotated

import typer

EPILOG = "Example: elir-edge build-engine dist/bfr-nano-tensorrt-fp16"


def build_engine(
    bundle: Annotated[
        Path, typer.Argument(help="Folder made by `make export TASK=... TARGET=tensorrt`.")
    ],
    gpu: Annotated[
        str | None, typer.Option(help="sm75, sm80, sm86, sm89, sm120; default: this device's GPU.")
    ] = None,
) -> None:
    """Rebuild a bundle's TensorRT engine from its ONNX file, by default for this device's GPU."""
    from elir_edge.runtime.rebuild import rebuild

    engine, path = rebuild(bundle, gpu)
    tried = "self-test passed" if engine.ran else "built ahead of time, not run here"
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB for {engine.capability} "
        f"by {engine.kind} {engine.version}; {tried}"
    )
