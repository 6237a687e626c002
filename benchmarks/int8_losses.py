"""The quality that int8 bundles lose on photos that were used for neither training nor calibration.

    python benchmarks/int8_losses.py --data photos/val --calibration photos/train
    python benchmarks/int8_losses.py --data photos/val --targets imx500 --tasks bfr

Bundles of the shipped checkpoints are exported as by `make export` (cached searches are reused). A
target that fails its gates is reported with the reason. Photo i of the folder's sorted list is
cropped to its centre and degraded with `np.random.default_rng([1, i])`. The int8 bundle restores it
in each of its runtimes and is compared with the fp32 bundle for ONNX Runtime.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.methods import parse_tasks
from benchmarks.options import writable
from elir_edge.checkpoints.own import embedded_path, read_checkpoint
from elir_edge.cli.doctor import installed_version
from elir_edge.console import console, counting_progress, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage, to_uint8
from elir_edge.errors import ElirError, UsageError
from elir_edge.files import write_json
from elir_edge.runtime import Bundle, Restorer
from elir_edge.tasks import TASKS
from export.calibration.judge import Quality, differences
from export.calibration.photos import DEFAULT_CROPS, CalibrationCrop
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8
from export.plan import run_export
from export.request import Request
from export.targets.registry import TARGETS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SEED = 1
_LIBRARIES = ("onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "torch")


@dataclass(frozen=True, kw_only=True)
class Loss(Quality):
    """What one runtime's int8 loses, in dB over photos.

    Attributes:
        lost_error_db: standard error of the mean that is lost; None for a single photo.
        worst_lost_db: of the photo that loses most.
        passed: whether the gates of an export are kept.
    """

    lost_error_db: float | None
    worst_lost_db: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class LossRow:
    """A bundle in a runtime; `reason` says why there is none."""

    task: str
    target: str
    runtime: str | None = None
    reason: str | None = None
    loss: Loss | None = None


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos that nothing has seen.")],
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of photos; default: scikit-image's photos.")
    ] = None,
    tasks: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(TASKS),
    targets: Annotated[str, typer.Option(help="Comma-separated.")] = "onnx,tflite",
    size: Annotated[int, typer.Option(min=64, help="Side of the centre crop.")] = 256,
    crops: Annotated[int, typer.Option(min=1, help="To calibrate on.")] = DEFAULT_CROPS,
    every: Annotated[int, typer.Option(min=1, help="Use every n-th photo only.")] = 1,
    bundles: Annotated[
        Path | None, typer.Option(file_okay=False, help="Keep the bundles here.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(callback=writable, help="Write the result as JSON after each task."),
    ] = None,
) -> None:
    """Export, restore and print a table; exit code 1 where a bundle could not be made."""
    chosen = _parse_targets(targets)
    names = parse_tasks(tasks)
    paths = list_images(data)
    indices = range(0, len(paths), every)
    clean = [to_float(centre_crop(read_rgb(paths[i]), size)) for i in indices]
    rows: list[LossRow] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = bundles or Path(scratch)
        for task in names:
            learned = read_checkpoint(embedded_path(task), task=task).degradation
            photos = [
                _example(task, image, i, learned) for i, image in zip(indices, clean, strict=True)
            ]
            plain = run_export(Request(task=task, target="onnx", size=size, out=folder)).folder
            reference = _restored(f"{task}, fp32", plain, "onnxruntime", photos)
            for target in chosen:
                request = Request(
                    task=task,
                    target=target,
                    precision="int8",
                    size=size,
                    calibration=calibration,
                    crops=crops,
                    out=folder,
                )
                rows += _measure(request, photos, reference)
            if out is not None:
                write_json(out, _report(rows, len(indices), size, crops))
    console.print(_table(rows, f"{len(indices)} photos, {size} x {size}, {crops} crops"))
    for row in rows:
        if row.reason is not None:
            console.print(f"{row.task} for {row.target}: {row.reason}", markup=False)
    if any(row.reason is not None for row in rows):
        raise typer.Exit(1)


def _parse_targets(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    possible = [
        name
        for name, target in TARGETS.items()
        if "int8" in target.precisions and name != "tensorrt"
    ]
    unknown = [name for name in names if name not in possible]
    if unknown:
        raise UsageError(
            f"--targets {', '.join(unknown)} cannot be measured here",
            expected=f"some of {', '.join(possible)}",
        )
    return names


def _example(task: str, clean: FloatImage, index: int, degradation: str | None) -> CalibrationCrop:
    degraded = to_uint8(degrade(task, clean, np.random.default_rng([_SEED, index]), degradation))
    return CalibrationCrop(clean=clean, degraded=to_float(degraded))


def _measure(
    request: Request, photos: Sequence[CalibrationCrop], reference: Sequence[FloatImage]
) -> list[LossRow]:
    label = f"{request.task} for {request.target}"
    try:
        with console.status(label) as status:
            exported = run_export(
                request, lambda stage, detail, _: status.update(f"{label}: {stage} {detail}")
            )
    except ElirError as error:
        return [LossRow(task=request.task, target=request.target, reason=str(error))]
    rows = []
    for runtime in Bundle.open(exported.folder).runtimes:
        restored = _restored(f"{label} in {runtime}", exported.folder, runtime, photos)
        loss = losses([photo.clean for photo in photos], reference, restored)
        rows.append(LossRow(task=request.task, target=request.target, runtime=runtime, loss=loss))
    return rows


def _restored(
    label: str, bundle: Path, runtime: str, photos: Sequence[CalibrationCrop]
) -> list[FloatImage]:
    restorer = Restorer(bundle, runtime=runtime)
    with counting_progress() as progress:
        return [restorer.run(each.degraded) for each in progress.track(photos, description=label)]


def losses(
    clean: Sequence[FloatImage], reference: Sequence[FloatImage], restored: Sequence[FloatImage]
) -> Loss:
    """Compare int8's images with the ground truth and with fp32's, (H, W, 3) in [0, 1].

    Raises:
        ParityError: images of other shapes.
        ElirError: a value is not finite.
    """
    if not all(np.isfinite(image).all() for image in restored):
        raise ElirError("an int8 bundle returned values that are not finite")
    near, lost = differences(clean, reference, restored)
    quality = Quality.of(near, lost)
    return Loss(
        **asdict(quality),
        lost_error_db=float(np.std(lost, ddof=1) / math.sqrt(len(lost))) if len(lost) > 1 else None,
        worst_lost_db=max(lost),
        passed=quality.within(MIN_PSNR_INT8, MAX_LOST_INT8),
    )


def _report(rows: Sequence[LossRow], num_photos: int, size: int, crops: int) -> dict[str, Any]:
    return {
        "num_photos": num_photos,
        "size": size,
        "seed": _SEED,
        "crops": crops,
        "versions": {name: installed_version(name) or "not installed" for name in _LIBRARIES},
        "rows": [asdict(row) for row in rows],
    }


def _table(rows: Sequence[LossRow], title: str) -> Table:
    heads = ("task", "target, runtime", "to fp32", "worst", "lost", "most", "gates")
    table = Table(*heads, title=f"{title}; dB", box=SIMPLE_HEAD)
    for row in rows:
        loss = row.loss
        if loss is None:
            continue
        error = "" if loss.lost_error_db is None else f" ± {loss.lost_error_db:.3f}"
        table.add_row(
            row.task,
            f"{row.target}, {row.runtime}",
            f"{loss.psnr_db:.1f}",
            f"{loss.worst_psnr_db:.1f}",
            f"{loss.lost_db:.3f}{error}",
            f"{loss.worst_lost_db:.2f}",
            "kept" if loss.passed else "missed",
        )
    return table


if __name__ == "__main__":
    run_app(app)
