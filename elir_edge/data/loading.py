"""Batches ahead of time: by one thread, or by processes of their own."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from elir_edge.data.datasets import Batch
from elir_edge.errors import ElirError

Sampler = Callable[[int], Batch]
"""A batch of a step."""
_Outcome = Batch | BaseException
_POLL_SECONDS = 0.2


class _Steps(Dataset[_Outcome]):
    """The batches first, first + 1, ... as a dataset; an error takes the place of its batch.

    A loader that raised it in a worker would turn it into a traceback.
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
    """Yield the batches of steps first..last-1 in order, made while others are in use.

    Args:
        sampler: batch of a step; pure, so that who makes it does not matter.
        first: step of the first batch.
        last: step after the last one.
        num_workers: processes that make batches, each with photos cached on its own; 0: a thread.
        stopped: asked while a batch is waited for; where it says so, no more come.
    """
    if num_workers:
        # Batches are whole already (batch_size=None), and come in the order of the steps.
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
    """Yield what a thread makes, one batch ahead; nothing waits for it when the program ends."""
    made: queue.Queue[_Outcome] = queue.Queue(maxsize=1)

    def make() -> None:
        for step in range(first, last):
            outcome: _Outcome
            try:
                outcome = sampler(step)
            except BaseException as error:  # raised where the batch is waited for
                outcome = error
            while not ended.is_set():
                with contextlib.suppress(queue.Full):
                    made.put(outcome, timeout=_POLL_SECONDS)
                    break
            if ended.is_set() or isinstance(outcome, BaseException):
                return

    threading.Thread(target=make, daemon=True).start()
    for _ in range(first, last):
        while True:
            with contextlib.suppress(queue.Empty):
                yield made.get(timeout=_POLL_SECONDS)
                break
            if stopped():
                return


def _loader(steps: _Steps, num_workers: int) -> "DataLoader[_Outcome]":
    same: Any = _same  # the stubs know only functions of lists of samples
    return DataLoader(steps, batch_size=None, num_workers=num_workers, collate_fn=same)


def _same(outcome: _Outcome) -> _Outcome:
    return outcome
