"""Prefetching of batches, by one thread or by worker processes."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from elir_edge.data.datasets import Batch
from elir_edge.errors import ElirError

Sampler = Callable[[int], Batch]
"""Maps a step to its batch."""
_Outcome = Batch | BaseException
_POLL_SECONDS = 0.2


class _Steps(Dataset[_Outcome]):
    """The batches of steps first..last-1 as a dataset; a failed batch is returned as its error.

    If a worker raised the error, the loader would wrap it in a traceback.
    """

    def __init__(self, sampler: Sampler, first: int, last: int) -> None:
        self._sampler, self._first, self._last = sampler, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> _Outcome:
        try:
            return self._sampler(self._first + index)
        except ElirError as error:
            return error


@contextlib.contextmanager
def prefetched(
    sampler: Sampler,
    first: int,
    last: int,
    *,
    num_workers: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Iterator[Batch]]:
    """Yield an iterator over the batches of steps first..last-1, in order and prefetched.

    Args:
        sampler: maps a step to its batch; pure, so any process may compute it.
        first: step of the first batch.
        last: step after the last batch.
        num_workers: worker processes, each with its own photo cache; 0: one thread.
        stopped: polled while waiting for a batch; the iterator ends when it returns True.
    """
    if num_workers:
        # Each sample is a whole batch (batch_size=None); the loader keeps the order of the steps.
        yield _raised(iter(_loader(_Steps(sampler, first, last), num_workers)), stopped)
        return
    ended = threading.Event()
    try:
        yield _raised(_by_thread(sampler, first, last, ended, stopped), stopped)
    finally:
        ended.set()


def _raised(outcomes: Iterator[_Outcome], stopped: Callable[[], bool]) -> Iterator[Batch]:
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        if stopped():
            return
        yield outcome


def _by_thread(
    sampler: Sampler,
    first: int,
    last: int,
    ended: threading.Event,
    stopped: Callable[[], bool],
) -> Iterator[_Outcome]:
    """Yield batches that a daemon thread computes one ahead; the program can end without it."""
    outcomes: queue.Queue[_Outcome] = queue.Queue(maxsize=1)

    def make() -> None:
        for step in range(first, last):
            outcome: _Outcome
            try:
                outcome = sampler(step)
            except BaseException as error:  # raised where the batch is consumed
                outcome = error
            while not ended.is_set():
                with contextlib.suppress(queue.Full):
                    outcomes.put(outcome, timeout=_POLL_SECONDS)
                    break
            if ended.is_set() or isinstance(outcome, BaseException):
                return

    threading.Thread(target=make, daemon=True).start()
    for _ in range(first, last):
        while True:
            with contextlib.suppress(queue.Empty):
                yield outcomes.get(timeout=_POLL_SECONDS)
                break
            if stopped():
                return


def _loader(steps: _Steps, num_workers: int) -> "DataLoader[_Outcome]":
    same: Any = _same  # the type stubs only allow functions of lists of samples
    return DataLoader(steps, batch_size=None, num_workers=num_workers, collate_fn=same)


def _same(outcome: _Outcome) -> _Outcome:
    return outcome
