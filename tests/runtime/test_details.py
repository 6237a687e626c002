"""What the runtime does to pixels, noise and files, seen at the graph and at the result."""

import dataclasses
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from elir_edge.errors import BundleError, ImageError
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.arrays import float_as, region_as_float
from elir_edge.runtime.backends import Backend
from elir_edge.runtime.images import Picture, write_picture
from elir_edge.runtime.manifest import Processing
from elir_edge.tasks import TASKS


class Spy(Backend):
    """A backend that keeps what it is given and gives back what it is told to."""

    @property
    def version(self) -> str:
        return "spy"

    def __init__(self, answer: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self.inputs: list[Mapping[str, NDArray[Any]]] = []
        self._answer = answer

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        self.inputs.append(inputs)
        return {"restored": self._answer(inputs["image"])}

    def close(self) -> None:
        self.inputs.clear()


def _spied(
    folder: Path,
    answer: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda image: image,
    whole: bool = False,
    **processing: object,
) -> tuple[Restorer, Spy]:
    bundle = Bundle.open(folder)
    replaced = dataclasses.replace(bundle.manifest.processing, **processing)  # type: ignore[arg-type]
    manifest = dataclasses.replace(bundle.manifest, processing=replaced)
    spy = Spy(answer)
    return Restorer(dataclasses.replace(bundle, manifest=manifest), backend=spy, whole=whole), spy


def test_small_images_are_mirrored_not_blackened(tiny_bundle: Path) -> None:
    restorer, spy = _spied(tiny_bundle)
    image = np.random.default_rng(0).random((40, 64, 3), dtype=np.float32)
    restorer.restore(image)
    (given,) = spy.inputs
    rows = given["image"][0].transpose(1, 2, 0)
    assert rows.shape == (64, 64, 3)
    assert np.array_equal(rows[:40], image)
    # Mirrored with the edge repeated: row 40 is row 39 again.
    assert np.array_equal(rows[40:], image[:-25:-1])


def test_a_whole_image_is_mirrored_to_the_square(tiny_bundle: Path) -> None:
    restorer, spy = _spied(tiny_bundle, fit="resize", whole=True)
    image = np.random.default_rng(0).random((32, 64, 3), dtype=np.float32)
    restorer.restore(image)
    rows = spy.inputs[0]["image"][0].transpose(1, 2, 0)
    assert np.abs(rows[:32] - image).max() <= 1e-6
    assert np.abs(rows[32:] - image[::-1]).max() <= 1e-6


def test_noise_has_its_deviation_and_differs_from_tile_to_tile(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    shape = (1, 64, 64, 64)
    (image,) = bundle.manifest.inputs
    noise = dataclasses.replace(image, name="noise", role="noise", shape=shape, low=-1, high=1)
    for sigma_s in (0.1, 0.4):
        manifest = dataclasses.replace(
            bundle.manifest,
            inputs=(image, noise),
            identity=dataclasses.replace(bundle.manifest.identity, sigma_s=sigma_s),
        )
        spy = Spy(lambda image: image)
        restorer = Restorer(dataclasses.replace(bundle, manifest=manifest), backend=spy)
        restorer.restore(np.zeros((64, 160, 3), np.float32))
        draws = [given["noise"] for given in spy.inputs]
        assert len(draws) >= 3
        for draw in draws:
            # 262,144 values: the deviation is within 0.7 % (five of its own).
            assert draw.std() == pytest.approx(sigma_s, rel=0.007)
            assert abs(draw.mean()) < 0.01 * sigma_s * 5
        for i, first in enumerate(draws):
            assert all(not np.array_equal(first, other) for other in draws[i + 1 :])


@pytest.mark.parametrize(("dtype", "levels"), [(np.uint8, 255), (np.uint16, 65535)])
def test_results_are_rounded_not_cut(dtype: type[Any], levels: int, tiny_bundle: Path) -> None:
    for share, expected in ((0.4, 100), (0.6, 101), (0.99, 101)):
        value = np.float32((100 + share) / levels)
        image = np.full((4, 4, 3), value, np.float32)
        assert (float_as(image, np.dtype(dtype), gray=False) == expected).all()
        restorer, _ = _spied(tiny_bundle, lambda given, value=value: np.full_like(given, value))
        assert (restorer.restore(np.zeros((64, 64, 3), dtype)) == expected).all()


def test_transparency_is_enlarged_by_bicubic(tiny_bundle: Path) -> None:
    restorer, _ = _spied(tiny_bundle, upscale=4, upscale_filter="bicubic", overlap=16)
    rng = np.random.default_rng(0)
    picture = Picture(
        pixels=rng.integers(0, 256, (20, 24, 3), dtype=np.uint8),
        alpha=rng.integers(0, 256, (20, 24), dtype=np.uint8),
    )
    assert picture.alpha is not None
    restored = restorer.restore_picture(picture)
    by_hand = Image.fromarray(picture.alpha).resize((96, 80), Image.Resampling.BICUBIC)
    assert restored.alpha is not None
    assert np.array_equal(restored.alpha, np.asarray(by_hand))
    nearest = Image.fromarray(picture.alpha).resize((96, 80), Image.Resampling.NEAREST)
    assert not np.array_equal(restored.alpha, np.asarray(nearest))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("size", "overlap"), [(128, 32), (256, 32), (512, 32), (64, 16)])
def test_tiles_overlap_by_32_pixels_or_a_quarter(task: str, size: int, overlap: int) -> None:
    processing = Processing.of_task(TASKS[task], size)
    assert processing.overlap == overlap
    assert (processing.fit, processing.upscale) == (TASKS[task].fit, TASKS[task].upscale)


@pytest.mark.parametrize(("overlap", "fits"), [(0, True), (62, True), (63, False), (-1, False)])
def test_bounds_of_the_overlap(overlap: int, fits: bool, tiny_bundle: Path) -> None:
    if fits:
        assert _spied(tiny_bundle, overlap=overlap)[0].size == 64
        return
    with pytest.raises(BundleError, match="tiles that cannot be laid"):
        _spied(tiny_bundle, overlap=overlap)


def test_neighbouring_tiles_share_what_the_manifest_says(tiny_bundle: Path) -> None:
    seen: list[float] = []

    def answer(image: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(float(image[0, 0, 0, 0]))
        return image

    restorer, _ = _spied(tiny_bundle, answer, overlap=16)
    columns = np.broadcast_to(np.arange(112, dtype=np.float32)[None, :, None] / 255, (64, 112, 3))
    restorer.restore(np.ascontiguousarray(columns))
    assert np.rint(255 * np.array(seen)).tolist() == [0, 48]  # 48 + 64 = 112; 16 are shared


@pytest.mark.parametrize("name", ["result.xyz", "result.jpg", "result"])
def test_a_format_is_refused_before_the_work(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    restorer, spy = _spied(tiny_bundle)
    source, target = tmp_path / "photo.png", tmp_path / name
    alpha = np.full((8, 8), 128, np.uint8)
    write_picture(source, Picture(pixels=np.zeros((8, 8, 3), np.uint8), alpha=alpha))
    with pytest.raises(ImageError, match=r"cannot (write|hold)"):
        restorer.restore_file(source, target)
    assert spy.inputs == []
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    overlap=st.integers(0, 62),
    batch=st.integers(1, 3),
    upscale=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_tiling_is_the_identity_for_an_identity_model(
    height: int,
    width: int,
    overlap: int,
    batch: int,
    upscale: int,
    seed: int,
    tiny_bundle: Path,
) -> None:
    """At any size, overlap and batch; where the model enlarges, what comes out is the enlarged."""
    bundle = Bundle.open(tiny_bundle)
    manifest = bundle.manifest
    overlap = min(overlap, 64 - 2 * upscale)
    processing = dataclasses.replace(
        manifest.processing, overlap=overlap, upscale=upscale, upscale_filter="nearest"
    )
    specs = {
        name: (dataclasses.replace(spec, shape=(batch, *spec.shape[1:])),)
        for name, (spec,) in (("inputs", manifest.inputs), ("outputs", manifest.outputs))
    }
    changed = dataclasses.replace(manifest, processing=processing, **specs)
    spy = Spy(lambda image: image)
    restorer = Restorer(dataclasses.replace(bundle, manifest=changed), backend=spy)
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    restored = restorer.restore(image)
    assert np.array_equal(restored, image.repeat(upscale, axis=0).repeat(upscale, axis=1))
    assert all(given["image"].shape == (batch, 3, 64, 64) for given in spy.inputs)


def test_the_input_is_never_written_over(tiny_bundle: Path, tmp_path: Path) -> None:
    restorer, spy = _spied(tiny_bundle)
    photo, link = tmp_path / "a.png", tmp_path / "b.png"
    write_picture(photo, Picture(pixels=np.zeros((8, 8, 3), np.uint8)))
    link.symlink_to(photo)
    before = photo.read_bytes()
    for target in (photo, link):
        with pytest.raises(ImageError, match="is an input"):
            restorer.restore_file(photo, target)
    assert spy.inputs == []
    assert photo.read_bytes() == before


def test_regions_are_scaled_by_their_type() -> None:
    for dtype, top in ((np.uint8, 255), (np.uint16, 65535)):
        region = region_as_float(np.array([[0, top // 5, top]], dtype))
        assert region.shape == (1, 3, 3)
        np.testing.assert_allclose(region[0, :, 0], [0, 0.2, 1], atol=1e-7)
    floats = region_as_float(np.array([[[-1.0, 0.5, 2.0]]]))
    assert floats.tolist() == [[[0.0, 0.5, 1.0]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("upscale", [1, 4])
def test_forms_of_arrays(dtype: type[Any], upscale: int, tiny_bundle: Path) -> None:
    restorer, _ = _spied(tiny_bundle, upscale=upscale, upscale_filter="nearest", overlap=16)
    values = np.random.default_rng(0).random((2, 20, 24, 4))
    top = 1 if dtype is np.float32 else np.iinfo(dtype).max
    images = (values * top).astype(dtype)
    colours = images[0, ..., :3]
    expected = restorer.restore(colours)
    assert expected.shape == (20 * upscale, 24 * upscale, 3)
    gray = restorer.restore(images[0, ..., :1])
    assert (gray.shape, gray.dtype) == ((*expected.shape[:2], 1), dtype)
    assert np.array_equal(gray[..., 0], restorer.restore(images[0, ..., 0]))
    both = restorer.restore(images[0])
    assert (both.shape, both.dtype) == ((*expected.shape[:2], 4), dtype)
    assert np.array_equal(both[..., :3], expected)
    if upscale == 1:
        assert np.array_equal(both[..., 3], images[0, ..., 3])
    else:
        # Pillow enlarges bytes with a rounding between the axes, and floats without.
        alpha = images[0, ..., 3] if dtype is np.uint8 else (images[0, ..., 3] / top).astype("f4")
        by_hand = Image.fromarray(alpha).resize((96, 80), Image.Resampling.BICUBIC)
        scale = top if dtype is np.uint8 else 1
        difference = both[..., 3] / top - np.clip(np.asarray(by_hand) / scale, 0, 1)
        assert np.abs(difference).max() <= 1e-4
    batch = restorer.restore(images)
    assert batch.shape == (2, *both.shape)
    assert np.array_equal(batch[0], both)
    assert np.array_equal(batch[1], restorer.restore(images[1]))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK"])
def test_pillows_images(mode: str, tiny_bundle: Path) -> None:
    restorer, _ = _spied(tiny_bundle)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    image.info["icc_profile"] = b"profile"
    before = image.tobytes()
    restored = restorer.restore(image)
    assert image.tobytes() == before
    assert restored.size == image.size
    assert restored.mode == {"P": "RGB", "1": "L", "CMYK": "RGB"}.get(mode, mode)
    if mode == restored.mode:
        assert restored.tobytes() == before
        assert restored.info["icc_profile"] == b"profile"
    turned = Image.fromarray(pixels)
    turned.getexif()[0x0112] = 6
    assert restorer.restore(turned).size == (20, 24)


def test_floating_images_of_pillow_are_refused(tiny_bundle: Path) -> None:
    restorer, _ = _spied(tiny_bundle)
    with pytest.raises(ImageError, match="mode F cannot be restored"):
        restorer.restore(Image.new("F", (8, 8)))


def test_paths_as_text(tiny_bundle: Path, tmp_path: Path) -> None:
    restorer, _ = _spied(tiny_bundle)
    photo = tmp_path / "a.png"
    write_picture(photo, Picture(pixels=np.zeros((8, 8, 3), np.uint8)))
    restorer.restore_file(str(photo), str(tmp_path / "b.png"))
    assert (tmp_path / "b.png").is_file()


def test_a_restorer_goes_to_another_process(tiny_bundle: Path) -> None:
    restorer = Restorer(tiny_bundle, threads=1, seed=3)
    again = pickle.loads(pickle.dumps(restorer))
    image = np.random.default_rng(0).random((70, 64, 3), dtype=np.float32)
    assert np.array_equal(again.restore(image), restorer.restore(image))
    assert again.bundle == restorer.bundle
