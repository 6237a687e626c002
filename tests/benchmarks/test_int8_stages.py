"""What an image that is disturbed by half a level does to results."""

from typing import Any

import numpy as np
import pytest

from benchmarks.int8_stages import app, disturbed
from export.calibration.judge import Judge
from export.calibration.photos import CalibrationCrop
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from tests.conftest import Run, assert_mistake

_LEVEL = 1 / 255


def _judge(gain: float) -> tuple[Judge, Any]:
    """Return a judge of a model that amplifies differences from gray, and the model."""

    def run(feed: Any) -> dict[str, np.ndarray]:
        return {RESTORED: np.float32(0.5) + np.float32(gain) * (feed[IMAGE] - np.float32(0.5))}

    gray = np.full((64, 64, 3), 0.5, np.float32)
    return Judge([CalibrationCrop(clean=gray, degraded=gray)], 1, None, run), run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runtime", "trt"), "unknown runtime 'trt'; expected one of onnxruntime, openvino"),
        (("--size", 33), "size 33 does not fit the nano model"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[object, ...], message: str, run_any: Run) -> None:
    done = run_any(app, *arguments)
    assert done.out == ""
    assert_mistake(done, 2, message)


@pytest.mark.parametrize("gain", [1.0, 10.0])
def test_the_model_is_as_far_as_it_amplifies_the_rounding_error(gain: float) -> None:
    """A uniform error of one level has a standard deviation of a level over the root of 12.

    Tolerance 0.2 dB: 12,288 values are drawn.
    """
    judge, run = _judge(gain)
    expected = -20 * np.log10(gain * _LEVEL / np.sqrt(12))
    assert disturbed(judge, run).worst_psnr_db == pytest.approx(expected, abs=0.2)


def test_without_a_disturbance_the_model_is_itself() -> None:
    """The twin: the same judge on the same model, undisturbed."""
    judge, run = _judge(10.0)
    assert judge(run).worst_psnr_db == np.inf
