"""Progress reports of an export: what is being done, and how much of it is completed."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Report:
    """Reports progress to a callback.

    Args:
        callback: called with a text and the completed share in [0, 1], or None if it is unknown.
    """

    def __init__(self, callback: Callable[[str, float | None], None]) -> None:
        self._callback = callback

    def __call__(self, text: str, done: float | None = None) -> None:
        """Report what is being done and, if known, the completed share in [0, 1]."""
        self._callback(text, done)

    def each(self, text: str, items: Sequence[Item]) -> Iterator[Item]:
        """Yield the items, and report before each one the share of items that are completed."""
        for i, item in enumerate(items):
            self._callback(text, i / len(items))
            yield item


SILENT = Report(lambda text, done: None)
"""A report that goes nowhere."""
