"""Complete training configurations by name."""

from collections.abc import Callable

from elir_edge.errors import UsageError
from elir_edge.model.config import nano_config
from elir_edge.tasks import AUTOENCODER, get_task
from elir_edge.train.config import TrainConfig


def nano(task: str) -> TrainConfig:
    """Return the run that makes an embedded `nano` checkpoint, sized for two CPU cores.

    beta is far above the paper's 0.001: a model this small, trained this briefly, gains more from
    the image's mean square error than it loses in sharpness.
    """
    properties = get_task(task)
    return TrainConfig(
        task=task,
        model=nano_config(num_steps=properties.num_steps, sigma_s=properties.sigma_s, expansion=4),
        steps=14_000,
        batch_size=16,
        crop_size=128,
        learning_rate=1e-3,
        schedule="cosine",
        warmup_steps=200,
        dt=0.1,
        beta=0.1,
        precision="bf16",
    )


def nano_autoencoder() -> TrainConfig:
    """Return the run that makes the autoencoder shared by the `nano` checkpoints."""
    return TrainConfig(
        task=AUTOENCODER,
        model=nano_config(),
        steps=24_000,
        batch_size=16,
        crop_size=128,
        learning_rate=2e-3,
        schedule="cosine",
        warmup_steps=200,
        latent_noise=0.05,
        precision="bf16",
    )


_PRESETS: dict[str, Callable[[str], TrainConfig]] = {
    "nano": lambda task: nano_autoencoder() if task == AUTOENCODER else nano(task),
}


def get_preset(name: str, task: str) -> TrainConfig:
    """Return the preset `name` for `task` (one of the five, or `autoencoder`).

    Raises:
        UsageError: no such preset or task.
    """
    if name not in _PRESETS:
        raise UsageError(f"unknown preset {name!r}", expected=f"one of {', '.join(_PRESETS)}")
    return _PRESETS[name](task)
