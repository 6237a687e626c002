"""What an image file says about its image: kept when the image is restored."""

import re
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from elir_edge.files import DECODER_ERRORS

_XMP_CHUNK = "XML:com.adobe.xmp"
_TIFF_XMP = 700
_JPEG_EXIF, _JPEG_XMP = 65527, 65504
"""Most bytes of each: a segment of 65,533 less the signature."""
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
"""Of the first directory. Others describe how the old file's pixels lie, or how they are turned."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Colour profile, camera data and resolution of an image; None: the file has none.

    Attributes:
        icc_profile: the colour profile's bytes.
        exif: EXIF's bytes, without the orientation (pixels are upright here), sizes and thumbnail.
        xmp: the packet's bytes, without the orientation.
        dpi: pixels per inch, along x and y.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_metadata(image: Image.Image) -> Metadata:
    """Return the metadata of Pillow's image, as it was opened: a turned copy lacks some."""
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
    """Tell whether an image has EXIF that cannot be read."""
    return _read_exif(image)[1]


def turn_upright(image: Image.Image) -> None:
    """Apply the orientation in place; where EXIF is damaged, the image stays as it lies."""
    if exif_is_damaged(image):
        image.load()
    else:
        ImageOps.exif_transpose(image, in_place=True)


def upright_copy(image: Image.Image) -> Image.Image:
    """Return the image as `turn_upright` leaves it, and leave it as it is."""
    # Not a turned copy: Pillow's copies lack EXIF that was set in memory.
    return image.copy() if exif_is_damaged(image) else ImageOps.exif_transpose(image)


def _read_exif(image: Image.Image) -> tuple[bytes | None, bool]:
    """Return what is kept of an image's EXIF, and whether it is damaged."""
    try:
        kept = _kept_exif(image)
    except DECODER_ERRORS:
        return None, True
    # Of some damage Pillow says nothing and finds nothing.
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
    """Return Pillow's options that write the metadata; see `lost_metadata` for what cannot be."""
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
    """Return what of the metadata a file format of Pillow's cannot hold, in words."""
    lost = [
        _NAMES[field]
        for field in _UNWRITABLE.get(file_format, ())
        if getattr(metadata, field) is not None
    ]
    return lost + [_NAMES[field] for field in _too_long(metadata, file_format)]


def _too_long(metadata: Metadata, file_format: str) -> list[str]:
    """Return which fields do not fit into one of JPEG's segments."""
    if file_format != "JPEG":
        return []
    return [
        field
        for field, most in (("exif", _JPEG_EXIF), ("xmp", _JPEG_XMP))
        if len(getattr(metadata, field) or b"") > most
    ]
