"""The cost of collapsible blocks in training, for single layers and for whole steps.

`layers` compares one convolution with the collapsed kernel against the expanded pair of
convolutions. `steps` compares training steps that compute each kernel once against steps that
compute it at every use (v at t, at t + dt and at the segment's end). Both print the differences of
values and gradients (`layers` in float64), and the time of each form (forward and backward,
float32), measured in turns.

    python benchmarks/train.py layers
    python benchmarks/train.py steps
"""

import contextlib
import copy
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.options import JsonFile
from elir_edge.console import console, run_app
from elir_edge.data.datasets import Share
from elir_edge.files import write_json
from elir_edge.model import CollapsibleConv2d, Elir, initialize
from elir_edge.model.collapsible import expanded_forward
from elir_edge.train import objectives
from elir_edge.train.objectives import BatchDraws, RestorationObjective, StepImages, lcfm_settings
from elir_edge.train.presets import get_preset

SHAPES = {
    "nano, vector field, 128 px crops": (16, 48, 48, 16),
    "paper, vector field level 1, 256 px": (8, 128, 128, 32),
    "paper, vector field level 2, 256 px": (8, 256, 256, 16),
    "paper, last dense convolution, 256 px": (8, 400, 16, 32),
}
"""Batch, input and output channels, side of the feature map."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Form = Callable[[CollapsibleConv2d, Tensor], Tensor]


def _step(form: Form, block: CollapsibleConv2d, x: Tensor) -> list[Tensor]:
    y = form(block, x)
    parameters = list(block.parameters())
    return [y, *torch.autograd.grad(y.square().mean(), [x, *parameters])]


def _difference(block: CollapsibleConv2d, x: Tensor) -> float:
    """Return the largest difference of outputs and gradients, relative to each one's largest."""
    block, x = block.double(), x.double().detach().requires_grad_(True)
    pairs = zip(_step(lambda b, x: b(x), block, x), _step(expanded_forward, block, x), strict=True)
    worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    block.float()
    return worst


@app.command()
def layers(
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each form.")] = 15,
    out: JsonFile = None,
) -> None:
    """Measure single layers and print a table."""
    table = Table("layer", "worst relative difference", "expanded ms", "collapsed ms", "ratio")
    report = []
    for name, (batch, inputs, outputs, side) in track(SHAPES.items(), console=console):
        generator = torch.Generator().manual_seed(0)
        block = CollapsibleConv2d(inputs, outputs, 4)
        initialize(block, generator)
        x = torch.randn(batch, inputs, side, side, generator=generator)
        difference = _difference(block, x)
        x.requires_grad_(True)
        times: dict[str, list[float]] = {"expanded": [], "collapsed": []}
        forms: dict[str, Form] = {"expanded": expanded_forward, "collapsed": lambda b, x: b(x)}
        for i in range(rounds + 2):
            for form, call in forms.items():
                started = time.perf_counter()
                _step(call, block, x)
                if i >= 2:
                    times[form].append(1000 * (time.perf_counter() - started))
        slow, fast = (float(np.median(times[form])) for form in forms)
        report.append(
            {
                "layer": name,
                "worst_relative_difference": difference,
                "expanded_ms": round(slow, 2),
                "collapsed_ms": round(fast, 2),
                "ratio": round(slow / fast, 2),
            }
        )
        table.add_row(name, f"{difference:.1e}", f"{slow:.1f}", f"{fast:.1f}", f"{slow / fast:.2f}")
    console.print(table)
    if out is not None:
        write_json(out, report)


def _gradients(objective: RestorationObjective, model: Elir, images: StepImages) -> list[Tensor]:
    draws = BatchDraws(generator=torch.Generator().manual_seed(0), share=Share())
    loss = objective.losses(model, images, draws, 0)["total"]
    learning = [p for p in model.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, learning))


def _objective(preset: str, side: int) -> tuple[RestorationObjective, Elir]:
    """Return a run's objective with all of its terms, and its model, seeded."""
    config = dataclasses.replace(
        get_preset(preset, "sr"), crop_size=side, coarse_steps=0, refine_steps=0, unrolled_steps=0
    )
    model = Elir(config.model)
    initialize(model, torch.Generator().manual_seed(0))
    model.decoder.requires_grad_(False)
    target = copy.deepcopy(model.encoder).requires_grad_(False)
    return RestorationObjective(
        target_encoder=target, settings=lcfm_settings(config), sigma_s=config.model.sigma_s
    ), model


def _images(batch: int, side: int) -> StepImages:
    clean, degraded = torch.rand(
        2, batch, 3, side, side, generator=torch.Generator().manual_seed(1)
    )
    return StepImages(clean=clean, degraded=degraded)


@contextlib.contextmanager
def _every_use(module: ModuleType) -> Iterator[None]:
    """Let steps compute each kernel at every use, as they did before."""
    kept = module.collapsed_once
    module.collapsed_once = lambda model: contextlib.nullcontext()
    try:
        yield
    finally:
        module.collapsed_once = kept


@app.command()
def steps(
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each form.")] = 7,
    side: Annotated[int, typer.Option(help="Of the crops, in pixels.")] = 128,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    out: JsonFile = None,
) -> None:
    """Measure whole steps of `sr` at batches of 1, 4 and 16, and print a table."""
    torch.set_num_threads(threads)
    forms = {"every use": lambda: _every_use(objectives), "once": contextlib.nullcontext}
    table = Table("preset", "batch", "worst relative difference", *(f"{f}, ms" for f in forms))
    table.add_column("ratio")
    report = []
    for preset in ("nano", "paper"):
        objective, model = _objective(preset, side)
        for batch in (1, 4, 16):
            images = _images(batch, side)
            times: dict[str, list[float]] = {form: [] for form in forms}
            for i in range(rounds + 1):  # the first of each is not counted
                for form, context in forms.items():
                    started = time.perf_counter()
                    with context():
                        _gradients(objective, model, images)
                    if i:
                        times[form].append(1000 * (time.perf_counter() - started))
            ratios = np.divide(times["every use"], times["once"])
            row = {
                "preset": preset,
                "batch": batch,
                "side": side,
                "threads": threads,
                "worst_relative_difference": _step_difference(preset, forms),
                **{
                    f"{form.replace(' ', '_')}_ms": round(float(np.median(times[form])), 1)
                    for form in forms
                },
                "ratio": round(float(np.median(ratios)), 3),
                "ratio_quartiles": [round(float(q), 3) for q in np.quantile(ratios, (0.25, 0.75))],
            }
            report.append(row)
            table.add_row(
                *(
                    f"{v:.3g}" if isinstance(v, float) else str(v)
                    for k, v in row.items()
                    if k not in ("side", "threads", "ratio_quartiles")
                )
            )
    console.print(table)
    if out is not None:
        write_json(out, report)


def _step_difference(preset: str, forms: Mapping[str, Callable[[], Any]]) -> float:
    """Return the largest difference of the forms' gradients, relative to each one's largest.

    In float32, which the objective computes in, on one crop of 64: sums in another order. That a
    block's own gradients are the same in float64 is a test's part.
    """
    objective, model = _objective(preset, 64)
    images = _images(1, 64)
    results = []
    for context in forms.values():
        with context():
            results.append(_gradients(objective, model, images))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*results, strict=True))


if __name__ == "__main__":
    run_app(app)
