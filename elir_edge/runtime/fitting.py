"""Fit images of any size to a graph of one fixed size."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import BundleError, ImageError
from elir_edge.runtime.arrays import FloatImage, float_as, pad_to, region_as_float, resize
from elir_edge.runtime.manifest import Processing
from elir_edge.runtime.tiling import blend_tiles, plan_axis

TileProgress = Callable[[int, int], None]
GraphRunner = Callable[[FloatImage, int], FloatImage]
"""Runs the graph on (size, size, 3) in [0, 1]; the number selects the noise sample."""

_NEAR_SQUARE = 1.25
_FILTER_REACH = 4
"""Input pixels around a region that can affect its enlargement."""


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """Fits images to the graph, by tiles or by one resize as the manifest says.

    Attributes:
        processing: the manifest's description of the fit.
        size: side of the graph's square input, in pixels.
        whole: if the fit is one resize, also accept pictures that are far from square.

    Raises:
        BundleError: the manifest asks for tiles that cannot be laid.
    """

    processing: Processing
    size: int
    whole: bool

    def __post_init__(self) -> None:
        """Check that tiles can be laid."""
        upscale, overlap = self.processing.upscale, self.processing.overlap
        widest = self.size - 2 * upscale
        tiled = self.processing.fit == "tile"
        if tiled and not 0 <= overlap <= widest:
            raise BundleError(
                "the manifest asks for tiles that cannot be laid",
                got=f"upscale {upscale}, overlap {overlap}",
                expected=f"overlap at most {widest}",
                fix="export again with a larger size",
            )

    def restore(
        self, image: NDArray[Any], run: GraphRunner, progress: TileProgress | None
    ) -> NDArray[Any]:
        """Restore an image by running the graph on its tiles, or once on the resized image.

        Args:
            image: (H, W) or (H, W, 3); uint8, uint16 or floats in [0, 1].
            run: runs the graph.
            progress: called with (finished tiles, all tiles) after each run.

        Returns:
            The image in the same format, each side `upscale` times as long.

        Raises:
            ImageError: the fit is one resize, and the image is far from square.
        """
        if self.processing.fit == "resize":
            return self._restore_whole(image, run, progress)
        return self._restore_tiles(image, run, progress)

    def _restore_tiles(
        self, image: NDArray[Any], run: GraphRunner, progress: TileProgress | None
    ) -> NDArray[Any]:
        scale = self.processing.upscale
        tile, overlap = self.size // scale, math.ceil(self.processing.overlap / scale)
        height, width = image.shape[:2]
        padded = pad_to(image, tile)
        rows = plan_axis(padded.shape[0], tile, overlap)
        columns = plan_axis(padded.shape[1], tile, overlap)
        total = len(rows.starts) * len(columns.starts)
        result = np.empty((height * scale, width * scale, *image.shape[2:]), dtype=image.dtype)
        done = 0

        def run_tile(top: int, left: int) -> FloatImage:
            nonlocal done
            enlarged = self._enlarged_region(padded, top, left, tile)
            restored = run(enlarged, done)
            done += 1
            if progress is not None:
                progress(done, total)
            return restored

        def emit(top: int, band: FloatImage) -> None:
            visible = band[: max(0, height * scale - top), : width * scale]
            pixels = float_as(visible, image.dtype, gray=image.ndim == 2)
            result[top : top + len(pixels)] = pixels

        blend_tiles(rows, columns, padded.shape[1], scale, run_tile, emit)
        return result

    def _enlarged_region(self, image: NDArray[Any], top: int, left: int, tile: int) -> FloatImage:
        """Return the part of the enlarged image that shows image[top:top+tile, left:left+tile]."""
        scale = self.processing.upscale
        if scale == 1:
            return region_as_float(image[top : top + tile, left : left + tile])
        before = (min(top, _FILTER_REACH), min(left, _FILTER_REACH))
        region = region_as_float(
            image[
                top - before[0] : top + tile + _FILTER_REACH,
                left - before[1] : left + tile + _FILTER_REACH,
            ]
        )
        height, width = (side * scale for side in region.shape[:2])
        enlarged = resize(region, height, width, self.processing.upscale_filter)
        y, x = before[0] * scale, before[1] * scale
        return enlarged[y : y + tile * scale, x : x + tile * scale]

    def _restore_whole(
        self, image: NDArray[Any], run: GraphRunner, progress: TileProgress | None
    ) -> NDArray[Any]:
        """Resize the longer side to the graph's size, pad by mirroring, restore, resize back."""
        height, width = image.shape[:2]
        if max(height, width) > _NEAR_SQUARE * min(height, width) and not self.whole:
            raise ImageError(
                f"a picture of {width} x {height} is not an aligned face, which this model needs",
                expected=f"sides in a ratio of at most {_NEAR_SQUARE:g}",
                fix="crop it to the face, or pass --whole (whole=True) to resize all of it",
            )
        factor = self.size / max(height, width)
        fitted_height = min(self.size, max(1, round(height * factor)))
        fitted_width = min(self.size, max(1, round(width * factor)))
        fitted = resize(region_as_float(image), fitted_height, fitted_width, "bicubic")
        restored = run(pad_to(fitted, self.size), 0)[:fitted_height, :fitted_width]
        if progress is not None:
            progress(1, 1)
        sized = resize(
            restored, height * self.processing.upscale, width * self.processing.upscale, "bicubic"
        )
        return float_as(sized, image.dtype, gray=image.ndim == 2)
