"""What int8 costs where: placements as a whole, each stage and Euler step alone.

    python benchmarks/int8_stages.py --task denoising
    python benchmarks/int8_stages.py --task sr --checkpoint sr-paper.safetensors --crops 32

On the crops of the search, in one runtime: PSNR against the float32 model (mean and worst crop) and
PSNR lost against the ground truth. A stage alone is quantized with nothing rounded but the inputs
of its convolutions, the most precise placement, so that no recipe can be nearer on the worst crop.

The last rows disturb the float32 model itself: each value of the image moves by up to half of
1/255, as when a photo is rounded to 8 bits. Where that alone moves the result far, so does int8.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.options import JsonFile
from benchmarks.quantizers import RUNTIMES, case_of
from elir_edge.checkpoints.own import build_model, embedded_path, read_checkpoint
from elir_edge.console import console, counting_progress, run_app
from elir_edge.errors import BackendError, UsageError
from elir_edge.files import write_json
from elir_edge.model.macs import collapsed_macs
from elir_edge.tasks import get_task
from export.calibration.judge import Judge, Quality
from export.calibration.photos import DEFAULT_CROPS, calibration_side, load_calibration
from export.calibration.ranges import Estimator
from export.calibration.timing import Feed, ModelRunner
from export.int8.candidates import outside_stages
from export.onnx_graph.to_onnx import IMAGE
from export.parity import MIN_PSNR_INT8
from export.qdq.calibrated import CalibratedGraph, QdqCandidates, QdqRecipe
from export.request import require_fitting_size

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_ESTIMATOR: Estimator = "mse"
_HALF_LEVEL = 0.5 / 255
_SEED = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that is quantized or disturbed, and what that costs (`Quality`)."""

    what: str
    psnr_db: float
    worst_psnr_db: float
    lost_db: float


@app.command()
def main(
    task: Annotated[str, typer.Option(help="Task of the checkpoint.")] = "denoising",
    checkpoint: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    size: Annotated[int | None, typer.Option(help="Side, pixels; default: the task's.")] = None,
    runtime: Annotated[str, typer.Option(help="onnxruntime or openvino.")] = "onnxruntime",
    calibration: Annotated[Path | None, typer.Option(help="Folder of photos.")] = None,
    crops: Annotated[int, typer.Option(min=1, help="To observe ranges on.")] = DEFAULT_CROPS,
    out: JsonFile = None,
) -> None:
    """Quantize part by part, judge, and print a table."""
    if runtime not in RUNTIMES:
        raise UsageError(f"unknown runtime {runtime!r}", expected=f"one of {', '.join(RUNTIMES)}")
    side = get_task(task).image_size if size is None else size
    read = read_checkpoint(checkpoint or embedded_path(task), task=task)
    model = build_model(read)
    require_fitting_size(side, model)
    examples = load_calibration(
        task,
        side,
        calibration,
        side=calibration_side(side, collapsed_macs(read.config, side)),
        crops=crops,
        degradation=read.degradation,
    )
    case = case_of(model, examples, side)
    with console.status("observing activations and rounding weights"):
        graph = CalibratedGraph(case.probe, case.shipped, examples)
    parts = [*_parts(graph, runtime)]
    rows = []
    with counting_progress() as bar:
        for what, recipe in bar.track(parts, description="judging"):
            try:
                rows.append(_judged(graph, runtime, what, recipe))
            except BackendError as error:
                console.print(f"{what}: {error}", markup=False)
    rows.append(_disturbed(graph, runtime))
    title = f"{task}, {graph.side} of {side} pixels, {runtime}, {crops} crops"
    console.print(_table(title, rows))
    if out is not None:
        report = {"task": task, "model": read.config.variant, "size": side, "side": graph.side}
        report |= {"runtime": runtime, "crops": crops, "checkpoint_sha256": read.sha256}
        write_json(out, report | {"rows": [asdict(row) for row in rows]})


def _parts(graph: CalibratedGraph, runtime: str) -> Iterator[tuple[str, QdqRecipe]]:
    candidates = QdqCandidates(graph, runtime)
    for placement in candidates.placements:
        yield f"placement {placement}", QdqRecipe(placement=placement, estimator=_ESTIMATOR)
    alone = QdqRecipe(placement=candidates.isolating, estimator=_ESTIMATOR)
    for stage, others in outside_stages(graph.convolutions).items():
        yield f"{stage} alone", replace(alone, float_nodes=others)


def _judged(graph: CalibratedGraph, runtime: str, what: str, recipe: QdqRecipe) -> Row:
    with QdqCandidates(graph, runtime).running(recipe) as run:
        return _row(what, graph.search_judge(run))


def _disturbed(graph: CalibratedGraph, runtime: str) -> Row:
    with QdqCandidates(graph, runtime).running(None) as run:
        return _row("float32, image disturbed", disturbed(graph.search_judge, run))


def disturbed(judge: Judge, run: ModelRunner) -> Quality:
    """Judge what `run` makes of images whose values are moved by up to half of 1/255."""
    generator = np.random.default_rng(_SEED)

    def run_disturbed(feed: Feed) -> dict[str, np.ndarray]:
        image = feed[IMAGE]
        moved = image + generator.uniform(-_HALF_LEVEL, _HALF_LEVEL, image.shape)
        return dict(run({**feed, IMAGE: moved.astype(image.dtype)}))

    return judge(run_disturbed)


def _row(what: str, quality: Quality) -> Row:
    return Row(what=what, **{name: round(value, 3) for name, value in asdict(quality).items()})


def _table(title: str, rows: list[Row]) -> Table:
    table = Table("quantized", "PSNR to float32, dB", "worst crop", "lost, dB", title=title)
    for row in rows:
        mark = "" if row.worst_psnr_db >= MIN_PSNR_INT8 else " missed"
        table.add_row(
            row.what, f"{row.psnr_db:.1f}", f"{row.worst_psnr_db:.1f}{mark}", f"{row.lost_db:.3f}"
        )
    return table


if __name__ == "__main__":
    run_app(app)
