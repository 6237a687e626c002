"""What makes a large checkpoint faster, and what that costs: distilled forms, a slim decoder.

    python benchmarks/faster.py --task sr --checkpoint elir_sr.pth --also slim-encoder.safetensors
        --also one-step.safetensors --data photos/val --metric-weights weights

Each checkpoint comes with its own decoder and with the slim one, if its own is TAESD3's. Scores are
means over every n-th photo (centre crop, degraded with a fixed seed), in PyTorch float32. Times are
of all forms in turns, in one process; int8 as `--quick` places it, whose gates nobody checks here.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.options import JsonFile, names_of
from benchmarks.peaks import Arithmetic
from benchmarks.quantizers import RUNTIMES, case_of
from benchmarks.scores import Score, mean_score, score
from benchmarks.stage_speed import PRECISIONS, chosen, graphs_of
from elir_edge.checkpoints.own import Checkpoint, build_model, read_checkpoint
from elir_edge.checkpoints.slim import with_slim_decoder
from elir_edge.console import console, counting_progress, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.errors import CheckpointError, UsageError
from elir_edge.evaluation.file_metrics import open_file_metric
from elir_edge.evaluation.perceptual import ImageScore
from elir_edge.files import write_json
from elir_edge.machine import processor_name
from elir_edge.model import Elir, draw_noise
from elir_edge.model.macs import collapsed_macs
from elir_edge.tasks import get_task
from export.calibration.judge import feed_of
from export.calibration.photos import load_calibration
from export.calibration.timing import ModelRunner, time_in_turns
from export.qdq.running import running
from export.request import require_fitting_size

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_SLIM = " + slim decoder"
_CROPS = 4


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form of a checkpoint.

    Attributes:
        name: the file's name, and whether the decoder is the slim one.
        gmac: at the size that is measured.
    """

    name: str
    model: Elir
    gmac: float


@app.command()
def main(
    task: Annotated[str, typer.Option(help="Task of the checkpoints.")],
    checkpoint: Annotated[Path, typer.Option(help="The one that the others are compared with.")],
    data: Annotated[Path, typer.Option(help="Folder of photos that nothing has seen.")],
    also: Annotated[
        list[Path] | None, typer.Option(help="Another form of it; may be repeated.")
    ] = None,
    metric_weights: Annotated[
        Path | None, typer.Option(help="Folder with LPIPS-squeeze's weights.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Side, pixels; default: the task's.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Score every n-th photo only.")] = 5,
    precision: Annotated[str, typer.Option(help="Comma-separated: fp32, int8.")] = "fp32,int8",
    runtime: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(RUNTIMES),
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each form.")] = 5,
    out: JsonFile = None,
) -> None:
    """Measure and print a table."""
    precisions = chosen("precision", precision, PRECISIONS)
    runtimes = chosen("runtime", runtime, RUNTIMES)
    side = get_task(task).image_size if size is None else size
    metrics = {}
    if metric_weights is not None:
        metrics["lpips"] = open_file_metric("lpips-squeeze", metric_weights)
    photos = list_images(data)[::every]
    paths = [checkpoint, *(also or [])]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("--also names a checkpoint that is there already", fix="leave it out")
    forms = [
        form
        for path, name in zip(paths, names_of(paths), strict=True)
        for form in _forms(path, name, task, side)
    ]
    with counting_progress() as bar:
        scores = [
            mean_of(form.model, task, photos, side, metrics)
            for form in bar.track(forms, description="scoring")
        ]
    times = _times(forms, task, side, precisions, runtimes, threads=threads, rounds=rounds)
    title = f"{task}, {side} pixels, {len(photos)} photos, {threads} threads"
    console.print(_table(title, forms, scores, times))
    if out is not None:
        report = {"task": task, "size": side, "photos": len(photos), "threads": threads}
        report |= {"processor": processor_name(), "rows": _rows(forms, scores, times)}
        write_json(out, report)


