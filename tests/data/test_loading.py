"""Batches ahead of time: in order, errors as they were raised, waits that end when asked."""

import threading
import time

import numpy as np
import pytest

from elir_edge.data.datasets import Batch
from elir_edge.data.loading import prefetched
from elir_edge.errors import DataError


def _batch(step: int) -> Batch:
    images = np.full((1, 3, 2, 2), step, np.float32)
    return Batch(clean=images, degraded=images)


def _broken(step: int) -> Batch:
    if step == 4:
        raise DataError("photo.jpg cannot be read", fix="remove it")
    return _batch(step)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_in_order_from_first_to_last(num_workers: int) -> None:
    with prefetched(_batch, 2, 6, num_workers=num_workers) as batches:
        assert [int(batch.clean.max()) for batch in batches] == [2, 3, 4, 5]
    with prefetched(_batch, 6, 6, num_workers=num_workers) as batches:
        assert list(batches) == []


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_comes_as_it_was_raised(num_workers: int) -> None:
    """Of a worker process too: not as the text of a traceback."""
    seen = []
    with prefetched(_broken, 2, 9, num_workers=num_workers) as batches:
        with pytest.raises(DataError) as caught:
            seen += [int(batch.clean.max()) for batch in batches]
        assert str(caught.value) == "photo.jpg cannot be read; fix: remove it"


def test_a_wait_ends_when_asked() -> None:
    asked, blocked = threading.Event(), threading.Event()

    def slow(step: int) -> Batch:
        if step == 1:
            blocked.wait(20)
        return _batch(step)

    started = time.monotonic()
    with prefetched(slow, 0, 5, num_workers=0, stopped=asked.is_set) as batches:
        assert int(next(batches).clean.max()) == 0
        threading.Timer(0.3, asked.set).start()
        assert list(batches) == []
    # Neither the wait nor the end of the block waits for the batch that is being made.
    assert time.monotonic() - started < 10
    blocked.set()
