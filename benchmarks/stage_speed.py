"""Where the time goes: milliseconds and share of the machine's peak of every stage and Euler step.

    python benchmarks/stage_speed.py --task sr --checkpoint sr-paper.safetensors
    python benchmarks/stage_speed.py --task denoising --precision int8 --runtime openvino

The graph is cut between its stages, and the pieces and the whole take turns in one process. A
share of the peak is a piece's multiply-accumulates a second over those of the best chain of
convolutions in the same runtime and run (`peaks.py`). int8 is the search's first placement, with
ranges of a few crops and no gates: the speed of what `--quick` makes.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import onnx.utils
import typer
from rich.table import Table

from benchmarks.options import JsonFile
from benchmarks.peaks import Arithmetic, count_macs, fastest_chain
from benchmarks.quantizers import RUNTIMES, Case, case_of
from elir_edge.checkpoints.own import build_model, embedded_path, read_checkpoint
from elir_edge.console import console, counting_progress, run_app
from elir_edge.errors import UsageError
from elir_edge.files import write_json
from elir_edge.machine import processor_name
from elir_edge.tasks import get_task
from export.calibration.judge import feed_of
from export.calibration.photos import load_calibration
from export.calibration.timing import Feed, ModelRunner, time_in_turns
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from export.qdq.calibrated import CalibratedGraph, QdqCandidates, QdqRecipe
from export.qdq.running import running
from export.request import require_fitting_size

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
WHOLE, CHAIN = "whole", "peak"
_NAMES = {"latent": "encoder", "coarse": "coarse estimator", RESTORED: "decoder"}
PRECISIONS: tuple[Arithmetic, ...] = ("fp32", "int8")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stage as a graph of its own, or the whole graph.

    Attributes:
        inputs: its input, as the stages before it compute it.
    """

    name: str
    model: onnx.ModelProto
    inputs: Feed

    @property
    def macs(self) -> int:
        """Multiply-accumulates of its convolutions."""
        return count_macs(self.model)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A piece's speed.

    Attributes:
        milliseconds: median over the turns.
        of_whole: its share of the whole graph's time.
        of_peak: its rate over that of the fastest chain.
    """

    precision: Arithmetic
    runtime: str
    piece: str
    gmac: float
    milliseconds: float
    of_whole: float
    of_peak: float


@app.command()
def main(
    task: Annotated[str, typer.Option(help="Task of the checkpoint.")] = "denoising",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    size: Annotated[int | None, typer.Option(help="Side, pixels; default: the task's.")] = None,
    precision: Annotated[str, typer.Option(help="Comma-separated: fp32, int8.")] = "fp32,int8",
    runtime: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(RUNTIMES),
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each piece.")] = 5,
    crops: Annotated[int, typer.Option(min=1, help="To observe ranges on.")] = 4,
    out: JsonFile = None,
) -> None:
    """Measure and print a table for each precision and runtime."""
    precisions = chosen("precision", precision, PRECISIONS)
    runtimes = chosen("runtime", runtime, RUNTIMES)
    side = get_task(task).image_size if size is None else size
    read = read_checkpoint(checkpoint or embedded_path(task), task=task)
    model = build_model(read)
    require_fitting_size(side, model)
    case = case_of(model, load_calibration(task, side, None, crops=crops), side)
    feed = feed_of(case.calibration.gates[0], 1, None)
    graphs = graphs_of(case, precisions, runtimes)
    rows: list[Row] = []
    with counting_progress() as bar:
        for arithmetic, name in bar.track([*graphs], description="measuring"):
            pieces = cut(graphs[arithmetic, name], feed, model.config.num_steps)
            rows += measured(pieces, arithmetic, name, threads=threads, rounds=rounds)
    for arithmetic, name in graphs:
        title = f"{task}, {read.config.variant}, {side} pixels, {arithmetic}, {name}"
        console.print(
            _table(title, [r for r in rows if (r.precision, r.runtime) == (arithmetic, name)])
        )
    if out is not None:
        report = {"task": task, "model": read.config.variant, "size": side, "threads": threads}
        report |= {"processor": processor_name(), "checkpoint_sha256": read.sha256}
        write_json(out, report | {"rows": [asdict(row) for row in rows]})


def chosen(what: str, text: str, known: Sequence[str]) -> list[str]:
    """Return the names in a comma-separated text.

    Raises:
        UsageError: one is not known.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"unknown {what} {name!r}", expected=f"one of {', '.join(known)}")
    return names