def _forms(path: Path, name: str, task: str, side: int) -> list[Form]:
    read = read_checkpoint(path, task=task)
    forms = [_form(name, read, side)]
    try:
        slim = with_slim_decoder(read)
    except CheckpointError as error:
        console.print(f"no form with the slim decoder: {error.what}", markup=False, soft_wrap=True)
        return forms
    return [*forms, _form(name + _SLIM, slim, side)]


def _form(name: str, read: Checkpoint, side: int) -> Form:
    model = build_model(read)
    require_fitting_size(side, model)
    return Form(name=name, model=model, gmac=collapsed_macs(read.config, side) / 1e9)


@torch.inference_mode()
def mean_of(
    model: Elir, task: str, photos: Sequence[Path], side: int, metrics: Mapping[str, ImageScore]
) -> Score:
    """Return a model's mean scores on the photos' centres.

    Raises:
        UsageError: there is no photo.
    """
    noise = draw_noise(model.config, side, side)
    scores = {}
    for index, path in enumerate(photos):
        clean = to_float(centre_crop(read_rgb(path), side))
        degraded = degrade(task, clean, np.random.default_rng([1, index]))
        scores[index] = score(clean, to_image(model(to_batch(degraded), noise)), metrics)
    mean = mean_score(scores, scores)
    if mean is None:
        raise UsageError("there is no photo to score")
    return mean


Times = Mapping[tuple[Arithmetic, str], list[float]]
"""Median milliseconds of each form, by precision and runtime."""


def _times(
    forms: Sequence[Form],
    task: str,
    side: int,
    precisions: Sequence[str],
    runtimes: Sequence[str],
    *,
    threads: int,
    rounds: int,
) -> Times:
    calibration = load_calibration(task, side, None, crops=_CROPS)
    feed = feed_of(calibration.gates[0], 1, None)
    graphs = [
        graphs_of(case_of(form.model, calibration, side), precisions, runtimes) for form in forms
    ]
    times = {}
    with counting_progress() as bar:
        for key in bar.track([*graphs[0]], description="timing"):
            with contextlib.ExitStack() as stack:
                runs: list[ModelRunner] = [
                    stack.enter_context(running(each[key], key[1], threads)) for each in graphs
                ]
                taken = time_in_turns(runs, feed, rounds=rounds)
            times[key] = [float(np.median(each)) for each in taken]
    return times


def _rows(forms: Sequence[Form], scores: Sequence[Score], times: Times) -> list[dict[str, object]]:
    return [
        {
            "form": form.name,
            "gmac": round(form.gmac, 2),
            "psnr_db": scores[index].psnr_db,
            "lpips": scores[index].lpips,
            "sharpness": scores[index].sharpness,
            "milliseconds": {
                f"{precision} {runtime}": round(each[index], 2)
                for (precision, runtime), each in times.items()
            },
            "ratios": {
                f"{precision} {runtime}": round(each[0] / each[index], 3)
                for (precision, runtime), each in times.items()
            },
        }
        for index, form in enumerate(forms)
    ]


def _table(title: str, forms: Sequence[Form], scores: Sequence[Score], times: Times) -> Table:
    names = [f"{precision} {runtime}, ms (ratio)" for precision, runtime in times]
    table = Table("form", "GMAC", "PSNR, dB", "LPIPS", "sharpness", *names, title=title)
    for index, (form, mean) in enumerate(zip(forms, scores, strict=True)):
        table.add_row(
            form.name,
            f"{form.gmac:.1f}",
            f"{mean.psnr_db:.2f}",
            "" if mean.lpips is None else f"{mean.lpips:.3f}",
            "" if mean.sharpness is None else f"{mean.sharpness:.2f}",
            *(f"{each[index]:.1f} ({each[0] / each[index]:.2f})" for each in times.values()),
        )
    return table


if __name__ == "__main__":
    run_app(app)
