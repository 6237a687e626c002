"""NIQE against pyiqa's, and its parts by hand."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from elir_edge.errors import ElirError, ImageError
from elir_edge.metric_weights import read_niqe
from elir_edge.niqe import NiqeModel, half_size, niqe_features

PYIQA_NIQE = {(0, 192, 208): 38.33636319875956, (1, 100, 97): 40.94154153510422}
"""By (seed, height, width), of `_noise`: `pyiqa.create_metric("niqe")` of pyiqa 0.1.16 on torch
2.14.1, CPU, float64, with the parameters of the file that the test reads."""
PYIQA_TOLERANCE = 1e-3


def _noise(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


@pytest.mark.parametrize("case", PYIQA_NIQE)
def test_niqe_is_pyiqas(case: tuple[int, int, int], shared: Path) -> None:
    model = read_niqe(shared / "weights")
    image, expected = _noise(*case), PYIQA_NIQE[case]
    assert model.score(image) == pytest.approx(expected, abs=PYIQA_TOLERANCE)
    # The twins: a darker image, and other statistics.
    assert model.score(image * np.float32(0.9)) != pytest.approx(expected, abs=PYIQA_TOLERANCE)
    other = NiqeModel(mean=model.mean * 1.01, covariance=model.covariance)
    assert other.score(image) != pytest.approx(expected, abs=PYIQA_TOLERANCE)


SCORES = [10.174361734, 10.230751305]
FEATURES = [
    2.718,
    1.054411849,
    0.938,
    0.143128188,
    0.189068952,
    0.319089706,
    0.956,
    0.141276925,
    0.194946856,
    0.327139632,
    0.922,
    -0.05512571,
    0.276026236,
    0.227311279,
    0.929,
    -0.05407039,
    0.276621806,
    0.228251879,
    3.008,
    1.191154257,
    0.952,
    0.087313331,
    0.281938112,
    0.363112131,
    0.987,
    0.098819906,
    0.288698315,
    0.385675765,
    0.964,
    -0.03545098,
    0.348814274,
    0.315219412,
    0.965,
    -0.041617597,
    0.352586497,
    0.313086083,
]


def _texture(height: int, width: int) -> np.ndarray:
    """Return smooth noise, different per channel, with a bright corner."""
    rng = np.random.default_rng(7)
    values = rng.random((height + 2, width + 2, 3))
    smooth = sum(values[i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9
    smooth[: height // 3, : width // 2] += 0.3
    return np.clip(smooth, 0, 1).astype(np.float32)


def test_scores_without_files() -> None:
    """Recorded when the scores above were pyiqa's; of 2 x 2 blocks, and of one. Within 1e-6."""
    model = NiqeModel(mean=np.linspace(0.1, 3, 36), covariance=np.diag(np.linspace(1, 2, 36)))
    whole = model.score(_texture(200, 230))
    single = model.score(_texture(100, 97))
    assert [whole, single] == pytest.approx(SCORES, abs=1e-6)
    turned = NiqeModel(mean=model.mean[::-1], covariance=model.covariance)
    assert turned.score(_texture(200, 230)) != pytest.approx(SCORES[0], abs=1e-6)


def test_features_without_files() -> None:
    """All 36 numbers of one block, recorded as above; within 1e-6."""
    assert niqe_features(_texture(100, 97))[0].tolist() == pytest.approx(FEATURES, abs=1e-6)


def test_shapes_of_known_distributions() -> None:
    """Alpha is 2 for a Gaussian, 1 for a Laplacian: within 3 % of 90,000 draws; sides apart."""
    from elir_edge.niqe import _fit

    rng = np.random.default_rng(0)
    sizes = np.abs(np.stack([rng.standard_normal((300, 300)), rng.laplace(size=(300, 300))]))
    # Asymmetric as the distribution is: twice as wide on the left, with twice as many there.
    blocks = np.where(rng.random(sizes.shape) < 2 / 3, -2 * sizes, sizes)
    shape, left, right = _fit(blocks)
    assert shape == pytest.approx([2, 1], rel=0.03)
    assert left / right == pytest.approx([2, 2], rel=0.03)
    # beta = sigma sqrt(Gamma(1/alpha) / Gamma(3/alpha)): sqrt(2) sigma, and the Laplacian's scale.
    assert right == pytest.approx([math.sqrt(2), 1], rel=0.03)


