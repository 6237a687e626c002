"""Distillation: the grid's error by hand, the teacher's cache, and runs from a teacher."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from elir_edge.checkpoints.own import (
    Checkpoint,
    build_autoencoder,
    read_checkpoint,
    save_checkpoint,
)
from elir_edge.data.datasets import Crops, CropSampler, PhotoCache, Share, list_images
from elir_edge.errors import CheckpointError, DataError, TrainingError, UsageError
from elir_edge.model import Elir
from elir_edge.model.lpips import LpipsSqueeze
from elir_edge.tasks import AUTOENCODER
from elir_edge.train import teacher as teacher_module
from elir_edge.train.config import TrainConfig
from elir_edge.train.distill import DistillationObjective, start_from_teacher
from elir_edge.train.grid_error import grid_error
from elir_edge.train.loop import RunOptions
from elir_edge.train.objectives import BatchDraws, StepImages
from elir_edge.train.run import RunInputs, WarmStart, run_training
from elir_edge.train.teacher import load_teacher, teacher_crops
from tests.conftest import make_model, tiny_config

CONFIG = TrainConfig(
    task=AUTOENCODER,
    model=dataclasses.replace(tiny_config(), decoder_head_width=4),
    steps=4,
    decoder_steps=2,
    batch_size=2,
    crop_size=32,
    learning_rate=1e-3,
    ema_decay=0.0,
    grid=1.0,
    teacher_crops=5,
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny random autoencoder's checkpoint."""
    return _autoencoder(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


def _autoencoder(path: Path, latent_channels: int = 4, seed: int = 5) -> Path:
    config = dataclasses.replace(tiny_config(), latent_channels=latent_channels)
    model = make_model(config, seed=seed)
    state = {k: v for k, v in model.state_dict().items() if k.startswith(("enc", "dec"))}
    checkpoint = Checkpoint(task=AUTOENCODER, config=model.config, state=state)
    save_checkpoint(path, checkpoint, dtype=torch.float32)
    return path


def _pattern(period: int, size: int = 32) -> Tensor:
    columns = (torch.arange(size) % period == 0).float()
    return columns.expand(1, 1, size, size)


def test_grid_error_by_hand() -> None:
    """Stripes of every second column: the mean is 1/2, each phase 1/2 away from it.

    Of every fourth: the mean is 1/4; a quarter of the phases is 3/4 away, the others 1/4.
    """
    assert grid_error(0.02 * _pattern(2)).item() == pytest.approx(0.01, rel=1e-6)
    assert grid_error(0.02 * _pattern(4)).item() == pytest.approx(0.02 * 0.375, rel=1e-6)
    assert grid_error(0.02 * _pattern(4).mT).item() == pytest.approx(0.02 * 0.375, rel=1e-6)


def test_patterns_of_eight_pixels_are_seen_where_they_are_asked_for() -> None:
    """Of every eighth column: the mean is 1/8; an eighth of the phases is 7/8 away, the rest 1/8.

    In windows of 16 it has a period of 4 too: each of its phases holds one stripe in 8 columns.
    """
    wide = 0.02 * _pattern(8, size=64)
    expected = 0.02 * (7 / 64 + 7 / 64)
    assert grid_error(wide, period=8, window=64).item() == pytest.approx(expected, rel=1e-5)
    # A slow pattern of both signs has nothing that repeats every four pixels.
    slow = wide - wide.roll(4, dims=-1)
    assert grid_error(slow).item() == pytest.approx(0, abs=1e-8)
    assert grid_error(slow, period=8, window=64).item() == pytest.approx(0.02 / 4, rel=1e-5)
    with pytest.raises(UsageError, match="multiples of 64"):
        grid_error(torch.zeros(1, 3, 64, 96), period=8, window=64)


def test_what_is_no_grid_is_none() -> None:
    assert grid_error(torch.full((2, 3, 32, 48), 0.3)).item() == pytest.approx(0, abs=1e-7)
    # Noise has a little of everything: 16 cells a phase leave a quarter of its deviation, times
    # sqrt(2 / pi) for the mean absolute value: 0.2 of it, to 5 %.
    noise = torch.randn(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    expected = (15 / 16) ** 0.5 * (2 / np.pi) ** 0.5 / 4
    assert grid_error(noise).item() == pytest.approx(expected, rel=0.05)
    with pytest.raises(UsageError, match="multiples of 16"):
        grid_error(torch.zeros(1, 3, 32, 40))


def _images(model: Elir) -> StepImages:
    generator = torch.Generator().manual_seed(1)
    clean = torch.rand(2, 3, 32, 32, generator=generator)
    return StepImages(
        clean=clean,
        degraded=clean,
        latent=torch.randn(2, 4, 4, 4, generator=generator),
        decoded=torch.rand(2, 3, 32, 32, generator=generator),
    )


def _draws() -> BatchDraws:
    return BatchDraws(generator=torch.Generator().manual_seed(2), share=Share())


def test_the_decoder_learns_first_then_the_encoder() -> None:
    model = make_model(tiny_config()).requires_grad_(True)
    images = _images(model)
    assert images.latent is not None
    assert images.decoded is not None
    objective = DistillationObjective(decoder_steps=1, grid=2.0)
    first = objective.losses(model, images, _draws(), step=0)
    error = model.decoder(images.latent) - images.decoded
    assert first["image"].item() == pytest.approx(error.abs().mean().item(), rel=1e-6)
    expected = error.abs().mean() + 2 * grid_error(error)
    assert first["total"].item() == pytest.approx(expected.item(), rel=1e-6)
    torch.autograd.backward(first["total"])
    assert all(p.grad is None for p in model.encoder.parameters())
    assert any(p.grad is not None and (p.grad != 0).any() for p in model.decoder.parameters())
    model.zero_grad(set_to_none=True)
    second = objective.losses(model, images, _draws(), step=1)
    latent_error = (model.encoder(images.clean) - images.latent).abs().mean().item()
    assert second["total"].item() == pytest.approx(latent_error, rel=1e-6)
    torch.autograd.backward(second["total"])
    assert all(p.grad is None for p in model.decoder.parameters())


def test_a_distillation_looks_at_half_the_images_shifted_alike() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Spy(LpipsSqueeze):
        def forward(self, image: Tensor, reference: Tensor) -> Tensor:
            seen.append((image, reference))
            return (image - reference).square().mean(dim=(1, 2, 3))

    model = make_model(tiny_config())
    images = _images(model)
    assert images.latent is not None
    assert images.decoded is not None
    objective = DistillationObjective(decoder_steps=9, perceptual=Spy(), lpips=0.5)
    losses = objective.losses(model, images, _draws(), step=0)
    ((image, reference),) = seen
    top, left = (32 - side for side in image.shape[2:])
    assert 0 <= top < 4
    assert 0 <= left < 4
    assert torch.equal(image, model.decoder(images.latent)[:1, :, top:, left:])
    assert torch.equal(reference, images.decoded[:1, :, top:, left:])
    expected = losses["image"] + 0.5 * losses["lpips"]
    assert losses["total"].item() == pytest.approx(expected.item(), rel=1e-6)


def _kept(photos: Path, teacher: Path, folder: Path, count: int = 5, key: str = "p") -> object:
    crops = Crops(photos=PhotoCache(list_images(photos), 1 << 20), size=32, min_scale=0.8)
    return teacher_crops(
        load_teacher(teacher, "cpu"),
        crops,
        count,
        seed=3,
        photos=key,
        decoded=True,
        folder=folder,
    )


def test_the_teachers_work_is_kept(photos: Path, teacher: Path, tmp_path: Path) -> None:
    first = _kept(photos, teacher, tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.name for path in files] == [
        "crops-00000.safetensors",
        "decoded-00000.safetensors",
    ]
    times = [path.stat().st_mtime_ns for path in files]
    again = _kept(photos, teacher, tmp_path)
    assert [path.stat().st_mtime_ns for path in files] == times
    assert np.array_equal(first.clean, again.clean)
    assert torch.equal(first.latent, again.latent)
    # What is kept is what the teacher makes: latents to bfloat16's 0.5 %, images to 8 bits.
    _, model = build_autoencoder(teacher)
    crop = torch.from_numpy(first.clean[:1]).permute(0, 3, 1, 2).float() / 255
    latent = model.encoder(crop)
    assert (first.latent[:1].float() - latent).abs().max() <= 0.005 * latent.abs().max()
    decoded = model.decoder(first.latent[:1].float()).clamp(0, 1) * 255
    kept = torch.from_numpy(first.decoded[:1]).permute(0, 3, 1, 2).float()
    assert (kept - decoded).abs().max() <= 0.51
    assert not torch.equal(first.latent[0], first.latent[1])


def test_more_crops_add_to_fewer_and_other_photos_have_their_own(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    few = _kept(photos, teacher, tmp_path, count=3)
    many = _kept(photos, teacher, tmp_path, count=70)
    assert (len(few), len(many)) == (3, 70)
    assert np.array_equal(few.clean, many.clean[:3])
    assert len(list(tmp_path.iterdir())) == 1
    _kept(photos, teacher, tmp_path, key="other photos")
    assert len(list(tmp_path.iterdir())) == 2


def test_every_field_of_the_caches_key(photos: Path, teacher: Path, tmp_path: Path) -> None:
    """Whatever changes the crops or their latents has a folder of its own."""
    usual: dict[str, Any] = {"size": 32, "framing": "crop", "min_scale": 0.8}

    def make(seed: int = 3, key: str = "p", path: Path = teacher, **changes: Any) -> set[str]:
        crops = Crops(photos=PhotoCache(list_images(photos), 1 << 20), **{**usual, **changes})
        loaded = load_teacher(path, "cpu")
        teacher_crops(loaded, crops, 1, seed=seed, photos=key, decoded=False, folder=tmp_path)
        return {each.name for each in tmp_path.iterdir()}

    other = _autoencoder(tmp_path.parent / "other.safetensors", seed=6)
    found = make()
    assert make() == found
    for count, changes in enumerate(
        (
            {"seed": 4},
            {"key": "q"},
            {"path": other},
            {"size": 48},
            {"framing": "whole"},
            {"min_scale": 0.7},
        ),
        start=2,
    ):
        assert len(make(**changes)) == count, changes


def test_a_damaged_cache_is_named(photos: Path, teacher: Path, tmp_path: Path) -> None:
    _kept(photos, teacher, tmp_path)
    (path,) = tmp_path.rglob("crops-00000.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"crops-00000\.safetensors is damaged"):
        _kept(photos, teacher, tmp_path)


def _rewritten(photos: Path, teacher: Path, folder: Path, **changes: Tensor) -> None:
    _kept(photos, teacher, folder)
    (path,) = folder.rglob("crops-00000.safetensors")
    save_file({**load_file(path), **changes}, path)


@pytest.mark.parametrize(
    "changes",
    [
        {"latent": torch.zeros(64, 4, 7, 5, dtype=torch.bfloat16)},
        {"latent": torch.zeros(64, 4, 4, 4, dtype=torch.int64)},
        {"latent": torch.zeros(63, 4, 4, 4, dtype=torch.bfloat16)},
        {"clean": torch.zeros(64, 32, 32, 3)},
    ],
    ids=["size", "type", "count", "floats"],
)
def test_a_cache_that_holds_something_else_is_named(
    changes: dict[str, Tensor], photos: Path, teacher: Path, tmp_path: Path
) -> None:
    _rewritten(photos, teacher, tmp_path, **changes)
    with pytest.raises(DataError, match="holds something else"):
        _kept(photos, teacher, tmp_path)


def test_a_full_disk_of_the_cache_is_one_line(
    photos: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: object, path: Path) -> None:
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(teacher_module, "save_file", full)
    with pytest.raises(DataError, match=r"cannot be written .*make room on the disk"):
        _kept(photos, teacher, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_foreign_autoencoder_is_said(
    photos: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(
        CONFIG, task="denoising", decoder_steps=0, grid=0.0, steps=1, model=tiny_config()
    )
    inputs = RunInputs(photos=[photos], teacher=teacher, teacher_cache=tmp_path)
    own = dataclasses.replace(inputs, autoencoder=teacher)
    run_training(config, own, RunOptions(out=tmp_path / "own"))
    assert "not distilled" not in capsys.readouterr().err
    other = dataclasses.replace(
        inputs, autoencoder=_shifted(teacher, tmp_path / "shifted.safetensors")
    )
    run_training(config, other, RunOptions(out=tmp_path / "other"))
    assert "was not distilled from teacher.safetensors" in capsys.readouterr().err


def test_what_is_wrong_is_said_before_the_teachers_work(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    inputs = RunInputs(photos=[photos], teacher=teacher, teacher_cache=cache)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(b"")
    with pytest.raises(TrainingError, match="holds a run already"):
        run_training(CONFIG, inputs, RunOptions(out=tmp_path / "run"))
    with pytest.raises(TrainingError, match="nothing to resume"):
        run_training(CONFIG, inputs, RunOptions(out=tmp_path / "none", resume=True))
    missing = dataclasses.replace(inputs, validation=tmp_path / "none")
    with pytest.raises(DataError, match="no folder"):
        run_training(CONFIG, missing, RunOptions(out=tmp_path / "new"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError):
        run_training(CONFIG, inputs, RunOptions(out=tmp_path / "file"))
    assert not cache.exists()


def test_batches_of_kept_crops(photos: Path, teacher: Path, tmp_path: Path) -> None:
    kept = _kept(photos, teacher, tmp_path)

    def sampler(share: Share | None = None, seed: int = 0) -> CropSampler:
        return CropSampler(kept, task="denoising", batch_size=4, seed=seed, share=share)

    batch = sampler()(7)
    assert batch.latent is not None
    assert batch.decoded is not None
    for k in range(4):
        clean = np.rint(batch.clean[k].transpose(1, 2, 0) * 255).astype(np.uint8)
        (index,) = [i for i in range(5) if np.array_equal(kept.clean[i], clean)]
        assert np.array_equal(batch.latent[k], kept.latent[index].float().numpy())
        decoded = np.rint(batch.decoded[k].transpose(1, 2, 0) * 255)
        assert np.array_equal(decoded, kept.decoded[index])
    assert not np.array_equal(batch.clean, batch.degraded)
    assert np.array_equal(sampler()(7).degraded, batch.degraded)
    assert not np.array_equal(sampler()(8).degraded, batch.degraded)
    halves = [sampler(Share(rank=rank, count=2))(7).degraded for rank in range(2)]
    assert np.array_equal(np.concatenate(halves), batch.degraded)


def test_from_a_teacher_to_a_slim_autoencoder_and_a_task(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    inputs = RunInputs(photos=[photos], validation=photos, teacher=teacher, teacher_cache=tmp_path)
    done = run_training(CONFIG, inputs, RunOptions(out=tmp_path / "ae", log_every=1))
    assert done.finished
    log = [json.loads(line) for line in (tmp_path / "ae" / "log.jsonl").open()]
    assert [("image" in line, "latent" in line) for line in log[:4]] == [(True, False)] * 2 + [
        (False, True)
    ] * 2
    scores = {"decoded", "through_autoencoder", "latent_error", "grid"}
    assert set(log[-1]) >= scores
    checkpoint = read_checkpoint(done.path, task=AUTOENCODER)
    assert checkpoint.training["teacher"] == read_checkpoint(teacher, task=AUTOENCODER).sha256
    assert set(checkpoint.training["scores"]) == scores

    task = dataclasses.replace(CONFIG, task="denoising", decoder_steps=0, grid=0.0)
    inputs = dataclasses.replace(inputs, autoencoder=done.path)
    for crops in (0, 5):  # the teacher in every step, and its kept work
        config = dataclasses.replace(task, teacher_crops=crops)
        trained = run_training(config, inputs, RunOptions(out=tmp_path / str(crops), log_every=1))
        log = [json.loads(line) for line in (tmp_path / str(crops) / "log.jsonl").open()]
        assert log[0]["l_2"] > 0
        found = read_checkpoint(trained.path, task="denoising")
        assert found.training["degradation"] == "paper"
        assert torch.equal(
            found.state["decoder.layers.0.weight"], checkpoint.state["decoder.layers.0.weight"]
        )


def test_the_target_is_the_teachers_latent(photos: Path, teacher: Path, tmp_path: Path) -> None:
    """L_2 at the first step by hand: the pupil's estimate against the teacher's latent."""
    config = dataclasses.replace(
        CONFIG, task="denoising", decoder_steps=0, grid=0.0, steps=1, model=tiny_config()
    )
    start = _autoencoder(tmp_path / "own.safetensors")
    inputs = RunInputs(photos=[photos], teacher=teacher, teacher_cache=tmp_path, autoencoder=start)
    run_training(config, inputs, RunOptions(out=tmp_path / "run", log_every=1))
    logged = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])["l_2"]
    other = dataclasses.replace(inputs, teacher=_shifted(teacher, tmp_path / "shifted.safetensors"))
    run_training(config, other, RunOptions(out=tmp_path / "other", log_every=1))
    far = json.loads((tmp_path / "other" / "log.jsonl").read_text().splitlines()[0])["l_2"]
    # All latents of the other teacher are larger by 100: so is the distance, squared, to 5 %.
    assert far == pytest.approx(100**2, rel=0.05)
    assert logged < 100


def _shifted(teacher: Path, path: Path) -> Path:
    checkpoint = read_checkpoint(teacher, task=AUTOENCODER)
    last = max(k for k in checkpoint.state if k.startswith("encoder.") and k.endswith("bias"))
    names = [k for k in checkpoint.state if k.startswith("encoder.layers.") and k.endswith("bias")]
    last = max(names, key=lambda name: int(name.split(".")[2]))
    state = {**checkpoint.state, last: checkpoint.state[last] + 100}
    save_checkpoint(path, dataclasses.replace(checkpoint, state=state), dtype=torch.float32)
    return path


def test_what_does_not_go_together(photos: Path, teacher: Path, tmp_path: Path) -> None:
    inputs = RunInputs(photos=[photos], teacher=teacher, teacher_cache=tmp_path)
    options = RunOptions(out=tmp_path / "run")
    without = dataclasses.replace(inputs, teacher=None)
    with pytest.raises(UsageError, match="--teacher-crops goes with --teacher"):
        run_training(CONFIG, without, options)
    with pytest.raises(UsageError, match="learns from kept crops"):
        run_training(dataclasses.replace(CONFIG, teacher_crops=0), inputs, options)
    alone = dataclasses.replace(CONFIG, teacher_crops=0)
    with pytest.raises(UsageError, match="without a teacher learns the mean absolute error"):
        run_training(alone, without, options)
    with pytest.raises(UsageError, match=r"\(lpips 0\.5\), which needs weights"):
        run_training(dataclasses.replace(CONFIG, lpips=0.5), inputs, options)
    large = _autoencoder(tmp_path / "large.safetensors", latent_channels=6)
    with pytest.raises(CheckpointError, match="latents of another size"):
        run_training(CONFIG, dataclasses.replace(inputs, teacher=large), options)
    assert not (tmp_path / "run").exists()


def test_the_real_teacher_reconstructs_photos(shared: Path) -> None:
    """TAESD3 is read as it is: a photo comes back at more than 20 dB."""
    path = shared / "weights/taesd3/diffusion_pytorch_model.safetensors"
    teacher = load_teacher(path, "cpu")
    photo = np.asarray(Image.open(list_images(shared / "data/photos/val")[0]).convert("RGB"))
    crop = photo[None, :128, :128]
    restored = teacher.decode(teacher.encode(crop))
    error = np.mean((restored.astype(float) - crop) ** 2)
    assert 10 * np.log10(255**2 / error) > 20


def test_a_pupil_of_the_teachers_shape_starts_as_the_teacher() -> None:
    master, pupil = make_model(tiny_config(), seed=1), make_model(tiny_config(), seed=2)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(pupil.encoder(image), master.encoder(image))
    layers = sum(
        bool(layer.state_dict())
        for part in (master.encoder, master.decoder)
        for layer in part.get_submodule("layers").children()
    )
    assert start_from_teacher(pupil, master) == layers
    latent = master.encoder(image)
    assert torch.equal(pupil.encoder(image), latent)
    assert torch.equal(pupil.decoder(latent), master.decoder(latent))


def test_a_slimmer_pupil_starts_with_the_layers_next_to_the_latent() -> None:
    config = tiny_config()
    widths = config.autoencoder_widths
    slimmer = dataclasses.replace(
        config, autoencoder_widths=(widths[0] // 2, *widths[1:]), decoder_head_width=4
    )
    master, pupil = make_model(config, seed=1), make_model(slimmer, seed=2)
    before = {k: v.clone() for k, v in pupil.state_dict().items()}
    taken = start_from_teacher(pupil, master)
    after, theirs = pupil.state_dict(), master.state_dict()
    changed = {k for k in after if not torch.equal(after[k], before[k])}
    # The decoder's last layer alone is changed to something else than the teacher's.
    last = len(pupil.decoder.get_submodule("layers")) - 1
    own = {k for k in changed if k.startswith(f"decoder.layers.{last}.")}
    assert own == {f"decoder.layers.{last}.weight", f"decoder.layers.{last}.bias"}
    assert changed - own
    assert all(torch.equal(after[k], theirs[_master_key(k, pupil, master)]) for k in changed - own)
    assert taken == len({k.rsplit(".", 1)[0].split(".convs")[0] for k in changed - own})
    image = pupil.decoder(torch.zeros(1, config.latent_channels, 4, 4))
    assert float((image - 0.5).abs().max()) < 0.2


def test_an_autoencoder_of_another_shape_starts_from_anothers_layers(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    """By `--init`: what is next to the latent; where nothing is alike, it is refused."""
    widths = CONFIG.model.autoencoder_widths
    slimmer = dataclasses.replace(CONFIG.model, autoencoder_widths=(widths[0] // 2, *widths[1:]))
    config = dataclasses.replace(CONFIG, model=slimmer, learning_rate=1e-9, weight_decay=0.0)
    start = _autoencoder(tmp_path / "start.safetensors")
    inputs = RunInputs(
        photos=[photos], teacher=teacher, teacher_cache=tmp_path, start=WarmStart(path=start)
    )
    done = run_training(config, inputs, RunOptions(out=tmp_path / "run"))
    found = read_checkpoint(done.path, task=AUTOENCODER)
    given = read_checkpoint(start, task=AUTOENCODER)
    assert found.training["start"] == given.sha256 + " next to the latent"
    assert torch.allclose(
        found.state["decoder.layers.0.weight"].float(),
        given.state["decoder.layers.0.weight"].float(),
        atol=1e-3,
    )
    other = _autoencoder(tmp_path / "other.safetensors", latent_channels=6)
    inputs = dataclasses.replace(inputs, start=WarmStart(path=other))
    with pytest.raises(CheckpointError):
        run_training(config, inputs, RunOptions(out=tmp_path / "refused"))


def _master_key(key: str, pupil: Elir, master: Elir) -> str:
    """Return the teacher's name of a pupil's weight: an encoder is counted from its end."""
    if not key.startswith("encoder."):
        return key
    ours, theirs = (len(m.encoder.get_submodule("layers")) for m in (pupil, master))
    part, layers, index, rest = key.split(".", 3)
    return f"{part}.{layers}.{int(index) + theirs - ours}.{rest}"


def test_lpips_needs_a_network_and_a_weight() -> None:
    """A network that is there but weighs nothing is not run; a weight without one adds nothing."""

    class Unused(LpipsSqueeze):
        def forward(self, image: Tensor, reference: Tensor) -> Tensor:
            raise AssertionError("looked")

    model = make_model(tiny_config())
    for objective in (
        DistillationObjective(decoder_steps=9, perceptual=Unused(), lpips=0.0),
        DistillationObjective(decoder_steps=9, perceptual=None, lpips=0.5),
    ):
        losses = objective.losses(model, _images(model), _draws(), step=0)
        assert "lpips" not in losses
        assert torch.equal(losses["total"], losses["image"])
