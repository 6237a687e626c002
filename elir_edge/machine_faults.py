"""Tell the faults of a machine from those of a photo."""

import errno
from collections.abc import Iterator

_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)
"""The disk is full, a quota is used up, the disk is read-only, too many files are open."""


def disk_fault(error: BaseException) -> OSError | None:
    """Return the error of the system that an error comes from, if it would stop any photo.

    A full disk fails every photo alike, and none of them for good.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in _ERRORS:
            return cause
    return None


def missing_module(error: BaseException) -> ModuleNotFoundError | None:
    """Return the error of a missing package that an error comes from."""
    for cause in _causes(error):
        if isinstance(cause, ModuleNotFoundError):
            return cause
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the one that it was raised from, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
