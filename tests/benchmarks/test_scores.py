"""Scores by hand."""

import math

import numpy as np
import pytest

from benchmarks.scores import Score, compare, mean_score, score
from elir_edge.data.operations import mean_laplacian
from elir_edge.errors import ParityError


def _scores(*values: float) -> dict[int, Score]:
    return {
        i: Score(psnr_db=value, ssim_y=value / 100, sharpness=1.0) for i, value in enumerate(values)
    }


def test_laplacian_of_a_single_bright_pixel() -> None:
    image = np.zeros((5, 5, 3), np.float32)
    image[2, 2] = 1
    # Inside, 9 pixels: 4 at the centre, 1 at each of its four neighbours.
    assert mean_laplacian(image) == pytest.approx(8 / 9)
    slope = np.broadcast_to(np.arange(5, dtype=np.float32)[:, None, None], (5, 5, 3))
    assert mean_laplacian(slope) == 0


def test_score_by_hand() -> None:
    rng = np.random.default_rng(0)
    clean = rng.random((16, 16, 3), dtype=np.float32)
    same = score(clean, clean)
    assert same == Score(psnr_db=math.inf, ssim_y=pytest.approx(1), sharpness=1)
    # Half the contrast has half the Laplacian; the error is half the deviation from the mean.
    half = (0.5 + (clean - 0.5) / 2).astype(np.float32)
    found = score(clean, half)
    assert found.sharpness == pytest.approx(0.5, abs=1e-6)
    assert found.psnr_db == pytest.approx(-10 * np.log10(np.mean((clean - 0.5) ** 2) / 4), abs=1e-4)
    assert found.ssim_y < 0.95


def test_a_flat_photo_has_no_sharpness_and_does_not_count_in_the_mean() -> None:
    flat = np.full((16, 16, 3), 0.5, np.float32)
    rng = np.random.default_rng(0)
    lively = rng.random((16, 16, 3), dtype=np.float32)
    on_flat = score(flat, lively)
    assert on_flat.sharpness is None
    both = {0: on_flat, 1: score(lively, lively)}
    mean = mean_score(both, [0, 1])
    assert mean is not None
    assert mean.sharpness == 1
    alone = mean_score(both, [0])
    assert alone is not None
    assert alone.sharpness is None


def test_not_a_number_is_refused() -> None:
    clean = np.full((16, 16, 3), 0.5, np.float32)
    broken = clean.copy()
    broken[3, 3, 0] = np.nan
    with pytest.raises(ParityError, match="not finite"):
        score(clean, broken)


def test_mean_over_the_photos_asked_for() -> None:
    scores = _scores(20.0, 30.0, 40.0)
    assert mean_score(scores, [0, 1]) == Score(psnr_db=25, ssim_y=0.25, sharpness=1)
    assert mean_score(scores, [2]) == Score(psnr_db=40, ssim_y=0.4, sharpness=1)
    # A photo that was not scored, or none at all: no mean, rather than one of others.
    assert mean_score(scores, [0, 3]) is None
    assert mean_score(scores, []) is None


def test_comparison_by_hand() -> None:
    found = compare(_scores(21.0, 23.0, 19.0, 27.0), _scores(20.0, 20.0, 20.0, 20.0))
    # Gains 1, 3, -1, 7: mean 2.5; squared deviations 2.25 + 0.25 + 12.25 + 20.25 = 35.
    assert (found.num_photos, found.wins) == (4, 3)
    assert found.gain_db == pytest.approx(2.5)
    assert found.standard_error_db == pytest.approx(math.sqrt(35 / 3 / 4))
    assert str(found) == "+2.50 ± 1.71 dB, better on 3 of 4 photos"


def test_only_the_same_photos_are_compared() -> None:
    first, second = _scores(21.0, 23.0, 50.0), _scores(20.0, 20.0)
    assert compare(first, second).gain_db == pytest.approx(2)
    single = compare(_scores(21.0), _scores(20.0))
    assert single.standard_error_db is None
    assert str(single) == "+1.00 dB, better on 1 of 1 photos"
    with pytest.raises(ParityError, match="different photos"):
        compare(first, {})


def test_further_metrics_and_their_means() -> None:
    clean = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    half = (0.5 + (clean - 0.5) / 2).astype(np.float32)
    metrics = {"lpips": lambda restored, reference: float(np.abs(restored - reference).mean())}
    first, second = score(clean, half, metrics), score(clean, clean, metrics)
    assert first.lpips == pytest.approx(float(np.abs(half - clean).mean()))
    assert second.lpips == 0
    mean = mean_score({0: first, 1: second}, [0, 1])
    assert mean is not None
    assert mean.lpips == pytest.approx((first.lpips or 0) / 2)
    assert (mean.niqe, mean.identity) == (None, None)
    # Measured on one photo of two: no mean.
    partly = mean_score({0: first, 1: score(clean, clean)}, [0, 1])
    assert partly is not None
    assert partly.lpips is None
