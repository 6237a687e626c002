"""The import contracts: who may import what, and that an application needs no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SDKS = {
    "accelerate": "elir_edge/train/distributed.py",
    "ai_edge_litert": "elir_edge/runtime/backends/litert.py",
    "ai_edge_quantizer": "export/targets/tflite/quantize.py",
    "av": "elir_edge/runtime/video/library.py",
    "cuda": "elir_edge/runtime/backends/tensorrt/cuda.py",
    "facexlib": "elir_edge/evaluation/perceptual.py",
    "mct_quantizers": "export/targets/imx500/mct.py",
    "model_compression_toolkit": "export/targets/imx500/mct.py",
    "litert_torch": "export/targets/tflite/convert.py",
    "filelock": "elir_edge/runtime/locking.py",
    "fsspec": "elir_edge/runtime/archive/store.py",
    "matplotlib": "elir_edge/evaluation/trajectories.py",
    "onnxruntime": "elir_edge/runtime/backends/ort.py",
    "onnxsim": "export/onnx_graph/to_onnx.py",
    "openvino": "elir_edge/runtime/backends/openvino.py",
    "pyarrow": "elir_edge/runtime/archive/ledger.py",
    "pyiqa": "elir_edge/evaluation/perceptual.py",
    "ray": "elir_edge/runtime/archive/cluster.py",
    "tensorrt": "elir_edge/runtime/backends/tensorrt/sdk.py",
    "tensorrt_rtx": "elir_edge/runtime/backends/tensorrt/sdk.py",
}
"""Vendor packages, and the one file that may import each."""

_BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Block())
"""


def _run_blocked(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _BLOCK + code, ",".join(blocked)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_runtime_restores_without_torch_onnx_or_export(tiny_bundle: Path) -> None:
    code = f"""
import numpy as np
from elir_edge.runtime import Restorer
from elir_edge.runtime.selftest import verify_bundle
image = np.zeros((10, 20, 3), np.uint8)
assert Restorer({str(tiny_bundle)!r}).restore(image).shape == image.shape
verify_bundle(__import__("pathlib").Path({str(tiny_bundle)!r}))
print("restored")
"""
    done = _run_blocked(code, "torch", "onnx", "export", "safetensors", "typer", "rich", "skimage")
    assert done.stdout.strip() == "restored", done.stderr


def test_blocking_works() -> None:
    done = _run_blocked("import elir_edge.checkpoints.own", "torch")
    assert done.returncode != 0
    assert "torch is blocked" in done.stderr


@pytest.mark.parametrize("module", ["elir_edge", "elir_edge.tasks", "elir_edge.cli.app"])
def test_imports_without_training_packages(module: str) -> None:
    done = _run_blocked(f"import {module}", "torch", "onnx", "onnxruntime", "safetensors", "export")
    assert done.returncode == 0, done.stderr


TOOLS = {
    "export/onnx_graph/half.py": "onnxruntime.transformers",
    "export/qdq/insert.py": "onnxruntime.quantization",
    "export/targets/tflite/file.py": "ai_edge_litert.schema_py_generated ai_edge_litert.tools",
    # The oracle of the sensor's emulation.
    "export/targets/imx500/worker.py": "onnxruntime",
}
"""Tools on files that come with a runtime, and the one file that may import each."""


@pytest.mark.parametrize("sdk", SDKS)
def test_each_sdk_is_imported_in_one_file(sdk: str) -> None:
    importing = {
        path.relative_to(ROOT).as_posix(): modules
        for package in ("elir_edge", "export")
        for path in (ROOT / package).rglob("*.py")
        if (modules := {m for m in _imported_modules(path) if m.split(".")[0] == sdk})
    }
    assert SDKS[sdk] in importing
    for name, modules in importing.items():
        allowed = tuple(TOOLS.get(name, "").split())
        strangers = [m for m in modules if not m.startswith(allowed or ("-",))]
        assert name == SDKS[sdk] or not strangers, (name, strangers)


def test_every_tool_is_used() -> None:
    """What is allowed and not needed would hide what comes later."""
    for name, prefixes in TOOLS.items():
        modules = _imported_modules(ROOT / name)
        for prefix in prefixes.split():
            assert any(module.startswith(prefix) for module in modules), (name, prefix)


def _imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _imported_packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imported_modules(path)}


def test_nothing_imports_tests_or_benchmarks() -> None:
    for package in ("elir_edge", "export", "benchmarks"):
        # Benchmarks share code among themselves.
        forbidden = {"tests"} if package == "benchmarks" else {"tests", "benchmarks"}
        for path in (ROOT / package).rglob("*.py"):
            assert not forbidden & _imported_packages(path), path


def test_the_tree_names_no_machine() -> None:
    """No home or work folder of whoever wrote this is left in a tracked file."""
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, files):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".lock", ".yaml", ".json"} and path.exists():
            text = path.read_text(encoding="utf-8")
            assert "/home" + "/" not in text, name
            assert "file:" + "///" not in text, name
