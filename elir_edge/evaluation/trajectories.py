"""Analysis of the flow: the two terms of the W2 bound, pictures of its states, its straightness.

It needs a checkpoint, since a bundle does not give the states.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elir_edge.checkpoints.own import Checkpoint, read_autoencoder
from elir_edge.data.operations import to_uint8
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.errors import DataError, ElirError
from elir_edge.evaluation.examples import Example, network_input
from elir_edge.flow.segments import interpolate
from elir_edge.model import Elir, draw_noise
from elir_edge.tasks import Task

NUM_TIMES = 10
"""Number of points of the midpoint rule over t."""
DEFAULT_SIGMA_MIN = 1e-5
_CELLS_PER_IMAGE = 4

VelocityField = Callable[[Tensor, Tensor], Tensor]
"""Maps (z_t, t) to a velocity; t has shape (B,)."""


@dataclass(frozen=True, kw_only=True)
class FlowReport:
    """Numbers of the flow (means over images), and the data for pictures.

    Attributes:
        encoder_decoder_error: Delta_ED of Eq. 8 per pixel value; None without the frozen encoder.
        velocity_error: an upper bound of Delta_v of Eq. 8 per latent value (see `velocity_error`);
            None without the frozen encoder or without a flow.
        latent_straightness: straightness of the latent paths (see `straightness`); None without a
            flow.
        pixel_straightness: straightness of the decoded paths; None without a flow.
        rows: uint8 images in the order of `labels`, one row for each image.
        labels: labels of the columns.
        latent_paths: (states, cells, channels) of some latent cells that move most.
        pixel_paths: the same for decoded pixels.
    """

    encoder_decoder_error: float | None
    velocity_error: float | None
    latent_straightness: float | None
    pixel_straightness: float | None
    rows: list[list[NDArray[np.uint8]]]
    labels: tuple[str, ...]
    latent_paths: NDArray[np.float64]
    pixel_paths: NDArray[np.float64]

    def values(self) -> dict[str, float | None]:
        """Return the numbers by name."""
        return {
            "encoder_decoder_error": self.encoder_decoder_error,
            "velocity_error": self.velocity_error,
            "latent_straightness": self.latent_straightness,
            "pixel_straightness": self.pixel_straightness,
        }


def encoder_decoder_error(encoder: nn.Module, decoder: nn.Module, image: Tensor) -> float:
    """Return Delta_ED = E ||D(E(x)) - x||^2 (Eq. 8) per element: the mean over pixel values.

    Args:
        encoder: the frozen encoder E, which gave the flow's targets.
        decoder: the decoder D.
        image: clean images x, (B, 3, H, W) in [0, 1]; H and W are multiples of 8.
    """
    return float((decoder(encoder(image)) - image).double().square().mean())


def velocity_error(
    velocity: VelocityField,
    z_0: Tensor,
    z_1: Tensor,
    *,
    sigma_min: float,
    num_times: int = NUM_TIMES,
) -> float:
    """Return an upper bound of Delta_v (Eq. 8) per element: the mean over latent values.

    The value is the integral over t of E ||v - v_hat(z_t, t)||^2, by the midpoint rule. The path's
    conditional velocity v = z_1 - (1 - sigma_min) z_0 (section 4.1) replaces the marginal field
    v(z_t, t) = E[v | z_t], which is unknown. The excess over Delta_v, E ||v - v(z_t, t)||^2, does
    not depend on the model, so differences between models are differences of Delta_v.

    Args:
        velocity: the model's vector field v_hat.
        z_0: source latents, noise included, (B, C, h, w).
        z_1: target latents, same shape.
        sigma_min: weight of the source at the path's end.
        num_times: number of points of the midpoint rule.
    """
    conditional = z_1 - (1 - sigma_min) * z_0
    errors = []
    for index in range(num_times):
        t = torch.full((len(z_0),), (index + 0.5) / num_times, dtype=z_0.dtype, device=z_0.device)
        estimate = velocity(interpolate(z_0, z_1, t, sigma_min), t)
        errors.append(float((conditional - estimate).double().square().mean()))
    return float(np.mean(errors))


def straightness(states: Sequence[Tensor]) -> float:
    """Return a path's deviation S from a straight line at constant speed; 0: it is straight.

    S = mean_k ||(z_1 - z_0) - v_k||^2 / ||z_1 - z_0||^2, where v_k is the velocity of Euler step k.
    This is the measure of rectified flow (Liu et al., 2023), divided by the squared distance. A
    path that returns to its start has S = inf; a path that does not move has S = 0.

    Args:
        states: [z_0, z_1/K, ..., z_1], two or more of equal shape.
    """
    path = torch.stack([state.double() for state in states])
    chord = path[-1] - path[0]
    velocities = (path[1:] - path[:-1]) * (len(path) - 1)
    deviation = float((velocities - chord).square().flatten(1).sum(dim=1).mean())
    length = float(chord.square().sum())
    if length == 0:
        return math.inf if deviation else 0.0
    return deviation / length


def frozen_encoder(checkpoint: Checkpoint, autoencoder: Path | None) -> nn.Module:
    """Return E, the encoder as it was before the task's training.

    Raises:
        CheckpointError: no autoencoder is shipped for the model, or the given one has other sizes.
    """
    if checkpoint.config.space == "pixel":
        return nn.Identity()
    start = read_autoencoder(autoencoder, checkpoint.config)
    encoder = Elir(checkpoint.config).encoder
    encoder.load_state_dict(start.encoder)
    return encoder.eval().requires_grad_(False)


def sigma_min_of(checkpoint: Checkpoint) -> float:
    """Return the sigma_min that a checkpoint was trained with; the default if it is unknown."""
    config = checkpoint.training.get("config", {})
    value = config.get("sigma_min") if isinstance(config, dict) else None
    return float(value) if isinstance(value, int | float) else DEFAULT_SIGMA_MIN


@torch.no_grad()
def analyse(
    model: Elir,
    encoder: nn.Module | None,
    examples: Iterable[Example],
    task: Task,
    *,
    sigma_min: float,
    device: str = "cpu",
    seed: int = 0,
) -> FlowReport:
    """Analyse the flow on some examples, at their own size.

    Args:
        model: the model, on `device`; its decoder is D.
        encoder: the frozen encoder E, on `device`; None: the terms of the bound are left out.
        examples: the images, cropped to multiples of the model's size multiple. All or none have a
            ground truth; without, the terms of the bound are left out.
        task: the task of the examples.
        sigma_min: weight of the source at the end of the path that the model was trained on.
        device: torch device.
        seed: seed of the noise; example i uses seed + i.

    Raises:
        DataError: there are no examples, or an image is smaller than the model's size multiple.
    """
    flows = model.config.num_steps > 0
    numbers: dict[str, list[float]] = {}
    rows, latent_paths, pixel_paths = [], [], []
    for index, example in enumerate(examples):
        clean, given = _tensors(example, task, model.size_multiple, device)
        noise = draw_noise(model.config, *given.shape[-2:], seed=seed + index).to(device)
        states = model.trajectory(model.initial_point(given) + noise)
        pictures = [model.decoder(state) for state in states]
        if encoder is not None and clean is not None:
            error = encoder_decoder_error(encoder, model.decoder, clean)
            numbers.setdefault("encoder_decoder_error", []).append(error)
        if encoder is not None and clean is not None and flows:
            z_1 = encoder(clean)
            error = velocity_error(model.velocity, states[0], z_1, sigma_min=sigma_min)
            numbers.setdefault("velocity_error", []).append(error)
        if flows:
            numbers.setdefault("latent_straightness", []).append(straightness(states))
            numbers.setdefault("pixel_straightness", []).append(straightness(pictures))
        truth = [] if clean is None else [clean]
        rows.append([to_uint8(to_image(image)) for image in (given, *pictures, *truth)])
        latent_paths.append(_some_cells(states, [seed, index, 0]))
        pixel_paths.append(_some_cells(pictures, [seed, index, 1]))
    if not rows:
        raise DataError("no images to analyse the flow on")
    means = {name: float(np.mean(values)) for name, values in numbers.items()}
    labels = ["input", "D(z_0)", *(f"step {k + 1}" for k in range(model.config.num_steps))]
    labels += ["ground truth"] * (len(rows[0]) - len(labels))
    return FlowReport(
        encoder_decoder_error=means.get("encoder_decoder_error"),
        velocity_error=means.get("velocity_error"),
        latent_straightness=means.get("latent_straightness"),
        pixel_straightness=means.get("pixel_straightness"),
        rows=rows,
        labels=tuple(labels),
        latent_paths=np.concatenate(latent_paths, axis=1),
        pixel_paths=np.concatenate(pixel_paths, axis=1),
    )


def _tensors(
    example: Example, task: Task, multiple: int, device: str
) -> tuple[Tensor | None, Tensor]:
    """Return the clean image (or None) and the network's input, (1, 3, H, W), cropped to fit."""
    given, reference = network_input(example, task), example.reference
    height, width = (side // multiple * multiple for side in given.shape[:2])
    if not height or not width:
        raise DataError(
            f"{example.name} is too small for an analysis of its flow",
            got=f"{given.shape[1]} x {given.shape[0]}",
            expected=f"at least {multiple} x {multiple} pixels",
        )
    clean = None if reference is None else to_batch(reference[:height, :width], device)
    return clean, to_batch(given[:height, :width], device)


def _some_cells(states: Sequence[Tensor], seed: Sequence[int]) -> NDArray[np.float64]:
    """Return the paths (states, cells, channels) of random cells among the tenth that move most."""
    paths = torch.stack([state[0].flatten(1).T for state in states]).double().cpu().numpy()
    moved = np.square(paths[-1] - paths[0]).sum(axis=1)
    movers = np.argsort(moved, kind="stable")[-max(_CELLS_PER_IMAGE, len(moved) // 10) :]
    count = min(_CELLS_PER_IMAGE, len(movers))
    chosen = np.random.default_rng(seed).choice(movers, size=count, replace=False)
    return np.ascontiguousarray(paths[:, np.sort(chosen)])


def project(paths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project paths (states, cells, channels) to (states, cells, 2).

    The two axes are the principal directions of the displacements from start to end, i.e. the
    directions along which the flow moves most. Straight lines stay straight.
    """
    _, _, directions = np.linalg.svd(paths[-1] - paths[0], full_matrices=False)
    axes = np.zeros((2, paths.shape[2]))
    axes[: min(2, len(directions))] = directions[:2]
    return np.asarray(paths @ axes.T)


def draw_straightness(path: Path, report: FlowReport) -> None:
    """Draw paths in latent space and in pixel space (paper, Fig. 11) into a PNG file.

    Raises:
        ElirError: matplotlib is not installed.
    """
    figure_class = load_matplotlib()
    figure = figure_class(figsize=(10, 5), layout="constrained")
    panels = (
        ("latent space", report.latent_paths, report.latent_straightness),
        ("pixel space", report.pixel_paths, report.pixel_straightness),
    )
    for axes, (title, paths, value) in zip(figure.subplots(1, 2), panels, strict=True):
        flat = project(paths)
        for cell in range(flat.shape[1]):
            x, y = flat[:, cell].T
            axes.plot(x[[0, -1]], y[[0, -1]], color="0.75", linewidth=0.8, linestyle="--")
            axes.plot(x, y, color="tab:blue", linewidth=1.2, marker=".", markersize=3)
            axes.plot(x[0], y[0], "o", color="tab:orange", markersize=4)
            axes.plot(x[-1], y[-1], "o", color="tab:green", markersize=4)
        axes.set_title(f"{title}, S = {value:.3g}" if value is not None else title)
        axes.set_xlabel("first principal direction of the flow")
        axes.set_ylabel("second")
    figure.suptitle("from the source (orange) to the target (green); dashed: the straight path")
    figure.savefig(path, format="png", dpi=120)


def load_matplotlib() -> Any:
    """Return matplotlib's `Figure`, which draws without a display.

    Raises:
        ElirError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ElirError(
            f"the plot of the paths needs {error.name}, which is not installed",
            fix="install the `evaluate` extra, or pass --flow 0",
        ) from error
    return Figure
