"""What goes wrong in other projects' quantizers, as this project's errors."""

import contextlib
from collections.abc import Iterator

from elir_edge.errors import ExportError

FIX = "pip install '.[quantizers]' into an environment of its own, without the lock"


@contextlib.contextmanager
def refusals(package: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn a package's errors into one that `engines.py` puts into its row.

    Args:
        package: its name, for the message.
        kinds: its own errors, beside those that Python's numerical packages raise.

    Raises:
        ExportError: the package failed.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError, KeyError, OSError, *kinds) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(f"{package} refuses the graph ({lines[0]})") from error
