"""The interface of all backends."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from elir_edge.errors import BackendError
from elir_edge.runtime.closeable import Closeable


class Backend(Closeable, Protocol):
    """A loaded artifact; as a context manager, it closes itself."""

    @property
    def version(self) -> str:
        """Return the name and version of the runtime."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the artifact once.

        Args:
            inputs: arrays by input name, with the shapes and dtypes of the manifest.

        Returns:
            Arrays by output name.

        Raises:
            BackendError: the names, shapes or dtypes do not match the artifact.
        """


Signature = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and numpy dtype of every input, by name."""


def refusal(version: str, *, got: object, expected: object = None) -> BackendError:
    """Return the error for inputs that an artifact does not accept.

    Args:
        version: name and version of the runtime.
        got: the inputs, or the runtime's message about them.
        expected: the inputs that the artifact accepts, if they are known.
    """
    return BackendError(
        f"{version} cannot run the artifact on the inputs that the manifest describes",
        got=str(got),
        expected=None if expected is None else str(expected),
        fix="run `elir-edge verify` on the bundle; if it is intact, export again",
    )


def require_signature(
    version: str, inputs: Mapping[str, NDArray[Any]], expected: Signature
) -> None:
    """Check that arrays have the names, shapes and dtypes that an artifact accepts.

    Raises:
        BackendError: they do not.
    """
    given = {name: (value.shape, value.dtype.name) for name, value in inputs.items()}
    if given != expected:
        raise refusal(version, got=given, expected=dict(expected))
