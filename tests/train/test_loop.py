"""The loop: exact resumption, what learns and what does not, divergence, averages."""

import copy
import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elir_edge.checkpoints.own import build_model, read_checkpoint
from elir_edge.data.datasets import Batch, Crops, CropSampler, PhotoCache, Share, list_images
from elir_edge.errors import CheckpointError, TrainingError, UsageError
from elir_edge.model import Elir, draw_noise, initialize
from elir_edge.tasks import AUTOENCODER
from elir_edge.train.config import TrainConfig
from elir_edge.train.distributed import join
from elir_edge.train.ema import WeightAverage
from elir_edge.train.grid_error import grid_error
from elir_edge.train.loop import RunOptions, RunResult, learning_rate_at, train
from elir_edge.train.objectives import (
    BatchDraws,
    RestorationObjective,
    StepImages,
    lcfm_settings,
)
from elir_edge.train.presets import adapt
from elir_edge.train.record import Record
from elir_edge.train.run import RunInputs, WarmStart, run_training
from elir_edge.train.validation import NoValidation
from tests.conftest import tiny_config

CONFIG = TrainConfig(
    task="denoising",
    model=tiny_config(expansion=4),
    steps=6,
    batch_size=2,
    crop_size=32,
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=2,
    dt=0.1,
    beta=0.1,
)


class _KilledError(Exception):
    pass


def _train(
    photos: Path,
    out: Path,
    config: TrainConfig = CONFIG,
    kill_at: int | None = None,
    materials: dict[str, str] | None = None,
    validation: NoValidation | None = None,
    **options: Any,
) -> RunResult:
    model = Elir(config.model)
    initialize(model, torch.Generator().manual_seed(config.seed))
    objective = RestorationObjective(
        target_encoder=copy.deepcopy(model.encoder).requires_grad_(False),
        settings=lcfm_settings(config),
        sigma_s=config.model.sigma_s,
        trainable_encoder=config.trainable_encoder,
        coarse_steps=config.coarse_steps,
        refine_steps=config.refine_steps,
        unrolled_from=config.steps - config.unrolled_steps if config.unrolled_steps else None,
    )
    crops = CropSampler(
        Crops(photos=PhotoCache(list_images(photos), 1 << 20), size=config.crop_size),
        task=config.task,
        batch_size=config.batch_size,
        seed=config.seed,
    )

    def sample(step: int) -> Batch:
        if step == kill_at:
            raise _KilledError
        return crops(step)

    return train(
        config,
        model,
        objective,
        sample,
        validation or NoValidation(),
        RunOptions(out=out, **options),
        join("cpu"),
        materials=materials or {},
    )


def _equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_killed_and_resumed_equals_uninterrupted(
    precision: str, photos: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, precision=precision)
    whole = _train(photos, tmp_path / "whole", config).model
    # State after every second step; killed while step 5's batch is being made.
    with pytest.raises(_KilledError):
        _train(photos, tmp_path / "parts", config, kill_at=5, save_every=2)
    resumed = _train(photos, tmp_path / "parts", config, resume=True, save_every=2)
    assert resumed.step == 6
    assert _equal(whole, resumed.model)
    # The twin: another seed ends elsewhere.
    other = _train(photos, tmp_path / "other", dataclasses.replace(config, seed=1)).model
    assert not _equal(whole, other)


def test_stopping_in_time_and_going_on(photos: Path, tmp_path: Path) -> None:
    first = _train(photos, tmp_path / "run", minutes=0.0)
    assert first.step == 1
    assert _train(photos, tmp_path / "run", resume=True).step == 6


def test_what_learns_and_what_does_not(photos: Path, tmp_path: Path) -> None:
    start = Elir(CONFIG.model)
    initialize(start, torch.Generator().manual_seed(CONFIG.seed))
    trained = _train(photos, tmp_path).model
    assert _equal(start.decoder, trained.decoder)
    for part in ("encoder", "coarse", "velocity"):
        assert not _equal(getattr(start, part), getattr(trained, part)), part


