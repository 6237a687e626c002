"""Batches of crops: reproducible, any photo size, clear about broken files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elir_edge.data.datasets import (
    Crops,
    CropSampler,
    PhotoCache,
    Share,
    View,
    centre_crop,
    list_images,
    read_rgb,
)
from elir_edge.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of three random photos, one of them small and one in a subfolder."""
    rng = np.random.default_rng(0)
    (tmp_path / "more").mkdir()
    for name, size in (("a.png", (70, 90)), ("b.jpg", (20, 33)), ("more/c.PNG", (64, 64))):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def _sampler(folder: Path, seed: int = 0, task: str | None = "denoising") -> CropSampler:
    crops = Crops(photos=PhotoCache(list_images(folder), 1 << 20), size=32)
    return CropSampler(crops, task=task, batch_size=8, seed=seed)


def test_batches_depend_on_seed_and_step_only(folder: Path) -> None:
    first = _sampler(folder)
    first(3)
    a, b = first(7), _sampler(folder)(7)
    assert np.array_equal(a.clean, b.clean)
    assert np.array_equal(a.degraded, b.degraded)
    assert not np.array_equal(a.clean, first(8).clean)
    assert not np.array_equal(a.clean, _sampler(folder, seed=1)(7).clean)


def test_shapes_and_ranges(folder: Path) -> None:
    batch = _sampler(folder)(0)
    for images in (batch.clean, batch.degraded):
        assert images.shape == (8, 3, 32, 32)
        assert images.dtype == np.float32
        assert 0 <= images.min() <= images.max() <= 1
    assert not np.array_equal(batch.clean, batch.degraded)
    clean_only = _sampler(folder, task=None)(0)
    assert np.array_equal(clean_only.clean, clean_only.degraded)


def test_listing(folder: Path, tmp_path: Path) -> None:
    assert [p.name for p in list_images(folder)] == ["a.png", "b.jpg", "c.PNG"]
    with pytest.raises(DataError, match="no folder"):
        list_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in"):
        list_images(tmp_path / "empty")


def test_broken_photo_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        read_rgb(path)


@pytest.mark.parametrize("shape", [(40, 50, 3), (10, 50, 3), (16, 16, 3), (1, 1, 3)])
def test_centre_crop_of_any_size(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert centre_crop(image, 16).shape == (16, 16, 3)
    if min(shape[:2]) >= 16:
        top, left = (shape[0] - 16) // 2, (shape[1] - 16) // 2
        assert np.array_equal(centre_crop(image, 16), image[top : top + 16, left : left + 16])


def test_small_photos_keep_their_proportions() -> None:
    """A photo of 10 x 40 is enlarged to 20 x 80 before its middle is cut: a ramp rises as much."""
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None] * 6, (10, 40, 3))
    crop = centre_crop(np.ascontiguousarray(ramp), 20)
    assert crop.shape == (20, 20, 3)
    assert int(crop[0, -1, 0]) - int(crop[0, 0, 0]) == pytest.approx(19 * 3, abs=2)
    upright = centre_crop(np.ascontiguousarray(ramp.swapaxes(0, 1)), 20)
    assert np.array_equal(upright, crop.swapaxes(0, 1))
    assert np.array_equal(centre_crop(np.ascontiguousarray(ramp), 10), ramp[:, 15:25])


def test_cache_is_bounded_and_changes_nothing(folder: Path) -> None:
    paths = list_images(folder)
    small, large = PhotoCache(paths, 70 * 90 * 3), PhotoCache(paths, 1 << 20)
    for i in (0, 1, 2, 0, 1, 2):
        assert np.array_equal(small[i], large[i])
    assert small[0] is small[0]
    assert small[1] is not small[1]


def test_crops_of_reduced_photos(tmp_path: Path) -> None:
    """Lines of one pixel, 2 apart, turn gray where a photo is reduced to half; never otherwise."""
    lines = np.zeros((96, 96, 3), np.uint8)
    lines[:, ::2] = 255
    Image.fromarray(lines).save(tmp_path / "lines.png")
    photos = PhotoCache(list_images(tmp_path), 1 << 20)

    def contrasts(min_scale: float) -> list[float]:
        crops = Crops(photos=photos, size=32, min_scale=min_scale)
        return [float(crops.draw(np.random.default_rng(i)).std()) for i in range(30)]

    assert min(contrasts(1.0)) == pytest.approx(0.5)
    reduced = contrasts(0.5)
    assert min(reduced) < 0.1
    assert max(reduced) > 0.3
    for seed in range(5):
        crop = Crops(photos=photos, size=96, min_scale=0.1).draw(np.random.default_rng(seed))
        assert crop.shape == (96, 96, 3)  # nothing is left to reduce


def test_half_of_the_crops_are_flipped(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None], (64, 64, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    crops = Crops(photos=PhotoCache(list_images(tmp_path), 1 << 20), size=32)
    rising = [
        (view := crops.draw(np.random.default_rng(i)))[0, -1, 0] > view[0, 0, 0] for i in range(200)
    ]
    assert 70 < sum(map(bool, rising)) < 130  # 100 +- 4 standard deviations


def test_crops_come_from_the_whole_of_a_photo(tmp_path: Path) -> None:
    """A ramp along the columns tells where a crop was: all 17 places are reached, no others."""
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, :, None], (35, 48, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "wide.png")
    crops = Crops(photos=PhotoCache(list_images(tmp_path), 1 << 20), size=32)
    lefts = [
        round(255 * float(crops.draw(np.random.default_rng(i)).min(axis=1)[0, 0]))
        for i in range(400)
    ]
    assert set(lefts) == set(range(17))


class _Numbered:
    """A source whose views carry a number, as latent and decoded image too."""

    def __init__(self, *, teacher: bool) -> None:
        self.count = 0
        self.teacher = teacher

    def view(self, rng: np.random.Generator) -> View:
        self.count += 1
        clean = np.full((8, 8, 3), self.count / 8, np.float32)
        if not self.teacher:
            return View(clean=clean)
        return View(clean=clean, latent=np.full((4, 1, 1), self.count), decoded=clean / 2)


def test_a_teachers_outputs_stay_with_their_crops() -> None:
    batch = CropSampler(_Numbered(teacher=True), task=None, batch_size=2, seed=0)(0)
    assert batch.latent is not None
    assert batch.decoded is not None
    assert batch.latent.shape == (2, 4, 1, 1)
    assert batch.decoded.shape == (2, 3, 8, 8)
    for number, (clean, latent, decoded) in enumerate(
        zip(batch.clean, batch.latent, batch.decoded, strict=True), start=1
    ):
        assert (clean == number / 8).all()
        assert (latent == number).all()
        assert (decoded == number / 16).all()
    without = CropSampler(_Numbered(teacher=False), task=None, batch_size=2, seed=0)(0)
    assert without.latent is None
    assert without.decoded is None


def test_shares_of_a_batch() -> None:
    assert Share().indices(3) == range(3)
    assert Share(count=2).indices(4) == range(2)
    assert Share(rank=1, count=2).indices(4) == range(2, 4)
