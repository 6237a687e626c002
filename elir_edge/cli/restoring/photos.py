"""Restore image files, singly or by folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from elir_edge.cli.restoring.jobs import Jobs
from elir_edge.console import console, counting_progress, warn
from elir_edge.errors import ImageError
from elir_edge.files import sweep_leftovers

if TYPE_CHECKING:
    from elir_edge.runtime.fitting import TileProgress
    from elir_edge.runtime.inputs import Remark
    from elir_edge.runtime.photo_files import FileResult


class RestoresFiles(Protocol):
    """What restores an image file; `source` and `target` are its first arguments."""

    def __call__(
        self, source: Path, target: Path, *, mask: Path | None, progress: "TileProgress"
    ) -> "FileResult":
        """Restore one file, telling how much of it is done."""


def restore_photos(
    restore_file: RestoresFiles,
    jobs: Jobs,
    masks: Mapping[Path, Path | None],
    source: Path,
    target: Path,
) -> None:
    """Restore image files, one after the other; a bad one of a folder does not stop the others.

    Raises:
        ImageError: the only file cannot be restored.
    """
    for folder in {path.parent for _, path in jobs.todo}:
        sweep_leftovers(folder)
    done, failures, remarks = 0, [], RemarkLog()
    try:
        with counting_progress() as progress:
            files = progress.add_task("images", total=len(jobs.todo))
            parts = progress.add_task("tiles", total=None)
            for job in jobs.todo:
                progress.update(parts, description=job[0].name, completed=0, total=None)
                try:
                    result = restore_file(
                        *job,
                        mask=masks[job[0]],
                        progress=lambda n, all_: progress.update(parts, completed=n, total=all_),
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
