"""The shipped weights are what their cards say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from elir_edge.checkpoint import build_model, embedded_path, read_autoencoder, read_checkpoint
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.errors import CheckpointError
from elir_edge.metrics import psnr
from elir_edge.model import Elir, draw_noise
from elir_edge.tasks import AUTOENCODER

SHIPPED = ["denoising"]
MAX_BYTES = 3_000_000


def _restore(model: Elir, image: NDArray[np.float32]) -> NDArray[np.float32]:
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        restored = model(x, draw_noise(model.config, *image.shape[:2]))
    return restored.clamp(0, 1)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", [*SHIPPED, AUTOENCODER])
def test_small_and_with_a_card(name: str) -> None:
    path = embedded_path(name)
    assert path.stat().st_size <= MAX_BYTES
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for fact in ("Data", "Steps", "Machine", "PSNR", "Licence"):
        assert fact in card


def test_what_is_not_shipped_says_so() -> None:
    with pytest.raises(CheckpointError, match=r"no nano checkpoint for 'bfr'.*denoising-nano"):
        embedded_path("bfr")


def test_the_autoencoder_keeps_a_photo(photo: NDArray[np.uint8]) -> None:
    model = build_model(read_checkpoint(embedded_path("denoising"), task="denoising"))
    start = read_autoencoder(None, model.config)
    encoder = Elir(model.config).encoder
    encoder.load_state_dict(start.encoder)
    clean = to_float(centre_crop(photo, 256))
    x = torch.from_numpy(clean).permute(2, 0, 1)[None]
    with torch.no_grad():
        kept = model.decoder(encoder(x)).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        # The twin: latents of another photo decode to another photo.
        other = model.decoder(encoder(x.flip(3))).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    assert psnr(clean, kept) >= 26
    assert psnr(clean, other) < 20


def test_denoising_restores_a_photo(photo: NDArray[np.uint8]) -> None:
    """On a photo that no training saw and that scikit-image ships."""
    model = build_model(read_checkpoint(embedded_path("denoising"), task="denoising"))
    clean = to_float(centre_crop(photo, 256))
    degraded = degrade("denoising", clean, np.random.default_rng(0))
    assert psnr(clean, degraded) < 12
    assert psnr(clean, _restore(model, degraded)) >= 23
    # The twin: a trained encoder whose first kernel is lost does not.
    model.encoder.layers[0].weight.data.zero_()
    assert psnr(clean, _restore(model, degraded)) < 20


@pytest.mark.slow
def test_denoising_reaches_its_mark_on_unseen_photos(shared: Path) -> None:
    """The mean over 100 photos is no worse than the 21.7 dB that BM3D reaches on ten of them."""
    model = build_model(read_checkpoint(embedded_path("denoising"), task="denoising"))
    scores = []
    for i, path in enumerate(list_images(shared / "data" / "photos" / "val")):
        clean = to_float(centre_crop(read_rgb(path), 256))
        degraded = degrade("denoising", clean, np.random.default_rng([0, i]))
        scores.append(psnr(clean, _restore(model, degraded)))
    print(f"mean PSNR of {len(scores)} photos: {np.mean(scores):.2f} dB")
    assert len(scores) == 100
    assert np.mean(scores) >= 21.7
