"""The trt backend on a fake GPU: what is queued, captured and copied, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from elir_edge.errors import BackendError
from elir_edge.runtime.backends.tensorrt.backend import TensorRtBackend
from elir_edge.runtime.backends.tensorrt.cuda import Cuda
from tests.runtime.backends.tensorrt.fakes import FakeCudart, FakeEngine, fake_cuda, fake_sdk


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELIR_EDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "model.engine"
    path.write_bytes(b"tensorrt-rtx engine")
    return path


def _open(engine: Path) -> tuple[TensorRtBackend, FakeCudart]:
    cuda, cudart = fake_cuda()
    return TensorRtBackend(engine, None, sdks=[fake_sdk(cudart)], cuda=cuda), cudart


def test_each_run_launches_one_graph(engine: Path) -> None:
    backend, cudart = _open(engine)
    rng = np.random.default_rng(0)
    before = len(cudart.calls)
    for _ in range(2):
        image = rng.random(FakeEngine.shape, np.float32)
        restored = backend.run({"image": image})["restored"]
        np.testing.assert_array_equal(restored, 2 * image)
    assert cudart.calls[before:] == ["cudaGraphLaunch", "cudaStreamSynchronize"] * 2
    assert backend.version == "tensorrt-rtx 1.0 on Fake 3000"


def test_a_stream_that_cannot_be_captured_is_queued_anew(
    engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "is_stream_capturable", lambda self, stream: False)
    backend, cudart = _open(engine)
    image = np.ones(FakeEngine.shape, np.float32)
    np.testing.assert_array_equal(backend.run({"image": image})["restored"], 2 * image)
    assert "cudaGraphLaunch" not in cudart.calls


def test_results_are_the_callers_own(engine: Path) -> None:
    backend, _ = _open(engine)
    first = backend.run({"image": np.ones(FakeEngine.shape, np.float32)})["restored"]
    backend.run({"image": np.zeros(FakeEngine.shape, np.float32)})
    assert (first == 2).all()


def test_compiled_kernels_are_kept(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _open(engine)
    (kept,) = (tmp_path / "cache" / "tensorrt").iterdir()
    assert kept.read_bytes() == b"kernels"
    read: list[bytes] = []
    monkeypatch.setattr(FakeEngine, "deserialize", lambda self, data: read.append(data))
    _open(engine)
    assert read == [b"kernels"]


def test_closing_frees_everything(engine: Path) -> None:
    backend, cudart = _open(engine)
    assert len(cudart.memory) == 4
    backend.close()
    assert not cudart.memory
    assert cudart.calls[-2:] == ["cudaGraphExecDestroy", "cudaStreamDestroy"]


def test_refusals_in_one_line(engine: Path) -> None:
    backend, cudart = _open(engine)
    for feed in ({}, {"image": np.zeros((1, 3, 4, 5), np.float32)}, {"image": np.zeros((1,))}):
        with pytest.raises(BackendError, match="cannot run the artifact"):
            backend.run(feed)
    engine.write_bytes(b"another")
    cuda, cudart = fake_cuda()
    with pytest.raises(BackendError, match=r"refuses model\.engine.*Version tag.*build-engine"):
        TensorRtBackend(engine, None, sdks=[fake_sdk(cudart)], cuda=cuda)
    with pytest.raises(BackendError, match=r"not installed; fix: pip install tensorrt-rtx"):
        TensorRtBackend(engine, None, sdks=[], cuda=cuda)
    with pytest.raises(BackendError, match=r"no CUDA device here \(no CUDA-capable"):
        Cuda(FakeCudart(devices=0))


def test_the_second_tensorrt_loads_what_the_first_refuses(engine: Path) -> None:
    engine.write_bytes(b"tensorrt engine")
    cuda, cudart = fake_cuda()
    sdks = [fake_sdk(cudart), fake_sdk(cudart, kind="tensorrt", version="10")]
    assert TensorRtBackend(engine, None, sdks=sdks, cuda=cuda).version.startswith("tensorrt 10")
