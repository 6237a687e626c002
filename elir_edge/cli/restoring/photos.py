"""Restore image files, singly or by folders."""

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from elir_edge.cli.restoring.jobs import Jobs
from elir_edge.console import console, counting_progress, warn
from elir_edge.errors import ImageError
from elir_edge.files import sweep_leftovers
from elir_edge.machine_faults import disk_fault

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
        ImageError: the only file cannot be restored, or the disk is full or read-only.
        OSError: a folder for results cannot be written to.
    """
    folders = {path.parent for _, path in jobs.todo}
    require_writable(folders)
    for folder in folders:
        sweep_leftovers(folder)
    done, failures, remarks = 0, 0, RemarkLog()
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
                except (ImageError, MemoryError) as error:
                    if not source.is_dir() or disk_fault(error) is not None:
                        if isinstance(error, MemoryError):
                            raise ImageError(_reason(job[0], error)) from error
                        raise
                    failures += 1
                    show_failure(job[0], error)
                progress.advance(files)
    finally:
        remarks.summarize()
        if done or source.is_dir():
            print(f"restored {done} of {len(jobs.todo)} into {target}")
    if failures:
        raise typer.Exit(1)


def require_writable(folders: Iterable[Path]) -> None:
    """Require that results can be written, before any work is done.

    Raises:
        PermissionError: a folder, or the one in which it would be made, cannot be written to.
    """
    for folder in folders:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def show_failure(photo: Path, error: ImageError | MemoryError) -> None:
    """Say in one line that a photo of several could not be restored, and why."""
    line = f"failed: {_reason(photo, error)}"
    console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def _reason(photo: Path, error: ImageError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return f"there is not enough memory for {photo}"
    return str(error)


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
