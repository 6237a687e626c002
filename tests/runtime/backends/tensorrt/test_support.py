"""The table of GPUs, and the choice of what builds."""

from types import SimpleNamespace
from typing import Any

import pytest

import elir_edge.runtime.backends.tensorrt.engine as engine_module
from elir_edge.errors import BackendError, BundleError, UsageError
from elir_edge.runtime.backends.tensorrt.engine import choose_builder, require_fitting
from elir_edge.runtime.backends.tensorrt.support import (
    CURRENT,
    FULL,
    GPUS,
    PRECISIONS,
    RTX,
    require_known,
    require_supported,
)
from tests.runtime.backends.tensorrt.fakes import FakeCudart, fake_sdk

RTX_ONLY = [fake_sdk(FakeCudart())]
BOTH = [*RTX_ONLY, fake_sdk(FakeCudart(), kind="tensorrt", version="10")]


def test_every_gpu_that_can_be_named_is_in_both_tables() -> None:
    for gpu in GPUS:
        assert PRECISIONS[RTX][gpu][0] == PRECISIONS[FULL][gpu][0] == "fp16"


def test_turing_has_no_int8_in_rtx() -> None:
    require_supported(RTX, "sm75", "fp16")
    require_supported(RTX, "sm86", "int8")
    with pytest.raises(UsageError, match=r"no int8 on sm75.*sm86, sm89.*build-engine"):
        require_supported(RTX, "sm75", "int8")
    with pytest.raises(UsageError, match=r"does not support sm90.*full TensorRT"):
        require_supported(RTX, "sm90", "fp16")


def test_the_choice() -> None:
    assert choose_builder("fp16", None, None, RTX_ONLY).gpu == "sm75"
    builder = choose_builder("int8", "sm86", "sm86", BOTH)
    assert (builder.sdk.kind, builder.here) == (RTX, True)
    # Full TensorRT takes over where TensorRT-RTX cannot, on the device alone.
    builder = choose_builder("int8", "current", "sm75", BOTH)
    assert (builder.sdk.kind, builder.gpu, builder.here) == (FULL, "sm75", True)
    assert choose_builder("fp16", "current", "sm90", BOTH).sdk.kind == FULL
    with pytest.raises(UsageError, match="no int8 on sm75"):
        choose_builder("int8", "sm75", "sm86", BOTH)
    with pytest.raises(UsageError, match="unknown GPU 'sm99'"):
        choose_builder("fp16", "sm99", None, RTX_ONLY)
    with pytest.raises(BackendError, match="tensorrt-rtx is not installed"):
        choose_builder("fp16", "sm75", None, [])


def test_current_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise BackendError("no CUDA device here (none)")

    monkeypatch.setattr(engine_module, "open_cuda", none)
    assert engine_module.gpu_here() is None
    with pytest.raises(BackendError, match="no CUDA device here"):
        choose_builder("fp16", "current", None, RTX_ONLY)


@pytest.mark.parametrize(
    ("gpu", "name", "way"),
    [
        ("sm87", r"Jetson Orin \(sm87\)", "build-engine BUNDLE"),
        ("jetson-orin-nano", r"Jetson Orin \(sm87\)", "build-engine BUNDLE"),
        ("AGX Orin", r"Jetson Orin \(sm87\)", "build-engine BUNDLE"),
        ("thor", r"Jetson Thor \(sm110\)", "build-engine BUNDLE"),
        ("sm101", r"Jetson Thor \(sm110\)", "build-engine BUNDLE"),
        ("xavier", r"Jetson Xavier \(sm72\)", "--target onnx"),
        ("jetson_tx2", r"Jetson TX2 \(sm62\)", "--target onnx"),
        ("sm53", r"Jetson Nano, TX1 \(sm53\)", "--target onnx"),
    ],
)
def test_jetsons_get_an_answer(gpu: str, name: str, way: str) -> None:
    with pytest.raises(UsageError, match=f"{name} can only be built on it.*fix: .*{way}"):
        require_known(gpu)


def test_other_gpus_are_no_jetsons() -> None:
    for gpu in (*GPUS, CURRENT):
        require_known(gpu)
    with pytest.raises(UsageError, match="unknown GPU 'sm88'"):
        require_known("sm88")


def test_an_engine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is told, and what runs without one."""

    def none() -> None:
        raise BackendError("no CUDA device here (none)")

    monkeypatch.setattr(engine_module, "open_cuda", none)
    record = SimpleNamespace(kind=RTX, version=RTX_ONLY[0].version, capability="sm75")
    bundle: Any = SimpleNamespace(
        folder="b", manifest=SimpleNamespace(target=SimpleNamespace(engine=record))
    )
    with pytest.raises(
        BackendError, match=r"engine of b needs an NVIDIA GPU: no CUDA.*onnxruntime"
    ):
        require_fitting(bundle, sdks=RTX_ONLY)
    record.version = "0"
    with pytest.raises(BundleError, match=r"another tensorrt-rtx; .*expected 0; fix: .*-engine b"):
        require_fitting(bundle, sdks=RTX_ONLY)
    bundle.manifest.target.engine = None
    require_fitting(bundle, sdks=[])
