"""The exceptions that users see: one line that says what is wrong and how to fix it."""


class ElirError(Exception):
    """A failure the user can act on; the command line prints it and exits with `exit_code`.

    Args:
        what: what is wrong, with the name of the file, tensor or option.
        got: what was found, if that helps.
        expected: what would be right.
        fix: what the user can do.

    Attributes:
        what: what is wrong, alone.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        got: str | None = None,
        expected: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what = what.rstrip(".")
        parts = [self.what]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if fix is not None:
            parts.append(f"fix: {fix}")
        super().__init__("; ".join(parts))


class UsageError(ElirError):
    """An option or argument is invalid, whatever the files contain."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration's field is out of range, or its fields contradict each other."""


class CheckpointError(ElirError):
    """A weights file is unreadable, unsafe, incomplete or of another model."""


class ImageError(ElirError):
    """An image cannot be read, written or processed."""


class VideoError(ElirError):
    """A video cannot be read or written."""


class ArchiveError(ElirError):
    """An archive's storage, ledger or cluster failed."""


class DataError(ElirError):
    """Training, validation or calibration data is missing or unusable."""


class TrainingError(ElirError):
    """Training cannot continue: it diverged, or the state to resume does not match."""


class ExportError(ElirError):
    """A model cannot be exported to the target, or an export tool failed."""


class ParityError(ElirError):
    """A numerical check failed: two results differ too much, or cannot be compared."""


class BundleError(ElirError):
    """A bundle is incomplete, altered, or made for another device."""


class BackendError(ElirError):
    """A runtime is missing or cannot run the artifact."""


class FetchError(ElirError):
    """A download did not complete or does not match its recorded hash."""
