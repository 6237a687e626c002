"""Frames per second of every runtime on this machine.

Each runtime has its own process. They take turns of a few images each, so that other load on the
machine affects all equally; ratios are more reliable than milliseconds. Two times are measured per
image: the model alone (float tensor in and out), and the whole (8-bit image in and out).

A roofline is measured too: chains of convolutions that suit the machine best take turns with the
runtimes, and each row's multiply-accumulates per second are compared with theirs.

    python benchmarks/fps.py                        the shipped denoising checkpoint, 256 x 256
    python benchmarks/fps.py --model paper --task bfr --size 512    published sizes, random weights
    python benchmarks/fps.py --quick                without int8, whose recipe is searched for

Rows that need no search are first measured on a few images, for a preview. The table of all rows is
filled in during the measurement.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import onnx
import torch
import typer
from rich.live import Live
from rich.progress import track
from rich.table import Table

from benchmarks import gpu, roofline
from benchmarks.devices import android
from benchmarks.peaks import Arithmetic, count_macs, fastest_chain
from benchmarks.sensor import estimate_line
from elir_edge.checkpoints.own import (
    Checkpoint,
    build_model,
    embedded_path,
    read_checkpoint,
    save_checkpoint,
)
from elir_edge.console import console, run_app
from elir_edge.errors import ElirError, ParityError, UsageError
from elir_edge.files import write_json
from elir_edge.machine import processor_name
from elir_edge.model import Elir, draw_noise, initialize, paper_config_for
from elir_edge.runtime import Restorer
from elir_edge.tasks import get_task
from export.plan import run_export
from export.qdq.running import running
from export.request import Request
from export.static.unroll import static_form

BASELINE = "torch eager (published way)"
ROWS: dict[str, str] = {
    BASELINE: "torch-published",
    "torch eager, static graph": "torch-static",
    "ONNX Runtime fp32": "onnxruntime-fp32",
    "ONNX Runtime fp16": "onnxruntime-fp16",
    "ONNX Runtime int8": "onnxruntime-int8",
    "OpenVINO fp32": "openvino-fp32",
    "OpenVINO int8": "openvino-int8",
    "LiteRT fp32": "litert-fp32",
    "LiteRT int8": "litert-int8",
    "LiteRT fp32, phone": "phone-fp32",
    "LiteRT int8, phone": "phone-int8",
    **gpu.ROWS,
}
"""Titles and the names of the workers behind them."""
PEAKS = {
    "ONNX Runtime fp32": "peak-onnxruntime-fp32",
    "OpenVINO fp32": "peak-openvino-fp32",
    "ONNX Runtime int8": "peak-onnxruntime-int8",
    "OpenVINO int8": "peak-openvino-int8",
}
"""Where the roof is measured (`peaks.py`)."""
EXPORTS = (
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "int8"),
    ("tflite", "fp32"),
    ("tflite", "int8"),
)
TARGETS = {"onnxruntime": "onnx", "openvino": "onnx", "litert": "tflite", "phone": "tflite"}
"""Which target's bundle a runtime loads."""
_RUNTIMES = ("torch", "onnxruntime", "openvino", "ai-edge-litert")
_QUICK_IMAGES, _QUICK_WARMUP = 10, 3
_WARMUP = 10
_RANDOM_CROPS = 16
"""Calibration crops where the weights are random: ranges then matter for nothing."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One runtime, ready: run the model alone, or an 8-bit image through everything.

    `macs` are the multiply-accumulates of a run. With `own_clock` the calls return milliseconds
    that were measured elsewhere.
    """

    model_only: Callable[[], object]
    end_to_end: Callable[[], object]
    macs: int
    own_clock: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured, milliseconds per image; or why nothing was.

    A row with an `estimate` was not measured at all: that is its formula.
    """

    runtime: str
    reason: str | None = None
    median_ms: float | None = None
    p90_ms: float | None = None
    fps: float | None = None
    end_to_end_ms: float | None = None
    end_to_end_fps: float | None = None
    ratio: float | None = None
    gmac_per_s: float | None = None
    share_of_peak: float | None = None
    estimate: str | None = None


def _photo(size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)


def _torch_runner(checkpoint: Path, task: str, size: int, *, static: bool, device: str) -> Runner:
    model = build_model(read_checkpoint(checkpoint, task=task)).to(device)
    photo = _photo(size)
    x = (torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255).to(device)
    fixed = draw_noise(model.config, size, size)
    unrolled = static_form(model.cpu(), fixed) if static else None

    @torch.no_grad()
    def restore(image: torch.Tensor) -> torch.Tensor:
        if unrolled is not None:
            restored: torch.Tensor = unrolled.stages(image)["restored"]
        else:
            # The published code draws the noise anew for every image.
            noise = model.config.sigma_s * torch.randn(fixed.shape, device=device)
            restored = model(image, noise).clamp(0, 1)
        if device != "cpu":
            torch.cuda.synchronize()
        return restored

    def whole() -> object:
        image = (torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255).to(device)
        restored = (restore(image)[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
        return restored.cpu().numpy()

    return Runner(model_only=lambda: restore(x), end_to_end=whole, macs=_macs(checkpoint.parent))


def _macs(work: Path) -> int:
    """Return the multiply-accumulates of the float32 graph: rewrites and int8 do the same work."""
    return count_macs(onnx.load(_bundle(work, "onnx", "fp32") / "model.onnx"))


def _bundle_runner(bundle: Path, runtime: str, size: int, threads: int, macs: int) -> Runner:
    restorer = Restorer(bundle, threads=threads, runtime=runtime)
    photo = _photo(size // restorer.upscale)
    x = _photo(size).astype(np.float32) / np.float32(255)
    return Runner(
        model_only=lambda: restorer.run(x),
        end_to_end=lambda: restorer.restore(photo),
        macs=macs,
    )


def _bundle(work: Path, target: str, precision: str) -> Path:
    (bundle,) = (work / "dist").glob(f"*-{target}-{precision}*")
    return bundle


@contextlib.contextmanager
def _peak_runner(arithmetic: Arithmetic, runtime: str, threads: int) -> Iterator[Runner]:
    chain = fastest_chain(arithmetic, runtime, threads)
    with running(chain.model, runtime, threads) as run:
        yield Runner(
            model_only=lambda: run(chain.feed),
            end_to_end=lambda: run(chain.feed),
            macs=chain.macs,
        )


@contextlib.contextmanager
def _runner(worker: str, work: Path, task: str, size: int, threads: int) -> Iterator[Runner]:
    if worker.startswith("peak-"):
        _, runtime, arithmetic = worker.split("-")
        with _peak_runner(cast("Arithmetic", arithmetic), runtime, threads) as runner:
            yield runner
        return
    if worker.startswith("gpu-"):
        checkpoint = work / "checkpoint.safetensors"
        alone, whole = gpu.make_calls(worker, checkpoint, work, task, _photo(size))
        yield Runner(model_only=alone, end_to_end=whole, macs=_macs(work))
        return
    if worker == "torch-cuda":
        gpu.require_cuda()
    if worker.startswith("torch-"):
        yield _torch_runner(
            work / "checkpoint.safetensors",
            task,
            size,
            static=worker == "torch-static",
            device="cuda" if worker == "torch-cuda" else "cpu",
        )
        return
    runtime, precision = worker.split("-")
    program = android.check_phone() if runtime == "phone" else None
    target = TARGETS[runtime]
    refusal = work / f"{target}-{precision}.reason"
    if refusal.exists():
        raise ElirError(refusal.read_text())
    bundle = _bundle(work, target, precision)
    if program is None:
        yield _bundle_runner(bundle, runtime, size, threads, _macs(work))
        return
    alone = android.PhoneRunner(program, bundle / "model.tflite", threads)
    yield Runner(model_only=alone, end_to_end=alone, macs=_macs(work), own_clock=True)


@app.command(hidden=True)
def worker(name: str, work: Path, task: str, size: int, threads: int) -> None:
    """Serve one runtime: a line `KIND COUNT` in, a JSON line of milliseconds out."""
    torch.set_num_threads(threads)
    with contextlib.ExitStack() as stack:
        try:
            runner = stack.enter_context(_runner(name, work, task, size, threads))
        except ElirError as error:
            print(json.dumps({"reason": str(error)}), flush=True)
            return
        print(json.dumps({"macs": runner.macs}), flush=True)
        _serve(runner)


def _serve(runner: Runner) -> None:
    for line in sys.stdin:
        kind, count = line.split()
        call = runner.model_only if kind == "model" else runner.end_to_end
        times = []
        for _ in range(int(count)):
            started = time.perf_counter()
            told = call()
            elapsed = 1000 * (time.perf_counter() - started)
            times.append(told if runner.own_clock else elapsed)
        print(json.dumps(times), flush=True)


class _Process:
    """A worker process."""

    def __init__(self, worker_name: str, work: Path, task: str, size: int, threads: int) -> None:
        arguments = ["worker", worker_name, str(work), task, str(size), str(threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        greeting = self._read()
        self.reason: str | None = greeting.get("reason")
        self.macs: int = greeting.get("macs", 0)

    def time(self, kind: str, count: int) -> list[float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind} {count}\n")
        self._process.stdin.flush()
        times: list[float] = self._read()
        return times

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise ElirError(f"a benchmark process ended early (exit code {code})")
        return json.loads(line)


@app.command()
def run(
    task: Annotated[str, typer.Option(help="The task.")] = "denoising",
    model: Annotated[str, typer.Option(help="nano (shipped weights) or paper (random).")] = "nano",
    size: Annotated[int | None, typer.Option(help="Side, pixels; default: the task's.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads per runtime.")] = (
        os.cpu_count() or 1
    ),
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Timed per runtime and kind; default: 200 with a GPU, else 50."),
    ] = None,
    warmup: Annotated[
        int | None, typer.Option(min=0, help="Untimed per runtime and kind; default: 10.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of photos for int8; default: scikit-image's.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first look: no int8, few images.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
) -> None:
    """Measure and print a table."""
    side = size or get_task(task).image_size
    if quick and calibration is not None:
        raise UsageError("nothing is calibrated with --quick", fix="leave out --calibration")
    if images is None:
        images = gpu.PROTOCOL_IMAGES if torch.cuda.is_available() else 50
        images = _QUICK_IMAGES if quick else images
    if warmup is None:
        warmup = _QUICK_WARMUP if quick else _WARMUP
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(work=Path(folder), task=task, size=side, threads=threads)
        _prepare(bench, model)
        _export(bench, model, [each for each in EXPORTS if each[1] != "int8"], None)
        first = (images, warmup) if quick else (_QUICK_IMAGES, _QUICK_WARMUP)
        measured = bench.measure(*first, int8=False)
        if not quick:
            console.print(_table("first look, without int8", measured.rows()))
            _export(bench, model, [each for each in EXPORTS if each[1] == "int8"], calibration)
            measured = bench.measure(images, warmup, int8=True)
        estimates = _estimates(onnx.load(_bundle(bench.work, "onnx", "fp32") / "model.onnx"))
    rows = [*measured.rows(), *estimates]
    report = {
        "task": task,
        "model": model,
        "calibration": "given photos" if calibration else "scikit-image's photos",
        "size": side,
        "threads": threads,
        "images": images,
        "warmup": warmup,
        "machine": {
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "phone": android.phone_name(),
            "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        },
        "versions": {name: version(name) for name in (*_RUNTIMES, "elir-edge")},
        "peak_gmac_per_s": measured.peaks(),
        "rows": [asdict(row) for row in rows],
    }
    _print(report, rows)
    if out is not None:
        write_json(out, report)


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What is measured, and where."""

    work: Path
    task: str
    size: int
    threads: int

    def measure(self, images: int, warmup: int, *, int8: bool) -> "_Measured":
        """Time all runtimes in turns; the table is shown as it fills.

        Args:
            images: timed per runtime and kind.
            warmup: untimed ones before.
            int8: whether its rows are among them.
        """

        def start(rows: dict[str, str]) -> dict[str, _Process]:
            return {
                title: _Process(name, self.work, self.task, self.size, self.threads)
                for title, name in rows.items()
                if int8 or not name.endswith("int8")
            }

        processes, roof = start(ROWS), start(PEAKS)
        everyone = {**processes, **{f"peak of {title}": p for title, p in roof.items()}}
        measured = _Measured(
            processes=processes,
            roof=roof,
            times={title: {"model": [], "end_to_end": []} for title in everyone},
        )
        try:
            with Live(console=console, transient=True, auto_refresh=False) as live:
                for done in _take_turns(everyone, measured.times, images, warmup):
                    title = f"{done} of {images} images"
                    live.update(_table(title, measured.rows()), refresh=True)
        finally:
            for process in everyone.values():
                process.close()
        return measured


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Times so far, by row and kind."""

    processes: dict[str, _Process]
    roof: dict[str, _Process]
    times: dict[str, dict[str, list[float]]]

    def rows(self) -> list[Row]:
        return _summarise(self.processes, self.times, self.peaks())

    def peaks(self) -> dict[str, float]:
        return _peaks(self.roof, self.times)


def _prepare(bench: _Bench, model: str) -> None:
    """Put the checkpoint under test into the work folder."""
    if model == "paper":
        properties = get_task(bench.task)
        config = paper_config_for(
            bench.task, num_steps=properties.num_steps, sigma_s=properties.sigma_s
        )
        network = Elir(config)
        initialize(network, torch.Generator().manual_seed(0))
        checkpoint = Checkpoint(task=bench.task, config=config, state=network.state_dict())
    elif model == "nano":
        checkpoint = read_checkpoint(embedded_path(bench.task), task=bench.task)
    else:
        raise UsageError(f"unknown model {model!r}", expected="nano or paper")
    save_checkpoint(bench.work / "checkpoint.safetensors", checkpoint, dtype=torch.float32)


def _export(
    bench: _Bench, model: str, wanted: Sequence[tuple[str, str]], calibration: Path | None
) -> None:
    """Put bundles under test, by (target, precision), into the work folder."""
    for target, precision in track(wanted, description="exporting", console=console):
        request = Request(
            task=bench.task,
            target=target,
            precision=precision,
            size=bench.size,
            checkpoint=bench.work / "checkpoint.safetensors",
            calibration=calibration,
            crops=_crops(model, precision),
            enforce_gates=model != "paper",
            out=bench.work / "dist",
        )
        try:
            run_export(request)
        except ParityError as error:
            # Random weights may miss a gate that trained ones pass; the row then says so.
            (bench.work / f"{target}-{precision}.reason").write_text(str(error))


def _crops(model: str, precision: str) -> int | None:
    """Return how many crops to calibrate on: few for random weights, whose gates say nothing."""
    return _RANDOM_CROPS if model == "paper" and precision == "int8" else None


def _take_turns(
    processes: dict[str, _Process],
    times: dict[str, dict[str, list[float]]],
    images: int,
    warmup: int,
) -> Iterator[int]:
    """Time a few images of each, in turns that begin untimed (`time_in_turns`).

    Yields:
        How many images of each are done.
    """
    lead, turn = 3, 5
    live = {title: p for title, p in processes.items() if p.reason is None}
    for process in live.values():
        for kind in ("model", "end_to_end"):
            process.time(kind, warmup)
    for start in range(0, images, turn):
        count = min(turn, images - start)
        for title, process in live.items():
            for kind, collected in times[title].items():
                process.time(kind, lead)
                collected += process.time(kind, count)
        yield start + count


def _peaks(
    processes: dict[str, _Process], times: dict[str, dict[str, list[float]]]
) -> dict[str, float]:
    """Return the highest rate of each arithmetic, in 10^9 multiply-accumulates a second."""
    rates: dict[str, float] = {}
    for title, process in processes.items():
        arithmetic = PEAKS[title].rsplit("-", 1)[1]
        median = float(np.median(times[f"peak of {title}"]["model"]))
        rates[arithmetic] = max(rates.get(arithmetic, 0.0), round(process.macs / median / 1e6, 1))
    return rates


def _estimates(model: onnx.ModelProto) -> list[Row]:
    """Return what the published GPU's peak figures allow at best; nothing in it was measured."""
    rows = []
    for arithmetic in roofline.RTX_2080_TI.tflops:
        found = roofline.estimate(model, roofline.RTX_2080_TI, arithmetic)
        rows.append(
            Row(
                runtime=f"estimate: {roofline.RTX_2080_TI.name} {arithmetic} roofline",
                median_ms=round(found.milliseconds, 3),
                fps=round(1000 / found.milliseconds, 1),
                estimate=found.formula,
            )
        )
    return rows


