"""Conversion of quantized ONNX for the sensor by `imxconv-pt`, and its memory report."""

import json
import os
import re
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elir_edge.errors import ExportError

ZIP, REPORT = "packerOut.zip", "memory-report.json"
MEGABYTE = 1 << 20
CHIP_BYTES = 8 * MEGABYTE
_NEEDED = ("manifest.json", "dnnParams.xml", "l2staticData.bin", "cfgA.bin", "verTable.txt")
_UNITS = {"B": 1, "KB": 1 << 10, "MB": MEGABYTE}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The converter's memory report, in bytes.

    Attributes:
        weights: memory of the weights.
        running: memory of activations and buffers.
        used: total memory of the model.
        available: memory of the chip.
        fits: whether the model fits, according to the converter.
    """

    weights: int
    running: int
    used: int
    available: int
    fits: bool

    @classmethod
    def parse(cls, text: str) -> "Memory":
        """Parse the converter's report.

        Raises:
            ExportError: the report has an unknown format.
        """
        try:
            report = json.loads(text)["Memory Report"]
            return cls(
                weights=_bytes(report["Model Memory Physical Size"]),
                running=_bytes(report["Runtime Memory Physical Size"]),
                used=_bytes(report["Memory Usage"]),
                available=_bytes(report["Total Memory Available On Chip"]),
                fits=report["Fit In Chip"] is True,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ExportError(
                f"the converter's memory report cannot be read ({error!r})",
                expected="the form of imx500-converter 3.19",
            ) from error

    def __str__(self) -> str:
        """Return one line for people."""
        weights, running, used, available = (
            f"{value / MEGABYTE:.2f}"
            for value in (self.weights, self.running, self.used, self.available)
        )
        return f"{used} of {available} MB ({weights} weights, {running} running)"


def convert(
    tools: Path, model: Path, out: Path, *, report_only: bool = False, require_fit: bool = True
) -> tuple[Memory, Mapping[str, Any]]:
    """Convert a file of MCT to the sensor's zip file and a memory report.

    Args:
        tools: folder of the converter's environment.
        model: quantized ONNX with MCT's operators, with equal constants merged.
        out: folder for `packerOut.zip`, `memory-report.json` and other files; it is created here.
        report_only: write only the report, which takes a third of the time.
        require_fit: whether it is an error if the model does not fit.

    Returns:
        The memory report, and the text of `dnnParams.xml`, which describes the tensors.

    Raises:
        ExportError: the converter refuses the model, the model does not fit, or the zip file is
            missing or incomplete.
    """
    command = [str(tools / "bin" / "imxconv-pt"), "-i", str(model), "-o", str(out)]
    command += ["--no-input-persistency", *(["--memory-report"] if report_only else [])]
    path = f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    complaints = _complaints(done.stdout + done.stderr)
    reports = sorted(out.glob("*MemoryReport.json")) if out.is_dir() else []
    if not reports:
        raise ExportError(
            "the IMX500 converter refuses the model",
            got=complaints or f"exit code {done.returncode}",
            fix="see `--fit` for operations that the sensor does not have",
        )
    text = reports[0].read_text(encoding="utf-8")
    memory = Memory.parse(text)
    if require_fit and not memory.fits:
        raise ExportError(
            "the model does not fit the sensor",
            got=str(memory),
            fix="use a smaller SIZE or narrower layers (`--fit` tells in advance)",
        )
    reports[0].rename(out / REPORT)
    if not report_only:
        _require_whole(out / ZIP, complaints)
    parameters = out / "dnnParams.xml"
    return memory, {"dnnParams.xml": parameters.read_text(encoding="utf-8")}


def _require_whole(path: Path, complaints: str) -> None:
    """Require a complete zip file; on some operations the converter reports success without it."""
    try:
        with zipfile.ZipFile(path) as archive:
            missing = sorted(set(_NEEDED) - set(archive.namelist()))
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        raise ExportError(
            f"the IMX500 converter wrote no usable {ZIP}",
            got=complaints or str(error),
            fix="an operation is one that the sensor does not have: see `--fit`",
        ) from error
    if missing or damaged:
        raise ExportError(
            f"the IMX500 converter wrote an incomplete {ZIP}",
            got=f"missing {', '.join(missing) or 'nothing'}, damaged {damaged or 'nothing'}",
            fix="free disk space, then export again",
        )


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9.]+)\s*(B|KB|MB)", text)
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    return round(float(match[1]) * _UNITS[match[2]])


def _complaints(text: str) -> str:
    lines = [line for line in text.splitlines() if re.search(r"\b(ERROR|FATAL|Error:)", line)]
    return "; ".join(line.strip()[-200:] for line in lines[:2])
