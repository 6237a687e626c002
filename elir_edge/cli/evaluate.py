"""`elir-edge evaluate`: report scores, the bound's terms and pictures of a checkpoint or bundle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from elir_edge.console import console, counting_progress
from elir_edge.errors import CheckpointError, ElirError, UsageError
from elir_edge.files import refuse_among
from elir_edge.metric_table import ALWAYS, FFHQ, METRICS
from elir_edge.tasks import TASKS, get_task

if TYPE_CHECKING:
    from torch import nn

    from elir_edge.checkpoints.own import Checkpoint
    from elir_edge.evaluation.examples import Examples
    from elir_edge.evaluation.report import Subject
    from elir_edge.evaluation.trajectories import FlowReport

EPILOG = "Example: elir-edge evaluate photos-val --bundle dist/denoising-nano-onnx-fp32"
_NAMES = [name for name in METRICS if name not in ALWAYS]


def evaluate(
    photos: Annotated[Path, typer.Argument(help="Folder of photos, or of degraded images.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle to evaluate.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint to evaluate instead; default: the shipped one of TASK."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(TASKS)}; default: the bundle's.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of ground truths, if PHOTOS are already degraded.")
    ] = None,
    no_reference: Annotated[
        bool,
        typer.Option(
            "--no-reference", help="PHOTOS are already degraded, and there are no ground truths."
        ),
    ] = False,
    metrics: Annotated[
        str,
        typer.Option(
            help=f"Besides {' and '.join(ALWAYS)}: {','.join(_NAMES)}; {FFHQ}: at the images' size."
        ),
    ] = "",
    metric_weights: Annotated[
        Path | None,
        typer.Option(
            help="Folder of weights for lpips-squeeze and ids-mobilefacenet, and niqe's parameters."
        ),
    ] = None,
    degradation: Annotated[
        str | None, typer.Option(help="One of the task's degradations; default: its first.")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(min=32, help="Side of the central crop; default: the task's.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Largest number of images.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the degradations.")] = 1,
    size: Annotated[
        int | None, typer.Option(help="Side of a checkpoint's tiles; default: the task's.")
    ] = None,
    euler_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Euler steps of a checkpoint; default: those of its training."),
    ] = None,
    flow: Annotated[
        int, typer.Option(min=0, help="Images whose flow is analysed (checkpoints only).")
    ] = 8,
    autoencoder: Annotated[
        Path | None,
        typer.Option(help="Autoencoder for the bound's terms; default: the shipped one."),
    ] = None,
    device: Annotated[str, typer.Option(help="Torch device of a checkpoint.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Runtime of a bundle, one that it was checked in.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("evaluation"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score restored images, with ground truths if there are any, and analyse the flow."""
    _check_subject_options(bundle, checkpoint, size, autoencoder, euler_steps)
    _check_image_options(reference, no_reference, crop, degradation)
    for folder in (photos, reference):
        if folder is not None:
            refuse_among(out, folder, "--out")
    try:
        from elir_edge.evaluation.evaluate import evaluate as run
        from elir_edge.evaluation.evaluate import open_metrics
        from elir_edge.evaluation.examples import lone_examples, pair_examples, photo_examples
        from elir_edge.evaluation.report import report_content, write_report
        from elir_edge.evaluation.trajectories import load_matplotlib
    except ModuleNotFoundError as error:
        raise ElirError(
            f"evaluating needs {error.name}, which is not installed",
            fix="install the `evaluate` extra",
        ) from error
    subject = _subject(bundle, checkpoint, task, size, device, threads, runtime, euler_steps)
    if no_reference:
        examples = lone_examples(subject.task, photos, limit=limit)
    elif reference is not None:
        examples = pair_examples(subject.task, photos, reference, limit=limit)
    else:
        examples = photo_examples(
            subject.task, photos, crop=crop, seed=seed, limit=limit, degradation=degradation
        )
    looks = subject.model is not None and flow > 0
    encoder, notes = None, [] if subject.model else ["the flow of a bundle cannot be analysed"]
    if looks:  # missing requirements are reported before the work, not after it
        load_matplotlib()
        if no_reference:
            notes = ["the W2 bound's terms need ground truths"]
        else:
            encoder, notes = _frozen_encoder(subject, autoencoder, device)
    opened = open_metrics(
        [name.strip() for name in metrics.split(",") if name.strip()],
        device=device,
        weights=metric_weights,
        side=examples.side,
        have_references=not no_reference,
    )
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


