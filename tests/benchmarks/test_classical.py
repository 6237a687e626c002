"""Every classical method restores what it is made for, and not what it is not."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import classical
from benchmarks.classical import DegradedPhoto, degraded_photo, require_libraries
from benchmarks.methods import METHODS, Method, parse_tasks, search
from elir_edge.data.operations import add_noise, gaussian_blur
from elir_edge.errors import ElirError, UsageError
from elir_edge.metrics import psnr
from elir_edge.tasks import TASKS

NEEDED = {"bm3d": "bm3d", "bm3d_bicubic": "bm3d", "bilateral_bicubic": "cv2"}
NEEDED |= {"telea": "cv2", "telea_tv": "cv2"}
"""Functions and the package of the extra `benchmark` that each needs."""

Photo = NDArray[np.float32]


def _skip_without(name: str) -> None:
    package = NEEDED.get(name)
    if package is not None and find_spec(package) is None:
        pytest.skip(f"needs {package}, of the extra `benchmark`")


@pytest.fixture(scope="module")
def clean() -> Photo:
    """Return a disc on a slope, 64 x 64."""
    rows, columns = np.mgrid[:64, :64].astype(np.float32)
    image = np.stack([0.2 + rows / 128, 0.3 + columns / 160, 0.5 + rows / 320], axis=-1)
    image[(rows - 30) ** 2 + (columns - 34) ** 2 < 15**2] = (0.75, 0.6, 0.2)
    return image.astype(np.float32)


def _noisy(clean: Photo) -> DegradedPhoto:
    noisy = add_noise(clean, 20, np.random.default_rng(0))
    return DegradedPhoto(image=noisy, held=noisy)


def _blurred(clean: Photo) -> DegradedPhoto:
    blurred = gaussian_blur(clean, 2.0, kernel_size=21)
    return DegradedPhoto(image=blurred, held=blurred)


def _gain(method: Method, degraded: DegradedPhoto, clean: Photo) -> float:
    restored = method(degraded)
    assert restored.shape == clean.shape
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    assert restored.max() <= 1
    return psnr(clean, restored) - psnr(clean, degraded.image)


@pytest.mark.parametrize(
    ("task", "title"),
    [(task, title) for task in ("denoising", "sr", "inpainting") for title in METHODS[task]],
)
def test_tuned_methods_undo_their_task(task: str, title: str, clean: Photo) -> None:
    method = METHODS[task][title]
    _skip_without(method.function.__name__)
    degraded = degraded_photo(task, clean, [0, 0])
    restored = method(degraded)
    least = psnr(clean, degraded.image) + (1 if task == "sr" else 8)
    assert restored.dtype == np.float32
    assert 0 <= restored.min() <= restored.max() <= 1
    assert psnr(clean, restored) > least
    # The twin: held against the negative, it does not.
    assert psnr(np.ascontiguousarray(1 - clean), restored) < least


BLIND: list[tuple[Callable[..., Photo], dict[str, float], Callable[[Photo], DegradedPhoto]]] = [
    (classical.tv_bicubic, {"weight": 0.1}, _noisy),
    (classical.bicubic_tv, {"weight": 0.1}, _noisy),
    (classical.bilateral_bicubic, {"colour": 0.3, "distance": 2.0}, _noisy),
    (classical.non_local_means_bicubic, {"strength": 0.8}, _noisy),
    (classical.unsharp_masking, {"sigma": 2.0, "amount": 1.0}, _blurred),
    (classical.wiener, {"sigma": 2.0, "noise": 0.001}, _blurred),
]
"""Function, parameters, and what it undoes."""


@pytest.mark.parametrize(("function", "parameters", "degrade"), BLIND)
def test_blind_methods_undo_noise_or_blur(
    function: Callable[..., Photo],
    parameters: dict[str, float],
    degrade: Callable[[Photo], DegradedPhoto],
    clean: Photo,
) -> None:
    _skip_without(function.__name__)
    method = Method(function=function, parameters=parameters)
    assert _gain(method, degrade(clean), clean) > 1
    # The twin: what smooths does not sharpen, and what sharpens does not smooth.
    assert _gain(method, _blurred(clean) if degrade is _noisy else _noisy(clean), clean) < 0.5


def test_bm3d_estimates_the_noise(clean: Photo) -> None:
    _skip_without("bm3d_bicubic")
    method = Method(function=classical.bm3d_bicubic, parameters={"strength": 1.0})
    assert _gain(method, _noisy(clean), clean) > 8


def test_wiener_inverts_its_own_blur(clean: Photo) -> None:
    blurred = gaussian_blur(clean, 1.0, kernel_size=21)
    degraded = DegradedPhoto(image=blurred, held=blurred)
    assert psnr(clean, classical.wiener(degraded, 1.0, 1e-6)) > psnr(clean, blurred) + 15
    assert psnr(clean, classical.wiener(degraded, 1.5, 1e-6)) < psnr(clean, blurred)


def test_the_mask_is_the_one_that_was_drawn() -> None:
    white = np.ones((128, 128, 3), np.float32)
    degraded = degraded_photo("inpainting", white, [1, 7])
    # Noise of 25.6 carries neither 0 nor 1 across the middle.
    visible = degraded.image.mean(axis=2) > 0.5
    assert degraded.known is not None
    assert np.array_equal(degraded.known, visible)
    other = degraded_photo("inpainting", white, [1, 8])
    assert other.known is not None
    assert not np.array_equal(other.known, visible)


def test_inpainting_needs_the_mask(clean: Photo) -> None:
    with pytest.raises(ElirError, match="which pixels"):
        classical.weighted_mean(DegradedPhoto(image=clean, held=clean), 2.0)


def test_each_task_has_methods_within_their_grids() -> None:
    assert set(METHODS) == set(TASKS)
    for methods in METHODS.values():
        for method in methods.values():
            assert set(method.parameters) == set(method.grid)
            assert all(value in method.grid[name] for name, value in method.parameters.items())


def test_search_puts_the_best_first() -> None:
    gray = np.full((16, 16, 3), 0.5, np.float32)
    method = Method(
        function=lambda degraded, shift: degraded.image + np.float32(shift),
        grid={"shift": (0.1, -0.1, 0.25)},
    )
    # The photo is 0.1 too dark: shifted by 0.1, 0.15 and -0.1 it is off by 0, 0.15 and 0.2.
    dark = DegradedPhoto(image=gray - np.float32(0.1), held=gray)
    rows = search(method, [gray], [dark])
    assert [parameters["shift"] for _, parameters in rows] == [0.1, 0.25, -0.1]
    assert rows[1][0] == pytest.approx(-20 * np.log10(0.15), abs=1e-4)


def test_tasks_are_parsed() -> None:
    assert parse_tasks("sr, bfr") == ["sr", "bfr"]
    with pytest.raises(UsageError, match="unknown task"):
        parse_tasks("sr,deblurring")


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "find_spec", lambda name: None if name == "cv2" else object())
    with pytest.raises(ElirError, match=r"need cv2.*benchmark"):
        require_libraries()
    monkeypatch.setattr(classical, "find_spec", lambda name: object())
    require_libraries()
