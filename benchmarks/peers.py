"""Speed of other projects' models beside ours, in one run; anybody's ONNX and TFLite files too.

    python benchmarks/peers.py --out peers.json                   architectures of the extra `peers`
    python benchmarks/peers.py --tasks bsr --ncnn peers           trained weights by ncnn as well
    python benchmarks/peers.py --architectures none --onnx model.onnx --tflite model.tflite

Architectures (`architectures.py`) have random weights: their rows are of speed only. They need the
extra `peers` in an environment of its own: spandrel imports torchvision, which fits one version of
torch, and not the lock's. `--ncnn` takes the folder with trained weights of `ncnn_peers.py`, whose
quality is measured by `quality.py --peers` and `pareto.py --peers`.

Images are of the paper's sizes: 512 x 512 for `bfr`; for `bsr` 64 x 64 to 256 x 256, which our
models get already enlarged. All rows of a task take turns with our `nano` of that task. Models that
no package holds are printed below with the paper's figures, which were not measured here.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from benchmarks.architectures import ARCHITECTURES, Architecture
from benchmarks.peer_rows import (
    NCNN_TASK,
    Row,
    file_entries,
    measure,
    ncnn_entries,
    own_entries,
    peer_entries,
)
from benchmarks.published import load_figures, speed_table
from elir_edge.cli.doctor import installed_version
from elir_edge.console import console, run_app
from elir_edge.errors import UsageError
from elir_edge.files import write_json
from elir_edge.machine import processor_name
from elir_edge.tasks import get_task

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

TASKS = ("bfr", "bsr")
"""Whose peers the paper compares, and packages hold."""
_VERSIONS = (
    "torch",
    "onnxruntime",
    "spandrel",
    "spandrel-extra-arches",
    "ncnn",
    "ai-edge-litert",
    "elir-edge",
)


@app.command()
def run(
    tasks: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(TASKS),
    architectures: Annotated[
        str, typer.Option(help="Comma-separated beginnings of titles; `all` or `none`.")
    ] = "all",
    onnx_files: Annotated[
        list[Path] | None, typer.Option("--onnx", help="A model file to time as well; repeatable.")
    ] = None,
    tflite_files: Annotated[
        list[Path] | None, typer.Option("--tflite", help="Likewise, in LiteRT.")
    ] = None,
    ncnn: Annotated[
        Path | None, typer.Option(help="Folder with packages of trained weights, for bsr.")
    ] = None,
    side: Annotated[
        int, typer.Option(min=8, help="Of images, where an ONNX file leaves it open.")
    ] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every row.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Of the CPU.")] = os.cpu_count() or 1,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the result as JSON.")
    ] = None,
) -> None:
    """Measure and print a table per task."""
    names = _parse_tasks(tasks)
    chosen = _chosen(architectures)
    figures = load_figures()
    torch.set_num_threads(threads)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        # Files of the user first: one that cannot be run is said before minutes are spent.
        given = file_entries(names[0], onnx_files or [], tflite_files or [], side, threads)
        for task in names:
            of_task = [each for each in chosen if each.task == task]
            with console.status(task) as status:
                entries = [*own_entries(task, threads)]
                for architecture in of_task:
                    status.update(f"{task}: {architecture.title}")
                    entries += peer_entries(architecture, Path(folder), threads)
                if ncnn is not None and task == NCNN_TASK:
                    entries += ncnn_entries(ncnn, threads)
                entries += [each for each in given if each.subject.task == task]
                rows += measure(entries, rounds, lambda title: status.update(f"timing {title}"))
            console.print(table(task, rows, threads))
    if found := licences(rows):
        console.print("licences: " + ". ".join(found), markup=False)
    console.print(speed_table(figures, names))
    if out is not None:
        write_json(out, _report(rows, rounds, threads))


def _parse_tasks(text: str) -> list[str]:
    names = [get_task(name.strip()).name for name in text.split(",")]
    strangers = [name for name in names if name not in TASKS]
    if strangers:
        raise UsageError(
            f"no peers of {', '.join(strangers)} are known", expected=f"some of {', '.join(TASKS)}"
        )
    return names


def _chosen(text: str) -> list[Architecture]:
    if text in ("all", "none"):
        return [each for each in ARCHITECTURES if text == "all"]
    wanted = [name.strip().lower() for name in text.split(",")]
    found = [a for a in ARCHITECTURES if any(a.title.lower().startswith(w) for w in wanted)]
    unknown = [w for w in wanted if not any(a.title.lower().startswith(w) for a in found)]
    if unknown:
        raise UsageError(
            f"no architecture begins with {', '.join(unknown)}",
            expected=", ".join(a.title for a in ARCHITECTURES),
        )
    return found


def table(task: str, rows: Sequence[Row], threads: int) -> Table:
    """Return a task's rows for people; random weights, which give speed only, are said."""
    heads = ("model", "runtime", "pixels", "M", "ms", "p90", "FPS", "nano faster by")
    result = Table(*heads, title=f"{task}, batch 1, {threads} threads")
    for row in (row for row in rows if row.subject.task == task):
        subject = row.subject
        count = "" if subject.parameters_m is None else f"{subject.parameters_m:.1f}"
        head = (f"{subject.title}\n({subject.weights})", subject.runtime, subject.image, count)
        if row.reason is not None:
            result.add_row(*head, "-", "-", "-", row.reason)
            continue
        faster = "" if row.nano_is_faster_by is None else str(row.nano_is_faster_by)
        times = f"{row.median_ms:.1f}", f"{row.p90_ms:.1f}", f"{row.fps:.2f}"
        result.add_row(*head, *times, faster)
    return result


def licences(rows: Sequence[Row]) -> list[str]:
    """Return a line per peer: under which licence its authors publish it."""
    found = {row.subject.title: row.subject.licence for row in rows if row.subject.licence}
    return [f"{title}: {licence}" for title, licence in found.items()]


def _report(rows: Sequence[Row], rounds: int, threads: int) -> dict[str, object]:
    return {
        "rounds": rounds,
        "threads": threads,
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "versions": {name: installed_version(name) for name in _VERSIONS},
        "rows": [row.to_json() for row in rows],
    }


if __name__ == "__main__":
    run_app(app)
