"""Spread an archive over cores and machines by Ray Data; the only file that imports Ray."""

import importlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from elir_edge import __version__
from elir_edge.errors import ArchiveError, ElirError, UsageError
from elir_edge.runtime.archive.ledger import Entry, Ledger
from elir_edge.runtime.archive.store import Store, missing_package
from elir_edge.runtime.archive.worker import PhotoWorker, Work, digest_of
from elir_edge.runtime.images import SUFFIXES
from elir_edge.runtime.ready import ready_bundle

_ROUND = 20_000
"""Photos handed to Ray at a time."""
_BLOCK = 16
"""Photos that one worker takes at a time, and the most that are done again when it dies."""
_KEEP_ROWS, _KEEP_SECONDS = 1000, 30.0
"""Rows of the ledger are written when so many have come, or the first is so old."""

_LOGGERS = ("ray", "ray.data")
"""Say on standard error what Ray is about to do; its errors pass."""


@dataclass(frozen=True, kw_only=True)
class ArchiveResult:
    """What a run has done.

    Attributes:
        done: photos restored by this run.
        failed: rows of those that could not be.
        before: photos that earlier runs had rows of.
        seconds: that this run took, without starting Ray.
        workers: cores that were asked for.
        ledger_bytes: that this run added to the ledger.
    """

    done: int
    failed: tuple[Entry, ...]
    before: int
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
        task: whose ready bundle restores, or else:
        bundle: a folder that every machine has.
        seed: of the noise, where it is an input.
        runtime: by name; None: the bundle's first.
        workers: cores; None: all of the cluster's.
        address: of a running Ray cluster; None: one is started on this machine and ended.
        progress: called with (photos that have a row, photos in all).

    Raises:
        UsageError: source or target cannot serve.
        ArchiveError: Ray is missing, or the storage or cluster fails.
        BundleError: there is no such bundle, or a machine has another.
    """
    ray = _require_ray()
    if (task is None) == (bundle is None):
        raise UsageError("what restores is not said", expected="either a task or a bundle")
    photos, results = Store(source), Store(target)
    if not photos.is_folder():
        raise UsageError(f"no folder {source}", fix="check the path; archives are folders")
    if photos.holds(results) or results.holds(photos):
        raise UsageError(
            f"{target} lies among the photos of {source}, or they in it", fix="pass another target"
        )
    folder = ready_bundle(task) if task is not None else Path(str(bundle)).resolve()
    digest = digest_of(folder)
    request = {"bundle": digest, "seed": seed, "runtime": runtime, "version": __version__}
    ledger = Ledger(results, {**request, "source": source if "://" in source else photos.root})
    known = ledger.photos()
    names = [name for name in photos.names() if name.lower().endswith(SUFFIXES)]
    todo = [name for name in names if name not in known]
    if not names:
        raise ArchiveError(f"no images in {source}", expected=f"files ending in {SUFFIXES}")
    work = Work(
        source=source if "://" in source else str(photos.root),
        target=target if "://" in target else str(results.root),
        task=task,
        bundle=None if task is not None else str(folder),
        digest=digest,
        seed=seed,
        runtime=runtime,
    )
    before = len(names) - len(todo)
    with _Cluster(ray, address, workers) as cluster:
        book = _Book(ledger, before, len(names), progress)
        began = time.perf_counter()
        try:
            for start in range(0, len(todo), _ROUND):
                for entry in cluster.restore(todo[start : start + _ROUND], work):
                    book.add(entry)
        finally:
            book.close()
        return ArchiveResult(
            done=book.done,
            failed=tuple(book.failed),
            before=before,
            seconds=time.perf_counter() - began,
            workers=cluster.workers,
            ledger_bytes=book.bytes,
        )


class _Book:
    """Gathers rows, and keeps them before they are many or old."""

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


class _Cluster:
    """Ray, started here and ended, or one that runs."""

    def __init__(self, ray: ModuleType, address: str | None, workers: int | None) -> None:
        self._ray, self._address = ray, address
        self.workers = workers or 0
        self._levels: dict[str, int] = {}

    def __enter__(self) -> "_Cluster":
        # Nothing is reported to anyone, and workers print nothing.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address is None:
            options |= {"num_cpus": self.workers or os.cpu_count(), "include_dashboard": False}
        for name in _LOGGERS:
            self._levels[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            self._ray.init(self._address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ArchiveError(f"Ray cannot be reached or started ({error})") from error
        self.workers = self.workers or int(self._ray.cluster_resources().get("CPU", 1))
        return self

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    def restore(self, names: Sequence[str], work: Work) -> Iterator[Entry]:
        data = importlib.import_module("ray.data")
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        blocks = max(1, -(-len(names) // _BLOCK))
        rows = data.from_items([{"photo": name} for name in names], override_num_blocks=blocks)
        restored = rows.map_batches(
            _RayWorker,
            fn_constructor_args=(work,),
            batch_size=None,
            compute=data.ActorPoolStrategy(size=min(self.workers, blocks)),
            num_cpus=1,
        )
        try:
            for row in restored.iter_rows():
                yield Entry(**row)
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, ElirError):
                raise cause from error
            first = str(cause or error).strip().splitlines()[-1:]
            raise ArchiveError(f"Ray gave up ({' '.join(first)})") from error


class _RayWorker(PhotoWorker):
    """A `PhotoWorker` that Ray starts, and starts again where it dies."""

    def __init__(self, work: Work) -> None:
        ray = _require_ray()
        context = ray.get_runtime_context()
        super().__init__(work, lambda: bool(context.was_current_actor_reconstructed))


def _require_ray() -> ModuleType:
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    module: ModuleType = ray
    return module
