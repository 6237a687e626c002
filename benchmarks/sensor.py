"""Models for Sony's IMX500: their memory, their quality, and an estimate of their speed.

    python benchmarks/sensor.py --data photos/val --runs runs/sensor --out benchmarks/results/sensor

Memory is taken from the converter's report with random weights, since it depends only on shapes.
PSNR is measured on centre crops of the photos in float32, for the shipped weights with K Euler
steps (K = 0: the coarse estimate alone) and for the candidates of `sensor_candidates.py`. The chip
was never available, so frames per second are an estimate.
"""

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track
from rich.table import Table

from benchmarks.classical import degraded_photo
from benchmarks.scores import SSIM_NAMES, Score, mean_score, score
from elir_edge.checkpoints.own import build_model, embedded_path, read_checkpoint
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.errors import CheckpointError
from elir_edge.files import write_json
from elir_edge.model import Elir, ModelConfig, draw_noise, initialize
from elir_edge.model.config import sensor_config
from elir_edge.model.macs import macs_of
from export.static.rewrites import REWRITES
from export.static.unroll import static_form
from export.targets.imx500.convert import MEGABYTE, Memory, convert
from export.targets.imx500.environment import CONVERTER, environment, require_java
from export.targets.imx500.fit import estimate
from export.targets.imx500.handover import ModelDescription
from export.targets.imx500.mct import QUANTIZED
from export.targets.imx500.quantizing import quantize
from export.targets.imx500.target import Imx500Target

MACS_PER_SECOND = 2304 * 262.5e6
"""Multiply-accumulators times clock; not checked against a publication of the chip's makers."""
UTILISATION = 0.3
"""A guess: what large networks reach on processors of this kind."""
FORMULA = (
    "frames/s = 2304 x 262.5 MHz x 0.3 / multiply-accumulates per image; the 0.3 is a guess, the "
    "other two were not checked"
)
_SIZES, _TASKS, _STEPS = (128, 192, 256), ("denoising", "sr"), (0, 1, 3)
_CANDIDATES = (
    (128, 32, 3),
    (192, 32, 3),
    (256, 32, 3),
    (256, 32, 1),
    (256, 32, 5),
    (256, 48, 3),
    (256, 64, 3),
    (288, 32, 3),
)
"""Size, width of the vector field, K."""
_TRAINED_SIZE = 256

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def frames_per_second(macs: int) -> float:
    """Estimate (`FORMULA`); nothing of it was measured."""
    return MACS_PER_SECOND * UTILISATION / macs


def estimate_line(size: int = 256) -> str:
    """Return the sensor's line for `fps.py`."""
    model = Elir(sensor_config())
    macs, fit = sum(macs_of(model, size).values()), estimate(model, size)
    memory = (fit.weights_bytes + fit.running_bytes) / MEGABYTE
    return (
        f"IMX500, sensor at {size}: not measured; estimate {frames_per_second(macs):.0f} frames/s "
        f"({FORMULA}; {macs / 1e9:.2f} G of them), memory about {memory:.1f} of 8 MB; the "
        "converter reports no cycles"
    )


