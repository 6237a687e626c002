"""Examples, scores, and that a checkpoint and its bundle are scored alike."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from elir_edge.checkpoints.own import build_model, read_checkpoint
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage, to_uint8
from elir_edge.errors import DataError, ElirError, UsageError
from elir_edge.evaluation.evaluate import (
    Evaluation,
    Metrics,
    evaluate,
    finite,
    open_metrics,
    spread,
)
from elir_edge.evaluation.examples import (
    lone_examples,
    network_input,
    pair_examples,
    photo_examples,
)
from elir_edge.evaluation.torch_backend import checkpoint_restorer, placed_model, with_euler_steps
from elir_edge.metrics import psnr, ssim_y
from elir_edge.model import draw_noise
from elir_edge.runtime import Restorer
from elir_edge.tasks import get_task

SIZE = 64
PSNR_TOLERANCE = 1e-3
"""dB between a checkpoint and its fp32 bundle, which differ by rounding only."""


@pytest.fixture
def photos(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """Return a folder with three crops of a photo, one of them deeper."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, left in (("a.png", 0), ("b.png", 100), ("more/c.png", 200)):
        Image.fromarray(photo[50:200, left : left + 160]).save(folder / name)
    return folder


def _identity(image: FloatImage) -> FloatImage:
    return image


def _psnr_only() -> Metrics:
    return Metrics(image={"psnr": psnr})


def _restorer(path: Path, *, noise_seed: int = 0) -> Restorer:
    checkpoint = read_checkpoint(path, task="denoising")
    model = placed_model(checkpoint, "cpu")
    return checkpoint_restorer(checkpoint, model, size=SIZE, noise_seed=noise_seed)


# Examples


def test_photos_are_degraded_as_the_quality_benchmark_does(
    photos: Path, photo: NDArray[np.uint8]
) -> None:
    examples = photo_examples("denoising", photos, crop=128)
    assert examples.names == ("a.png", "b.png", "more/c.png")
    clean = photo[61:189, 116:244].astype(np.float32) / np.float32(255)
    example = examples.load(1)
    assert np.array_equal(example.reference, clean)
    expected = degrade("denoising", clean, np.random.default_rng([1, 1]))
    assert np.array_equal(example.given, expected)
    other = photo_examples("denoising", photos, crop=128, seed=0).load(1)
    assert not np.array_equal(other.given, expected)


@pytest.mark.parametrize("task", ["sr", "bsr", "inpainting", "bfr"])
def test_the_network_sees_what_training_showed_it(task: str, photos: Path) -> None:
    example = photo_examples(task, photos, crop=128).load(0)
    upscale = get_task(task).upscale
    assert example.given.shape == (128 // upscale, 128 // upscale, 3)
    assert example.reference is not None
    expected = degrade(task, example.reference, np.random.default_rng([1, 0]))
    assert np.array_equal(network_input(example, get_task(task)), expected)


def test_limits_and_crops(photos: Path) -> None:
    assert len(photo_examples("denoising", photos, limit=2)) == 2
    assert photo_examples("bfr", photos).load(0).given.shape == (512, 512, 3)
    with pytest.raises(UsageError, match="multiple of 8"):
        photo_examples("sr", photos, crop=100)
    with pytest.raises(DataError, match="no folder"):
        photo_examples("sr", photos / "missing")


def test_pairs_meet_by_name(photos: Path, tmp_path: Path) -> None:
    references = tmp_path / "references"
    for path in photos.rglob("*.png"):
        target = (references / path.relative_to(photos)).with_suffix(".bmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((640, 600)).save(target)
    examples = pair_examples("bsr", photos, references)
    assert examples.names == ("a", "b", "more/c")
    example = examples.load(2)
    assert example.given.shape == (150, 160, 3)
    assert example.reference is not None
    assert example.reference.shape == (600, 640, 3)
    with pytest.raises(DataError, match="640 x 600; expected 160 x 150"):
        pair_examples("denoising", photos, references).load(0)


def test_pairs_without_partners_are_named(photos: Path, tmp_path: Path) -> None:
    references = tmp_path / "references"
    references.mkdir()
    Image.open(photos / "a.png").save(references / "a.png")
    Image.open(photos / "a.png").save(references / "z.png")
    with pytest.raises(DataError, match="3 images have no partner") as caught:
        pair_examples("denoising", photos, references)
    for name in ("b.png", "c.png", "z.png"):
        assert name in str(caught.value)
    Image.open(photos / "a.png").save(photos / "a.bmp")
    with pytest.raises(DataError, match="same name"):
        pair_examples("denoising", photos, references)


def test_another_degradation(photos: Path) -> None:
    examples = photo_examples("denoising", photos, crop=128, degradation="broad")
    example = examples.load(1)
    assert example.reference is not None
    rng = np.random.default_rng([1, 1])
    assert np.array_equal(example.given, degrade("denoising", example.reference, rng, "broad"))
    default = photo_examples("denoising", photos, crop=128)
    assert not np.array_equal(example.given, default.load(1).given)
    assert (examples.source["degradation"], default.source["degradation"]) == ("broad", "paper")
    with pytest.raises(UsageError, match=r"unknown degradation 'none'.*paper, broad"):
        photo_examples("denoising", photos, degradation="none")


def test_degraded_images_alone(photos: Path) -> None:
    """Any size, whole, nothing known of what they should become."""
    examples = lone_examples("bsr", photos, limit=2)
    assert examples.names == ("a.png", "b.png")
    example = examples.load(0)
    assert example.reference is None
    with Image.open(photos / "a.png") as image:
        assert np.array_equal(to_uint8(example.given), np.asarray(image))
    assert network_input(example, get_task("bsr")).shape == (600, 640, 3)


def test_the_side_of_the_images(photos: Path, tmp_path: Path) -> None:
    """Of what is restored, where all are square and alike."""
    assert photo_examples("bfr", photos).side == 512
    assert photo_examples("sr", photos, crop=128).side == 128
    assert lone_examples("denoising", photos).side is None  # 160 x 150
    squares = tmp_path / "squares"
    squares.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64)).save(squares / name)
    assert lone_examples("bsr", squares).side == 256
    assert pair_examples("denoising", squares, squares).side == 64
    Image.new("RGB", (32, 32)).save(squares / "c.png")
    assert lone_examples("bsr", squares).side is None
    (squares / "b.png").write_text("no image")
    assert lone_examples("bsr", squares, limit=2).side is None


