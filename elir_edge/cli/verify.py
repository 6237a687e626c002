"""`elir-edge verify`: check that a bundle is intact and works here."""

import math
from pathlib import Path
from typing import Annotated

import typer

from elir_edge.cli.options import Runtime, Threads

EPILOG = "Example: elir-edge verify dist/denoising-nano-onnx-fp32"


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `make export`.")],
    threads: Threads = None,
    runtime: Runtime = None,
) -> None:
    """Check a bundle's hashes and run its self-test on this device."""
    from elir_edge.runtime.selftest import verify_bundle

    result = verify_bundle(bundle, threads=threads, runtime=runtime)
    same = result.psnr == math.inf
    found = "identical" if same else f"{result.psnr:.1f} dB (at least {result.min_psnr:g})"
    print(f"{bundle}: hashes match; self-test {found} on {result.runtime}")
