"""Restore the faces of a photo, one by one, and paste them back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ImageError, UsageError
from elir_edge.files import write_whole
from elir_edge.runtime.arrays import check_array, float_as, region_as_float
from elir_edge.runtime.closeable import Closeable
from elir_edge.runtime.faces.finder import Face, FaceFinder
from elir_edge.runtime.faces.template import SIDE, TEMPLATE, mask_at
from elir_edge.runtime.faces.warp import (
    Matrix,
    box_of,
    enlarged,
    fit_similarity,
    invert,
    scale_of,
    warp,
)
from elir_edge.runtime.fitting import TileProgress
from elir_edge.runtime.images import write_image_file
from elir_edge.runtime.inputs import Remark
from elir_edge.runtime.photo_files import FileResult, read_to_restore
from elir_edge.runtime.restore import Restorer

SMALLEST = 32
"""Side of the smallest faces that are restored, in pixels: of smaller ones too little is left, and
what the model would make up is another person's face."""
_COARSE = 0.8
"""Aligned pixels per pixel of the photo, below which detail is lost."""


class RestoresArrays(Protocol):
    """What restores an aligned face; `Restorer` does."""

    def restore(self, image: NDArray[Any]) -> NDArray[Any]:
        """Restore floats in [0, 1], (SIDE, SIDE, 3), to the same."""


class FindsFaces(Protocol):
    """What finds faces; `FaceFinder` does."""

    def find(self, image: NDArray[np.uint8]) -> tuple[Face, ...]:
        """Return the faces of (H, W, 3), RGB, the largest first."""


@dataclass(frozen=True, kw_only=True)
class FacesResult:
    """What became of a photo.

    Attributes:
        image: of the photo's type and channels, enlarged as the background was.
        faces: those that were restored, in the photo's pixels.
        skipped: faces that were found but are too small to be restored.
    """

    image: NDArray[Any]
    faces: tuple[Face, ...]
    skipped: tuple[Face, ...]


def restore_faces(
    image: NDArray[Any],
    restorer: RestoresArrays,
    finder: FindsFaces,
    *,
    background: Restorer | None = None,
    progress: TileProgress | None = None,
) -> FacesResult:
    """Restore every face of a photo, and the rest of it by another model or not at all.

    Each face is brought to the template of aligned faces by a similarity transform, restored, and
    pasted back through a soft mask. Outside the masks nothing changes, unless a background is
    given.

    Args:
        image: (H, W) or (H, W, 3), uint8, uint16 or floats in [0, 1].
        restorer: restores aligned faces (`bfr`).
        finder: finds the faces.
        background: restores the rest, and may enlarge it (`bsr`).
        progress: called with (faces done, faces in all).

    Raises:
        ImageError: no such image, or the result would be too large.
    """
    factor = 1 if background is None else background.upscale
    check_array(image, factor)
    if image.shape[2:] not in ((), (3,)):
        raise ImageError(
            "an array of another shape was to be searched for faces",
            got=str(image.shape),
            expected="(H, W) or (H, W, 3)",
            fix="pass the colours alone, one picture at a time",
        )
    found = finder.find(float_as(region_as_float(image), np.dtype(np.uint8), gray=False))
    faces = tuple(face for face in found if face.side >= SMALLEST)
    result = image.copy() if background is None else background.restore(image)
    # The largest is nearest to the camera: it comes last and lies on top.
    for done, face in enumerate(reversed(faces), 1):
        matrix = fit_similarity(face.points, TEMPLATE)
        aligned = warp(image, matrix, SIDE, SIDE)
        _paste(result, enlarged(invert(matrix), factor), restorer.restore(aligned))
        if progress is not None:
            progress(done, len(faces))
    skipped = tuple(face for face in found if face.side < SMALLEST)
    return FacesResult(image=result, faces=faces, skipped=skipped)


