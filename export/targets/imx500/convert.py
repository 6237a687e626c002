"""Quantized ONNX -> what the sensor loads, by `imxconv-pt`, and its memory report."""

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
        weights: the model's own.
        running: activations and buffers.
        used: all of it.
        available: on the chip.
        fits: the converter's verdict.
    """

    weights: int
    running: int
    used: int
    available: int
    fits: bool

    @classmethod
    def parse(cls, text: str) -> "Memory":
        """Read a report.

        Raises:
            ExportError: it is not one of a known form.
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
    """Convert a file of MCT's into `out` (made here): the zip and the report.

    Args:
        tools: the converter's environment.
        model: quantized ONNX with MCT's operators, equal constants shared.
        out: folder for `packerOut.zip`, `memory-report.json` and what else it writes.
        report_only: the report alone, in a third of the time.
        require_fit: whether a model that does not fit is an error.

    Returns:
        The memory report, and the tensors' description from `dnnParams.xml` as text.

    Raises:
        ExportError: the converter refuses the model, it does not fit, or no whole zip came out.
    """
    command = [str(tools / "bin" / "imxconv-pt"), "-i", str(model), "-o", str(out)]
    command += ["--no-input-persistency", *(["--memory-report"] if report_only else [])]
    path = f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    said = _complaints(done.stdout + done.stderr)
    reports = sorted(out.glob("*MemoryReport.json")) if out.is_dir() else []
    if not reports:
        raise ExportError(
            "the IMX500 converter refuses the model",
            got=said or f"exit code {done.returncode}",
            fix="see `--fit` for operations that the sensor has not",
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
        _require_whole(out / ZIP, said)
    parameters = out / "dnnParams.xml"
    return memory, {"dnnParams.xml": parameters.read_text(encoding="utf-8")}


def _require_whole(path: Path, said: str) -> None:
    """A clean report without a zip is how the converter fails on some operations."""
    try:
        with zipfile.ZipFile(path) as archive:
            missing = sorted(set(_NEEDED) - set(archive.namelist()))
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        raise ExportError(
            f"the IMX500 converter wrote no usable {ZIP}",
            got=said or str(error),
            fix="an operation is one that the sensor has not: see `--fit`",
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
        raise ValueError(f"no size: {text!r}")
    return round(float(match[1]) * _UNITS[match[2]])


def _complaints(text: str) -> str:
    lines = [line for line in text.splitlines() if re.search(r"\b(ERROR|FATAL|Error:)", line)]
    return "; ".join(line.strip()[-200:] for line in lines[:2])
