"""Image files of the kinds people have, and files that are none."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from elir_edge.errors import ImageError
from elir_edge.runtime.arrays import float_as, region_as_float
from elir_edge.runtime.images import SUFFIXES, Picture, read_picture, write_picture


def _random(shape: tuple[int, ...], dtype: type[Any] = np.uint8) -> NDArray[Any]:
    high = int(np.iinfo(dtype).max)
    return np.random.default_rng(0).integers(0, high, shape, dtype=dtype, endpoint=True)


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _message(error: pytest.ExceptionInfo[ImageError]) -> str:
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".TIFF"])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (1, 1), (1, 1, 3), (1, 40, 3)])
def test_eight_bits_survive_a_round_trip(
    suffix: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    pixels = _random(shape)
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(pixels=pixels))
    read = read_picture(path)
    assert read.pixels.dtype == np.uint8
    assert np.array_equal(read.pixels, pixels)
    assert read.alpha is None
    # The twin: one changed pixel is not the same picture.
    changed = pixels.copy()
    changed.flat[0] ^= 1
    write_picture(path, Picture(pixels=changed))
    assert not np.array_equal(read_picture(path).pixels, pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_sixteen_bit_gray_survives_a_round_trip(suffix: str, tmp_path: Path) -> None:
    pixels = _random((9, 11), np.uint16)
    pixels[0, :3] = 0, 1, 65535
    write_picture(tmp_path / f"a{suffix}", Picture(pixels=pixels))
    read = read_picture(tmp_path / f"a{suffix}")
    assert read.pixels.dtype == np.uint16
    assert np.array_equal(read.pixels, pixels)


def test_big_endian_sixteen_bit_tiff(tmp_path: Path) -> None:
    Image.new("I;16B", (4, 3), 700).save(tmp_path / "a.tif")
    pixels = read_picture(tmp_path / "a.tif").pixels
    assert pixels.dtype == np.uint16
    assert (pixels == 700).all()


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparency_survives_a_round_trip(
    suffix: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    picture = Picture(pixels=_random(shape), alpha=_random((7, 5))[::-1].copy())
    write_picture(tmp_path / f"a{suffix}", picture)
    read = read_picture(tmp_path / f"a{suffix}")
    assert np.array_equal(read.pixels, picture.pixels)
    assert read.alpha is not None
    assert picture.alpha is not None
    assert np.array_equal(read.alpha, picture.alpha)


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    read = read_picture(tmp_path / "a.png")
    assert read.pixels.tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert read.alpha is not None
    assert read.alpha.tolist() == [[0, 255]]


def test_palette_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png")
    assert read.pixels.tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert read.alpha is None


def test_gray_with_one_transparent_value(tmp_path: Path) -> None:
    """PNG's tRNS chunk: transparency without an alpha channel."""
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(gray).save(tmp_path / "a.png", transparency=7)
    read = read_picture(tmp_path / "a.png")
    assert np.array_equal(read.pixels, gray)
    assert read.alpha is not None
    assert np.array_equal(read.alpha, np.where(gray == 7, 0, 255))


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").pixels.tolist() == [[0, 255]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    """A CMYK profile does not describe the RGB that comes out: it is dropped."""
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(
        tmp_path / "a.jpg", quality=100, icc_profile=_srgb()
    )
    read = read_picture(tmp_path / "a.jpg")
    assert read.pixels.shape == (16, 16, 3)
    # No cyan, all magenta and yellow: red. JPEG may be off by a few steps.
    assert abs(read.pixels.astype(int) - [255, 0, 0]).max() <= 4
    assert read.metadata.icc_profile is None


# Where EXIF orientation N puts the stored pixels, in numpy's words (EXIF 2.3, tag 274).
_UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", _UPRIGHT)
def test_rotation_is_applied(orientation: int, tmp_path: Path) -> None:
    stored = _random((4, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    read = read_picture(tmp_path / "a.png").pixels
    assert read.shape == ((4, 6, 3) if orientation < 5 else (6, 4, 3))
    assert np.array_equal(read, _UPRIGHT[orientation](stored))
    # Written again, it must not be turned twice.
    write_picture(tmp_path / "b.png", Picture(pixels=read))
    assert np.array_equal(read_picture(tmp_path / "b.png").pixels, read)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_stay_near(suffix: str, tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    crop = photo[:64, :80]
    write_picture(tmp_path / f"a{suffix}", Picture(pixels=crop))
    read = read_picture(tmp_path / f"a{suffix}").pixels
    # Mean error of a few steps; another crop of the same photo (the twin) is much farther.
    assert abs(read.astype(int) - crop).mean() <= 4
    assert abs(read.astype(int) - photo[64:128, 80:160]).mean() > 8


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no image file .*missing\.png") as missing:
        read_picture(tmp_path / "missing.png")
    _message(missing)
    with pytest.raises(ImageError, match="no image file") as folder:
        read_picture(tmp_path)
    _message(folder)
    (tmp_path / "text.png").write_text("this is no image\n" * 9)
    with pytest.raises(ImageError, match=r"text\.png is not an image") as text:
        read_picture(tmp_path / "text.png")
    assert ".png .jpg" in _message(text)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png is not an image"):
        read_picture(tmp_path / "empty.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_truncated_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(pixels=_random((64, 64, 3))))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=rf"a\{suffix} ") as error:
        read_picture(path)
    _message(error)


def _encoded(kind: str, mode: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(_random((12, 17, 3))).convert(mode).save(buffer, kind, exif=exif)
    return buffer.getvalue()


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([("PNG", "P"), ("PNG", "RGBA"), ("JPEG", "CMYK"), ("WEBP", "RGB")]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.floats(0, 1),
)
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, kind: tuple[str, str], changes: list[tuple[int, int]], kept: float
) -> None:
    """Whatever is wrong with a file, no other exception gets out."""
    content = bytearray(_encoded(*kind))
    content = content[: round(kept * len(content))]
    for position, value in changes:
        if position < len(content):
            content[position] = value
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(ImageError):
        assert read_picture(path).pixels.dtype == np.uint8


def test_floating_point_files_are_refused(tmp_path: Path) -> None:
    """Some hold [0, 1], some [0, 255]; a guess would make black pictures."""
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="floating-point"):
        read_picture(tmp_path / "a.tif")


_GRAY16 = np.full((4, 4), 40000, np.uint16)
_RGB = np.zeros((4, 4, 3), np.uint8)
_ALPHA = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("name", "picture", "message"),
    [
        ("a.xyz", Picture(pixels=_RGB), r"cannot write a\.xyz.*'\.xyz'.*\.png"),
        ("a", Picture(pixels=_RGB), "suffix ''"),
        ("a.jpg", Picture(pixels=_RGB, alpha=_ALPHA), r"\.jpg cannot hold transparency"),
        ("a.JPEG", Picture(pixels=_RGB, alpha=_ALPHA), r"\.jpeg cannot hold transparency"),
        ("a.bmp", Picture(pixels=_RGB, alpha=_ALPHA), r"\.bmp cannot hold transparency"),
        ("a.jpg", Picture(pixels=_GRAY16), r"\.jpg cannot hold 16 bits"),
        ("a.webp", Picture(pixels=_GRAY16), r"\.webp cannot hold 16 bits"),
        ("a.png", Picture(pixels=_GRAY16, alpha=_ALPHA), "another dtype than the colours"),
        ("a.gif", Picture(pixels=_GRAY16), r"\.gif cannot hold 16 bits"),
        (
            "a.webp",
            Picture(pixels=np.zeros((1, 17000, 3), np.uint8)),
            r"17000 pixels along.*at most 16383",
        ),
    ],
)
def test_what_cannot_be_written(name: str, picture: Picture, message: str, tmp_path: Path) -> None:
    (tmp_path / "other.png").touch()
    with pytest.raises(ImageError, match=message) as error:
        write_picture(tmp_path / name, picture)
    _message(error)
    assert [p.name for p in tmp_path.iterdir()] == ["other.png"]


def test_a_refused_picture_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    write_picture(path, Picture(pixels=_RGB))
    old = path.read_bytes()
    with pytest.raises(ImageError, match="cannot hold 17000 pixels"):
        write_picture(path, Picture(pixels=np.zeros((1, 17000, 3), np.uint8)))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_folder_s_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="cannot write"):
        write_picture(tmp_path / "file" / "a.png", Picture(pixels=_RGB))


def test_every_suffix_can_be_written(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        write_picture(tmp_path / f"new{suffix}", Picture(pixels=_RGB))
        assert read_picture(tmp_path / f"new{suffix}").pixels.shape == _RGB.shape


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_survive_the_way_through_floats(dtype: type[Any]) -> None:
    values = np.arange(int(np.iinfo(dtype).max) + 1, dtype=dtype).reshape(256, -1)
    rgb = np.stack([values] * 3, axis=-1)
    floats = region_as_float(rgb)
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (0, 1)
    assert np.array_equal(float_as(floats, np.dtype(dtype), gray=False), rgb)
    # Gray is repeated to three channels, and its luminance is itself.
    assert np.array_equal(float_as(region_as_float(values), np.dtype(dtype), gray=True), values)
    # The twin: half a step more than rounding allows is another value.
    shifted = np.clip(floats + np.float32(0.6 / np.iinfo(dtype).max), 0, 1)
    assert not np.array_equal(float_as(shifted, np.dtype(dtype), gray=False), rgb)


def test_luminance_is_that_of_bt601() -> None:
    image = np.eye(3, dtype=np.float32)[None]
    luma = float_as(image, np.dtype(np.float32), gray=True)
    assert luma.tolist() == [pytest.approx([0.299, 0.587, 0.114], abs=1e-7)]


def test_values_outside_the_range_are_clipped() -> None:
    image = np.array([[[-0.5, 0.5, 1.5]]], dtype=np.float32)
    assert float_as(image, np.dtype(np.uint8), gray=False).tolist() == [[[0, 128, 255]]]
    assert region_as_float(image).tolist() == [[[0, 0.5, 1]]]
