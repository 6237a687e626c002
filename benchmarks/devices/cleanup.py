"""What was put on a device is removed again, also after a failure."""

import contextlib
from collections.abc import Callable, Iterator

from elir_edge.errors import ElirError


@contextlib.contextmanager
def removing(remove: Callable[[], object]) -> Iterator[None]:
    """Remove in the end; what failed first is what is told, also where the device is gone."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ElirError):
            remove()
        raise
    remove()
