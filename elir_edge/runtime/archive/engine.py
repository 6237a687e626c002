"""Restore an archive: find its photos, hand them to a cluster, keep the ledger."""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elir_edge import __version__
from elir_edge.errors import ArchiveError, UsageError
from elir_edge.files import sweep_leftovers
from elir_edge.runtime.archive.cluster import Cluster
from elir_edge.runtime.archive.ledger import Entry, Ledger
from elir_edge.runtime.archive.store import Store
from elir_edge.runtime.archive.worker import Work, deaths_folder, digest_of
from elir_edge.runtime.images import SUFFIXES
from elir_edge.runtime.ready import ready_bundle

_ROUND = 20_000
"""Photos handed to Ray at a time."""
_KEEP_ROWS, _KEEP_SECONDS = 1000, 30.0
"""Rows are written to the ledger when so many have come, or so long after the last time."""


@dataclass(frozen=True, kw_only=True)
class ArchiveResult:
    """What a run has done.

    Attributes:
        done: photos that this run restored.
        failed: rows of those that it could not restore.
        before: photos that earlier runs had rows of.
        failed_before: how many of these failed.
        others: names of what is no image that can be read: other files, links to folders, pipes.
        seconds: that this run took, without starting Ray.
        workers: cores that restored; 0: there was nothing to do.
        ledger_bytes: that this run added to the ledger.
    """

    done: int
    failed: tuple[Entry, ...]
    before: int
    failed_before: int
    others: tuple[str, ...]
    seconds: float
    workers: int
    ledger_bytes: int


def restore_archive(
    source: str,
    target: str,
    *,
    task: str | None = None,
    bundle: str | Path | None = None,
    seed: int = 0,
    runtime: str | None = None,
    workers: int | None = None,
    address: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ArchiveResult:
    """Restore all photos below a folder into another, mirrored, each exactly once.

    A row of the ledger (`_ledger` in the target) tells of every photo what became of it. A further
    run of the same request goes on with the photos that have none. A result is written whole
    before its row is; a photo whose row was lost with the program is restored again, to the same
    bytes.

    Args:
        source: a folder, or a URL that fsspec knows.
        target: the folder for results: new, empty, or with a ledger.
        task: whose ready bundle restores; or instead:
        bundle: a folder that every machine has.
        seed: of the noise, where it is an input.
        runtime: by name; None: the bundle's first.
        workers: cores; None: all of the cluster's.
        address: of a running Ray cluster; None: one is started on this machine and ended.
        progress: called with (photos that have a row, photos in all).

    Raises:
        UsageError: source or target cannot serve.
        ArchiveError: Ray is missing, or the storage, a machine or the cluster fails.
        BundleError: there is no such bundle, or a machine has another.
    """
    cluster = Cluster(address, workers)
    if (task is None) == (bundle is None):
        raise UsageError("what restores is not said", expected="either a task or a bundle")
    folder = ready_bundle(task) if task is not None else Path(str(bundle)).resolve()
    photos, results = Store(source), Store(target)
    work = Work(
        source=_url_of(photos),
        target=_url_of(results),
        task=task,
        bundle=None if task is not None else str(folder),
        digest=digest_of(folder),
        seed=seed,
        runtime=runtime,
        run=secrets.token_hex(4),
    )
    try:
        _require_apart(photos, results)
        found = _find(photos)
        ledger = Ledger(results, _request(work))
        with ledger.locked():
            return _restore(found, work, results, ledger, cluster, progress)
    except OSError as error:
        raise ArchiveError(f"the storage fails ({error})") from error


def _url_of(store: Store) -> str:
    return str(store.root) if store.local else store.url


def _request(work: Work) -> dict[str, object]:
    """Return all that the results depend on."""
    return {
        "bundle": work.digest,
        "runtime": work.runtime,
        "seed": work.seed,
        "source": work.source,
        "version": __version__,
    }


def _require_apart(photos: Store, results: Store) -> None:
    if not photos.is_folder():
        raise UsageError(f"no folder {photos.url}", fix="check the path; archives are folders")
    if photos.holds(results) or results.holds(photos):
        raise UsageError(
            f"{results.url} lies among the photos of {photos.url}, or they in it",
            fix="pass another target",
        )


@dataclass(frozen=True, kw_only=True)
class _Archive:
    """What lies in the source.

    Attributes:
        photos: names of photos.
        misnamed: names of photos that are no UTF-8, escaped.
        others: names of all else.
    """

    photos: list[str]
    misnamed: list[str]
    others: list[str]


def _find(store: Store) -> _Archive:
    photos, misnamed, others = list[str](), list[str](), list[str]()
    for each in store.entries():
        if not (each.readable and each.name.lower().endswith(SUFFIXES)):
            others.append(each.name)
            continue
        # Old systems wrote names in other encodings.
        text = each.name.encode("utf-8", "backslashreplace").decode()
        (photos if text == each.name else misnamed).append(text)
    if not photos and not misnamed:
        raise ArchiveError(
            f"no images in {store.url}", expected=f"files ending in {' '.join(SUFFIXES)}"
        )
    return _Archive(photos=photos, misnamed=misnamed, others=others)


def _restore(
    archive: _Archive,
    work: Work,
    results: Store,
    ledger: Ledger,
    cluster: Cluster,
    progress: Callable[[int, int], None] | None,
) -> ArchiveResult:
    known, known_failed = ledger.photos()
    names = [*archive.photos, *archive.misnamed]
    todo = [name for name in archive.photos if name not in known]
    refused = [name for name in archive.misnamed if name not in known]
    before = len(names) - len(todo) - len(refused)
    if results.local:
        for folder in {results.path(name).parent for name in todo}:
            sweep_leftovers(folder)
    book = _Book(ledger, before, len(names), progress)
    try:
        for name in refused:
            book.add(_refusal(name))
        with cluster if todo else contextlib.nullcontext():
            began = time.perf_counter()
            for start in range(0, len(todo), _ROUND):
                for entry in cluster.restore(todo[start : start + _ROUND], work):
                    book.add(entry)
            seconds = time.perf_counter() - began
    finally:
        book.close()
    results.delete(deaths_folder(work.run))
    return ArchiveResult(
        done=book.done,
        failed=tuple(book.failed),
        before=before,
        failed_before=sum(name in known_failed for name in names),
        others=tuple(archive.others),
        seconds=seconds,
        workers=cluster.workers,
        ledger_bytes=book.bytes,
    )


def _refusal(name: str) -> Entry:
    return Entry(
        photo=name,
        status="failed",
        reason="its name is no UTF-8, which the ledger needs: rename it",
        remarks="",
        seconds=0.0,
        bytes_in=0,
        bytes_out=0,
        worker="",
    )


class _Book:
    """Gathers rows, and writes them to the ledger before they are many or old."""

    def __init__(
        self,
        ledger: Ledger,
        before: int,
        total: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._ledger, self._before, self._total = ledger, before, total
        self._progress, self._rows, self._since = progress, list[Entry](), time.monotonic()
        self.done = self.bytes = 0
        self.failed: list[Entry] = []
        self._show()

    def add(self, entry: Entry) -> None:
        self._rows.append(entry)
        if entry.status == "done":
            self.done += 1
        else:
            self.failed.append(entry)
        self._show()
        if len(self._rows) >= _KEEP_ROWS or time.monotonic() - self._since > _KEEP_SECONDS:
            self.close()

    def close(self) -> None:
        if self._rows:
            self.bytes += self._ledger.add(self._rows)
        self._rows, self._since = [], time.monotonic()

    def _show(self) -> None:
        if self._progress is not None:
            self._progress(self._before + self.done + len(self.failed), self._total)
