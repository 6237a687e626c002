"""`benchmarks/faster.py`: every form is scored and timed, and compared with the first."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.faster import app, mean_of
from elir_edge.checkpoints.own import build_model, read_checkpoint
from elir_edge.data.datasets import to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import mean_laplacian
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.metrics import psnr
from elir_edge.model import draw_noise
from tests.conftest import Run, assert_mistake

_SIDE = 64


@pytest.fixture
def photos(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """Return a folder of two photos of the side that is measured."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        at = 80 * i
        Image.fromarray(photo[at : at + _SIDE, at : at + _SIDE]).save(folder / f"{i}.png")
    return folder


def test_scores_are_means_over_the_photos(tiny_checkpoint: Path, photos: Path) -> None:
    model = build_model(read_checkpoint(tiny_checkpoint, task="denoising"))
    paths = sorted(photos.iterdir())
    found = mean_of(model, "denoising", paths, _SIDE, {})
    quality, sharpness = [], []
    for index, path in enumerate(paths):
        clean = to_float(np.asarray(Image.open(path)))
        degraded = degrade("denoising", clean, np.random.default_rng([1, index]))
        with torch.no_grad():
            image = to_image(model(to_batch(degraded), draw_noise(model.config, _SIDE, _SIDE)))
        quality.append(psnr(clean, image))
        sharpness.append(mean_laplacian(image) / mean_laplacian(clean))
    assert found.psnr_db == pytest.approx(np.mean(quality), abs=1e-5)
    assert found.sharpness == pytest.approx(np.mean(sharpness), rel=1e-5)
    assert found.lpips is None
    model.decoder.layers[0].weight.data.zero_()  # type: ignore[index, union-attr]
    assert mean_of(model, "denoising", paths, _SIDE, {}) != found


def test_forms_are_compared_with_the_first(
    tiny_checkpoint: Path, photos: Path, tmp_path: Path, run_any: Run
) -> None:
    out = tmp_path / "faster.json"
    alike = tmp_path / tiny_checkpoint.name
    shutil.copy(tiny_checkpoint, alike)
    options = ("--data", photos, "--size", _SIDE, "--every", 1, "--threads", 1, "--rounds", 1)
    done = run_any(
        app,
        *("--task", "denoising", "--checkpoint", tiny_checkpoint, "--also", alike),
        *options,
        *("--runtime", "onnxruntime", "--out", out),
    )
    assert (done.code, done.err) == (0, "")
    assert "is not TAESD3's" in " ".join(done.out.split())  # so no slim decoder takes its place
    first, second = json.loads(out.read_text())["rows"]
    # The names without their folders would be alike.
    assert (first["form"], second["form"]) == (str(tiny_checkpoint), str(alike))
    assert first["psnr_db"] == second["psnr_db"]
    assert first["ratios"] == {"fp32 onnxruntime": 1.0, "int8 onnxruntime": 1.0}
    for name, ratio in second["ratios"].items():
        expected = first["milliseconds"][name] / second["milliseconds"][name]
        assert ratio == pytest.approx(expected, rel=0.1)


def test_mistakes_are_one_line(tiny_checkpoint: Path, photos: Path, run_any: Run) -> None:
    options = ("--task", "denoising", "--checkpoint", tiny_checkpoint, "--data", photos)
    for more, message in (
        (("--size", 63), "size 63 does not fit"),
        (("--precision", "fp8"), "unknown precision 'fp8'"),
        (("--also", tiny_checkpoint), "--also names a checkpoint that is there already"),
        (("--metric-weights", photos), "no lpips"),
    ):
        done = run_any(app, *options, *more)
        assert_mistake(done, 2, message)
