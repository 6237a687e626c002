"""Image in, restored image out, whatever the size."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import BundleError, ImageError
from elir_edge.runtime.backends import Backend, open_backend
from elir_edge.runtime.bundle import Bundle
from elir_edge.runtime.images import (
    Picture,
    check_format,
    float_as,
    from_pillow,
    read_picture,
    region_as_float,
    to_pillow,
    write_picture,
)
from elir_edge.runtime.manifest import TensorSpec
from elir_edge.runtime.tensorrt.engine import RUNTIME, require_fitting
from elir_edge.runtime.tiling import blend_tiles, plan_axis

FloatImage = NDArray[np.float32]
Progress = Callable[[int, int], None]

_FILTERS = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}
_CHANNELS = ((), (1,), (3,), (4,))
"""Lengths of an image's last axis, where it has one for channels."""
_NEAR_SQUARE = 1.25
_FILTER_REACH = 4
"""Input pixels around a region that its enlargement may depend on."""
MAX_OUTPUT_PIXELS = 1 << 29


class Restorer:
    """A bundle, loaded, that restores images.

    Args:
        bundle: folder made by `make export`, or one already opened.
        threads: CPU threads of the runtime; None: its default.
        seed: of the noise, for bundles that take it as an input.
        runtime: by name, one of those that the bundle was checked in; None: its default.
        backend: what runs the bundle; None: the runtime.
        whole: take pictures that are far from square also where the model is for aligned faces
            (`bfr`): the whole picture is squeezed into one square, in which no face is as the
            model knows them.

    Raises:
        UsageError: the bundle was not checked in this runtime.
        BundleError: the bundle is incomplete or malformed.
        BackendError: its runtime is missing or refuses it.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        threads: int | None = None,
        seed: int = 0,
        runtime: str | None = None,
        backend: Backend | None = None,
        whole: bool = False,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self._options = {"threads": threads, "seed": seed, "runtime": runtime, "backend": backend}
        self._options["whole"] = whole
        self._whole = whole
        manifest = self.bundle.manifest
        chosen = runtime or manifest.target.backend
        if backend is None and chosen == RUNTIME:
            require_fitting(self.bundle)
        self._backend = backend or open_backend(chosen, self.bundle.artifact_for(chosen), threads)
        self._image = _only(manifest.inputs, "image")
        self._output = _only(manifest.outputs, "image")
        self._noise = next((spec for spec in manifest.inputs if spec.role == "noise"), None)
        self._seed = seed
        self._processing = manifest.processing
        self._sigma_s = manifest.identity.sigma_s
        overlap, tiled = self._processing.overlap, self._processing.fit == "tile"
        if self.upscale < 1 or (tiled and not 0 <= overlap <= self.size - 2 * self.upscale):
            raise BundleError(
                f"the manifest of {self.bundle.folder} asks for tiles that cannot be laid",
                got=f"upscale {self.upscale}, overlap {overlap}",
                expected=f"overlap at most {self.size - 2 * self.upscale}",
                fix="export again with a larger size",
            )

    @property
    def size(self) -> int:
        """Side of the graph's square input, in pixels."""
        return self._image.shape[_axis(self._image, "H")]

    @property
    def upscale(self) -> int:
        """Output pixels per input pixel, along each axis."""
        return self._processing.upscale

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""
        return self._backend.version

    def run(self, image: FloatImage, *, noise_key: int = 0) -> FloatImage:
        """Run the graph once: (size, size, 3) in [0, 1] to the same, no resizing.

        `noise_key` picks the draw where the noise is an input.
        """
        inputs = {self._image.name: _to_tensor(image, self._image)}
        if self._noise is not None:
            rng = np.random.default_rng([self._seed, noise_key])
            draw = rng.standard_normal(self._noise.shape, dtype=np.float32)
            inputs[self._noise.name] = draw * np.float32(self._sigma_s)
        outputs = self._backend.run(inputs)
        if self._output.name not in outputs:
            raise BundleError(
                f"the artifact has no output {self._output.name}", got=", ".join(outputs)
            )
        return _from_tensor(outputs[self._output.name], self._output)

    def __reduce__(self) -> tuple[Callable[..., "Restorer"], tuple[Bundle, dict[str, Any]]]:
        """Pickle what it was made from: another process loads the bundle anew."""
        return _load_again, (self.bundle, self._options)

    @overload
    def restore(self, image: NDArray[Any], *, progress: Progress | None = None) -> NDArray[Any]: ...
    @overload
    def restore(self, image: Image.Image, *, progress: Progress | None = None) -> Image.Image: ...
    def restore(
        self, image: NDArray[Any] | Image.Image, *, progress: Progress | None = None
    ) -> NDArray[Any] | Image.Image:
        """Restore an image of any size, or a batch of them.

        Args:
            image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), RGB with transparency last; or images
                of these last three forms stacked, (B, H, W, C); uint8, uint16, or floats in [0, 1].
                Or Pillow's image, whose orientation tag is applied.
            progress: called with (tiles done, tiles in all), for each image of a batch anew.

        Returns:
            The restored image: same kind, dtype and channels, `upscale` times as large.
            Transparency is enlarged along. A Pillow image is of mode L, LA, RGB, RGBA or I;16.

        Raises:
            ImageError: no such image, or the result would be too large.
        """
        if isinstance(image, Image.Image):
            return to_pillow(self.restore_picture(from_pillow(image), progress=progress))
        _check_array(image, self.upscale)
        if image.ndim == 4:
            return np.stack([self.restore(each, progress=progress) for each in image])
        if image.ndim == 3 and image.shape[2] == 1:
            return self.restore(image[..., 0], progress=progress)[..., None]
        if image.ndim == 3 and image.shape[2] == 4:
            colours = self.restore(image[..., :3], progress=progress)
            return np.concatenate([colours, self._enlarged_alpha(image[..., 3])[..., None]], axis=2)
        if self._processing.fit == "resize":
            return self._restore_whole(image, progress)
        return self._restore_tiles(image, progress)

    def _enlarged_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        if self.upscale == 1:
            return alpha
        height, width = (side * self.upscale for side in alpha.shape)
        if alpha.dtype == np.uint8:
            enlarged = Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC)
            return np.asarray(enlarged)
        resized = _resize(region_as_float(alpha), height, width, "bicubic")
        return float_as(resized, alpha.dtype, gray=True)

    def restore_picture(self, picture: Picture, *, progress: Progress | None = None) -> Picture:
        """Restore a picture's colours; transparency is enlarged along, the profile kept."""
        alpha = None if picture.alpha is None else self._enlarged_alpha(picture.alpha)
        return replace(picture, pixels=self.restore(picture.pixels, progress=progress), alpha=alpha)

    def restore_file(
        self, source: str | Path, target: str | Path, *, progress: Progress | None = None
    ) -> None:
        """Restore an image file into another; a target that exists is replaced.

        Raises:
            ImageError: the source cannot be read, the target cannot be written, or both are one
                file.
        """
        source, target = Path(source), Path(target)
        if source.exists() and target.exists() and source.samefile(target):
            raise ImageError(f"{target} is the input: it would be written over")
        picture = read_picture(source)
        check_format(target, picture)  # before the work, not after it
        write_picture(target, self.restore_picture(picture, progress=progress))

    def _restore_tiles(self, image: NDArray[Any], progress: Progress | None) -> NDArray[Any]:
        scale = self.upscale
        tile, overlap = self.size // scale, math.ceil(self._processing.overlap / scale)
        height, width = image.shape[:2]
        padded = _pad_to(image, tile)
        rows = plan_axis(padded.shape[0], tile, overlap)
        columns = plan_axis(padded.shape[1], tile, overlap)
        total = len(rows.starts) * len(columns.starts)
        result = np.empty((height * scale, width * scale, *image.shape[2:]), dtype=image.dtype)
        done = 0

        def run_tile(top: int, left: int) -> FloatImage:
            nonlocal done
            enlarged = self._enlarged_region(padded, top, left, tile)
            restored = self.run(enlarged, noise_key=done)
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
        """Return image[top:top+tile, left:left+tile], enlarged as if the whole image had been."""
        scale = self.upscale
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
        enlarged = _resize(region, height, width, self._processing.upscale_filter)
        y, x = before[0] * scale, before[1] * scale
        return enlarged[y : y + tile * scale, x : x + tile * scale]

    def _restore_whole(self, image: NDArray[Any], progress: Progress | None) -> NDArray[Any]:
        """Fit the longer side to the graph, fill the rest by reflection, restore, size back."""
        height, width = image.shape[:2]
        if max(height, width) > _NEAR_SQUARE * min(height, width) and not self._whole:
            raise ImageError(
                f"a picture of {width} x {height} is no aligned face, which this model is for",
                expected=f"sides in a ratio of at most {_NEAR_SQUARE:g}",
                fix="crop to the face, or pass --whole (whole=True) to squeeze all of it",
            )
        factor = self.size / max(height, width)
        fitted_height = min(self.size, max(1, round(height * factor)))
        fitted_width = min(self.size, max(1, round(width * factor)))
        fitted = _resize(region_as_float(image), fitted_height, fitted_width, "bicubic")
        restored = self.run(_pad_to(fitted, self.size))[:fitted_height, :fitted_width]
        if progress is not None:
            progress(1, 1)
        sized = _resize(restored, height * self.upscale, width * self.upscale, "bicubic")
        return float_as(sized, image.dtype, gray=image.ndim == 2)


