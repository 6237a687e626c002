"""Distortion of a checkpoint on photos, next to what bounds it.

    python benchmarks/quality.py --data photos/val              the shipped denoising checkpoint
    python benchmarks/quality.py --data photos/val --sheet crops.png    and some of the results

Every photo is cropped to its centre and degraded with a fixed seed. Columns: the degraded input,
the clean photo through the frozen autoencoder (what its latent cannot hold, nothing behind it can
restore), the coarse estimate, and the full flow.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.progress import track
from rich.table import Table

from elir_edge.checkpoint import build_model, embedded_path, read_autoencoder, read_checkpoint
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import FloatImage, degrade, to_uint8
from elir_edge.files import replacing_file
from elir_edge.metrics import psnr
from elir_edge.model import Elir, draw_noise
from elir_edge.tasks import AUTOENCODER

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_SEED = 0


@torch.no_grad()
def restorations(
    model: Elir, frozen: torch.nn.Module, clean: FloatImage, degraded: FloatImage
) -> dict[str, FloatImage]:
    """Return every column's image for one photo (H, W, 3) in [0, 1]."""
    x, y = (torch.from_numpy(image).permute(2, 0, 1)[None] for image in (clean, degraded))
    noise = draw_noise(model.config, *clean.shape[:2], seed=_SEED)
    z = model.initial_point(y)
    images = {
        "through the autoencoder": model.decoder(frozen(x)),
        "coarse only": model.decoder(z),
        "full": model.decoder(model.trajectory(z + noise)[-1]),
    }
    columns = {name: i.clamp(0, 1)[0].permute(1, 2, 0).numpy() for name, i in images.items()}
    return {"input": degraded, **columns}


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos the model never saw.")],
    task: Annotated[str, typer.Option(help="The task.")] = "denoising",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    autoencoder: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    size: Annotated[int, typer.Option(help="Side of the centre crop.")] = 256,
    every: Annotated[int, typer.Option(min=1, help="Use every n-th photo only.")] = 1,
    sheet: Annotated[Path | None, typer.Option(help="Write a picture of six photos.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
) -> None:
    """Measure and print a table."""
    model = build_model(read_checkpoint(checkpoint or embedded_path(task), task=task))
    frozen = _frozen_encoder(model, autoencoder)
    paths = list_images(data)[::every]
    scores: dict[str, list[float]] = {}
    rows: list[FloatImage] = []
    shown = set(range(0, len(paths), max(1, len(paths) // 6)))
    for i, path in enumerate(track(paths, description="restoring", console=console)):
        clean = to_float(centre_crop(read_rgb(path), size))
        degraded = degrade(task, clean, np.random.default_rng([_SEED, i]))
        images = restorations(model, frozen, clean, degraded)
        for name, image in images.items():
            scores.setdefault(name, []).append(psnr(clean, image))
        if sheet is not None and i in shown:
            rows.append(np.concatenate([*images.values(), clean], axis=1))
    table = Table("", "mean PSNR dB", "worst", "best", title=f"{task}, {len(paths)} photos")
    for name, values in scores.items():
        table.add_row(name, f"{np.mean(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}")
    console.print(table)
    if sheet is not None:
        with replacing_file(sheet) as temporary:
            Image.fromarray(to_uint8(np.concatenate(rows[:6], axis=0))).save(temporary)
        console.print(f"columns of {sheet}: {' | '.join([*scores, 'clean'])}")
    if out is not None:
        means = {name: round(float(np.mean(values)), 3) for name, values in scores.items()}
        report = {"task": task, "photos": len(paths), "size": size, "mean_psnr_db": means}
        with replacing_file(out) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n")


def _frozen_encoder(model: Elir, path: Path | None) -> torch.nn.Module:
    start = read_autoencoder(path or embedded_path(AUTOENCODER), model.config)
    frozen = Elir(model.config).encoder
    frozen.load_state_dict(start.encoder)
    return frozen.eval().requires_grad_(False)


if __name__ == "__main__":
    run_app(app)
