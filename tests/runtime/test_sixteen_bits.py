"""Colour in 16 bits: Pillow alone would silently drop 8 of them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import ImageError
from elir_edge.runtime.images import Picture, read_picture, write_picture


def _values(channels: int) -> NDArray[np.uint16]:
    values = np.random.default_rng(channels).integers(0, 65536, (20, 31, channels))
    return values.astype(np.uint16)


def _picture(values: NDArray[np.uint16]) -> Picture:
    channels = values.shape[2]
    return Picture(
        pixels=values[..., 0] if channels == 2 else values[..., :3],
        alpha=values[..., -1] if channels in (2, 4) else None,
    )


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_every_bit_survives(channels: int, suffix: str, tmp_path: Path) -> None:
    """Equal, where a decoding by Pillow keeps the high bytes alone (the twin)."""
    picture, path = _picture(_values(channels)), tmp_path / f"a{suffix}"
    write_picture(path, picture)
    read = read_picture(path)
    expected = picture.pixels
    if suffix == ".tiff" and channels == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    assert np.array_equal(read.pixels, expected)
    if picture.alpha is None:
        assert read.alpha is None
    else:
        assert read.alpha is not None
        assert np.array_equal(read.alpha, picture.alpha)
    with Image.open(path) as opened:
        assert np.asarray(opened).dtype == np.uint8


@pytest.mark.parametrize(
    "options", [{"byteorder": ">"}, {"compression": "zlib", "predictor": True}, {"rowsperstrip": 3}]
)
def test_tiff_of_other_programs(options: dict[str, object], tmp_path: Path) -> None:
    values = _values(3)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", planarconfig="contig", **options
    )
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, values)


def test_a_turned_one_comes_upright(tmp_path: Path) -> None:
    values = _values(3)
    tifffile.imwrite(
        tmp_path / "a.tif",
        values,
        photometric="rgb",
        planarconfig="contig",
        extratags=[(274, 3, 1, 6, True)],
    )
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, np.rot90(values, -1))


def test_pages_are_read_each_by_itself(tmp_path: Path) -> None:
    from elir_edge.runtime.images import read_image_file

    pages = [_values(3), _values(3)[::-1]]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, photometric="rgb", planarconfig="contig")
    read = read_image_file(tmp_path / "a.tif").pictures
    assert [np.array_equal(r.pixels, p) for r, p in zip(read, pages, strict=True)] == [True, True]


def test_orders_that_cannot_be_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elir_edge.runtime import sixteen_bits

    write_picture(tmp_path / "a.png", _picture(_values(3)))
    monkeypatch.setattr(sixteen_bits, "_OTHER_ORDER", {})
    with pytest.raises(ImageError, match=r"16 bits in an order that cannot be read.*16-bit PNG"):
        read_picture(tmp_path / "a.png")
