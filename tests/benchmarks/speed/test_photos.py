"""Photos to restore: real, degraded, as large as a user would hold them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed.photos import write_photos
from elir_edge.errors import DataError


@pytest.mark.parametrize(("task", "side"), [("denoising", 64), ("sr", 8), ("bsr", 16)])
def test_default_photos(tmp_path: Path, task: str, side: int) -> None:
    source = write_photos(tmp_path / "a", task, 64, 5, None)
    assert "astronaut" in source
    paths = sorted((tmp_path / "a").iterdir())
    assert [path.name for path in paths] == [f"{i:03d}.png" for i in range(5)]
    images = [np.asarray(Image.open(path)) for path in paths]
    assert {image.shape for image in images} == {(side, side, 3)}
    assert len({image.tobytes() for image in images}) == 5
    # The same again, to the byte.
    write_photos(tmp_path / "b", task, 64, 5, None)
    again = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "b").iterdir())]
    assert all(np.array_equal(one, other) for one, other in zip(images, again, strict=True))


def test_photos_of_a_folder_take_turns(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, value in (("a", 0), ("b", 255)):
        Image.fromarray(np.full((40, 90, 3), value, np.uint8)).save(folder / f"{name}.png")
    assert write_photos(tmp_path / "out", "sr", 64, 4, folder) == "crops of 2 photos of mine"
    means = [np.asarray(Image.open(path)).mean() for path in sorted((tmp_path / "out").iterdir())]
    assert [mean > 127 for mean in means] == [False, True, False, True]


def test_a_folder_without_photos_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        write_photos(tmp_path / "out", "sr", 64, 4, tmp_path)