def _summarise(
    processes: dict[str, _Process],
    times: dict[str, dict[str, list[float]]],
    peaks: dict[str, float],
) -> list[Row]:
    baseline = float(np.median(times[BASELINE]["model"]))
    rows = []
    for title, process in processes.items():
        if process.reason is not None:
            rows.append(Row(runtime=title, reason=process.reason))
            continue
        median = float(np.median(times[title]["model"]))
        whole = float(np.median(times[title]["end_to_end"]))
        elsewhere = title in gpu.ROWS or "phone" in title
        on_gpu = title in gpu.ROWS and processes[gpu.EAGER].reason is None
        compared = float(np.median(times[gpu.EAGER]["model"])) if on_gpu else baseline
        # A CPU without fp16 arithmetic computes that file in float32.
        peak = peaks["int8" if ROWS[title].endswith("int8") else "fp32"]
        rate = process.macs / median / 1e6
        rows.append(
            Row(
                runtime=title,
                median_ms=round(median, 2),
                p90_ms=round(float(np.percentile(times[title]["model"], 90)), 2),
                fps=round(1000 / median, 2),
                end_to_end_ms=round(whole, 2),
                end_to_end_fps=round(1000 / whole, 2),
                ratio=round(compared / median, 3),
                gmac_per_s=round(rate, 1),
                share_of_peak=None if elsewhere else round(rate / peak, 3),
            )
        )
    return rows


