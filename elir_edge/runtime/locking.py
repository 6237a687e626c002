"""Keep a folder to one program at a time; the only file that imports filelock."""

import errno
from collections.abc import Callable
from pathlib import Path

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems answer that have no locks: there, nothing is locked."""


def lock(path: Path) -> Callable[[], None]:
    """Lock a file until the function that is returned is called, or the program ends.

    Args:
        path: of a file that serves for nothing else; made with its folders where it is missing.

    Raises:
        BlockingIOError: another program has locked it.
        ModuleNotFoundError: filelock is not installed.
        OSError: the file cannot be made.
    """
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    held = filelock.FileLock(path, blocking=False)
    try:
        held.acquire()
    except filelock.Timeout as error:
        raise BlockingIOError(errno.EWOULDBLOCK, "locked by another program", str(path)) from error
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    return held.release
