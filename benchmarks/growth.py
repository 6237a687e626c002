"""How speed and peak memory grow with the side of the image, K, the batch and the threads.

    python benchmarks/growth.py --out growth.json --picture growth.png
    python benchmarks/growth.py --runtimes onnxruntime --sides 128,256,512 --rounds 2

Series, each with 1 and with 2 threads (`--threads`): whole, one graph per side, tensors in and
out; tiled, the bundle of the task's own side on pictures of every side, 8 bits in and out; K,
graphs of 1 to 5 Euler steps; batch, graphs of several images. Graphs are float32 with the weights
of `--task`.

Every point has a process of its own; those of a series take turns. Memory is what a process held at
most, less what it held with its runtime imported and nothing loaded. Exponents are those of power
laws fitted to medians (`power_law.py`): 1 means linear. Lines are fitted as well: where a line's
constant is large, an exponent below 1 comes from it. Tiles overlap, and a picture smaller than one
is padded to it: `computed` is how many pixels the graph computes per pixel of the picture.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from rich.table import Table

from benchmarks.growth_picture import draw
from benchmarks.growth_points import Job, Point, measure
from benchmarks.options import JsonFile, PictureFile, require_different
from benchmarks.own_graphs import float_graph, sample_batch, shipped_model, static_model
from benchmarks.power_law import fit_line, fit_power_law
from benchmarks.speed.turns import now
from elir_edge.cli.doctor import installed_version
from elir_edge.console import console, run_app
from elir_edge.data.operations import to_uint8
from elir_edge.errors import UsageError
from elir_edge.files import write_json
from elir_edge.machine import processor_name
from elir_edge.runtime import Bundle
from elir_edge.runtime.tiling import plan_axis
from elir_edge.tasks import get_task
from export.plan import run_export
from export.request import Request

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

RUNTIMES = ("onnxruntime", "openvino")


@app.command()
def run(
    task: Annotated[str, typer.Option(help="Whose weights; one that is tiled.")] = "denoising",
    runtimes: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(RUNTIMES),
    sides: Annotated[str, typer.Option(help="Pixels.")] = "128,256,512,1024,2048",
    steps: Annotated[str, typer.Option(help="Values of K.")] = "1,2,3,4,5",
    batches: Annotated[str, typer.Option(help="Images per run.")] = "1,2,4,8",
    threads: Annotated[str, typer.Option(help="Of the CPU.")] = "1,2",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every point.")] = 5,
    out: JsonFile = None,
    picture: PictureFile = None,
) -> None:
    """Measure and print tables and exponents."""
    if get_task(task).fit != "tile":
        raise UsageError(f"{task} is not tiled", expected="a task of photos, e.g. denoising")
    names = [name.strip() for name in runtimes.split(",")]
    unknown = set(names) - set(RUNTIMES)
    if unknown:
        raise UsageError(
            f"--runtimes {', '.join(sorted(unknown))} cannot be measured here",
            expected=f"some of {', '.join(RUNTIMES)}",
        )
    counts = {
        option: _numbers(option, text)
        for option, text in (
            ("--sides", sides), ("--steps", steps), ("--batches", batches), ("--threads", threads)
        )
    }  # fmt: skip
    require_different({"--out": out, "--picture": picture})
    if picture is not None and all(len(counts[o]) < 2 for o in ("--sides", "--steps", "--batches")):
        raise UsageError("--picture needs a series of two points", fix="e.g. --sides 128,256")
    report: dict[str, Any] = {
        "task": task,
        "rounds": rounds,
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "date": now(),
        "versions": {name: installed_version(name) for name in (*names, "elir-edge")},
    }
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as folder:
        for jobs in _series(task, names, counts, Path(folder)):
            with console.status(f"{jobs[0].point.series} in {jobs[0].point.runtime}"):
                points += measure(jobs, rounds)
            report["points"] = [point.to_json() for point in points]
            if out is not None:
                write_json(out, report)
    report["exponents"] = fits(points)
    show(points, report["exponents"])
    if out is not None:
        write_json(out, report)
    if picture is not None:
        draw(picture, report)


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = sorted({int(each) for each in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise UsageError(
            f"{option} {text!r} is no list of numbers from 1 on", expected="e.g. 64,128"
        )
    return numbers


def _series(
    task: str, runtimes: Sequence[str], counts: dict[str, list[int]], folder: Path
) -> Iterator[list[Job]]:
    """Export what a series needs, and yield its jobs, a runtime at a time."""
    own = get_task(task).image_size
    model = shipped_model(task)
    unsuited = [side for side in counts["--sides"] if side % model.size_multiple]
    if unsuited:
        raise UsageError(
            f"--sides {', '.join(map(str, unsuited))} do not suit {task}",
            expected=f"multiples of {model.size_multiple}",
        )
    bundle = run_export(Request(task=task, target="onnx", size=own, out=folder)).folder
    series: list[list[Job]] = [[], [], [], []]
    for side in counts["--sides"]:
        pixels = Point(
            series="whole", runtime="", threads=1, x=float(side * side), label=f"{side} x {side}"
        )
        with console.status(f"graph of {pixels.label}"):
            graph = float_graph(static_model(model, side), task, side)
        series[0].append(_job(pixels, graph, sample_batch(task, side), folder))
        photo = to_uint8(sample_batch(task, side)[0].transpose(1, 2, 0))
        small = photo[:: get_task(task).upscale, :: get_task(task).upscale]
        path = folder / f"photo-{side}.npy"
        np.save(path, small)
        tiled = replace(pixels, series="tiled", computed=round(_computed(bundle, side), 3))
        series[1].append(Job(point=tiled, artifact=bundle, image=path, bundle=True))
    for k in counts["--steps"]:
        point = Point(series="steps", runtime="", threads=1, x=float(k), label=f"K = {k}")
        graph = float_graph(static_model(shipped_model(task, k), own), task, own)
        series[2].append(_job(point, graph, sample_batch(task, own), folder))
    for batch in counts["--batches"]:
        point = Point(
            series="batch", runtime="", threads=1, x=float(batch), label=f"batch {batch}",
            images=batch,
        )  # fmt: skip
        graph = float_graph(static_model(model, own), task, own, batch)
        series[3].append(_job(point, graph, sample_batch(task, own, batch), folder))
    for jobs in series:
        for runtime in runtimes:
            yield [
                replace(job, point=replace(job.point, runtime=runtime, threads=count))
                for job in jobs
                for count in counts["--threads"]
            ]


def _computed(bundle: Path, side: int) -> float:
    """Return the pixels of all tiles over those of a square picture."""
    manifest = Bundle.open(bundle).manifest
    tile = get_task(manifest.identity.task).image_size
    starts = plan_axis(max(side, tile), tile, manifest.processing.overlap).starts
    return (len(starts) * tile / side) ** 2


def _job(point: Point, graph: onnx.ModelProto, image: Any, folder: Path) -> Job:
    stem = folder / f"{point.series}-{point.x:.0f}"
    artifact, path = stem.with_suffix(".onnx"), stem.with_suffix(".npy")
    onnx.save(graph, artifact)
    np.save(path, image)
    return Job(point=point, artifact=artifact, image=path)


def fits(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the exponents of time and memory of every series that has two points or more."""
    keys = dict.fromkeys((p.series, p.runtime, p.threads) for p in points)
    found = []
    for key in keys:
        of_key = [
            (p.x, p.median_ms, p.memory_mb)
            for p in points
            if (p.series, p.runtime, p.threads) == key and p.memory_mb is not None
        ]
        if len({x for x, _, _ in of_key}) < 2:
            continue
        x, milliseconds, memory = zip(*of_key, strict=True)
        values = {"milliseconds": milliseconds, "memory": memory}
        laws = {kind: fit_power_law(x, y) for kind, y in values.items()}
        found.append(
            {
                **dict(zip(("series", "runtime", "threads"), key, strict=True)),
                **{kind: law.rounded() for kind, law in laws.items()},
                "lines": {kind: fit_line(x, y).rounded() for kind, y in values.items()},
                "shown": {kind: str(law) for kind, law in laws.items()},
            }
        )
    return found


