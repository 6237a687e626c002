"""Peers' weights are found, and images go in and come out as they should; ncnn is a stand-in."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import ncnn_peers
from benchmarks.ncnn_peers import PEERS, open_peer
from elir_edge.errors import ElirError, UsageError

PEER = PEERS[0]


class _Mat(np.ndarray):
    def clone(self) -> "_Mat":
        return self.copy()


class _Extractor:
    def input(self, name: str, planes: NDArray[np.float32]) -> None:
        assert name == "data"
        assert planes.shape[0] == 3
        self.planes = np.asarray(planes)

    def extract(self, name: str) -> tuple[int, NDArray[np.float32]]:
        assert name == "output"
        return 0, 2 * self.planes.repeat(4, axis=1).repeat(4, axis=2) - 0.5


class _Net:
    """Enlarges by repetition, and doubles the contrast, so that some values need clipping."""

    def __init__(self) -> None:
        self.opt: Any = type("Options", (), {})()

    def load_param(self, path: str) -> int:
        return 0 if Path(path).read_text() == "param" else 1

    def load_model(self, path: str) -> int:
        return 0

    def create_extractor(self) -> _Extractor:
        return _Extractor()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a peer's files; importing ncnn gives the stand-in."""
    module: Any = ModuleType("ncnn")
    module.Net, module.Mat = _Net, lambda planes: planes.view(_Mat)
    monkeypatch.setitem(sys.modules, "ncnn", module)
    monkeypatch.setattr(ncnn_peers, "find_spec", lambda name: object())
    stem = tmp_path / PEER.weights
    stem.parent.mkdir(parents=True)
    Path(f"{stem}.param").write_text("param")
    Path(f"{stem}.bin").write_text("bin")
    return tmp_path


def test_a_peer_enlarges_by_four(folder: Path) -> None:
    image = np.random.default_rng(0).random((6, 5, 3), dtype=np.float32)
    result = open_peer(PEER, folder, threads=2)(image)
    expected = np.clip(2 * image.repeat(4, axis=0).repeat(4, axis=1) - 0.5, 0, 1)
    assert result.dtype == np.float32
    assert np.array_equal(result, expected)


def test_what_is_missing_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--no-deps --target"):
        open_peer(PEERS[1], folder, threads=1)
    (folder / f"{PEER.weights}.param").write_text("damaged")
    with pytest.raises(ElirError, match="ncnn cannot load"):
        open_peer(PEER, folder, threads=1)
    monkeypatch.setattr(ncnn_peers, "find_spec", lambda name: None)
    with pytest.raises(ElirError, match="pip install ncnn"):
        open_peer(PEER, folder, threads=1)
