"""A checkpoint distilled into a faster one: what learns, from what, and what comes out."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from elir_edge.checkpoints.own import Checkpoint, build_model, read_checkpoint, save_checkpoint
from elir_edge.cli.app import app
from elir_edge.data.datasets import Share
from elir_edge.errors import UsageError
from elir_edge.model import Elir, ModelConfig, nano_config, paper_config_for
from elir_edge.train.loop import RunOptions
from elir_edge.train.objectives import BatchDraws, StepImages
from elir_edge.train.slimming import (
    Slimming,
    SlimmingInputs,
    SlimmingObjective,
    distil,
    start_student,
)
from tests.conftest import Run, make_model, tiny_config


def _config(num_steps: int = 3) -> ModelConfig:
    """Return a small model with the published encoder and the published latents."""
    values = paper_config_for("sr", num_steps=num_steps, sigma_s=0.1).to_dict()
    small: dict[str, Any] = {"coarse_blocks": 1, "coarse_width": 8, "velocity_width": 32}
    small |= {"velocity_multipliers": [2], "time_features": 8, "time_width": 8}
    return ModelConfig.from_dict(values | small)


def _checkpoint(config: ModelConfig) -> Checkpoint:
    return Checkpoint(task="sr", config=config, state=make_model(config).state_dict(), source="t")


@pytest.fixture
def teacher_file(tmp_path: Path) -> Path:
    """Return the file of a checkpoint to distil."""
    path = tmp_path / "teacher.safetensors"
    save_checkpoint(path, _checkpoint(_config()), dtype=torch.float32)
    return path


def _draws(seed: int = 0) -> BatchDraws:
    return BatchDraws(generator=torch.Generator().manual_seed(seed), share=Share())


def _images() -> StepImages:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return StepImages(clean=torch.zeros_like(images), degraded=images)


def _objective(teacher: Elir, **changed: Any) -> SlimmingObjective:
    values = {"encoder_steps": 5, "slim_encoder": True, "fewer_steps": True, "sigma_s": 0.1}
    return SlimmingObjective(teacher=teacher, **(values | changed))  # type: ignore[arg-type]


def test_the_student_has_the_teachers_parts_and_a_slim_encoder() -> None:
    teacher = _checkpoint(_config())
    config, student = start_student(teacher, Slimming(num_steps=1))
    assert student.config == dataclasses.replace(_config(1), encoder_size="slim")
    for key, value in student.state_dict().items():
        if not key.startswith("encoder."):
            assert torch.equal(value, teacher.state[key])
    slim = make_model(nano_config()).encoder.state_dict()
    assert {k: v.shape for k, v in student.encoder.state_dict().items()} == {
        k: v.shape for k, v in slim.items()
    }
    assert (config.coarse_steps, config.steps) == (4000, 7000)
    only_flow, _ = start_student(teacher, Slimming(slim_encoder=False, num_steps=1))
    assert (only_flow.coarse_steps, only_flow.steps) == (0, 3000)
    only_encoder, _ = start_student(teacher, Slimming())
    assert (only_encoder.coarse_steps, only_encoder.steps) == (4000, 4000)


def test_a_student_that_is_the_teacher_has_no_error() -> None:
    """To 1e-6 of latents of the order of 1: the same operations in the same order."""
    teacher = make_model(_config())
    objective = _objective(teacher)
    for step in (0, 4, 5):
        losses = objective.losses(teacher, _images(), _draws(), step)
        assert set(losses) == ({"total", "latent", "coarse"} if step < 5 else {"total", "end"})
        assert float(losses["total"]) == pytest.approx(0.0, abs=1e-6)
    # The twins: another encoder, and another flow.
    other = make_model(_config(), seed=1)
    assert float(objective.losses(other, _images(), _draws(), 0)["total"]) > 1e-3
    other.encoder.load_state_dict(teacher.encoder.state_dict())
    other.coarse.load_state_dict(teacher.coarse.state_dict())
    assert float(objective.losses(other, _images(), _draws(), 0)["total"]) < 1e-6
    assert float(objective.losses(other, _images(), _draws(), 5)["total"]) > 1e-3


@torch.no_grad()
def test_the_flow_starts_from_the_same_noise() -> None:
    """Fewer steps from the teacher's own noise: the only difference is the number of steps."""
    teacher = make_model(_config())
    fewer = Elir(_config(1))
    fewer.load_state_dict(teacher.state_dict())
    images, objective = _images(), _objective(teacher)
    got = float(objective.losses(fewer, images, _draws(), 5)["total"])
    z = teacher.initial_point(images.degraded)
    noise = 0.1 * torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    ends = [model.trajectory(z + noise)[-1] for model in (teacher, fewer)]
    assert got == pytest.approx(float((ends[0] - ends[1]).abs().mean()), rel=1e-4)


