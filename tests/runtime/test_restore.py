"""Images of any size through a graph of one size."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import elir_edge.runtime.fitting as fitting
from elir_edge.errors import BackendError, BundleError, ImageError
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.arrays import FloatImage, region_as_float
from elir_edge.runtime.backends import Backend
from elir_edge.runtime.bundle import write_manifest
from elir_edge.runtime.images import Picture, read_picture, write_picture
from elir_edge.runtime.metadata import Metadata
from export.plan import run_export
from export.request import Request

BLENDED = 2e-6
"""Tolerance of blended and enlarged floats in [0, 1]: a few roundings of float32."""

_METADATA = Metadata(icc_profile=b"profile", dpi=(300.0, 300.0))
SHAPES = [(1, 1), (1, 1, 3), (5, 70, 3), (70, 5), (64, 64, 3), (64, 64), (65, 64, 3), (100, 130, 3)]


def _image(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> NDArray[Any]:
    values = np.random.default_rng(seed).random(shape)
    if np.issubdtype(dtype, np.integer):
        return np.rint(values * np.iinfo(dtype).max).astype(dtype)
    return values.astype(dtype)


@pytest.fixture(scope="module")
def restorer(tiny_bundle: Path) -> Restorer:
    """Return the tiny model, loaded."""
    return Restorer(tiny_bundle, threads=1)


@pytest.fixture
def changed(tiny_bundle: Path, tmp_path: Path) -> Callable[..., Restorer]:
    """Return a function that loads the bundle with another `processing`."""

    def load(*, whole: bool = False, **processing: object) -> Restorer:
        folder = tmp_path / "changed"
        shutil.copytree(tiny_bundle, folder, dirs_exist_ok=True)
        manifest = Bundle.open(folder).manifest
        replaced = dataclasses.replace(manifest.processing, **processing)  # type: ignore[arg-type]
        write_manifest(folder, dataclasses.replace(manifest, processing=replaced))
        return Restorer(folder, threads=1, whole=whole)

    return load


def _as_identity(restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> Restorer:
    """Put the identity in the network's place; sizes, tiles and types stay as they are."""

    def run(image: FloatImage, *, noise_key: int = 0) -> FloatImage:
        assert image.shape == (restorer.size, restorer.size, 3)
        assert image.dtype == np.float32
        return image

    monkeypatch.setattr(restorer, "run", run)
    return restorer


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_identity_gives_the_image_back(
    shape: tuple[int, ...], dtype: Any, restorer: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = _image(shape, dtype)
    before = image.copy()
    restored = _as_identity(restorer, monkeypatch).restore(image)
    assert restored.shape == image.shape
    assert restored.dtype == image.dtype
    if np.issubdtype(dtype, np.integer):
        # Blending is off by BLENDED at most, which is less than half a step of 16 bits.
        assert np.array_equal(restored, image)
    else:
        assert abs(restored - image).max() <= BLENDED
    assert np.array_equal(image, before)


def test_a_network_that_shifts_is_noticed(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin of the identity: one pixel to the side is another image."""

    def run(image: FloatImage, *, noise_key: int = 0) -> FloatImage:
        return np.roll(image, 1, axis=1)

    monkeypatch.setattr(restorer, "run", run)
    image = _image((100, 130, 3), np.float32)
    assert abs(restorer.restore(image) - image).max() > 0.1


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 70), (100, 130, 3)])
def test_the_real_network_keeps_shape_and_type(shape: tuple[int, ...], restorer: Restorer) -> None:
    for dtype in (np.uint8, np.uint16, np.float32):
        image = _image(shape, dtype)
        restored = restorer.restore(image)
        assert (restored.shape, restored.dtype) == (image.shape, image.dtype)
        assert np.array_equal(restorer.restore(image), restored)


def test_one_tile_is_one_run(restorer: Restorer) -> None:
    image = _image((64, 64, 3), np.float32)
    assert abs(restorer.restore(image) - restorer.run(image)).max() <= BLENDED
    # The twin: the network's output is not simply its input.
    assert abs(restorer.restore(image) - image).max() > 0.01


def test_views_and_read_only_arrays(restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    _as_identity(restorer, monkeypatch)
    image = _image((140, 90, 3), np.uint8)[::-2, ::-1]
    image.flags.writeable = False
    assert np.array_equal(restorer.restore(image), image)


def _enlarged(image: NDArray[Any], scale: int, method: str) -> FloatImage:
    """Enlarge a whole image at once."""
    values = region_as_float(image)
    if method == "nearest":
        return values.repeat(scale, axis=0).repeat(scale, axis=1)
    size = (image.shape[1] * scale, image.shape[0] * scale)
    planes = [
        np.asarray(Image.fromarray(values[..., c]).resize(size, Image.Resampling.BICUBIC))
        for c in range(3)
    ]
    return np.clip(np.stack(planes, axis=-1), 0, 1)


@pytest.mark.parametrize("method", ["nearest", "bicubic"])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_enlarging_by_tiles_is_enlarging_at_once(
    scale: int, method: str, changed: Callable[..., Restorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = _as_identity(changed(upscale=scale, upscale_filter=method), monkeypatch)
    image = _image((64 // scale + 7, 64 // scale + 20, 3), np.float32)
    restored = restorer.restore(image)
    assert restored.shape == (image.shape[0] * scale, image.shape[1] * scale, 3)
    assert abs(restored - _enlarged(image, scale, method)).max() <= BLENDED


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_enlarging_tiles_without_their_surroundings_is_noticed(
    scale: int, changed: Callable[..., Restorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: a filter that does not see past its tile gives other values at the edges."""
    restorer = _as_identity(changed(upscale=scale, upscale_filter="bicubic"), monkeypatch)
    monkeypatch.setattr(fitting, "_FILTER_REACH", 0)
    image = _image((64 // scale + 7, 64 // scale + 20, 3), np.float32)
    assert abs(restorer.restore(image) - _enlarged(image, scale, "bicubic")).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5, 3), (11, 40)])
def test_small_images_are_enlarged(
    shape: tuple[int, ...],
    dtype: Any,
    changed: Callable[..., Restorer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restorer = _as_identity(changed(upscale=4, upscale_filter="nearest"), monkeypatch)
    image = _image(shape, dtype)
    expected = image.repeat(4, axis=0).repeat(4, axis=1)
    assert np.array_equal(restorer.restore(image), expected)


def test_transparency_and_profile_go_along(
    changed: Callable[..., Restorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = _as_identity(changed(upscale=2, upscale_filter="nearest"), monkeypatch)
    alpha = np.full((9, 12), 77, np.uint8)
    picture = Picture(pixels=_image((9, 12, 3), np.uint8), alpha=alpha, metadata=_METADATA)
    restored = restorer.restore_picture(picture)
    assert restored.pixels.shape == (18, 24, 3)
    assert restored.alpha is not None
    assert restored.alpha.shape == (18, 24)
    assert (restored.alpha == 77).all()
    assert restored.metadata == _METADATA


def test_files(restorer: Restorer, tmp_path: Path) -> None:
    pixels = _image((70, 90), np.uint16)
    write_picture(tmp_path / "in.png", Picture(pixels=pixels))
    restorer.restore_file(tmp_path / "in.png", tmp_path / "deep" / "out.tif")
    restored = read_picture(tmp_path / "deep" / "out.tif").pixels
    assert np.array_equal(restored, restorer.restore(pixels))


def test_a_resized_image_is_seen_whole(
    changed: Callable[..., Restorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = _as_identity(changed(fit="resize", whole=True), monkeypatch)
    same = _image((64, 64, 3), np.uint8)
    assert np.array_equal(restorer.restore(same), same)
    calls: list[tuple[int, int]] = []
    ramp = np.linspace(0.1, 0.9, 150, dtype=np.float32)
    image = np.broadcast_to(ramp[None, :, None], (100, 150, 3))
    restored = restorer.restore(image, progress=lambda done, total: calls.append((done, total)))
    assert restored.shape == image.shape
    assert calls == [(1, 1)]
    # There and back, bicubic bends a ramp at its two ends only, over some pixels.
    assert abs(restored - image).max() <= 0.01
    # The twin: the mirrored ramp is another image.
    assert abs(restored - image[:, ::-1]).max() > 0.5


@pytest.mark.parametrize("shape", [(100, 126, 3), (126, 100), (1, 200, 3)])
def test_what_is_far_from_square_is_no_aligned_face(
    shape: tuple[int, ...], changed: Callable[..., Restorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = changed(fit="resize")
    with pytest.raises(ImageError, match=r"not an aligned face.*ratio of at most 1\.25.*--whole"):
        restorer.restore(_image(shape, np.uint8))
    assert restorer.restore(_image((100, 125, 3), np.uint8)).shape == (100, 125, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200, 3), (200, 1), (30, 20, 3)])
@pytest.mark.parametrize("upscale", [1, 2])
def test_resized_images_of_any_size(
    shape: tuple[int, ...],
    upscale: int,
    changed: Callable[..., Restorer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restorer = _as_identity(changed(fit="resize", upscale=upscale, whole=True), monkeypatch)
    for dtype in (np.uint8, np.uint16, np.float32):
        flat = np.full(shape, 0.25 if dtype is np.float32 else 100, dtype=dtype)
        restored = restorer.restore(flat)
        assert restored.shape == (shape[0] * upscale, shape[1] * upscale, *shape[2:])
        assert restored.dtype == dtype
        # One step of rounding for integers; for floats the filter's and luminance's roundings.
        step = BLENDED if dtype is np.float32 else 1
        assert abs(restored.astype(np.float64) - float(flat.flat[0])).max() <= step


@pytest.mark.parametrize(
    ("shape", "total"), [((64, 64, 3), 1), ((65, 64), 2), ((112, 113, 3), 6), ((3, 3), 1)]
)
def test_progress_counts_the_tiles(
    shape: tuple[int, ...], total: int, restorer: Restorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 64 pixels with 16 shared, n tiles cover 48 n + 16 pixels."""
    calls: list[tuple[int, int]] = []
    _as_identity(restorer, monkeypatch).restore(
        _image(shape, np.uint8), progress=lambda done, all_: calls.append((done, all_))
    )
    assert calls == [(i + 1, total) for i in range(total)]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"got \(4, 4, 2\); expected \(H, W\), \(H, W, 1\)"),
        (np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\).*move the channels last"),
        (np.zeros((1, 3, 8, 8), np.uint8), r"\(1, 3, 8, 8\).*move the channels last"),
        (np.zeros((0, 4, 4, 3), np.uint8), r"\(0, 4, 4, 3\)"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), r"\(1, 1, 4, 4, 3\)"),
        (np.full((4, 4), 128.0), "got 128 to 128; expected 0 to 1; fix: divide by 255"),
        (np.full((4, 4), -0.01), "got -0.01 to -0.01; expected 0 to 1; fix: clip"),
        (np.full((4, 4, 3), 1.001, np.float32), "clip them"),
        ("photo.png", "got str; .*call restore_file"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.int64), "got int64; expected uint8, uint16, or floats"),
        (np.zeros((4, 4), bool), "got bool"),
        (np.zeros((4, 4), np.complex64), "got complex64"),
        (np.full((4, 4), np.nan), "not finite"),
        (np.array([[0.5, np.inf]], np.float32), "not finite"),
    ],
)
def test_bad_arrays(image: NDArray[Any], message: str, restorer: Restorer) -> None:
    with pytest.raises(ImageError, match=message):
        restorer.restore(image)


def test_too_large_a_result_is_refused_before_anything_is_made(restorer: Restorer) -> None:
    """One pixel seen from everywhere: the array itself takes no memory."""
    image = np.broadcast_to(np.uint8(0), (30_000, 30_000))
    with pytest.raises(ImageError, match=r"900 megapixels; expected at most 537"):
        restorer.restore(image)


def test_enlargement_counts_towards_the_limit(changed: Callable[..., Restorer]) -> None:
    image = np.broadcast_to(np.uint8(0), (4_000, 4_000))
    with pytest.raises(ImageError, match=r"1024 megapixels"):
        changed(upscale=8).restore(image)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"restored": np.full((1, 3, 64, 64), np.nan, np.float32)}, "finite: False"),
        ({"restored": np.full((1, 3, 64, 64), np.inf, np.float32)}, "finite: False"),
        ({"restored": np.zeros((1, 3, 32, 32), np.float32)}, r"shape \(1, 3, 32, 32\)"),
        ({"other": np.zeros((1, 3, 64, 64), np.float32)}, "no output restored; got other"),
    ],
)
def test_unusable_output_is_no_image(
    output: dict[str, NDArray[Any]], message: str, tiny_bundle: Path
) -> None:
    class Broken(Backend):
        version = "broken 1.0"

        def run(self, inputs: object) -> dict[str, NDArray[Any]]:
            return output

    restorer = Restorer(tiny_bundle, threads=1)
    restorer._backend = Broken()
    with pytest.raises(BundleError, match=message):
        restorer.restore(np.zeros((10, 10, 3), np.uint8))


def test_an_input_of_another_size_is_refused(restorer: Restorer) -> None:
    with pytest.raises(BackendError, match="cannot run the artifact"):
        restorer.run(np.zeros((32, 32, 3), np.float32))


@pytest.mark.parametrize(
    "processing", [{"overlap": 64}, {"overlap": -1}, {"upscale": 0}, {"upscale": 64}]
)
def test_tiles_that_cannot_be_laid(
    processing: dict[str, int], changed: Callable[..., Restorer]
) -> None:
    with pytest.raises(BundleError, match=r"tiles that cannot be laid|invalid enlargement"):
        changed(**processing)


def test_noise_as_an_input(tiny_checkpoint: Path, tmp_path: Path) -> None:
    request = Request(
        task="denoising",
        target="onnx",
        size=64,
        checkpoint=tiny_checkpoint,
        noise="input",
        out=tmp_path,
    )
    folder = run_export(request).folder
    image = _image((64, 100, 3), np.float32)
    first = Restorer(folder, seed=1, threads=1)
    assert np.array_equal(first.restore(image), Restorer(folder, seed=1, threads=1).restore(image))
    # The same Restorer, asked again, draws the same; it holds no state.
    assert np.array_equal(first.restore(image), first.restore(image))
    assert not np.array_equal(
        first.restore(image), Restorer(folder, seed=2, threads=1).restore(image)
    )
    # Each tile has its own draw: the same noise in all would show as a pattern.
    tile = image[:64, :64]
    assert not np.array_equal(first.run(tile, noise_key=0), first.run(tile, noise_key=1))