def test_spread() -> None:
    assert spread(3, 6) == [0, 1, 2]
    assert spread(100, 4) == [0, 25, 50, 75]
    assert spread(0, 4) == []


# Scores


def test_scores_by_hand(photos: Path) -> None:
    """Restoring by the identity scores what the input scores."""
    examples = photo_examples("denoising", photos, crop=64)
    done: list[int] = []
    result = evaluate(examples, _identity, open_metrics([]), done.append)
    assert done == [1, 2, 3]
    for i in range(3):
        example = examples.load(i)
        assert example.reference is not None
        for name, metric in (("psnr", psnr), ("ssim-y", ssim_y)):
            expected = metric(example.given, example.reference)
            assert result.images["input"][name][i] == expected
            assert result.images["restored"][name][i] == expected
    summary = result.summary()["psnr"]
    assert summary["restored"] == pytest.approx(np.mean(result.images["restored"]["psnr"]))
    assert summary["worst"] == min(result.images["restored"]["psnr"])
    assert [len(row) for row in result.samples] == [3, 3, 3]
    last = examples.load(2).reference
    assert last is not None
    assert np.array_equal(result.samples[2][2], to_uint8(last))


def test_scores_without_ground_truths(photos: Path) -> None:
    """What needs no reference is given the image; samples have two columns."""
    metrics = Metrics(image={"niqe": lambda image, reference: float(image.mean())})
    examples = lone_examples("denoising", photos)
    result = evaluate(examples, lambda image: image / 2, metrics)
    means = [float(examples.load(i).given.mean()) for i in range(3)]
    assert result.images["input"]["niqe"] == pytest.approx(means, rel=1e-6)
    assert result.images["restored"]["niqe"] == pytest.approx(np.array(means) / 2, rel=1e-6)
    assert [len(row) for row in result.samples] == [2, 2, 2]
    assert result.summary()["niqe"]["worst"] == pytest.approx(max(means) / 2)  # lower is better


def test_folders_without_ground_truths(photos: Path) -> None:
    def count(folder: Path, references: Path) -> float:
        assert not references.exists()
        return float(len(list(folder.iterdir())))

    metrics = Metrics(image={}, folder={"fid-ffhq-256": count})
    result = evaluate(lone_examples("denoising", photos), _identity, metrics)
    assert result.folders["restored"] == {"fid-ffhq-256": 3.0}


def test_worst_is_the_largest_where_lower_is_better() -> None:
    scores = {"lpips-vgg": [0.1, 0.3], "psnr": [20.0, 30.0]}
    result = Evaluation(
        names=("a", "b"), images={"input": scores, "restored": scores}, folders=_NONE, samples=[]
    )
    assert result.summary()["lpips-vgg"]["worst"] == 0.3
    assert result.summary()["psnr"]["worst"] == 20.0


_NONE: dict[str, dict[str, float]] = {"input": {}, "restored": {}}


def test_metrics_of_folders_see_all_images(photos: Path) -> None:
    def differing(folder: Path, references: Path) -> float:
        pairs = zip(sorted(folder.iterdir()), sorted(references.iterdir()), strict=True)
        return float(sum(a.read_bytes() != b.read_bytes() for a, b in pairs))

    metrics = Metrics(image={}, folder={"fid": differing})
    examples = photo_examples("denoising", photos, crop=64)
    result = evaluate(examples, lambda image: image, metrics)
    assert result.folders == {"input": {"fid": 3.0}, "restored": {"fid": 3.0}}
    assert result.summary() == {"fid": {"input": 3.0, "restored": 3.0}}