def memory_of(config: ModelConfig, size: int) -> Memory:
    """Return the converter's report for random weights of these shapes."""
    model = Elir(config).eval().requires_grad_(False)
    initialize(model, torch.Generator().manual_seed(0))
    static = static_form(model, draw_noise(config, size, size))
    rewrites = Imx500Target.rewrites["int8"]
    for name in rewrites:
        static = REWRITES[name](static).static
    description = ModelDescription(config=config, rewrites=rewrites, size=size)
    image = np.random.default_rng(0).random((size, size, 3), np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quantize(static, description, [image], folder, console.print)
        converter = environment(CONVERTER, console.print)
        memory, _ = convert(
            converter, folder / QUANTIZED, folder / "out", report_only=True, require_fit=False
        )
    return memory


@torch.no_grad()
def quality(checkpoint: Path, task: str, paths: list[Path], size: int) -> dict[int, Score]:
    """Return the mean scores of a checkpoint by K: `_STEPS`, and what it was trained for."""
    model = build_model(read_checkpoint(checkpoint, task=task))
    noise = draw_noise(model.config, size, size)
    steps = sorted({*_STEPS, model.config.num_steps})
    scores: dict[int, dict[int, Score]] = {k: {} for k in steps}
    described = f"{checkpoint.parent.name}/{checkpoint.stem} {size}"
    for i, path in enumerate(track(paths, description=described, console=console)):
        clean = to_float(centre_crop(read_rgb(path), size))
        z = model.initial_point(to_batch(degraded_photo(task, clean, [1, i]).image))
        for k in steps:
            end = model.trajectory(z + noise, k)[-1] if k else z
            scores[k][i] = score(clean, to_image(model.decoder(end)))
    return {k: _mean(values) for k, values in scores.items()}


def _mean(scores: dict[int, Score]) -> Score:
    mean = mean_score(scores, scores)
    assert mean is not None
    return mean


def _trained(runs: Path, paths: list[Path]) -> list[dict[str, Any]]:
    """Return a row per candidate, and one of the coarse image that all of them start from.

    Raises:
        CheckpointError: one was not trained yet.
    """
    from benchmarks.sensor_candidates import CANDIDATES, STEPS, TASK, checkpoint_of

    rows: list[dict[str, Any]] = []
    for width, k in CANDIDATES:
        path = checkpoint_of(runs, width, k)
        if not path.exists():
            raise CheckpointError(
                f"{path} was not trained yet",
                fix=f"python benchmarks/sensor_candidates.py --data photos/train --out {runs}",
            )
        scores = quality(path, TASK, paths, _TRAINED_SIZE)
        if not rows:
            rows.append({"width": 0, "K": 0, "steps": 0} | dataclasses.asdict(scores[0]))
        rows.append({"width": width, "K": k, "steps": STEPS} | dataclasses.asdict(scores[k]))
    return rows


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos that no model saw.")],
    runs: Annotated[
        Path | None, typer.Option(help="Folder of `sensor_candidates.py`; left out: none of them.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write OUT.json and OUT.md.")] = None,
) -> None:
    """Measure memory and quality, print and write the tables."""
    require_java()
    paths = list_images(data)
    trained = _trained(runs, paths) if runs else []
    scores = {
        size: {
            task: {
                f"K={k}": mean.psnr_db
                for k, mean in quality(embedded_path(task, "sensor"), task, paths, size).items()
            }
            for task in _TASKS
        }
        for size in _SIZES
    }
    rows = []
    for size, width, k in track(_CANDIDATES, description="memory", console=console):
        config = dataclasses.replace(sensor_config(num_steps=k), velocity_width=width)
        memory = memory_of(config, size)
        macs = sum(macs_of(Elir(config), size).values())
        shipped = width == sensor_config().velocity_width and size in scores
        rows.append(
            {
                "size": size,
                "width": width,
                "K": k,
                "memory": dataclasses.asdict(memory),
                "gmacs": round(macs / 1e9, 3),
                "estimated_fps": round(frames_per_second(macs)),
                "psnr_db": {t: round(scores[size][t][f"K={k}"], 2) for t in _TASKS}
                if shipped and k in _STEPS
                else {},
            }
        )
    table = Table(
        "size", "width", "K", "weights MB", "running MB", "fits 8 MB", *_TASKS, "est. fps"
    )
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    if out is not None:
        content = {
            "rows": rows,
            "psnr_db": scores,
            "trained": trained,
            "photos": len(paths),
            "formula": FORMULA,
        }
        write_json(out.with_suffix(".json"), content)
        text = _markdown(rows, scores, len(paths)) + _trained_markdown(rows, trained)
        out.with_suffix(".md").write_text(text)


def _cells(row: dict[str, Any]) -> list[str]:
    memory, quality_db = row["memory"], row["psnr_db"]
    return [
        *(str(row[key]) for key in ("size", "width", "K")),
        f"{memory['weights'] / MEGABYTE:.2f}",
        f"{memory['running'] / MEGABYTE:.2f}",
        "yes" if memory["fits"] else "no",
        *(f"{quality_db[task]:.2f}" if quality_db else "-" for task in _TASKS),
        str(row["estimated_fps"]),
    ]


def _markdown(rows: list[dict[str, Any]], scores: dict[int, Any], photos: int) -> str:
    heads = ["size", "width", "K", "weights MB", "running MB", "fits", *_TASKS, "est. frames/s"]
    lines = [
        "# The sensor: memory x size x width x K x PSNR",
        "",
        "Memory: the converter's report, random weights. PSNR in dB: shipped weights, float32, "
        f"{photos} photos; K = 1 runs the field that was trained for 3 steps in one. Frames/s: an "
        f"estimate, {FORMULA}.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *("| " + " | ".join(_cells(row)) + " |" for row in rows),
        "",
        "| task, size | " + " | ".join(f"K = {k}" for k in _STEPS) + " |",
        "|" + "---|" * (1 + len(_STEPS)),
    ]
    for size, tasks in scores.items():
        for task, by_k in tasks.items():
            cells = " | ".join(f"{by_k[f'K={k}']:.2f}" for k in _STEPS)
            lines.append(f"| {task}, {size} | {cells} |")
    return "\n".join(lines) + "\n"


def _trained_markdown(rows: list[dict[str, Any]], trained: list[dict[str, Any]]) -> str:
    if not trained:
        return ""
    from benchmarks.sensor_candidates import TASK

    ssim = next(key for key in ("ssim_y", "ssim_rgb") if key in trained[0])
    lines = [
        "",
        f"Fields trained alike for `{TASK}` at {_TRAINED_SIZE}, on one encoder and one coarse "
        "estimator (first row: the coarse image itself). Sharpness: mean absolute Laplacian, "
        "relative to the clean photo's.",
        "",
        f"| width | K | steps | PSNR dB | {SSIM_NAMES[ssim]} | sharpness | weights MB | "
        "est. frames/s |",
        "|" + "---|" * 8,
    ]
    for row in trained:
        same = [
            r
            for r in rows
            if (r["size"], r["width"], r["K"]) == (_TRAINED_SIZE, row["width"], row["K"])
        ]
        costs = [
            f"{same[0]['memory']['weights'] / MEGABYTE:.2f}" if same else "-",
            str(same[0]["estimated_fps"]) if same else "-",
        ]
        quality_cells = [f"{row['psnr_db']:.3f}", f"{row[ssim]:.4f}", f"{row['sharpness']:.3f}"]
        cells = [str(row["width"]), str(row["K"]), str(row["steps"]), *quality_cells, *costs]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_app(app)
