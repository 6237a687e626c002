"""The metadata of image files that is kept when an image is restored."""

import re
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from elir_edge.files import DECODER_ERRORS

_XMP_CHUNK = "XML:com.adobe.xmp"
_TIFF_XMP = 700
_JPEG_EXIF, _JPEG_XMP = 65527, 65504
"""Size limits in bytes: a segment of 65,533 less the signature."""
_XMP_ORIENTATION = re.compile(
    rb"\s*tiff:Orientation\s*=\s*[\"']\d[\"']|<tiff:Orientation>\s*\d\s*</tiff:Orientation>"
)
_SUB_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_STALE = (
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.IFD.Interop,  # an offset in the old file
)
_KEPT = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.Base.Rating,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)
"""Tags of the first directory; the others describe the old file's pixel layout or orientation."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Colour profile, camera data and resolution of an image; None: the file has none.

    Attributes:
        icc_profile: bytes of the colour profile.
        exif: bytes of EXIF, without orientation (pixels are upright here), sizes and thumbnail.
        xmp: bytes of the XMP packet, without the orientation.
        dpi: resolution in pixels per inch, along x and y.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_metadata(image: Image.Image) -> Metadata:
    """Return the metadata of a Pillow image as it was opened; a rotated copy lacks some of it."""
    icc = image.info.get("icc_profile")
    xmp = image.info.get("xmp", image.info.get(_XMP_CHUNK))
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    dpi = image.info.get("dpi")
    return Metadata(
        icc_profile=icc if isinstance(icc, bytes) and icc else None,
        exif=_read_exif(image)[0],
        xmp=_XMP_ORIENTATION.sub(b"", xmp) if xmp else None,
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
    )


def exif_is_damaged(image: Image.Image) -> bool:
    """Tell whether an image has EXIF data that cannot be read."""
    return _read_exif(image)[1]


def turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; if the EXIF data is damaged, do not rotate the image."""
    if exif_is_damaged(image):
        image.load()
    else:
        ImageOps.exif_transpose(image, in_place=True)


def upright_copy(image: Image.Image) -> Image.Image:
    """Return a copy with the EXIF orientation applied, as by `turn_upright`."""
    # `turn_upright` of a copy would differ: Pillow's copies lack EXIF that was set in memory.
    return image.copy() if exif_is_damaged(image) else ImageOps.exif_transpose(image)


def _read_exif(image: Image.Image) -> tuple[bytes | None, bool]:
    """Return the part of an image's EXIF data that is kept, and whether the data is damaged."""
    try:
        kept = _kept_exif(image)
    except DECODER_ERRORS:
        return None, True
    # With some kinds of damage, Pillow finds no tags and raises no error.
    return kept, bool(image.info.get("exif")) and not len(image.getexif())


def _kept_exif(image: Image.Image) -> bytes | None:
    found = image.getexif()
    kept = Image.Exif()
    for tag in _KEPT:
        if tag in found:
            kept[tag] = found[tag]
    for directory in _SUB_DIRECTORIES:
        values = {k: v for k, v in found.get_ifd(directory).items() if k not in _STALE}
        if values:
            kept.get_ifd(directory).update(values)
            kept[directory] = values
    return kept.tobytes() if len(kept) else None


def save_options(metadata: Metadata, file_format: str) -> dict[str, Any]:
    """Return the options of Pillow's `save` for the metadata that a format can hold.

    Args:
        metadata: the metadata to write.
        file_format: Pillow's name of the format; `lost_metadata` lists what it cannot hold.
    """
    options: dict[str, Any] = {}
    if metadata.icc_profile is not None:
        options["icc_profile"] = metadata.icc_profile
    if metadata.dpi is not None:
        options["dpi"] = metadata.dpi
    left_out = _too_long(metadata, file_format)
    if metadata.exif is not None and "exif" not in left_out:
        options["exif"] = metadata.exif
    if metadata.xmp is None or "xmp" in left_out:
        return options
    if file_format == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt(_XMP_CHUNK, metadata.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = chunks
    elif file_format == "TIFF":
        tags = Image.Exif()
        if metadata.exif is not None:
            tags.load(metadata.exif)
        tags[_TIFF_XMP] = metadata.xmp
        options["exif"] = tags
    else:
        options["xmp"] = metadata.xmp
    return options


_UNWRITABLE = {
    "BMP": ("icc_profile", "exif", "xmp"),
    "GIF": ("icc_profile", "exif", "xmp", "dpi"),
    "WEBP": ("dpi",),
    "AVIF": ("dpi",),
    "HEIF": ("dpi",),
}
_NAMES = {
    "icc_profile": "colour profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "dpi": "resolution",
}


def lost_metadata(metadata: Metadata, file_format: str) -> list[str]:
    """Return names of the metadata that a file format, named as in Pillow, cannot hold."""
    lost = [
        _NAMES[field]
        for field in _UNWRITABLE.get(file_format, ())
        if getattr(metadata, field) is not None
    ]
    return lost + [_NAMES[field] for field in _too_long(metadata, file_format)]


def _too_long(metadata: Metadata, file_format: str) -> list[str]:
    """Return the fields that do not fit into a JPEG segment."""
    if file_format != "JPEG":
        return []
    return [
        field
        for field, most in (("exif", _JPEG_EXIF), ("xmp", _JPEG_XMP))
        if len(getattr(metadata, field) or b"") > most
    ]
