"""Image metrics on float images in [0, 1]."""

import math

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ElirError, ParityError

_SSIM_SIGMA = 1.5
_SSIM_WINDOW = 11


def mean_square_error(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the mean squared difference, accumulated in float64.

    Raises:
        ParityError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ParityError("arrays of different shapes compared", got=f"{a.shape} and {b.shape}")
    return float(np.mean(np.square(a.astype(np.float64) - b.astype(np.float64))))


def psnr(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the PSNR in dB for a peak of 1; inf for equal images, nan if a value is NaN."""
    error = mean_square_error(a, b)
    if math.isnan(error):
        return math.nan
    return math.inf if error == 0 else -10 * math.log10(error)


def rounded_luma(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the BT.601 luma of an image (H, W, 3) in [0, 1], rounded to integers from 0 to 255.

    This is the full-range Y of YIQ that IQA-PyTorch 0.1.16 uses for SSIM and NIQE; MATLAB's
    `rgb2ycbcr` would give 16 to 235. As there, the sum is computed in float32: ties are frequent in
    8-bit images, and the direction in which they are rounded affects NIQE.
    """
    weights = np.array([0.299, 0.587, 0.114, 255], np.float32)
    red, green, blue = (image[..., c] * weights[c] for c in range(3))
    return np.asarray(np.rint((red + green + blue) * weights[3]), dtype=np.float64)


def ssim_y(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the structural similarity of the lumas of two images (H, W, 3); 1 if they are equal.

    This is `ssim` of IQA-PyTorch 0.1.16, which is used for tables in papers: on `rounded_luma`,
    with a data range of 255, windows as in `ssim_rgb`, and 0 for windows with a negative covariance
    term. The images are not reduced and no border is cropped. nan if a value is NaN.

    Raises:
        ParityError: the shapes differ, or a side is shorter than the window.
        ElirError: scikit-image is not installed.
    """
    _check_ssim(a, b)
    similarity = _similarity(rounded_luma(a), rounded_luma(b), data_range=255)
    # Lumas are not negative, so the similarity has the sign of the covariance term.
    return float(np.maximum(similarity, 0).mean())


def ssim_rgb(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the structural similarity of two images (H, W, 3), the mean over colour channels.

    Defined as in Wang et al. (2004): Gaussian weights of standard deviation 1.5 in windows of
    11 x 11, population covariances, K1 = 0.01, K2 = 0.03, a data range of 1, and the mean over all
    windows inside the image. scikit-image computes it in float64, without rounding. 1 if the images
    are equal, nan if a value is NaN.

    Raises:
        ParityError: the shapes differ, or a side is shorter than the window.
        ElirError: scikit-image is not installed.
    """
    _check_ssim(a, b)
    channels = ((a[..., c].astype(np.float64), b[..., c].astype(np.float64)) for c in range(3))
    return float(np.mean([_similarity(x, y, data_range=1).mean() for x, y in channels]))


def _check_ssim(a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
    if a.shape != b.shape:
        raise ParityError("arrays of different shapes compared", got=f"{a.shape} and {b.shape}")
    if min(a.shape[:2]) < _SSIM_WINDOW:
        raise ParityError(
            "images are too small for SSIM",
            got=f"{a.shape[1]} x {a.shape[0]}",
            expected=f"at least {_SSIM_WINDOW} x {_SSIM_WINDOW} pixels",
        )


def _similarity(
    a: NDArray[np.float64], b: NDArray[np.float64], *, data_range: float
) -> NDArray[np.float64]:
    """Return the similarity of every window that lies fully inside the planes (H, W)."""
    try:
        from skimage.metrics import structural_similarity
    except ModuleNotFoundError as error:
        raise ElirError(
            f"SSIM needs {error.name}, which is not installed", fix="install the `evaluate` extra"
        ) from error
    _, similarity = structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=_SSIM_SIGMA,
        use_sample_covariance=False,
        data_range=data_range,
        full=True,
    )
    border = _SSIM_WINDOW // 2
    return np.asarray(similarity[border:-border, border:-border])
