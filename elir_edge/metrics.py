"""Image metrics, on float images in [0, 1]."""

import math

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ElirError, ParityError

_SSIM_SIGMA = 1.5
_SSIM_WINDOW = 11


def mean_square_error(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the mean square difference, accumulated in float64.

    Raises:
        ParityError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ParityError("arrays of different shapes compared", got=f"{a.shape} and {b.shape}")
    return float(np.mean(np.square(a.astype(np.float64) - b.astype(np.float64))))


def psnr(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the peak signal-to-noise ratio in dB for a peak of 1; inf for equal, nan for NaN."""
    error = mean_square_error(a, b)
    if math.isnan(error):
        return math.nan
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the structural similarity of two images (H, W, 3); 1 for equal, nan for NaN.

    As Wang et al. (2004) define it: Gaussian weights of standard deviation 1.5 in windows of
    11 x 11, population covariances, K1 = 0.01, K2 = 0.03, a data range of 1; the mean over the
    three colour channels and all windows inside the image. Computed in float64 by scikit-image.

    Raises:
        ParityError: the shapes differ, or a side is shorter than the window.
        ElirError: scikit-image is not installed.
    """
    if a.shape != b.shape:
        raise ParityError("arrays of different shapes compared", got=f"{a.shape} and {b.shape}")
    if min(a.shape[:2]) < _SSIM_WINDOW:
        raise ParityError(
            "images are too small for SSIM",
            got=f"{a.shape[1]} x {a.shape[0]}",
            expected=f"at least {_SSIM_WINDOW} x {_SSIM_WINDOW} pixels",
        )
    try:
        from skimage.metrics import structural_similarity
    except ModuleNotFoundError as error:
        raise ElirError(
            f"SSIM needs {error.name}, which is not installed", fix="install the `evaluate` extra"
        ) from error
    return float(
        structural_similarity(
            a.astype(np.float64),
            b.astype(np.float64),
            gaussian_weights=True,
            sigma=_SSIM_SIGMA,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=-1,
        )
    )