def test_unknown_metrics_are_named() -> None:
    with pytest.raises(UsageError, match=r"'sharpness'.*psnr, ssim-y, ssim-rgb, lpips-vgg"):
        open_metrics(["psnr", "sharpness"])


def test_every_metric_that_lacks_something_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyiqa", None)
    with pytest.raises(ElirError, match=r"niqe needs pyiqa.*clipiqa needs pyiqa"):
        open_metrics(["niqe", "clipiqa"])


def test_numbers_that_json_cannot_hold() -> None:
    assert finite({"a": [math.inf, 1.0], "b": (math.nan, "x")}) == {
        "a": [None, 1.0],
        "b": [None, "x"],
    }


# A checkpoint and its bundle


def test_bundle_and_checkpoint_score_alike(
    photos: Path, tiny_checkpoint: Path, tiny_bundle: Path
) -> None:
    """Tiles included: the crop is larger than the graph."""
    examples = photo_examples("denoising", photos, crop=100)
    by_torch = evaluate(examples, _restorer(tiny_checkpoint).restore, open_metrics([]))
    by_bundle = evaluate(examples, Restorer(tiny_bundle).restore, open_metrics([]))
    for name in ("psnr", "ssim-y"):
        differences = np.subtract(
            by_torch.images["restored"][name], by_bundle.images["restored"][name]
        )
        assert np.abs(differences).max() <= PSNR_TOLERANCE
    assert by_torch.images["input"] == by_bundle.images["input"]
    assert by_torch.images["restored"]["psnr"] != by_torch.images["input"]["psnr"]


def test_another_draw_of_noise_does_not_score_alike(
    photos: Path, tiny_checkpoint: Path, tiny_bundle: Path
) -> None:
    """The corrupted twin: the comparison above would see a wrong constant."""
    examples = photo_examples("denoising", photos, crop=100)
    wrong = _restorer(tiny_checkpoint, noise_seed=1)
    by_torch = evaluate(examples, wrong.restore, _psnr_only())
    by_bundle = evaluate(examples, Restorer(tiny_bundle).restore, _psnr_only())
    differences = np.subtract(
        by_torch.images["restored"]["psnr"], by_bundle.images["restored"]["psnr"]
    )
    assert np.abs(differences).max() > PSNR_TOLERANCE


def test_scores_are_those_of_the_quality_benchmark(photos: Path, tiny_checkpoint: Path) -> None:
    """One tile of the crop's size: the plain forward pass, clamped."""
    examples = photo_examples("denoising", photos, crop=SIZE)
    result = evaluate(examples, _restorer(tiny_checkpoint).restore, _psnr_only())
    model = build_model(read_checkpoint(tiny_checkpoint, task="denoising"))
    noise = draw_noise(model.config, SIZE, SIZE, seed=0)
    for i in range(len(examples)):
        example = examples.load(i)
        assert example.reference is not None
        with torch.no_grad():
            y = torch.from_numpy(example.given).permute(2, 0, 1)[None]
            restored = model(y, noise).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        assert result.images["restored"]["psnr"][i] == psnr(example.reference, restored)


def test_other_numbers_of_euler_steps(photos: Path, tiny_checkpoint: Path) -> None:
    """M steps of the same field; the K that it was trained for give what they gave."""
    checkpoint = read_checkpoint(tiny_checkpoint, task="denoising")
    given = photo_examples("denoising", photos, crop=SIZE).load(0).given
    model = build_model(checkpoint)
    noise = draw_noise(model.config, SIZE, SIZE, seed=0)
    results = {}
    for steps in (1, 2, 7):
        changed = with_euler_steps(checkpoint, steps)
        assert changed.config.num_steps == steps
        restorer = checkpoint_restorer(changed, placed_model(changed, "cpu"), size=SIZE)
        results[steps] = restorer.restore(given)
        with torch.no_grad():
            y = torch.from_numpy(given).permute(2, 0, 1)[None]
            end = model.trajectory(model.initial_point(y) + noise, steps)[-1]
            expected = model.decoder(end).clamp(0, 1)[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(results[steps], expected, rtol=0, atol=1e-6)
    assert np.array_equal(results[2], _restorer(tiny_checkpoint).restore(given))
    # The twin: another M is another image.
    assert np.abs(results[1] - results[7]).max() > 1e-4


def test_euler_steps_that_cannot_be(tiny_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint, task="denoising")
    with pytest.raises(UsageError, match="too few Euler steps; got 0"):
        with_euler_steps(checkpoint, 0)
    config = dataclasses.replace(checkpoint.config, num_steps=0, sigma_s=0)
    with pytest.raises(UsageError, match="has no flow"):
        with_euler_steps(dataclasses.replace(checkpoint, config=config), 3)


def test_sizes_and_devices_that_do_not_fit(tiny_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint, task="denoising")
    with pytest.raises(UsageError, match="multiple of 16 from 32"):
        checkpoint_restorer(checkpoint, placed_model(checkpoint, "cpu"), size=40)
    with pytest.raises(UsageError, match="device 'abacus'"):
        placed_model(checkpoint, "abacus")