def show(points: Sequence[Point], found: Sequence[dict[str, Any]]) -> None:
    """Print the points, then the exponents."""
    heads = ("series", "", "runtime", "threads", "ms", "FPS", "MB", "computed")
    table = Table(*heads, title="float32")
    for point in points:
        head = (point.series, point.label, point.runtime, str(point.threads))
        if point.reason is not None:
            table.add_row(*head, f"not measured: {point.reason}")
        else:
            last = f"{point.memory_mb:.0f}", f"{point.computed:.2f}"
            table.add_row(*head, f"{point.median_ms:.1f}", f"{point.fps:.2f}", *last)
    console.print(table)
    laws = ("series", "runtime", "threads", "time ~ x^p", "ms", "memory ~ x^p", "MB")
    exponents = Table(*laws, title="exponents with 95 % intervals, and lines through the points")
    for each in found:
        exponents.add_row(
            each["series"],
            each["runtime"],
            str(each["threads"]),
            each["shown"]["milliseconds"],
            _line(each["lines"]["milliseconds"], each["series"]),
            each["shown"]["memory"],
            _line(each["lines"]["memory"], each["series"]),
        )
    console.print(exponents)


def _line(line: dict[str, float], series: str) -> str:
    """Return a line in words: per million pixels, or per step or image."""
    pixels = series in ("whole", "tiled")
    slope, unit = (1e6 * line["slope"], "Mpixel") if pixels else (line["slope"], "each")
    return f"{line['constant']:.3g} + {slope:.3g} {unit}"


if __name__ == "__main__":
    run_app(app)
