"""Comparison of int8 quantization engines on the same photos, gates and runtimes.

    python benchmarks/engines.py --task denoising --calibration photos/train

Quality is measured on crops of photos that no engine has seen; times are medians of runs in turns.
Engines beside ours need extras in environments of their own, since they need other versions of
packages than the lock has; one that is not installed gets a line that says so:

    pip install '.[mct]'            Sony's model-compression-toolkit
    pip install '.[quantizers]'     NNCF, OpenVINO's own quantizer; AMD's quark

`--engines nncf,quark,elir` runs only those whose names hold one of these words. quark's AdaRound,
of 1,000 steps per layer, runs only by `--engines adaround`. Olive (olive-ai) is left out: its int8
passes for ONNX call ONNX Runtime's `quantize_static` and NNCF, which have rows of their own.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.options import JsonFile
from benchmarks.quantizers import RUNTIMES, case_of, choose_engines, open_graph
from benchmarks.speed.turns import now
from elir_edge.checkpoints.own import build_model, embedded_path, read_checkpoint
from elir_edge.cli.doctor import installed_version
from elir_edge.console import console, run_app
from elir_edge.errors import BackendError, ElirError
from elir_edge.files import CACHE_VARIABLE, write_json
from elir_edge.machine import processor_name
from elir_edge.tasks import get_task
from export.calibration.judge import Judge, Quality
from export.calibration.photos import DEFAULT_CROPS, load_calibration
from export.calibration.timing import Feed, time_in_turns
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8
from export.qdq.running import running
from export.request import require_fitting_size

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_ROUNDS = 8


@dataclass(frozen=True, kw_only=True)
class Row:
    """An engine's graph in a runtime; `reason` says why there is none."""

    engine: str
    runtime: str
    reason: str | None = None
    psnr_db: float | None = None
    worst_psnr_db: float | None = None
    lost_db: float | None = None
    passed: bool | None = None
    milliseconds: float | None = None
    speedup: float | None = None
    seconds_to_quantize: float | None = None


@app.command()
def run(
    task: Annotated[str, typer.Option(help="The task; its shipped checkpoint.")] = "denoising",
    size: Annotated[int | None, typer.Option(help="Side, pixels; default: the task's.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Folder of photos.")] = None,
    crops: Annotated[int, typer.Option(min=1, help="To observe ranges on.")] = DEFAULT_CROPS,
    engines: Annotated[
        str, typer.Option(help="Comma-separated words of their names; default: all but AdaRound.")
    ] = "",
    out: JsonFile = None,
) -> None:
    """Quantize by every engine, judge and time; print a table."""
    side = get_task(task).image_size if size is None else size
    chosen = choose_engines(engines)
    shipped = build_model(read_checkpoint(embedded_path(task), task=task))
    require_fitting_size(side, shipped)
    case = case_of(shipped, load_calibration(task, side, calibration, crops=crops), side)
    with running(case.shipped) as reference:
        judge = Judge(case.calibration.gates, 1, None, reference)
    report: dict[str, Any] = {
        "task": task,
        "size": side,
        "crops": crops,
        "gate_crops": len(case.calibration.gates),
        "calibration": "given photos" if calibration else "scikit-image's photos",
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "date": now(),
        "versions": _versions(),
    }
    rows: list[Row] = []
    graphs: dict[tuple[str, str], Any] = {
        ("float32", runtime): case.shipped for runtime in RUNTIMES
    }
    for engine, quantize in chosen.items():
        with console.status(engine):
            started = time.perf_counter()
            try:
                with empty_cache():
                    made = quantize(case)
            except ElirError as error:
                rows += [Row(engine=engine, runtime=name, reason=str(error)) for name in RUNTIMES]
                continue
            seconds = time.perf_counter() - started
            for runtime, model in made.items():
                rows.append(_judged(engine, runtime, model, judge, seconds))
                if rows[-1].reason is None:
                    graphs[engine, runtime] = model
        if out is not None:
            write_json(out, report | {"rows": [asdict(row) for row in rows]})
    with console.status("timing in turns"):
        times = _timed(graphs, judge.feeds[0])
    rows = [_with_time(row, times) for row in rows]
    report["float32_milliseconds"] = {r: round(times["float32", r], 2) for r in RUNTIMES}
    report["rows"] = [asdict(row) for row in rows]
    _print(report, rows)
    if out is not None:
        write_json(out, report)


@contextlib.contextmanager
def empty_cache() -> Iterator[None]:
    """Let no engine find what an earlier run has worked out, so that its seconds are comparable."""
    before = os.environ.get(CACHE_VARIABLE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[CACHE_VARIABLE]
            if before is not None:
                os.environ[CACHE_VARIABLE] = before


def _judged(engine: str, runtime: str, model: Any, judge: Judge, seconds: float) -> Row:
    try:
        with open_graph(model, runtime) as run:
            quality: Quality = judge(run)
    except BackendError as error:
        return Row(engine=engine, runtime=runtime, reason=str(error))
    return Row(
        engine=engine,
        runtime=runtime,
        psnr_db=round(quality.psnr_db, 2),
        worst_psnr_db=round(quality.worst_psnr_db, 2),
        lost_db=round(quality.lost_db, 3),
        passed=quality.within(MIN_PSNR_INT8, MAX_LOST_INT8),
        seconds_to_quantize=round(seconds, 1),
    )


def _timed(graphs: dict[tuple[str, str], Any], feed: Feed) -> dict[tuple[str, str], float]:
    """Return median milliseconds, measured in turns."""
    with contextlib.ExitStack() as stack:
        runs = {
            key: stack.enter_context(open_graph(model, key[1])) for key, model in graphs.items()
        }
        times = time_in_turns(list(runs.values()), feed, rounds=_ROUNDS)
    return {key: float(np.median(values)) for key, values in zip(runs, times, strict=True)}


def _with_time(row: Row, times: dict[tuple[str, str], float]) -> Row:
    found = times.get((row.engine, row.runtime))
    if found is None:
        return row
    speedup = times["float32", row.runtime] / found
    values = asdict(row) | {"milliseconds": round(found, 2), "speedup": round(speedup, 2)}
    return Row(**values)


def _versions() -> dict[str, str]:
    names = ("onnxruntime", "openvino", "model-compression-toolkit", "nncf", "amd-quark", "torch")
    return {name: found for name in names if (found := installed_version(name)) is not None}


def _print(report: dict[str, Any], rows: list[Row]) -> None:
    title = "{task}, {size} x {size}, {crops} calibration crops, {gate_crops} unseen".format(
        **report
    )
    heads = ("engine", "runtime", "PSNR dB", "worst", "lost dB", "gate", "ms", "x float", "made in")
    table = Table(*heads, title=title)
    for row in rows:
        if row.reason is None:
            table.add_row(
                row.engine,
                row.runtime,
                f"{row.psnr_db:.1f}",
                f"{row.worst_psnr_db:.1f}",
                f"{row.lost_db:.3f}",
                "passed" if row.passed else "missed",
                f"{row.milliseconds:.1f}",
                f"{row.speedup:.2f}",
                f"{row.seconds_to_quantize:.0f} s",
            )
    console.print(table)
    for row in rows:
        if row.reason is not None:
            console.print(f"{row.engine} in {row.runtime}: {row.reason}", markup=False)
    console.print(f"float32 takes {report['float32_milliseconds']} ms; {report['versions']}")


if __name__ == "__main__":
    run_app(app)
