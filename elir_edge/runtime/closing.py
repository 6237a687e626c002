"""What is closed at the end of a `with`."""

from types import TracebackType
from typing import Protocol, Self


class Closing(Protocol):
    """A context manager that closes itself."""

    def close(self) -> None:
        """Release what it holds; it is of no use afterwards."""

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
