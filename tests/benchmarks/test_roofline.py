"""The roofline by hand, chips and their sources, and rows of a GPU that is not here."""

from pathlib import Path

import pytest
import torch

from benchmarks.gpu import make_calls
from benchmarks.peaks import make_chain
from benchmarks.roofline import (
    CHIPS,
    FLAGSHIP_PHONE,
    IMX500,
    JETSON_AGX_ORIN,
    MIDDLE_PHONE,
    RTX_2080_TI,
    Chip,
    count_values,
    estimate,
    estimates,
)
from benchmarks.speed.deployments import DEPLOYMENTS
from elir_edge.errors import BackendError
from elir_edge.model import Elir, paper_config_for
from tests.conftest import make_model, tiny_config


def _chip(tops: float, gb_per_s: float | None) -> Chip:
    return Chip(
        name="chip", tops=dict.fromkeys(("fp32", "int8"), tops), gb_per_s=gb_per_s, source="none"
    )


def test_by_hand() -> None:
    """Four 3x3 convolutions of 8 channels on 4 x 4 pixels."""
    model = make_chain("fp32", 8, 4).model
    values = 4 * (2 * 8 * 16 + 8 * 8 * 9)
    assert count_values(model) == values
    macs = 4 * 9 * 8 * 8 * 16
    slow = estimate(model, _chip(1e-6, 1.0), "fp32")
    assert slow.milliseconds == pytest.approx(1000 * 2 * macs / 1e6)
    assert slow.fps == pytest.approx(1e6 / (2 * macs))
    narrow = _chip(1e3, 1e-6)
    assert estimate(model, narrow, "fp32").milliseconds == pytest.approx(values * 4)
    assert estimate(model, narrow, "int8").milliseconds == pytest.approx(values)
    inside = estimate(model, _chip(1e3, None), "int8")
    assert inside.milliseconds == pytest.approx(1000 * 2 * macs / 1e15)
    assert "GMAC / 53.8 TOP/s" in str(estimate(model, RTX_2080_TI, "fp16").formula)


def test_peaks_follow_from_cores_and_clocks() -> None:
    """Tolerance 1 %: makers round."""
    by_hand = {
        (RTX_2080_TI.name, "fp32"): 4352 * 2 * 1.545e9,
        # 64 multiply-accumulates of fp16 per tensor core and cycle, half of them with fp32 sums.
        (RTX_2080_TI.name, "fp16"): 544 * 64 * 2 * 1.545e9 / 2,
        (RTX_2080_TI.name, "int8"): 544 * 128 * 2 * 1.545e9,
        (JETSON_AGX_ORIN.name, "int8"): 170e12 / 2,
        (JETSON_AGX_ORIN.name, "fp16"): 170e12 / 4,
        (FLAGSHIP_PHONE.name, "int8"): 2 * 23.1e12,
        # Two cores, two pipes, four lanes of float32.
        (MIDDLE_PHONE.name, "fp32"): 2 * 2 * 2 * 4 * 2.2e9,
        (IMX500.name, "int8"): 2 * 2304 * 262.5e6,
    }
    peaks = {(chip.name, a): tops * 1e12 for chip in CHIPS for a, tops in chip.tops.items()}
    for key, operations in by_hand.items():
        assert peaks[key] == pytest.approx(operations, rel=0.01), key
        assert peaks[key] != pytest.approx(1.03 * operations, rel=0.01), key
    assert pytest.approx(352 * 14 / 8) == RTX_2080_TI.gb_per_s
    assert all(chip.source for chip in CHIPS)


def test_the_sensor_has_no_estimate_for_what_does_not_fit() -> None:
    graph = make_chain("fp32", 8, 4).model
    small = {e.chip: e for e in estimates(graph, make_model(tiny_config()), 64)}
    assert small[IMX500.name].milliseconds is not None
    with torch.device("meta"):
        large = Elir(paper_config_for("sr", num_steps=3, sigma_s=0.1))
    found = {e.chip: e for e in estimates(graph, large, 256)}
    assert found[IMX500.name].milliseconds is None
    assert "does not fit" in str(found[IMX500.name].reason)
    assert found[RTX_2080_TI.name].milliseconds is not None


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
@pytest.mark.parametrize(
    "kind", [v.kind for v in DEPLOYMENTS if v.kind is not None and v.kind.startswith("gpu-")]
)
def test_rows_say_what_is_missing(kind: str, tmp_path: Path) -> None:
    (tmp_path / "dist" / "x-onnx-fp16").mkdir(parents=True)
    with pytest.raises(BackendError, match="CUDA"):
        make_calls(kind, tmp_path, "denoising", 64, 1)
