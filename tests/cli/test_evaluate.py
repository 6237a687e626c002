"""`elir-edge evaluate` as a user types it."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from elir_edge.checkpoints.own import AUTOENCODER, Checkpoint, save_checkpoint
from elir_edge.cli.app import app
from tests.conftest import Run, assert_mistake, make_model, tiny_config


@pytest.fixture
def run(run_any: Run) -> Run:
    """Return a function that runs `elir-edge evaluate` on arguments."""
    return lambda *arguments: run_any(app, "evaluate", *arguments)


@pytest.fixture
def photos(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """Return a folder with two crops of a photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, left in (("a.png", 0), ("b.png", 200)):
        Image.fromarray(photo[50:200, left : left + 160]).save(folder / name)
    return folder


@pytest.fixture
def tiny_autoencoder(tmp_path: Path) -> Path:
    """Return an autoencoder checkpoint that fits the tiny model."""
    state = make_model(tiny_config(), seed=3).state_dict()
    kept = {key: value for key, value in state.items() if key.startswith(("encoder", "decoder"))}
    path = tmp_path / "autoencoder.safetensors"
    stored = Checkpoint(task=AUTOENCODER, config=tiny_config(), state=kept)
    save_checkpoint(path, stored, dtype=torch.float32)
    return path


