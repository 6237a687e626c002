"""Quality against time: LPIPS-squeeze and PSNR over milliseconds, of all that restores here.

    python benchmarks/pareto.py --data photos/val --faces faces/val --metric-weights weights
    python benchmarks/pareto.py --data photos/val --metric-weights weights --tasks bsr --peers peers
    python benchmarks/pareto.py --data photos/val --metric-weights weights --photos 1 --quick

Per task: the classical methods; `nano` in torch, and at fp32 and int8 in each runtime; the shipped
weights with 1 to 5 Euler steps; other shipped sizes (and `--checkpoint FILE`s); peers with trained
weights. Quality is a mean over `--photos` photos, spread evenly over the folder and cropped to
their centre; photo i is degraded with `np.random.default_rng([1, i])`, as in `quality.py`. Times
are of all rows in turns on the first photo, with `--threads` threads. Peers get the small image
that a user has, our models the enlarged one.

Each task's result is a JSON file in `--out`. A task whose file is there, of the same settings,
versions and machine, is not measured again: delete the file to repeat it. The picture is drawn from
all files there.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.progress import track
from rich.table import Table

from benchmarks.allocator import keep_all_freed_memory
from benchmarks.classical import DegradedPhoto, degraded_photo, require_libraries
from benchmarks.methods import parse_tasks
from benchmarks.ncnn_peers import PEERS, open_peer
from benchmarks.options import require_different, writable, writable_folder
from benchmarks.pareto_candidates import (
    PEERS_TASK,
    Candidate,
    Wanted,
    open_candidates,
)
from benchmarks.pareto_picture import draw
from benchmarks.quality_results import SEED
from benchmarks.speed.turns import now
from benchmarks.turns import Rounds, median, p90, take_turns
from elir_edge.checkpoints.own import embedded_path, read_checkpoint
from elir_edge.cli.doctor import installed_version
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.errors import DataError, UsageError
from elir_edge.evaluation.file_metrics import open_file_metric
from elir_edge.evaluation.perceptual import ImageScore
from elir_edge.files import refuse_among, sha256_of, write_json
from elir_edge.machine import processor_name
from elir_edge.metrics import psnr
from elir_edge.tasks import TASKS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_FACES = "bfr"
_NOT_FINITE = "the restored photo holds values that are not finite"
_VERSIONS = ("elir-edge", "torch", "onnxruntime", "openvino", "ai-edge-litert", "ncnn", "bm3d")
METRICS = {"lpips": False, "psnr_db": True}
"""Of the picture, and whether more is better."""


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos that no model saw.")],
    metric_weights: Annotated[Path, typer.Option(help="Folder with the weights of LPIPS-squeeze.")],
    faces: Annotated[
        Path | None, typer.Option(help="Folder of aligned faces that no model saw, for bfr.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Comma-separated; default: all, bfr only with --faces.")
    ] = None,
    photos: Annotated[int, typer.Option(min=1, help="Photos per task.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of every row.")] = 4,
    steps: Annotated[str, typer.Option(help="Values of K, the Euler steps.")] = "1,2,3,4,5",
    threads: Annotated[int, typer.Option(min=1, help="Of the CPU.")] = os.cpu_count() or 1,
    size: Annotated[int, typer.Option(min=64, help="Side of the centre crop.")] = 256,
    face_size: Annotated[int, typer.Option(min=64, help="Side of the faces.")] = 512,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="Of a further size, for its own task; repeatable.")
    ] = None,
    peers: Annotated[
        Path | None, typer.Option(help="Folder with the peers' packages (ncnn_peers.py).")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of photos for int8; default: scikit-image's.")
    ] = None,
    classical: Annotated[bool, typer.Option(help="Measure the classical methods too.")] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first look: int8 without its search.")
    ] = False,
    out: Annotated[
        Path, typer.Option(callback=writable_folder, help="Folder of the JSON files.")
    ] = Path("pareto"),
    picture: Annotated[
        Path | None, typer.Option(callback=writable, help="The PNG; default: pareto.png in --out.")
    ] = None,
) -> None:
    """Measure what is not measured yet, print a table per task, draw the picture."""
    names = _tasks(tasks, faces)
    for task in TASKS:
        read_result(out / f"{task}.json")  # a damaged one is said before anything is measured
    _require_served(names, checkpoint or (), peers, threads)
    require_different(
        {"--picture": picture} | {f"--out's {task}.json": out / f"{task}.json" for task in names}
    )
    if classical:
        require_libraries()
    for folder in (data, faces):
        if folder is not None:
            refuse_among(out, folder, "--out")
    torch.set_num_threads(threads)
    metric = open_file_metric("lpips-squeeze", metric_weights)
    for task in names:
        wanted = Wanted(
            side=face_size if task == _FACES else size,
            threads=threads,
            steps=_steps(steps),
            checkpoints=checkpoint or (),
            peers=peers,
            calibration=calibration,
            quick=quick,
            classical=classical,
        )
        folder = faces if task == _FACES and faces is not None else data
        paths = list_images(folder)
        chosen = spread(len(paths), photos)
        settings = _settings(task, wanted, [paths[i].name for i in chosen], rounds)
        path = out / f"{task}.json"
        circumstances = {
            "settings": settings,
            "machine": {"processor": processor_name(), "cores": os.cpu_count()},
            "versions": {name: installed_version(name) for name in _VERSIONS},
        }
        found = read_result(path, circumstances)
        if found is None:
            found = _measure(task, wanted, paths, chosen, rounds, metric)
            found = {"task": task, **circumstances, "date": now(), **found}
            write_json(path, found)
        console.print(table(found))
        for row in found["rows"]:
            if row["reason"] is not None:
                console.print(f"{row['title']}: not measured, {row['reason']}", markup=False)
    results = [read_result(path) for path in (out / f"{task}.json" for task in TASKS)]
    drawn = picture or out / "pareto.png"
    draw(drawn, [each for each in results if each is not None])
    console.print(f"picture {drawn}")


def _require_served(
    tasks: Sequence[str], checkpoints: Sequence[Path], peers: Path | None, threads: int
) -> None:
    """Require that each further model is of a task that is measured, and can be opened.

    Raises:
        ElirError: one is not, or cannot.
    """
    for path in checkpoints:
        task = read_checkpoint(path, task=tasks[0], any_task=True).task
        if task not in tasks:
            raise UsageError(f"{path} is of {task}, which is not measured", fix=f"--tasks {task}")
    if peers is None:
        return
    if PEERS_TASK not in tasks:
        raise UsageError(
            f"--peers are of {PEERS_TASK}, which is not measured", fix="leave out --peers"
        )
    for peer in PEERS:
        open_peer(peer, peers, threads)


def _tasks(text: str | None, faces: Path | None) -> list[str]:
    if text is None:
        return [task for task in TASKS if task != _FACES or faces is not None]
    names = parse_tasks(text)
    if _FACES in names and faces is None:
        raise UsageError(f"{_FACES} is measured on aligned faces", fix="pass them by --faces")
    return names


def _steps(text: str) -> list[int]:
    try:
        found = [int(each) for each in text.split(",") if each.strip()]
    except ValueError:
        found = [0]
    if any(each < 1 for each in found):
        raise UsageError(f"--steps {text!r} is no list of numbers", expected="e.g. 1,2,3")
    return found


def spread(count: int, wanted: int) -> list[int]:
    """Return the indices of `wanted` of `count` photos, evenly spread."""
    taken = min(wanted, count)
    return [i * count // taken for i in range(taken)]


def _settings(task: str, wanted: Wanted, names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return what a result depends on."""
    return {
        "photos": list(names),
        "side": wanted.side,
        "threads": wanted.threads,
        "rounds": rounds,
        "steps": list(wanted.steps),
        "checkpoint": sha256_of(embedded_path(task)),
        "further": [sha256_of(path) for path in wanted.checkpoints],
        "peers": wanted.peers is not None and task == PEERS_TASK,
        "calibration": "given photos" if wanted.calibration else "scikit-image's photos",
        "classical": wanted.classical,
        "quick": wanted.quick,
    }