def test_shapes_end_at_a_fifth_and_at_ten() -> None:
    """One spike among almost nothing is more peaked than all shapes, equal sizes are less so."""
    from elir_edge.niqe import _fit

    spike = np.full((48, 48), 1e-9)
    spike[::2] *= -1
    spike[0, 0], spike[1, 0] = -1, 1
    even = np.ones((48, 48))
    even[::2] *= -1
    shape, _, _ = _fit(np.stack([spike, even]))
    assert shape == pytest.approx([0.2, 10], abs=1e-9)


def test_blur_and_noise_are_worse_than_a_photo(shared: Path, photo: np.ndarray) -> None:
    from elir_edge.data.operations import add_noise, gaussian_blur

    model, clean = read_niqe(shared / "weights"), photo.astype(np.float32) / 255
    best = model.score(clean)
    assert model.score(gaussian_blur(clean, 3.0, kernel_size=21)) > best + 1
    assert model.score(add_noise(clean, 50, np.random.default_rng(0))) > best + 1


def test_features_are_those_of_whole_blocks() -> None:
    image = _noise(0, 200, 300)
    features = niqe_features(image)
    assert features.shape == (2 * 3, 36)
    # What lies beyond the last whole block is not looked at.
    assert np.array_equal(features, niqe_features(image[:192, :288]))
    changed = image.copy()
    changed[10, 10] = 0
    assert not np.array_equal(features[0], niqe_features(changed)[0])
    assert np.array_equal(features[5], niqe_features(changed)[5])


def test_gaussian_noise_has_shape_two() -> None:
    """White Gaussian noise around gray keeps nearly its shape: alpha of 2, products below 1."""
    noise = np.random.default_rng(0).standard_normal((288, 288, 1)) * 0.1
    gray = np.repeat(0.5 + noise, 3, axis=2).astype(np.float32)
    alphas = niqe_features(gray)[:, [0, 2]].mean(axis=0)
    assert 2 < alphas[0] < 3.5  # dividing by the local deviation shortens the tails
    assert alphas[1] < 1.3


def test_half_size_by_hand() -> None:
    """MATLAB's `imresize(x, 0.5)`: straight lines stay straight inside, constants everywhere."""
    assert half_size(np.full((16, 20), 3.0)) == pytest.approx(np.full((8, 10), 3.0), abs=1e-12)
    ramp = np.broadcast_to(np.arange(24.0), (16, 24))
    assert half_size(ramp)[:, 2:-2] == pytest.approx(
        np.broadcast_to(2 * np.arange(2.0, 10) + 0.5, (8, 8)), abs=1e-12
    )
    # A bright column at 7; pixels of the result lie at 4.5, 6.5, 8.5 and 10.5: the cubic at half of
    # the distances 2.5, 0.5, 1.5 and 3.5, halved.
    single = np.zeros((8, 16))
    single[:, 7] = 1
    expected = [-0.03515625, 0.43359375, 0.11328125, -0.01171875]
    assert half_size(single)[2, 2:6] == pytest.approx(np.array(expected), abs=1e-12)
    assert half_size(single)[2, 2:6] != pytest.approx(np.array(expected[::-1]), abs=1e-12)


def test_flat_images_have_no_score() -> None:
    model = NiqeModel(mean=np.zeros(36), covariance=np.eye(36))
    assert np.isnan(model.score(np.zeros((96, 96, 3), np.float32)))


def test_niqe_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(ElirError, match=r"NIQE needs scipy.*`evaluate` extra"):
        niqe_features(_noise(0, 96, 96))


def test_small_images_are_refused() -> None:
    with pytest.raises(ImageError, match="got 200 x 95; expected at least 96 x 96"):
        niqe_features(_noise(0, 95, 200))
