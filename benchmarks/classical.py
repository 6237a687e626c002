"""Restoration without learning: pure functions from a degraded photo to a restored one.

Methods are given what a user could know about the degradation: its published strength if that is
fixed (`denoising`, `sr`), the missing pixels (`inpainting`), and nothing if the degradation is
random (`bfr`, `bsr`). `methods.py` has the parameters and their search.

Libraries come with the extra `benchmark` and are imported where they are used. The authors' library
of BM3D is free for non-commercial use only.
"""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from elir_edge.data.datasets import to_float
from elir_edge.data.degradations import degradation_name, degrade, low_resolution
from elir_edge.data.operations import FloatImage, filter2d, resize, to_uint8
from elir_edge.errors import ElirError

NOISE_DEVIATION = 89.6 / 255
"""Of `denoising`; known to its methods."""

_MISSING_SHARE = 0.9
_LIBRARIES = ("bm3d", "cv2", "skimage")


@dataclass(frozen=True, kw_only=True)
class DegradedPhoto:
    """A degraded photo, float32 (H, W, 3) in [0, 1].

    Attributes:
        image: what a network gets, as large as the clean photo.
        held: what a user would hold: smaller where the task enlarges.
        known: of `inpainting` by its default degradation, True where a pixel was kept (H, W).
    """

    image: FloatImage
    held: FloatImage
    known: NDArray[np.bool_] | None = None


def degraded_photo(
    task: str, clean: FloatImage, seed: list[int], degradation: str | None = None
) -> DegradedPhoto:
    """Degrade a photo by `np.random.default_rng(seed)`, in all forms that methods start from."""
    known = None
    if task == "inpainting" and degradation_name(task, degradation) == degradation_name(task):
        # Its first draw decides which pixels are kept.
        draw = np.random.default_rng(seed).random(clean.shape[:2], dtype=np.float32)
        known = draw >= _MISSING_SHARE
    return DegradedPhoto(
        image=degrade(task, clean, np.random.default_rng(seed), degradation),
        held=low_resolution(task, clean, np.random.default_rng(seed), degradation),
        known=known,
    )


def require_libraries() -> None:
    """Check that the extra `benchmark` is installed.

    Raises:
        ElirError: it is not.
    """
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise ElirError(
            f"the classical methods need {', '.join(missing)}",
            fix="pip install -c requirements.lock -e '.[benchmark]', or pass --no-classical",
        )


def _finish(image: NDArray[np.floating]) -> FloatImage:
    return np.clip(image, 0, 1).astype(np.float32)


def _bm3d(image: FloatImage, deviation: float) -> FloatImage:
    from bm3d import BM3DProfile, bm3d_rgb

    profile = BM3DProfile()
    # Threads would add up in another order each time.
    profile.num_threads = 1
    return _finish(bm3d_rgb(image.astype(np.float64), deviation, profile))


def _tv(image: FloatImage, weight: float) -> FloatImage:
    from skimage.restoration import denoise_tv_chambolle

    # At the default eps, strong weights stop far from the minimum.
    smooth = denoise_tv_chambolle(image, weight, eps=1e-5, max_num_iter=500, channel_axis=-1)
    return _finish(smooth)


def _non_local_means(image: FloatImage, strength: float, deviation: float) -> FloatImage:
    from skimage.restoration import denoise_nl_means

    means = denoise_nl_means(
        image, 5, 9, h=strength * deviation, sigma=deviation, fast_mode=True, channel_axis=-1
    )
    return _finish(means)


def bm3d(degraded: DegradedPhoto) -> FloatImage:
    """Block matching and 3D filtering at the true deviation."""
    return _bm3d(degraded.image, NOISE_DEVIATION)


def total_variation(degraded: DegradedPhoto, weight: float) -> FloatImage:
    """Chambolle's total variation denoising."""
    return _tv(degraded.image, weight)


def non_local_means(degraded: DegradedPhoto, strength: float) -> FloatImage:
    """Non-local means at the true deviation."""
    return _non_local_means(degraded.image, strength, NOISE_DEVIATION)


def enlarge(image: FloatImage, degraded: DegradedPhoto) -> FloatImage:
    """Enlarge bicubically to the clean photo's size."""
    return resize(image, *degraded.image.shape[:2], "bicubic")


