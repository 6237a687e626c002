"""Validation: which photos, which degradations, which scores, computed by hand beside."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from elir_edge.data.datasets import to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage, mean_laplacian
from elir_edge.metrics import psnr
from elir_edge.train.grid_error import grid_error
from elir_edge.train.validation import (
    DistillationValidation,
    NoValidation,
    PhotoValidation,
)
from tests.conftest import tiny_config

_SIDE = 32


def _folder(folder: Path, count: int) -> list[FloatImage]:
    """Save photos of noise around levels of their own; return their central squares."""
    rng = np.random.default_rng(0)
    squares = []
    for i in range(count):
        pixels = rng.integers(4 * i, 4 * i + 60, (_SIDE, _SIDE + 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
        squares.append(to_float(pixels[:, 4:-4]))
    return squares


class _Shifting:
    """Stands for a model whose latent is the image itself.

    The coarse image is darker by 0.05, the full one brighter by 0.1 and by its noise.
    """

    def __init__(self) -> None:
        self.config = tiny_config()

    def encoder(self, image: Tensor) -> Tensor:
        return image

    def initial_point(self, image: Tensor) -> Tensor:
        return image - 0.05

    def trajectory(self, z: Tensor) -> list[Tensor]:
        return [z, z + 0.15]

    def decoder(self, z: Tensor) -> Tensor:
        return z


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the model; noise is nought, since its latent has no channels of a latent."""
    monkeypatch.setattr(
        "elir_edge.train.validation.draw_noise", lambda *arguments: torch.zeros(1, 1, 1, 1)
    )
    return _Shifting()


def _mean(values: list[float]) -> Any:
    return pytest.approx(float(np.mean(values)), abs=1e-4)


def test_scores_are_means_over_the_photos(tmp_path: Path, model: Any) -> None:
    squares = _folder(tmp_path, 3)
    found = PhotoValidation("denoising", tmp_path, "cpu", size=_SIDE).scores(model)
    inputs = [
        degrade("denoising", square, np.random.default_rng([1, i]))
        for i, square in enumerate(squares)
    ]
    assert found == {
        kind: _mean(
            [
                psnr(clean, np.clip(x + shift, 0, 1).astype(np.float32))
                for x, clean in zip(inputs, squares, strict=True)
            ]
        )
        for kind, shift in (("coarse", -0.05), ("full", 0.1))
    }
    assert NoValidation().scores(model) == {}
    assert NoValidation().samples(model) == {}


def test_the_noise_is_added_to_the_initial_point(
    tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder(tmp_path, 1)
    drawn: list[tuple[int, int]] = []

    def noise(config: object, height: int, width: int) -> Tensor:
        drawn.append((height, width))
        return torch.full((1, 1, 1, 1), 0.5)

    validation = PhotoValidation("denoising", tmp_path, "cpu", size=_SIDE)
    without = validation.samples(model)
    monkeypatch.setattr("elir_edge.train.validation.draw_noise", noise)
    found = validation.samples(model)
    np.testing.assert_array_equal(found["coarse"][0], without["coarse"][0])
    assert float(np.mean(found["full"][0])) > float(np.mean(without["full"][0])) + 50
    assert drawn == [(_SIDE, _SIDE)]


def test_flat_photos_have_no_sharpness_and_do_not_end_a_training(
    tmp_path: Path, model: Any
) -> None:
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).mean()

    def sharpness() -> float | None:
        validation = PhotoValidation("denoising", tmp_path, "cpu", size=_SIDE, perceptual=distance)  # type: ignore[arg-type]
        return validation.scores(model).get("full_sharpness")

    flat = np.full((_SIDE, _SIDE, 3), 128, np.uint8)
    Image.fromarray(flat).save(tmp_path / "zz-flat.png")
    assert sharpness() is None
    _folder(tmp_path, 1)
    beside_flat = sharpness()
    (tmp_path / "zz-flat.png").unlink()
    assert beside_flat == pytest.approx(sharpness(), rel=1e-6)


