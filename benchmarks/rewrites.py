"""The speed-up of each exact rewrite in ONNX Runtime (float32), measured in turns in one process.

python benchmarks/rewrites.py                            the published `sr` sizes, random weights
python benchmarks/rewrites.py --model nano
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import torch
import typer
from rich.progress import track
from rich.table import Table

from benchmarks.options import JsonFile
from elir_edge.console import console, run_app
from elir_edge.errors import UsageError
from elir_edge.files import write_json
from elir_edge.model import Elir, draw_noise, initialize, nano_config, paper_config_for
from elir_edge.runtime.backends import open_backend
from export.onnx_graph.to_onnx import IMAGE, to_probe_graph, to_shipped_graph
from export.static.rewrites import REWRITES
from export.static.unroll import static_form

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    model: Annotated[str, typer.Option(help="paper or nano.")] = "paper",
    size: Annotated[int, typer.Option(help="Side of the image, pixels.")] = 256,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Timed runs of each form.")] = 30,
    out: JsonFile = None,
) -> None:
    """Measure and print a table; each row adds one rewrite to those above it."""
    configs = {
        "paper": paper_config_for("sr", num_steps=3, sigma_s=0.1),
        "nano": nano_config(),
    }
    if model not in configs:
        raise UsageError(f"unknown model {model!r}", expected="paper or nano")
    network = Elir(configs[model]).eval().requires_grad_(False)
    initialize(network, torch.Generator().manual_seed(0))
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    static = static_form(network, draw_noise(network.config, size, size))
    counts = {"none": 0}
    with tempfile.TemporaryDirectory() as folder:
        backends = {}
        for name in track(["none", *REWRITES], description="exporting", console=console):
            if name != "none":
                done = REWRITES[name](static)
                static, counts[name] = done.static, done.count
            path = Path(folder) / f"{name}.onnx"
            onnx.save(to_shipped_graph(to_probe_graph(static, image, None), {}), path)
            backends[name] = open_backend("onnxruntime", path, threads)
        times: dict[str, list[float]] = {name: [] for name in backends}
        for i in track(range(rounds + 3), description="measuring", console=console):
            for name, backend in backends.items():
                started = time.perf_counter()
                backend.run({IMAGE: image.numpy()})
                if i >= 3:
                    times[name].append(1000 * (time.perf_counter() - started))
    _report(counts, times, f"{model}, {size} x {size}, {threads} threads", out)


def _report(
    counts: dict[str, int], times: dict[str, list[float]], title: str, out: Path | None
) -> None:
    base = float(np.median(times["none"]))
    table = Table("cumulative", "applied", "median ms", "ratio to none", title=title)
    rows = []
    for name, values in times.items():
        median = float(np.median(values))
        table.add_row(name, str(counts[name]), f"{median:.1f}", f"{base / median:.3f}")
        rows.append(
            {
                "rewrite": name,
                "applied": counts[name],
                "median_ms": round(median, 2),
                "ratio": round(base / median, 3),
            }
        )
    console.print(table)
    if out is not None:
        write_json(out, {"title": title, "rows": rows})


if __name__ == "__main__":
    run_app(app)
