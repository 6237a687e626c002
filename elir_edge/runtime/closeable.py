"""The base of objects that a `with` block closes."""

from types import TracebackType
from typing import Protocol, Self


class Closeable(Protocol):
    """A context manager that closes itself."""

    def close(self) -> None:
        """Release all resources; the object cannot be used afterwards."""

    def __enter__(self) -> Self:
        """Return the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the object."""
        self.close()
