"""Words about photos that are unlike those that a model learned to restore."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elir_edge.runtime.images import Picture, read_picture
from elir_edge.runtime.inputs import estimate_noise, share_missing, training_remarks
from elir_edge.tasks import TrainedRange

_DENOISING = TrainedRange(degradation="broad", noise_sigma=(15.0, 90.0))
_INPAINTING = TrainedRange(degradation="paper", noise_sigma=(25.6, 25.6), missing=(0.9, 0.9))


def _noisy(photo: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(0, sigma, photo.shape)
    return np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sigma", [5.0, 10.0, 20.0, 40.0])
def test_noise_is_estimated_within_a_third(sigma: float) -> None:
    """On gray, where nothing is cut off, within 5 %; of a photo within a third."""
    gray = np.full((200, 300, 3), 128, np.uint8)
    assert estimate_noise(_noisy(gray, sigma)) == pytest.approx(sigma, rel=0.05)
    assert estimate_noise(_noisy(gray, 2 * sigma)) > 1.3 * sigma


def test_noise_of_a_photo(photo: NDArray[np.uint8]) -> None:
    assert estimate_noise(photo) < 5
    assert estimate_noise(_noisy(photo, 20)) == pytest.approx(20, rel=1 / 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5, 3), (2, 2), (33, 31, 3), (3000, 40)])
def test_any_size_has_an_estimate(shape: tuple[int, ...]) -> None:
    assert estimate_noise(np.zeros(shape, np.uint8)) == 0


def test_types_agree(photo: NDArray[np.uint8]) -> None:
    image = _noisy(photo, 20)
    expected = estimate_noise(image)
    assert estimate_noise(image.astype(np.uint16) * 257) == pytest.approx(expected, rel=1e-3)
    assert estimate_noise(image.astype(np.float32) / 255) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("sigma", "words"),
    [
        (6, r"looks cleaner \(sigma \d\) than what this model restores \(15 to 90\): detail may"),
        (12, None),
        (60, None),
    ],
)
def test_cleaner_than_learned(sigma: float, words: str | None) -> None:
    gray = np.full((256, 256, 3), 128, np.uint8)
    found = training_remarks(Picture(pixels=_noisy(gray, sigma)), _DENOISING)
    assert [remark.kind for remark in found] == ([] if words is None else ["clean"])
    if words is not None:
        assert re.search(words, found[0].text)


def test_noisier_than_learned() -> None:
    gray = np.full((256, 256, 3), 128, np.uint8)
    mild = TrainedRange(degradation="published", noise_sigma=(0.0, 15.0))
    kinds = [
        [remark.kind for remark in training_remarks(Picture(pixels=_noisy(gray, s)), mild)]
        for s in (0, 15, 40)
    ]
    assert kinds == [[], [], ["noisy"]]


def test_nothing_is_said_without_a_range() -> None:
    picture = Picture(pixels=np.zeros((64, 64, 3), np.uint8))
    assert training_remarks(picture, TrainedRange(degradation="x")) == ()


def test_a_black_box_without_a_mask_is_explained(photo: NDArray[np.uint8]) -> None:
    box = photo.copy()
    box[10:40, 20:60] = 0
    (remark,) = training_remarks(Picture(pixels=box), _INPAINTING)
    assert remark.kind == "missing"
    share = 100 * share_missing(box)
    assert remark.text.startswith(
        f"{share:.1f}% of this photo is black; this model was trained on 90%"
    )
    assert "--mask" in remark.text
    assert training_remarks(Picture(pixels=box), _INPAINTING, masked=True) == ()
    (remark,) = training_remarks(Picture(pixels=np.maximum(photo, 1)), _INPAINTING)
    assert remark.text.startswith("nothing in this photo is black; ")


def test_photos_that_lack_pixels_as_learned_are_not_remarked_on(photo: NDArray[np.uint8]) -> None:
    kept = np.random.default_rng(0).random(photo.shape[:2]) >= 0.9
    lacking = photo * kept[..., None].astype(np.uint8)
    assert training_remarks(Picture(pixels=lacking), _INPAINTING) == ()
    # With noise, most of what is missing is no longer black.
    noisy = _noisy(lacking, 25.6)
    assert share_missing(noisy) < 0.3
    assert training_remarks(Picture(pixels=noisy), _INPAINTING) == ()


@pytest.mark.parametrize("quality", [10, 20, 30, 75, 95])
def test_jpeg_quality_is_that_of_the_encoder(
    quality: int, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Within 2 of 100, as tables are rounded; at 10, where they are cut off, within 5."""
    Image.fromarray(photo).save(tmp_path / "a.jpg", quality=quality)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.jpeg_quality == pytest.approx(quality, abs=5 if quality == 10 else 2)
    none = TrainedRange(degradation="x")
    assert [r.kind for r in training_remarks(picture, none)] == (["jpeg"] if quality < 40 else [])
    some = TrainedRange(degradation="x", jpeg_quality=(30.0, 80.0))
    assert [r.kind for r in training_remarks(picture, some)] == (["jpeg"] if quality == 10 else [])


def test_other_formats_have_no_quality(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    encoded = io.BytesIO()
    Image.fromarray(photo).save(encoded, "PNG")
    (tmp_path / "a.png").write_bytes(encoded.getvalue())
    assert read_picture(tmp_path / "a.png").jpeg_quality is None


def test_large_faces_are_reduced() -> None:
    trained = TrainedRange(degradation="published")
    for side, kinds in ((500, []), (640, []), (641, ["size"])):
        picture = Picture(pixels=np.zeros((side, 500), np.uint8))
        assert [r.kind for r in training_remarks(picture, trained, side=512)] == kinds
