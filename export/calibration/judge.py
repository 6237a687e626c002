"""The quality of an int8 model, against the float32 model and the ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elir_edge.data.operations import FloatImage
from elir_edge.metrics import psnr
from export.calibration.photos import CalibrationCrop
from export.calibration.timing import Feed, ModelRunner
from export.onnx_graph.to_onnx import IMAGE, NOISE, RESTORED
from export.reporting import SILENT, Report


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The quality of an int8 model over crops.

    Attributes:
        psnr_db: mean PSNR against the float32 model's images, in dB.
        worst_psnr_db: the lowest PSNR of a crop against the float32 model's image, in dB.
        lost_db: mean of float32's PSNR minus int8's, both against the ground truth, in dB.
    """

    psnr_db: float
    worst_psnr_db: float
    lost_db: float

    @classmethod
    def of(cls, near: Sequence[float], lost: Sequence[float]) -> "Quality":
        """Summarize the results of `differences`."""
        return cls(
            psnr_db=float(np.mean(near)),
            worst_psnr_db=float(np.min(near)),
            lost_db=float(np.mean(lost)),
        )

    def within(self, min_psnr_db: float, max_lost_db: float) -> bool:
        """Tell whether the worst PSNR and the loss keep their limits; NaN never does."""
        return self.worst_psnr_db >= min_psnr_db and self.lost_db <= max_lost_db


class Judge:
    """Compares models with the float32 model on fixed crops.

    Args:
        crops: the crops.
        batch: images per run of the model, which are copies of the same crop.
        noise: the noise (B, C, H/8, W/8) if it is an input, else None.
        reference: runs the float32 model.
        report: receives the progress of the float32 model's runs.
    """

    def __init__(
        self,
        crops: Sequence[CalibrationCrop],
        batch: int,
        noise: NDArray[np.float32] | None,
        reference: ModelRunner,
        *,
        report: Report = SILENT,
    ) -> None:
        self._crops = crops
        self.feeds = [feed_of(crop, batch, noise) for crop in crops]
        feeds = report.each("running the float32 graph", self.feeds)
        self._reference = [_image(reference(feed)) for feed in feeds]

    def __call__(self, run: ModelRunner, report: Report = SILENT, text: str = "gates") -> Quality:
        """Return the quality of the model that `run` runs, and report the progress."""
        images = [_image(run(feed)) for feed in report.each(text, self.feeds)]
        clean = [crop.clean for crop in self._crops]
        return Quality.of(*differences(clean, self._reference, images))


def differences(
    clean: Sequence[FloatImage], reference: Sequence[FloatImage], images: Sequence[FloatImage]
) -> tuple[list[float], list[float]]:
    """Compare int8 images with float32 images and with the ground truth.

    Args:
        clean: the ground truth, (H, W, 3) in [0, 1].
        reference: the float32 model's images, of the same shapes.
        images: the int8 model's images, of the same shapes.

    Returns:
        For each image, its PSNR against the float32 image, and the loss of PSNR against the ground
        truth, both in dB.

    Raises:
        ParityError: the shapes differ.
    """
    near = [psnr(a, b) for a, b in zip(reference, images, strict=True)]
    lost = [psnr(c, a) - psnr(c, b) for c, a, b in zip(clean, reference, images, strict=True)]
    return near, lost


def feed_of(crop: CalibrationCrop, batch: int, noise: NDArray[np.float32] | None) -> Feed:
    """Return the graph's inputs for `batch` copies of a crop, by name."""
    image = np.repeat(crop.degraded.transpose(2, 0, 1)[None], batch, axis=0)
    feed = {IMAGE: np.ascontiguousarray(image)}
    return feed if noise is None else {**feed, NOISE: noise}


def _image(outputs: Mapping[str, NDArray[np.float32]]) -> FloatImage:
    return np.ascontiguousarray(outputs[RESTORED][0].transpose(1, 2, 0))
