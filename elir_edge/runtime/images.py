"""Image files of the kinds people have: turned, grayscale, 16 bits, transparent."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from elir_edge.errors import ImageError
from elir_edge.files import write_whole

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
SUFFIXES = tuple(_FORMATS)
_WITHOUT_ALPHA = (".jpg", ".jpeg", ".bmp")
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file's content.

    Attributes:
        pixels: uint8 or uint16, (H, W) for grayscale or (H, W, 3) for RGB, upright.
        alpha: uint8 (H, W), or None.
        icc_profile: the colour profile's bytes, or None.
    """

    pixels: NDArray[Any]
    alpha: NDArray[np.uint8] | None = None
    icc_profile: bytes | None = None


def read_picture(path: Path) -> Picture:
    """Read an image file; its EXIF rotation is applied.

    Raises:
        ImageError: missing, not an image, damaged, or larger than Pillow's safety limit.
    """
    if not path.is_file():
        raise ImageError(f"no image file {path}", fix="check the path")
    try:
        with Image.open(path) as opened:
            # In place: a large photo is held once, not twice.
            ImageOps.exif_transpose(opened, in_place=True)
            return _from_pillow(opened, _profile(opened))
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not an image that can be read", expected=f"one of {' '.join(SUFFIXES)}"
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be read ({error})") from error


def from_pillow(image: Image.Image) -> Picture:
    """Return the content of Pillow's image, upright; the image itself is left as it is.

    Raises:
        ImageError: its pixels are floats, which have no agreed range.
    """
    try:
        return _from_pillow(ImageOps.exif_transpose(image), _profile(image))
    except ValueError as error:
        raise ImageError(f"an image of mode {image.mode} cannot be restored ({error})") from error


def to_pillow(picture: Picture) -> Image.Image:
    """Return Pillow's image of a picture: mode L, LA, RGB, RGBA or I;16, its profile kept."""
    image = Image.fromarray(np.ascontiguousarray(picture.pixels))
    if picture.alpha is not None:
        image = image.convert("RGB" if picture.pixels.ndim == 3 else "L")
        image.putalpha(Image.fromarray(picture.alpha))
    if picture.icc_profile is not None:
        image.info["icc_profile"] = picture.icc_profile
    return image


def _profile(image: Image.Image) -> bytes | None:
    icc = image.info.get("icc_profile")
    return icc if isinstance(icc, bytes) else None


def _from_pillow(image: Image.Image, icc: bytes | None) -> Picture:
    if image.mode.startswith("I;16") or image.mode == "I":
        return Picture(
            pixels=np.clip(np.asarray(image), 0, 65535).astype(np.uint16), icc_profile=icc
        )
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return Picture(pixels=np.asarray(image.convert("L")), icc_profile=icc)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        gray = image.mode in ("1", "L", "LA", "La")
        pixels = np.asarray(rgba.convert("L" if gray else "RGB"))
        return Picture(pixels=pixels, alpha=np.asarray(rgba.getchannel("A")), icc_profile=icc)
    if image.mode == "RGB":
        return Picture(pixels=np.asarray(image), icc_profile=icc)
    # The profile described the colours before they were converted.
    return Picture(pixels=np.asarray(image.convert("RGB")))


def check_format(path: Path, picture: Picture) -> None:
    """Require that the file format named by `path` can hold a picture of this kind.

    Raises:
        ImageError: the format is unknown, or it lacks transparency or 16 bits.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ImageError(
            f"cannot write {path.name}",
            got=f"suffix {suffix!r}",
            expected=f"one of {' '.join(SUFFIXES)}",
        )
    if picture.alpha is not None and suffix in _WITHOUT_ALPHA:
        raise ImageError(f"{suffix} cannot hold transparency", fix="write to .png or .webp")
    if picture.pixels.dtype == np.uint16 and suffix not in (".png", ".tif", ".tiff"):
        raise ImageError(f"{suffix} cannot hold 16 bits", fix="write to .png or .tiff")
    if picture.pixels.dtype == np.uint16 and (
        picture.alpha is not None or picture.pixels.ndim == 3
    ):
        raise ImageError(
            "16 bits can be written for grayscale without transparency only", fix="convert to uint8"
        )


def write_picture(path: Path, picture: Picture) -> None:
    """Write an image file, whole or not at all.

    Raises:
        ImageError: the format is unknown or cannot hold the picture, or the disk refuses.
    """
    check_format(path, picture)
    suffix = path.suffix.lower()
    image = to_pillow(picture)
    options: dict[str, Any] = {"quality": 95} if suffix in (".jpg", ".jpeg", ".webp") else {}
    if picture.icc_profile is not None:
        options["icc_profile"] = picture.icc_profile
    # In memory first: Pillow's writers of some formats do not notice a full disk.
    encoded = io.BytesIO()
    try:
        image.save(encoded, _FORMATS[suffix], **options)
        write_whole(path, encoded.getvalue())
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot write {path} ({error})") from error


def region_as_float(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Return uint8, uint16 or float pixels (h, w[, 3]) as float32 RGB (h, w, 3) in [0, 1]."""
    if pixels.dtype == np.uint8:
        scaled = pixels.astype(np.float32) / np.float32(255)
    elif pixels.dtype == np.uint16:
        scaled = pixels.astype(np.float32) / np.float32(65535)
    else:
        scaled = np.clip(pixels.astype(np.float32), 0, 1)
    return np.repeat(scaled[..., None], 3, axis=-1) if scaled.ndim == 2 else scaled


def float_as(image: NDArray[np.float32], dtype: np.dtype[Any], *, gray: bool) -> NDArray[Any]:
    """Return float RGB (h, w, 3) as pixels of a dtype, as luminance (h, w) when `gray`."""
    values = np.clip(image @ _LUMA if gray else image, 0, 1)
    if dtype == np.uint8:
        return np.rint(values * 255).astype(np.uint8)
    if dtype == np.uint16:
        return np.rint(values * 65535).astype(np.uint16)
    return values.astype(dtype)
