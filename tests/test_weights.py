"""The shipped weights are what their cards say."""

import json
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
from elir_edge.model.config import sensor_config
from elir_edge.tasks import AUTOENCODER, TASKS
from elir_edge.train.presets import get_preset

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("bfr", "sr", "denoising", "inpainting", "bsr")
GAINS = {"bfr": 0.1, "bsr": 0.1}
"""dB over the input on one photo, where the degradation leaves less to win than 0.5."""
LEARNED = {"bfr": "paper"}
"""Degradations that shipped weights learned to undo, where it is not the task's default."""
MAX_BYTES = 12_000_000
"""Of the autoencoder and all `nano` weights together."""
SENSOR = ("denoising", "sr")
"""Tasks with weights for the sensor."""
MAX_SENSOR_BYTES = 2_500_000
"""Of each of these."""


def _shipped(task: str, variant: str = "nano") -> Elir:
    return build_model(read_checkpoint(embedded_path(task, variant), task=task))


def _restore(model: Elir, image: NDArray[np.float32]) -> NDArray[np.float32]:
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        restored = model(x, draw_noise(model.config, *image.shape[:2]))
    return restored.clamp(0, 1)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", [*SHIPPED, AUTOENCODER])
def test_each_has_a_card(name: str) -> None:
    card = embedded_path(name).with_suffix(".md").read_text(encoding="utf-8")
    for fact in ("Data", "Steps", "Machine", "PSNR", "Curve", "Licence", "Again"):
        assert fact in card, fact


def test_small_together() -> None:
    folder = embedded_path(AUTOENCODER).parent
    files = list(folder.glob("*-nano.safetensors"))
    assert len(files) == 1 + len(SHIPPED)
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    small = list(folder.glob("*-sensor.safetensors"))
    assert len(small) == len(SENSOR)
    assert all(path.stat().st_size <= MAX_SENSOR_BYTES for path in small)
    assert len(list(folder.glob("*.safetensors"))) == len(files) + len(small)


@pytest.mark.parametrize("task", SENSOR)
def test_the_sensors_weights(task: str, photo: NDArray[np.uint8]) -> None:
    """They have a card, nano's shape and decoder, and restore better than nano's."""
    model, nano = _shipped(task, "sensor"), _shipped(task)
    card = embedded_path(task, "sensor").with_suffix(".md").read_text(encoding="utf-8")
    for fact in ("Data", "Steps", "Machine", "PSNR", "Quantized", "Curve", "Licence", "Again"):
        assert fact in card, fact
    properties = TASKS[task]
    assert model.config == sensor_config(num_steps=properties.num_steps, sigma_s=0.1)
    decoder = nano.decoder.state_dict()
    assert all(torch.equal(v, decoder[k]) for k, v in model.decoder.state_dict().items())
    clean = to_float(centre_crop(photo, 256))
    inputs = [degrade(task, clean, np.random.default_rng(seed)) for seed in range(5)]
    scores = {
        name: np.mean([psnr(clean, _restore(each, image)) for image in inputs])
        for name, each in (("sensor", model), ("nano", nano))
    }
    assert scores["sensor"] > scores["nano"]


@pytest.mark.slow
@pytest.mark.parametrize("task", SENSOR)
def test_the_sensors_weights_reach_their_mark(task: str, shared: Path) -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "sensor.json").read_text())
    recorded = results["psnr_db"]["256"][task]["K=3"]
    model, scores = _shipped(task, "sensor"), []
    for i, path in enumerate(list_images(shared / "data" / "photos" / "val")):
        clean = to_float(centre_crop(read_rgb(path), 256))
        scores.append(
            psnr(clean, _restore(model, degrade(task, clean, np.random.default_rng([1, i]))))
        )
    assert np.mean(scores) == pytest.approx(recorded, abs=0.02)


@pytest.mark.parametrize("task", SHIPPED)
def test_what_it_learned_to_undo_is_known(task: str) -> None:
    assert read_checkpoint(embedded_path(task), task=task).degradation == LEARNED.get(task)


@pytest.mark.parametrize("task", SHIPPED)
def test_of_the_preset_and_on_the_shared_decoder(task: str) -> None:
    model = _shipped(task)
    assert model.config == get_preset("nano", task).model.collapsed()
    decoder = read_autoencoder(None, model.config).decoder
    own = model.decoder.state_dict()
    assert own.keys() == decoder.keys()
    assert all(torch.equal(own[key], decoder[key]) for key in own)


def test_what_is_not_shipped_says_so() -> None:
    with pytest.raises(CheckpointError, match=r"no paper checkpoint for 'bfr'.*bfr-nano"):
        embedded_path("bfr", "paper")


def test_the_autoencoder_keeps_a_photo(photo: NDArray[np.uint8]) -> None:
    model = _shipped("denoising")
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


@pytest.mark.parametrize("task", SHIPPED)
def test_restores_a_photo(task: str, photo: NDArray[np.uint8]) -> None:
    """Of five draws on a photo that no training saw and that scikit-image ships."""
    model = _shipped(task)
    clean = to_float(centre_crop(photo, 256))
    inputs = [
        degrade(task, clean, np.random.default_rng(seed), LEARNED.get(task)) for seed in range(5)
    ]
    before = np.mean([psnr(clean, image) for image in inputs])
    after = np.mean([psnr(clean, _restore(model, image)) for image in inputs])
    gain = GAINS.get(task, 0.5)
    assert after >= before + gain
    # The twin: a trained encoder whose first kernel is lost does not.
    model.encoder.layers[0].weight.data.zero_()  # type: ignore[index, union-attr]
    assert np.mean([psnr(clean, _restore(model, image)) for image in inputs]) < before + gain


@pytest.mark.slow
@pytest.mark.parametrize("task", SHIPPED)
def test_reaches_its_recorded_mark_on_unseen_photos(task: str, shared: Path) -> None:
    """The mean over 100 photos is the one of `benchmarks/results/quality.json`, to 0.02 dB."""
    results = json.loads((ROOT / "benchmarks" / "results" / "quality.json").read_text())
    recorded = results["tasks"][task]["all_photos"]["full"]["psnr_db"]
    model, scores = _shipped(task), []
    for i, path in enumerate(list_images(shared / "data" / "photos" / "val")):
        clean = to_float(centre_crop(read_rgb(path), 256))
        degraded = degrade(task, clean, np.random.default_rng([1, i]), LEARNED.get(task))
        scores.append(psnr(clean, _restore(model, degraded)))
    print(f"{task}: mean PSNR of {len(scores)} photos {np.mean(scores):.2f} dB")
    assert len(scores) == 100
    assert np.mean(scores) == pytest.approx(recorded, abs=0.02)
