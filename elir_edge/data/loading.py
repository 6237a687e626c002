"""Batches ahead of time: by one thread, or by processes of their own."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch.utils.data import DataLoader, Dataset

from elir_edge.data.datasets import Batch

Sampler = Callable[[int], Batch]
"""A batch of a step."""


class _Steps(Dataset[Batch]):
    """The batches first, first + 1, ... as a dataset."""

    def __init__(self, sampler: Sampler, first: int, last: int) -> None:
        self._sampler, self._first, self._last = sampler, first, last

    def __len__(self) -> int:
        return self._last - self._first

    def __getitem__(self, index: int) -> Batch:
        return self._sampler(self._first + index)


@contextlib.contextmanager
def prefetched(
    sampler: Sampler, first: int, last: int, *, num_workers: int
) -> Iterator[Iterator[Batch]]:
    """Yield the batches of steps first..last-1 in order, made while others are in use.

    Args:
        sampler: batch of a step; pure, so that who makes it does not matter.
        first: step of the first batch.
        last: step after the last one.
        num_workers: processes that make batches, each with photos cached on its own; 0: a thread.
    """
    if num_workers:
        # Batches are whole already (batch_size=None), and come in the order of the steps.
        yield iter(_loader(_Steps(sampler, first, last), num_workers))
        return
    with ThreadPoolExecutor(1) as pool:
        yield _by_thread(pool, sampler, first, last)


def _by_thread(
    pool: ThreadPoolExecutor, sampler: Sampler, first: int, last: int
) -> Iterator[Batch]:
    if first >= last:
        return
    coming = pool.submit(sampler, first)
    for step in range(first, last):
        batch = coming.result()
        if step + 1 < last:
            coming = pool.submit(sampler, step + 1)
        yield batch


def _loader(steps: _Steps, num_workers: int) -> "DataLoader[Batch]":
    same: Any = _same  # the stubs know only functions of lists of samples
    return DataLoader(steps, batch_size=None, num_workers=num_workers, collate_fn=same)


def _same(batch: Batch) -> Batch:
    return batch
