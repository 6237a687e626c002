"""The one contract of all runtimes."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray


class Backend(Protocol):
    """An artifact, loaded and ready."""

    @property
    def version(self) -> str:
        """Name and version of the runtime."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once: arrays by input name, to arrays by output name, as in the manifest."""