def test_what_learns() -> None:
    teacher = make_model(_config())
    assert dict(_objective(teacher).trainable(teacher)).keys() == {"encoder", "velocity"}
    alone = _objective(teacher, fewer_steps=False)
    assert dict(alone.trainable(teacher)).keys() == {"encoder"}
    assert dict(_objective(teacher, slim_encoder=False).trainable(teacher)).keys() == {"velocity"}


@pytest.mark.parametrize(
    ("config", "slimming", "message"),
    [
        (_config(), Slimming(slim_encoder=False), "nothing to distil; fix: pass --num-steps 1"),
        (_config(), Slimming(slim_encoder=False, num_steps=3), "nothing to distil"),
        (_config(), Slimming(num_steps=4), "takes 3 Euler steps; got --num-steps 4"),
        (nano_config(), Slimming(), "is slim as it is; fix: pass --encoder own --num-steps 1"),
        (tiny_config(), Slimming(), "other latents; got 4 channels in t; expected 16"),
    ],
)
def test_what_cannot_be_distilled(config: ModelConfig, slimming: Slimming, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        start_student(_checkpoint(config), slimming)


def test_the_encoder_comes_nearer_and_the_rest_stays(
    teacher_file: Path, photos: Path, tmp_path: Path
) -> None:
    done = distil(
        Slimming(encoder_steps=12, flow_steps=4, num_steps=1, batch_size=2),
        SlimmingInputs(checkpoint=teacher_file, photos=[photos], validation=photos),
        RunOptions(out=tmp_path / "run", save_every=100, log_every=1),
        task="sr",
    )
    assert done.run.finished
    checkpoint = read_checkpoint(done.run.path, task="sr")
    assert checkpoint.config == dataclasses.replace(_config(1), encoder_size="slim")
    assert checkpoint.training["teacher"] == read_checkpoint(teacher_file, task="sr").sha256
    teacher, student = (
        build_model(read_checkpoint(teacher_file, task="sr")),
        build_model(checkpoint),
    )
    for part in ("coarse", "decoder"):
        ours, theirs = (getattr(m, part).state_dict() for m in (student, teacher))
        assert all(torch.allclose(ours[k], theirs[k], atol=2e-3) for k in ours)  # stored in fp16
    _, start = start_student(read_checkpoint(teacher_file, task="sr"), Slimming(num_steps=1))
    images = _images()
    objective = _objective(teacher)
    with torch.no_grad():
        before = objective.losses(start, images, _draws(), 0)["total"]
        after = objective.losses(student, images, _draws(), 0)["total"]
    assert after < before
    assert done.macs[0]["encoder"] > 9 * done.macs[1]["encoder"]
    assert done.scores[0].keys() == done.scores[1].keys() != set()


def test_a_stopped_run_goes_on_to_the_same_weights(
    teacher_file: Path, photos: Path, tmp_path: Path, run_any: Run
) -> None:
    command = ["distill", teacher_file, "--task", "sr", "--data", photos, "--encoder-steps", 4]
    command += ["--batch-size", 2]
    whole = run_any(app, *command, "--out", tmp_path / "a")
    assert whole.code == 0
    assert "encoder, GMAC" in whole.err + whole.out
    stopped = run_any(app, *command, "--out", tmp_path / "b", "--minutes", 0)
    assert "continue with the same command and --resume" in stopped.out
    assert run_any(app, *command, "--out", tmp_path / "b", "--resume").code == 0
    names = [tmp_path / run / "checkpoint.safetensors" for run in "ab"]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_bad_input_gets_one_line(teacher_file: Path, photos: Path, run_any: Run) -> None:
    for arguments, message in (
        (["--task", "sr", "--num-steps", 9], "takes 3 Euler steps"),
        (["--task", "cloud"], "unknown task"),
        (["--task", "bfr"], "was trained for another task"),
    ):
        done = run_any(app, "distill", teacher_file, "--data", photos, *arguments)
        assert done.code in (1, 2)
        assert message in done.err
        assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("task", "crop", "scale"), [("bfr", 256, 1.0), ("sr", 128, 0.5), ("denoising", 128, 0.5)]
)
def test_faces_are_taken_whole(task: str, crop: int, scale: float) -> None:
    """They are aligned, and shrunk to half; of photos of any scale, smaller crops are cut."""
    teacher = dataclasses.replace(_checkpoint(_config()), task=task)
    config, _ = start_student(teacher, Slimming(num_steps=1))
    assert (config.task, config.crop_size, config.min_scale) == (task, crop, scale)
