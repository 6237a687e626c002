"""The shipped weights are what their cards say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from elir_edge.checkpoints.own import build_model, embedded_path, read_autoencoder, read_checkpoint
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import mean_laplacian
from elir_edge.errors import CheckpointError
from elir_edge.files import sha256_of
from elir_edge.metrics import psnr
from elir_edge.model import Elir, draw_noise
from elir_edge.tasks import AUTOENCODER
from elir_edge.train.presets import get_preset

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("bfr", "sr", "denoising", "inpainting", "bsr")
GAINS = {"bfr": -0.6, "bsr": -0.6}
"""dB over the input on one photo; in the blind tasks texture costs some, elsewhere 0.5 is won."""
SHARPER = {"bfr": 3.0, "bsr": 5.0}
"""How much sharper than the input the blind tasks make that photo: its detail is not in there."""
LEARNED = {
    "bfr": "published",
    "sr": "paper",
    "denoising": "broad",
    "inpainting": "broad",
    "bsr": "resshift",
}
"""Degradations that shipped weights learned to undo."""
MAX_TASK_BYTES = 4_000_000
MAX_BYTES = 25_000_000
"""Of the autoencoder and all `nano` weights together."""
_FACTS = (
    "Teacher",
    "Data",
    "Steps",
    "Seed",
    "Machine",
    "PSNR",
    "LPIPS",
    "Curve",
    "Licence",
    "Not for",
    "Again",
)
"""What every card tells."""
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
    for fact in _FACTS:
        assert fact in card, fact


def test_small_together() -> None:
    folder = embedded_path(AUTOENCODER).parent
    files = list(folder.glob("*-nano.safetensors"))
    assert len(files) == 1 + len(SHIPPED)
    assert all(path.stat().st_size <= MAX_TASK_BYTES for path in files)
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    small = list(folder.glob("*-sensor.safetensors"))
    assert len(small) == 1 + len(SENSOR)
    assert all(path.stat().st_size <= MAX_SENSOR_BYTES for path in small)
    assert len(list(folder.glob("*.safetensors"))) == len(files) + len(small)


@pytest.mark.parametrize("task", SENSOR)
def test_the_sensors_weights(task: str, photo: NDArray[np.uint8]) -> None:
    """They have a card, the preset's shape, the sensor's own decoder, and restore a photo."""
    checkpoint = read_checkpoint(embedded_path(task, "sensor"), task=task)
    card = embedded_path(task, "sensor").with_suffix(".md").read_text(encoding="utf-8")
    for fact in ("Data", "Steps", "Machine", "PSNR", "Quantized", "Curve", "Licence", "Again"):
        assert fact in card, fact
    assert checkpoint.degradation == LEARNED[task]
    model = build_model(checkpoint)
    assert model.config == get_preset("sensor", task).model
    decoder = read_autoencoder(None, model.config).decoder
    assert all(torch.equal(v, decoder[k]) for k, v in model.decoder.state_dict().items())
    clean = to_float(centre_crop(photo, 256))
    inputs = [degrade(task, clean, np.random.default_rng(seed)) for seed in range(5)]
    before = np.mean([psnr(clean, image) for image in inputs])
    assert np.mean([psnr(clean, _restore(model, image)) for image in inputs]) >= before + 0.5


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
    assert read_checkpoint(embedded_path(task), task=task).degradation == LEARNED[task]


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
    inputs = [degrade(task, clean, np.random.default_rng(seed), LEARNED[task]) for seed in range(5)]

    def restored_well() -> bool:
        images = [_restore(model, image) for image in inputs]
        gains = [psnr(clean, i) - psnr(clean, d) for i, d in zip(images, inputs, strict=True)]
        sharper = [
            mean_laplacian(i) / mean_laplacian(d) for i, d in zip(images, inputs, strict=True)
        ]
        print(f"{task}: {np.mean(gains):+.2f} dB, {np.mean(sharper):.2f} times as sharp")
        enough = np.mean(sharper) >= SHARPER.get(task, 0)
        return bool(np.mean(gains) >= GAINS.get(task, 0.5) and enough)

    assert restored_well()
    # The twin: a trained encoder whose first kernel is lost does not.
    model.encoder.layers[0].weight.data.zero_()  # type: ignore[index, union-attr]
    assert not restored_well()


@pytest.mark.slow
@pytest.mark.parametrize("task", SHIPPED)
def test_reaches_its_recorded_mark_on_unseen_photos(task: str, shared: Path) -> None:
    """The mean is the one of `benchmarks/results/quality.json`, to 0.02 dB."""
    results = json.loads((ROOT / "benchmarks" / "results" / "quality.json").read_text())
    found = results["tasks"][task]
    folder = shared / "data" / ("faces" if task == "bfr" else "photos") / "val"
    paths, scores = list_images(folder), []
    assert len(found["photos"]) >= 30
    model = _shipped(task)
    for i in found["photos"]:
        clean = to_float(centre_crop(read_rgb(paths[i]), found["size"]))
        degraded = degrade(task, clean, np.random.default_rng([1, i]), found["degradation"])
        scores.append(psnr(clean, _restore(model, degraded)))
    print(f"{task}: mean PSNR of {len(scores)} photos {np.mean(scores):.2f} dB")
    recorded = found["all_photos"]["full"]["psnr_db"]
    assert np.mean(scores) == pytest.approx(recorded, abs=0.02)


@pytest.mark.parametrize("task", SHIPPED)
def test_the_recorded_marks_are_of_the_shipped_files(task: str) -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "quality.json").read_text())
    assert results["tasks"][task]["checkpoint_sha256"] == sha256_of(embedded_path(task))
