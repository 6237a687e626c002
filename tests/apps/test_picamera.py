"""The AI Camera's program against a played camera: each result arrives as it left the sensor."""

import importlib.util
import io
import json
import os
import shutil
import sys
import threading
import types
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from elir_edge.runtime.bundle import describe_file
from tests.apps.fake_picamera2 import Sensor, install
from tests.conftest import Run
from tests.tampering import change_manifest

_PROGRAM = Path(__file__).parents[2] / "apps" / "picamera" / "restore_camera.py"
_SIDE = 32
_STEP = 1 / 256


@pytest.fixture(scope="module")
def program() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("restore_camera", _PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["restore_camera"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _emulation(path: Path) -> None:
    """Write a network of bytes that halves the contrast and shifts it: no channel stays equal."""
    shape = [1, _SIDE, _SIDE, 3]
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "factors"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["restored"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("restored", TensorProto.UINT8, shape)],
        [helper.make_tensor("factors", TensorProto.FLOAT, [3], [0.5, 0.75, 1.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a small bundle in the form of the sensor's."""
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    (folder / "model.onnx").unlink()
    _emulation(folder / "emulation.onnx")
    with zipfile.ZipFile(folder / "packerOut.zip", "w") as archive:
        archive.writestr("dnnParams.xml", "<networks/>")
    tensor = {
        "name": "restored",
        "dimensions": [3, _SIDE, _SIDE],
        "serialization": [0, 1, 2],
        "bitsPerElement": "8",
        "format": "unsigned",
        "scale": str(_STEP),
    }
    description = {"inputs": [], "outputs": [tensor]}
    (folder / "description.json").write_text(json.dumps(description))
    roles = {"emulation.onnx": "artifact", "packerOut.zip": "sensor", "description.json": "sensor"}

    def change(values: Any) -> None:
        values["files"] = [e for e in values["files"] if e["path"] != "model.onnx"]
        for name, role in roles.items():
            entry = describe_file(folder / name, role=role, folder=folder)
            values["files"].append(vars(entry))
        values["target"].update(name="imx500", runtimes={"onnxruntime": "emulation.onnx"})
        for spec in (*values["inputs"], *values["outputs"]):
            spec.update(shape=[1, _SIDE, _SIDE, 3], layout="NHWC", dtype="uint8", high=255.0)

    change_manifest(folder, change)
    return folder


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a played `imx500-package` on the path, and a cache of this test's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "imx500-package"
    script.write_text('#!/bin/sh\n[ -f "$2" ] && echo packaged > "$4/network.rpk"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ELIR_EDGE_CACHE", str(tmp_path / "cache"))
    return script


@pytest.fixture
def sensor(bundle: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> Sensor:
    """Return a sensor that sees two parts of a photo, in the camera's place."""
    parts = [photo[top : top + _SIDE, 100 : 100 + _SIDE] for top in (50, 120)]
    played = Sensor(bundle, parts)
    install(monkeypatch, played)
    return played


def _frames(folder: Path) -> list[NDArray[Any]]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def test_each_result_is_saved_as_the_sensor_computed_it(
    program: types.ModuleType, sensor: Sensor, bundle: Path, tmp_path: Path, run_any: Run
) -> None:
    """Exactly: eight bits leave the sensor and eight bits are written."""
    done = run_any(program.app, "--bundle", bundle, "--save", tmp_path / "out", "--count", 2)
    assert done.code == 0, done.err
    assert "2 results, 12.5 ms each on the sensor" in done.out
    got = _frames(tmp_path / "out")
    assert len(got) == 2
    for frame, expected in zip(got, sensor.results(), strict=True):
        np.testing.assert_array_equal(frame, expected)
    assert sensor.closed
    assert sensor.network.endswith("network.rpk")


def test_rows_taken_for_columns_would_be_noticed(
    program: types.ModuleType, sensor: Sensor, bundle: Path, tmp_path: Path, run_any: Run
) -> None:
    """The twin of the test above: the other order is another picture."""
    out = tmp_path / "out"
    done = run_any(program.app, "--bundle", bundle, "--save", out, "--count", 1, "--transposed")
    assert done.code == 0, done.err
    (frame,), expected = _frames(out), sensor.results()[0]
    assert (frame != expected).any()
    np.testing.assert_array_equal(frame, expected.transpose(1, 0, 2))


def test_frames_of_an_earlier_run_stay(
    program: types.ModuleType, sensor: Sensor, bundle: Path, tmp_path: Path, run_any: Run
) -> None:
    for _ in range(2):
        done = run_any(program.app, "--bundle", bundle, "--save", tmp_path / "out", "--count", 1)
        assert done.code == 0, done.err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["frame-000001.png", "frame-000002.png"]


def test_the_package_is_made_once(
    program: types.ModuleType,
    sensor: Sensor,
    bundle: Path,
    tmp_path: Path,
    tools: Path,
    run_any: Run,
) -> None:
    options = ("--bundle", bundle, "--save", tmp_path / "out", "--count", 1)
    assert run_any(program.app, *options).code == 0
    tools.unlink()
    assert run_any(program.app, *options).code == 0


def test_results_are_shown_on_a_page(program: types.ModuleType, sensor: Sensor) -> None:
    """Within what JPEG of quality 90 changes: 25 of 255 at most, 4 on average."""
    expected = sensor.results()[0]
    page = program.Page("127.0.0.1", 0)
    try:
        address = f"http://127.0.0.1:{page.port}"
        with urllib.request.urlopen(f"{address}/", timeout=10) as response:
            assert b'<img src="/stream"' in response.read()
        threading.Timer(0.2, page.show, [expected]).start()
        with urllib.request.urlopen(f"{address}/stream", timeout=10) as response:
            head = [response.readline() for _ in range(4)]
            size = int(head[2].split(b":")[1])
            got = np.asarray(Image.open(io.BytesIO(response.read(size))))
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/other", timeout=10)
    finally:
        page.close()
    steps = np.abs(got.astype(int) - expected.astype(int))
    assert steps.max() <= 25
    assert steps.mean() <= 4
    assert np.abs(got[::-1].astype(int) - expected.astype(int)).mean() > 4  # the twin: another one


def test_other_results_than_described_are_refused(program: types.ModuleType) -> None:
    output = program.OutputTensor(dimensions=(3, 4, 5), scale=_STEP)
    values = np.zeros((3, 4, 5), np.float32)
    assert output.pixels(values).shape == (4, 5, 3)
    for wrong in (np.zeros((4, 5, 3), np.float32), np.full((3, 4, 5), np.nan, np.float32)):
        with pytest.raises(program.BundleError, match="fix: package"):
            output.pixels(wrong)


def _mistakes(bundle: Path, out: Path) -> dict[str, tuple[list[object], int, str]]:
    return {
        "nowhere to go": (["--bundle", bundle], 2, "--save FOLDER or --serve PORT"),
        "no bundle": (["--bundle", out / "no", "--save", out], 1, "is not a bundle"),
        "a file for frames": (["--bundle", bundle, "--save", bundle / "README.md"], 2, "is a file"),
    }


@pytest.mark.parametrize("name", ["nowhere to go", "no bundle", "a file for frames"])
def test_mistakes_are_one_line(
    program: types.ModuleType,
    sensor: Sensor,
    bundle: Path,
    tmp_path: Path,
    run_any: Run,
    name: str,
) -> None:
    arguments, code, words = _mistakes(bundle, tmp_path / "out")[name]
    done = run_any(program.app, *arguments)
    assert done.code == code
    assert words in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_a_bundle_for_something_else(
    program: types.ModuleType, tiny_bundle: Path, tmp_path: Path, run_any: Run
) -> None:
    done = run_any(program.app, "--bundle", tiny_bundle, "--save", tmp_path / "out")
    assert done.code == 2
    assert "is for onnx; expected a bundle made by" in done.err


def test_no_picamera2_here(
    program: types.ModuleType,
    bundle: Path,
    tmp_path: Path,
    run_any: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    done = run_any(program.app, "--bundle", bundle, "--save", tmp_path / "out", "--count", 1)
    assert done.code == 1
    assert "sudo apt install python3-picamera2" in done.err
    assert done.err.count("\n") == 1


def test_no_packager_here(
    program: types.ModuleType,
    sensor: Sensor,
    bundle: Path,
    tmp_path: Path,
    tools: Path,
    run_any: Run,
) -> None:
    tools.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    options = ("--bundle", bundle, "--save", tmp_path / "out", "--count", 1)
    done = run_any(program.app, *options)
    assert done.code == 1
    assert "code 3; got broken" in done.err
    tools.unlink()
    done = run_any(program.app, *options)
    assert done.code == 1
    assert "imx500-package is not installed" in done.err
    assert not any((tmp_path / "cache").rglob("*.rpk"))


def test_a_sensor_that_stays_silent(
    program: types.ModuleType,
    sensor: Sensor,
    bundle: Path,
    tmp_path: Path,
    run_any: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sensor, "frames", lambda: iter(lambda: {}, None))
    done = run_any(program.app, "--bundle", bundle, "--save", tmp_path / "out", "--patience", 0.1)
    assert done.code == 1
    assert "no result for 0.1 s" in done.err
    assert sensor.closed


def test_what_enlarges_is_said(
    program: types.ModuleType, sensor: Sensor, bundle: Path, tmp_path: Path, run_any: Run
) -> None:
    change_manifest(bundle, lambda values: values["processing"].update(upscale=8))
    done = run_any(program.app, "--bundle", bundle, "--save", tmp_path / "out", "--count", 1)
    assert done.code == 0
    assert "warning: " in done.err
    assert "enlarged 8 times" in done.err
