"""A checkpoint as a backend of the runtime's `Restorer`, with a bundle's tiling and rounding.

It is not part of `elir_edge.runtime`, which must not import torch.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from elir_edge import __version__
from elir_edge.checkpoints.own import Checkpoint, build_model
from elir_edge.data.degradations import get_degradation
from elir_edge.errors import UsageError
from elir_edge.model import Elir, collapse, draw_noise
from elir_edge.runtime import Restorer
from elir_edge.runtime.backends import Backend
from elir_edge.runtime.bundle import Bundle
from elir_edge.runtime.manifest import (
    SCHEMA_VERSION,
    CheckpointRecord,
    Identity,
    Manifest,
    Noise,
    Precision,
    Processing,
    SelfTest,
    TargetRecord,
    TensorSpec,
)
from elir_edge.tasks import get_task

_INPUT, _OUTPUT = "image", "restored"


class TorchBackend(Backend):
    """An ELIR model in PyTorch, float32, with a constant noise sample.

    Args:
        model: the model, on `device`.
        noise: a sample of sigma_s N(0, I), (1, C, size / 8, size / 8).
        device: torch device.
    """

    def __init__(self, model: Elir, noise: torch.Tensor, device: str) -> None:
        self._model = model
        self._noise = noise.to(device)
        self._device = device

    @property
    def version(self) -> str:
        """Name and version of the runtime."""
        return f"torch {torch.__version__} on {self._device}"

    @torch.no_grad()
    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Map {"image": float32 (1, 3, size, size) in [0, 1]} to {"restored": same shape}."""
        image = torch.from_numpy(inputs[_INPUT]).to(self._device)
        return {_OUTPUT: self._model(image, self._noise).cpu().numpy()}

    def close(self) -> None:
        """Do nothing: the caller owns the model."""


def with_euler_steps(checkpoint: Checkpoint, num_steps: int) -> Checkpoint:
    """Return the checkpoint with M Euler steps instead of its K; the weights fit any number.

    The paper's Fig. 6(a) compares models by M; consistency training aims at few steps.

    Raises:
        UsageError: the checkpoint has no flow, or `num_steps` is less than 1.
    """
    if checkpoint.config.num_steps == 0:
        raise UsageError(f"{checkpoint.source} has no flow, so no Euler steps")
    if num_steps < 1:
        raise UsageError("too few Euler steps", got=str(num_steps), expected="1 or more")
    return replace(checkpoint, config=replace(checkpoint.config, num_steps=num_steps))


def placed_model(checkpoint: Checkpoint, device: str) -> Elir:
    """Return the collapsed model of a checkpoint on a device.

    Raises:
        UsageError: torch cannot use the device.
    """
    model = collapse(build_model(checkpoint))
    assert isinstance(model, Elir)
    try:
        return model.eval().requires_grad_(False).to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"torch cannot use the device {device!r} ({reason})", fix="pass --device cpu"
        ) from error


def checkpoint_restorer(
    checkpoint: Checkpoint, model: Elir, *, size: int, device: str = "cpu", noise_seed: int = 0
) -> Restorer:
    """Return a restorer that works like the restorer of the checkpoint's bundle.

    Args:
        checkpoint: the checkpoint of the model.
        model: the model, from `placed_model`.
        size: side of the tiles in pixels, like the size of a bundle's graph.
        device: torch device of the model.
        noise_seed: seed of the noise sample that all tiles share.

    Raises:
        UsageError: the size does not fit the model.
    """
    multiple = model.size_multiple
    if size < 2 * multiple or size % multiple:
        raise UsageError(
            f"size {size} does not fit the {model.config.variant} model",
            expected=f"a multiple of {multiple} from {2 * multiple} on",
        )
    noise = draw_noise(model.config, size, size, seed=noise_seed)
    manifest = _manifest(checkpoint, size, noise_seed)
    bundle = Bundle(folder=Path(checkpoint.source), manifest=manifest)
    return Restorer(bundle, backend=TorchBackend(model, noise, device))


def _manifest(checkpoint: Checkpoint, size: int, noise_seed: int) -> Manifest:
    """Return the manifest of a float32 bundle, as far as restoring needs it."""
    task, config = get_task(checkpoint.task), checkpoint.config
    return Manifest(
        schema_version=SCHEMA_VERSION,
        identity=Identity(
            name=f"{task.name}-{config.variant}-torch",
            task=task.name,
            model=config.variant,
            num_steps=config.num_steps,
            sigma_s=config.sigma_s,
            noise=Noise(policy="constant", seed=noise_seed, sha256=""),
            tool_version=__version__,
            git_commit="unknown",
            licences={},
            citation=task.citation,
        ),
        source=CheckpointRecord(
            checkpoint=checkpoint.source,
            sha256=checkpoint.sha256,
            config=config.to_dict(),
            training=checkpoint.training,
            trained_range=get_degradation(task.name, checkpoint.degradation).range,
        ),
        files=(),
        inputs=(_image_spec(_INPUT, size),),
        outputs=(_image_spec(_OUTPUT, size),),
        processing=Processing.of_task(task, size),
        precision=Precision(name="fp32"),
        rewrites={},
        target=TargetRecord(name="torch", backend="torch", versions={"torch": torch.__version__}),
        validation=(),
        self_test=SelfTest(input="", expected="", min_psnr=0.0),
    )


def _image_spec(name: str, size: int) -> TensorSpec:
    return TensorSpec(
        name=name,
        role="image",
        shape=(1, 3, size, size),
        dtype="float32",
        layout="NCHW",
        colour="RGB",
        low=0.0,
        high=1.0,
    )
