"""Restore images of any size with a bundle."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import BundleError, ImageError, UsageError
from elir_edge.runtime.arrays import (
    FloatImage,
    check_array,
    float_as,
    region_as_float,
    resize,
)
from elir_edge.runtime.backends import Backend, open_bundle
from elir_edge.runtime.bundle import Bundle
from elir_edge.runtime.closeable import Closeable
from elir_edge.runtime.fitting import Fitting, TileProgress
from elir_edge.runtime.images import (
    ImageFile,
    Picture,
    from_pillow,
    read_picture,
    to_pillow,
    write_image_file,
)
from elir_edge.runtime.inputs import Remark, training_remarks
from elir_edge.runtime.memory import keep_freed_memory
from elir_edge.runtime.photo_files import FileResult, read_to_restore
from elir_edge.runtime.tensors import axis_of, from_tensor, only_tensor, to_tensor

Mask = NDArray[Any] | Image.Image
"""(H, W); pixels that are not zero are missing."""


class Restorer(Closeable):
    """A loaded bundle that restores images.

    Args:
        bundle: folder made by `make export`, or an opened bundle.
        threads: CPU threads of the runtime; None: the runtime's default.
        seed: seed of the noise, for bundles that take it as an input.
        runtime: name of a runtime that the bundle was checked in; None: the bundle's default.
        backend: backend that runs the bundle; None: that of the runtime.
        whole: for models of aligned faces (`bfr`), also accept pictures that are far from square;
            the whole picture is resized to fit into one square, in which faces do not have the
            place and size that the model expects.

    Raises:
        UsageError: the bundle was not checked in this runtime.
        BundleError: the bundle is incomplete or malformed.
        BackendError: the runtime is missing or refuses the artifact.
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
        manifest = self.bundle.manifest
        chosen = runtime or manifest.target.backend
        self._backend = backend or open_bundle(self.bundle, chosen, threads)
        self._image = only_tensor(manifest.inputs, "image")
        self._output = only_tensor(manifest.outputs, "image")
        self._noise = next((spec for spec in manifest.inputs if spec.role == "noise"), None)
        self._seed = seed
        self._processing = manifest.processing
        self._sigma_s = manifest.identity.sigma_s
        self._fitting = Fitting(processing=self._processing, size=self.size, whole=whole)
        keep_freed_memory(self.size)

    @property
    def size(self) -> int:
        """Return the side of the graph's square input, in pixels."""
        return self._image.shape[axis_of(self._image, "H")]

    @property
    def upscale(self) -> int:
        """Return the number of output pixels per input pixel, along each axis."""
        return self._processing.upscale

    @property
    def runtime(self) -> str:
        """Return the name and version of the runtime."""
        return self._backend.version

    def run(self, image: FloatImage, *, noise_key: int = 0) -> FloatImage:
        """Run the graph once, without resizing.

        Args:
            image: (size, size, 3) in [0, 1].
            noise_key: selects the noise sample, for bundles that take the noise as an input.

        Returns:
            The restored image, (size, size, 3) in [0, 1].

        Raises:
            BundleError: the artifact's output is missing or unusable.
            BackendError: the artifact does not accept the inputs that the manifest describes.
        """
        inputs = {self._image.name: to_tensor(image, self._image)}
        if self._noise is not None:
            rng = np.random.default_rng([self._seed, noise_key])
            draw = rng.standard_normal(self._noise.shape, dtype=np.float32)
            inputs[self._noise.name] = draw * np.float32(self._sigma_s)
        outputs = self._backend.run(inputs)
        if self._output.name not in outputs:
            raise BundleError(
                f"the artifact has no output {self._output.name}", got=", ".join(outputs)
            )
        return from_tensor(outputs[self._output.name], self._output)

    def close(self) -> None:
        """Release the runtime; the restorer cannot be used afterwards."""
        self._backend.close()

    def __reduce__(self) -> tuple[Callable[..., "Restorer"], tuple[Bundle, dict[str, Any]]]:
        """Pickle the constructor's arguments, so that another process loads the bundle itself."""
        return _reload, (self.bundle, self._options)

    @overload
    def restore(
        self,
        image: NDArray[Any],
        *,
        mask: Mask | None = None,
        progress: TileProgress | None = None,
    ) -> NDArray[Any]: ...
    @overload
    def restore(
        self,
        image: Image.Image,
        *,
        mask: Mask | None = None,
        progress: TileProgress | None = None,
    ) -> Image.Image: ...
    def restore(
        self,
        image: NDArray[Any] | Image.Image,
        *,
        mask: Mask | None = None,
        progress: TileProgress | None = None,
    ) -> NDArray[Any] | Image.Image:
        """Restore an image of any size, or a batch of images.

        Args:
            image: an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), RGB with transparency last;
                or a batch (B, H, W, C) with C = 1, 3 or 4; uint8, uint16, or floats in [0, 1]. Or a
                Pillow image, whose orientation tag is applied.
            mask: an array (H, W) or a Pillow image; pixels that are not zero are missing. Only for
                `inpainting`, which fills the missing pixels in and does not change the others.
                Without a mask, fully transparent pixels are missing.
            progress: called with (finished tiles, all tiles), starting anew for each image of a
                batch.

        Returns:
            The restored image, of the same type, dtype and channels, each side `upscale` times as
            long. Transparency is enlarged, too; pixels that were filled in are opaque. A Pillow
            image has mode L, LA, RGB, RGBA or I;16.

        Raises:
            ImageError: the image or the mask is invalid, or the result would be too large.
            UsageError: a mask was passed, and the task is not `inpainting`.
        """
        if isinstance(image, Image.Image):
            restored = self.restore_picture(from_pillow(image), mask=mask, progress=progress)
            return to_pillow(restored)
        check_array(image, self.upscale)
        return self._restore_array(image, mask, progress)

    def _restore_array(
        self,
        image: NDArray[Any],
        mask: Mask | None,
        progress: TileProgress | None,
    ) -> NDArray[Any]:
        if image.ndim == 4:
            return np.stack([self._restore_array(each, mask, progress) for each in image])
        if image.ndim == 3 and image.shape[2] == 1:
            return self._restore_array(image[..., 0], mask, progress)[..., None]
        if image.ndim == 3 and image.shape[2] == 4:
            colours, alpha = self._restore_layers(image[..., :3], image[..., 3], mask, progress)
            return np.concatenate([colours, alpha[..., None]], axis=2)
        return self._restore_layers(image, None, mask, progress)[0]

    def _restore_layers(
        self,
        pixels: NDArray[Any],
        alpha: NDArray[Any] | None,
        mask: Mask | None,
        progress: TileProgress | None,
    ) -> tuple[NDArray[Any], Any]:
        """Restore colours (H, W[, 3]) and their transparency, (H, W) or None."""
        missing = self._missing(pixels, alpha, mask)
        if missing is None:
            restored = self._restore_colours(pixels, progress)
            return restored, None if alpha is None else self.enlarged_alpha(alpha)
        holes = missing if pixels.ndim == 2 else missing[..., None]
        filled = self._restore_colours(np.where(holes, pixels.dtype.type(0), pixels), progress)
        opaque = None
        if alpha is not None:
            opaque = np.where(missing, _full(alpha.dtype), alpha)
        return np.where(holes, filled, pixels), opaque

    def _missing(
        self,
        pixels: NDArray[Any],
        alpha: NDArray[Any] | None,
        mask: Mask | None,
    ) -> NDArray[np.bool_] | None:
        fills = self.bundle.manifest.identity.task == "inpainting"
        if mask is None:
            transparent = None if alpha is None or not fills else alpha == 0
            return None if transparent is None or not transparent.any() else transparent
        if not fills:
            raise UsageError(
                f"a mask marks missing pixels, which {self.bundle.manifest.identity.task} does not "
                "fill in",
                fix="leave out the mask, or use a bundle of inpainting",
            )
        if isinstance(mask, Image.Image):
            mask = np.asarray(mask.convert("L"))
        if not isinstance(mask, np.ndarray):
            raise ImageError(
                "the mask is not an image",
                got=type(mask).__name__,
                expected="an array (H, W) or a Pillow image",
            )
        if mask.shape != pixels.shape[:2]:
            raise ImageError(
                "the mask has another size than the photo",
                got="{1} x {0}".format(*mask.shape) if mask.ndim == 2 else str(mask.shape),
                expected="{1} x {0}".format(*pixels.shape),
            )
        return np.asarray(mask != 0)

    def _restore_colours(self, image: NDArray[Any], progress: TileProgress | None) -> NDArray[Any]:
        return self._fitting.restore(
            image, lambda part, key: self.run(part, noise_key=key), progress
        )

    def enlarged_alpha(self, alpha: NDArray[Any]) -> NDArray[Any]:
        """Enlarge transparency (H, W) to the size of the restored picture, in the same dtype."""
        if self.upscale == 1:
            return alpha
        height, width = (side * self.upscale for side in alpha.shape)
        if alpha.dtype == np.uint8:
            enlarged = Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC)
            return np.asarray(enlarged)
        resized = resize(region_as_float(alpha), height, width, "bicubic")
        return float_as(resized, alpha.dtype, gray=True)

    def restore_picture(
        self,
        picture: Picture,
        *,
        mask: Mask | None = None,
        progress: TileProgress | None = None,
    ) -> Picture:
        """Restore a picture as `restore` does, and keep its metadata.

        Raises:
            ImageError: the picture or the mask is invalid, or the result would be too large.
            UsageError: a mask was passed, and the task is not `inpainting`.
        """
        check_array(picture.pixels, self.upscale)
        pixels, alpha = self._restore_layers(picture.pixels, picture.alpha, mask, progress)
        return replace(picture, pixels=pixels, alpha=alpha)

    def restore_file(
        self,
        source: str | Path,
        target: str | Path,
        *,
        mask: str | Path | None = None,
        progress: TileProgress | None = None,
    ) -> FileResult:
        """Restore all frames or pages of an image file and write them to another file.

        Args:
            source: an image file in one of the formats of `docs/restoring.md`.
            target: the file to write; its suffix determines the format. An existing file is
                replaced.
            mask: an image of the source's size in which missing pixels are white (`inpainting`).
            progress: called with (finished tiles, all tiles), starting anew for each frame or page.

        Raises:
            ImageError: the source or the mask cannot be read, the target cannot be written or
                cannot hold the source's content, or the target is one of the inputs.
            UsageError: a mask was passed, and the task is not `inpainting`.
        """
        source, target = Path(source), Path(target)
        others = [] if mask is None else [Path(mask)]
        content, kept = read_to_restore(source, target, upscale=self.upscale, others=others)
        missing = None if mask is None else read_mask(Path(mask))
        restored = [
            self.restore_picture(each, mask=missing, progress=progress) for each in content.pictures
        ]
        write_image_file(target, replace(content, pictures=tuple(restored)))
        return FileResult(
            path=target, remarks=(*self.remarks(content, masked=mask is not None), *kept)
        )

    def remarks(
        self, image: NDArray[Any] | Image.Image | Picture | ImageFile, *, masked: bool = False
    ) -> tuple[Remark, ...]:
        """Return remarks on how an image differs from those that the model was trained to restore.

        Args:
            image: an image as for `restore`, or the content of a file.
            masked: whether a mask marks the missing pixels.

        Returns:
            The remarks; none if the bundle does not record what its model was trained on.
        """
        if isinstance(image, ImageFile):
            image = image.pictures[0]
        if isinstance(image, Image.Image):
            image = from_pillow(image)
        trained = self.bundle.manifest.source.trained_range
        if trained is None:
            return ()
        picture = image if isinstance(image, Picture) else Picture(pixels=_first_colours(image))
        side = self.size if self._processing.fit == "resize" else None
        filled = masked or (picture.alpha is not None and bool((picture.alpha == 0).any()))
        return training_remarks(picture, trained, side=side, masked=filled)


def _reload(bundle: Bundle, options: dict[str, Any]) -> Restorer:
    return Restorer(bundle, **options)


def _full(dtype: np.dtype[Any]) -> Any:
    """Return the value of full opacity."""
    return np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else dtype.type(1)


def _first_colours(image: NDArray[Any]) -> NDArray[Any]:
    """Return the colours of an array's first image: (H, W) or (H, W, 3)."""
    first = image[0] if image.ndim == 4 else image
    if first.ndim == 2:
        return first
    return first[..., 0] if first.shape[2] == 1 else first[..., :3]


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask (H, W), True where the image is at least half white.

    Raises:
        ImageError: the file cannot be read.
    """
    picture = read_picture(path)
    luminance = region_as_float(picture.pixels).mean(axis=2)
    if picture.alpha is not None:
        luminance = luminance * region_as_float(picture.alpha)[..., 0]  # transparent means black
    white: NDArray[np.bool_] = luminance >= 0.5
    return white
