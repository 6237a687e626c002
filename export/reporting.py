"""What is told while an export works: what is being done, and how much of it is."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Report:
    """Tells whoever waits; called with a text, it says what is going on.

    Args:
        tell: given the text and the share that is done, in [0, 1]; None where nobody knows.
    """

    def __init__(self, tell: Callable[[str, float | None], None]) -> None:
        self._tell = tell

    def __call__(self, text: str, done: float | None = None) -> None:
        """Tell."""
        self._tell(text, done)

    def each(self, text: str, items: Sequence[Item]) -> Iterator[Item]:
        """Yield the items, telling before each how many are done."""
        for i, item in enumerate(items):
            self._tell(text, i / len(items))
            yield item


SILENT = Report(lambda text, done: None)
"""Tells nobody."""
