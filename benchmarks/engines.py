"""Comparison of int8 quantization engines on the same photos, gates and runtimes.

    python benchmarks/engines.py --task denoising --calibration photos/train

Quality is measured on crops of photos that no engine has seen; times are medians of runs in turns.
model-compression-toolkit is included if it is installed (`pip install '.[mct]'`, in a separate
environment, since it needs older versions of packages than the lock has).
"""

import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import torch
import typer
from rich.table import Table

from benchmarks.mct import quantize_by_mct
from elir_edge.checkpoints.own import build_model, embedded_path, read_checkpoint
from elir_edge.cli.doctor import installed_version
from elir_edge.console import console, run_app
from elir_edge.errors import BackendError, ElirError
from elir_edge.files import write_json
from elir_edge.model import draw_noise
from elir_edge.tasks import get_task
from elir_edge.telemetry import without_telemetry
from export.calibration.judge import Judge, Quality, feed_of
from export.calibration.photos import DEFAULT_CROPS, CalibrationSet, load_calibration
from export.calibration.timing import Feed, time_in_turns
from export.int8.search import Effort
from export.onnx_graph.to_onnx import to_probe_graph, to_shipped_graph
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8
from export.qdq.calibrated import CalibratedGraph
from export.qdq.quantize import quantize_for
from export.qdq.running import running
from export.static.equalize import channel_factors, equalize
from export.static.rewrites import REWRITES
from export.static.unroll import StaticElir, static_form
from export.targets.registry import get_target

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

RUNTIMES = ("onnxruntime", "openvino")
_ROUNDS = 8
_EQUALIZATION_CROPS = 16


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


@dataclass(frozen=True, kw_only=True)
class Case:
    """What every engine is given."""

    static: StaticElir
    probe: onnx.ModelProto
    shipped: onnx.ModelProto
    calibration: CalibrationSet

    @property
    def feeds(self) -> list[Feed]:
        """The crops that ranges are taken on, as inputs of the graph."""
        return [feed_of(example, 1, None) for example in self.calibration.ranges]


Graphs = dict[str, onnx.ModelProto]
"""By runtime."""


def by_onnxruntime(case: Case) -> Graphs:
    """ONNX Runtime's `quantize_static` as its documentation has it: QDQ, MinMax, per channel."""
    without_telemetry()
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter(case.feeds)

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(case.shipped, source)
        quantize_static(
            source,
            target,
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return dict.fromkeys(RUNTIMES, onnx.load(target))


def by_search(case: Case) -> Graphs:
    """What `make export PRECISION=int8` ships."""
    graph = CalibratedGraph(case.probe, case.shipped, case.calibration)
    made = quantize_for(RUNTIMES, graph, effort=Effort.FASTEST)
    return {runtime: each.model for runtime, each in made.items()}


def by_mct(case: Case, *, gradients: bool) -> Graphs:
    """MCT's post-training quantization; with gradients, the rounding of weights is learned."""
    images = [example.degraded for example in case.calibration.ranges]
    model = quantize_by_mct(case.static, images, "gptq" if gradients else "ptq")
    return dict.fromkeys(RUNTIMES, model)


ENGINES: dict[str, Callable[[Case], Graphs]] = {
    "ONNX Runtime quantize_static": by_onnxruntime,
    "MCT PTQ": lambda case: by_mct(case, gradients=False),
    "MCT GPTQ": lambda case: by_mct(case, gradients=True),
    "elir-edge search": by_search,
}


@app.command()
def run(
    task: Annotated[str, typer.Option(help="The task; its shipped checkpoint.")] = "denoising",
    size: Annotated[int | None, typer.Option(help="Side, pixels; default: the task's.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Folder of photos.")] = None,
    crops: Annotated[int, typer.Option(min=1, help="To observe ranges on.")] = DEFAULT_CROPS,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
) -> None:
    """Quantize by every engine, judge and time; print a table."""
    side = size or get_task(task).image_size
    case = _case(task, load_calibration(task, side, calibration, crops=crops), side)
    with running(case.shipped) as reference:
        judge = Judge(case.calibration.gates, 1, None, reference)
    rows: list[Row] = []
    graphs: dict[tuple[str, str], onnx.ModelProto] = {
        ("float32", runtime): case.shipped for runtime in RUNTIMES
    }
    for engine, quantize in ENGINES.items():
        with console.status(engine):
            started = time.perf_counter()
            try:
                made = quantize(case)
            except ElirError as error:
                rows += [Row(engine=engine, runtime=name, reason=str(error)) for name in RUNTIMES]
                continue
            seconds = time.perf_counter() - started
            for runtime, model in made.items():
                rows.append(_judged(engine, runtime, model, judge, seconds))
                if rows[-1].reason is None:
                    graphs[engine, runtime] = model
    with console.status("timing in turns"):
        times = _timed(graphs, judge.feeds[0])
    rows = [_with_time(row, times) for row in rows]
    report = {
        "task": task,
        "size": side,
        "crops": crops,
        "gate_crops": len(case.calibration.gates),
        "float32_milliseconds": {r: round(times["float32", r], 2) for r in RUNTIMES},
        "versions": _versions(),
        "rows": [asdict(row) for row in rows],
    }
    _print(report, rows)
    if out is not None:
        write_json(out, report)


def _case(task: str, calibration: CalibrationSet, size: int) -> Case:
    model = build_model(read_checkpoint(embedded_path(task), task=task))
    static = static_form(model, draw_noise(model.config, size, size))
    inputs = [
        (torch.from_numpy(example.degraded.transpose(2, 0, 1)[None].copy()),)
        for example in calibration.ranges[:_EQUALIZATION_CROPS]
    ]
    static, _ = equalize(static, channel_factors(static, inputs))
    for name in get_target("onnx").rewrites["int8"]:
        static = REWRITES[name](static).static
    probe = to_probe_graph(static, inputs[0][0], None)
    return Case(
        static=static, probe=probe, shipped=to_shipped_graph(probe, {}), calibration=calibration
    )


def _judged(engine: str, runtime: str, model: onnx.ModelProto, judge: Judge, seconds: float) -> Row:
    try:
        with running(model, runtime) as run:
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


def _timed(
    graphs: dict[tuple[str, str], onnx.ModelProto], feed: Feed
) -> dict[tuple[str, str], float]:
    """Return median milliseconds, measured in turns."""
    with contextlib.ExitStack() as stack:
        runs = {key: stack.enter_context(running(model, key[1])) for key, model in graphs.items()}
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
    names = ("onnxruntime", "openvino", "model-compression-toolkit", "torch")
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
