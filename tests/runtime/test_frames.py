"""Animations and files of several pages: all of them, or a refusal."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import ImageError
from elir_edge.runtime import Restorer
from elir_edge.runtime.images import (
    ImageFile,
    Picture,
    read_image_file,
    read_picture,
    write_image_file,
)

_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def _flat(colour: tuple[int, ...], shape: tuple[int, int] = (24, 32)) -> NDArray[np.uint8]:
    return np.full((*shape, 3), colour, np.uint8)


def _animation(suffix: str, folder: Path) -> Path:
    path = folder / f"in{suffix}"
    frames = tuple(
        Picture(pixels=_flat(colour), duration=duration)
        for colour, duration in zip(_COLOURS, (100.0, 200.0, 300.0), strict=True)
    )
    write_image_file(path, ImageFile(pictures=frames, loop=3))
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_animations_keep_their_frames_and_times(suffix: str, tmp_path: Path) -> None:
    """Colours within 4 steps of 255: WebP and AVIF are lossy. The twin: another frame's colour."""
    read = read_image_file(_animation(suffix, tmp_path))
    assert [picture.duration for picture in read.pictures] == [100, 200, 300]
    for picture, colour in zip(read.pictures, _COLOURS, strict=True):
        assert abs(picture.pixels.astype(int) - colour).max() <= 4
        assert abs(picture.pixels.astype(int) - _COLOURS[0][::-1]).max() <= 4 or colour[2] == 0
    if suffix != ".avif":
        assert read.loop == 3


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_every_frame_is_restored(suffix: str, tiny_bundle: Path, tmp_path: Path) -> None:
    restorer = Restorer(tiny_bundle, threads=1)
    target = tmp_path / "out.png"
    restorer.restore_file(_animation(suffix, tmp_path), target)
    source, restored = read_image_file(tmp_path / f"in{suffix}"), read_image_file(target)
    assert [picture.duration for picture in restored.pictures] == [100, 200, 300]
    for before, after in zip(source.pictures, restored.pictures, strict=True):
        assert np.array_equal(after.pixels, restorer.restore(before.pixels))
    different = [
        not np.array_equal(restored.pictures[0].pixels, p.pixels) for p in restored.pictures
    ]
    assert different == [False, True, True]


def test_pages_of_different_sizes(tiny_bundle: Path, tmp_path: Path) -> None:
    pages = (Picture(pixels=_flat((9, 9, 9))), Picture(pixels=_flat((70, 8, 9), (40, 20))))
    write_image_file(tmp_path / "in.tif", ImageFile(pictures=pages))
    restorer = Restorer(tiny_bundle, threads=1)
    restorer.restore_file(tmp_path / "in.tif", tmp_path / "out.tif")
    restored = read_image_file(tmp_path / "out.tif").pictures
    assert [picture.duration for picture in restored] == [None, None]
    for page, picture in zip(pages, restored, strict=True):
        assert np.array_equal(picture.pixels, restorer.restore(page.pixels))


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".tif"])
def test_what_holds_no_animation_refuses_it(suffix: str, tiny_bundle: Path, tmp_path: Path) -> None:
    source = _animation(".gif", tmp_path)
    with pytest.raises(ImageError, match=r"cannot hold an animation of 3 frames; .*\.gif"):
        Restorer(tiny_bundle).restore_file(source, tmp_path / f"out{suffix}")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("suffix", [".jpg", ".gif", ".png"])
def test_what_holds_no_pages_refuses_them(suffix: str, tiny_bundle: Path, tmp_path: Path) -> None:
    pages = tuple(Picture(pixels=_flat(colour)) for colour in _COLOURS)
    write_image_file(tmp_path / "in.tif", ImageFile(pictures=pages))
    with pytest.raises(ImageError, match=r"cannot hold 3 pages; fix: write to \.tiff"):
        Restorer(tiny_bundle).restore_file(tmp_path / "in.tif", tmp_path / f"out{suffix}")


def test_pages_of_sixteen_bits_are_refused(tmp_path: Path) -> None:
    pages = tuple(Picture(pixels=_flat(colour).astype(np.uint16)) for colour in _COLOURS)
    with pytest.raises(ImageError, match=r"3 pages of 16 bits; .*to its own file"):
        write_image_file(tmp_path / "a.tif", ImageFile(pictures=pages))


def test_what_phones_append_to_a_photo_is_left_out_and_said(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    photo, preview = (Image.fromarray(_flat(colour)) for colour in _COLOURS[:2])
    photo.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[preview])
    result = Restorer(tiny_bundle).restore_file(tmp_path / "in.jpg", tmp_path / "out.png")
    texts = [remark.text for remark in result.remarks if remark.kind == "file"]
    assert texts == ["1 appended images (previews, depth) are left out"]
    assert len(read_image_file(tmp_path / "out.png").pictures) == 1


def test_the_first_of_several_can_be_read_alone(tmp_path: Path) -> None:
    read = read_picture(_animation(".gif", tmp_path))
    assert abs(read.pixels.astype(int) - _COLOURS[0]).max() <= 4


def test_animations_in_sixteen_bits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elir_edge.runtime import sixteen_bits

    path = _animation(".png", tmp_path)
    monkeypatch.setattr(sixteen_bits, "is_wide", lambda image: True)
    with pytest.raises(ImageError, match="an animation in 16 bits"):
        read_image_file(path)


def test_heif_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").touch()
    with pytest.raises(ImageError, match=r"a\.heic needs pillow-heif; .*elir-edge\[heif\]"):
        read_picture(tmp_path / "a.heic")
