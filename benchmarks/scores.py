"""Scores of a restored photo against the clean one, and comparisons over many photos."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from elir_edge.data.operations import relative_sharpness
from elir_edge.errors import ParityError
from elir_edge.evaluation.perceptual import ImageScore
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
        sharpness: `relative_sharpness`; None: the clean photo is flat.
        lpips: LPIPS-squeeze to the clean photo, lower is better; None: not measured.
        niqe: NIQE, which knows no clean photo, lower is better; None: not measured.
        identity: cosine of the faces' embeddings (`ids-mobilefacenet`); None: not measured.
    """

    psnr_db: float
    ssim_y: float
    sharpness: float | None
    lpips: float | None = None
    niqe: float | None = None
    identity: float | None = None


PerPhoto = Mapping[int, Score]
"""By index in the list of photos."""


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
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


def score(
    clean: FloatImage, restored: FloatImage, metrics: Mapping[str, ImageScore] | None = None
) -> Score:
    """Compare a restored photo with the clean one, float32 (H, W, 3) in [0, 1].

    Args:
        clean: the photo.
        restored: what was made of its degraded form.
        metrics: further ones, by the names of `Score`'s fields.

    Raises:
        ParityError: other shapes, or values that are not finite.
    """
    if not np.isfinite(restored).all():
        raise ParityError("a restored photo holds values that are not finite")
    return Score(
        psnr_db=psnr(clean, restored),
        ssim_y=ssim_y(clean, restored),
        sharpness=relative_sharpness(restored, clean),
        **{name: metric(restored, clean) for name, metric in (metrics or {}).items()},
    )


def mean_score(scores: PerPhoto, photos: Iterable[int]) -> Score | None:
    """Return the mean over `photos`; None where some of them were not scored.

    A flat photo, which has no sharpness, does not count in its mean; any other value needs all.
    """
    wanted = list(photos)
    if not wanted or any(photo not in scores for photo in wanted):
        return None
    rows = [asdict(scores[photo]) for photo in wanted]
    measured = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
    means = {
        name: float(np.mean(values))
        for name, values in measured.items()
        if len(values) == len(rows) or (values and name == "sharpness")
    }
    return Score(**{"sharpness": None} | means)  # type: ignore[arg-type]  # PSNR and SSIM are never None


def compare(first: PerPhoto, second: PerPhoto) -> PairedComparison:
    """Compare on the photos that both have.

    Raises:
        ParityError: they have none in common.
    """
    shared = sorted(set(first) & set(second))
    if not shared:
        raise ParityError("restorations of different photos compared")
    gains = np.array([first[photo].psnr_db - second[photo].psnr_db for photo in shared])
    error = float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else None
    return PairedComparison(
        num_photos=len(gains),
        gain_db=float(gains.mean()),
        standard_error_db=error,
        wins=int((gains > 0).sum()),
    )