def test_flow_gradients_stay_out_of_encoder_and_coarse() -> None:
    """Eq. 5: the encoder's gradient is that of L_2 alone."""
    model = Elir(CONFIG.model)
    initialize(model, torch.Generator().manual_seed(0))
    objective = RestorationObjective(
        target_encoder=copy.deepcopy(model.encoder).requires_grad_(False),
        settings=lcfm_settings(CONFIG),
        sigma_s=0.1,
    )
    clean, degraded = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    draws = BatchDraws(generator=torch.Generator().manual_seed(2), share=Share())
    losses = objective.losses(model, StepImages(clean=clean, degraded=degraded), draws, step=0)
    weights = [model.encoder.layers[0].weight, next(model.coarse.parameters())]
    from_total = torch.autograd.grad(losses["total"], weights, retain_graph=True)  # type: ignore[arg-type]
    from_l_2 = torch.autograd.grad(losses["l_2"], weights)  # type: ignore[arg-type]
    for total, l_2 in zip(from_total, from_l_2, strict=True):
        assert torch.equal(total, l_2)
        assert (l_2 != 0).any()


def test_nothing_to_resume(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to resume"):
        _train(photos, tmp_path, resume=True)


def test_another_configuration_is_not_resumed(photos: Path, tmp_path: Path) -> None:
    _train(photos, tmp_path, minutes=0.0)
    with pytest.raises(TrainingError, match="another configuration"):
        _train(photos, tmp_path, dataclasses.replace(CONFIG, beta=0.5), resume=True)


def test_other_materials_are_not_resumed(photos: Path, tmp_path: Path) -> None:
    _train(photos, tmp_path, minutes=0.0, materials={"autoencoder": "a", "photos": "p"})
    with pytest.raises(TrainingError, match="other autoencoder"):
        _train(photos, tmp_path, resume=True, materials={"autoencoder": "b", "photos": "p"})


def test_a_damaged_state_is_not_resumed(photos: Path, tmp_path: Path) -> None:
    _train(photos, tmp_path, minutes=0.0)
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="damaged"):
        _train(photos, tmp_path, resume=True)


