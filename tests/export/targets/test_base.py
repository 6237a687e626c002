"""What targets share: the record of a precision, the comparison by it, and a device refused."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from elir_edge.errors import UsageError
from export.calibration.photos import CalibrationSet
from export.targets import base as base_module
from export.targets.base import Graph, refuse_device
from export.targets.registry import TARGETS, get_target
from export.verify import compare_fp16, compare_fp32


def _graph(**changes: Any) -> Graph:
    values: dict[str, Any] = {
        "precision": "fp32",
        "static": None,
        "config": None,
        "rewrites": (),
        "probe": "probe",
        "description": {},
        "image": torch.zeros(3, 3, 8, 8),
        "noise": None,
        "reference": {"latent": np.zeros(1), "restored": np.ones(2)},
        "sigma_s": 0.1,
        "task": None,
    }
    return Graph(**{**values, **changes})


def _crops(count: int) -> CalibrationSet:
    crop: Any = SimpleNamespace(degraded=None)
    return CalibrationSet(
        ranges=[crop] * count, search=[], gates=[], source="photos", sha256="f" * 64
    )


@pytest.mark.parametrize(("precision", "compare"), [("fp32", compare_fp32), ("fp16", compare_fp16)])
def test_the_precision_decides_how_to_compare(precision: str, compare: Any) -> None:
    assert _graph(precision=precision).compare is compare


def test_record_of_the_precision() -> None:
    record = _graph().precision_record({"a": "why"})
    assert (record.name, record.excluded) == ("fp32", {"a": "why"})
    assert (record.calibration_sha256, record.calibration_count) == (None, None)
    record = _graph(precision="int8", calibration=_crops(5)).precision_record({})
    assert (record.name, record.calibration_count) == ("int8", 5)
    assert record.calibration_sha256 == "f" * 64


@pytest.mark.parametrize("noise", [None, torch.ones(3, 4, 1, 1)])
def test_what_is_calibrated(noise: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def calibrated(*arguments: Any, **options: Any) -> str:
        given.append((arguments, options))
        return "calibrated"

    monkeypatch.setattr(base_module, "CalibratedGraph", calibrated)
    crops: Any = _crops(2)
    report: Any = object()
    shipped: Any = "shipped"
    assert _graph(noise=noise, calibration=crops).calibrate(shipped, report) == "calibrated"
    (((probe, model, found), options),) = given
    assert (probe, model, found) == ("probe", "shipped", crops)
    assert (options["batch"], options["report"]) == (3, report)
    if noise is None:
        assert options["noise"] is None
    else:
        assert np.array_equal(options["noise"], noise.numpy())


def test_only_the_restored_image_of_a_file_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(base_module, "verify_file", lambda *a: given.append(a) or [])
    graph = _graph()
    graph.verify_file("form", "path", compare_fp32, "ort")  # type: ignore[arg-type]
    ((form, path, expected, image, noise, compare, runtime),) = given
    assert (form, path, compare, runtime) == ("form", "path", compare_fp32, "ort")
    assert list(expected) == ["restored"]
    assert image is graph.image
    assert noise is None


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "tensorrt"])
def test_who_builds_for_a_device(name: str) -> None:
    refuse_device(name, None)
    for refuse in (
        lambda: refuse_device(name, "sm75"),
        lambda: get_target(name).check(precision="int8", device="sm75", noise="constant", batch=1),
    ):
        with pytest.raises(UsageError, match=f"'{name}' builds for no GPU.*leave out --gpu"):
            refuse()


def test_targets_by_name() -> None:
    assert {name: target.name for name, target in TARGETS.items()} == {n: n for n in TARGETS}
    with pytest.raises(UsageError, match=r"unknown target 'coreml'; expected one of onnx, "):
        get_target("coreml")
