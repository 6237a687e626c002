"""Runs in the quantizer's environment: `python -m export.imx500.worker FOLDER`.

Reads `static.pt` and `images.npy` (N, H, W, 3), which the export left in the folder, and writes the
quantized graph in two forms there: `quantized.onnx` and `emulation.onnx`.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from export.int8.mct import quantize_for_sensor

STATIC, IMAGES = "static.pt", "images.npy"


def main(folder: Path) -> None:
    """Quantize what lies in the folder."""
    torch.manual_seed(0)
    # A module, not a checkpoint: the export itself wrote it a moment ago.
    static = torch.load(folder / STATIC, weights_only=False)
    quantize_for_sensor(static, list(np.load(folder / IMAGES)), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
