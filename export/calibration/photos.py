"""The degraded photos that serve to observe ranges, choose recipes and judge the gates.

These are three lists without a common photo, since a gate on a photo that determined a range or a
recipe would prove little.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elir_edge.data.datasets import list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage, resize, to_uint8
from elir_edge.errors import DataError
from export.reporting import SILENT, Report

LIGHT_MACS = 20e9
"""Models with at most this many multiply-accumulates per image are calibrated at full size."""
_LEAST_SIDE = 128
MIN_CROPS = 100
"""With fewer crops, the ranges depend on the choice of photos."""
DEFAULT_CROPS = 128
_SEARCH_CROPS, _GATE_CROPS = 12, 16
_MAX_ZOOM_OUT = 2.0
_SPLIT_EVERY = 5
_MAX_CAST = 0.2
"""Largest change of a colour channel's gain when a crop is recoloured, as a power of two."""
_OVEREXPOSED_EVERY, _GAIN = 4, np.float32(2)
"""Every fourth crop for the ranges is brightened by this factor.

White areas are rare in most photos, and turn gray if the ranges do not cover them. With the bright
crops, ONNX Runtime loses less on 100 photos in each of four tasks, in the mean (`denoising` 0.055
instead of 0.068 dB) and on the worst photo. OpenVINO loses 0.004 dB more in `inpainting`, and less
in the other three tasks.
"""

_RANGES = (
    "stereo_motorcycle",
    "hubble_deep_field",
    "moon",
    "gravel",
    "retina",
    "immunohistochemistry",
)
_SEARCH = ("camera", "coffee", "rocket", "grass")
_GATES = ("astronaut", "chelsea", "coins", "brick")
"""Both lists range from smooth to detailed photos: smooth ones lose several times more PSNR."""

PhotoLoader = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class CalibrationCrop:
    """A crop and its degraded version.

    Attributes:
        clean: the crop, (size, size, 3) in [0, 1].
        degraded: its degraded version, of the same shape; values are multiples of 1/255.
    """

    clean: FloatImage
    degraded: FloatImage


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """Crops for the calibration of one task.

    Attributes:
        ranges: crops to observe activation ranges on.
        search: crops to compare recipes on, of the same size as `ranges`.
        gates: crops to judge the final model on, of its own image size.
        source: origin of the photos.
        sha256: hash of all degraded crops of the three lists.
    """

    ranges: tuple[CalibrationCrop, ...]
    search: tuple[CalibrationCrop, ...]
    gates: tuple[CalibrationCrop, ...]
    source: str
    sha256: str


def calibration_side(size: int, macs: int) -> int:
    """Return the side of the crops that a model is calibrated on, in pixels.

    Activation ranges hardly depend on the image size. Large models are therefore calibrated on
    crops whose side is halved, once or more, but judged at their own size.

    Args:
        size: side of the images that the model is exported for, in pixels.
        macs: multiply-accumulates of the model for one such image.
    """
    side = size
    while macs > LIGHT_MACS and side % 2 == 0 and side // 2 >= _LEAST_SIDE:
        side, macs = side // 2, macs // 4
    return side


def load_calibration(
    task: str,
    size: int,
    folder: Path | None = None,
    *,
    side: int | None = None,
    crops: int = DEFAULT_CROPS,
    degradation: str | None = None,
    report: Report = SILENT,
) -> CalibrationSet:
    """Cut and degrade crops of the photos in a folder, or of scikit-image's photos.

    Of a folder's sorted photos, every fifth is for the gates and every fifth for the search. If
    there are more crops than photos, later crops of the same photo are recoloured. Some crops for
    the ranges are overexposed.

    Args:
        task: name of the task whose degradation is applied.
        size: side of the crops for the gates, in pixels.
        folder: a folder of at least five photos; None: the photos shipped with scikit-image.
        side: side of the other crops, in pixels; None: `size`.
        crops: number of crops to observe activation ranges on.
        degradation: name of one of the task's degradations; None: its default.
        report: receives the progress.

    Raises:
        DataError: there are too few photos, or a photo cannot be read.
    """
    lists = _default_photos() if folder is None else _photos_of(folder)
    counts = (crops, _SEARCH_CROPS, _GATE_CROPS)
    sides = (side or size, side or size, size)
    splits: list[tuple[CalibrationCrop, ...]] = []
    for number, (photos, count) in enumerate(zip(lists, counts, strict=True)):
        split = [
            _degraded_crop(
                task,
                sides[number],
                photos[i % len(photos)](),
                [number, i],
                degradation,
                recoloured=i >= len(photos),
                overexposed=number == 0 and i % _OVEREXPOSED_EVERY == _OVEREXPOSED_EVERY - 1,
            )
            for i in report.each("degrading photos", range(count))
        ]
        splits.append(tuple(split))
    return CalibrationSet(
        ranges=splits[0],
        search=splits[1],
        gates=splits[2],
        source="photos shipped with scikit-image" if folder is None else str(folder),
        sha256=digest_of([crop.degraded for split in splits for crop in split]),
    )


