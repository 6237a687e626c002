"""Do few segments need longer training? Measures how far a segment's target is propagated.

Vector fields of `nano` are trained with LCFM (beta 0) on fixed latents of the shipped `sr`
checkpoint, so that steps are cheap and many can be taken. In a segment of length 1 / K, the true
point is known only at the end. All other targets come from the field itself at t + dt, so the
target propagates to the start over 1 / (K dt) intervals. If a short run were too short for that, a
longer one would show a larger field at t = 0 (mean square, relative to that of the path's velocity)
and a sharper image.

    python benchmarks/propagation.py --data photos/train --validation photos/val
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.options import JsonFile
from benchmarks.scores import mean_score, score
from elir_edge.checkpoints.own import build_model, embedded_path, read_autoencoder, read_checkpoint
from elir_edge.console import console, run_app
from elir_edge.data.datasets import (
    Crops,
    PhotoCache,
    centre_crop,
    list_images,
    read_rgb,
    stack,
    to_float,
)
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage
from elir_edge.data.tensors import to_image
from elir_edge.files import write_json
from elir_edge.flow.losses import LcfmSettings, lcfm_terms
from elir_edge.flow.segments import draw_times
from elir_edge.model import Elir, draw_noise, initialize
from elir_edge.train.ema import WeightAverage

_TASK, _SIZE, _SEED, _DT = "sr", 64, 1, 0.05
_BATCH = 16
_RATE = 1e-3
_ALPHA = 0.001
RUNS = ((5, 1), (3, 1), (1, 1), (1, 4))
"""K, and the length of the run as a multiple of --steps."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos to learn from.")],
    validation: Annotated[Path, typer.Option(help="Folder of photos that no model saw.")],
    steps: Annotated[int, typer.Option(min=1, help="Of the shorter runs.")] = 3000,
    crops: Annotated[int, typer.Option(min=16, help="Crops whose latents are kept.")] = 3000,
    every: Annotated[int, typer.Option(min=1, help="Use every n-th photo only.")] = 5,
    out: JsonFile = None,
) -> None:
    """Train the fields, measure them and print a table."""
    model = build_model(read_checkpoint(embedded_path(_TASK), task=_TASK))
    learned, unseen = _kept_latents(model, data, crops), _unseen(validation, every)
    rows: list[dict[str, Any]] = []
    for num_steps, times in RUNS:
        trained = _train(model, learned, num_steps, times * steps)
        rows.append({"k": num_steps, "steps": times * steps} | _measure(trained, unseen))
    table = Table("K", "intervals in a segment", "steps", "v at t = 0", "PSNR, dB", "sharpness")
    for row in rows:
        table.add_row(
            str(row["k"]),
            f"{1 / (row['k'] * _DT):.1f}",
            str(row["steps"]),
            f"{row['v_at_0']:.3f}",
            f"{row['psnr_db']:.2f}",
            f"{row['sharpness']:.2f}",
        )
    console.print(table)
    if out is not None:
        write_json(out, {"crops": crops, "num_photos": len(unseen), "dt": _DT, "rows": rows})


@torch.no_grad()
def _latents(model: Elir, images: list[FloatImage], first: int) -> tuple[Tensor, Tensor]:
    """Return coarse latents of the degraded images, and the autoencoder's of the clean ones."""
    start = read_autoencoder(None, model.config)
    encoder = Elir(model.config).encoder
    encoder.load_state_dict(start.encoder)
    degraded = [
        degrade(_TASK, image, np.random.default_rng([_SEED, first + i]))
        for i, image in enumerate(images)
    ]
    z = model.initial_point(torch.from_numpy(stack(degraded)))
    return z, encoder(torch.from_numpy(stack(images)))


def _kept_latents(model: Elir, data: Path, count: int) -> tuple[Tensor, Tensor]:
    crops = Crops(photos=PhotoCache(list_images(data), 4 << 30), size=_SIZE)
    pairs = []
    for first in track(range(0, count, _BATCH), description="latents", console=console):
        views = [crops.draw(np.random.default_rng([_SEED, first + i])) for i in range(_BATCH)]
        pairs.append(_latents(model, views, first))
    z, z_1 = (torch.cat(each) for each in zip(*pairs, strict=True))
    return z, z_1


def _unseen(folder: Path, every: int) -> list[FloatImage]:
    return [to_float(centre_crop(read_rgb(path), 256)) for path in list_images(folder)[::every]]


def _train(model: Elir, latents: tuple[Tensor, Tensor], num_steps: int, steps: int) -> Elir:
    """Return the model with a new field of K segments, its weights averaged (decay 0.999)."""
    config = dataclasses.replace(model.config, num_steps=num_steps)
    trained = Elir(config)
    initialize(trained, torch.Generator().manual_seed(_SEED))
    for part in ("encoder", "coarse", "decoder"):
        getattr(trained, part).load_state_dict(getattr(model, part).state_dict())
    settings = LcfmSettings(num_segments=num_steps, dt=_DT, alpha=_ALPHA, beta=0)
    field, generator = trained.velocity, torch.Generator().manual_seed(_SEED)
    optimizer = torch.optim.AdamW(field.parameters(), lr=_RATE, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    average = WeightAverage(field, 0.999)
    z, z_1 = latents
    for step in track(range(1, steps + 1), description=f"K = {num_steps}", console=console):
        chosen = torch.randint(len(z), (_BATCH,), generator=generator)
        noise = config.sigma_s * torch.randn(z[chosen].shape, generator=generator)
        t = draw_times(_BATCH, _DT, generator)
        terms = lcfm_terms(
            field, torch.nn.Identity(), z[chosen] + noise, z_1[chosen], z_1, t, settings
        )
        optimizer.zero_grad(set_to_none=True)
        terms.total(settings).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        average.update(step)
    field.load_state_dict(average.average)
    return trained.eval().requires_grad_(False)


@torch.no_grad()
def _measure(model: Elir, photos: list[FloatImage]) -> dict[str, float]:
    speeds, scores = [], {}
    for index, clean in enumerate(photos):
        z, z_1 = _latents(model, [clean], index)
        z_0 = z + draw_noise(model.config, 256, 256)
        at_start = model.velocity(z_0, torch.zeros(1))
        speeds.append(float(at_start.square().mean() / (z_1 - z_0).square().mean()))
        restored = to_image(model.decoder(model.trajectory(z_0)[-1]))
        scores[index] = score(clean, restored)
    mean = mean_score(scores, range(len(photos)))
    assert mean is not None
    return {
        "v_at_0": float(np.mean(speeds)),
        "psnr_db": mean.psnr_db,
        "sharpness": mean.sharpness,
    }


if __name__ == "__main__":
    run_app(app)
