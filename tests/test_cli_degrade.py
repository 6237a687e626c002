"""`elir-edge degrade` as a user types it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from elir_edge.cli import app
from elir_edge.data.datasets import centre_crop, to_float
from elir_edge.data.degradations import low_resolution
from elir_edge.data.operations import to_uint8
from elir_edge.errors import DataError, UsageError


@pytest.fixture
def folder(photo: NDArray[np.uint8], tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(photo).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def _degrade(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["degrade", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


def test_sheet_and_pairs(folder: Path, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    sheet, pairs = tmp_path / "sheet.png", tmp_path / "pairs"
    options = ("--task", "bsr", "--samples", 2, "--crop", 64, "--out", sheet, "--pairs", pairs)
    output = _degrade(folder, *options)
    assert str(sheet) in output
    assert "2 pairs" in output
    assert Image.open(sheet).size == (3 * 64 + 2 * 4, 16 + 2 * 64 + 4)
    clean = centre_crop(photo, 64)
    for index, name in enumerate(("000000-a.png", "000001-b.png")):
        small = low_resolution("bsr", to_float(clean), np.random.default_rng([0, index, 0]))
        degraded = np.asarray(Image.open(pairs / "degraded" / name))
        assert np.array_equal(degraded, to_uint8(small))
        assert np.array_equal(np.asarray(Image.open(pairs / "reference" / name)), clean)


def test_one_photo(folder: Path, tmp_path: Path) -> None:
    _degrade(folder / "a.png", "--task", "inpainting", "--out", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").exists()


def test_mistakes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown task 'blur'"):
        _degrade(folder, "--task", "blur")
    with pytest.raises(UsageError, match="no photo or folder"):
        _degrade(tmp_path / "nothing", "--task", "sr")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="cannot be read as an image"):
        _degrade(tmp_path / "text.png", "--task", "sr", "--out", tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
