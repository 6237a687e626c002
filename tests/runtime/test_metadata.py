"""Colour profile, EXIF, XMP and resolution stay with the image."""

import functools
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from elir_edge.runtime.images import Picture, check_format, read_picture, write_picture
from elir_edge.runtime.metadata import Metadata, read_metadata

_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Make="Camera"%s/>'
    b"</rdf:RDF></x:xmpmeta>"
)
_TURNED = _XMP % b' tiff:Orientation="6"'


_COLOURS = {".gif": ("colours are reduced to 256 in .gif",)}


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.Base.Copyright] = "A. Photographer"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.DateTimeOriginal: "2020:01:02 03:04:05",
            ExifTags.Base.ExifImageWidth: 30,
        }
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({ExifTags.GPS.GPSLatitudeRef: "N"})
    return exif


@functools.cache
def _metadata() -> Metadata:
    """Made once: a profile holds the second of its making."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return Metadata(icc_profile=profile, exif=_exif().tobytes(), xmp=_TURNED, dpi=(300.0, 150.0))


def _pixels(dtype: type[np.unsignedinteger] = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (40, 30, 3))
    return values.astype(dtype)


def _tags(metadata: Metadata) -> Image.Exif:
    assert metadata.exif is not None
    tags = Image.Exif()
    tags.load(metadata.exif)
    return tags


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".heic"])
def test_a_photo_keeps_what_its_file_says(suffix: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    write_picture(first, Picture(pixels=_pixels(), metadata=_metadata()))
    read = read_picture(first)
    write_picture(second, read)
    kept = read_picture(second).metadata
    assert kept.icc_profile == _metadata().icc_profile
    assert kept.xmp is not None
    assert kept.xmp.replace(b" />", b"/>").replace(b"  ", b" ").split() == (_XMP % b"").split()
    tags = _tags(kept)
    assert tags[ExifTags.Base.Make] == "Camera"
    assert tags[ExifTags.Base.Copyright] == "A. Photographer"
    assert tags.get_ifd(ExifTags.IFD.Exif) == {
        ExifTags.Base.DateTimeOriginal: "2020:01:02 03:04:05"
    }
    assert tags.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}
    if suffix in (".png", ".jpg", ".tif"):
        assert kept.dpi == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_a_turned_photo_is_turned_once(suffix: str, tmp_path: Path) -> None:
    """Pixels come upright; neither EXIF nor XMP may turn them again."""
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    write_picture(first, Picture(pixels=_pixels(), metadata=_metadata()))
    with Image.open(first) as stored:
        assert stored.getexif().get(ExifTags.Base.Orientation) == 6 or stored.size == (40, 30)
    read = read_picture(first)
    assert read.pixels.shape == (30, 40, 3)
    write_picture(second, read)
    assert read_picture(second).pixels.shape == (30, 40, 3)
    with Image.open(second) as stored:
        assert ExifTags.Base.Orientation not in stored.getexif()
        assert b"Orientation" not in (read_metadata(stored).xmp or b"")


@pytest.mark.parametrize(
    ("suffix", "lost"),
    [
        (".bmp", "colour profile, EXIF, XMP"),
        (".gif", "colour profile, EXIF, XMP, resolution"),
        (".webp", "resolution"),
    ],
)
def test_what_a_format_cannot_keep_is_said(suffix: str, lost: str, tmp_path: Path) -> None:
    picture = Picture(pixels=_pixels(), metadata=_metadata())
    assert check_format(tmp_path / f"a{suffix}", picture) == (
        f"{lost} cannot be kept in {suffix}",
        *_COLOURS.get(suffix, ()),
    )
    plain = Picture(pixels=_pixels())
    assert check_format(tmp_path / f"a{suffix}", plain) == _COLOURS.get(suffix, ())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_keep_it_too(suffix: str, tmp_path: Path) -> None:
    picture = Picture(pixels=_pixels(np.uint16), metadata=_metadata())
    lost = check_format(tmp_path / f"a{suffix}", picture)
    write_picture(tmp_path / f"a{suffix}", picture)
    kept = read_picture(tmp_path / f"a{suffix}").metadata
    assert kept.icc_profile == _metadata().icc_profile
    assert kept.xmp == _XMP % b""
    assert kept.dpi == pytest.approx((300, 150), abs=0.02)
    if suffix == ".png":
        assert _tags(kept)[ExifTags.Base.Make] == "Camera"
        assert lost == ()
    else:
        assert lost == ("EXIF cannot be kept in .tif",)


def test_nothing_is_made_up(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", Picture(pixels=_pixels()))
    assert read_picture(tmp_path / "a.png").metadata == Metadata()


def test_a_damaged_profile_of_zero_bytes_is_none() -> None:
    image = Image.new("RGB", (2, 2))
    image.info.update(icc_profile=b"", dpi=(0, 0), xmp=b"<x/>")
    assert read_metadata(image) == Metadata(xmp=b"<x/>")
