"""Quantizes in the quantizer's environment: `python -m export.targets.imx500.worker FOLDER`.

It reads the static model (`handover.py`) and `images.npy` (N, H, W, 3), which the export wrote to
the folder. It writes `quantized.onnx`, and `check.npz` with an image and the graph's result.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elir_edge.data.operations import to_uint8
from export.targets.imx500.handover import take_over
from export.targets.imx500.mct import QUANTIZED, quantize_for_sensor, session_options

IMAGES, CHECK = "images.npy", "check.npz"


def main(folder: Path) -> None:
    """Quantize the model in the folder."""
    torch.manual_seed(0)
    images = np.load(folder / IMAGES)
    quantize_for_sensor(take_over(folder), list(images), folder)
    image = to_uint8(images[0])[None]
    np.savez(folder / CHECK, image=image, restored=_run(folder / QUANTIZED, image))


def _run(path: Path, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a graph with the quantizer's own operators on an image, uint8 (1, H, W, 3).

    The project's runtime backend supports standard operators only, and its result is compared with
    this one.
    """
    import onnxruntime

    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(path), session_options(), providers=providers)
    # The chip reads bytes as multiples of 1/256.
    read = image.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(256)
    restored: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: read})[0]
    return restored


if __name__ == "__main__":
    main(Path(sys.argv[1]))
