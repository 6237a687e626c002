"""Read and write image files, also with 16 bits, transparency, EXIF rotation or several frames."""

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from elir_edge.errors import ImageError
from elir_edge.files import DECODER_ERRORS, write_whole
from elir_edge.runtime import sixteen_bits
from elir_edge.runtime.metadata import (
    Metadata,
    exif_is_damaged,
    lost_metadata,
    read_metadata,
    save_options,
    turn_upright,
    upright_copy,
)

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
SUFFIXES = tuple(_FORMATS)
_WITHOUT_ALPHA = ("JPEG", "BMP")
_WITH_ANIMATION = ("GIF", "WEBP", "PNG", "AVIF")
_LONGEST = {"WEBP": 16383, "JPEG": 65535, "GIF": 65535}
"""Longest side that a format allows, in pixels."""
_QUALITY = 95
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_STANDARD_LUMINANCE_SUM = 3688
"""Sum of the 64 entries of table K.1 in ITU-T T.81, the luminance quantization at quality 50."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image: the only one of a file, a frame of an animation, or a page.

    Attributes:
        pixels: uint8 or uint16, (H, W) for grayscale or (H, W, 3) for RGB, upright.
        alpha: (H, W) of the same dtype; None: opaque.
        metadata: the file's metadata.
        duration: display time of an animation's frame in milliseconds; None: not such a frame.
        jpeg_quality: estimated quality of the JPEG compression, 1 to 100; None: not a JPEG.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    duration: float | None = None
    jpeg_quality: float | None = None


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """The content of an image file.

    Attributes:
        pictures: at least one; several for animations and multi-page files.
        loop: how often an animation is repeated; 0: forever; None: never.
        remarks: one sentence for each part of the file that was left out.
    """

    pictures: tuple[Picture, ...]
    loop: int | None = None
    remarks: tuple[str, ...] = ()


def read_picture(path: Path) -> Picture:
    """Read the first picture of an image file and apply its EXIF rotation.

    Raises:
        ImageError: the file is missing, not an image, damaged, or larger than Pillow's safety
            limit.
    """
    return _read(path, limit=1).pictures[0]


def read_image_file(path: Path) -> ImageFile:
    """Read all frames or pages of an image file and apply their EXIF rotations.

    Raises:
        ImageError: the file is missing, not an image, damaged, or larger than Pillow's safety
            limit.
    """
    return _read(path, limit=None)


def _read(path: Path, *, limit: int | None) -> ImageFile:
    if not path.is_file():
        raise ImageError(f"no image file {path}", fix="check the path")
    _require_format(path)
    try:
        with Image.open(path, formats=_readable()) as opened:
            # Phones append previews and depth maps to a JPEG, which is still one photo.
            appended = opened.format == "MPO"
            frames = int(getattr(opened, "n_frames", 1))
            count = 1 if appended else frames
            pictures = [_read_frame(path, opened, i, count) for i in range(count)[:limit]]
            further = frames - 1 if appended else 0
            loop = opened.info.get("loop")
            profiled = "icc_profile" in opened.info
            damaged = exif_is_damaged(opened)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not an image that can be read", expected=f"one of {' '.join(SUFFIXES)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} has more pixels than the safety limit allows",
            got=str(error),
            fix="restore parts of it",
        ) from error
    except DECODER_ERRORS as error:
        raise ImageError(f"{path} cannot be read ({error})") from error
    remarks = []
    if further:
        remarks.append(f"{further} appended images (previews, depth) are left out")
    if profiled and pictures[0].metadata.icc_profile is None:
        remarks.append("the colour profile is left out: the colours were converted to RGB")
    if damaged:
        remarks.append("its EXIF is damaged and is left out")
    return ImageFile(
        pictures=tuple(pictures),
        loop=loop if isinstance(loop, int) else None,
        remarks=tuple(remarks),
    )


def _read_frame(path: Path, opened: Image.Image, index: int, count: int) -> Picture:
    opened.seek(index)
    wide = sixteen_bits.is_wide(opened)  # before PNG's metadata, for which Pillow decodes it
    metadata = read_metadata(opened)
    animated = opened.format != "TIFF" and count > 1
    if wide:
        if animated:
            raise ImageError(f"{path} is an animation in 16 bits, which cannot be read")
        values = _with_key(sixteen_bits.read_wide(path, index), opened.info.get("transparency"))
        channels = values.shape[2]
        return Picture(
            pixels=values[..., 0] if channels == 2 else values[..., :3],
            alpha=values[..., -1] if channels in (2, 4) else None,
            metadata=metadata,
        )
    if count == 1:
        # In place, so that a large photo is held in memory only once.
        turn_upright(opened)
        picture = _deep_gray(_from_pillow(opened, metadata), opened)
        return replace(picture, jpeg_quality=_jpeg_quality(opened))
    picture = _deep_gray(_from_pillow(upright_copy(opened), metadata), opened)
    # Some formats give a frame's duration only after the frame is decoded.
    return replace(picture, duration=float(opened.info.get("duration", 0))) if animated else picture


def _deep_gray(picture: Picture, opened: Image.Image) -> Picture:
    """Interpret 16-bit gray: 0 may mean white in TIFF, and one value may be transparent in PNG."""
    if picture.pixels.dtype != np.uint16:
        return picture
    pixels, key = picture.pixels, opened.info.get("transparency")
    if getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels = np.uint16(65535) - pixels
    alpha = _alpha_from(pixels == key) if isinstance(key, int) else picture.alpha
    return replace(picture, pixels=pixels, alpha=alpha)


def _with_key(values: NDArray[np.uint16], key: object) -> NDArray[np.uint16]:
    """Add an alpha channel to RGB if the PNG declares one colour transparent."""
    if not isinstance(key, tuple) or values.shape[2] != len(key):
        return values
    alpha = _alpha_from((values == np.array(key, np.uint16)).all(axis=2))
    return np.concatenate([values, alpha[..., None]], axis=2)


def _alpha_from(transparent: NDArray[np.bool_]) -> NDArray[np.uint16]:
    return np.where(transparent, np.uint16(0), np.uint16(65535))


def _readable() -> list[str]:
    """Return the formats that may be read; the content of a file decides among them."""
    Image.init()
    return [name for name in dict.fromkeys(_FORMATS.values()) if name in Image.OPEN]


def _require_format(path: Path) -> None:
    """Check that Pillow supports the format of a suffix, and register HEIF if it is needed.

    Raises:
        ImageError: Pillow lacks AVIF, or pillow-heif is not installed.
    """
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format == "AVIF" and not features.check("avif"):
        raise ImageError(f"{path.name} needs a Pillow with AVIF", fix="install Pillow's wheel")
    if file_format != "HEIF":
        return
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ModuleNotFoundError as error:
        raise ImageError(
            f"{path.name} needs pillow-heif", fix="pip install 'elir-edge[heif]'"
        ) from error


def _jpeg_quality(image: Image.Image) -> float | None:
    """Estimate the quality setting of IJG's library from an image's luminance table.

    The library scales the standard's table by the quality. Below 20, where entries are clipped at
    255, the estimate is up to 5 too high. None: not a JPEG.
    """
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    scale: float = 100 * sum(tables[0]) / _STANDARD_LUMINANCE_SUM
    return max(1.0, 5000 / scale if scale > 100 else (200 - scale) / 2)


def from_pillow(image: Image.Image) -> Picture:
    """Return the content of a Pillow image, upright; the image itself is not changed.

    Raises:
        ImageError: the pixels are floats or integers beyond 16 bits, which have no agreed range.
    """
    try:
        picture = _from_pillow(upright_copy(image), read_metadata(image))
        return replace(picture, jpeg_quality=_jpeg_quality(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"an image of mode {image.mode} cannot be restored ({error})") from error


def to_pillow(picture: Picture) -> Image.Image:
    """Return a picture as a Pillow image of mode L, LA, RGB, RGBA or I;16.

    Colour profile, resolution and EXIF are kept.

    Raises:
        ImageError: the picture has 16 bits and colour or transparency, which Pillow does not
            support.
    """
    if picture.pixels.dtype == np.uint16 and _channels(picture) > 1:
        raise ImageError("Pillow supports 16 bits only for gray images", fix="pass an array")
    image = Image.fromarray(np.ascontiguousarray(picture.pixels))
    if picture.alpha is not None:
        image = image.convert("RGB" if picture.pixels.ndim == 3 else "L")
        image.putalpha(Image.fromarray(picture.alpha))
    # Pillow's writers look for these names.
    found = save_options(picture.metadata, "JPEG")
    image.info.update(
        {name: found[name] for name in ("icc_profile", "dpi", "exif") if name in found}
    )
    return image


def _channels(picture: Picture) -> int:
    return (1 if picture.pixels.ndim == 2 else 3) + (picture.alpha is not None)


def _from_pillow(image: Image.Image, metadata: Metadata) -> Picture:
    def as_picture(pixels: NDArray[Any], alpha: NDArray[Any] | None = None) -> Picture:
        return Picture(pixels=pixels, alpha=alpha, metadata=metadata)

    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError("integers beyond 16 bits have no agreed range")
        return as_picture(values.astype(np.uint16))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return as_picture(np.asarray(image.convert("L")))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        gray = image.mode in ("1", "L", "LA", "La")
        pixels = np.asarray(rgba.convert("L" if gray else "RGB"))
        return as_picture(pixels, np.asarray(rgba.getchannel("A")))
    if image.mode not in ("RGB", "P"):
        # The profile described the colours before they were converted.
        metadata = replace(metadata, icc_profile=None)
    return as_picture(np.asarray(image.convert("RGB")))


def check_format(path: Path, content: Picture | ImageFile, *, upscale: int = 1) -> tuple[str, ...]:
    """Check that the format of a file that is to be written can hold the restored pictures.

    Args:
        path: the file; its suffix determines the format.
        content: the pictures before they are restored.
        upscale: factor by which the restored pictures are larger.

    Returns:
        One sentence for each part of the metadata and colours that will be lost.

    Raises:
        ImageError: the format is unknown, or it cannot hold the size, the transparency, the 16 bits
            or the number of frames or pages.
    """
    pictures = content.pictures if isinstance(content, ImageFile) else (content,)
    first, suffix = pictures[0], path.suffix.lower()
    file_format = _FORMATS.get(suffix)
    if file_format is None:
        raise ImageError(
            f"cannot write {path.name}",
            got=f"suffix {suffix!r}",
            expected=f"one of {' '.join(SUFFIXES)}",
        )
    _require_format(path)
    if any(each.alpha is not None and each.alpha.dtype != each.pixels.dtype for each in pictures):
        raise ImageError("the transparency has another dtype than the colours")
    wide = any(picture.pixels.dtype == np.uint16 for picture in pictures)
    alpha = any(picture.alpha is not None for picture in pictures)
    if alpha and file_format in _WITHOUT_ALPHA:
        raise ImageError(f"{suffix} cannot hold transparency", fix="write to .png or .webp")
    if wide and file_format not in ("PNG", "TIFF"):
        raise ImageError(f"{suffix} cannot hold 16 bits", fix="write to .png or .tiff")
    if len(pictures) > 1 and file_format == "WEBP" and any(map(_has_transparency, pictures)):
        raise ImageError(
            "Pillow cannot write transparency in animated .webp",
            fix="write to .png, .gif or .avif",
        )
    longest = upscale * max(max(picture.pixels.shape[:2]) for picture in pictures)
    if longest > _LONGEST.get(file_format, longest):
        raise ImageError(
            f"{suffix} cannot hold {longest} pixels along a side",
            expected=f"at most {_LONGEST[file_format]}",
            fix="write to .png or .tiff",
        )
    if len(pictures) > 1 and first.duration is not None and file_format not in _WITH_ANIMATION:
        raise ImageError(
            f"{suffix} cannot hold an animation of {len(pictures)} frames",
            fix="write to .gif, .webp, .png or .avif",
        )
    if len(pictures) > 1 and first.duration is None and (file_format != "TIFF" or wide):
        raise ImageError(
            f"{suffix} cannot hold {len(pictures)} pages" + (" of 16 bits" if wide else ""),
            fix="write each page to its own file" if wide else "write to .tiff",
        )
    lost = lost_metadata(first.metadata, file_format)
    if _needs_own_encoder(pictures) and file_format == "TIFF" and first.metadata.exif is not None:
        lost.append("EXIF")
    sentences = [f"{', '.join(lost)} cannot be kept in {suffix}"] if lost else []
    if any(picture.metadata != first.metadata for picture in pictures):
        sentences.append("all pages get the metadata of the first")
    if file_format == "GIF":
        sentences.append("colours are reduced to 256 in .gif")
    return tuple(sentences)


def write_picture(path: Path, picture: Picture) -> None:
    """Write one picture to an image file, atomically.

    Raises:
        ImageError: the format is unknown or cannot hold the picture, or the file cannot be written.
    """
    write_image_file(path, ImageFile(pictures=(picture,)))


def write_image_file(path: Path, content: ImageFile) -> None:
    """Write all frames or pages of an image file, atomically.

    Raises:
        ImageError: the format is unknown or cannot hold the pictures, or the file cannot be
            written.
    """
    check_format(path, content)
    file_format = _FORMATS[path.suffix.lower()]
    try:
        # Encode in memory first: some of Pillow's writers do not notice a full disk.
        if _needs_own_encoder(content.pictures):
            encoded = _encode_wide(content.pictures[0], file_format)
        else:
            encoded = _encode(content, file_format)
        write_whole(path, encoded)
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageError(f"cannot write {path} ({error})") from error


def _needs_own_encoder(pictures: Sequence[Picture]) -> bool:
    """Tell whether Pillow cannot hold the picture, because it has 16 bits and several channels."""
    return pictures[0].pixels.dtype == np.uint16 and _channels(pictures[0]) > 1


def _encode_wide(picture: Picture, file_format: str) -> bytes:
    layers = [np.atleast_3d(picture.pixels)]
    if picture.alpha is not None:
        layers.append(picture.alpha[..., None])
    encode = sixteen_bits.encode_png if file_format == "PNG" else sixteen_bits.encode_tiff
    return encode(np.concatenate(layers, axis=2), picture.metadata)


def _has_transparency(picture: Picture) -> bool:
    """Tell whether a picture is not opaque; frames of animated WebP always have alpha."""
    if picture.alpha is None:
        return False
    return bool((picture.alpha < np.iinfo(picture.alpha.dtype).max).any())


def _encode(content: ImageFile, file_format: str) -> bytes:
    pictures = content.pictures
    if file_format == "WEBP" and len(pictures) > 1:
        pictures = tuple(replace(each, alpha=None) for each in pictures)
    first, *others = pictures
    options = save_options(first.metadata, file_format)
    if file_format in ("JPEG", "WEBP", "AVIF", "HEIF"):
        options["quality"] = _QUALITY
    if others:
        options["save_all"] = True
        options["append_images"] = [to_pillow(picture) for picture in others]
    if others and first.duration is not None:
        options["duration"] = [round(picture.duration or 0) for picture in content.pictures]
        if content.loop is not None:
            options["loop"] = content.loop
        elif file_format in ("WEBP", "PNG"):
            options["loop"] = 1  # without it, the animation repeats forever
    if file_format == "GIF" and any(picture.alpha is not None for picture in content.pictures):
        options["disposal"] = 2  # otherwise a frame shows through the transparency of the next
    encoded = io.BytesIO()
    to_pillow(first).save(encoded, file_format, **options)
    return encoded.getvalue()
