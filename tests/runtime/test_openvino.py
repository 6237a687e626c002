"""The OpenVINO backend, and bundles that several runtimes can load."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from elir_edge.errors import BackendError, BundleError, UsageError
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.backends import open_backend
from elir_edge.runtime.bundle import write_manifest

NEAR = 1e-4
"""Two runtimes' float32, largest absolute difference: the parity gate of ONNX graphs."""


def test_agrees_with_onnx_runtime(tiny_bundle: Path) -> None:
    restorers = [Restorer(tiny_bundle, threads=1, runtime=r) for r in ("onnxruntime", "openvino")]
    assert restorers[1].runtime.startswith("openvino 20")
    image = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    first, second = (restorer.run(image) for restorer in restorers)
    assert np.abs(first - second).max() <= NEAR
    assert np.abs(first - restorers[1].run(image[::-1])).max() > NEAR


def test_results_outlive_the_next_run(tiny_bundle: Path) -> None:
    backend = open_backend("openvino", tiny_bundle / "model.onnx", 1)
    image: NDArray[np.float32] = np.zeros((1, 3, 64, 64), np.float32)
    first = backend.run({"image": image})["restored"]
    kept = first.copy()
    backend.run({"image": image + 1})
    assert np.array_equal(first, kept)


def test_refusals(tiny_bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"openvino \S+ refuses model.onnx"):
        open_backend("openvino", broken, None)
    dynamic = onnx.load(tiny_bundle / "model.onnx")
    dynamic.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(dynamic, broken)
    with pytest.raises(BackendError, match=r"(?s)refuses model.onnx .*dynamic shape"):
        open_backend("openvino", broken, None)
    backend = open_backend("openvino", tiny_bundle / "model.onnx", 1)
    with pytest.raises(BackendError, match=r"cannot run .*\(1, 3, 32, 32\)"):
        backend.run({"image": np.zeros((1, 3, 32, 32), np.float32)})
    with pytest.raises(UsageError, match="not checked in runtime 'tflite'; expected one of onnx"):
        Restorer(tiny_bundle, runtime="tflite")


def test_each_runtime_loads_its_own_file(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    bundle = Bundle.open(folder)
    assert bundle.runtimes == ["onnxruntime", "openvino"]
    assert bundle.artifact_for("openvino").name == "model.onnx"
    target = dataclasses.replace(
        bundle.manifest.target, runtimes={"onnxruntime": "model.onnx", "openvino": "other.onnx"}
    )
    changed = dataclasses.replace(bundle.manifest, target=target)
    write_manifest(folder, changed)
    assert Bundle.open(folder).artifact_for("onnxruntime").name == "model.onnx"
    with pytest.raises(BundleError, match=r"lists no file 'other\.onnx' for openvino"):
        Bundle.open(folder).artifact_for("openvino")
