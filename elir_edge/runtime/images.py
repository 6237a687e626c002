"""Image files of the kinds people have: turned, grayscale, 16 bits, transparent."""

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
"""Most pixels along a side that a format can hold."""
_QUALITY = 95
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_STANDARD_LUMINANCE_SUM = 3688
"""Of the 64 entries of table K.1 in ITU-T T.81, the quantization at quality 50."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image: a file's only one, a frame of an animation, or a page.

    Attributes:
        pixels: uint8 or uint16, (H, W) for grayscale or (H, W, 3) for RGB, upright.
        alpha: (H, W) of the same type, or None.
        metadata: what the file says about it.
        duration: milliseconds that a frame is shown; None: no frame.
        jpeg_quality: that the file was compressed with, 1 to 100, estimated; None: no JPEG.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    duration: float | None = None
    jpeg_quality: float | None = None


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image file's content.

    Attributes:
        pictures: at least one; more in animations and files of several pages.
        loop: how often an animation is played again; 0: forever; None: not at all.
        remarks: what of the file was left out, a sentence each.
    """

    pictures: tuple[Picture, ...]
    loop: int | None = None
    remarks: tuple[str, ...] = ()


def read_picture(path: Path) -> Picture:
    """Read an image file, of several pictures the first; its EXIF rotation is applied.

    Raises:
        ImageError: missing, not an image, damaged, or larger than Pillow's safety limit.
    """
    return _read(path, limit=1).pictures[0]


def read_image_file(path: Path) -> ImageFile:
    """Read an image file with all of its frames or pages; EXIF rotations are applied.

    Raises:
        ImageError: missing, not an image, damaged, or larger than Pillow's safety limit.
    """
    return _read(path, limit=None)


def _read(path: Path, *, limit: int | None) -> ImageFile:
    if not path.is_file():
        raise ImageError(f"no image file {path}", fix="check the path")
    _know_format(path)
    try:
        with Image.open(path, formats=_readable()) as opened:
            # Phones append previews and depth maps to a JPEG: it is still one photo.
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
            f"{path} has more pixels than are read for safety",
            got=str(error),
            fix="restore parts of it",
        ) from error
    except DECODER_ERRORS as error:
        raise ImageError(f"{path} cannot be read ({error})") from error
    remarks = []
    if further:
        remarks.append(f"{further} appended images (previews, depth) are left out")
    if profiled and pictures[0].metadata.icc_profile is None:
        remarks.append("the colour profile is left out: the colours it describes became RGB")
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
        # In place: a large photo is held once, not twice.
        turn_upright(opened)
        picture = _deep_gray(_from_pillow(opened, metadata), opened)
        return replace(picture, jpeg_quality=_jpeg_quality(opened))
    picture = _deep_gray(_from_pillow(upright_copy(opened), metadata), opened)
    # Some formats tell a frame's time only once it is decoded.
    return replace(picture, duration=float(opened.info.get("duration", 0))) if animated else picture


def _deep_gray(picture: Picture, opened: Image.Image) -> Picture:
    """Return 16-bit gray as it is meant: white may be 0 in TIFF, one value transparent in PNG."""
    if picture.pixels.dtype != np.uint16:
        return picture
    pixels, key = picture.pixels, opened.info.get("transparency")
    if getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels = np.uint16(65535) - pixels
    alpha = _opaque_but(pixels == key) if isinstance(key, int) else picture.alpha
    return replace(picture, pixels=pixels, alpha=alpha)


def _with_key(values: NDArray[np.uint16], key: object) -> NDArray[np.uint16]:
    """Return RGB with transparency where PNG makes one colour transparent."""
    if not isinstance(key, tuple) or values.shape[2] != len(key):
        return values
    alpha = _opaque_but((values == np.array(key, np.uint16)).all(axis=2))
    return np.concatenate([values, alpha[..., None]], axis=2)


def _opaque_but(transparent: NDArray[np.bool_]) -> NDArray[np.uint16]:
    return np.where(transparent, np.uint16(0), np.uint16(65535))


def _readable() -> list[str]:
    """Return the names of the formats that are read: content decides, but among these alone."""
    Image.init()
    return [name for name in dict.fromkeys(_FORMATS.values()) if name in Image.OPEN]


def _know_format(path: Path) -> None:
    """Let Pillow know HEIF, which it does not by itself.

    Raises:
        ImageError: the package is missing.
    """
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format == "AVIF" and not features.check("avif"):
        raise ImageError(f"{path.name} needs a Pillow that has AVIF", fix="install Pillow's wheel")
    if file_format != "HEIF":
        return
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ModuleNotFoundError as error:
        raise ImageError(
            f"{path.name} needs pillow-heif", fix="pip install 'elir-edge[heif]'"
        ) from error


def _jpeg_quality(image: Image.Image) -> float | None:
    """Return the quality by which the IJG's library scales the standard's luminance table.

    Below 20, where entries are cut off at 255, the estimate is up to 5 too high.
    """
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    scale: float = 100 * sum(tables[0]) / _STANDARD_LUMINANCE_SUM
    return max(1.0, 5000 / scale if scale > 100 else (200 - scale) / 2)


