"""Give photos to workers on many cores or machines by Ray Data; the only file that imports Ray."""

import contextlib
import importlib
import logging
import math
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from types import ModuleType
from typing import Any, Self

from elir_edge.errors import ArchiveError, ElirError
from elir_edge.runtime.archive.ledger import Entry
from elir_edge.runtime.archive.store import missing_package
from elir_edge.runtime.archive.worker import PhotoWorker, Work

_BLOCK = 16
"""Photos that one worker takes at a time, and the most that are done again when it dies."""
_LOGGERS = {"ray": logging.ERROR, "ray.data": logging.CRITICAL}
"""The least level of their messages that is shown: Ray Data's errors come as exceptions, too."""
_STOPPED = "stopped"
"""Status of a row that is none: its reason ends the run."""
_ERROR_LINE = re.compile(r"[\w.]+: ")


class Cluster:
    """A Ray cluster that runs, or one that is started on this machine; a context manager.

    Args:
        address: of a running cluster; None: one is started, and ended at the end of the `with`.
        workers: cores to use; None: all that the cluster has.

    Attributes:
        workers: how many cores are used, known within the `with`; 0 before it.

    Raises:
        ArchiveError: Ray is not installed.
    """

    def __init__(self, address: str | None, workers: int | None) -> None:
        self._ray, self._address = _require_ray(), address
        self._asked, self.workers = workers, 0
        self._levels: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ArchiveError: the cluster cannot be reached or started.
        """
        # Nothing is reported to anyone, and workers print nothing.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address is None:
            options |= {"num_cpus": self._asked, "include_dashboard": False}
        self._quieten()
        try:
            # Without an address, Ray would take a cluster of somebody else's that runs here.
            with _kept_handler(signal.SIGTERM):
                self._ray.init(self._address or "local", **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            self._loud_again()
            raise ArchiveError(f"Ray cannot be reached or started ({error})") from error
        self.workers = self._asked or int(self._ray.cluster_resources().get("CPU", 1))
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the cluster, or end it where it was started here."""
        self._ray.shutdown()
        self._loud_again()

    def _quieten(self) -> None:
        for name, level in _LOGGERS.items():
            self._levels[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(level)

    def _loud_again(self) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    def restore(self, names: Sequence[str], work: Work) -> Iterator[Entry]:
        """Restore photos on all cores, and yield their rows as they come.

        Raises:
            ArchiveError: the cluster, a machine or the storage fails.
            ElirError: as `PhotoWorker`.
        """
        data = importlib.import_module("ray.data")
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        blocks = number_of_blocks(len(names))
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
                if row["status"] == _STOPPED:
                    raise ArchiveError(row["reason"])
                yield Entry(**row)
        except self._ray.exceptions.RayError as error:
            raise ArchiveError(f"Ray gave up ({_reason(error)})") from error


def number_of_blocks(photos: int) -> int:
    """Return how many blocks hold so many photos; one, if there are none."""
    return max(1, math.ceil(photos / _BLOCK))


class _RayWorker:
    """A `PhotoWorker` that Ray starts, and starts again where it dies.

    An error that ends the run comes as a row: Ray tries again what raises, and hides the reason.
    """

    def __init__(self, work: Work) -> None:
        context = _require_ray().get_runtime_context()
        self._worker: PhotoWorker | None = None
        try:
            self._worker = PhotoWorker(work, lambda: bool(context.was_current_actor_reconstructed))
        except ElirError as error:
            self._failure = str(error)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        rows = []
        try:
            for name in batch["photo"]:
                rows.append(self._restored(str(name)))
        except ElirError as error:
            rows.append(_stop(str(error)))
        table = [asdict(row) for row in rows]
        return {key: [row[key] for row in table] for key in table[0]} if table else {}

    def _restored(self, photo: str) -> Entry:
        if self._worker is None:
            raise ArchiveError(self._failure)
        return self._worker.restore(photo)


def _stop(reason: str) -> Entry:
    return Entry(
        photo="",
        status=_STOPPED,
        reason=reason,
        remarks="",
        seconds=0.0,
        bytes_in=0,
        bytes_out=0,
        worker="",
    )


def _reason(error: Exception) -> str:
    """Return the line of Ray's report that names the worker's own error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if _ERROR_LINE.match(line) and not line.startswith("ray.")]
    return (named or lines or [type(error).__name__])[0]


@contextlib.contextmanager
def _kept_handler(number: signal.Signals) -> Iterator[None]:
    """Undo that a signal's handler is replaced: Ray's own prints a trace."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(number, before)


def _require_ray() -> ModuleType:
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    module: ModuleType = ray
    return module
