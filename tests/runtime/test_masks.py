"""Inpainting fills in what is missing and leaves all else as it is."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import ImageError, UsageError
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.arrays import FloatImage
from elir_edge.runtime.bundle import write_manifest
from elir_edge.runtime.images import Picture, read_picture, write_picture
from elir_edge.runtime.restore import read_mask

_FILLING = 0.25
"""What the network's stand-in makes of everything, in [0, 1]."""


@pytest.fixture
def seen() -> list[FloatImage]:
    """Return a list of what the graph was given."""
    return []


@pytest.fixture
def inpainting(
    tiny_bundle: Path, tmp_path: Path, seen: list[FloatImage], monkeypatch: pytest.MonkeyPatch
) -> Restorer:
    """Return a bundle of inpainting whose network gives one gray."""
    folder = tmp_path / "inpainting"
    shutil.copytree(tiny_bundle, folder)
    manifest = Bundle.open(folder).manifest
    identity = dataclasses.replace(manifest.identity, task="inpainting")
    write_manifest(folder, dataclasses.replace(manifest, identity=identity))
    restorer = Restorer(folder, threads=1)

    def run(image: FloatImage, *, noise_key: int = 0) -> FloatImage:
        seen.append(image)
        return np.full_like(image, _FILLING)

    monkeypatch.setattr(restorer, "run", run)
    return restorer


def _image(shape: tuple[int, ...], dtype: Any = np.uint8) -> NDArray[Any]:
    values = np.random.default_rng(0).random(shape)
    if np.issubdtype(dtype, np.integer):
        return (1 + values * (np.iinfo(dtype).max - 1)).astype(dtype)
    return values.astype(dtype)


def _mask(shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask[5:20, 30:60] = True
    return mask


@pytest.mark.parametrize("shape", [(40, 70, 3), (40, 70), (40, 70, 1), (64, 64, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_known_pixels_stay(
    shape: tuple[int, ...], dtype: Any, inpainting: Restorer, seen: list[FloatImage]
) -> None:
    image, mask = _image(shape, dtype), _mask(shape[:2])
    before = image.copy()
    restored = inpainting.restore(image, mask=mask)
    assert np.array_equal(image, before)
    assert restored.dtype == image.dtype
    assert np.array_equal(restored[~mask], image[~mask])
    high = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    assert np.allclose(restored[mask], _FILLING * high, atol=1 if high > 1 else 1e-6)
    # The network sees what is missing as black, and what is not as it is.
    given, known = seen[0][: shape[0], : shape[1]], ~mask[:64, :64]
    assert (given[~known] == 0).all()
    assert (given[known] > 0).all()


def test_a_mask_s_values_are_zero_or_not(inpainting: Restorer) -> None:
    image, mask = _image((40, 70, 3)), _mask((40, 70))
    expected = inpainting.restore(image, mask=mask)
    assert np.array_equal(inpainting.restore(image, mask=mask.astype(np.uint8) * 7), expected)
    assert not np.array_equal(inpainting.restore(image, mask=~mask), expected)


def test_transparent_pixels_are_missing_and_come_out_opaque(inpainting: Restorer) -> None:
    image, mask = _image((40, 70, 4)), _mask((40, 70))
    image[..., 3] = 200
    image[mask, 3] = 0
    restored = inpainting.restore(image)
    assert np.array_equal(restored[~mask], image[~mask])
    assert (restored[mask] == [64, 64, 64, 255]).all()
    # Where nothing is wholly transparent, all colours are the network's.
    image[mask, 3] = 1
    restored = inpainting.restore(image)
    assert (restored[..., :3] == 64).all()
    assert np.array_equal(restored[..., 3], image[..., 3])


def test_a_mask_goes_before_transparency(inpainting: Restorer) -> None:
    image, mask = _image((40, 70, 4)), _mask((40, 70))
    image[..., 3] = 0
    restored = inpainting.restore(image, mask=mask)
    assert np.array_equal(restored[~mask], image[~mask])
    assert (restored[mask, 3] == 255).all()


def test_batches_share_a_mask(inpainting: Restorer) -> None:
    batch, mask = _image((2, 40, 70, 3)), _mask((40, 70))
    restored = inpainting.restore(batch, mask=mask)
    for each, image in zip(restored, batch, strict=True):
        assert np.array_equal(each, inpainting.restore(image, mask=mask))


def test_files(inpainting: Restorer, tmp_path: Path) -> None:
    image, mask = _image((40, 70, 3)), _mask((40, 70))
    write_picture(tmp_path / "a.png", Picture(pixels=image))
    Image.fromarray(mask).save(tmp_path / "mask.png")  # of one bit
    inpainting.restore_file(tmp_path / "a.png", tmp_path / "b.png", mask=str(tmp_path / "mask.png"))
    read = read_picture(tmp_path / "b.png").pixels
    assert np.array_equal(read, inpainting.restore(image, mask=mask))


@pytest.mark.parametrize(("gray", "white"), [(127, False), (128, True)])
def test_what_is_white(gray: int, white: bool, tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (gray,) * 3).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert mask.shape == (2, 3)
    assert (mask == white).all()


def test_a_mask_of_another_size(inpainting: Restorer) -> None:
    with pytest.raises(ImageError, match=r"got 40 x 70; expected 70 x 40"):
        inpainting.restore(_image((40, 70, 3)), mask=_mask((70, 40)))


def test_other_tasks_take_no_mask(tiny_bundle: Path) -> None:
    restorer = Restorer(tiny_bundle, threads=1)
    with pytest.raises(UsageError, match="denoising does not fill in; fix: leave out the"):
        restorer.restore(_image((40, 70, 3)), mask=_mask((40, 70)))
    # Nor is transparency missing to them.
    image = _image((40, 70, 4))
    image[:5, :5, 3] = 0
    assert np.array_equal(restorer.restore(image)[..., 3], image[..., 3])


def test_masks_of_other_kinds(inpainting: Restorer, tmp_path: Path) -> None:
    image, mask = _image((40, 70, 3)), _mask((40, 70))
    expected = inpainting.restore(image, mask=mask)
    pillow = Image.fromarray(mask.astype(np.uint8) * 255)
    assert np.array_equal(inpainting.restore(image, mask=pillow), expected)
    with pytest.raises(ImageError, match="the mask is not an image; got list"):
        inpainting.restore(image, mask=mask.tolist())
    # White drawn on white that is transparent.
    drawn = np.full((40, 70, 4), 255, np.uint8)
    drawn[..., 3] = np.where(mask, 255, 0)
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), mask)
