"""Anybody's files: shapes are read from them, and bad ones get one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks import peers
from benchmarks.model_files import ImageInput, open_onnx, open_tflite
from elir_edge.errors import BackendError, DataError, ElirError, UsageError

PHOTO = np.random.default_rng(0).random((12, 10, 3), dtype=np.float32)


def _model(
    path: Path,
    shape: list[int | str],
    dtype: int = TensorProto.FLOAT,
    *,
    inputs: int = 1,
    kind: str = "Identity",
) -> Path:
    given = [helper.make_tensor_value_info(f"x{i}", dtype, shape) for i in range(inputs)]
    graph = helper.make_graph(
        [helper.make_node(kind, [f"x{i}" for i in range(inputs)], ["y"])],
        "one",
        given,
        [helper.make_tensor_value_info("y", dtype, None)],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("shape", "filled"),
    [
        ([1, 3, 8, 16], (1, 3, 8, 16)),
        (["n", 3, "h", "w"], (1, 3, 32, 32)),
        (["n", "h", "w", 3], (1, 32, 32, 3)),
        ([1, 1, 8, 8], (1, 1, 8, 8)),
    ],
)
def test_an_onnx_file_says_its_shape(
    tmp_path: Path, shape: list[int | str], filled: tuple[int, ...]
) -> None:
    opened = open_onnx(_model(tmp_path / "m.onnx", shape), PHOTO, side=32, threads=1)
    assert opened.image.shape == filled
    (restored,) = opened.call().values()  # type: ignore[attr-defined]
    assert restored.shape == filled
    assert restored.mean() == pytest.approx(PHOTO.mean(), abs=0.05)


def test_integers_have_their_whole_range() -> None:
    white = np.ones((4, 4, 3), np.float32)
    for dtype, low, high in (("uint8", 0, 255), ("int8", -128, 127)):
        image = ImageInput(name="x", shape=(1, 4, 4, 3), dtype=dtype)
        assert (image.fill(white) == high).all()
        assert (image.fill(0 * white) == low).all()


def _truncated(folder: Path) -> Path:
    path = _model(folder / "m.onnx", [1, 3, 8, 8])
    path.write_bytes(path.read_bytes()[:40])
    return path


def _noise(folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(bytes(range(256)))
    return path


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: folder / "absent.onnx", UsageError, "no such file"),
        (_noise, DataError, "is no ONNX file"),
        (_truncated, ElirError, r"m\.onnx"),
        (lambda f: _model(f / "m.onnx", [1, 3, 8, 8], inputs=2, kind="Add"), DataError, "x0, x1"),
        (lambda f: _model(f / "m.onnx", [1, 77]), DataError, "1x77 of float32"),
        (lambda f: _model(f / "m.onnx", [2, 3, 8, 8]), DataError, "2x3x8x8"),
        (lambda f: _model(f / "m.onnx", [1, 5, 8, 9]), DataError, "1x5x8x9"),
        (lambda f: _model(f / "m.onnx", [1, 3, 8, 8], TensorProto.STRING), DataError, "of object"),
        (lambda f: _model(f / "m.onnx", [1, 3, 8, 8], kind="Nothing"), BackendError, "Nothing"),
    ],
)
def test_bad_onnx_files_get_one_line(
    tmp_path: Path, make: "object", error: type[ElirError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        open_onnx(make(tmp_path), PHOTO, side=32, threads=1)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_bad_tflite_files_get_one_line(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(UsageError, match=r"--tflite .*no such file"):
        open_tflite(tmp_path / "absent.tflite", PHOTO, threads=1)
    path = tmp_path / "m.tflite"
    for content in (b"", b"TFL3" * 30, bytes(range(256))):
        path.write_bytes(content)
        with pytest.raises(BackendError, match=r"LiteRT cannot run .*m\.tflite") as caught:
            open_tflite(path, PHOTO, threads=1)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_tflite_file_runs(tiny_checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    from export.plan import run_export
    from export.request import Request

    request = Request(
        task="denoising", target="tflite", size=64, checkpoint=tiny_checkpoint, out=tmp_path
    )
    opened = open_tflite(run_export(request).folder / "model.tflite", PHOTO, threads=1)
    assert opened.image.shape in ((1, 64, 64, 3), (1, 3, 64, 64))
    (restored,) = opened.call()  # type: ignore[misc]
    assert np.isfinite(restored).all()


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--onnx", "--tflite"])
def test_the_command_says_a_bad_file_before_it_measures(option: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"nothing that runs")
    done = subprocess.run(
        [sys.executable, peers.__file__, "--architectures", "none", option, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
