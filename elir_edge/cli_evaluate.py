"""`elir-edge evaluate`: scores, the bound's terms and pictures of a checkpoint or a bundle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from elir_edge.console import console, counting_progress
from elir_edge.errors import CheckpointError, ElirError, UsageError
from elir_edge.tasks import TASKS, get_task

if TYPE_CHECKING:
    from torch import nn

    from elir_edge.examples import Examples
    from elir_edge.report import Subject
    from elir_edge.trajectories import FlowReport

EPILOG = "Example: elir-edge evaluate photos-val --bundle dist/denoising-nano-onnx-fp32"


def evaluate(
    photos: Annotated[Path, typer.Argument(help="Folder of photos, or of degraded images.")],
    bundle: Annotated[Path | None, typer.Option(help="What to evaluate: a bundle.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Or a checkpoint; default: the shipped one of TASK.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(TASKS)}; default: the bundle's.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Ground truths; PHOTOS are then degraded already.")
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(help="Beside psnr and ssim: lpips,fid,fid-ffhq,niqe,musiq,clipiqa,ids."),
    ] = "psnr,ssim",
    crop: Annotated[
        int | None, typer.Option(min=32, help="Side of the central crop; default: the task's.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many only.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the degradations.")] = 1,
    size: Annotated[
        int | None, typer.Option(help="Side of a checkpoint's tiles; default: the task's.")
    ] = None,
    flow: Annotated[
        int, typer.Option(min=0, help="Images whose flow is looked at (checkpoints only).")
    ] = 8,
    autoencoder: Annotated[
        Path | None, typer.Option(help="For the bound's terms; default: the shipped one.")
    ] = None,
    device: Annotated[str, typer.Option(help="A torch device; bundles have their own.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Of a bundle: one that it was checked in.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("evaluation"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Score restored images against ground truths, and look at the flow that restored them."""
    if bundle is not None and checkpoint is not None:
        raise UsageError("--bundle and --checkpoint exclude each other", fix="pass one of them")
    if bundle is not None and (size is not None or autoencoder is not None):
        raise UsageError("--size and --autoencoder are for checkpoints")
    if reference is not None and crop is not None:
        raise UsageError("--crop is for photos that are degraded here; pairs are whole images")
    try:
        from elir_edge.evaluate import evaluate as run
        from elir_edge.evaluate import open_metrics
        from elir_edge.examples import pair_examples, photo_examples
        from elir_edge.report import report_content, write_report
        from elir_edge.trajectories import load_matplotlib
    except ModuleNotFoundError as error:
        raise ElirError(
            f"evaluating needs {error.name}, which is not installed",
            fix="install the `evaluate` extra",
        ) from error
    subject = _subject(bundle, checkpoint, task, size, device, threads, runtime)
    if reference is None:
        examples = photo_examples(subject.task, photos, crop=crop, seed=seed, limit=limit)
    else:
        examples = pair_examples(subject.task, photos, reference, limit=limit)
    looks = subject.model is not None and flow > 0
    encoder, notes = None, [] if subject.model else ["the flow of a bundle cannot be looked at"]
    if looks:  # what is missing is said before the work, not after it
        load_matplotlib()
        encoder, notes = _frozen_encoder(subject, autoencoder, device)
    opened = open_metrics([name.strip() for name in metrics.split(",") if name], device=device)
    with counting_progress() as progress:
        bar = progress.add_task("images", total=len(examples))
        result = run(
            examples,
            subject.restorer.restore,
            opened,
            lambda done: progress.update(bar, completed=done),
        )
    report = _flow_report(subject, encoder, examples, flow, device) if looks else None
    content = report_content(subject, examples, result, report, notes)
    write_report(out, content, result, report)
    if as_json:
        print(json.dumps(content, indent=2))
    else:
        _show(content, out)


def _subject(
    bundle: Path | None,
    checkpoint: Path | None,
    task: str | None,
    size: int | None,
    device: str,
    threads: int | None,
    runtime: str | None,
) -> "Subject":
    if bundle is not None:
        return _bundle_subject(bundle, task, threads, runtime)
    import torch

    from elir_edge.checkpoint import embedded_path, read_checkpoint
    from elir_edge.report import Subject
    from elir_edge.torch_backend import checkpoint_restorer, placed_model

    if task is None:
        raise UsageError("no task given", expected=f"--task, one of {', '.join(TASKS)}")
    if runtime is not None:
        raise UsageError("--runtime is for bundles", fix="pass --bundle, or leave it out")
    if threads is not None:
        torch.set_num_threads(threads)
    properties = get_task(task)
    loaded = read_checkpoint(checkpoint or embedded_path(task), task=task)
    model = placed_model(loaded, device)
    side = properties.image_size if size is None else size
    return Subject(
        kind="checkpoint",
        name=loaded.source,
        task=task,
        sha256=loaded.sha256,
        restorer=checkpoint_restorer(loaded, model, size=side, device=device),
        checkpoint=loaded,
        model=model,
    )


def _bundle_subject(
    bundle: Path, task: str | None, threads: int | None, runtime: str | None
) -> "Subject":
    from elir_edge.report import Subject
    from elir_edge.runtime import Restorer

    restorer = Restorer(bundle, threads=threads, runtime=runtime)
    manifest = restorer.bundle.manifest
    if task is not None and task != manifest.identity.task:
        raise UsageError(
            f"{bundle} is a bundle for another task", got=task, expected=manifest.identity.task
        )
    return Subject(
        kind="bundle",
        name=manifest.identity.name,
        task=get_task(manifest.identity.task).name,
        sha256=manifest.artifact().sha256,
        restorer=restorer,
    )


def _frozen_encoder(
    subject: "Subject", autoencoder: Path | None, device: str
) -> tuple["nn.Module | None", list[str]]:
    """Return E of the bound, or None and why: not every model's is shipped."""
    from elir_edge.trajectories import frozen_encoder

    assert subject.checkpoint is not None
    try:
        return frozen_encoder(subject.checkpoint, autoencoder).to(device), []
    except CheckpointError as error:
        if autoencoder is not None:
            raise
        return None, [f"the W2 bound's terms need the frozen autoencoder ({error})"]


def _flow_report(
    subject: "Subject",
    encoder: "nn.Module | None",
    examples: "Examples",
    count: int,
    device: str,
) -> "FlowReport":
    from elir_edge.evaluate import spread
    from elir_edge.trajectories import analyse, sigma_min_of

    assert subject.checkpoint is not None
    assert subject.model is not None
    chosen = spread(len(examples), count)
    with counting_progress() as progress:
        return analyse(
            subject.model,
            encoder,
            (examples.load(i) for i in progress.track(chosen, description="flows")),
            examples.task,
            sigma_min=sigma_min_of(subject.checkpoint),
            device=device,
        )


def _show(content: dict[str, Any], out: Path) -> None:
    from elir_edge.report import HEADER, table_rows, title

    table = Table(*HEADER, title=title(content))
    for row in table_rows(content):
        table.add_row(*row)
    console.print(table)
    for note in content["notes"]:
        console.print(f"note: {note}", markup=False, emoji=False, soft_wrap=True)
    print(f"report {out}")