def _table(title: str, rows: Sequence[Row]) -> Table:
    heads = ("median ms", "p90 ms", "FPS", "ratio", "whole FPS", "GMAC/s", "of peak")
    table = Table("runtime", *heads, title=title)
    table.columns[0].no_wrap = True
    for row in rows:
        if row.reason is None and row.estimate is None:
            table.add_row(
                row.runtime,
                f"{row.median_ms:.1f}",
                f"{row.p90_ms:.1f}",
                f"{row.fps:.1f}",
                f"{row.ratio:.2f}",
                f"{row.end_to_end_fps:.1f}",
                f"{row.gmac_per_s:.0f}",
                "" if row.share_of_peak is None else f"{100 * row.share_of_peak:.0f} %",
            )
    return table


def _print(report: dict[str, Any], rows: list[Row]) -> None:
    title = "{task}, {model}, {size} x {size}, batch 1, {threads} threads".format(**report)
    console.print(_table(title, rows))
    for row in rows:
        if row.reason is not None:
            console.print(f"{row.runtime}: not measured, {row.reason}", markup=False)
        if row.estimate is not None:
            text = f"{row.runtime}: {row.median_ms} ms at best = {row.estimate}; not measured"
            console.print(text, markup=False)
    shown = ", ".join(f"{rate:.0f} in {name}" for name, rate in report["peak_gmac_per_s"].items())
    console.print(f"peak of this machine in this run, GMAC/s: {shown}")
    console.print(estimate_line(), markup=False)
    console.print(f"{report['machine']['processor']}; versions {report['versions']}")


if __name__ == "__main__":
    if sys.argv[1:2] != ["worker"]:
        sys.argv.insert(1, "run")
    run_app(app)
