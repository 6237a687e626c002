"""`elir-edge restore`: restore images, folders, video and archives; originals stay as they are."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from elir_edge.cli.options import Runtime, Threads
from elir_edge.cli.restoring.archive import restore_archive_folder
from elir_edge.cli.restoring.jobs import mask_of, plan_jobs, refuse_results_in_place_of
from elir_edge.cli.restoring.models import Models
from elir_edge.cli.restoring.photos import restore_photos
from elir_edge.cli.restoring.video import is_video, restore_video_file
from elir_edge.cli.restoring.watch import watch as watch_folder
from elir_edge.console import console
from elir_edge.errors import UsageError
from elir_edge.tasks import TASKS

EPILOG = "Example: elir-edge restore photo.jpg restored.jpg --task denoising"


class Background(StrEnum):
    """How the rest of a photo around its faces is restored."""

    BSR = "bsr"
    NONE = "none"


class Engine(StrEnum):
    """Where the work is done."""

    HERE = "here"
    RAY = "ray"


def restore(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="An image, a folder of them, or a video.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="The restored file, or the folder of results.")
    ],
    task: Annotated[
        str | None,
        typer.Option(help=f"Use the ready bundle of a task: {', '.join(TASKS)}."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Use a bundle, a folder made by `make export`.")
    ] = None,
    threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise that is an input.")] = 0,
    runtime: Runtime = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Include subfolders; TARGET gets the same ones.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing results.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip images that already have a result.")
    ] = False,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="inpainting: image in which missing pixels are white, or a folder with an image "
            "of each photo's name; default: transparent pixels are missing."
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="bfr: resize pictures that are not aligned faces, too."),
    ] = False,
    faces: Annotated[
        bool,
        typer.Option("--faces", help="bfr: find the faces in a photo and restore each of them."),
    ] = False,
    background: Annotated[
        Background | None,
        typer.Option(help="With --faces: bsr enlarges the rest of the photo x4; none keeps it."),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Keep running and restore photos that arrive in SOURCE."),
    ] = False,
    engine: Annotated[
        Engine,
        typer.Option(help="ray: restore folders, also s3:// etc., on many cores or machines."),
    ] = Engine.HERE,
    workers: Annotated[
        int | None, typer.Option(min=1, help="ray: number of cores; default: all.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="ray: address of a running cluster; default: start one here.")
    ] = None,
) -> None:
    """Restore an image, a folder, a video or an archive; inputs are never overwritten."""
    if not source or not target:
        raise UsageError(f"the {'target' if source else 'source'} is empty", fix="pass a path")
    if task is not None and bundle is not None:
        raise UsageError("--task and --bundle contradict each other", fix="pass one")
    if task is None and bundle is None:
        raise UsageError("no task or bundle given", expected="either --task or --bundle")
    if force and skip_existing:
        raise UsageError("--force and --skip-existing contradict each other", fix="pass one")
    if background is not None and not faces:
        raise UsageError("--background is for --faces", fix="pass --faces too, or leave it out")
    if mask is not None and faces:
        raise UsageError("--mask and --faces contradict each other", fix="pass one")
    models = Models(
        bundle=bundle,
        task=task,
        threads=threads,
        seed=seed,
        runtime=runtime,
        whole=whole,
        faces=faces,
        background=None if background is None or background == "none" else background,
    )
    if engine is Engine.RAY:
        if force or skip_existing or watch or mask is not None:
            raise UsageError(
                "--force, --skip-existing, --watch and --mask are not for --engine ray",
                fix="leave them out: the ledger records what is done",
            )
        failed = restore_archive_folder(source, target, models, workers=workers, address=address)
        if failed:
            raise typer.Exit(1)
        return
    if workers is not None or address is not None:
        raise UsageError("--workers and --address are for --engine ray", fix="pass that, too")
    _restore_here(
        models,
        Path(source),
        Path(target),
        recursive=recursive,
        force=force,
        skip_existing=skip_existing,
        mask=mask,
        watch=watch,
    )


def _restore_here(
    models: Models,
    source: Path,
    target: Path,
    *,
    recursive: bool,
    force: bool,
    skip_existing: bool,
    mask: Path | None,
    watch: bool,
) -> None:
    from elir_edge.runtime.images import SUFFIXES

    if watch:
        if force or mask is not None:
            raise UsageError("--watch allows neither --force nor --mask", fix="leave them out")
        watch_folder(models.open(), source, target, recursive=recursive)
        return
    if is_video(source) and not source.is_dir():
        if mask is not None:
            raise UsageError("--mask is for photos", fix="leave it out for video")
        restore_video_file(source, target, models, force=force, skip_existing=skip_existing)
        return
    jobs = plan_jobs(
        source,
        target,
        SUFFIXES,
        recursive=recursive,
        force=force,
        skip_existing=skip_existing,
    )
    for line in (*jobs.summary(), *jobs.not_entered()):
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not jobs.todo:
        print(f"restored 0 of 0 into {target}")
        return
    masks = {path: mask_of(path, source, mask, SUFFIXES) for path, _ in jobs.todo}
    refuse_results_in_place_of(
        [path for path in masks.values() if path is not None], [result for _, result in jobs.todo]
    )
    restore_photos(models.open(), jobs, masks, source, target)