def read_result(path: Path, circumstances: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return a task's result; None: there is none, or one of other circumstances.

    Raises:
        DataError: the file is no result.
    """
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _require_shape(found)
        others = [name for name, value in (circumstances or {}).items() if found[name] != value]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is no result of pareto.py", fix="delete it") from error
    if others:
        console.print(f"{path} is of other {', '.join(others)}: measured anew", markup=False)
    return None if others else found


def _require_shape(found: dict[str, Any]) -> None:
    """Require what the table and the picture read.

    Raises:
        KeyError: a field is missing.
        TypeError: one is of another type.
    """
    shape = {"task": str, "rows": list, "front": dict, "settings": dict, "machine": dict}
    for name, kind in (shape | {"versions": dict}).items():
        if not isinstance(found[name], kind):
            raise TypeError(name)
    found["settings"]["photos"], found["settings"]["side"], found["settings"]["threads"]
    found["machine"]["processor"]
    for metric in METRICS:
        found["front"][metric]
    for row in found["rows"]:
        for name in ("title", "family", "runtime", "precision", "steps", "ms", "p90_ms"):
            row[name]
        if row["reason"] is None:
            for metric in METRICS:
                float(row[metric])


def _measure(
    task: str,
    wanted: Wanted,
    paths: Sequence[Path],
    chosen: Sequence[int],
    rounds: int,
    metric: ImageScore,
) -> dict[str, Any]:
    with console.status(task) as status:
        candidates = list(
            open_candidates(task, wanted, lambda text: status.update(f"{task}, {text}"))
        )
    pairs = []
    for i in chosen:
        clean = to_float(centre_crop(read_rgb(paths[i]), wanted.side))
        pairs.append((clean, degraded_photo(task, clean, [SEED, i])))
    ready = {c.title: c.restore for c in candidates if c.restore is not None}
    scores: dict[str, dict[str, list[float]]] = {
        title: {name: [] for name in METRICS} for title in ready
    }
    for clean, degraded in track(pairs, description=f"{task}, quality", console=console):
        for title, restore in [*ready.items()]:
            restored = restore(degraded)
            if not np.isfinite(restored).all():
                del ready[title], scores[title]
                continue
            scores[title]["psnr_db"].append(psnr(clean, restored))
            scores[title]["lpips"].append(metric(restored, clean))
    candidates = [
        replace(c, reason=_NOT_FINITE) if c.restore is not None and c.title not in ready else c
        for c in candidates
    ]
    first: DegradedPhoto = pairs[0][1]
    calls = {
        title: (lambda restore=restore: restore(first))
        for title, restore in ready.items()
        if title != "input"
    }
    with console.status(f"{task}, timing in turns"):
        times = take_turns(calls, rounds)
    rows = [_row(c, scores.get(c.title), times.get(c.title)) for c in candidates]
    return {
        "rows": rows,
        "front": {name: front(rows, name, more_is_better=more) for name, more in METRICS.items()},
    }


def _row(
    candidate: Candidate, scores: dict[str, list[float]] | None, times: Rounds | None
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "title": candidate.title,
        "family": candidate.family,
        "runtime": candidate.runtime,
        "precision": candidate.precision,
        "steps": candidate.steps,
        "reason": candidate.reason,
    }
    for name, values in (scores or {}).items():
        row[name] = round(float(np.mean(values)), 4)
        # Of the mean over photos; differences between rows are surer, for photos are the same.
        error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
        row[f"{name}_error"] = None if error is None else round(float(error), 4)
    row["ms"] = None if times is None else round(median(times), 4)
    slowest = None if times is None else p90(times)
    row["p90_ms"] = None if slowest is None else round(slowest, 4)
    return row


def front(rows: Sequence[dict[str, Any]], metric: str, *, more_is_better: bool) -> list[str]:
    """Return the titles of the rows that no other beats in both time and quality, fastest first.

    A row beats another that is no better in either and worse in one. Of rows that are equal in
    both, the first stays.
    """
    sign = -1 if more_is_better else 1
    timed = [row for row in rows if row["ms"] is not None and row.get(metric) is not None]
    best, titles = float("inf"), []
    for row in sorted(timed, key=lambda row: (row["ms"], sign * row[metric])):
        if sign * row[metric] < best:
            best = sign * row[metric]
            titles.append(row["title"])
    return titles


def table(result: dict[str, Any]) -> Table:
    """Return a task's rows for people; a star is a row that no other beats."""
    settings = result["settings"]
    title = "{task}, {n} photos, {side} x {side}, {threads} threads".format(
        task=result["task"], n=len(settings["photos"]), **settings
    )
    heads = ("", "ms", "p90", "LPIPS-squeeze", "PSNR dB")
    made = Table(*heads, title=title)
    for row in result["rows"]:
        if row["reason"] is not None:
            continue
        cells = [
            f"{row[name]:.{digits}f}" + ("*" if row["title"] in result["front"][name] else "")
            for name, digits in (("lpips", 3), ("psnr_db", 2))
        ]
        times = ["" if row[name] is None else f"{row[name]:.1f}" for name in ("ms", "p90_ms")]
        made.add_row(row["title"], *times, *cells)
    return made


if __name__ == "__main__":
    keep_all_freed_memory()
    run_app(app)
