"""Collapsible blocks: convolving once with the collapsed kernel, against the expanded pair.

Same function, same gradients (printed, float64), and the time of one training step of each form
(forward and backward, float32), taken in turns.

    python benchmarks/train.py
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from rich.table import Table
from torch import Tensor

from elir_edge.console import console, run_app
from elir_edge.files import write_json
from elir_edge.model import CollapsibleConv2d, initialize
from elir_edge.model.collapsible import expanded_forward

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
def run(
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of each form.")] = 15,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
) -> None:
    """Measure and print a table."""
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


if __name__ == "__main__":
    run_app(app)
