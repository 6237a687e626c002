"""`benchmarks/task_pictures.py`: what stands left and right, and folders that lack the photo."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import task_pictures
from benchmarks.task_pictures import SUBJECTS, app, pair, side_by_side
from elir_edge.data.datasets import centre_crop, to_float
from elir_edge.metrics import psnr
from elir_edge.tasks import TASKS
from tests.conftest import Run


def test_every_task_is_shown() -> None:
    assert set(SUBJECTS) == set(TASKS)


def test_degraded_left_restored_right() -> None:
    dark, light = np.zeros((256, 256, 3), np.float32), np.ones((256, 256, 3), np.float32)
    picture = np.asarray(side_by_side(dark, light))
    assert picture.shape == (200, 404, 3)
    assert picture[:, :200].max() == 0
    assert picture[:, 200:].min() == 255


def test_the_named_photo_is_degraded_and_restored(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    clean = centre_crop(photo, 256)
    for name, pixels in (("a", np.zeros_like(clean)), (SUBJECTS["denoising"].photo, clean)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    degraded, restored = pair("denoising", tmp_path)
    assert psnr(to_float(clean), degraded) < 22
    assert psnr(to_float(clean), restored) > psnr(to_float(clean), degraded) + 3


def test_a_photo_that_is_missing_is_named(
    tmp_path: Path, photo: NDArray[np.uint8], run_any: Run
) -> None:
    Image.fromarray(photo).save(tmp_path / "other.png")
    options = ("--data", tmp_path, "--faces", tmp_path, "--out", tmp_path / "out")
    done = run_any(app, *options, "--tasks", "sr")
    assert done.code == 2
    assert f"no photo {task_pictures.SUBJECTS['sr'].photo} in" in done.err
    assert not (tmp_path / "out").exists()
