"""The code that bundles' READMEs show for runtimes alone, with a copying network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elir_edge.tasks import TASKS
from export.snippets import Call, photo_to_photo

_COPY = Call(imports=[], setup=["seen = []"], run=["seen.append(tile.shape)", "pixels = tile"])
_SIDE = 64


def _run(code: str, folder: Path) -> None:
    lines = code.removeprefix("```python\n").split("```")[0]
    lines += f"assert set(seen) == {{({_SIDE}, {_SIDE}, 3)}}\n"
    subprocess.run([sys.executable, "-c", lines], cwd=folder, check=True)


def _photo(width: int, height: int, folder: Path) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(folder / "photo.png")
    return image


@pytest.mark.parametrize("task", ["sr", "denoising", "inpainting", "bsr"])
@pytest.mark.parametrize(("width", "height"), [(200, 133), (5, 7), (64, 64)])
def test_a_copy_is_the_enlarged_photo(task: str, width: int, height: int, tmp_path: Path) -> None:
    photo, chosen = _photo(width, height, tmp_path), TASKS[task]
    _run(photo_to_photo(_COPY, chosen, _SIDE), tmp_path)
    enlarged = photo.resize(
        (width * chosen.upscale, height * chosen.upscale),
        {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}[
            chosen.upscale_filter
        ],
    )
    assert np.array_equal(np.asarray(Image.open(tmp_path / "restored.png")), np.asarray(enlarged))


@pytest.mark.parametrize(("width", "height"), [(200, 133), (133, 200), (64, 64), (20, 20)])
def test_faces_keep_their_proportions(width: int, height: int, tmp_path: Path) -> None:
    """A ramp survives the way to the square and back within 4 levels; turned, it does not."""
    ramp = np.linspace(40, 200, width, dtype=np.float32)[None, :, None]
    pixels = np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    _run(photo_to_photo(_COPY, TASKS["bfr"], _SIDE), tmp_path)
    restored = np.asarray(Image.open(tmp_path / "restored.png"))
    assert restored.shape == (height, width, 3)
    assert np.abs(restored.astype(int) - pixels).max() <= 4
    assert np.abs(restored[:, ::-1].astype(int) - pixels).max() > 100
