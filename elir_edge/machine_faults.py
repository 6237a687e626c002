"""Tell the faults of a machine from those of a photo."""

import errno

_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE)
"""The disk is full, a quota is used up, the disk is read-only, too many files are open."""


def disk_fault(error: BaseException) -> OSError | None:
    """Return the error of the system that an error comes from, if it would stop any photo.

    A full disk fails every photo alike, and none of them for good.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _ERRORS:
            return cause
        cause = cause.__cause__
    return None


def missing_module(error: BaseException) -> ModuleNotFoundError | None:
    """Return the error of a missing package that an error comes from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError):
            return cause
        cause = cause.__cause__
    return None
