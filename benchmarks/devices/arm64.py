"""Does a TFLite bundle give the same result on emulated Arm as on x86? A check of values only.

An emulator's speed says nothing about a device: `fps.py --device` measures true ones.

    sudo apt-get install qemu-user
    python benchmarks/devices/arm64.py dist/denoising-nano-tflite-int8

It needs Debian or Ubuntu, whose packages provide an arm64 Python; the runtime's arm64 wheels come
from PyPI. Both are unpacked, not installed, into a folder that is created once. The bundle's own
test image is restored on both processors, with one thread.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.options import JsonFile
from elir_edge.console import console, run_app
from elir_edge.errors import ElirError
from elir_edge.files import replacing_folder, write_json
from elir_edge.runtime import Bundle, Restorer
from elir_edge.runtime.images import read_picture

ROOT = Path(__file__).resolve().parent.parent.parent
_TOOLS = {"qemu-aarch64": "qemu-user", "apt-get": "apt", "dpkg": "dpkg"}
_PYTHON = "3.11"
_DEBIAN = (f"python{_PYTHON}", "libstdc++6")
_WHEELS = ("ai-edge-litert", "numpy", "pillow")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 100.00
Features\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0b
CPU revision\t: 1

"""
"""A Cortex-A76's: without it XNNPACK reads the host's, understands nothing and crashes."""
_RESTORE = """\
import sys, numpy
from elir_edge.runtime import Restorer
restorer = Restorer(sys.argv[1], threads=1, runtime="litert")
numpy.save(sys.argv[3], restorer.restore(numpy.load(sys.argv[2])))
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """Two 8-bit images of the same bundle and input.

    Attributes:
        bundle: its name.
        equal: share of equal values.
        largest: difference, of 255.
        psnr_db: of one against the other; None where they are equal.
    """

    bundle: str
    equal: float
    largest: int
    psnr_db: float | None


def compare(name: str, here: np.ndarray, there: np.ndarray) -> OutputComparison:
    """Compare two images (H, W, 3), uint8.

    Raises:
        ElirError: their shapes differ.
    """
    if here.shape != there.shape or here.dtype != there.dtype:
        raise ElirError(
            f"{name} gives another kind of image on Arm",
            got=f"{there.dtype} {there.shape}",
            expected=f"{here.dtype} {here.shape}",
        )
    difference = np.abs(here.astype(int) - there.astype(int))
    error = float((difference.astype(float) ** 2).mean())
    return OutputComparison(
        bundle=name,
        equal=float((difference == 0).mean()),
        largest=int(difference.max()),
        psnr_db=None if error == 0 else round(float(10 * np.log10(255**2 / error)), 2),
    )


def make_root(folder: Path) -> None:
    """Unpack an arm64 Python with the runtime's packages; `folder` appears when it is whole.

    Raises:
        ElirError: a tool is missing or a download failed.
    """
    with replacing_folder(folder) as root, tempfile.TemporaryDirectory() as name:
        apt = Path(name)
        for part in ("lists/partial", "cache/archives/partial"):
            (apt / part).mkdir(parents=True)
        (apt / "status").touch()
        options = [
            "-oAPT::Architecture=arm64",
            "-oAPT::Architectures=arm64",
            f"-oDir::State::Lists={apt / 'lists'}",
            f"-oDir::State::status={apt / 'status'}",
            f"-oDir::Cache={apt / 'cache'}",
        ]
        _run(["apt-get", *options, "-qq", "update"])
        download = ["install", "--yes", "--download-only", "--no-install-recommends", *_DEBIAN]
        _run(["apt-get", *options, "-qq", *download])
        for package in sorted((apt / "cache/archives").glob("*.deb")):
            _run(["dpkg", "-x", str(package), str(root)])
        wheels = [f"{package}=={version(package)}" for package in _WHEELS]
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ]
        platforms = [f"--platform={platform}" for platform in _PLATFORMS]
        target = ["--python-version", _PYTHON, "--target", str(root / "site")]
        _run([*pip, *platforms, *target, *wheels])
        (root / "proc").mkdir(exist_ok=True)
        (root / "proc/cpuinfo").write_text(_CPUINFO)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ElirError(
            f"{Path(command[0]).name} failed (exit code {done.returncode})",
            got=lines[-1] if lines else "no message",
        )


def restore_on_arm(root: Path, bundle: Path, image: np.ndarray) -> np.ndarray:
    """Restore an image (H, W, 3), uint8, by an emulated Arm's LiteRT."""
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name) / "given.npy", Path(name) / "made.npy"
        np.save(given, image)
        environment = os.environ | {
            "QEMU_CPU": "cortex-a76",
            "PYTHONPATH": os.pathsep.join((str(root / "site"), str(ROOT))),
        }
        python = [str(root / "usr/bin" / f"python{_PYTHON}"), "-S", "-c", _RESTORE]
        arguments = [str(path.resolve()) for path in (bundle, given)] + [str(made)]
        _run(["qemu-aarch64", "-L", str(root), *python, *arguments], environment)
        restored: np.ndarray = np.load(made)
        return restored


@app.command()
def run(
    bundles: Annotated[list[Path], typer.Argument(help="Folders made by export, target tflite.")],
    root: Annotated[Path, typer.Option(help="Folder of the arm64 Python, made once.")] = Path(
        "~/.cache/elir-edge/arm64"
    ),
    out: JsonFile = None,
) -> None:
    """Restore each bundle's test image here and on an emulated Arm, and compare."""
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if missing:
        raise ElirError(
            f"{', '.join(missing)} not found",
            fix=f"on Debian or Ubuntu: apt-get install {' '.join(missing)}",
        )
    root = root.expanduser().resolve()
    if not root.exists():
        console.print(f"unpacking an arm64 Python into {root} ...", soft_wrap=True)
        make_root(root)
    table = Table("bundle", "equal values", "largest difference", "PSNR")
    comparisons = []
    for folder in bundles:
        bundle = Bundle.open(folder)
        image = read_picture(bundle.path_of(bundle.manifest.self_test.input)).pixels
        here = Restorer(bundle, threads=1, runtime="litert").restore(image)
        found = compare(bundle.manifest.identity.name, here, restore_on_arm(root, folder, image))
        comparisons.append(found)
        psnr = "equal" if found.psnr_db is None else f"{found.psnr_db:.1f} dB"
        table.add_row(found.bundle, f"{100 * found.equal:.2f} %", f"{found.largest} of 255", psnr)
    console.print(table)
    if out is not None:
        report = {
            "emulator": "qemu-aarch64, cortex-a76",
            "versions": {name: version(name) for name in _WHEELS},
            "rows": [asdict(comparison) for comparison in comparisons],
        }
        write_json(out, report)


if __name__ == "__main__":
    run_app(app)
