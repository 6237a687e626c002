"""Weights that restore nothing are told from those that do."""

import numpy as np
import pytest
import torch

from elir_edge.data.operations import FloatImage
from elir_edge.runtime import Bundle
from export.plausibility import check_plausible
from export.sample import Sample


def _sample(noise: float) -> Sample:
    """Return a ramp of contrast 0.29 (one flat colour: 10.8 dB) and its noisy twin."""
    clean = np.linspace(0, 1, 64, dtype=np.float32)[None, :, None].repeat(64, 0).repeat(3, 2)
    rng = np.random.default_rng(0)
    degraded = np.clip(clean + rng.normal(0, noise, clean.shape), 0, 1).astype(np.float32)
    return Sample(clean=clean, degraded=torch.from_numpy(degraded.transpose(2, 0, 1)[None].copy()))


def _off(clean: FloatImage, db: float) -> FloatImage:
    """Return an image whose PSNR to the clean one is `db`."""
    error = np.float32(10 ** (-db / 20))
    sign = np.where(np.indices(clean.shape).sum(axis=0) % 2, 1, -1).astype(np.float32)
    return clean + sign * error


@pytest.mark.parametrize(("db", "passed"), [(13.9, True), (13.6, False), (5.0, False)])
def test_strong_noise_asks_for_more_than_a_flat_colour(db: float, passed: bool) -> None:
    """The ramp's variance is (64^2 - 1) / (12 * 63^2): 10.66 dB, and 3 more."""
    sample = _sample(noise=0.6)
    check = check_plausible(sample, _off(sample.clean, db))
    assert check.threshold == pytest.approx(13.66, abs=0.02)
    assert check.value == pytest.approx(db, abs=0.01)
    assert check.passed is passed


@pytest.mark.parametrize(("below", "passed"), [(1.9, True), (2.1, False)])
def test_mild_noise_asks_for_nearly_the_input(below: float, passed: bool) -> None:
    sample = _sample(noise=0.03)
    from elir_edge.metrics import psnr

    given = psnr(sample.clean, sample.degraded_hwc)
    check = check_plausible(sample, _off(sample.clean, given - below))
    assert check.passed is passed


def test_nothing_that_is_not_finite_passes() -> None:
    sample = _sample(noise=0.6)
    assert not check_plausible(sample, np.full_like(sample.clean, np.nan)).passed


def test_the_manifest_says_it(tiny_bundle: object) -> None:
    """The tiny weights are random: the bundle is made, and says so."""
    (check,) = (
        check
        for check in Bundle.open(tiny_bundle).manifest.validation  # type: ignore[arg-type]
        if check.form == "plausibility"
    )
    assert not check.passed
    assert check.value < check.threshold
