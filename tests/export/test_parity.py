"""Comparisons fail on anything they cannot vouch for."""

import numpy as np
import pytest
import torch

from elir_edge.errors import ParityError
from elir_edge.model import draw_noise
from export.parity import check_max_abs, check_psnr, compare_stages, judge, require
from export.verify import model_stages
from tests.conftest import make_model, tiny_config

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


def test_the_peak_is_the_references_range() -> None:
    """An error of a tenth of the range is 20 dB, whatever the range; without one, the peak is 1."""
    wide = 7 * A - 3
    found = check_psnr("f", "s", "r", wide, wide + np.float32(0.7), 0.0).value
    assert found == pytest.approx(20, abs=1e-4)
    flat = np.full_like(A, 0.5)
    found = check_psnr("f", "s", "r", flat, flat + np.float32(0.1), 0.0).value
    assert found == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize(("value", "least", "most"), [(0.99, False, True), (1.01, True, False)])
def test_a_limit_is_on_the_right_side(value: float, least: bool, most: bool) -> None:
    assert judge("f", "s", "r", "m", value, at_least=1.0).passed is least
    assert judge("f", "s", "r", "m", value, at_most=1.0).passed is most
    assert judge("f", "s", "r", "m", 1.0, at_least=1.0).passed
    assert judge("f", "s", "r", "m", 1.0, at_most=1.0).passed


def test_the_stages_of_a_model_are_its_own_in_order() -> None:
    model = make_model(tiny_config(num_steps=3))
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    noise = draw_noise(model.config, 32, 32)
    stages = model_stages(model, image, noise)
    assert list(stages) == [
        *("latent", "coarse", "step_1", "step_2", "step_3", "decoded", "restored")
    ]
    with torch.no_grad():
        z = model.initial_point(image)
        np.testing.assert_array_equal(stages["coarse"], z.numpy())
        states = model.trajectory(z + noise)
        for i, state in enumerate(states[1:], start=1):
            np.testing.assert_array_equal(stages[f"step_{i}"], state.numpy())
        decoded = model.decoder(states[3]).numpy()
        np.testing.assert_array_equal(stages["decoded"], decoded)
        np.testing.assert_array_equal(stages["restored"], decoded.clip(0, 1))


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
