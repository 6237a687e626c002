"""PSNR by hand."""

import math

import numpy as np
import pytest

from elir_edge.errors import ParityError
from elir_edge.metrics import mean_square_error, psnr

A = np.zeros((2, 2, 3), np.float32)


def test_by_hand() -> None:
    assert mean_square_error(A, A + np.float32(0.5)) == 0.25
    assert psnr(A, A + np.float32(0.1)) == pytest.approx(20, abs=1e-5)
    assert psnr(A, A) == math.inf


def test_nan_stays_nan() -> None:
    assert math.isnan(psnr(A, A * np.float32("nan")))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ParityError, match="shapes"):
        psnr(A, A[:1])
