"""Comparisons fail on anything they cannot vouch for."""

import numpy as np
import pytest

from elir_edge.errors import ParityError
from export.parity import check_max_abs, check_psnr, compare_stages, require

A = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 2, 2)


def test_equal_arrays_pass() -> None:
    assert check_max_abs("f", "s", "r", A, A, 0.0).passed
    assert check_psnr("f", "s", "r", A, A, 50.0).value == 200.0  # the ceiling stands for infinity


def test_limits_are_inclusive_and_reported() -> None:
    off = A + np.float32(0.25)
    assert check_max_abs("f", "s", "r", A, off, 0.26).passed
    check = check_max_abs("f", "s", "r", A, off, 0.24)
    assert not check.passed
    assert check.value == pytest.approx(0.25, abs=1e-6)
    with pytest.raises(ParityError, match=r"'s'.*max_abs 0\.25.*at most 0\.24"):
        require([check])


def test_psnr_by_hand() -> None:
    assert check_psnr("f", "s", "r", A, A + np.float32(0.1), 19.9).value == pytest.approx(
        20, abs=1e-4
    )
    assert not check_psnr("f", "s", "r", A, A + np.float32(0.1), 20.1).passed


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_never_pass(bad: float) -> None:
    broken = A.copy()
    broken[0, 0, 0, 0] = bad
    assert not check_max_abs("f", "s", "r", A, broken, 1e9).passed
    assert not check_psnr("f", "s", "r", A, broken, -1e9).passed


def test_both_nan_does_not_pass_either() -> None:
    broken = np.full_like(A, np.nan)
    assert not check_max_abs("f", "s", "r", broken, broken, 1e9).passed
    assert not check_psnr("f", "s", "r", broken, broken, 0.0).passed


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ParityError, match="shape"):
        check_max_abs("f", "s", "r", A, A[..., :1], 1e9)
    with pytest.raises(ParityError, match="shapes"):
        check_psnr("f", "s", "r", A, A[..., :1], 0.0)


def test_missing_and_extra_stages_are_refused() -> None:
    with pytest.raises(ParityError, match="the stages differ"):
        compare_stages("f", "r", {"a": A, "b": A}, {"a": A}, 1.0)
    with pytest.raises(ParityError, match="the stages differ"):
        compare_stages("f", "r", {"a": A}, {"a": A, "b": A}, 1.0)


def test_the_first_failing_stage_is_named() -> None:
    checks = compare_stages(
        "onnx", "torch", {"a": A, "b": A, "c": A}, {"a": A, "b": A + 1, "c": A + 2}, 0.5
    )
    with pytest.raises(ParityError, match=r"onnx: stage 'b' departs from torch \(2 of 3"):
        require(checks)
