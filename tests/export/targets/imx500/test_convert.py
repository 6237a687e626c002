"""The converter's report and zip are read strictly; a converter of our own stands for Sony's."""

import json
from pathlib import Path

import pytest

from elir_edge.errors import ExportError
from export.targets.imx500.convert import MEGABYTE, Memory, convert
from tests.export.targets.imx500.standin import (
    FIRMWARE,
    REPORT,
    copying_converter,
    write_output,
)


def test_report_in_bytes() -> None:
    memory = Memory.parse(json.dumps(REPORT))
    assert (memory.running, memory.weights) == (4 * MEGABYTE, MEGABYTE // 2)
    assert (memory.used, memory.available) == (9 * MEGABYTE // 2, 8 * MEGABYTE)
    assert memory.fits
    assert str(memory) == "4.50 of 8.00 MB (0.50 weights, 4.00 running)"


@pytest.mark.parametrize(
    "text",
    ["{}", "no JSON", json.dumps(REPORT).replace("4.00MB", "4 barrels")],
)
def test_other_reports_are_refused(text: str) -> None:
    with pytest.raises(ExportError, match="memory report cannot be read"):
        Memory.parse(text)


def test_whole_output_passes(tmp_path: Path) -> None:
    source = write_output(tmp_path / "source", report=REPORT, files=FIRMWARE)
    memory, parameters = convert(
        copying_converter(tmp_path / "tools", source), tmp_path / "m.onnx", tmp_path / "out"
    )
    assert memory.used == round(4.5 * MEGABYTE)
    assert parameters["dnnParams.xml"] == "<dnnParams/>"
    assert (tmp_path / "out" / "memory-report.json").is_file()


@pytest.mark.parametrize(
    ("files", "message"),
    [(None, "no usable packerOut.zip"), (FIRMWARE[:2], "incomplete packerOut.zip")],
)
def test_a_clean_report_without_a_whole_zip_is_a_failure(
    tmp_path: Path, files: tuple[str, ...] | None, message: str
) -> None:
    source = write_output(tmp_path / "source", report=REPORT, files=files)
    tools = copying_converter(tmp_path / "tools", source)
    with pytest.raises(ExportError, match=message):
        convert(tools, tmp_path / "m.onnx", tmp_path / "out")
    # The report alone asks for no zip.
    convert(tools, tmp_path / "m.onnx", tmp_path / "report", report_only=True)


def test_what_does_not_fit_is_refused_with_its_numbers(tmp_path: Path) -> None:
    report = {"Memory Report": {**REPORT["Memory Report"], "Fit In Chip": False}}
    source = write_output(tmp_path / "source", report=report, files=FIRMWARE)
    with pytest.raises(ExportError, match=r"does not fit the sensor; got 4\.50 of 8\.00 MB"):
        convert(
            copying_converter(tmp_path / "tools", source), tmp_path / "m.onnx", tmp_path / "out"
        )


def test_a_refusal_carries_the_converters_words(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    tools = copying_converter(tmp_path / "tools", tmp_path / "source")
    with pytest.raises(ExportError, match=r"refuses the model; got .*unsupported layer"):
        convert(tools, tmp_path / "m.onnx", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "size"),
    [("7.00B", 7), ("1.50KB", 1536), ("0.25 MB", MEGABYTE // 4), ("1.0004KB", 1024)],
)
def test_units_of_the_report(text: str, size: int) -> None:
    report = json.dumps(REPORT).replace("4.00MB", text)
    assert Memory.parse(report).running == size
    for other in (f"{text} more", f"about {text}"):
        with pytest.raises(ExportError, match="not a size"):
            Memory.parse(json.dumps(REPORT).replace("4.00MB", other))


@pytest.mark.parametrize("fits", ["yes", 1, None])
def test_only_true_means_that_it_fits(fits: object) -> None:
    report = {"Memory Report": {**REPORT["Memory Report"], "Fit In Chip": fits}}
    assert not Memory.parse(json.dumps(report)).fits


def _asking(folder: Path, source: Path) -> tuple[Path, Path]:
    """Return tools whose converter notes its arguments and its PATH, and the file of the notes."""
    tools, notes = copying_converter(folder, source), folder / "notes"
    script = tools / "bin" / "imxconv-pt"
    lines = script.read_text().splitlines()
    script.write_text("\n".join([lines[0], f'echo "$PATH $@" > {notes}', *lines[1:]]) + "\n")
    return tools, notes


@pytest.mark.parametrize("report_only", [False, True])
def test_what_the_converter_is_asked(report_only: bool, tmp_path: Path) -> None:
    source = write_output(tmp_path / "source", report=REPORT, files=FIRMWARE)
    tools, notes = _asking(tmp_path / "tools", source)
    model, out = tmp_path / "m.onnx", tmp_path / "out"
    convert(tools, model, out, report_only=report_only)
    path, *arguments = notes.read_text().split()
    assert path.startswith(f"{tools / 'bin'}:")
    asked = ["-i", str(model), "-o", str(out), "--no-input-persistency"]
    assert arguments == asked + ["--memory-report"] * report_only


def test_what_does_not_fit_may_be_asked_for(tmp_path: Path) -> None:
    report = {"Memory Report": {**REPORT["Memory Report"], "Fit In Chip": False}}
    source = write_output(tmp_path / "source", report=report, files=FIRMWARE)
    tools = copying_converter(tmp_path / "tools", source)
    memory, _ = convert(tools, tmp_path / "m.onnx", tmp_path / "out", require_fit=False)
    assert not memory.fits


def _failing(folder: Path, *lines: str, code: int = 3) -> Path:
    script = folder / "bin" / "imxconv-pt"
    script.parent.mkdir(parents=True)
    said = "".join(f"echo '{line}'\n" for line in lines)
    script.write_text(f"#!/bin/sh\n{said}exit {code}\n")
    script.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("lines", "got"),
    [
        ((), "got exit code 3; fix"),
        (("fine", "TERROR"), "got exit code 3; fix"),
        (("x ERROR a", "FATAL b", "Error: c"), "got x ERROR a; FATAL b; fix"),
        (("Error: c",), "got Error: c; fix"),
        (("ERROR " + "y" * 200,), f"got {'y' * 200}; fix"),
    ],
)
def test_complaints(lines: tuple[str, ...], got: str, tmp_path: Path) -> None:
    """The first two, at most 200 characters each; without any, the exit code."""
    with pytest.raises(ExportError) as caught:
        convert(_failing(tmp_path / "tools", *lines), tmp_path / "m.onnx", tmp_path / "out")
    assert got in str(caught.value)


def test_a_damaged_zip(tmp_path: Path) -> None:
    source = write_output(tmp_path / "source", report=REPORT, files=FIRMWARE)
    content = bytearray((source / "packerOut.zip").read_bytes())
    content[content.index(b"cfgA.bin") + len("cfgA.bin")] ^= 1  # the one byte of its content
    (source / "packerOut.zip").write_bytes(content)
    with pytest.raises(ExportError, match=r"missing nothing, damaged cfgA\.bin"):
        convert(
            copying_converter(tmp_path / "tools", source), tmp_path / "m.onnx", tmp_path / "out"
        )
