"""Every gate passes just inside its limit and refuses just outside: the limits stand here again.

A limit that is moved must be moved here too, so that it is not loosened by an oversight.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import export.targets.imx500.target as imx500
import export.targets.tensorrt.target as tensorrt
from elir_edge.errors import BundleError, ParityError
from elir_edge.runtime import selftest
from elir_edge.runtime.manifest import Check
from elir_edge.runtime.selftest import SelfTestResult, verify_bundle
from export.calibration.judge import Quality
from export.calibration.photos import CalibrationCrop
from export.int8.gates import gate_checks
from export.int8.recipe import Recipe
from export.int8.search import Trial
from export.parity import require
from export.qdq.placements import QdqPlacement
from export.reporting import SILENT
from export.sample import Sample
from export.slimming import compare_decoders
from export.verify import StageValues, compare_exact, compare_fp16, compare_fp32

_INSIDE, _OUTSIDE = 0.99, 1.01
_RNG = np.random.default_rng(0)
REFERENCE = {
    name: _RNG.uniform(0, 1, (1, 3, 8, 8)).astype(np.float64) for name in ("latent", "restored")
}
for _stage in REFERENCE.values():
    _stage.flat[:2] = 0, 1  # a range of exactly 1, which PSNR is over


def _shifted(by: float) -> StageValues:
    """Return the stages with one value of the last stage moved."""
    stages = {name: value.copy() for name, value in REFERENCE.items()}
    stages["restored"].flat[5] += by
    return stages


def _noisy(psnr_db: float) -> dict[str, NDArray[np.float64]]:
    """Return the stages, the last one with an error of exactly this PSNR."""
    stages = {name: value.copy() for name, value in REFERENCE.items()}
    signs = np.where(np.arange(stages["restored"].size) % 2, 1, -1).reshape(1, 3, 8, 8)
    stages["restored"] += signs * 10 ** (-psnr_db / 20)
    return stages


Gate = Callable[[StageValues], list[Check]]
LARGEST_DIFFERENCES: dict[str, tuple[float, Gate]] = {
    "collapse, unroll and rewrites in float32": (
        1e-5,
        lambda got: compare_exact("f", REFERENCE, got, torch.float32),
    ),
    "collapse, unroll and rewrites in float64": (
        1e-10,
        lambda got: compare_exact("f", REFERENCE, got, torch.float64),
    ),
    "ONNX in float32": (1e-4, lambda got: require(compare_fp32("f", "torch", REFERENCE, got))),
}
RATIOS: dict[str, tuple[float, Gate]] = {
    "fp16": (50.0, lambda got: require(compare_fp16("f", "torch", REFERENCE, got))),
    "int8 in a TensorRT engine": (
        35.0,
        lambda got: require(tensorrt._compare_int8("f", "torch", REFERENCE, got)),
    ),
}


@pytest.mark.parametrize("name", LARGEST_DIFFERENCES)
def test_largest_differences(name: str) -> None:
    limit, gate = LARGEST_DIFFERENCES[name]
    assert all(check.passed for check in gate(_shifted(_INSIDE * limit)))
    with pytest.raises(ParityError, match="stage 'restored' departs"):
        gate(_shifted(_OUTSIDE * limit))
    with pytest.raises(ParityError, match="stage 'restored' departs"):
        gate(_shifted(math.nan))
    with pytest.raises(ParityError, match="the stages differ"):
        gate({"latent": REFERENCE["latent"]})


@pytest.mark.parametrize("name", RATIOS)
def test_ratios(name: str) -> None:
    limit, gate = RATIOS[name]
    assert all(check.passed for check in gate(_noisy(limit + 0.1)))
    with pytest.raises(ParityError, match="stage 'restored' departs"):
        gate(_noisy(limit - 0.1))
    with pytest.raises(ParityError, match="stage 'restored' departs"):
        gate(_shifted(math.nan))


class _Decoding:
    """Stands for a model whose restored image is off by a constant."""

    def __init__(self, off: float) -> None:
        self._off = off

    def initial_point(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def trajectory(self, z: torch.Tensor) -> list[torch.Tensor]:
        return [z]

    def decoder(self, z: torch.Tensor) -> torch.Tensor:
        return z + self._off

    def __call__(self, image: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return image


@pytest.mark.parametrize(("share", "passed"), [(_INSIDE, True), (_OUTSIDE, False)])
def test_a_slim_decoder_may_lose_a_third_of_a_decibel(share: float, passed: bool) -> None:
    """And 0.03 of LPIPS, for which the mean difference stands."""
    gray = np.full((8, 8, 3), 0.5, np.float32)
    crops = [CalibrationCrop(clean=gray, degraded=gray)] * 2
    sample = Sample(clean=gray, degraded=torch.full((1, 3, 8, 8), 0.5))
    lost, added = 0.3 * share, 0.03 * share

    def distance(clean: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return (image - clean).mean()

    def checks(full: float, slim: float) -> list[Check]:
        found = compare_decoders(
            _Decoding(full),  # type: ignore[arg-type]
            _Decoding(slim),  # type: ignore[arg-type]
            sample,
            crops,
            torch.zeros(1),
            distance,  # type: ignore[arg-type]
            SILENT,
        )
        return found.checks

    psnr_lost, _ = checks(0.01, 0.01 * 10 ** (lost / 20))
    assert psnr_lost.value == pytest.approx(lost, abs=1e-3)
    assert psnr_lost.passed is passed
    _, lpips_added = checks(0.01, 0.01 + added)
    assert lpips_added.value == pytest.approx(added, abs=1e-5)
    assert lpips_added.passed is passed


def _quality(**changes: float) -> Quality:
    return Quality(**{"psnr_db": 60.0, "worst_psnr_db": 60.0, "lost_db": 0.0, **changes})


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"worst_psnr_db": 35.01}, {"worst_psnr_db": 34.99}),
        ({"lost_db": 0.0999}, {"lost_db": 0.1001}),
        ({}, {"worst_psnr_db": math.nan}),
        ({}, {"lost_db": math.nan}),
    ],
)
def test_int8(inside: dict[str, float], outside: dict[str, float]) -> None:
    assert all(check.passed for check in gate_checks("a runtime", _quality(**inside)))
    assert [check.passed for check in gate_checks("a runtime", _quality(**outside))].count(
        False
    ) == 1


def test_int8_is_judged_by_the_worst_crop_and_the_mean_loss() -> None:
    one_far = Quality.of(near=[80.0, 80.0, 34.0], lost=[0.0, 0.0, 0.0])
    assert [check.passed for check in gate_checks("a runtime", one_far)] == [False, True]
    one_loses = Quality.of(near=[50.0, 50.0], lost=[0.15, 0.0])
    assert all(check.passed for check in gate_checks("a runtime", one_loses))
    all_lose = Quality.of(near=[50.0, 50.0], lost=[0.15, 0.06])
    assert [check.passed for check in gate_checks("a runtime", all_lose)] == [True, False]


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({"worst_psnr_db": 37.99}, False),
        ({"worst_psnr_db": 38.01}, True),
        ({"lost_db": 0.0651}, False),
        ({"lost_db": 0.0649}, True),
    ],
)
def test_a_search_keeps_some_room_to_the_gates(changes: dict[str, float], passed: bool) -> None:
    """Other photos lose a little more; what a search takes must not be refused by the export."""
    recipe = Recipe(placement=QdqPlacement.ALL, estimator="minmax")
    assert Trial.of(recipe, _quality(**changes)).passed == passed


def test_the_sensors_emulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((1, 3, 8, 8), np.float32)
    restored = np.rint(REFERENCE["restored"] * 255) / 255
    check = tmp_path / "check.npz"

    def emulated(psnr_db: float) -> None:
        signs = np.where(np.arange(restored.size) % 2, 1, -1).reshape(restored.shape)
        got = (restored + signs * 10 ** (-psnr_db / 20)) * 256
        np.savez(check, image=image, restored=restored.astype(np.float32))

        class Backend:
            def run(self, feed: object) -> dict[str, NDArray[np.float64]]:
                return {imx500.RESTORED: got.transpose(0, 2, 3, 1)}

        monkeypatch.setattr(imx500, "open_backend", lambda *arguments: Backend())

    emulated(40.1)
    assert imx500._compare_with_quantizer(tmp_path, check).passed
    emulated(39.9)
    with pytest.raises(ParityError, match="emulation"):
        imx500._compare_with_quantizer(tmp_path, check)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 55.0), ("fp16", 50.0), ("int8", 35.0)])
def test_self_tests_are_recorded_with_their_limit(precision: str, limit: float) -> None:
    from export.parity import MIN_PSNR_SELF_TEST

    assert MIN_PSNR_SELF_TEST[precision] == limit


def test_a_self_test_below_its_limit_is_refused(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(psnr: float) -> Callable[[object], SelfTestResult]:
        return lambda restorer: SelfTestResult(psnr=psnr, min_psnr=55.0, runtime="a runtime")

    monkeypatch.setattr(selftest, "run_self_test", found(55.0))
    assert verify_bundle(tiny_bundle).passed
    for psnr in (54.9, math.nan):
        monkeypatch.setattr(selftest, "run_self_test", found(psnr))
        with pytest.raises(BundleError, match="gives a different image here"):
            verify_bundle(tiny_bundle)