def test_lpips_and_sharpness_beside_psnr(tmp_path: Path, model: Any) -> None:
    (clean,) = _folder(tmp_path, 1)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).mean()

    validation = PhotoValidation("denoising", tmp_path, "cpu", size=_SIDE, perceptual=distance)  # type: ignore[arg-type]
    found = validation.scores(model)
    degraded = degrade("denoising", clean, np.random.default_rng([1, 0]))
    full = np.clip(degraded + 0.1, 0, 1).astype(np.float32)
    assert found["full_lpips"] == pytest.approx(float(np.mean(full - clean)), abs=1e-5)
    ratio = mean_laplacian(full) / mean_laplacian(clean)
    assert found["full_sharpness"] == pytest.approx(ratio, rel=1e-4)
    assert set(found) == {
        f"{kind}{score}" for kind in ("coarse", "full") for score in ("", "_lpips", "_sharpness")
    }


def test_up_to_twenty_photos_spread_over_the_folder(tmp_path: Path, model: Any) -> None:
    squares = _folder(tmp_path, 45)
    validation = PhotoValidation("autoencoder", tmp_path, "cpu", size=_SIDE)
    chosen = validation._photos.clean
    assert len(chosen) == 20
    for square, expected in zip(chosen, squares[::2], strict=False):
        np.testing.assert_array_equal(square, expected)
    shown = validation.samples(model)
    assert {kind: len(images) for kind, images in shown.items()} == {
        "input": 4,
        "through_autoencoder": 4,
        "clean": 4,
    }
    assert validation.scores(model) == {"through_autoencoder": pytest.approx(psnr_of_equal())}


def psnr_of_equal() -> float:
    """Return the score of a result that is the photo."""
    gray = np.full((4, 4, 3), 0.5, np.float32)
    return psnr(gray, gray)


def test_samples_show_inputs_results_and_truths(tmp_path: Path, model: Any) -> None:
    (square,) = _folder(tmp_path, 1)
    shown = PhotoValidation("denoising", tmp_path, "cpu", size=_SIDE).samples(model)
    assert list(shown) == ["input", "coarse", "full", "clean"]
    np.testing.assert_array_equal(shown["clean"][0], np.rint(255 * square).astype(np.uint8))
    degraded = degrade("denoising", square, np.random.default_rng([1, 0]))
    np.testing.assert_array_equal(shown["input"][0], np.rint(255 * degraded).astype(np.uint8))


def test_a_distilled_autoencoder_beside_its_teacher(tmp_path: Path, model: Any) -> None:
    """The teacher's latent is the photo plus 0.02, which its decoder takes off again."""
    squares = _folder(tmp_path, 3)
    teacher: Any = SimpleNamespace(
        model=SimpleNamespace(encoder=lambda x: x + 0.02, decoder=lambda z: z - 0.02)
    )
    validation = DistillationValidation(teacher, tmp_path, "cpu", size=_SIDE)
    found = validation.scores(model)
    shifted = [np.clip(square + 0.02, 0, 1).astype(np.float32) for square in squares]
    assert found["decoded"] == _mean(
        [psnr(clean, image) for clean, image in zip(squares, shifted, strict=True)]
    )
    assert found["through_autoencoder"] == pytest.approx(psnr_of_equal())
    assert found["latent_error"] == pytest.approx(0.02, rel=1e-4)
    grids = [
        float(grid_error(torch.from_numpy((image - clean).transpose(2, 0, 1)[None].copy())))
        for image, clean in zip(shifted, squares, strict=True)
    ]
    assert found["grid"] == pytest.approx(float(np.mean(grids)), abs=1e-6)
    shown = validation.samples(model)
    assert list(shown) == ["decoded", "through_autoencoder", "teacher", "clean"]
    assert [len(images) for images in shown.values()] == [3, 3, 3, 3]
    for kind in ("through_autoencoder", "teacher"):
        difference = shown[kind][2].astype(int) - shown["clean"][2]
        assert np.abs(difference).max() <= 1, kind
