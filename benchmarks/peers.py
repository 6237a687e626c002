"""Speed of other projects' models beside ours, in one run; anybody's ONNX and TFLite files too.

    python benchmarks/peers.py --out peers.json                   architectures of the extra `peers`
    python benchmarks/peers.py --tasks bsr --ncnn peers           trained weights by ncnn as well
    python benchmarks/peers.py --architectures none --onnx model.onnx --tflite model.tflite

Architectures (`architectures.py`) and ELIR of the published size have random weights: their rows
are of speed only. Architectures need the extra `peers` in an environment of its own: spandrel
imports torchvision, which fits one version of torch, and not the lock's. `--ncnn` takes the folder
with trained weights of `ncnn_peers.py`, whose quality is measured by `quality.py --peers` and
`pareto.py --peers`.

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
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.allocator import keep_all_freed_memory
from benchmarks.architectures import ARCHITECTURES, Architecture, require_packages
from benchmarks.options import JsonFile
from benchmarks.peer_rows import (
    NCNN_TASK,
    Entry,
    Row,
    count_turns,
    file_entries,
    measure,
    ncnn_entries,
    own_entries,
    peer_entries,
    published_size_entries,
)
from benchmarks.published import load_figures, speed_table
from benchmarks.speed.turns import now
from benchmarks.turns import Ratio
from elir_edge.cli.doctor import installed_version
from elir_edge.console import console, counting_progress, run_app
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
    out: JsonFile = None,
) -> None:
    """Measure and print a table per task."""
    names = _parse_tasks(tasks)
    if ncnn is not None and NCNN_TASK not in names:
        raise UsageError(
            f"--ncnn's peers are of {NCNN_TASK}",
            got=f"--tasks {tasks}",
            fix=f"leave out --ncnn, or add {NCNN_TASK}",
        )
    chosen = _chosen(architectures, names)
    figures = load_figures()
    torch.set_num_threads(threads)
    rows: list[Row] = []
    # What the user names first: a file that cannot be run is said before minutes are spent.
    given = file_entries(names[0], onnx_files or [], tflite_files or [], side, threads)
    if ncnn is not None:
        given = ncnn_entries(ncnn, threads) + given
    if chosen:
        require_packages()
    for task in names:
        own = own_entries(task, threads)
        of_task = [each for each in chosen if each.task == task]
        given_here = [each for each in given if each.subject.task == task]
        if of_task or any(each.subject.licence for each in given_here):  # others' models
            own += published_size_entries(task, threads)
        rows += _measure(task, own, of_task, given_here, rounds, threads)
        console.print(table(task, rows, threads))
        if out is not None:
            write_json(out, _report(rows, rounds, threads))
    if found := licences(rows):
        console.print("licences: " + ". ".join(found), markup=False)
    console.print(speed_table(figures, names))


def _measure(
    task: str,
    own: Sequence[Entry],
    architectures: Sequence[Architecture],
    given: Sequence[Entry],
    rounds: int,
    threads: int,
) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, counting_progress() as bar:
        job = bar.add_task(f"{task}: building", total=None)
        entries = [*own]
        for architecture in architectures:
            bar.update(job, description=f"{task}: building {architecture.title}")
            entries += peer_entries(architecture, Path(folder), threads)
        entries += given
        bar.update(job, total=count_turns(entries, rounds), description=f"{task}: timing")
        return measure(entries, rounds, lambda title: bar.advance(job))


def _parse_tasks(text: str) -> list[str]:
    names = [*dict.fromkeys(get_task(name.strip()).name for name in text.split(","))]
    strangers = [name for name in names if name not in TASKS]
    if strangers:
        raise UsageError(
            f"no peers of {', '.join(strangers)} are known", expected=f"some of {', '.join(TASKS)}"
        )
    return names


def _chosen(text: str, tasks: Sequence[str]) -> list[Architecture]:
    known = [each for each in ARCHITECTURES if each.task in tasks]
    if text in ("all", "none"):
        return known if text == "all" else []
    wanted = [name.strip().lower() for name in text.split(",")]
    titles = [architecture.title.lower() for architecture in known]
    unknown = [w or "''" for w in wanted if not w or not any(t.startswith(w) for t in titles)]
    if unknown:
        raise UsageError(
            f"no architecture of {', '.join(tasks)} begins with {', '.join(unknown)}",
            expected=", ".join(a.title for a in known),
        )
    return [a for a in known if any(a.title.lower().startswith(w) for w in wanted)]


def table(task: str, rows: Sequence[Row], threads: int) -> Table:
    """Return a task's rows for people, narrow enough for 80 columns."""
    result = Table(
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), collapse_padding=True,
        title=f"{task}, batch 1, {threads} threads; random weights: speed only",
    )  # fmt: skip
    for head in ("model", "weights", "runtime"):
        result.add_column(head)
    for head in ("pixels", "ms", "FPS", "nano faster by"):
        result.add_column(head, justify="right", no_wrap=True)
    for row in (row for row in rows if row.subject.task == task):
        subject = row.subject
        millions = "" if subject.parameters_m is None else f"\n{subject.parameters_m:.1f} M"
        head = subject.title + millions, subject.weights.split(" weights")[0], subject.runtime
        if row.reason is not None:
            result.add_row(*head, subject.image, "-", "-", row.reason)
            continue
        times = f"{row.median_ms:.4g}", f"{row.fps:.3g}"
        result.add_row(*head, subject.image, *times, _shown(row.nano_is_faster_by))
    return result


def _shown(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    interval = "" if ratio.low is None else f" [{ratio.low:.3g}, {ratio.high:.3g}]"
    return f"{ratio.value:.3g}{interval}"


def licences(rows: Sequence[Row]) -> list[str]:
    """Return a line per peer: under which licence its authors publish it."""
    found = {row.subject.title: row.subject.licence for row in rows if row.subject.licence}
    return [f"{title}: {licence}" for title, licence in found.items()]


def _report(rows: Sequence[Row], rounds: int, threads: int) -> dict[str, object]:
    return {
        "rounds": rounds,
        "threads": threads,
        "date": now(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "versions": {name: installed_version(name) for name in _VERSIONS},
        "rows": [row.to_json() for row in rows],
    }


if __name__ == "__main__":
    keep_all_freed_memory()
    run_app(app)
