"""`elir-edge bench`: measure how fast a bundle runs on this device."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from elir_edge.cli.options import Runtime, Threads
from elir_edge.console import console

if TYPE_CHECKING:
    from elir_edge.runtime.bench import BenchResult

EPILOG = "Example: elir-edge bench dist/denoising-nano-onnx-fp32 --threads 1"


def bench(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `make export`.")],
    threads: Threads = None,
    runtime: Runtime = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Duration of the measurement.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a bundle's run times, images per second and memory on this device."""
    from elir_edge.runtime import Restorer
    from elir_edge.runtime.bench import run_bench

    restorer = Restorer(bundle, threads=threads, runtime=runtime)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=as_json or not console.is_interactive,
    ) as bar:
        task = bar.add_task("first run", total=None)
        announced = False

        def show(passed: float, total: float, last: float) -> None:
            nonlocal announced
            bar.update(task, description=f"{last:.1f} ms", completed=passed, total=total)
            if not announced and not console.is_interactive and not as_json:
                print(
                    f"first run {last:.1f} ms; measuring for {seconds:g} s after a warm-up",
                    flush=True,
                )
            announced = True

        result = run_bench(restorer, seconds=seconds, progress=show)
    if as_json:
        print(json.dumps(_as_json(result), indent=2))
        return
    console.print(_table(result, restorer.bundle.manifest.identity.name))


def _as_json(result: "BenchResult") -> dict[str, object]:
    values = dataclasses.asdict(result)
    for name in ("model", "end_to_end"):
        values[name]["fps"] = getattr(result, name).fps
    return values


def _table(result: "BenchResult", name: str) -> Table:
    table = Table("", "median", "p90", "per second", "runs", title=name)
    for label, timing in (("model alone", result.model), ("end to end", result.end_to_end)):
        table.add_row(
            label,
            f"{timing.median:.1f} ms",
            f"{timing.p90:.1f} ms",
            f"{timing.fps:.1f}",
            str(timing.runs),
        )
    peak = result.peak_megabytes
    memory = "" if peak is None else f"; at most {peak:.0f} MB of memory"
    table.caption = f"{result.width} x {result.height} on {result.runtime}{memory}"
    return table
