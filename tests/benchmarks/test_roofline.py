"""The roofline by hand, and rows of a GPU that is not here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu import ROWS, make_calls
from benchmarks.peaks import make_chain
from benchmarks.roofline import RTX_2080_TI, Gpu, count_values, estimate
from elir_edge.errors import BackendError


def test_by_hand() -> None:
    """Four 3x3 convolutions of 8 channels on 4 x 4 pixels."""
    model = make_chain("fp32", 8, 4).model
    values = 4 * (2 * 8 * 16 + 8 * 8 * 9)
    assert count_values(model) == values
    macs = 4 * 9 * 8 * 8 * 16
    slow = Gpu(name="slow", tflops={"fp32": 1e-6}, gb_per_s=1.0)
    assert estimate(model, slow, "fp32").milliseconds == pytest.approx(1000 * 2 * macs / 1e6)
    narrow = Gpu(name="narrow", tflops={"fp32": 1e3, "fp16": 1e3}, gb_per_s=1e-6)
    assert estimate(model, narrow, "fp32").milliseconds == pytest.approx(values * 4)
    assert estimate(model, narrow, "fp16").milliseconds == pytest.approx(values * 2)
    assert "GMAC / 53.8 TFLOP/s" in estimate(model, RTX_2080_TI, "fp16").formula


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
@pytest.mark.parametrize("worker", [w for w in ROWS.values() if w.startswith("gpu-")])
def test_rows_say_what_is_missing(worker: str, tmp_path: Path) -> None:
    (tmp_path / "dist" / "x-onnx-fp16").mkdir(parents=True)
    with pytest.raises(BackendError, match="CUDA"):
        make_calls(worker, tmp_path / "none", tmp_path, "denoising", np.zeros((64, 64, 3)))
