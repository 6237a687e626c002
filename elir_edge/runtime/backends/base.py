"""The one contract of all runtimes."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from elir_edge.errors import BackendError
from elir_edge.runtime.closing import Closing


class Backend(Closing, Protocol):
    """An artifact, loaded and ready; a context manager that closes it."""

    @property
    def version(self) -> str:
        """Name and version of the runtime."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once.

        Args:
            inputs: arrays by input name, of the shapes and types in the manifest.

        Returns:
            Arrays by output name.

        Raises:
            BackendError: the inputs are not those of the artifact.
        """


Signature = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and numpy type of every input, by name."""


def refusal(version: str, *, got: object, expected: object = None) -> BackendError:
    """Return the error for inputs that an artifact does not take.

    Args:
        version: name and version of the runtime.
        got: the inputs, or what the runtime says of them.
        expected: the artifact's own, where it can be asked.
    """
    return BackendError(
        f"{version} cannot run the artifact on what the manifest describes",
        got=str(got),
        expected=None if expected is None else str(expected),
        fix="run `elir-edge verify` on the bundle; if it is whole, export again",
    )


def require_signature(
    version: str, inputs: Mapping[str, NDArray[Any]], expected: Signature
) -> None:
    """Require arrays of the names, shapes and types that an artifact takes.

    Raises:
        BackendError: they are not.
    """
    given = {name: (value.shape, value.dtype.name) for name, value in inputs.items()}
    if given != expected:
        raise refusal(version, got=given, expected=dict(expected))
