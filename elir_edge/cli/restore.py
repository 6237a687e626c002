"""`elir-edge restore`: image files, singly or by folders; originals are safe."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elir_edge.cli.options import Runtime, Threads
from elir_edge.console import console, counting_progress, warn
from elir_edge.errors import ImageError, UsageError
from elir_edge.files import sweep_leftovers
from elir_edge.tasks import TASKS

if TYPE_CHECKING:
    from elir_edge.runtime.inputs import Remark

EPILOG = "Example: elir-edge restore photo.jpg restored.jpg --task denoising"

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """What is to be restored, and what is left alone.

    Attributes:
        todo: (source, target) of each image.
        existing: sources whose target is there already.
        others: files that are no images.
    """

    todo: list[tuple[Path, Path]]
    existing: list[Path]
    others: list[Path]

    def summary(self) -> list[str]:
        """Return a line for each kind of file that is left alone."""
        kinds = ((self.existing, "restored before"), (self.others, "no image"))
        return [f"skipped {len(paths)} ({why}): {_listed(paths)}" for paths, why in kinds if paths]


def restore(
    source: Annotated[Path, typer.Argument(help="An image file, or a folder of them.")],
    target: Annotated[Path, typer.Argument(help="The restored file, or the folder for them.")],
    task: Annotated[
        str | None,
        typer.Option(help=f"Take the ready bundle of a task: {', '.join(TASKS)}."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Take a folder made by `make export`.")
    ] = None,
    threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, where it is an input.")] = 0,
    runtime: Runtime = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Subfolders too; they are mirrored.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace results that exist.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out what has a result already.")
    ] = False,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="inpainting: what is missing is white in this image; a folder: in its image of "
            "the photo's name. Without: transparent pixels are missing."
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="bfr: squeeze pictures that are no aligned faces, too."),
    ] = False,
) -> None:
    """Restore an image or a folder of images, of any size; an input is never written over."""
    from elir_edge.runtime import Restorer, ready_bundle
    from elir_edge.runtime.images import SUFFIXES

    if task is not None and bundle is not None:
        raise UsageError("--task and --bundle contradict each other", fix="pass one")
    if task is None and bundle is None:
        raise UsageError("what restores is not said", expected="either --task or --bundle")
    chosen = ready_bundle(task) if task is not None else bundle
    assert chosen is not None
    if force and skip_existing:
        raise UsageError("--force and --skip-existing contradict each other", fix="pass one")
    jobs = plan_jobs(
        source,
        target,
        SUFFIXES,
        recursive=recursive,
        force=force,
        skip_existing=skip_existing,
    )
    for line in jobs.summary():
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not jobs.todo:
        print(f"restored 0 of 0 into {target}")
        return
    masks = {path: mask_of(path, source, mask, SUFFIXES) for path, _ in jobs.todo}
    refuse_results_in_place_of(
        [path for path in masks.values() if path is not None], [result for _, result in jobs.todo]
    )
    restorer = Restorer(chosen, threads=threads, seed=seed, runtime=runtime, whole=whole)
    for folder in {path.parent for _, path in jobs.todo}:
        sweep_leftovers(folder)
    done, failures, remarks = 0, [], RemarkLog()
    try:
        with counting_progress() as progress:
            files = progress.add_task("images", total=len(jobs.todo))
            tiles = progress.add_task("tiles", total=None)
            for job in jobs.todo:
                progress.update(tiles, description=job[0].name, completed=0, total=None)
                try:
                    result = restorer.restore_file(
                        *job,
                        mask=masks[job[0]],
                        progress=lambda n, all_: progress.update(tiles, completed=n, total=all_),
                    )
                    done += 1
                    remarks.add(job[0], result.remarks)
                except ImageError as error:
                    if not source.is_dir():
                        raise
                    failures.append(str(error))
                progress.advance(files)
    finally:
        remarks.summarize()
        for failure in failures:
            console.print(f"failed: {failure}", markup=False, emoji=False, soft_wrap=True)
        if done or failures or source.is_dir():
            print(f"restored {done} of {len(jobs.todo)} into {target}")
    if failures:
        raise typer.Exit(1)


class RemarkLog:
    """Says each kind of remark once, when it first comes up, and counts the others."""

    def __init__(self) -> None:
        self._photos: dict[str, int] = {}

    def add(self, photo: Path, remarks: "Sequence[Remark]") -> None:
        """Take note of what was remarked on a photo."""
        for remark in remarks:
            # What of a file is lost is told in words that are the same for all files.
            key = remark.text if remark.kind == "file" else remark.kind
            if key not in self._photos:
                warn(f"{photo.name}: {remark.text}")
            self._photos[key] = self._photos.get(key, 0) + 1

    def summarize(self) -> None:
        """Say of how many further photos the same holds."""
        for kind, photos in self._photos.items():
            if photos > 1:
                warn(f"the same holds for {photos - 1} more ({kind})")


def mask_of(photo: Path, source: Path, mask: Path | None, suffixes: tuple[str, ...]) -> Path | None:
    """Return the mask of a photo: the one mask, or the one of the same name in a folder.

    Args:
        photo: an input.
        source: the photo itself, or the folder of all photos.
        mask: an image, or a folder that mirrors `source`; None: no mask.
        suffixes: of image files, in lower case.

    Raises:
        UsageError: no such mask, or several.
    """
    if mask is None or mask.is_file():
        return mask
    if not mask.is_dir():
        raise UsageError(f"no mask {mask}", fix="check the path")
    inside = photo.parent.relative_to(source) if source.is_dir() else Path()
    found = [
        path
        for path in sorted((mask / inside).glob(f"{glob.escape(photo.stem)}.*"))
        if path.suffix.lower() in suffixes
    ]
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} masks for {photo} in {mask / inside}",
            expected=f"one image named {photo.stem}",
        )
    return found[0]


def refuse_results_in_place_of(inputs: Sequence[Path], results: Sequence[Path]) -> None:
    """Refuse results that would take an input's place, under any name or link.

    Raises:
        UsageError: one would.
    """
    kept = {_identity(path) for path in inputs if path.exists()}
    for result in results:
        if result.exists() and _identity(result) in kept:
            raise UsageError(
                f"{result} is an input: it would be written over", fix="pass another target"
            )


def plan_jobs(
    source: Path,
    target: Path,
    suffixes: tuple[str, ...],
    *,
    recursive: bool = False,
    force: bool = False,
    skip_existing: bool = False,
) -> Jobs:
    """Pair images with their results; nothing is read or written yet.

    Args:
        source: an image file, or a folder of them.
        target: the result's file, or the folder for results.
        suffixes: of image files, in lower case.
        recursive: take subfolders too, and mirror them.
        force: results that exist may be replaced.
        skip_existing: results that exist are left alone, with their sources.

    Raises:
        UsageError: a result would take an input's place, or that of a file that exists.
        ImageError: there are no images.
    """
    if source.is_dir():
        pairs, others = _of_folder(source, target, suffixes, recursive=recursive)
    else:
        pairs, others = [(source, target / source.name if target.is_dir() else target)], []
    refuse_results_in_place_of([path for path, _ in pairs], [result for _, result in pairs])
    if force and source.is_dir() and _is_inside(target, source) and target.exists():
        raise UsageError(
            f"{target} lies among the inputs in {source}: with --force an input could be replaced",
            fix="pass a target outside, or --skip-existing",
        )
    existing = [(path, result) for path, result in pairs if result.exists()]
    if existing and not (force or skip_existing):
        raise UsageError(
            f"{existing[0][1]} exists"
            + (f", as do {len(existing) - 1} other results" if len(existing) > 1 else ""),
            fix="pass --force to replace, or --skip-existing to leave out",
        )
    skipped = existing if skip_existing else []
    return Jobs(
        todo=[pair for pair in pairs if pair not in skipped],
        existing=[path for path, _ in skipped],
        others=others,
    )


def _of_folder(
    source: Path, target: Path, suffixes: tuple[str, ...], *, recursive: bool
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file", expected="a folder, as the source is one")
    if target.resolve() == source.resolve():
        raise UsageError(
            f"results would be written among the inputs in {source}", fix="pass another target"
        )
    found = sorted(_files(source, target.resolve() if recursive else None, recursive=recursive))
    images = [path for path in found if path.suffix.lower() in suffixes]
    others = [path for path in found if path.suffix.lower() not in suffixes]
    if not images:
        raise ImageError(
            f"no images in {source}",
            expected=f"files ending in {' '.join(suffixes)}",
            fix="pass --recursive for those in subfolders" if not recursive else None,
        )
    return [(path, target / path.relative_to(source)) for path in images], others


def _files(folder: Path, results: Path | None, *, recursive: bool) -> Iterator[Path]:
    """Yield the files of a folder; hidden ones, and an earlier run's results, are no inputs."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if recursive and not path.is_symlink() and path.resolve() != results:
                yield from _files(path, results, recursive=True)
        else:
            yield path


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _identity(path: Path) -> tuple[int, int]:
    """Return what two names of one file share, links among them."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _listed(paths: list[Path]) -> str:
    names = ", ".join(path.name for path in paths[:_NAMED])
    return f"{names}, ..." if len(paths) > _NAMED else names
