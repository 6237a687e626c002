"""How near each form must stay to the one before it: the only place with tolerances."""

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import ParityError
from elir_edge.metrics import psnr
from elir_edge.runtime.manifest import Check

MAX_ABS_EXACT = 1e-5
"""Collapse and exact rewrites, float32, largest absolute difference."""
MAX_ABS_EXACT_FLOAT64 = 1e-10
"""The same in float64, where only the algebra can differ."""
MAX_ABS_ONNX_FP32 = 1e-4
"""ONNX float32 against torch."""
MIN_PSNR_FP16 = 50.0
"""fp16 against fp32, dB."""
MIN_PSNR_INT8 = 35.0
"""int8 against fp32 on every crop that was not used to calibrate, dB."""
MAX_LOST_INT8 = 0.1
"""PSNR against the ground truth that int8 may lose on the mean of these crops, dB."""
MAX_LOST_SLIM, MAX_WORSE_LPIPS_SLIM = 0.3, 0.03
"""PSNR that a slim decoder may lose against the ground truth, dB, and LPIPS that it may add."""
MIN_PSNR_EMULATION = 40.0
"""The sensor's emulation against the same graph with the quantizer's own operators, dB.

The same bytes while ONNX Runtime adds in the same order; where its optimizer changes that, values
next to a tie round the other way and later layers carry it on: 45 dB.
"""
MIN_PSNR_SELF_TEST = {"fp32": 55.0, "fp16": 50.0, "int8": 35.0}
"""The artifact on another device against itself at export, 8-bit images, dB."""
PSNR_CEILING = 200.0
"""What equal images are recorded as: JSON has no infinity."""


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
    """Return the check of a value against one of the two limits; NaN never passes."""
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
    """Compare by the largest absolute difference; NaN and other shapes never pass."""
    if expected.shape != got.shape:
        raise ParityError(
            f"stage {stage} has another shape than in {reference}",
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
    """Compare by PSNR, the reference's range of values being the peak; NaN never passes.

    Images in [0, 1] that reach neither end are judged a little more strictly than by a peak of 1.
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
            f"other stages than in {reference}", got=", ".join(got), expected=", ".join(expected)
        )


def require(checks: list[Check]) -> list[Check]:
    """Return the checks if all passed.

    Raises:
        ParityError: names the first stage that failed and the tolerance that would pass.
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
