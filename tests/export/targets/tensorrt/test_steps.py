"""The target's steps without TensorRT: engines that run here, what is said of each engine."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import export.targets.tensorrt.target as target_module
from elir_edge.errors import ParityError
from elir_edge.runtime.backends.tensorrt.engine import EngineBuilder
from elir_edge.runtime.backends.tensorrt.sdk import SerializedEngine
from export.reporting import SILENT
from export.targets.tensorrt.target import TensorRtTarget
from export.targets.tensorrt.usage import usage


def _builder(*, here: bool) -> EngineBuilder:
    sdk: Any = SimpleNamespace(kind="tensorrt-rtx", version="1.2.3")
    return EngineBuilder(sdk=sdk, gpu="sm86", here=here)


def _built(**convolutions: int) -> SerializedEngine:
    return SerializedEngine(plan=b"", num_layers=7, convolutions=convolutions)


def test_remarks() -> None:
    """Layers by type; of an engine that was not run, that it was not and what was instead."""
    (ran,) = target_module._remarks(_builder(here=True), _built(Int8=3, Half=1))
    assert ran == ("engine for sm86 by tensorrt-rtx 1.2.3: 7 layers, convolutions 3 Int8, 1 Half")
    first, second = target_module._remarks(_builder(here=False), _built())
    assert first.endswith("7 layers, convolutions not told by the builder")
    assert "not run here: no sm86 GPU" in second
    assert "--runtime onnxruntime" in second


@pytest.mark.parametrize("here", [False, True])
def test_the_record_says_whether_it_ran(here: bool) -> None:
    record = TensorRtTarget()._record(
        _builder(here=here), _built(Half=2), Path("model.engine"), Path("model.onnx")
    )
    assert record.engine is not None
    assert record.engine.ran is here
    assert (record.engine.capability, record.engine.source) == ("sm86", "model.onnx")
    assert record.versions["tensorrt-rtx"] == "1.2.3"
    assert record.runtimes == {"trt": "model.engine", "onnxruntime": "model.onnx"}
    assert record.details == {"opset": 20, "num_layers": 7, "convolutions": {"Half": 2}}
    text = usage(record.engine, "model.engine", "a-bundle")
    assert "elir-edge build-engine a-bundle\nelir-edge verify a-bundle\n" in text
    assert "runs `model.onnx`" in text
    assert "--loadEngine=a-bundle/model.engine" in text


def _graph(precision: str, *, noisy: bool, enforced: bool = True) -> Any:
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        precision=precision,
        image=image,
        noise=torch.ones(1, 4, 2, 2) if noisy else None,
        reference={"latent": np.zeros(3), "restored": image.numpy()},
        enforce_gates=enforced,
    )


def _run(graph: Any, near_db: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Check an engine whose images have this PSNR to the reference's range."""
    fed: list[dict[str, np.ndarray]] = []

    def run(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        fed.append(feed)
        image = feed["image"]
        error = np.float32(np.ptp(image) * 10 ** (-near_db / 20))
        return {"restored": image + error, "latent": np.ones(3)}

    def backend(runtime: str, path: Path, threads: int | None) -> Any:
        assert (runtime, path.name, threads) == ("trt", "model.engine", None)
        return SimpleNamespace(run=run)

    monkeypatch.setattr(target_module, "open_backend", backend)
    checks = target_module._run(graph, Path("model.engine"))
    (feed,) = fed
    assert set(feed) == ({"image", "noise"} if graph.noise is not None else {"image"})
    return checks


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 50), ("fp16", 50), ("int8", 35)])
def test_an_engine_that_runs_here_is_compared(
    precision: str, limit: float, noisy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With torch, by the restored image; the limit of fp16, or of int8."""
    graph = _graph(precision, noisy=noisy)
    (check,) = _run(graph, limit + 0.1, monkeypatch)
    assert (check.form, check.stage, check.metric) == ("engine", "restored", "psnr_db")
    assert check.passed
    with pytest.raises(ParityError, match="engine"):
        _run(graph, limit - 0.1, monkeypatch)


def test_int8_without_gates_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = _run(_graph("int8", noisy=False, enforced=False), 30, monkeypatch)
    assert not check.passed
    with pytest.raises(ParityError):  # of floats there is nothing to waive
        _run(_graph("fp16", noisy=False, enforced=False), 30, monkeypatch)


@pytest.mark.parametrize("ran", [None, False, True])
def test_only_an_engine_that_ran_is_run(ran: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = None if ran is None else SimpleNamespace(ran=ran)
    emitted: Any = SimpleNamespace(
        artifact=Path("folder/model.engine"), target=SimpleNamespace(engine=engine)
    )
    quantized: Any = SimpleNamespace(gate_judge=None, result=None, probe=None)
    graph: Any = SimpleNamespace(
        precision="fp32",
        compare=None,
        verify_file=lambda form, path, compare, runtime: [(form, str(path), runtime)],
    )
    monkeypatch.setattr(target_module, "_run", lambda graph, artifact: [str(artifact)])
    checks = TensorRtTarget().verify(graph, quantized, emitted, SILENT)
    source = ("fp32 ONNX in onnxruntime", "folder/model.onnx", "onnxruntime")
    assert checks == [source, *(["folder/model.engine"] if ran else [])]