def from_pillow(image: Image.Image) -> Picture:
    """Return the content of Pillow's image, upright; the image itself is left as it is.

    Raises:
        ImageError: its pixels are floats, which have no agreed range.
    """
    try:
        picture = _from_pillow(upright_copy(image), read_metadata(image))
        return replace(picture, jpeg_quality=_jpeg_quality(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"an image of mode {image.mode} cannot be restored ({error})") from error


def to_pillow(picture: Picture) -> Image.Image:
    """Return Pillow's image of a picture: mode L, LA, RGB, RGBA or I;16, its profile kept.

    Raises:
        ImageError: Pillow has no such images (16 bits in colour or with transparency).
    """
    if picture.pixels.dtype == np.uint16 and _channels(picture) > 1:
        raise ImageError("Pillow has no images of 16 bits but gray ones", fix="pass an array")
    image = Image.fromarray(np.ascontiguousarray(picture.pixels))
    if picture.alpha is not None:
        image = image.convert("RGB" if picture.pixels.ndim == 3 else "L")
        image.putalpha(Image.fromarray(picture.alpha))
    # Under the names by which Pillow's writers find them.
    found = save_options(picture.metadata, "JPEG")
    image.info.update(
        {name: found[name] for name in ("icc_profile", "dpi", "exif") if name in found}
    )
    return image


def _channels(picture: Picture) -> int:
    return (1 if picture.pixels.ndim == 2 else 3) + (picture.alpha is not None)


def _from_pillow(image: Image.Image, metadata: Metadata) -> Picture:
    def made(pixels: NDArray[Any], alpha: NDArray[Any] | None = None) -> Picture:
        return Picture(pixels=pixels, alpha=alpha, metadata=metadata)

    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError("whole numbers beyond 16 bits have no agreed range")
        return made(values.astype(np.uint16))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return made(np.asarray(image.convert("L")))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        gray = image.mode in ("1", "L", "LA", "La")
        pixels = np.asarray(rgba.convert("L" if gray else "RGB"))
        return made(pixels, np.asarray(rgba.getchannel("A")))
    if image.mode not in ("RGB", "P"):
        # The profile described the colours before they were converted.
        metadata = replace(metadata, icc_profile=None)
    return made(np.asarray(image.convert("RGB")))


def check_format(path: Path, content: Picture | ImageFile, *, upscale: int = 1) -> tuple[str, ...]:
    """Require that the file format named by `path` can hold pictures of this kind.

    Args:
        path: of the file to be written.
        content: what is to be restored into it.
        upscale: how many times larger it will be.

    Returns:
        What it cannot hold of the metadata and colours, a sentence each.

    Raises:
        ImageError: the format is unknown, or it lacks transparency, 16 bits or further frames.
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
    _know_format(path)
    if any(each.alpha is not None and each.alpha.dtype != each.pixels.dtype for each in pictures):
        raise ImageError("transparency is of another type than the colours")
    wide = any(picture.pixels.dtype == np.uint16 for picture in pictures)
    alpha = any(picture.alpha is not None for picture in pictures)
    if alpha and file_format in _WITHOUT_ALPHA:
        raise ImageError(f"{suffix} cannot hold transparency", fix="write to .png or .webp")
    if wide and file_format not in ("PNG", "TIFF"):
        raise ImageError(f"{suffix} cannot hold 16 bits", fix="write to .png or .tiff")
    if len(pictures) > 1 and file_format == "WEBP" and any(map(_shines_through, pictures)):
        raise ImageError(
            "Pillow's .webp cannot hold transparency in animations",
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
            fix="write each page to a file of its own" if wide else "write to .tiff",
        )
    lost = lost_metadata(first.metadata, file_format)
    if _written_here(pictures) and file_format == "TIFF" and first.metadata.exif is not None:
        lost.append("EXIF")
    sentences = [f"{', '.join(lost)} cannot be kept in {suffix}"] if lost else []
    if any(picture.metadata != first.metadata for picture in pictures):
        sentences.append("all pages get the first one's metadata")
    if file_format == "GIF":
        sentences.append("colours are reduced to 256 in .gif")
    return tuple(sentences)


def write_picture(path: Path, picture: Picture) -> None:
    """Write an image file, whole or not at all.

    Raises:
        ImageError: the format is unknown or cannot hold the picture, or the disk refuses.
    """
    write_image_file(path, ImageFile(pictures=(picture,)))


def write_image_file(path: Path, content: ImageFile) -> None:
    """Write an image file with all of its frames or pages, whole or not at all.

    Raises:
        ImageError: the format is unknown or cannot hold the pictures, or the disk refuses.
    """
    check_format(path, content)
    file_format = _FORMATS[path.suffix.lower()]
    try:
        # In memory first: Pillow's writers of some formats do not notice a full disk.
        if _written_here(content.pictures):
            encoded = _encode_wide(content.pictures[0], file_format)
        else:
            encoded = _encode(content, file_format)
        write_whole(path, encoded)
    except (OSError, ValueError, RuntimeError) as error:
        raise ImageError(f"cannot write {path} ({error})") from error


def _written_here(pictures: Sequence[Picture]) -> bool:
    """Whether Pillow has no such image."""
    return pictures[0].pixels.dtype == np.uint16 and _channels(pictures[0]) > 1


def _encode_wide(picture: Picture, file_format: str) -> bytes:
    layers = [np.atleast_3d(picture.pixels)]
    if picture.alpha is not None:
        layers.append(picture.alpha[..., None])
    encode = sixteen_bits.encode_png if file_format == "PNG" else sixteen_bits.encode_tiff
    return encode(np.concatenate(layers, axis=2), picture.metadata)


def _shines_through(picture: Picture) -> bool:
    """Tell whether a picture is not opaque: animations in WebP are read with transparency."""
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
            options["loop"] = 1  # left out, it would mean forever
    if file_format == "GIF" and any(picture.alpha is not None for picture in content.pictures):
        options["disposal"] = 2  # else what was opaque in one frame shows through the next
    encoded = io.BytesIO()
    to_pillow(first).save(encoded, file_format, **options)
    return encoded.getvalue()