def _load_again(bundle: Bundle, options: dict[str, Any]) -> Restorer:
    return Restorer(bundle, **options)


def _check_array(image: NDArray[Any], upscale: int) -> None:
    if not isinstance(image, np.ndarray):
        raise ImageError(
            "what was to be restored is no image",
            got=type(image).__name__,
            expected="a numpy array or Pillow's image",
            fix="for a file, call restore_file",
        )
    if image.ndim not in (2, 3, 4) or image.shape[2:][-1:] not in _CHANNELS or 0 in image.shape:
        raise ImageError(
            "an array of another shape was to be restored",
            got=str(image.shape),
            expected="(H, W), (H, W, 1), (H, W, 3), (H, W, 4) or (B, H, W, C)",
            fix="bring the channels last" if image.ndim > 2 and 3 in image.shape[-3:-2] else None,
        )
    floats = np.issubdtype(image.dtype, np.floating)
    if not floats and image.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            "an array of another type was to be restored",
            got=str(image.dtype),
            expected="uint8, uint16, or floats in [0, 1]",
        )
    rows_at = 1 if image.ndim == 4 else 0
    height, width = (side * upscale for side in image.shape[rows_at : rows_at + 2])
    if height * width > MAX_OUTPUT_PIXELS:
        raise ImageError(
            f"the result would have {height * width / 1e6:.0f} megapixels",
            expected=f"at most {MAX_OUTPUT_PIXELS / 1e6:.0f}",
            fix="restore parts of the image",
        )
    if not floats:
        return
    low, high = float(image.min()), float(image.max())
    if not np.isfinite([low, high]).all():
        raise ImageError("the array to be restored holds values that are not finite")
    if low < 0 or high > 1:
        raise ImageError(
            "the array to be restored holds floats outside the range",
            got=f"{low:g} to {high:g}",
            expected="0 to 1",
            fix="divide by 255, or pass uint8" if high > 1.5 else "clip them",
        )


