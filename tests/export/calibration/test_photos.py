"""Calibration crops: three lists without a photo in common, the same each time."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elir_edge.errors import DataError
from export.calibration.photos import calibration_side, load_calibration


def _folder(path: Path, count: int) -> Path:
    """Return a folder of gray photos, each with a level of its own."""
    path.mkdir()
    for i in range(count):
        Image.new("RGB", (80, 70), (10 * i,) * 3).save(path / f"{i:02}.png")
    return path


def test_default_photos_are_there_and_the_same_each_time() -> None:
    first = load_calibration("denoising", 64, crops=12)
    assert (len(first.ranges), len(first.search), len(first.gates)) == (12, 12, 16)
    assert all(e.clean.shape == e.degraded.shape == (64, 64, 3) for e in first.ranges)
    assert load_calibration("denoising", 64, crops=12).sha256 == first.sha256
    assert load_calibration("sr", 64, crops=12).sha256 != first.sha256


def test_degraded_crops_survive_eight_bits() -> None:
    levels = load_calibration("denoising", 64, crops=1).ranges[0].degraded * 255
    assert np.abs(levels - np.rint(levels)).max() < 1e-4


def test_no_photo_serves_two_purposes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.calibration.photos._recolour", lambda image, rng: image)
    monkeypatch.setattr("export.calibration.photos._GAIN", np.float32(1))
    calibration = load_calibration("sr", 64, _folder(tmp_path / "photos", 11), crops=20)
    splits = (calibration.ranges, calibration.search, calibration.gates)
    levels = [{round(float(e.clean.mean()) * 255) for e in split} for split in splits]
    assert levels[2] == {0, 50, 100}
    assert levels[1] == {10, 60}
    assert levels[0] == {20, 30, 40, 70, 80, 90}


def test_every_fourth_crop_for_ranges_is_overexposed(tmp_path: Path) -> None:
    calibration = load_calibration("sr", 64, _folder(tmp_path / "photos", 11), crops=6)
    ranges = [round(float(example.clean.mean()) * 255) for example in calibration.ranges]
    assert ranges == [20, 30, 40, 2 * 70, 80, 90]
    assert calibration.ranges[3].degraded.mean() == pytest.approx(2 * 70 / 255, abs=0.02)
    gates = [round(float(example.clean.mean()) * 255) for example in calibration.gates[:3]]
    assert gates == [0, 50, 100]


def test_only_further_crops_of_a_photo_are_recoloured(tmp_path: Path) -> None:
    gates = load_calibration("sr", 64, _folder(tmp_path / "photos", 11), crops=1).gates
    colours = [example.clean.mean((0, 1)) for example in gates]
    assert all(np.ptp(colour) < 1e-6 for colour in colours[:3])
    bright = colours[4::3] + colours[5::3]  # the first photo is black: nothing can colour it
    assert all(np.ptp(colour) > 1e-3 for colour in bright)


def test_too_few_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got 4; expected at least 5"):
        load_calibration("sr", 64, _folder(tmp_path / "photos", 4))


def test_crops_are_degraded_as_the_checkpoint_learned() -> None:
    published = load_calibration("bfr", 64, crops=2)
    assert load_calibration("bfr", 64, crops=2, degradation="published").sha256 == published.sha256
    assert load_calibration("bfr", 64, crops=2, degradation="paper").sha256 != published.sha256


def _marked(tmp_path: Path) -> Path:
    """Return photos whose left half is dark and whose right half is bright."""
    folder = tmp_path / "marked"
    folder.mkdir()
    for i in range(10):
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[:, 32:] = 200
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def test_half_of_the_crops_are_turned_round(tmp_path: Path) -> None:
    """Of 48 crops: 24 within three and a half standard deviations."""
    calibration = load_calibration("sr", 64, _marked(tmp_path), crops=48)
    turned = [
        float(e.clean[:, :32].mean()) > float(e.clean[:, 32:].mean()) for e in calibration.ranges
    ]
    assert 12 <= sum(turned) <= 36


def test_overexposed_crops_stop_at_white(tmp_path: Path) -> None:
    calibration = load_calibration("sr", 64, _marked(tmp_path), crops=8)
    bright = [float(example.clean.max()) for example in calibration.ranges]
    assert bright[3] == 1
    assert max(bright) == 1
    assert min(float(example.clean.min()) for example in calibration.ranges) >= 0


def test_few_photos_are_refused(tmp_path: Path) -> None:
    assert len(load_calibration("sr", 64, _folder(tmp_path / "five", 5), crops=1).ranges) == 1
    with pytest.raises(DataError, match=r"too few photos .*got 4; expected at least 5"):
        load_calibration("sr", 64, _folder(tmp_path / "four", 4), crops=1)


def test_only_the_gates_crops_are_of_full_size() -> None:
    found = load_calibration("denoising", 64, side=32, crops=2)
    sides = [{each.clean.shape[0] for each in s} for s in (found.ranges, found.search, found.gates)]
    assert sides == [{32}, {32}, {64}]
    assert found.gates[0].degraded.tolist() == (
        load_calibration("denoising", 64, crops=2).gates[0].degraded.tolist()
    )


@pytest.mark.parametrize(
    ("size", "gmacs", "side"),
    [
        (256, 3.4, 256),
        (256, 20.0, 256),
        (256, 20.1, 128),
        (256, 50.9, 128),
        (512, 249.0, 128),
        (512, 79.0, 256),
        (128, 300.0, 128),
        (384, 200.0, 192),
        (1000, 900.0, 250),
    ],
)
def test_large_models_are_calibrated_on_smaller_crops(size: int, gmacs: float, side: int) -> None:
    assert calibration_side(size, int(gmacs * 1e9)) == side


@pytest.mark.parametrize("size", [(70, 300), (300, 70)])
def test_narrow_photos_are_cut_across(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most as much as the shorter side has, whichever it is."""
    monkeypatch.setattr("export.calibration.photos._recolour", lambda image, rng: image)
    monkeypatch.setattr("export.calibration.photos._GAIN", np.float32(1))
    folder = tmp_path / "photos"
    folder.mkdir()
    ramp = np.linspace(0, 255, 300).astype(np.uint8)
    for i in range(5):
        pixels = np.broadcast_to(ramp[None, :, None], (70, 300, 3))
        image = Image.fromarray(pixels if size[0] > size[1] else pixels.transpose(1, 0, 2))
        image.save(folder / f"{i}.png")
    for crop in load_calibration("denoising", 64, folder, crops=12).ranges:
        assert crop.clean.shape == (64, 64, 3)
        assert np.ptp(crop.clean) < 72 / 300  # 64 to 70 pixels of a ramp of 300


def test_the_first_crop_of_each_photo_keeps_its_colours(tmp_path: Path) -> None:
    """All others are recoloured; of six photos, three are for ranges."""
    ranges = load_calibration("sr", 64, _folder(tmp_path / "photos", 6), crops=8).ranges
    gray = [bool(np.ptp(crop.clean.mean((0, 1))) < 1e-6) for crop in ranges]
    assert gray == [True] * 3 + [False] * 5
