"""The bound's terms and straightness against what can be worked out by hand."""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from elir_edge.checkpoints.own import AUTOENCODER, Checkpoint, read_checkpoint, save_checkpoint
from elir_edge.errors import CheckpointError, DataError, ElirError
from elir_edge.evaluation.examples import Example
from elir_edge.evaluation.trajectories import (
    DEFAULT_SIGMA_MIN,
    analyse,
    draw_straightness,
    encoder_decoder_error,
    frozen_encoder,
    project,
    sigma_min_of,
    straightness,
    velocity_error,
)
from elir_edge.model import draw_noise
from elir_edge.tasks import get_task
from tests.conftest import make_model, tiny_config

TASK = get_task("denoising")


def _points(*points: tuple[float, ...]) -> list[Tensor]:
    return [torch.tensor(point)[None] for point in points]


def _examples(count: int, size: int = 64) -> list[Example]:
    rng = np.random.default_rng(0)
    images = [rng.random((2, size, size, 3), dtype=np.float32) for _ in range(count)]
    return [Example(name=f"{i}", given=x[0], reference=x[1]) for i, x in enumerate(images)]


# Straightness


def test_a_straight_path_at_constant_speed_has_none() -> None:
    assert straightness(_points((0, 0), (1, 2), (2, 4), (3, 6))) == pytest.approx(0, abs=1e-14)
    assert straightness(_points((5, 1), (7, -3))) == 0  # one step is always straight


def test_a_corner_by_hand() -> None:
    """(0,0) -> (1,0) -> (1,1): chord (1,1), velocities (2,0), (0,2): each 2 off, by 2."""
    assert straightness(_points((0, 0), (1, 0), (1, 1))) == 1


def test_another_speed_on_a_straight_line_by_hand() -> None:
    """0 -> 3 -> 4: chord 4, velocities 6 and 2: each 4 off, by 16."""
    assert straightness(_points((0,), (3,), (4,))) == 0.25