def _check_subject_options(
    bundle: Path | None,
    checkpoint: Path | None,
    size: int | None,
    autoencoder: Path | None,
    euler_steps: int | None,
) -> None:
    if bundle is None:
        return
    if checkpoint is not None:
        raise UsageError("--bundle and --checkpoint exclude each other", fix="pass one of them")
    if size is not None or autoencoder is not None:
        raise UsageError("--size and --autoencoder are for checkpoints")
    if euler_steps is not None:
        raise UsageError(
            "--euler-steps is for checkpoints: a bundle's steps are unrolled into its graph",
            fix="pass --checkpoint, or export a checkpoint of that many steps",
        )


def _check_image_options(
    reference: Path | None, no_reference: bool, crop: int | None, degradation: str | None
) -> None:
    if reference is not None and no_reference:
        raise UsageError("--reference and --no-reference exclude each other", fix="pass one")
    if reference is None and not no_reference:
        return
    if crop is not None:
        raise UsageError("--crop is for photos that are degraded here; others are used whole")
    if degradation is not None:
        raise UsageError("--degradation is for photos that are degraded here")


def _subject(
    bundle: Path | None,
    checkpoint: Path | None,
    task: str | None,
    size: int | None,
    device: str,
    threads: int | None,
    runtime: str | None,
    euler_steps: int | None,
) -> "Subject":
    if bundle is not None:
        return _bundle_subject(bundle, task, threads, runtime)
    import torch

    from elir_edge.checkpoints.own import embedded_path, read_checkpoint

    if task is None:
        raise UsageError("no task given", expected=f"--task, one of {', '.join(TASKS)}")
    if runtime is not None:
        raise UsageError("--runtime is for bundles", fix="pass --bundle, or leave it out")
    if threads is not None:
        torch.set_num_threads(threads)
    properties = get_task(task)
    loaded = read_checkpoint(checkpoint or embedded_path(task), task=task)
    side = properties.image_size if size is None else size
    return _checkpoint_subject(loaded, side, device, euler_steps)


def _checkpoint_subject(
    checkpoint: "Checkpoint", size: int, device: str, euler_steps: int | None
) -> "Subject":
    from elir_edge.evaluation.report import Subject
    from elir_edge.evaluation.torch_backend import (
        checkpoint_restorer,
        placed_model,
        with_euler_steps,
    )

    loaded = checkpoint if euler_steps is None else with_euler_steps(checkpoint, euler_steps)
    model = placed_model(loaded, device)
    return Subject(
        kind="checkpoint",
        name=loaded.source,
        task=loaded.task,
        sha256=loaded.sha256,
        restorer=checkpoint_restorer(loaded, model, size=size, device=device),
        checkpoint=loaded,
        model=model,
        trained_steps=checkpoint.config.num_steps,
    )


def _bundle_subject(
    bundle: Path, task: str | None, threads: int | None, runtime: str | None
) -> "Subject":
    from elir_edge.evaluation.report import Subject
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
    """Return the encoder E of the bound, or None and a note: not every model's is shipped."""
    from elir_edge.evaluation.trajectories import frozen_encoder

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
    from elir_edge.evaluation.evaluate import spread
    from elir_edge.evaluation.trajectories import analyse, sigma_min_of

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
    from elir_edge.evaluation.report import HEADER, table_rows, title

    table = Table(*HEADER, title=title(content))
    for row in table_rows(content):
        table.add_row(*row)
    console.print(table)
    for note in content["notes"]:
        console.print(f"note: {note}", markup=False, emoji=False, soft_wrap=True)
    print(f"report {out}")