def bicubic(degraded: DegradedPhoto) -> FloatImage:
    """The held image, enlarged."""
    return enlarge(degraded.held, degraded)


def bicubic_tv(degraded: DegradedPhoto, weight: float) -> FloatImage:
    """Enlarge, then total variation."""
    return _tv(bicubic(degraded), weight)


def tv_bicubic(degraded: DegradedPhoto, weight: float) -> FloatImage:
    """Total variation of the held image, then enlarge."""
    return enlarge(_tv(degraded.held, weight), degraded)


def _known(degraded: DegradedPhoto) -> NDArray[np.bool_]:
    if degraded.known is None:
        raise ElirError("inpainting needs to know which pixels were kept")
    return degraded.known


def telea(degraded: DegradedPhoto, radius: float) -> FloatImage:
    """Telea's fast marching from the kept pixels, on 8 bits as its library has it."""
    import cv2

    missing = (~_known(degraded)).astype(np.uint8)
    filled = cv2.inpaint(to_uint8(degraded.image), missing, radius, cv2.INPAINT_TELEA)
    return to_float(np.asarray(filled, dtype=np.uint8))


def telea_tv(degraded: DegradedPhoto, radius: float, weight: float) -> FloatImage:
    """Telea, then total variation."""
    return _tv(telea(degraded, radius), weight)


def weighted_mean(degraded: DegradedPhoto, sigma: float) -> FloatImage:
    """Mean of the kept pixels around each, weighted by a Gaussian of their distance."""
    known = _known(degraded)[..., None].astype(np.float32)
    both = np.concatenate([degraded.image * known, known], axis=2)
    blurred = _gaussian(both, sigma)
    return _finish(blurred[..., :3] / np.maximum(blurred[..., 3:], 1e-6))


def _gaussian(image: FloatImage, sigma: float) -> FloatImage:
    half = max(1, round(4 * sigma))
    axis = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    kernel = np.outer(axis, axis)
    return filter2d(image, kernel / kernel.sum())


def _estimated_deviation(image: FloatImage) -> float:
    from skimage.restoration import estimate_sigma

    return max(float(estimate_sigma(image, average_sigmas=True, channel_axis=-1)), 1e-3)


def bilateral_bicubic(degraded: DegradedPhoto, colour: float, distance: float) -> FloatImage:
    """Bilateral filter of the held image, then enlarge."""
    import cv2

    filtered = cv2.bilateralFilter(degraded.held, -1, colour, distance)
    return enlarge(_finish(np.asarray(filtered)), degraded)


def non_local_means_bicubic(degraded: DegradedPhoto, strength: float) -> FloatImage:
    """Non-local means of the held image, deviation estimated from it, then enlarge."""
    deviation = _estimated_deviation(degraded.held)
    return enlarge(_non_local_means(degraded.held, strength, deviation), degraded)


def bm3d_bicubic(degraded: DegradedPhoto, strength: float) -> FloatImage:
    """BM3D of the held image, at a multiple of the estimated deviation, then enlarge."""
    return enlarge(_bm3d(degraded.held, strength * _estimated_deviation(degraded.held)), degraded)


def unsharp_masking(degraded: DegradedPhoto, sigma: float, amount: float) -> FloatImage:
    """The network's input plus a multiple of what a blur would take from it."""
    image = degraded.image
    return _finish(image + amount * (image - _gaussian(image, sigma)))


def wiener(degraded: DegradedPhoto, sigma: float, noise: float) -> FloatImage:
    """Wiener deconvolution of a Gaussian blur, at a constant ratio of noise to signal."""
    image = degraded.image
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, height), (0, width), (0, 0)), mode="symmetric")
    # The even extension is periodic, and the Gaussian's transform is a Gaussian.
    rows, columns = np.fft.fftfreq(2 * height), np.fft.fftfreq(2 * width)
    transform = np.exp(-2 * (np.pi * sigma) ** 2 * (rows[:, None] ** 2 + columns**2))[..., None]
    spectrum = np.fft.fft2(padded, axes=(0, 1)) * transform * (1 + noise) / (transform**2 + noise)
    return _finish(np.fft.ifft2(spectrum, axes=(0, 1)).real[:height, :width])
