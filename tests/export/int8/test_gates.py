"""What is said of a model that keeps its gates or not."""

from dataclasses import replace

import pytest

from elir_edge.errors import ParityError
from export.calibration.judge import Quality
from export.int8.cost import Gain
from export.int8.gates import blame_of, gate_checks, require_gates
from tests.export.int8.results import RESULT


def test_the_worst_stage_and_the_three_largest_gains_are_named() -> None:
    gains = [
        Gain(names=("a",), gain_db=0.4),
        Gain(names=("b", "c", "d"), gain_db=0.3),
        Gain(names=("e",), gain_db=0.2),
        Gain(names=("f",), gain_db=0.1),
    ]
    said = blame_of(replace(RESULT, stages={"latent": 40.04, "coarse": 39.96}, gains=gains))
    assert said == (
        "; the worst stage is 'coarse', at 40.0 dB if quantized alone; the largest gains from "
        "float32 are those of a (0.400 dB), b to d (0.300 dB), e (0.200 dB)"
    )
    alone = blame_of(replace(RESULT, gains=[]))
    assert alone.endswith(
        "at 40.0 dB if quantized alone; the largest gains from float32 are those of no single layer"
    )
    assert blame_of(replace(RESULT, stages={})) == ""


def test_gates_are_of_the_worst_crop_and_of_the_mean_loss() -> None:
    checks = gate_checks("onnxruntime", Quality(psnr_db=50, worst_psnr_db=35.0, lost_db=0.1))
    assert [(c.metric, c.value, c.passed) for c in checks] == [
        ("psnr_db", 35.0, True),
        ("lost_db", 0.1, True),
    ]
    assert {c.form for c in checks} == {"int8 in onnxruntime"}
    checks = gate_checks("openvino", Quality(psnr_db=50, worst_psnr_db=34.99, lost_db=0.101))
    assert not any(c.passed for c in checks)
    with pytest.raises(ParityError) as caught:
        require_gates("it", checks, blame="; why", fix="do this")
    assert str(caught.value) == (
        "it misses its gate; why; got psnr_db 35, lost_db 0.101; "
        "expected psnr_db >= 35, lost_db <= 0.1; fix: do this"
    )
