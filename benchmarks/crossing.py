"""Compares the paper's loss and the published code's on pairs that cross a segment's end.

For the shipped vector field and one with random weights, on the same latents, times and noise, it
gives the mean of the flow's term f and its gradient norm, for crossing and other pairs.

    python benchmarks/crossing.py --data photos/val
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table
from torch import Tensor, nn

from benchmarks.options import JsonFile
from elir_edge.checkpoints.own import build_model, embedded_path, read_autoencoder, read_checkpoint
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, stack, to_float
from elir_edge.data.degradations import degrade
from elir_edge.files import write_json
from elir_edge.flow.losses import LcfmSettings, lcfm_terms
from elir_edge.flow.segments import segment_end
from elir_edge.model import Elir, initialize

_SIZE = 128
_SEED = 1
_ALPHA = 0.001

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos.")],
    task: Annotated[str, typer.Option(help="Whose shipped checkpoint.")] = "sr",
    photos: Annotated[int, typer.Option(min=1, help="How many photos.")] = 32,
    draws: Annotated[int, typer.Option(min=1, help="Times drawn of each kind.")] = 8,
    dt: Annotated[float, typer.Option(help="Time interval.")] = 0.05,
    out: JsonFile = None,
) -> None:
    """Measure and print a table."""
    model = build_model(read_checkpoint(embedded_path(task), task=task))
    z_0, z_1 = _latents(model, task, list_images(data)[:photos])
    random = Elir(model.config)
    initialize(random, torch.Generator().manual_seed(_SEED))
    settings = LcfmSettings(num_segments=model.config.num_steps, dt=dt, alpha=_ALPHA, beta=0)
    rows: list[dict[str, Any]] = []
    for field, network in (("shipped", model.velocity), ("random", random.velocity)):
        network.requires_grad_(True)
        for crossing in (True, False):
            times = _times(len(z_0), settings, draws, crossing=crossing)
            for loss in ("paper", "published"):
                found = _measure(network, z_0, z_1, times, dataclasses.replace(settings, loss=loss))
                rows.append({"field": field, "crossing": crossing, "loss": loss, **found})
    table = Table("field", "pairs", "loss", "f", "norm of its gradient")
    for row in rows:
        kind = "crossing" if row["crossing"] else "within"
        table.add_row(
            row["field"], kind, row["loss"], f"{row['f']:.3g}", f"{row['gradient_norm']:.3g}"
        )
    console.print(table)
    if out is not None:
        write_json(out, {"task": task, "photos": len(z_0), "draws": draws, "dt": dt, "rows": rows})


@torch.no_grad()
def _latents(model: Elir, task: str, paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Return source and target latents of photos' centres; the target is the autoencoder's."""
    start = read_autoencoder(None, model.config)
    encoder = Elir(model.config).encoder
    encoder.load_state_dict(start.encoder)
    clean, degraded = [], []
    for index, path in enumerate(paths):
        clean.append(to_float(centre_crop(read_rgb(path), _SIZE)))
        degraded.append(degrade(task, clean[-1], np.random.default_rng([_SEED, index])))
    z = model.initial_point(torch.from_numpy(stack(degraded)))
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(_SEED))
    return z + model.config.sigma_s * noise, encoder(torch.from_numpy(stack(clean)))


def _times(count: int, settings: LcfmSettings, draws: int, *, crossing: bool) -> list[Tensor]:
    """Draw batches of times of which all pairs cross a segment's end, or none does."""
    generator = torch.Generator().manual_seed(_SEED)
    t = torch.rand(100 * count * draws, generator=generator) * (1 - settings.dt)
    crosses = t + settings.dt > segment_end(t, settings.num_segments)
    return list(t[crosses == crossing][: count * draws].view(draws, count))


def _measure(
    field: nn.Module, z_0: Tensor, z_1: Tensor, times: list[Tensor], settings: LcfmSettings
) -> dict[str, float]:
    """Return the mean of f over all draws, and the norm of its mean's gradient."""
    weights = list(field.parameters())
    terms = []
    total = [torch.zeros_like(weight) for weight in weights]
    for t in times:
        f = lcfm_terms(field, nn.Identity(), z_0, z_1, z_1, t, settings).f
        terms.append(f.item())
        found: tuple[Tensor, ...] = torch.autograd.grad(f, weights)
        total = [a + b / len(times) for a, b in zip(total, found, strict=True)]
    norm = torch.stack([gradient.square().sum() for gradient in total]).sum().sqrt()
    return {"f": float(np.mean(terms)), "gradient_norm": norm.item()}


if __name__ == "__main__":
    run_app(app)
