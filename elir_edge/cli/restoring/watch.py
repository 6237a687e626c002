"""Restore photos as they arrive in a folder."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elir_edge.cli.restoring.jobs import Jobs, plan_jobs
from elir_edge.cli.restoring.photos import (
    RemarkLog,
    RestoresFiles,
    require_writable,
    show_failure,
)
from elir_edge.console import warn
from elir_edge.errors import ImageError, UsageError
from elir_edge.machine_faults import disk_fault

if TYPE_CHECKING:
    from elir_edge.runtime.photo_files import FileResult

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
"""So long a file that does not grow may be unreadable before that is told."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What a file looked like: its size and time of change, and since when that has been so."""

    size: int
    modified: int
    since: float


class Arrivals:
    """Tells which photos of a folder are new and completely written.

    A file is taken when neither its size nor its time has changed from one look to the next. Copies
    that pause longer than that are read in vain and looked at again until they change, for
    `PATIENCE_SECONDS`.

    Args:
        source: the folder.
        target: the folder for results.
        recursive: subfolders too.
        on_unreadable: called with the error of each subfolder that cannot be listed.
        now: a clock, in seconds.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        *,
        recursive: bool,
        on_unreadable: Callable[[OSError], None] = lambda error: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._target, self._recursive = source, target, recursive
        self._on_unreadable, self._now = on_unreadable, now
        self._seen: dict[Path, _Seen] = {}
        self._given_up: dict[Path, _Seen] = {}

    def ready(self) -> Iterator[tuple[Path, Path]]:
        """Yield (source, target) of the photos that may be complete."""
        from elir_edge.runtime.images import SUFFIXES

        try:
            jobs = plan_jobs(
                self._source,
                self._target,
                SUFFIXES,
                recursive=self._recursive,
                skip_existing=True,
                on_unreadable=self._on_unreadable,
            )
        except ImageError:
            jobs = Jobs(todo=[], existing=[], others=[])  # no images yet
        waiting = {photo for photo, _ in jobs.todo}
        # What was restored, renamed or deleted is forgotten.
        self._seen = {photo: seen for photo, seen in self._seen.items() if photo in waiting}
        self._given_up = {p: seen for p, seen in self._given_up.items() if p in waiting}
        for photo, result in jobs.todo:
            if self._is_complete(photo):
                yield photo, result

    def _is_complete(self, photo: Path) -> bool:
        try:
            status = photo.stat()
        except OSError:
            return False  # renamed or deleted since, or a link that leads nowhere
        before = self._seen.get(photo)
        now = _Seen(size=status.st_size, modified=status.st_mtime_ns, since=self._now())
        if before is None or (before.size, before.modified) != (now.size, now.modified):
            self._seen[photo] = now
            return False
        return now.size > 0 and self._given_up.get(photo) != before

    def failed(self, photo: Path) -> bool:
        """Take note that a photo cannot be read; True when no more of it is awaited."""
        seen = self._seen[photo]
        if self._now() - seen.since < PATIENCE_SECONDS:
            return False
        self._given_up[photo] = seen
        return True


def watch(
    restore_file: RestoresFiles,
    source: Path,
    target: Path,
    *,
    recursive: bool,
    wait: Callable[[], None] = lambda: time.sleep(POLL_SECONDS),
) -> None:
    """Restore the photos of a folder, and those that arrive, until Ctrl-C, which is no failure.

    Args:
        restore_file: restores one.
        source: the folder.
        target: the folder for results.
        recursive: subfolders too.
        wait: returns when it is time to look again.

    Raises:
        UsageError: the source is no folder.
        ImageError: the source is gone, or the disk is full or read-only: every photo would fail.
        PermissionError: the folder for results cannot be written to.
    """
    if not source.is_dir():
        raise UsageError(f"{source} is no folder", fix="--watch is for folders")
    require_writable([target])
    log = _Log()
    arrivals = Arrivals(source, target, recursive=recursive, on_unreadable=log.unreadable)
    print(f"watching {source}; Ctrl-C ends it", flush=True)
    try:
        while True:
            if not source.is_dir():
                raise ImageError(f"{source} is gone", fix="start again when it is there")
            for photo, result in arrivals.ready():
                _restore(restore_file, photo, result, arrivals, log)
            wait()
    except KeyboardInterrupt:
        pass
    finally:
        log.summarize(source)


def _restore(
    restore_file: RestoresFiles, photo: Path, result: Path, arrivals: Arrivals, log: "_Log"
) -> None:
    try:
        done = restore_file(photo, result, mask=None, progress=lambda n, total: None)
    except (ImageError, MemoryError) as error:
        if disk_fault(error) is not None:
            raise
        if arrivals.failed(photo):
            log.failed(photo, error)
    else:
        log.restored(photo, done)


class _Log:
    """Says what becomes of photos, and counts them."""

    def __init__(self) -> None:
        self._done = self._failed = 0
        self._remarks, self._unreadable = RemarkLog(), set[str]()

    def restored(self, photo: Path, result: "FileResult") -> None:
        self._done += 1
        self._remarks.add(photo, result.remarks)
        print(f"restored {result.path}", flush=True)

    def failed(self, photo: Path, error: ImageError | MemoryError) -> None:
        self._failed += 1
        show_failure(photo, error)

    def unreadable(self, error: OSError) -> None:
        """Say once of each folder that it cannot be listed."""
        line = f"{error.filename} cannot be listed ({error.strerror})"
        if line not in self._unreadable:
            self._unreadable.add(line)
            warn(line)

    def summarize(self, source: Path) -> None:
        self._remarks.summarize()
        counts = f"restored {self._done}, failed {self._failed}"
        print(f"{counts}; no longer watching {source}")
