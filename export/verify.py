"""Run the forms of a model on the same image and compare their stages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from elir_edge.model import Elir
from elir_edge.runtime.backends import open_backend
from elir_edge.runtime.manifest import Check
from export.onnx_graph.to_onnx import IMAGE, NOISE, RESTORED
from export.parity import (
    MAX_ABS_EXACT,
    MAX_ABS_EXACT_FLOAT64,
    MAX_ABS_ONNX_FP32,
    MIN_PSNR_FP16,
    check_psnr,
    compare_stages,
    require,
    require_same_stages,
)
from export.static.unroll import StaticElir

StageValues = dict[str, NDArray[np.float32]]
StageComparer = Callable[[str, str, StageValues, StageValues], list[Check]]
"""Makes checks from the form's name, the reference's name, and the stages of both runs."""


@torch.no_grad()
def model_stages(model: Elir, image: Tensor, noise: Tensor) -> StageValues:
    """Run the model as trained; its stages are the reference for all other forms."""
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


def onnx_stages(
    path: Path, names: list[str], image: Tensor, noise: Tensor | None, runtime: str
) -> StageValues:
    """Run a probe or shipped graph in a runtime of the `onnx` target."""
    inputs = {IMAGE: image.numpy()}
    if noise is not None:
        inputs[NOISE] = noise.numpy()
    outputs = open_backend(runtime, path, None).run(inputs)
    return {name: outputs[name] for name in names if name in outputs}


def verify_exact(
    form: str,
    reference: StageValues,
    static: StaticElir,
    image: Tensor,
    noise: Tensor | None,
) -> list[Check]:
    """Require that a static model's stages equal the reference up to rounding.

    Raises:
        ParityError: a stage differs by more than the tolerance of its precision.
    """
    return compare_exact(form, reference, static_stages(static, image, noise), image.dtype)


def compare_exact(
    form: str, reference: StageValues, got: StageValues, dtype: torch.dtype
) -> list[Check]:
    """Require that the stages of two runs agree up to the rounding of `dtype`.

    Raises:
        ParityError: a stage differs by more than the tolerance; the first one is named.
    """
    if dtype == torch.float64:
        return require(compare_stages(form, "torch fp64", reference, got, MAX_ABS_EXACT_FLOAT64))
    return require(compare_stages(form, "torch fp32", reference, got, MAX_ABS_EXACT))


def verify_onnx(
    form: str,
    graph: onnx.ModelProto,
    folder: Path,
    reference: StageValues,
    image: Tensor,
    noise: Tensor | None,
    compare: StageComparer,
    runtime: str = "onnxruntime",
) -> list[Check]:
    """Run a graph and require that each of its stages is close enough to torch's.

    Args:
        form: the form's name in the checks.
        graph: a probe graph (all stages) or a shipped graph (the restored image only).
        folder: folder for a temporary file.
        reference: torch's stages.
        image: the input image.
        noise: the input noise if the noise is an input, else None.
        compare: compares the stages of both runs.
        runtime: the runtime that runs the graph.

    Raises:
        ParityError: a stage differs by more than the tolerance; the first one is named.
    """
    path = folder / "probe.onnx"
    onnx.save(graph, path)
    expected = {output.name: reference[output.name] for output in graph.graph.output}
    try:
        return verify_file(form, path, expected, image, noise, compare, runtime)
    finally:
        path.unlink()


def verify_file(
    form: str,
    path: Path,
    expected: StageValues,
    image: Tensor,
    noise: Tensor | None,
    compare: StageComparer,
    runtime: str,
) -> list[Check]:
    """Run a graph file and require that its outputs are close enough to `expected`.

    For the other arguments and the errors, see `verify_onnx`.
    """
    got = onnx_stages(path, [*expected], image, noise, runtime)
    return require(compare(form, "torch fp32", expected, got))


def compare_fp32(form: str, reference: str, expected: StageValues, got: StageValues) -> list[Check]:
    """Compare a float32 graph's stages by the largest absolute difference."""
    return compare_stages(form, reference, expected, got, MAX_ABS_ONNX_FP32)


def compare_fp16(form: str, reference: str, expected: StageValues, got: StageValues) -> list[Check]:
    """Compare an fp16 graph's stages by PSNR; the peak is each stage's own range of values."""
    require_same_stages(reference, expected, got)
    return [
        check_psnr(form, stage, reference, expected[stage], got[stage], MIN_PSNR_FP16)
        for stage in expected
    ]
