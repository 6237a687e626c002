"""What could be lost without a word is kept, said or refused."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms

from elir_edge.errors import ImageError
from elir_edge.runtime import Restorer
from elir_edge.runtime.images import (
    ImageFile,
    Picture,
    check_format,
    from_pillow,
    read_image_file,
    read_picture,
    write_image_file,
    write_picture,
)
from elir_edge.runtime.metadata import Metadata

_RGB = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)


def _make_transparent(path: Path, *values: int) -> None:
    """Have a PNG say that one colour of 16 bits is transparent."""
    whole = path.read_bytes()
    body = b"tRNS" + struct.pack(f">{len(values)}H", *values)
    chunk = struct.pack(">I", 2 * len(values)) + body + struct.pack(">I", zlib.crc32(body))
    at = whole.index(b"IDAT") - 4
    path.write_bytes(whole[:at] + chunk + whole[at:])


def test_sixteen_bits_in_cmyk_are_refused(tmp_path: Path) -> None:
    values = np.zeros((8, 9, 4), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="separated", planarconfig="contig")
    with pytest.raises(ImageError, match="16 bits in an order that cannot be read"):
        read_picture(tmp_path / "a.tif")


def test_one_transparent_colour_in_sixteen_bits(tmp_path: Path) -> None:
    values = np.full((4, 5, 3), 1000, np.uint16)
    values[1, 2] = (7, 65535, 300)
    write_picture(tmp_path / "a.png", Picture(pixels=values))
    _make_transparent(tmp_path / "a.png", 7, 65535, 300)
    read = read_picture(tmp_path / "a.png")
    assert np.array_equal(read.pixels, values)
    assert read.alpha is not None
    assert read.alpha[1, 2] == 0
    assert (np.delete(read.alpha.ravel(), 7) == 65535).all()


def test_whole_numbers_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 65535, np.int32)).save(tmp_path / "a.tif")
    assert (read_picture(tmp_path / "a.tif").pixels == 65535).all()
    Image.fromarray(np.full((4, 4), 65536, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="beyond 16 bits"):
        read_picture(tmp_path / "a.tif")


def test_a_profile_that_no_longer_fits_is_mentioned(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg", icc_profile=profile)
    (remark,) = read_image_file(tmp_path / "a.jpg").remarks
    assert "the colour profile is left out" in remark


def test_offsets_of_the_old_file_are_left_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update({0x9003: "2020:01:02 03:04:05", 0xA005: 88})
    Image.fromarray(_RGB).save(tmp_path / "a.jpg", exif=exif)
    read = read_picture(tmp_path / "a.jpg")
    assert read.metadata.exif is not None
    kept = Image.Exif()
    kept.load(read.metadata.exif)
    assert set(kept.get_ifd(ExifTags.IFD.Exif)) == {0x9003}


@pytest.mark.parametrize("loop", [None, 0, 2])
def test_animations_are_played_as_often(loop: int | None, tmp_path: Path) -> None:
    frames = tuple(Picture(pixels=_RGB // n, duration=40.0) for n in (1, 2, 3))
    write_image_file(tmp_path / "a.gif", ImageFile(pictures=frames, loop=loop))
    assert read_image_file(tmp_path / "a.gif").loop == loop


def test_sides_that_a_format_cannot_hold_are_refused_before_the_work(tmp_path: Path) -> None:
    wide = Picture(pixels=np.zeros((1, 5000), np.uint8))
    assert check_format(tmp_path / "a.webp", wide) == ()
    assert check_format(tmp_path / "a.webp", wide, upscale=3) == ()
    with pytest.raises(ImageError, match="20000 pixels along a side; expected at most 16383"):
        check_format(tmp_path / "a.webp", wide, upscale=4)


def test_long_xmp_is_told_and_left_out_of_jpeg(tmp_path: Path) -> None:
    picture = Picture(pixels=_RGB, metadata=Metadata(xmp=b"x" * 65505))
    assert check_format(tmp_path / "a.jpg", picture) == ("XMP cannot be kept in .jpg",)
    write_picture(tmp_path / "a.jpg", picture)
    assert read_picture(tmp_path / "a.jpg").metadata.xmp is None
    short = Picture(pixels=_RGB, metadata=Metadata(xmp=b"x" * 65504))
    assert check_format(tmp_path / "a.jpg", short) == ()
    write_picture(tmp_path / "a.jpg", short)
    assert read_picture(tmp_path / "a.jpg").metadata.xmp == b"x" * 65504


def test_pages_with_metadata_of_their_own(tmp_path: Path) -> None:
    pages = tuple(Picture(pixels=_RGB, metadata=Metadata(dpi=(d, d))) for d in (100.0, 300.0))
    lost = check_format(tmp_path / "a.tif", ImageFile(pictures=pages))
    assert lost == ("all pages get the metadata of the first",)


def test_content_decides_among_known_formats_alone(tmp_path: Path) -> None:
    Image.fromarray(_RGB).save(tmp_path / "a.png", "JPEG", quality=95)
    assert read_picture(tmp_path / "a.png").pixels.shape == _RGB.shape
    Image.fromarray(_RGB).save(tmp_path / "b.png", "PPM")
    with pytest.raises(ImageError, match=r"b\.png is not an image that can be read"):
        read_picture(tmp_path / "b.png")


def test_pillow_s_images_from_files(tiny_bundle: Path) -> None:
    encoded = io.BytesIO()
    Image.fromarray(np.repeat(_RGB, 8, axis=1)).save(encoded, "JPEG", quality=20)
    with Image.open(encoded) as opened:
        assert from_pillow(opened).jpeg_quality == pytest.approx(20, abs=2)
    encoded = io.BytesIO()
    Image.fromarray(_RGB).save(encoded, "PNG")
    cut = Image.open(io.BytesIO(encoded.getvalue()[:-60]))
    with pytest.raises(ImageError, match="cannot be restored"):
        Restorer(tiny_bundle).restore(cut)


def test_tiny_pictures_are_not_judged(tiny_bundle: Path) -> None:
    restorer = Restorer(tiny_bundle)
    assert restorer.remarks(np.zeros((31, 100, 3), np.uint8)) == ()
    assert [r.kind for r in restorer.remarks(np.zeros((32, 100, 3), np.uint8))] == ["clean"]


def test_planes_of_sixteen_bits_are_refused(tmp_path: Path) -> None:
    """Pillow takes them for 8 bits, and the picture for rubble."""
    values = np.zeros((3, 8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", planarconfig="separate")
    with pytest.raises(ImageError, match="16 bits in an order that cannot be read"):
        read_picture(tmp_path / "a.tif")


def test_sixteen_bits_of_gray_whose_zero_is_white(tmp_path: Path) -> None:
    values = np.arange(72, dtype=np.uint16).reshape(8, 9) * 900
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, 65535 - values)


def test_one_transparent_gray_in_sixteen_bits(tmp_path: Path) -> None:
    values = np.full((4, 5), 1000, np.uint16)
    values[2, 3] = 7
    Image.fromarray(values).save(tmp_path / "a.png")
    _make_transparent(tmp_path / "a.png", 7)
    read = read_picture(tmp_path / "a.png")
    assert read.alpha is not None
    assert np.array_equal(read.alpha == 0, values == 7)


def _sprites() -> ImageFile:
    """Return an animation in which a square moves over nothing."""
    frames = []
    for left in (0, 4, 8):
        alpha = np.zeros((8, 16), np.uint8)
        alpha[:, left : left + 4] = 255
        frames.append(
            Picture(pixels=np.full((8, 16, 3), 200, np.uint8), alpha=alpha, duration=50.0)
        )
    return ImageFile(pictures=tuple(frames), loop=0)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".avif"])
def test_moving_squares_leave_no_trace(suffix: str, tmp_path: Path) -> None:
    write_image_file(tmp_path / f"a{suffix}", _sprites())
    opaque = []
    for picture in read_image_file(tmp_path / f"a{suffix}").pictures:
        assert picture.alpha is not None
        opaque.append(int((picture.alpha > 127).sum()))
    assert opaque == [32, 32, 32]


def test_animations_whose_transparency_would_be_lost_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot write transparency in animated"):
        check_format(tmp_path / "a.webp", _sprites())


def test_animations_whose_transparency_is_none_are_written(tmp_path: Path) -> None:
    """Pillow reads some animations in WebP with a plane of it that is opaque throughout."""
    alpha = np.full(_RGB.shape[:2], 255, np.uint8)
    frames = tuple(Picture(pixels=_RGB // n, alpha=alpha.copy(), duration=40.0) for n in (1, 2, 3))
    assert check_format(tmp_path / "a.webp", ImageFile(pictures=frames, loop=0)) == ()
    write_image_file(tmp_path / "a.webp", ImageFile(pictures=frames, loop=0))
    assert len(read_image_file(tmp_path / "a.webp").pictures) == 3
    # The twin: a single pixel that shines through.
    assert frames[1].alpha is not None
    frames[1].alpha[0, 0] = 254
    with pytest.raises(ImageError, match="cannot write transparency in animated"):
        check_format(tmp_path / "a.webp", ImageFile(pictures=frames, loop=0))


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_animations_that_play_once_play_once(suffix: str, tmp_path: Path) -> None:
    frames = tuple(Picture(pixels=_RGB // n, duration=40.0) for n in (1, 2, 3))
    write_image_file(tmp_path / f"a{suffix}", ImageFile(pictures=frames))
    assert read_image_file(tmp_path / f"a{suffix}").loop == 1


def test_damaged_exif_is_left_out_and_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    Image.fromarray(_RGB).save(tmp_path / "a.png", exif=exif)
    whole = (tmp_path / "a.png").read_bytes()
    at = whole.index(b"eXIf")
    length = struct.unpack(">I", whole[at - 4 : at])[0]
    body = b"eXIf" + b"XX" + whole[at + 6 : at + 4 + length]
    damaged = body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(whole[:at] + damaged + whole[at + 8 + length :])
    content = read_image_file(tmp_path / "a.png")
    assert np.array_equal(content.pictures[0].pixels, _RGB)
    assert content.pictures[0].metadata.exif is None
    assert content.remarks == ("its EXIF is damaged and is left out",)


def test_long_exif_is_told_and_left_out_of_jpeg(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70_000
    picture = Picture(pixels=_RGB, metadata=Metadata(exif=exif.tobytes()))
    assert check_format(tmp_path / "a.jpg", picture) == ("EXIF cannot be kept in .jpg",)
    write_picture(tmp_path / "a.jpg", picture)
    assert read_picture(tmp_path / "a.jpg").metadata.exif is None
