"""Shared fixtures: a tiny model, a photo, and bundles made from the tiny model."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import typer
from numpy.typing import NDArray

import elir_edge.console as console_module
from elir_edge.checkpoints.own import Checkpoint, save_checkpoint
from elir_edge.console import run_app
from elir_edge.model import Elir, ModelConfig, initialize

SHARED = Path(__file__).resolve().parents[2] / "shared"


def tiny_config(*, expansion: int = 0, num_steps: int = 2) -> ModelConfig:
    """Return the smallest model that has every kind of layer that nano has."""
    return ModelConfig(
        variant="tiny",
        latent_channels=4,
        autoencoder_widths=(8, 8, 8),
        autoencoder_blocks=(1, 1, 1),
        autoencoder_convs=2,
        autoencoder_stem_stride=2,
        decoder_upsample="transpose2",
        coarse_blocks=1,
        coarse_width=8,
        velocity_width=8,
        velocity_multipliers=(1, 2),
        velocity_upsample="transpose2",
        norm="none",
        time_features=8,
        time_width=8,
        num_steps=num_steps,
        expansion=expansion,
    )


def tiny_published_like(*, expansion: int = 0) -> ModelConfig:
    """Return a small model with the layers that only the published ones have."""
    return ModelConfig(
        variant="small-paper",
        latent_channels=4,
        autoencoder_widths=(8, 8, 8, 8),
        autoencoder_blocks=(1, 1, 1, 1),
        coarse_blocks=1,
        coarse_width=8,
        velocity_width=32,
        velocity_multipliers=(1, 2),
        time_features=8,
        time_width=8,
        expansion=expansion,
    )


def make_model(config: ModelConfig, seed: int = 0) -> Elir:
    """Return a seeded model in evaluation mode."""
    model = Elir(config)
    initialize(model, torch.Generator().manual_seed(seed))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of photos and references; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference material in {SHARED.name}/ beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a tiny random `denoising` checkpoint."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    model = make_model(tiny_config())
    checkpoint = Checkpoint(task="denoising", config=model.config, state=model.state_dict())
    save_checkpoint(path, checkpoint, dtype=torch.float32)
    return path


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a bundle of the tiny model at 64 pixels; copy it before changing it."""
    from export.plan import run_export
    from export.request import Request
    from tests.remembering import remember, shared_folder

    request = Request(
        task="denoising",
        target="onnx",
        size=64,
        checkpoint=tiny_checkpoint,
        out=tmp_path_factory.mktemp("dist"),
    )
    with pytest.MonkeyPatch.context() as patch:
        remember(patch, shared_folder(tmp_path_factory))
        return run_export(request).folder


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """Return a real photo, uint8 (300, 451, 3): scikit-image's cat."""
    from skimage import data

    return np.asarray(data.chelsea())


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


def assert_mistake(done: Done, code: int, *said: str) -> None:
    """Require one line on standard error, no traceback, and the exit code of its kind."""
    assert done.code == code
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    assert "Traceback" not in done.err
    for part in said:
        assert part in done.err


@pytest.fixture
def run_any(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Return a function that runs an app on arguments, as its entry point does."""
    handler = signal.getsignal(signal.SIGTERM)
    # A terminal as wide as a long line, so that tables do not fold what is looked for.
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(console_module.console, "_width", 250)

    def run(program: typer.Typer, *arguments: object) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["elir-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            run_app(program)
        out, err = capsys.readouterr()
        return Done(int(exit_.value.code or 0), out, err)

    yield run
    signal.signal(signal.SIGTERM, handler)
