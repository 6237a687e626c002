"""`elir-edge degrade` as a user types it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from elir_edge.cli.app import app
from elir_edge.data.datasets import centre_crop, to_float
from elir_edge.data.degradations import low_resolution
from elir_edge.data.operations import to_uint8
from tests.conftest import Done, Run


@pytest.fixture
def folder(photo: NDArray[np.uint8], tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(photo).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.fixture
def run(run_any: Run) -> Run:
    return lambda *arguments: run_any(app, "degrade", *arguments)


def test_sheet_and_pairs(run: Run, folder: Path, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    sheet, pairs = tmp_path / "sheet.png", tmp_path / "pairs"
    options = ("--task", "bsr", "--samples", 2, "--crop", 64, "--out", sheet, "--pairs", pairs)
    done = run(folder, *options)
    output = done.out
    assert done.code == 0
    assert str(sheet) in output
    assert "2 pairs" in output
    assert Image.open(sheet).size == (3 * 64 + 2 * 4, 16 + 2 * 64 + 4)
    clean = centre_crop(photo, 64)
    for index, name in enumerate(("000000-a.png", "000001-b.png")):
        small = low_resolution("bsr", to_float(clean), np.random.default_rng([0, index, 0]))
        degraded = np.asarray(Image.open(pairs / "degraded" / name))
        assert np.array_equal(degraded, to_uint8(small))
        assert np.array_equal(np.asarray(Image.open(pairs / "reference" / name)), clean)


def test_another_degradation(
    run: Run, folder: Path, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    sheet, pairs = tmp_path / "sheet.png", tmp_path / "pairs"
    options = ("--task", "bsr", "--samples", 1, "--crop", 64, "--out", sheet, "--pairs", pairs)
    done = run(folder / "a.png", *options, "--degradation", "resshift-test")
    assert "bsr, degradation resshift-test" in done.out
    clean = to_float(centre_crop(photo, 64))
    small = low_resolution("bsr", clean, np.random.default_rng([0, 0, 0]), "resshift-test")
    degraded = np.asarray(Image.open(pairs / "degraded" / "000000-a.png"))
    assert np.array_equal(degraded, to_uint8(small))
    default = low_resolution("bsr", clean, np.random.default_rng([0, 0, 0]))
    assert not np.array_equal(degraded, to_uint8(default))
    done = run(folder, "--task", "bsr", "--degradation", "paper")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "'paper' of bsr; expected one of resshift, resshift-test" in done.err


def test_one_photo(run: Run, folder: Path, tmp_path: Path) -> None:
    run(folder / "a.png", "--task", "inpainting", "--out", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").exists()


def test_mistakes(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run(folder, "--task", "blur")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "unknown task 'blur'" in done.err
    done = run(tmp_path / "nothing", "--task", "sr")
    assert done.code == 2
    assert "no photo or folder" in done.err
    (tmp_path / "text.png").write_text("no image")
    done = run(tmp_path / "text.png", "--task", "sr", "--out", tmp_path / "sheet.png")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "cannot be read as an image" in done.err
    assert not (tmp_path / "sheet.png").exists()


def _is_refused(done: Done, *said: str) -> None:
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    for part in said:
        assert part in done.err


def test_originals_are_safe(run: Run, folder: Path, tmp_path: Path) -> None:
    """No photo is written over, no folder emptied: with --force neither."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    rest = ("--task", "denoising", "--samples", 1, "--crop", 32)
    sheet = ("--out", tmp_path / "sheet.png")
    for force in ((), ("--force",)):
        _is_refused(run(folder, *rest, *force, "--out", folder / "a.png"), "among the photos")
        _is_refused(run(folder / "a.png", *rest, *force, "--out", folder / "a.png"), "among")
        _is_refused(run(folder, *rest, *sheet, *force, "--pairs", folder), "among the photos")
        _is_refused(run(folder, *rest, *sheet, *force, "--pairs", tmp_path), "contains the photos")
        theirs = tmp_path / "theirs"
        theirs.mkdir(exist_ok=True)
        (theirs / "thesis.txt").write_text("mine")
        _is_refused(
            run(folder, *rest, *sheet, *force, "--pairs", theirs), "something other than pairs"
        )
        assert (theirs / "thesis.txt").read_text() == "mine"
        _is_refused(run(folder, *rest, *force, "--out", theirs), "a .png file")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert not (tmp_path / "sheet.png").exists()


def test_results_are_replaced_only_when_told(run: Run, folder: Path, tmp_path: Path) -> None:
    sheet, pairs = tmp_path / "sheet.png", tmp_path / "pairs"
    options = ("--task", "denoising", "--samples", 1, "--crop", 32, "--out", sheet)
    assert run(folder, *options, "--pairs", pairs).code == 0
    first = sheet.read_bytes()
    _is_refused(run(folder, *options, "--seed", 1), "sheet.png exists", "--force")
    assert sheet.read_bytes() == first
    other = ("--task", "denoising", "--samples", 1, "--crop", 32, "--out", tmp_path / "b.png")
    _is_refused(run(folder, *other, "--pairs", pairs), "pairs exists", "--force")
    assert not (tmp_path / "b.png").exists()
    assert run(folder, *options, "--seed", 1, "--pairs", pairs, "--force").code == 0
    assert sheet.read_bytes() != first
    assert len(list((pairs / "degraded").iterdir())) == 2


def test_crops_that_a_task_cannot_reduce(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run(folder, "--task", "sr", "--crop", 33, "--out", tmp_path / "x.png")
    _is_refused(done, "crop of 33 cannot be reduced", "a multiple of 8")
