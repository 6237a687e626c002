"""Exponents and lines of points whose law is known, and of others that are not on it."""

import numpy as np
import pytest

from benchmarks.power_law import fit_line, fit_power_law
from elir_edge.errors import ParityError

SIDES = [128.0, 256.0, 512.0, 1024.0, 2048.0]


def test_exact_points_give_their_exponent() -> None:
    found = fit_power_law(SIDES, [3e-4 * side**1.75 for side in SIDES])
    assert found.exponent == pytest.approx(1.75, abs=1e-12)
    assert found.factor == pytest.approx(3e-4, rel=1e-10)
    assert found.low == pytest.approx(1.75, abs=1e-9)
    assert found.high == pytest.approx(1.75, abs=1e-9)
    assert found.worst_ratio == pytest.approx(1, abs=1e-10)
    # The twin: one corrupted point moves the exponent and opens the interval.
    values = [3e-4 * side**1.75 for side in SIDES]
    values[-1] *= 1.5
    corrupted = fit_power_law(SIDES, values)
    assert corrupted.exponent != pytest.approx(1.75, abs=0.05)
    assert corrupted.low is not None
    assert corrupted.high is not None
    assert corrupted.high - corrupted.low > 0.1
    assert corrupted.worst_ratio > 1.1


def test_interval_by_hand() -> None:
    # ln y = 0, 1.3, 2 over ln x = 0, 1, 2: slope 1, residuals -0.1, 0.2, -0.1, one degree of
    # freedom: s^2 = 0.06, standard error sqrt(0.06 / 2); t of 95 % is 12.7062.
    x, y = np.exp([0.0, 1.0, 2.0]), np.exp([0.0, 1.3, 2.0])
    found = fit_power_law(list(x), list(y))
    assert found.exponent == pytest.approx(1)
    half = 12.7062 * np.sqrt(0.03)
    assert found.high == pytest.approx(1 + half, abs=1e-4)
    assert found.low == pytest.approx(1 - half, abs=1e-4)
    assert found.worst_ratio == pytest.approx(np.exp(0.2))


def test_two_points_have_no_interval() -> None:
    found = fit_power_law([1, 2], [3, 12])
    assert (found.exponent, found.low, found.high) == (pytest.approx(2), None, None)
    assert str(found) == "2.00"


@pytest.mark.parametrize(
    ("x", "y"), [([1, 1], [2, 3]), ([1], [2]), ([1, 2], [0, 3]), ([1, 2], [float("nan"), 3])]
)
def test_points_without_a_law_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ParityError, match="no power law"):
        fit_power_law(x, y)


def test_a_line_is_found_where_no_power_law_is() -> None:
    pixels = [side * side for side in SIDES]
    memory = [40 + 3e-4 * each for each in pixels]
    line = fit_line(pixels, memory)
    assert line.constant == pytest.approx(40, rel=1e-9)
    assert line.slope == pytest.approx(3e-4, rel=1e-9)
    assert line.worst_ratio == pytest.approx(1, abs=1e-9)
    law = fit_power_law(pixels, memory)
    assert law.exponent < 0.8
    assert law.worst_ratio > 1.3
    # The twin: a corrupted point is not on the line.
    memory[0] *= 2
    assert fit_line(pixels, memory).worst_ratio > 1.1
