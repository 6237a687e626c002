"""Published figures: each has a table and a column, and is what the paper prints there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.published import FPS, PARAMETERS, PATH, load_figures, speed_table
from elir_edge.errors import DataError

NOT_ON_PYPI = ("VQFR", "DifFace", "DiffBIR", "ResShift", "PMRF", "DiffIR", "SinSR")
_MARKUP = re.compile(r"</?b>|\*\*")
_CAPTION_REACH = 30


def _numbers(line: str) -> list[float]:
    found = []
    for cell in _MARKUP.sub("", line).split("\t"):
        try:
            found.append(float(cell))
        except ValueError:
            continue
    return found


def _is_printed(table: dict[str, Any], row: dict[str, Any], lines: list[str]) -> bool:
    """Whether a line before the table's caption holds the row's name and numbers, in order."""
    number = re.sub(r"\(.\)", "", table["table"])
    caption = next(i for i, line in enumerate(lines) if line.startswith(f"{number}:"))
    near = lines[max(0, caption - _CAPTION_REACH) : caption]
    wanted = [float(value) for value in row["values"]]
    return any(row["printed"] in line and _numbers(line) == wanted for line in near)


def test_every_figure_has_a_source() -> None:
    figures = load_figures()
    assert len(figures) == len({(f.table, f.task, f.model, f.column) for f in figures})
    for figure in figures:
        assert re.fullmatch(r"Table \d+(\([ab]\))?", figure.table), figure
        assert figure.column, figure
        assert figure.value > 0, figure
        assert figure.side in (256, 512), figure
    for name in NOT_ON_PYPI:
        columns = {f.column for f in figures if f.model.startswith(name)}
        assert {PARAMETERS, FPS} <= columns, name
    # Nothing in the file lies outside of what is loaded.
    tables = json.loads(PATH.read_text())["tables"]
    assert len(figures) == sum(len(row["values"]) for t in tables for row in t["rows"])
    assert {t["table"] for t in tables} == {
        "Table 1(a)", "Table 1(b)", "Table 2", "Table 5", "Table 9", "Table 10",
    }  # fmt: skip


def test_figures_are_those_of_the_paper(shared: Path) -> None:
    paper = shared / "paper" / "elir.txt"
    if not paper.is_file():
        pytest.skip("needs the paper's text in shared/paper")
    lines = paper.read_text(encoding="utf-8").splitlines()
    for table in json.loads(PATH.read_text())["tables"]:
        for row in table["rows"]:
            assert _is_printed(table, row, lines), (table["table"], row)
            # The twins: another number, and two numbers in each other's place.
            for i in range(len(row["values"])):
                values = [*row["values"]]
                values[i] = round(values[i] + 0.01, 4)
                assert not _is_printed(table, {**row, "values": values}, lines)
            swapped = [row["values"][1], row["values"][0], *row["values"][2:]]
            assert not _is_printed(table, {**row, "values": swapped}, lines)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    content = json.loads(PATH.read_text())
    content["tables"][0]["rows"][0]["values"].pop()
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"10 numbers for 11 columns of Table 1\(a\)"):
        load_figures(path)
    del content["tables"][0]["columns"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="does not hold published figures"):
        load_figures(path)
    path.write_text("not JSON")
    with pytest.raises(DataError, match="does not hold published figures"):
        load_figures(path)


def test_the_table_of_speed_is_marked_as_not_measured() -> None:
    table = speed_table(load_figures(), ["bsr"])
    assert "not measured here" in str(table.title)
    models = list(table.columns[1].cells)
    assert "SinSR, 1 step" in models
    assert "VQFR v2" not in models
    assert set(table.columns[4].cells) == {"Table 1(b)"}
