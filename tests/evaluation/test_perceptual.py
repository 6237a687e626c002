"""The wrapper around pyiqa, against a stand-in that behaves as pyiqa 0.1.16 does.

Observed of the real one: metrics look for their weights in torch's hub folder while they are made,
print what they load, take (B, 3, H, W) in [0, 1] and return tensors of shape (1, 1) or (); FID
takes folders, and its device from where it was made.
"""

import math
import pickle
import sys
import types
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from elir_edge.errors import ElirError, ImageError, UsageError
from elir_edge.evaluation.perceptual import FloatImage, open_folder_metric, open_image_metric
from elir_edge.metric_table import METRICS

PERCEPTUAL_METRICS = {
    name: metric for name, metric in METRICS.items() if metric.computed in ("pyiqa", "facexlib")
}


class FakeMetric:
    """What `create_metric` returns."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, target: Any, ref: Any = None, **options: Any) -> Any:
        if self.name == "fid":
            assert isinstance(target, str)
            assert options["num_workers"] == 0  # else worker processes are started
            assert (ref is None) == (options.get("dataset_name") == "FFHQ")
            assert options.get("dataset_res") in (None, 256, 512)
            return np.float64(len(list(Path(target).iterdir())))
        assert target.shape[:2] == (1, 3)
        if self.name.startswith("lpips"):
            return (target - ref).abs().mean().reshape(1, 1)
        assert ref is None
        return target.double().mean() if self.name == "niqe" else target.mean().reshape(1, 1)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty hub folder and a machine without network."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(url: str, *_: Any, **__: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub"


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Put the stand-in in pyiqa's place."""
    module = types.ModuleType("pyiqa")

    def create_metric(name: str, *, device: str) -> FakeMetric:
        print("Loading pretrained model")
        for metric in PERCEPTUAL_METRICS.values():
            if metric.pyiqa == name:
                for weights in metric.weights:
                    if weights.path.is_file() and weights.path.read_bytes() != b"good":
                        raise pickle.UnpicklingError("invalid load key")
        return FakeMetric(name)

    module.create_metric = create_metric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return module


def _provide(name: str) -> None:
    for weights in PERCEPTUAL_METRICS[name].weights:
        weights.path.parent.mkdir(parents=True, exist_ok=True)
        weights.path.write_bytes(b"good")


def _image(seed: int, size: int = 96) -> FloatImage:
    return np.random.default_rng(seed).random((size, size + 4, 3), dtype=np.float32)


def test_the_table() -> None:
    assert list(PERCEPTUAL_METRICS) == [
        "lpips-vgg",
        "lpips-alex",
        "fid",
        "fid-ffhq-256",
        "fid-ffhq-512",
        "niqe",
        "musiq",
        "clipiqa",
        "ids-arcface",
    ]
    better = {name for name, metric in PERCEPTUAL_METRICS.items() if not metric.lower_better}
    assert better == {"musiq", "clipiqa"}
    for metric in PERCEPTUAL_METRICS.values():
        for weights in metric.weights:
            assert weights.url.startswith("https://")