def _paste(image: NDArray[Any], matrix: Matrix, face: NDArray[np.float32]) -> None:
    """Blend a restored face into a picture, in its place.

    Args:
        image: (H, W) or (H, W, 3), which is changed.
        matrix: from the aligned face to the picture.
        face: (SIDE, SIDE, 3) in [0, 1].
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box_of(matrix, SIDE, SIDE)
    left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
    if left >= right or top >= bottom:
        return
    moved = np.column_stack([matrix[:, :2], matrix[:, 2] - [left, top]])
    inside = warp(face, moved, right - left, bottom - top)
    share = mask_in_picture(moved, right - left, bottom - top)[..., None]
    there = image[top:bottom, left:right]
    blended = region_as_float(there) * (1 - share) + inside * share
    pixels = float_as(blended, image.dtype, gray=image.ndim == 2)
    touched = share[..., 0] > 0
    there[touched] = pixels[touched]


def mask_in_picture(matrix: Matrix, width: int, height: int) -> NDArray[np.float32]:
    """Return how much of a face each pixel of a picture gets: (height, width), 0 to 1.

    Args:
        matrix: from the aligned face to the picture.
        width: of the picture.
        height: of the picture.
    """
    x, y = np.arange(width), np.arange(height)[:, None]
    back = invert(matrix)
    u, v = (row[0] * x + row[1] * y + row[2] for row in back)
    return mask_at(u, v)


class FaceRestorer(Closeable):
    """Restores the faces of photos, as arrays, pictures or files; closes what it was given.

    Args:
        restorer: restores aligned faces; its bundle is one of `bfr`.
        finder: finds the faces.
        background: restores the rest of a photo; None: it stays as it is.

    Raises:
        UsageError: the bundle is for whole photos.
    """

    def __init__(
        self, restorer: Restorer, finder: FaceFinder, *, background: Restorer | None = None
    ) -> None:
        if restorer.bundle.manifest.processing.fit != "resize":
            raise UsageError(
                f"a bundle of {restorer.bundle.manifest.identity.task} restores no aligned faces",
                fix="take one of bfr",
            )
        self._restorer, self._finder, self._background = restorer, finder, background

    def close(self) -> None:
        """Release the runtimes."""
        self._restorer.close()
        self._finder.close()
        if self._background is not None:
            self._background.close()

    def restore(self, image: NDArray[Any], *, progress: TileProgress | None = None) -> FacesResult:
        """Restore as `restore_faces` does."""
        return restore_faces(
            image, self._restorer, self._finder, background=self._background, progress=progress
        )

    def restore_file(
        self, source: str | Path, target: str | Path, *, progress: TileProgress | None = None
    ) -> FileResult:
        """Restore the faces of an image file, in all of its frames or pages.

        A file without faces to restore is copied byte by byte, unless a background or another
        format is asked for.

        Raises:
            ImageError: as `Restorer.restore_file`.
        """
        source, target = Path(source), Path(target)
        background = self._background
        upscale = 1 if background is None else background.upscale
        content, kept = read_to_restore(source, target, upscale=upscale)
        results = [self.restore(each.pixels, progress=progress) for each in content.pictures]
        remarks = (*_remarks(results), *kept)
        if (
            background is None
            and source.suffix.lower() == target.suffix.lower()
            and not any(result.faces for result in results)
        ):
            _copy(source, target)
            return FileResult(path=target, remarks=_remarks(results))
        restored = []
        for picture, result in zip(content.pictures, results, strict=True):
            alpha = picture.alpha
            if alpha is not None and background is not None:
                alpha = background.enlarged_alpha(alpha)
            restored.append(replace(picture, pixels=result.image, alpha=alpha))
        write_image_file(target, replace(content, pictures=tuple(restored)))
        return FileResult(path=target, remarks=remarks)


def _copy(source: Path, target: Path) -> None:
    try:
        write_whole(target, source.read_bytes())
    except OSError as error:
        raise ImageError(f"cannot write {target} ({error})") from error


def _remarks(results: Sequence[FacesResult]) -> tuple[Remark, ...]:
    """Say what of a file's pictures was not restored."""
    remarks = []
    small = sum(len(result.skipped) for result in results)
    if small:
        text = f"faces smaller than {SMALLEST} pixels are left as they are ({small})"
        remarks.append(Remark(kind="small", text=text))
    if not any(result.faces for result in results):
        text = "no face to restore was found"
        remarks.append(Remark(kind="no-face", text=text))
    large = [face for result in results for face in result.faces if _scale(face) < _COARSE]
    if large:
        text = f"faces larger than the model's {SIDE} pixels lose detail ({len(large)})"
        remarks.append(Remark(kind="size", text=text))
    return tuple(remarks)


def _scale(face: Face) -> float:
    """Return the aligned face's pixels per pixel of the photo."""
    return scale_of(fit_similarity(face.points, TEMPLATE))
