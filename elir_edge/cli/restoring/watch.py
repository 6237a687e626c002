"""Restore photos as they arrive in a folder."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from elir_edge.cli.restoring.jobs import plan_jobs
from elir_edge.cli.restoring.photos import RemarkLog, RestoresFiles
from elir_edge.console import console
from elir_edge.errors import ImageError, UsageError

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
        now: a clock, in seconds.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        *,
        recursive: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._target, self._recursive = source, target, recursive
        self._now = now
        self._seen: dict[Path, _Seen] = {}
        self._given_up: dict[Path, _Seen] = {}

    def ready(self) -> Iterator[tuple[Path, Path]]:
        """Yield (source, target) of the photos that may be complete."""
        from elir_edge.runtime.images import SUFFIXES

        try:
            jobs = plan_jobs(
                self._source, self._target, SUFFIXES, recursive=self._recursive, skip_existing=True
            )
        except ImageError:
            return  # no images yet
        for photo, result in jobs.todo:
            try:
                status = photo.stat()
            except FileNotFoundError:
                continue  # renamed or deleted since
            before, now = self._seen.get(photo), self._now()
            same = before is not None and (before.size, before.modified) == (
                status.st_size,
                status.st_mtime_ns,
            )
            if not same or before is None:
                before = _Seen(size=status.st_size, modified=status.st_mtime_ns, since=now)
                self._seen[photo] = before
            elif status.st_size and self._given_up.get(photo) != before:
                yield photo, result

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
    """
    if not source.is_dir():
        raise UsageError(f"{source} is no folder", fix="--watch is for folders")
    arrivals, remarks = Arrivals(source, target, recursive=recursive), RemarkLog()
    done = failed = 0
    print(f"watching {source}; Ctrl-C ends it", flush=True)
    try:
        while True:
            for photo, result in arrivals.ready():
                try:
                    remarks.add(
                        photo,
                        restore_file(
                            photo, result, mask=None, progress=lambda n, total: None
                        ).remarks,
                    )
                except ImageError as error:
                    if arrivals.failed(photo):
                        failed += 1
                        line = f"failed: {error}"
                        console.print(line, markup=False, emoji=False, soft_wrap=True)
                    continue
                done += 1
                print(f"restored {result}", flush=True)
            wait()
    except KeyboardInterrupt:
        remarks.summarize()
        print(f"restored {done}, failed {failed}; no longer watching {source}")