def test_scores_are_pyiqas(
    hub: Path, pyiqa: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = _image(0), _image(1)
    for name in ("lpips-vgg", "lpips-alex", "niqe", "musiq", "clipiqa"):
        _provide(name)
    for name in ("lpips-vgg", "lpips-alex"):
        assert open_image_metric(name)(a, b) == pytest.approx(np.abs(a - b).mean(), rel=1e-5)
    for name in ("niqe", "musiq", "clipiqa"):
        score = open_image_metric(name)(a, b)
        assert type(score) is float
        assert score == pytest.approx(a.mean(), rel=1e-5)
    assert capsys.readouterr().out == ""  # `--json` prints the report alone


def test_fid_gets_folders(hub: Path, pyiqa: types.ModuleType, tmp_path: Path) -> None:
    for folder, count in (("a", 3), ("b", 2), ("one", 1)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            Image.new("RGB", (8, 8)).save(tmp_path / folder / f"{i}.png")
    for name in ("fid", "fid-ffhq-256", "fid-ffhq-512"):
        _provide(name)
        score = open_folder_metric(name)
        assert score(tmp_path / "a", tmp_path / "b") == 3.0
        with pytest.raises(UsageError, match="more than one image"):
            score(tmp_path / "one", tmp_path / "b")


@pytest.mark.parametrize("name", PERCEPTUAL_METRICS)
def test_missing_weights_are_named(
    name: str, hub: Path, pyiqa: types.ModuleType, arcface: None
) -> None:
    opened = open_image_metric if METRICS[name].of == "image" else open_folder_metric
    for weights in PERCEPTUAL_METRICS[name].weights:
        with pytest.raises(ElirError) as caught:
            opened(name)
        line = str(caught.value)
        assert f"metric {name} needs {weights.path.name}" in line
        assert f"not in {weights.path.parent}" in line
        assert f"download {weights.url} " in line
        assert "Name or service not known" in line
        weights.path.parent.mkdir(parents=True, exist_ok=True)
        weights.path.write_bytes(b"good")


def test_weights_are_fetched_once(
    hub: Path, pyiqa: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def fetch(url: str, target: str, **_: Any) -> None:
        fetched.append(url)
        Path(target).write_bytes(b"good")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        open_image_metric("lpips-vgg")
    assert fetched == [weights.url for weights in PERCEPTUAL_METRICS["lpips-vgg"].weights]
    assert (hub / "checkpoints" / "vgg16-397923af.pth").is_file()
    assert (hub / "pyiqa" / "LPIPS_v0.1_vgg-a78928a0.pth").is_file()


def test_damaged_weights_are_named(hub: Path, pyiqa: types.ModuleType) -> None:
    _provide("musiq")
    (weights,) = PERCEPTUAL_METRICS["musiq"].weights
    weights.path.write_bytes(b"<html>")
    with pytest.raises(ElirError, match="invalid load key") as caught:
        open_image_metric("musiq")
    assert f"delete {weights.path}" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), r"needs cv2.*`perceptual`"),
        (ModuleNotFoundError(name="pkg_resources"), r"needs pkg_resources.*'setuptools<81'"),
        (ImportError("libGL.so.1: no such file"), "cannot be loaded .libGL.so.1"),
        (RuntimeError("operator torchvision::nms does not exist"), "torchvision of the same build"),
        (EOFError(), "cannot be loaded .EOFError"),
    ],
)
def test_broken_packages_are_named(
    error: Exception,
    said: str,
    hub: Path,
    pyiqa: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(name: str, *, device: str) -> None:
        raise error

    _provide("musiq")
    monkeypatch.setattr(pyiqa, "create_metric", fail)
    with pytest.raises(ElirError, match=said):
        open_image_metric("musiq")


def test_without_pyiqa(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ElirError, match=r"metric lpips-vgg needs pyiqa.*`perceptual` extra"):
        open_image_metric("lpips-vgg")


def test_small_images_are_refused(hub: Path, pyiqa: types.ModuleType) -> None:
    _provide("niqe")
    score = open_image_metric("niqe")
    with pytest.raises(ImageError, match="got 99 x 95; expected at least 96 x 96"):
        score(_image(0, 95), _image(0, 95))


def test_unknown_metrics() -> None:
    with pytest.raises(UsageError, match=r"'fid' of images.*lpips-vgg"):
        open_image_metric("fid")
    with pytest.raises(UsageError, match=r"'lpips-vgg' of folders.*fid, fid-ffhq-256"):
        open_folder_metric("lpips-vgg")
    with pytest.raises(UsageError, match=r"'lpips' of images.*lpips-vgg, lpips-alex"):
        open_image_metric("lpips")
    with pytest.raises(UsageError, match=r"'psnr' of images"):
        open_image_metric("psnr")


# IDS


class FakeArcFace(nn.Module):
    """A recogniser whose embedding is known: the mean colour of what it sees, not normalised."""

    def __init__(self, num_layers: int, drop_ratio: float, mode: str) -> None:
        super().__init__()
        assert (num_layers, mode) == (50, "ir_se")
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, face: Tensor) -> Tensor:
        assert face.shape == (1, 3, 112, 112)
        return self.scale * face.mean(dim=(2, 3))


@pytest.fixture
def arcface(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in in facexlib's place."""
    for name in ("facexlib", "facexlib.recognition", "facexlib.recognition.arcface_arch"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    module: Any = sys.modules["facexlib.recognition.arcface_arch"]
    module.Backbone = FakeArcFace


def _face(red: float, green: float) -> FloatImage:
    """Return a face whose inner part has a colour, in [-1, 1], and whose border is noise."""
    face = _image(3, 252)[:, :252]
    face[34:220, 31:218] = (np.array([red, green, 0], np.float32) + 1) / 2
    return face


def test_ids_is_the_angle_of_embeddings(hub: Path, arcface: None) -> None:
    (weights,) = PERCEPTUAL_METRICS["ids-arcface"].weights
    weights.path.parent.mkdir(parents=True)
    torch.save({"scale": torch.tensor([3.0])}, weights.path)
    score = open_image_metric("ids-arcface")
    assert score(_face(1, 0), _face(0.5, 0)) == pytest.approx(0, abs=0.05)
    assert score(_face(1, 0), _face(0, 1)) == pytest.approx(90, abs=1e-3)
    assert score(_face(1, 0), _face(-1, 0)) == pytest.approx(180, abs=0.05)
    degrees = math.degrees(math.atan2(0.5, 1))
    assert score(_face(1, 0), _face(1, 0.5)) == pytest.approx(degrees, abs=1e-3)


def test_ids_weights_cannot_execute_code(hub: Path, arcface: None) -> None:
    (weights,) = PERCEPTUAL_METRICS["ids-arcface"].weights
    weights.path.parent.mkdir(parents=True)
    torch.save({"scale": Path("a")}, weights.path)
    with pytest.raises(ElirError, match="metric ids-arcface cannot be loaded"):
        open_image_metric("ids-arcface")
