"""The converter's report and zip are read strictly; a converter of our own stands for Sony's."""

import json
import zipfile
from pathlib import Path

import pytest

from elir_edge.errors import ExportError
from export.targets.imx500.convert import MEGABYTE, Memory, convert

_REPORT = {
    "Memory Report": {
        "Name": "elir",
        "Runtime Memory Physical Size": "4.00MB",
        "Model Memory Physical Size": "512.00KB",
        "Reserved Memory": "1.00KB",
        "Memory Usage": "4.50MB",
        "Total Memory Available On Chip": "8.00MB",
        "Memory Utilization": "57%",
        "Fit In Chip": True,
    }
}
_FILES = ("manifest.json", "dnnParams.xml", "l2staticData.bin", "cfgA.bin", "verTable.txt")


def test_report_in_bytes() -> None:
    memory = Memory.parse(json.dumps(_REPORT))
    assert (memory.running, memory.weights) == (4 * MEGABYTE, MEGABYTE // 2)
    assert memory.fits
    assert str(memory) == "4.50 of 8.00 MB (0.50 weights, 4.00 running)"


@pytest.mark.parametrize(
    "text",
    ["{}", "no JSON", json.dumps(_REPORT).replace("4.00MB", "4 barrels")],
)
def test_other_reports_are_refused(text: str) -> None:
    with pytest.raises(ExportError, match="memory report cannot be read"):
        Memory.parse(text)


def _tools(folder: Path, source: Path) -> Path:
    """Return an environment whose converter copies what lies in `source`."""
    script = folder / "bin" / "imxconv-pt"
    script.parent.mkdir(parents=True)
    script.write_text(
        f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nmkdir "$2" && cp {source}/* "$2"\n'
        'echo "12:00 ERROR : unsupported layer"\n'
    )
    script.chmod(0o755)
    return folder


def _output(folder: Path, *, report: dict[str, object], files: tuple[str, ...] | None) -> Path:
    folder.mkdir()
    (folder / "elir_MemoryReport.json").write_text(json.dumps(report))
    (folder / "dnnParams.xml").write_text("<dnnParams/>")
    if files is not None:
        with zipfile.ZipFile(folder / "packerOut.zip", "w") as archive:
            for name in files:
                archive.writestr(name, "x")
    return folder


def test_whole_output_passes(tmp_path: Path) -> None:
    source = _output(tmp_path / "source", report=_REPORT, files=_FILES)
    memory, parameters = convert(
        _tools(tmp_path / "tools", source), tmp_path / "m.onnx", tmp_path / "out"
    )
    assert memory.used == round(4.5 * MEGABYTE)
    assert parameters["dnnParams.xml"] == "<dnnParams/>"
    assert (tmp_path / "out" / "memory-report.json").is_file()


@pytest.mark.parametrize(
    ("files", "message"),
    [(None, "no usable packerOut.zip"), (_FILES[:2], "incomplete packerOut.zip")],
)
def test_a_clean_report_without_a_whole_zip_is_a_failure(
    tmp_path: Path, files: tuple[str, ...] | None, message: str
) -> None:
    source = _output(tmp_path / "source", report=_REPORT, files=files)
    tools = _tools(tmp_path / "tools", source)
    with pytest.raises(ExportError, match=message):
        convert(tools, tmp_path / "m.onnx", tmp_path / "out")
    # The report alone asks for no zip.
    convert(tools, tmp_path / "m.onnx", tmp_path / "report", report_only=True)


def test_what_does_not_fit_is_refused_with_its_numbers(tmp_path: Path) -> None:
    report = {"Memory Report": {**_REPORT["Memory Report"], "Fit In Chip": False}}
    source = _output(tmp_path / "source", report=report, files=_FILES)
    with pytest.raises(ExportError, match=r"does not fit the sensor; got 4\.50 of 8\.00 MB"):
        convert(_tools(tmp_path / "tools", source), tmp_path / "m.onnx", tmp_path / "out")


def test_a_refusal_carries_the_converters_words(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    tools = _tools(tmp_path / "tools", tmp_path / "source")
    with pytest.raises(ExportError, match=r"refuses the model; got .*unsupported layer"):
        convert(tools, tmp_path / "m.onnx", tmp_path / "out")