def test_straightness_has_no_unit() -> None:
    path = [torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    value = straightness(path)
    assert value > 0
    assert straightness([5 * p + 1 for p in path]) == pytest.approx(value, rel=1e-5)


def test_paths_that_lead_nowhere() -> None:
    assert straightness(_points((1, 1), (1, 1), (1, 1))) == 0
    assert straightness(_points((1, 1), (2, 1), (1, 1))) == math.inf


# The terms of the bound


def test_the_true_velocity_has_no_error() -> None:
    z_0, z_1 = (torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    true = z_1 - (1 - 0.1) * z_0
    assert velocity_error(lambda z, t: true, z_0, z_1, sigma_min=0.1) == 0
    off = velocity_error(lambda z, t: true + 0.5, z_0, z_1, sigma_min=0.1)
    assert off == pytest.approx(0.25, rel=1e-5)


def test_the_field_is_asked_on_the_path() -> None:
    """On z_t = t z_1 + (1 - (1 - s) t) z_0 the point and the time give the velocity back."""
    z_0, z_1 = torch.full((1, 4, 8, 8), 2.0), torch.full((1, 4, 8, 8), 5.0)

    def field(z_t: Tensor, t: Tensor) -> Tensor:
        return (z_t - z_0) / t.view(-1, 1, 1, 1)

    assert velocity_error(field, z_0, z_1, sigma_min=0.1) == pytest.approx(0, abs=1e-10)
    assert velocity_error(field, z_0, z_1 + 1, sigma_min=0.1) == pytest.approx(0, abs=1e-10)


def test_the_integral_over_time() -> None:
    """An error of t gives the integral of t^2: 1/3, by the midpoint rule 1/3 - 1/(12 n^2)."""
    z_0, z_1 = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    for num_times in (1, 10):
        value = velocity_error(
            lambda z, t: z_1 + t.view(-1, 1, 1, 1), z_0, z_1, sigma_min=0.0, num_times=num_times
        )
        assert value == pytest.approx(1 / 3 - 1 / (12 * num_times**2), rel=1e-6)


def test_the_encoder_decoder_error_by_hand() -> None:
    image = torch.full((1, 3, 8, 8), 0.5)
    assert encoder_decoder_error(nn.Identity(), nn.Identity(), image) == 0

    class Brighter(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.2

    value = encoder_decoder_error(Brighter(), Brighter(), image)
    assert value == pytest.approx(0.16, rel=1e-5)


# A model's flow


def test_the_states_are_those_of_the_model() -> None:
    model = make_model(tiny_config(num_steps=3))
    example = _examples(1)[0]
    report = analyse(model, None, [example], TASK, sigma_min=0.0, seed=7)
    assert report.labels == ("input", "D(z_0)", "step 1", "step 2", "step 3", "ground truth")
    y = torch.from_numpy(example.given).permute(2, 0, 1)[None]
    with torch.no_grad():
        noise = draw_noise(model.config, 64, 64, seed=7)
        restored = model(y, noise).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(report.rows[0][-2], np.rint(restored * 255).astype(np.uint8))
    assert np.array_equal(report.rows[0][0], np.rint(example.given * 255).astype(np.uint8))
    assert report.encoder_decoder_error is None
    assert report.velocity_error is None
    assert report.latent_straightness is not None
    assert report.pixel_straightness is not None
    assert report.latent_paths.shape[::2] == (4, 4)
    assert report.pixel_paths.shape[::2] == (4, 3)


def test_terms_are_means_over_images() -> None:
    model = make_model(tiny_config())
    examples = _examples(2)
    both = analyse(model, model.encoder, examples, TASK, sigma_min=0.0)
    clean = [torch.from_numpy(e.reference).permute(2, 0, 1)[None] for e in examples]
    errors = [encoder_decoder_error(model.encoder, model.decoder, x) for x in clean]
    assert both.encoder_decoder_error == pytest.approx(np.mean(errors))
    assert both.velocity_error is not None
    assert both.velocity_error > 0
    assert len(both.rows) == 2


def test_a_constant_field_flows_straight() -> None:
    model = make_model(tiny_config(num_steps=3))

    class Constant(nn.Module):
        def forward(self, z: Tensor, t: Tensor) -> Tensor:
            return torch.full_like(z, 0.3)

    bent = analyse(model, None, _examples(1), TASK, sigma_min=0.0)
    model.velocity = Constant()
    report = analyse(model, None, _examples(1), TASK, sigma_min=0.0)
    assert report.latent_straightness == pytest.approx(0, abs=1e-9)
    assert bent.latent_straightness is not None
    assert bent.latent_straightness > 1e-6
    assert report.pixel_straightness is not None
    assert report.pixel_straightness > 1e-9  # the decoder bends it


def test_a_model_without_a_flow(tmp_path: Path) -> None:
    config = dataclasses.replace(tiny_config(), num_steps=0, sigma_s=0.0)
    model = make_model(config)
    report = analyse(model, model.encoder, _examples(1), TASK, sigma_min=0.0)
    assert report.labels == ("input", "D(z_0)", "ground truth")
    assert report.encoder_decoder_error is not None
    assert report.velocity_error is None
    assert report.latent_straightness is None
    draw_straightness(tmp_path / "plot.png", report)
    assert Image.open(tmp_path / "plot.png").format == "PNG"


def test_images_are_cut_to_what_the_model_takes() -> None:
    model = make_model(tiny_config())
    rows = analyse(model, None, _examples(1, 70), TASK, sigma_min=0.0).rows
    assert [image.shape for image in rows[0]] == [(64, 64, 3)] * len(rows[0])
    with pytest.raises(DataError, match="0 is too small"):
        analyse(model, None, _examples(1, 12), TASK, sigma_min=0.0)
    with pytest.raises(DataError, match="no images"):
        analyse(model, None, [], TASK, sigma_min=0.0)


# The frozen encoder


def test_the_frozen_encoder_is_read(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint, task="denoising")
    with pytest.raises(CheckpointError, match="no autoencoder is shipped"):
        frozen_encoder(checkpoint, None)
    other = make_model(checkpoint.config, seed=5)
    state = {k: v for k, v in other.state_dict().items() if k.startswith(("encoder", "decoder"))}
    stored = Checkpoint(task=AUTOENCODER, config=checkpoint.config, state=state)
    save_checkpoint(tmp_path / "ae.safetensors", stored, dtype=torch.float32)
    frozen = frozen_encoder(checkpoint, tmp_path / "ae.safetensors")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(frozen(image), other.encoder(image))


def test_the_sigma_min_of_training_is_used(tiny_checkpoint: Path) -> None:
    checkpoint = read_checkpoint(tiny_checkpoint, task="denoising")
    assert sigma_min_of(checkpoint) == DEFAULT_SIGMA_MIN
    trained = dataclasses.replace(checkpoint, training={"config": {"sigma_min": 0.01}})
    assert sigma_min_of(trained) == 0.01


# Plots


def test_projection_keeps_what_moves() -> None:
    paths = np.zeros((3, 2, 4))
    paths[:, 0, 2] = [0, 1, 4]  # along the third variable
    paths[:, 1, 1] = [0, 1, 2]  # along the second, less far
    flat = project(paths)
    assert flat.shape == (3, 2, 2)
    assert np.abs(flat[:, 0, 0]) == pytest.approx([0, 1, 4])
    assert np.abs(flat[:, 1, 1]) == pytest.approx([0, 1, 2])
    assert project(paths[:, :1, 2:3]).shape == (3, 1, 2)


def test_the_plot(tmp_path: Path) -> None:
    report = analyse(make_model(tiny_config()), None, _examples(2), TASK, sigma_min=0.0)
    draw_straightness(tmp_path / "a.png", report)
    draw_straightness(tmp_path / "b.png", report)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").size == (1200, 600)


def test_the_plot_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = analyse(make_model(tiny_config()), None, _examples(1), TASK, sigma_min=0.0)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ElirError, match=r"needs matplotlib.*`evaluate` extra"):
        draw_straightness(tmp_path / "a.png", report)
