"""Quantization in the quantizer's own environment, and merging of equal constants."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from elir_edge.data.operations import FloatImage
from elir_edge.errors import ExportError
from elir_edge.telemetry import without_telemetry
from export.static.unroll import StaticElir
from export.targets.imx500.environment import QUANTIZER, ROOT, environment
from export.targets.imx500.handover import ModelDescription, hand_over
from export.targets.imx500.mct import QUANTIZED
from export.targets.imx500.sharing import share_constants
from export.targets.imx500.worker import IMAGES


def quantize(
    static: StaticElir,
    description: ModelDescription,
    images: Sequence[FloatImage],
    folder: Path,
    report: Callable[[str], None],
) -> int:
    """Write `quantized.onnx` and the worker's other files into a folder.

    Args:
        static: the static model, with constant noise.
        description: the model's structure, from which the worker rebuilds it.
        images: degraded calibration crops (H, W, 3) in [0, 1], which give the ranges.
        folder: folder to work in.
        report: called with a line about the progress.

    Returns:
        The number of constants that were merged with equal ones.

    Raises:
        ExportError: the environment cannot be created, or the quantizer fails.
    """
    tools = environment(QUANTIZER, report)
    report("quantizing for the sensor")
    hand_over(static, description, folder)
    np.save(folder / IMAGES, np.stack(images))
    command = [
        str(tools / "bin" / "python"),
        "-m",
        "export.targets.imx500.worker",
        str(folder.resolve()),
    ]
    without_telemetry()  # also for the worker, which inherits the environment variables
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode or not (folder / QUANTIZED).is_file():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportError(
            "quantizing for the sensor failed",
            got=last[-300:],
            fix=f"remove the environment in {tools}, then export again",
        )
    model, merged = share_constants(onnx.load(folder / QUANTIZED))
    onnx.save(model, folder / QUANTIZED)
    return merged