def test_a_bundle(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = run(photos, "--bundle", tiny_bundle, "--crop", 64, "--out", out)
    assert (done.code, done.err) == (0, "")
    said = ("PSNR, dB", "SSIM (Y)", "2 images", "onnxruntime", f"report {out}")
    for part in said:
        assert part in " ".join(done.out.split())
    assert sorted(p.name for p in out.iterdir()) == ["report.json", "samples.png", "table.md"]
    assert "2 images, degradation paper\n" in (out / "table.md").read_text(encoding="utf-8")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["subject"]["kind"] == "bundle"
    assert report["flow"] is None
    assert report["names"] == ["a.png", "b.png"]
    psnr = report["metrics"]["psnr"]
    assert psnr["restored"] == pytest.approx(np.mean(report["scores"]["restored"]["psnr"]))
    assert (
        f"| PSNR, dB (higher is better) | {psnr['input']:.2f} |" in (out / "table.md").read_text()
    )


def test_a_checkpoint(
    run: Run, tiny_checkpoint: Path, tiny_autoencoder: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    arguments = (photos, "--checkpoint", tiny_checkpoint, "--task", "denoising", "--size", 64)
    rest = ("--crop", 64, "--autoencoder", tiny_autoencoder, "--threads", 1, "--out", out)
    done = run(*arguments, *rest)
    assert (done.code, done.err) == (0, "")
    assert "W2 bound: encoder-decoder error" in done.out
    names = ["report.json", "samples.png", "straightness.png", "table.md", "trajectory.png"]
    assert sorted(p.name for p in out.iterdir()) == names
    flow = json.loads((out / "report.json").read_text(encoding="utf-8"))["flow"]
    assert flow["images"] == 2
    for name in ("encoder_decoder_error", "velocity_error", "latent_straightness"):
        assert flow[name] > 0
    # 2 rows of 64 below their labels; input, D(z_0), two steps, ground truth.
    assert Image.open(out / "trajectory.png").size == (5 * 64 + 4 * 4, 16 + 2 * 68 - 4)
    # The same folder, without looking at the flow: its pictures would be another run's.
    assert run(*arguments, *rest, "--flow", 0).code == 0
    assert sorted(p.name for p in out.iterdir()) == ["report.json", "samples.png", "table.md"]


def test_the_report_for_programs(
    run: Run, tiny_checkpoint: Path, tiny_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    common = ("--crop", 100, "--limit", 1, "--json", "--out", tmp_path / "report")
    by_bundle = run(photos, "--bundle", tiny_bundle, *common)
    by_torch = run(
        photos, "--checkpoint", tiny_checkpoint, "--task", "denoising", "--size", 64, *common
    )
    bundle, checkpoint = json.loads(by_bundle.out), json.loads(by_torch.out)
    assert by_torch.out == (tmp_path / "report" / "report.json").read_text(encoding="utf-8")
    assert bundle["images"] == checkpoint["images"]
    assert (bundle["images"]["count"], bundle["images"]["degradation"]) == (1, "paper")
    assert [bundle["subject"][key] for key in ("euler_steps", "trained_steps")] == [2, None]
    assert [checkpoint["subject"][key] for key in ("euler_steps", "trained_steps")] == [2, 2]
    for name in ("psnr", "ssim-y"):
        values = (report["metrics"][name]["restored"] for report in (bundle, checkpoint))
        assert next(values) == pytest.approx(next(values), abs=1e-3)
    # No autoencoder of tiny's sizes is shipped; the rest is there.
    assert checkpoint["flow"]["encoder_decoder_error"] is None
    assert checkpoint["flow"]["latent_straightness"] > 0
    assert "frozen autoencoder" in checkpoint["notes"][0]


def test_pairs(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    """Whole images of any size; an image against itself has no finite PSNR, and JSON no inf."""
    out = tmp_path / "report"
    done = run(photos, "--reference", photos, "--bundle", tiny_bundle, "--json", "--out", out)
    report = json.loads(done.out, parse_constant=pytest.fail)
    assert report["images"] == {"count": 2, "kind": "pairs"}
    assert report["metrics"]["psnr"]["input"] is None
    assert report["metrics"]["ssim-y"]["input"] == 1
    assert Image.open(out / "samples.png").size == (3 * 160 + 2 * 4, 16 + 2 * 154 - 4)
    assert "| PSNR, dB (higher is better) | - |" in (out / "table.md").read_text()


def test_images_without_reference(
    run: Run, tiny_checkpoint: Path, tiny_bundle: Path, photos: Path, shared: Path, tmp_path: Path
) -> None:
    """Of any size; NIQE from a file, without any network."""
    out = tmp_path / "report"
    Image.open(photos / "b.png").resize((211, 199)).save(photos / "b.png")
    common = ("--no-reference", "--metrics", "niqe", "--metric-weights", shared / "weights")
    done = run(photos, "--bundle", tiny_bundle, *common, "--json", "--out", out)
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["images"] == {"count": 2, "kind": "images without reference"}
    assert list(report["metrics"]) == ["niqe"]
    assert report["metrics"]["niqe"]["weights"] == "niqe_pris_params.npz"
    assert report["metrics"]["niqe"]["restored"] > 0
    assert Image.open(out / "samples.png").size == (2 * 211 + 4, 16 + 2 * (199 + 4) - 4)
    rest = ("--checkpoint", tiny_checkpoint, "--task", "denoising", "--size", 64)
    done = run(photos, *rest, *common, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert "note: the W2 bound's terms need ground truths" in done.out
    flow = json.loads((out / "report.json").read_text(encoding="utf-8"))["flow"]
    assert flow["encoder_decoder_error"] is None
    assert flow["latent_straightness"] > 0
    # Input, D(z_0), two steps; no ground truth.
    assert Image.open(out / "trajectory.png").width == 4 * 208 + 3 * 4


def test_other_euler_steps(run: Run, tiny_checkpoint: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    rest = ("--checkpoint", tiny_checkpoint, "--task", "denoising", "--size", 64, "--crop", 64)
    done = run(photos, *rest, "--euler-steps", 5, "--out", out)
    assert (done.code, done.err) == (0, "")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert (report["subject"]["euler_steps"], report["subject"]["trained_steps"]) == (5, 2)
    assert "5 Euler steps instead of 2" in (out / "table.md").read_text(encoding="utf-8")
    assert Image.open(out / "trajectory.png").width == 8 * 64 + 7 * 4
    trained = run(photos, *rest, "--json", "--out", out)
    assert json.loads(trained.out)["metrics"]["psnr"] != report["metrics"]["psnr"]


def test_pairs_without_partners(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    references = shutil.copytree(photos, tmp_path / "references")
    (references / "b.png").unlink()
    done = run(photos, "--reference", references, "--bundle", tiny_bundle)
    assert_mistake(done, 1, "no partner", str(photos / "b.png"))


def test_mistakes(
    run: Run, tiny_checkpoint: Path, tiny_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    bundle, checkpoint = ("--bundle", tiny_bundle), ("--checkpoint", tiny_checkpoint)
    task = ("--task", "denoising")
    rest = ("--out", out)
    assert_mistake(run(photos, *bundle, *checkpoint, *rest), 2, "exclude each other")
    assert_mistake(run(photos, *bundle, "--reference", photos, "--crop", 64, *rest), 2, "--crop")
    assert_mistake(run(photos, *checkpoint, *rest), 2, "no task given", "denoising")
    assert_mistake(run(photos, *rest, "--task", "deblurring"), 2, "unknown task 'deblurring'")
    assert_mistake(run(photos, *bundle, "--task", "sr", *rest), 2, "another task", "got sr")
    assert_mistake(run(photos, *bundle, "--size", 64, *rest), 2, "--size and --autoencoder are for")
    assert_mistake(run(photos, *checkpoint, *task, "--size", 70, *rest), 2, "size 70 does not fit")
    assert_mistake(run(photos, *bundle, "--metrics", "psnr,beauty", *rest), 2, "'beauty'", "lpips")
    assert_mistake(
        run(photos, *bundle, "--metrics", "ssim", *rest), 2, "'ssim'", "ssim-y, ssim-rgb"
    )
    assert_mistake(run(photos, *bundle, "--euler-steps", 3, *rest), 2, "--euler-steps is for")
    assert_mistake(
        run(photos, *bundle, "--degradation", "x", *rest), 2, "'x' of denoising", "broad"
    )
    assert_mistake(
        run(photos, *bundle, "--reference", photos, "--degradation", "broad", *rest),
        *(2, "--degradation is for photos"),
    )
    assert_mistake(
        run(photos, *bundle, "--metrics", "fid-ffhq", "--crop", 64, *rest), 2, "got 64 x 64"
    )
    weights = ("--metric-weights", tmp_path / "none")
    assert_mistake(run(photos, *bundle, "--metrics", "niqe", *weights, *rest), 2, "no folder")
    alone = (photos, *bundle, "--no-reference")
    assert_mistake(run(*alone, *rest), 2, "no metric is left", "niqe")
    assert_mistake(run(*alone, "--metrics", "psnr,niqe", *rest), 2, "psnr cannot be computed")
    assert_mistake(run(*alone, "--reference", photos, *rest), 2, "exclude each other")
    assert_mistake(run(*alone, "--crop", 64, *rest), 2, "--crop")
    assert_mistake(run(photos, *checkpoint, *task, "--device", "abacus", *rest), 2, "'abacus'")
    assert_mistake(run(photos / "none", *bundle, *rest), 1, "no folder")
    assert_mistake(run(photos, "--bundle", photos, *rest), 1, "is not a bundle")
    missing = ("--autoencoder", tmp_path / "none", "--size", 64)
    assert_mistake(run(photos, *checkpoint, *task, *missing, *rest), 1, "no checkpoint file")
    (photos / "c.png").write_text("no image")
    assert_mistake(run(photos, *bundle, *rest), 1, "c.png", "cannot be read")
    assert not out.exists()


def test_metrics_that_lack_something(
    run: Run, tiny_bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    done = run(
        photos, "--bundle", tiny_bundle, "--metrics", "lpips-vgg, niqe", "--out", tmp_path / "r"
    )
    assert_mistake(done, 1, "lpips-vgg needs pyiqa", "niqe needs pyiqa", "`perceptual` extra")


def test_help_has_an_example(run: Run) -> None:
    done = run("--help")
    assert (done.code, done.err) == (0, "")
    assert "Example: elir-edge evaluate" in done.out


def test_reports_do_not_lie_among_the_photos(run: Run, tiny_bundle: Path, photos: Path) -> None:
    """The next evaluation would take `samples.png` for a photo, or one of that name be replaced."""
    before = sorted(path.name for path in photos.iterdir())
    for out in (photos, photos / "report"):
        done = run(photos, "--bundle", tiny_bundle, "--out", out)
        assert_mistake(done, 2, "lies among the photos", "--out")
    assert sorted(path.name for path in photos.iterdir()) == before
