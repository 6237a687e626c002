"""The measure of a grid: none in noise, a known one in stripes."""

import numpy as np

from benchmarks.autoencoder import _smooth_windows, _spectrum, grid_excess


def _excess(pattern: np.ndarray) -> dict[str, float]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    image = 0.5 + 0.05 * rng.standard_normal((256, 256, 3)) + pattern[..., None]
    image = image.astype(np.float32)
    return grid_excess(_spectrum(image, _smooth_windows(image)))


def test_noise_has_no_grid() -> None:
    """White noise in 22 windows: each bin's mean power is within a factor of 2 of the others'."""
    excess = _excess(np.zeros((256, 256)))
    assert excess.keys() == {"grid_excess_period_2", "grid_excess_period_4"}
    assert 0.5 < min(excess.values()) <= max(excess.values()) < 2


def test_stripes_are_seen_at_their_period_only() -> None:
    columns = np.broadcast_to(np.arange(256), (256, 256))
    two = _excess(0.02 * (columns % 2))
    assert two["grid_excess_period_2"] > 3
    assert two["grid_excess_period_4"] < 2
    four = _excess(0.02 * np.sin(np.pi / 2 * columns.T))
    assert four["grid_excess_period_4"] > 3
    assert four["grid_excess_period_2"] < 2