def digest_of(crops: Iterable[FloatImage]) -> str:
    """Return the SHA-256 of crops, (H, W, 3) in [0, 1], converted to uint8."""
    digest = hashlib.sha256()
    for crop in crops:
        digest.update(to_uint8(crop).tobytes())
    return digest.hexdigest()


def _photos_of(folder: Path) -> list[list[PhotoLoader]]:
    paths = list_images(folder)
    if len(paths) < _SPLIT_EVERY:
        raise DataError(
            f"{folder} has too few photos for calibration and gates",
            got=str(len(paths)),
            expected=f"at least {_SPLIT_EVERY}; {MIN_CROPS} or more are better",
        )

    def photo(path: Path) -> PhotoLoader:
        return lambda: read_rgb(path)

    gates, search = paths[::_SPLIT_EVERY], paths[1::_SPLIT_EVERY]
    used = {*gates, *search}
    ranges = [path for path in paths if path not in used]
    return [[photo(path) for path in split] for split in (ranges, search, gates)]


def _default_photos() -> list[list[PhotoLoader]]:
    from skimage import data

    def photo(name: str) -> PhotoLoader:
        return lambda: _as_rgb(getattr(data, name)())

    return [[photo(name) for name in names] for names in (_RANGES, _SEARCH, _GATES)]


def _as_rgb(image: NDArray[np.uint8] | tuple[NDArray[np.uint8], ...]) -> NDArray[np.uint8]:
    """Return the left picture of a stereo pair, and gray pictures with three equal channels."""
    picture = image[0] if isinstance(image, tuple) else image
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def _degraded_crop(
    task: str,
    size: int,
    photo: NDArray[np.uint8],
    seed: Sequence[int],
    degradation: str | None,
    *,
    recoloured: bool,
    overexposed: bool,
) -> CalibrationCrop:
    """Cut a random square of up to twice the size, resize it to the size, and degrade it."""
    rng = np.random.default_rng(seed)
    side = min(*photo.shape[:2], int(size * rng.uniform(1, _MAX_ZOOM_OUT)))
    top, left = (int(rng.integers(0, extent - side + 1)) for extent in photo.shape[:2])
    crop = to_float(photo[top : top + side, left : left + side])
    clean = crop if side == size else resize(crop, size, size, "bicubic")
    if rng.random() < 0.5:
        clean = clean[:, ::-1]
    clean = _recolour(clean, rng) if recoloured else np.ascontiguousarray(clean)
    if overexposed:
        clean = np.minimum(_GAIN * clean, np.float32(1))
    degraded = to_uint8(degrade(task, clean, rng, degradation))
    return CalibrationCrop(clean=clean, degraded=to_float(degraded))


def _recolour(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return the image with permuted colour channels and a random white balance.

    Ranges from few photos are too narrow for colours that these photos lack. With recoloured crops,
    the worst denoised photo of BSDS500 has 38 dB PSNR against float32 instead of 34. Gates without
    them would check only the colours of these photos.
    """
    gains = np.exp2(rng.uniform(-_MAX_CAST, _MAX_CAST, 3))
    return np.ascontiguousarray(np.clip(image[..., rng.permutation(3)] * gains, 0, 1), np.float32)
