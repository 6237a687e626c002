"""How near a restored photo is to the clean one, and what follows for many of them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from elir_edge.data.operations import mean_laplacian
from elir_edge.errors import ParityError
from elir_edge.metrics import psnr, ssim_y

FloatImage = NDArray[np.float32]

SSIM_NAMES = {"ssim_y": "SSIM-Y", "ssim_rgb": "SSIM-RGB"}
"""Column titles by the key in results: runs before SSIM was taken on Y hold `ssim_rgb`."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of one restored photo.

    Attributes:
        psnr_db: peak signal-to-noise ratio.
        ssim_y: structural similarity on Y, as IQA-PyTorch computes it.
        sharpness: mean absolute Laplacian, relative to the clean photo's.
    """

    psnr_db: float
    ssim_y: float
    sharpness: float


PerPhoto = Mapping[int, Score]
"""By index in the list of photos."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better one restoration is than another on the same photos, in dB of PSNR.

    Attributes:
        num_photos: how many.
        gain_db: mean difference.
        standard_error_db: of that mean, from the differences' spread; None for a single photo.
        wins: photos where the first is better.
    """

    num_photos: int
    gain_db: float
    standard_error_db: float | None
    wins: int

    def __str__(self) -> str:
        """Return a phrase."""
        error = self.standard_error_db
        spread = "" if error is None else f" ± {error:.2f}"
        return f"{self.gain_db:+.2f}{spread} dB, better on {self.wins} of {self.num_photos} photos"


def score(clean: FloatImage, restored: FloatImage) -> Score:
    """Compare a restored photo with the clean one, float32 (H, W, 3) in [0, 1].

    Raises:
        ParityError: other shapes, or values that are not finite.
    """
    if not np.isfinite(restored).all():
        raise ParityError("a restored photo holds values that are not finite")
    reference = mean_laplacian(clean)
    return Score(
        psnr_db=psnr(clean, restored),
        ssim_y=ssim_y(clean, restored),
        sharpness=mean_laplacian(restored) / reference if reference else math.inf,
    )


def mean_score(scores: PerPhoto, photos: Iterable[int]) -> Score | None:
    """Return the mean over `photos`; None where some of them were not scored."""
    wanted = list(photos)
    if not wanted or any(photo not in scores for photo in wanted):
        return None
    means = np.mean([astuple(scores[photo]) for photo in wanted], axis=0)
    return Score(psnr_db=float(means[0]), ssim_y=float(means[1]), sharpness=float(means[2]))


def compare(first: PerPhoto, second: PerPhoto) -> Comparison:
    """Compare on the photos that both have.

    Raises:
        ParityError: they have none in common.
    """
    shared = sorted(set(first) & set(second))
    if not shared:
        raise ParityError("restorations of different photos compared")
    gains = np.array([first[photo].psnr_db - second[photo].psnr_db for photo in shared])
    error = float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else None
    return Comparison(
        num_photos=len(gains),
        gain_db=float(gains.mean()),
        standard_error_db=error,
        wins=int((gains > 0).sum()),
    )