def graphs_of(
    case: Case, precisions: Sequence[str], runtimes: Sequence[str]
) -> dict[tuple[Arithmetic, str], onnx.ModelProto]:
    """Return a case's graph in each precision and runtime; int8 as `--quick` places it."""
    graphs: dict[tuple[Arithmetic, str], onnx.ModelProto] = {}
    if "fp32" in precisions:
        graphs |= {("fp32", runtime): case.shipped for runtime in runtimes}
    if "int8" in precisions:
        with console.status("observing activations"):
            calibrated = CalibratedGraph(case.probe, case.shipped, case.calibration)
        for runtime in runtimes:
            placement = QdqCandidates(calibrated, runtime).placements[0]
            recipe = QdqRecipe(placement=placement, estimator="mse", rounding="nearest")
            graphs["int8", runtime] = calibrated.quantize(recipe)
    return graphs


def cut(model: onnx.ModelProto, feed: Feed, num_steps: int) -> list[Piece]:
    """Cut a graph between its stages.

    Args:
        model: a shipped graph whose noise is a constant.
        feed: its input.
        num_steps: Euler steps of it.

    Returns:
        Encoder, coarse estimator, each Euler step, decoder, and the whole graph at the end.
    """
    steps = {f"step_{i}": f"Euler step {i}" for i in range(1, num_steps + 1)}
    names = {"latent": _NAMES["latent"], "coarse": _NAMES["coarse"], **steps}
    names[RESTORED] = _NAMES[RESTORED]
    inferred = onnx.shape_inference.infer_shapes(model)
    extractor = onnx.utils.Extractor(inferred)
    pieces = []
    values, before = dict(feed), IMAGE
    for output, name in names.items():
        piece = Piece(
            name=name,
            model=extractor.extract_model([before], [output]),
            inputs={before: values[before]},
        )
        with running(piece.model) as run:
            values[output] = run(piece.inputs)[output]
        pieces.append(piece)
        before = output
    return [*pieces, Piece(name=WHOLE, model=inferred, inputs=feed)]


def measured(
    pieces: Sequence[Piece], precision: Arithmetic, runtime: str, *, threads: int, rounds: int
) -> list[Row]:
    """Time pieces, of which the last is the whole, and the fastest chain in turns.

    Raises:
        BackendError: the runtime refuses one.
    """
    chain = fastest_chain(precision, runtime, threads)
    timed = [*pieces, Piece(name=CHAIN, model=chain.model, inputs=chain.feed)]
    with contextlib.ExitStack() as stack:
        runs: list[ModelRunner] = [
            _fed(stack.enter_context(running(each.model, runtime, threads)), each.inputs)
            for each in timed
        ]
        medians = [float(np.median(times)) for times in time_in_turns(runs, {}, rounds=rounds)]
    peak = chain.macs / medians[-1]
    whole = medians[-2]
    return [
        Row(
            precision=precision,
            runtime=runtime,
            piece=piece.name,
            gmac=round(piece.macs / 1e9, 3),
            milliseconds=round(median, 2),
            of_whole=round(median / whole, 3),
            of_peak=round(piece.macs / median / peak, 3),
        )
        for piece, median in zip(timed, medians, strict=True)
    ]


def _fed(run: ModelRunner, inputs: Feed) -> ModelRunner:
    def call(feed: Feed) -> Mapping[str, np.ndarray]:
        return run(inputs)

    return call


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table("stage", "GMAC", "ms", "of the whole", "GMAC/s", "of the peak", title=title)
    for row in rows:
        table.add_row(
            row.piece,
            f"{row.gmac:.2f}",
            f"{row.milliseconds:.2f}",
            f"{row.of_whole:.0%}",
            f"{1000 * row.gmac / row.milliseconds:.0f}",
            f"{row.of_peak:.0%}",
        )
    return table


if __name__ == "__main__":
    run_app(app)