def _only(specs: tuple[TensorSpec, ...], role: str) -> TensorSpec:
    found = [spec for spec in specs if spec.role == role]
    if len(found) != 1:
        raise BundleError(f"the manifest names {len(found)} tensors for the {role}", expected="1")
    return found[0]


def _axis(spec: TensorSpec, letter: str) -> int:
    if letter not in spec.layout or len(spec.layout) != len(spec.shape):
        raise BundleError(f"tensor {spec.name} has layout {spec.layout!r} for shape {spec.shape}")
    return spec.layout.index(letter)


def _to_tensor(image: FloatImage, spec: TensorSpec) -> NDArray[Any]:
    """Bring (H, W, 3) in [0, 1] to the artifact's layout, range and dtype."""
    values = image * np.float32(spec.high - spec.low) + np.float32(spec.low)
    dtype = np.dtype(spec.dtype)
    if np.issubdtype(dtype, np.integer):
        values = np.rint(values)
    batch = np.broadcast_to(values, (spec.shape[_axis(spec, "N")], *values.shape))
    ordered = batch.transpose(["NHWC".index(letter) for letter in spec.layout])
    return np.ascontiguousarray(ordered, dtype=dtype)


def _from_tensor(tensor: NDArray[Any], spec: TensorSpec) -> FloatImage:
    """Bring the artifact's first image back to (H, W, 3) in [0, 1].

    Raises:
        BundleError: the shape is not the manifest's, or values are not finite.
    """
    if tensor.shape != spec.shape or not np.isfinite(tensor).all():
        raise BundleError(
            f"the artifact's output {spec.name} is unusable",
            got=f"shape {tensor.shape}, finite: {bool(np.isfinite(tensor).all())}",
            expected=f"shape {spec.shape} of finite values",
            fix="run `elir-edge verify` on the bundle",
        )
    ordered = tensor.transpose([spec.layout.index(letter) for letter in "NHWC"])[0]
    scaled = (ordered.astype(np.float32) - np.float32(spec.low)) / np.float32(spec.high - spec.low)
    image: FloatImage = np.clip(scaled, 0, 1)
    return image


def _pad_to(image: NDArray[Any], size: int) -> NDArray[Any]:
    """Extend each side to at least `size` by mirroring, at the bottom and the right."""
    padding = [(0, max(0, size - side)) for side in image.shape[:2]] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, padding, mode="symmetric") if any(p[1] for p in padding) else image


def _resize(image: FloatImage, height: int, width: int, method: str) -> FloatImage:
    channels = [
        np.asarray(Image.fromarray(image[..., c]).resize((width, height), _FILTERS[method]))
        for c in range(image.shape[2])
    ]
    resized: FloatImage = np.clip(np.stack(channels, axis=-1), 0, 1)
    return resized
