"""Run each form on the same image, stage by stage, and compare."""

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from elir_edge.model import Elir
from elir_edge.runtime.backends import open_backend
from elir_edge.runtime.manifest import Check
from export.parity import (
    MAX_ABS_EXACT,
    MAX_ABS_EXACT_FLOAT64,
    MAX_ABS_ONNX_FP32,
    check_psnr,
    compare_stages,
    require,
)
from export.prepare import StaticElir
from export.to_onnx import IMAGE, NOISE, RESTORED

StageValues = dict[str, NDArray[np.float32]]


@torch.no_grad()
def model_stages(model: Elir, image: Tensor, noise: Tensor) -> StageValues:
    """Run the model as trained: the reference of everything else."""
    latent = model.encoder(image)
    coarse = model.coarse(latent)
    states = model.trajectory(coarse + noise)[1:]
    decoded = model.decoder(states[-1])
    stages = {"latent": latent, "coarse": coarse}
    stages |= {f"step_{i}": state for i, state in enumerate(states, start=1)}
    stages |= {"decoded": decoded, RESTORED: decoded.clamp(0, 1)}
    return {name: value.numpy() for name, value in stages.items()}


@torch.no_grad()
def static_stages(static: StaticElir, image: Tensor, noise: Tensor | None) -> StageValues:
    """Run the static form."""
    return {name: value.numpy() for name, value in static.stages(image, noise).items()}


def onnx_stages(path: Path, names: list[str], image: Tensor, noise: Tensor | None) -> StageValues:
    """Run a probe graph, or a shipped one, in the `onnx` target's runtime."""
    inputs = {IMAGE: image.numpy()}
    if noise is not None:
        inputs[NOISE] = noise.numpy()
    outputs = open_backend("onnxruntime", path, None).run(inputs)
    return {name: outputs[name] for name in names if name in outputs}


def verify_exact(
    label: str,
    reference: StageValues,
    static: StaticElir,
    image: Tensor,
    noise: Tensor | None,
) -> list[Check]:
    """Require that a rewritten static model equals the reference, to rounding.

    Raises:
        ParityError: it does not.
    """
    limit = MAX_ABS_EXACT_FLOAT64 if image.dtype == torch.float64 else MAX_ABS_EXACT
    checks = compare_stages(label, reference, static_stages(static, image, noise), limit)
    return require(checks)


def verify_onnx(
    probe: onnx.ModelProto,
    folder: Path,
    reference: StageValues,
    image: Tensor,
    noise: Tensor | None,
) -> list[Check]:
    """Require that the ONNX graph gives torch's stages.

    Raises:
        ParityError: it does not; the first stage that departs is named.
    """
    path = folder / "probe.onnx"
    onnx.save(probe, path)
    try:
        got = onnx_stages(path, list(reference), image, noise)
    finally:
        path.unlink()
    return require(compare_stages("torch fp32", reference, got, MAX_ABS_ONNX_FP32))


def verify_half(
    artifact: Path,
    reference: StageValues,
    image: Tensor,
    noise: Tensor | None,
    min_psnr: float,
) -> list[Check]:
    """Require that a half-precision artifact gives a finite image near the reference.

    Raises:
        ParityError: it does not.
    """
    got = onnx_stages(artifact, [RESTORED], image, noise)
    return require(
        [check_psnr(RESTORED, "torch fp32", reference[RESTORED], got[RESTORED], min_psnr)]
    )
