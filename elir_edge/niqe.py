"""NIQE (Mittal et al., 2013): distance of an image's statistics from those of pristine photos.

The luma, at full and half size, is normalised by its local mean and standard deviation. In every
block of 96 x 96 pixels (48 x 48 at half size), generalised Gaussians are fitted to the normalised
luma and to products of neighbours along four directions: 18 numbers at each size, 36 per block.
NIQE is the distance of the blocks' mean and covariance from those of pristine photos, which are
read from a file. Lower is better.

The computation follows IQA-PyTorch 0.1.16: whole blocks only, edges repeated for the local filter,
reduction as in MATLAB's `imresize`. It uses numpy and scipy in float64.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ElirError, ImageError
from elir_edge.metrics import rounded_luma

Array = NDArray[np.float64]

NUM_FEATURES = 36
BLOCK = 96
"""Side of a block at full size, in pixels."""

_WINDOW = 7
_WINDOW_SIGMA = 7 / 6
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Offsets (rows, columns) to the neighbours whose products are used."""


@dataclass(frozen=True, kw_only=True)
class NiqeModel:
    """The feature statistics of pristine photos.

    Attributes:
        mean: mean of the features, (36,).
        covariance: covariance of the features, (36, 36).
    """

    mean: Array
    covariance: Array

    def score(self, image: NDArray[np.float32]) -> float:
        """Return the NIQE of an image (H, W, 3) in [0, 1]; nan if a fit is impossible.

        Raises:
            ImageError: a side is shorter than a block.
        """
        features = niqe_features(image)
        features = features[np.isfinite(features).all(axis=1)]
        if not len(features):
            return float("nan")
        covariance = np.zeros_like(self.covariance)
        if len(features) > 1:
            covariance = np.cov(features, rowvar=False)
        difference = self.mean - features.mean(axis=0)
        inverse = np.linalg.pinv((self.covariance + covariance) / 2)
        return float(np.sqrt(difference @ inverse @ difference))


def niqe_features(image: NDArray[np.float32]) -> Array:
    """Return the features of all blocks of an image (H, W, 3) in [0, 1]: (blocks, 36).

    Raises:
        ImageError: a side is shorter than a block.
    """
    rows, columns = (side // BLOCK for side in image.shape[:2])
    if not rows or not columns:
        raise ImageError(
            "an image is too small for NIQE",
            got=f"{image.shape[1]} x {image.shape[0]}",
            expected=f"at least {BLOCK} x {BLOCK} pixels",
        )
    luma = rounded_luma(image)[: rows * BLOCK, : columns * BLOCK]
    scales = [
        _block_features(_blocks(_normalised(plane), side))
        for plane, side in ((luma, BLOCK), (half_size(luma), BLOCK // 2))
    ]
    return np.concatenate(scales, axis=1)


def load_scipy() -> Any:
    """Return scipy with the submodules that are used here imported.

    Raises:
        ElirError: scipy is not installed.
    """
    try:
        import scipy.ndimage
        import scipy.special
    except ModuleNotFoundError as error:
        raise ElirError(
            f"NIQE needs {error.name}, which is not installed", fix="install the `evaluate` extra"
        ) from error
    return scipy


def half_size(plane: Array) -> Array:
    """Reduce a plane of even sides to half, as MATLAB's `imresize` does.

    The filter is bicubic with a = -0.5, widened to eight taps against aliasing; edges are reflected
    and the edge pixel is repeated.
    """
    distances = np.abs(np.arange(-3.5, 4)) / 2
    near = 1.5 * distances**3 - 2.5 * distances**2 + 1
    far = -0.5 * distances**3 + 2.5 * distances**2 - 4 * distances + 2
    weights = np.where(distances <= 1, near, far)
    weights /= weights.sum()
    for axis in (0, 1):
        padding = [(3, 3) if axis == each else (0, 0) for each in (0, 1)]
        padded = np.pad(plane, padding, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 8, axis=axis)
        plane = (windows[::2] if axis == 0 else windows[:, ::2]) @ weights
    return plane


def _normalised(plane: Array) -> Array:
    """Subtract the local mean and divide by the local standard deviation plus 1; repeat edges.

    The window's weights are float32, as in IQA-PyTorch, so their sum is not exactly 1. In flat
    areas, the sign of the tiny rest decides on which side of 0 a pixel counts.
    """
    correlate = load_scipy().ndimage.correlate
    half = _WINDOW // 2
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) / _WINDOW_SIGMA) ** 2)
    window = np.outer(profile, profile)
    window = (window / window.sum()).astype(np.float32).astype(np.float64)

    def local_mean(values: Array) -> Array:
        return np.asarray(correlate(values, window, mode="nearest"))

    mean = local_mean(plane)
    deviation = np.sqrt(np.abs(local_mean(plane**2) - mean**2))
    return np.asarray((plane - mean) / (deviation + 1))


def _blocks(plane: Array, side: int) -> Array:
    """Cut a plane into blocks (count, side, side), row by row."""
    rows, columns = (length // side for length in plane.shape)
    return plane.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _block_features(blocks: Array) -> Array:
    """Return 18 features of each block (count, side, side); neighbours wrap around at edges."""
    gamma = load_scipy().special.gamma
    with np.errstate(divide="ignore", invalid="ignore"):  # blocks without contrast
        shape, left, right = _fit(blocks)
        features = [shape, (left + right) / 2]
        for shift in _SHIFTS:
            shape, left, right = _fit(blocks * np.roll(blocks, shift, axis=(1, 2)))
            mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)
            features += [shape, mean, left, right]
    return np.stack(features, axis=1)


def _fit(blocks: Array) -> tuple[Array, Array, Array]:
    """Fit an asymmetric generalised Gaussian to each block by its moments (Lasmar et al., 2009).

    Returns:
        The shape alpha, from 0.2 to 10 in steps of 0.001, and the scales beta to the left and to
        the right of 0; each (count,).
    """
    gamma, gammaln = load_scipy().special.gamma, load_scipy().special.gammaln
    alphas = 0.2 + 0.001 * np.arange(9801)
    ratios = np.exp(2 * gammaln(2 / alphas) - gammaln(1 / alphas) - gammaln(3 / alphas))
    values = blocks.reshape(len(blocks), -1)
    left, right = (
        np.sqrt(np.sum(np.where(side, values, 0) ** 2, axis=1) / np.count_nonzero(side, axis=1))
        for side in (values < 0, values > 0)
    )
    skew = left / right
    flatness = np.abs(values).mean(axis=1) ** 2 / np.square(values).mean(axis=1)
    wanted = flatness * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    # Ratios grow with alpha, so the nearest one is one of the two around `wanted`.
    after = np.clip(np.searchsorted(ratios, wanted), 1, len(ratios) - 1)
    nearer = wanted - ratios[after - 1] < ratios[after] - wanted
    shape = alphas[after - nearer]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    finite = np.isfinite(wanted)
    return np.where(finite, shape, np.nan), left * scale, right * scale
