"""The command line of the export."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from elir_edge.console import console, run_app, warn
from elir_edge.errors import UsageError
from elir_edge.runtime.backends.tensorrt.support import GPUS, JETSONS, PRECISIONS, RTX
from elir_edge.runtime.manifest import Check
from elir_edge.tasks import TASKS
from export.bundle import BundleContent
from export.calibration.photos import DEFAULT_CROPS, MIN_CROPS
from export.plan import ExportResult, run_export, stages_of
from export.request import Request, estimate_fit
from export.targets.registry import TARGETS

app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(
    epilog="Example: python -m export --task denoising --target onnx --precision fp16 --size 512"
)
def export(
    task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")] = "",
    target: Annotated[str, typer.Option(help=f"One of {', '.join(TARGETS)}.")] = "onnx",
    precision: Annotated[
        str | None, typer.Option(help="Default: the first that the target lists.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the graph's input image, in pixels.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights file; default: the shipped weights of the task.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Required model variant, e.g. nano.")] = None,
    noise: Annotated[
        str, typer.Option(help="Noise of the graph: constant, input or zero.")
    ] = "constant",
    batch: Annotated[int, typer.Option(help="Number of images per run of the graph.")] = 1,
    rewrites: Annotated[
        str | None, typer.Option(help="Exact rewrites, comma-separated; default: the target's.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder of calibration photos; default: photos of scikit-image."),
    ] = None,
    crops: Annotated[
        int | None,
        typer.Option(help=f"Number of crops to calibrate on; default: {DEFAULT_CROPS}."),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Fast int8 for a first look: few crops, one placement, no enforced gates.",
        ),
    ] = False,
    decoder: Annotated[
        str,
        typer.Option(
            help="own, or slim: nano's decoder instead of TAESD3's, at a tenth of the work."
        ),
    ] = "own",
    metric_weights: Annotated[
        Path | None,
        typer.Option(help="Folder with LPIPS's weights, to measure the slim decoder's loss."),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(help="GPU for TensorRT: sm75 (default), sm80, sm86, sm89, sm120, current."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the bundles.")] = Path("dist"),
    fit: Annotated[
        bool, typer.Option("--fit", help="Only tell whether the model fits the target (imx500).")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a bundle of another request.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print what each exact rewrite changed and refused.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Print what each target supports and exit.")
    ] = False,
) -> None:
    """Export a checkpoint as a verified bundle."""
    if list_:
        console.print(_support_table())
        console.print(_gpu_table())
        return
    if not task:
        raise UsageError("no task given", expected=f"--task with one of {', '.join(TASKS)}")
    request = Request(
        task=task,
        target=target,
        precision=precision,
        size=size,
        checkpoint=checkpoint,
        model=model,
        noise=noise,  # type: ignore[arg-type]  # checked by Request
        batch=batch,
        rewrites=None if rewrites is None else tuple(r for r in rewrites.split(",") if r),
        calibration=calibration,
        crops=crops,
        quick=quick,
        decoder=decoder,  # type: ignore[arg-type]  # checked by Request
        metric_weights=metric_weights,
        gpu=gpu,
        force=force,
        out=out,
    )
    if fit:
        found = estimate_fit(request)
        print(found)
        found.require()
        return
    if quick:
        warn("int8 gates are recorded, not enforced: export without --quick before you ship")
    elif crops is not None and crops < MIN_CROPS:
        warn(
            f"{crops} crops are few; int8 results may depend on their choice (better: {MIN_CROPS})"
        )
    with Progress(
        TextColumn("{task.description:<50}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_interactive,
    ) as progress:
        exported = run_export(request, _Bars(progress, len(stages_of(request))).show)
    if verbose:
        console.print(_rewrite_table(exported.content))
    _print_result(exported)


class _Bars:
    """A progress bar for the export's stages and, below it, one for the current detail.

    The lower bar restarts with each detail, so that its remaining time is that of the detail.
    """

    def __init__(self, progress: Progress, stages: int) -> None:
        self._progress = progress
        self._whole = progress.add_task("start", total=stages)
        self._detail: TaskID | None = None
        self._text = ""

    def show(self, stage: str, detail: str, done: float | None) -> None:
        """Show a progress report of `run_export`; see `StageProgress`."""
        if not detail:
            self._end_detail()
            self._progress.update(self._whole, description=stage, advance=1)
            return
        if detail != self._text or self._detail is None:
            self._end_detail()
            self._detail = self._progress.add_task(f"  {detail}", total=None)
            self._text = detail
        if done is not None:
            self._progress.update(self._detail, total=1.0, completed=done)

    def _end_detail(self) -> None:
        if self._detail is not None:
            self._progress.remove_task(self._detail)
        self._detail, self._text = None, ""


def _print_result(exported: ExportResult) -> None:
    console.print(_check_table(exported.content.checks))
    for check in exported.content.checks:
        if check.form == "plausibility" and not check.passed:
            warn(
                f"these weights hardly restore: {check.value:.1f} dB PSNR on the sample photo, "
                f"expected at least {check.threshold:.1f}; see the preview"
            )
        if check.form == "slim decoder" and not check.passed:
            warn(
                f"the slim decoder loses {check.value:.3f} ({check.metric}) against the full one, "
                f"expected at most {check.threshold:g}; see the preview"
            )
    artifact = exported.folder / exported.content.emitted.artifact.name
    print(f"bundle   {exported.folder}")
    print(f"artifact {artifact} ({artifact.stat().st_size / 1e6:.1f} MB)")
    print(f"preview  {exported.folder / 'preview.png'}")
    for remark in exported.content.emitted.remarks:
        print(f"note     {remark}")
    command = _command_beside_python()
    print("use it:")
    print(f"  {command} restore photo.png restored.png --bundle {exported.folder}")
    print(f"  {command} verify {exported.folder}")


def _rewrite_table(content: BundleContent) -> Table:
    table = Table("exact rewrite", "applied", "left unchanged")
    for name, count in content.rewrites.items():
        table.add_row(name, str(count), escape("\n".join(content.rewrites_refused.get(name, ()))))
    return table


def _check_table(checks: list[Check]) -> Table:
    """Return a table with a row per form and reference: the stage closest to its limit."""
    groups: dict[tuple[str, str, str], list[Check]] = {}
    for check in checks:
        groups.setdefault((check.form, check.reference, check.metric), []).append(check)
    table = Table("form", "against", "worst stage", "value", "limit")
    missed = sum(not check.passed for check in checks)
    outcome = f"{missed} failed, which was allowed" if missed else "all passed"
    table.title = f"{len(checks)} checks, {outcome}"
    for (form, reference, metric), group in groups.items():
        nearest = min(group, key=lambda c: c.value if c.at_least else c.threshold - c.value)
        unit = " dB" if metric.endswith("_db") else ""
        sign = ">=" if nearest.at_least else "<="
        value, limit = f"{nearest.value:.3g}{unit}", f"{sign} {nearest.threshold:g}{unit}"
        stage = f"{nearest.stage} (of {len(group)})"
        table.add_row(form, reference, stage, value, limit)
    return table


def _command_beside_python() -> str:
    """Return the shell's command for `elir-edge`: its name if it is on PATH, else its path."""
    command = Path(sys.executable).parent / "elir-edge"
    if shutil.which("elir-edge") or not command.exists():
        return "elir-edge"
    here = Path.cwd()
    return str(command.relative_to(here) if command.is_relative_to(here) else command)


def _support_table() -> Table:
    table = Table("target", "for", "precisions (first: default)", "exact rewrites")
    for target in TARGETS.values():
        rewrites = "; ".join(
            f"{', '.join(names)} ({', '.join(precisions)})"
            for names, precisions in _grouped(target.rewrites)
        )
        table.add_row(target.name, target.title, ", ".join(target.precisions), rewrites)
    return table


def _gpu_table() -> Table:
    table = Table("GPU", "what it is", "TensorRT engines", title="--target tensorrt --gpu")
    for gpu, name in GPUS.items():
        table.add_row(gpu, name, f"built anywhere: {', '.join(PRECISIONS[RTX][gpu])}")
    for gpu, jetson in JETSONS.items():
        table.add_row(gpu, jetson.name, jetson.way)
    return table


def _grouped(rewrites: Mapping[str, tuple[str, ...]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return each list of rewrites with the precisions that share it."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for precision, names in rewrites.items():
        groups.setdefault(names, []).append(precision)
    return list(groups.items())


def main() -> NoReturn:
    """Run the command line."""
    run_app(app)