def test_a_run_is_not_overwritten(photos: Path, tmp_path: Path) -> None:
    _train(photos, tmp_path, minutes=0.0)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(TrainingError, match="holds a run already"):
        _train(photos, tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_divergence_is_an_error_and_saves_nothing(photos: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, learning_rate=1e30, warmup_steps=0, schedule="constant")
    with pytest.raises(TrainingError, match="diverged at step 6"):
        _train(photos, tmp_path, config)
    assert not (tmp_path / "state.pt").exists()


def test_learning_rates_by_hand() -> None:
    config = dataclasses.replace(CONFIG, steps=100, warmup_steps=10, learning_rate=2.0)
    assert learning_rate_at(config, 0) == pytest.approx(0.2)
    assert learning_rate_at(config, 50) == pytest.approx(1.0)
    assert learning_rate_at(config, 99) == pytest.approx(1 + math.cos(0.99 * math.pi))
    constant = dataclasses.replace(config, schedule="constant")
    assert [learning_rate_at(constant, s) for s in (4, 10, 99)] == pytest.approx([1, 2, 2])


def test_each_phase_has_its_schedule() -> None:
    config = dataclasses.replace(
        CONFIG, steps=100, coarse_steps=80, warmup_steps=10, learning_rate=2.0
    )
    rates = [learning_rate_at(config, step) for step in (0, 40, 79, 80, 90)]
    end = 1 + math.cos(79 / 80 * math.pi)
    assert rates == pytest.approx([0.2, 1.0, end, 0.2, 1.0])
    refined = dataclasses.replace(config, refine_steps=40)
    rates = [learning_rate_at(refined, step) for step in (0, 20, 40, 60, 80, 90)]
    assert rates == pytest.approx([0.2, 1.0, 0.2, 1.0, 0.2, 1.0])
    unrolled = dataclasses.replace(config, unrolled_steps=10)
    assert learning_rate_at(unrolled, 90) == pytest.approx(0.2)
    assert learning_rate_at(config, 90) == pytest.approx(1.0)


def test_phases_learn_one_after_the_other(photos: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, coarse_steps=3, ema_decay=0.0)
    start = Elir(config.model)
    initialize(start, torch.Generator().manual_seed(config.seed))
    at_half = dataclasses.replace(config, steps=3)  # the first phase alone, same schedule
    half = _train(photos, tmp_path / "half", at_half).model
    whole = _train(photos, tmp_path / "whole", config).model
    assert not _equal(start.encoder, half.encoder)
    assert _equal(start.velocity, half.velocity)
    assert _equal(half.encoder, whole.encoder)
    assert _equal(half.coarse, whole.coarse)
    assert not _equal(half.velocity, whole.velocity)
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").open()]
    assert {"f", "v", "mse"} <= log[0].keys()


def test_refinement_minimises_the_error_of_the_coarse_image(photos: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(
        CONFIG, steps=3, coarse_steps=2, refine_steps=1, ema_decay=0.0, warmup_steps=0
    )
    _train(photos, tmp_path, config, log_every=1)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    kinds = [next(k for k in ("f", "coarse_mse", "l_2") if k in line) for line in log[:3]]
    assert kinds == ["l_2", "coarse_mse", "f"]
    objective = RestorationObjective(
        target_encoder=Elir(config.model).encoder,
        settings=lcfm_settings(config),
        sigma_s=config.model.sigma_s,
        coarse_steps=2,
        refine_steps=1,
    )
    model = Elir(config.model)
    initialize(model, torch.Generator().manual_seed(0))
    clean, degraded = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    draws = BatchDraws(generator=torch.Generator(), share=Share())
    losses = objective.losses(model, StepImages(clean=clean, degraded=degraded), draws, 1)
    coarse = model.decoder(model.initial_point(degraded))
    assert losses["total"].item() == pytest.approx(((coarse - clean) ** 2).mean().item(), rel=1e-6)
    torch.autograd.backward(losses["total"])
    assert all(p.grad is None for p in model.velocity.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_the_unrolled_phase_minimises_the_error_of_the_restored_image(
    photos: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        CONFIG, steps=3, coarse_steps=1, unrolled_steps=1, ema_decay=0.0, warmup_steps=0
    )
    _train(photos, tmp_path, config, log_every=1)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    kinds = [next(k for k in ("f", "restored_mse", "l_2") if k in line) for line in log[:3]]
    assert kinds == ["l_2", "f", "restored_mse"]
    objective = RestorationObjective(
        target_encoder=Elir(config.model).encoder,
        settings=lcfm_settings(config),
        sigma_s=config.model.sigma_s,
        coarse_steps=1,
        unrolled_from=2,
    )
    model = Elir(config.model)
    initialize(model, torch.Generator().manual_seed(0))
    clean, degraded = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    draws = BatchDraws(generator=torch.Generator().manual_seed(2), share=Share())
    losses = objective.losses(model, StepImages(clean=clean, degraded=degraded), draws, 2)
    z = model.initial_point(degraded)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
    restored = model(degraded, config.model.sigma_s * noise)
    expected = ((restored - clean) ** 2).mean().item()
    z_1 = objective.target_encoder(clean)
    end = model.trajectory(z + config.model.sigma_s * noise)[-1]
    end_l_2 = 0.001 * ((end - z_1) ** 2).mean().item()
    assert losses["total"].item() == pytest.approx(expected + end_l_2, rel=1e-6)
    assert end_l_2 > 1e-4 * expected  # else the line above could not tell
    torch.autograd.backward(losses["total"])
    assert all(p.grad is None for p in model.encoder.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.velocity.parameters())

    in_bels = dataclasses.replace(objective, psnr_loss=True)
    draws = BatchDraws(generator=torch.Generator().manual_seed(2), share=Share())
    losses = in_bels.losses(model, StepImages(clean=clean, degraded=degraded), draws, 2)
    each = [((a - b) ** 2).mean().item() for a, b in zip(restored, clean, strict=True)]
    assert losses["total"].item() == pytest.approx(np.log10(each).mean() + end_l_2, rel=1e-5)
    assert losses["restored_mse"].item() == pytest.approx(expected, rel=1e-6)

    together = dataclasses.replace(objective, end_to_end=True)
    draws = BatchDraws(generator=torch.Generator().manual_seed(2), share=Share())
    losses = together.losses(model, StepImages(clean=clean, degraded=degraded), draws, 2)
    l_2 = ((z - z_1) ** 2).mean().item()
    assert losses["total"].item() == pytest.approx(expected + end_l_2 + 0.001 * l_2, rel=1e-6)
    assert 0.001 * l_2 > 1e-4 * expected  # else the line above could not tell
    torch.autograd.backward(losses["restored_mse"])
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_the_grid_of_restored_images_is_an_error_of_the_unrolled_steps() -> None:
    objective = RestorationObjective(
        target_encoder=Elir(CONFIG.model).encoder,
        settings=lcfm_settings(CONFIG),
        sigma_s=CONFIG.model.sigma_s,
        unrolled_from=0,
    )
    model = Elir(CONFIG.model)
    initialize(model, torch.Generator().manual_seed(0))
    clean, degraded = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    images = StepImages(clean=clean, degraded=degraded)

    def losses(weight: float) -> dict[str, Tensor]:
        draws = BatchDraws(generator=torch.Generator().manual_seed(2), share=Share())
        return dataclasses.replace(objective, grid=weight).losses(model, images, draws, 0)

    without, with_grid = losses(0.0), losses(2.0)
    assert "restored_grid" not in without
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    restored = model(degraded, CONFIG.model.sigma_s * noise)
    expected = grid_error(restored - clean, period=8, window=64).item()
    assert with_grid["restored_grid"].item() == pytest.approx(expected, rel=1e-5)
    difference = with_grid["total"].item() - without["total"].item()
    assert difference == pytest.approx(2 * expected, rel=1e-4)


def test_a_latent_that_leaves_the_decoders_range_is_drawn_back() -> None:
    """The image's error has no gradient there: the decoder limits latents by 3 tanh(z / 3)."""
    model = Elir(CONFIG.model)
    initialize(model, torch.Generator().manual_seed(0))
    bias = [each for name, each in model.velocity.named_parameters() if name.endswith("bias")][-1]
    with torch.no_grad():
        bias += 1000
    objective = RestorationObjective(
        target_encoder=Elir(CONFIG.model).encoder,
        settings=lcfm_settings(CONFIG),
        sigma_s=CONFIG.model.sigma_s,
        coarse_steps=0,
        unrolled_from=0,
    )
    clean = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    draws = BatchDraws(generator=torch.Generator().manual_seed(2), share=Share())
    losses = objective.losses(model, StepImages(clean=clean, degraded=clean), draws, 0)
    for name, drawn in (("restored_mse", False), ("total", True)):
        (gradient,) = torch.autograd.grad(losses[name], bias, retain_graph=True)
        assert bool((gradient > 1e-3).all()) is drawn, name


def test_draws_differ_from_step_to_step(photos: Path, tmp_path: Path) -> None:
    """Times and noise of a step are those of its seed and number, whatever came before."""
    seen: list[tuple[Tensor, Tensor]] = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Spy(RestorationObjective):
        def losses(
            self, model: Elir, images: StepImages, draws: BatchDraws, step: int
        ) -> dict[str, Tensor]:
            seen.append((draws.normal(torch.zeros(2, 3)), draws.times(torch.zeros(2), 0.05)))
            return super().losses(model, images, draws, step)

    config = dataclasses.replace(CONFIG, steps=2, coarse_steps=0)
    model = Elir(config.model)
    initialize(model, torch.Generator().manual_seed(0))
    objective = Spy(
        target_encoder=copy.deepcopy(model.encoder).requires_grad_(False),
        settings=lcfm_settings(config),
        sigma_s=0.1,
    )
    crops = CropSampler(
        Crops(photos=PhotoCache(list_images(photos), 1 << 20), size=config.crop_size),
        task=config.task,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    options = RunOptions(out=tmp_path / "run")
    train(config, model, objective, crops, NoValidation(), options, join("cpu"), materials={})
    (first, second) = seen
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])


def test_average_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    average = WeightAverage(layer, 0.9)
    layer.weight.data.fill_(2.0)
    average.update(1)
    average.update(2)
    assert average.average["weight"].item() == pytest.approx(0.81 * 1 + 0.19 * 2, abs=1e-6)


def test_the_averages_ramp_by_hand() -> None:
    """With a ramp of 2,000: decay 0.999 (1 - exp(-n / 2000)); early weights are soon forgotten."""
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    average = WeightAverage(layer, 0.999, warmup=2000)
    layer.weight.data.fill_(2.0)
    average.update(1)
    decay = 0.999 * (1 - math.exp(-1 / 2000))
    assert average.average["weight"].item() == pytest.approx(decay + (1 - decay) * 2, abs=1e-6)
    decays = [average.decay_at(n) for n in (1, 2000, 100_000)]
    assert decays == pytest.approx([0.0005, 0.6315, 0.999], abs=1e-4)
    assert WeightAverage(layer, 0.999).decay_at(1) == 0.999


def test_from_photos_to_checkpoints(photos: Path, tmp_path: Path) -> None:
    """Autoencoder, then a task from it; twice, to the same bytes."""
    autoencoder = dataclasses.replace(
        CONFIG, task=AUTOENCODER, model=tiny_config(), latent_noise=0.05
    )
    files = []
    for name in ("first", "second"):
        out = tmp_path / name
        start = run_training(
            autoencoder,
            RunInputs(photos=[photos], validation=photos),
            RunOptions(out=out / "ae"),
        ).path
        path = run_training(
            CONFIG,
            RunInputs(photos=[photos], validation=photos, autoencoder=start),
            RunOptions(out=out / "task"),
        ).path
        files.append((start.read_bytes(), path.read_bytes()))
    assert files[0] == files[1]
    checkpoint = read_checkpoint(tmp_path / "first/task/checkpoint.safetensors", task="denoising")
    assert checkpoint.config == tiny_config()
    assert checkpoint.training["scores"].keys() == {"coarse", "full"}


ABLATIONS: dict[str, dict[str, Any]] = {
    "fm": {"objective": "fm"},
    "none": {"objective": "none"},
    "pixel": {"space": "pixel"},
    "no coarse": {"coarse": False},
    "K = 5": {"num_steps": 5},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_train_to_checkpoints(name: str, photos: Path, tmp_path: Path) -> None:
    autoencoder = dataclasses.replace(CONFIG, task=AUTOENCODER, model=tiny_config(), steps=2)
    inputs = RunInputs(photos=[photos])
    start: Path | None = run_training(autoencoder, inputs, RunOptions(out=tmp_path / "ae")).path
    config = adapt(dataclasses.replace(CONFIG, steps=2), **ABLATIONS[name])
    if config.model.space == "pixel":
        start = None
    options = RunOptions(out=tmp_path / "run")
    inputs = RunInputs(photos=[photos], validation=photos, autoencoder=start)
    path = run_training(config, inputs, options).path
    checkpoint = read_checkpoint(path, task="denoising")
    assert checkpoint.config == config.model.collapsed()
    model = build_model(checkpoint)
    noise = draw_noise(model.config, 64, 64)
    assert model(torch.rand(1, 3, 64, 64), noise).shape == (1, 3, 64, 64)
    logged = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    flow = {"fm": {"fm", "mse"}, "none": set()}.get(name, {"f", "v", "mse"})
    assert logged.keys() == {"step", "total", "l_2", "grad_norm"} | flow
    assert set(checkpoint.training["scores"]) == {"coarse", "full"}


def test_a_fixed_encoder_stays(photos: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, trainable_encoder=False)
    start = Elir(config.model)
    initialize(start, torch.Generator().manual_seed(config.seed))
    trained = _train(photos, tmp_path, config).model
    assert _equal(start.encoder, trained.encoder)
    assert not _equal(start.coarse, trained.coarse)


_WITH_WORKERS = """
import sys
from pathlib import Path
import torch
from tests.train.test_loop import _train
photos, out, state = map(Path, sys.argv[1:])
torch.save(_train(photos, out, num_workers=2).model.state_dict(), state)
"""


def test_workers_make_the_same_batches(photos: Path, tmp_path: Path) -> None:
    """In a process of its own: to fork one with threads of other tests' libraries can end it."""
    alone = _train(photos, tmp_path / "thread").model
    state = tmp_path / "state.pt"
    command = [sys.executable, "-c", _WITH_WORKERS, photos, tmp_path / "workers", state]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    helped = Elir(CONFIG.model)
    helped.load_state_dict(torch.load(state, weights_only=True))
    assert _equal(alone, helped)


def test_going_on_from_a_checkpoint(photos: Path, tmp_path: Path) -> None:
    autoencoder = dataclasses.replace(CONFIG, task=AUTOENCODER, model=tiny_config(), steps=2)
    inputs = RunInputs(photos=[photos])
    ae = run_training(autoencoder, inputs, RunOptions(out=tmp_path / "ae")).path
    inputs = RunInputs(photos=[photos], autoencoder=ae)
    first = run_training(CONFIG, inputs, RunOptions(out=tmp_path / "1")).path
    config = dataclasses.replace(
        CONFIG,
        model=tiny_config(),
        beta=0.5,
        learning_rate=1e-5,
        steps=3,
        warmup_steps=0,
        trainable_encoder=False,
        trainable_coarse=False,
    )

    def go_on(name: str, *, new_flow: bool) -> Elir:
        start = WarmStart(path=first, new_flow=new_flow)
        inputs = RunInputs(photos=[photos], autoencoder=ae, start=start)
        path = run_training(config, inputs, RunOptions(out=tmp_path / name)).path
        return build_model(read_checkpoint(path, task="denoising"))

    before = build_model(read_checkpoint(first, task="denoising"))
    kept, anew = go_on("kept", new_flow=False), go_on("anew", new_flow=True)
    for after in (kept, anew):
        for part in ("encoder", "coarse", "decoder"):
            assert _equal(getattr(before, part), getattr(after, part)), part

    def distance(after: Elir) -> float:
        pairs = zip(before.velocity.parameters(), after.velocity.parameters(), strict=True)
        return sum(float((a - b).abs().sum()) for a, b in pairs)

    assert 0 < distance(kept) < 0.1 * distance(anew)


def test_going_on_from_another_task(photos: Path, tmp_path: Path) -> None:
    autoencoder = dataclasses.replace(CONFIG, task=AUTOENCODER, model=tiny_config(), steps=2)
    ae = run_training(autoencoder, RunInputs(photos=[photos]), RunOptions(out=tmp_path / "ae")).path
    inputs = RunInputs(photos=[photos], autoencoder=ae)
    first = run_training(CONFIG, inputs, RunOptions(out=tmp_path / "1")).path
    still = dataclasses.replace(
        CONFIG, task="sr", model=tiny_config(), steps=1, learning_rate=1e-12, warmup_steps=0
    )
    inputs = RunInputs(photos=[photos], autoencoder=ae, start=WarmStart(path=first))
    second = run_training(still, inputs, RunOptions(out=tmp_path / "2")).path
    before = build_model(read_checkpoint(first, task="denoising"))
    after = build_model(read_checkpoint(second, task="sr"))
    for part in ("encoder", "coarse", "velocity", "decoder"):
        assert _equal(getattr(before, part), getattr(after, part)), part
    inputs = RunInputs(photos=[photos], start=WarmStart(path=first))
    with pytest.raises(CheckpointError, match="got denoising; expected autoencoder"):
        run_training(autoencoder, inputs, RunOptions(out=tmp_path / "3"))


def test_a_start_of_another_architecture(
    photos: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    autoencoder = dataclasses.replace(CONFIG, task=AUTOENCODER, model=tiny_config(), steps=2)
    inputs = RunInputs(photos=[photos])
    ae = run_training(autoencoder, inputs, RunOptions(out=tmp_path / "ae")).path
    with pytest.raises(CheckpointError, match="does not have the architecture"):
        run_training(
            CONFIG,
            RunInputs(photos=[photos], autoencoder=ae, start=WarmStart(path=tiny_checkpoint)),
            RunOptions(out=tmp_path / "run"),
        )


def test_pixel_space_takes_no_autoencoder(photos: Path, tmp_path: Path) -> None:
    config = adapt(CONFIG, space="pixel")
    inputs = RunInputs(photos=[photos], autoencoder=tmp_path / "ae")
    with pytest.raises(UsageError, match="which has no autoencoder"):
        run_training(config, inputs, RunOptions(out=tmp_path))


def test_what_was_logged_beyond_the_state_is_taken_back(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"st')
    with Record(tmp_path, step=4):
        pass
    assert log.read_text() == '{"step": 2}\n{"step": 4}\n'


def test_unknown_devices(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot use the device 'toaster'"):
        run_training(CONFIG, RunInputs(photos=[photos]), RunOptions(out=tmp_path), device="toaster")


def test_the_autoencoder_takes_no_autoencoder(photos: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, task=AUTOENCODER, model=tiny_config())
    inputs = RunInputs(photos=[photos], autoencoder=tmp_path / "ae")
    with pytest.raises(UsageError, match="starts anew"):
        run_training(config, inputs, RunOptions(out=tmp_path))


def _gradient_norms(out: Path) -> list[float]:
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [line["grad_norm"] for line in lines if "grad_norm" in line]


def test_the_norm_of_the_gradients_is_logged_with_and_without_clipping(
    photos: Path, tmp_path: Path
) -> None:
    """Of the first step, where the weights are the same."""
    norms = {}
    for limit in (None, 1e-3, 1e6):
        config = dataclasses.replace(CONFIG, steps=1, warmup_steps=0, clip_norm=limit)
        _train(photos, tmp_path / str(limit), config, log_every=1)
        (norms[limit],) = _gradient_norms(tmp_path / str(limit))
    assert norms[None] > 0.01
    assert norms[1e-3] == pytest.approx(norms[None], rel=1e-5)
    assert norms[1e6] == pytest.approx(norms[None], rel=1e-5)


class _Several:
    """Stands for Accelerate's handle of two processes on two GPUs."""

    num_processes = 2
    process_index = 1
    device = torch.device("cuda:1")
    is_main_process = False

    def __init__(self, **options: Any) -> None:
        self.options = options


@pytest.mark.parametrize(("count", "device"), [(1, "cpu"), (2, "cuda:1")])
def test_of_several_processes_each_has_its_device(
    count: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.Accelerator", _Several)
    monkeypatch.setattr(_Several, "num_processes", count)
    processes = join("cpu", in_phases=True)
    assert processes.device == device
    assert processes.share == Share(rank=1, count=count)
    assert not processes.is_main
    options = processes.accelerator.options  # type: ignore[attr-defined]
    assert options["cpu"] is True
    assert options["mixed_precision"] == "no"
    assert options["kwargs_handlers"][0].find_unused_parameters is True


@pytest.mark.parametrize(("coarse_steps", "expected"), [(0, False), (1, True)])
def test_phases_leave_parameters_without_gradients(
    coarse_steps: int,
    expected: bool,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []

    def joined(device: str, *, in_phases: bool) -> None:
        seen.append(in_phases)
        raise _KilledError

    monkeypatch.setattr("elir_edge.train.run.join", joined)
    config = dataclasses.replace(CONFIG, coarse_steps=coarse_steps)
    inputs = RunInputs(photos=[photos], autoencoder=tmp_path / "ae")
    with pytest.raises(_KilledError):
        run_training(config, inputs, RunOptions(out=tmp_path / "run"))
    assert seen == [expected]


class _Counting(NoValidation):
    """Scores with the number of the call."""

    def __init__(self) -> None:
        self.calls = 0

    def scores(self, model: Elir) -> dict[str, float]:
        self.calls += 1
        return {"call": float(self.calls)}


def test_a_run_ends_with_the_scores_of_its_last_save(photos: Path, tmp_path: Path) -> None:
    validation = _Counting()
    whole = _train(photos, tmp_path, validation=validation, save_every=2)
    assert (validation.calls, whole.scores) == (3, {"call": 3.0})
    # A finished run that is resumed takes no step; it is scored all the same.
    again = _train(photos, tmp_path, validation=validation, resume=True)
    assert (validation.calls, again.scores) == (4, {"call": 4.0})
