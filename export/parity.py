"""Numerical checks between the forms of a model, and all their tolerances."""

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ParityError
from elir_edge.metrics import psnr
from elir_edge.runtime.manifest import Check

MAX_ABS_EXACT = 1e-5
"""Largest absolute difference after the collapse and the exact rewrites, in float32."""
MAX_ABS_EXACT_FLOAT64 = 1e-10
"""The same in float64, where rounding is negligible and an error means wrong algebra."""
MAX_ABS_ONNX_FP32 = 1e-4
"""Largest absolute difference of ONNX float32 from torch."""
MIN_PSNR_FP16 = 50.0
"""PSNR of fp16 against fp32, in dB."""
MIN_PSNR_INT8 = 35.0
"""PSNR of int8 against fp32 on every crop that was not used for calibration, in dB."""
MAX_LOST_INT8 = 0.1
"""Mean PSNR against the ground truth that int8 may lose on these crops, in dB."""
MAX_LOST_SLIM, MAX_WORSE_LPIPS_SLIM = 0.3, 0.03
"""PSNR against the ground truth that a slim decoder may lose, in dB, and LPIPS that it may add."""
MIN_PSNR_EMULATION = 40.0
"""PSNR of the sensor's emulation against the same graph with the quantizer's operators, in dB.

The results are equal if ONNX Runtime adds in the same order. If its optimizer changes the order,
values near a tie are rounded differently and later layers propagate the difference: 45 dB.
"""
MIN_PSNR_SELF_TEST = {"fp32": 55.0, "fp16": 50.0, "int8": 35.0}
"""PSNR of the artifact's 8-bit image on another device against its image at export, in dB."""
PSNR_CEILING = 200.0
"""The PSNR that is recorded for equal images, since JSON has no infinity."""


def judge(
    form: str,
    stage: str,
    reference: str,
    metric: str,
    value: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Check:
    """Return the check of a value against the one given limit; NaN never passes."""
    assert (at_least is None) != (at_most is None)
    limit = at_least if at_least is not None else at_most
    assert limit is not None
    return Check(
        form=form,
        stage=stage,
        reference=reference,
        metric=metric,
        value=value,
        threshold=limit,
        at_least=at_least is not None,
        passed=bool(value >= limit if at_least is not None else value <= limit),
    )


def check_max_abs(
    form: str,
    stage: str,
    reference: str,
    expected: NDArray[np.float32],
    got: NDArray[np.float32],
    limit: float,
) -> Check:
    """Compare by the largest absolute difference; NaN never passes.

    Raises:
        ParityError: the shapes differ.
    """
    if expected.shape != got.shape:
        raise ParityError(
            f"stage {stage} has a different shape than in {reference}",
            got=str(got.shape),
            expected=str(expected.shape),
        )
    difference = float(np.max(np.abs(expected.astype(np.float64) - got.astype(np.float64))))
    return judge(form, stage, reference, "max_abs", difference, at_most=limit)


def check_psnr(
    form: str,
    stage: str,
    reference: str,
    expected: NDArray[np.float32],
    got: NDArray[np.float32],
    limit: float,
) -> Check:
    """Compare by PSNR, with the reference's range of values as the peak; NaN never passes.

    For images in [0, 1] that do not span the full range, this is a little stricter than a peak of
    1.
    """
    peak = np.float32(np.ptp(expected)) or np.float32(1)
    value = min(psnr(expected / peak, got / peak), PSNR_CEILING)
    return judge(form, stage, reference, "psnr_db", value, at_least=limit)


def compare_stages(
    form: str,
    reference: str,
    expected: dict[str, NDArray[np.float32]],
    got: dict[str, NDArray[np.float32]],
    limit: float,
) -> list[Check]:
    """Compare all stages of two runs by the largest absolute difference.

    Raises:
        ParityError: a stage is missing or extra.
    """
    require_same_stages(reference, expected, got)
    return [
        check_max_abs(form, stage, reference, expected[stage], got[stage], limit)
        for stage in expected
    ]


def require_same_stages(
    reference: str, expected: dict[str, NDArray[np.float32]], got: dict[str, NDArray[np.float32]]
) -> None:
    """Require that both runs have the same stages.

    Raises:
        ParityError: a stage is missing or extra.
    """
    if expected.keys() != got.keys():
        raise ParityError(
            f"the stages differ from those of {reference}",
            got=", ".join(got),
            expected=", ".join(expected),
        )


def require(checks: list[Check]) -> list[Check]:
    """Return the checks if all passed.

    Raises:
        ParityError: a check failed; the first failed stage and a passing tolerance are named.
    """
    failed = [check for check in checks if not check.passed]
    if failed:
        first = failed[0]
        relation = "at least" if first.at_least else "at most"
        raise ParityError(
            f"{first.form}: stage {first.stage!r} departs from {first.reference} "
            f"({len(failed)} of {len(checks)} stages fail, this is the first)",
            got=f"{first.metric} {first.value:.3g} (the tolerance that would pass)",
            expected=f"{relation} {first.threshold:.3g}",
        )
    return checks
