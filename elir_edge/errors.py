"""The exceptions users see: one line that says what was wrong and how to fix it."""


class ElirError(Exception):
    """A failure the user can act on; the command line prints it and exits with `exit_code`.

    Args:
        what: what went wrong, naming the file, tensor or option.
        got: what was found, if that helps.
        expected: what would have been right.
        fix: what the user can do about it.
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
        parts = [what.rstrip(".")]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if fix is not None:
            parts.append(f"fix: {fix}")
        super().__init__("; ".join(parts))


class UsageError(ElirError):
    """An option or argument that cannot work, whatever the files hold."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration whose fields contradict each other or their ranges."""


class CheckpointError(ElirError):
    """A weights file that is unreadable, unsafe, incomplete or of another model."""


class ImageError(ElirError):
    """An image that cannot be read or written."""


class VideoError(ElirError):
    """A video that cannot be read or written."""


class ArchiveError(ElirError):
    """An archive whose storage, ledger or cluster fails."""


class DataError(ElirError):
    """A folder of training or calibration images that cannot serve."""


class TrainingError(ElirError):
    """Training cannot go on (diverged, or asked to resume from something else)."""


class ExportError(ElirError):
    """A model that cannot be expressed for the target."""


class ParityError(ElirError):
    """A numerical check that failed; nothing is shipped."""


class BundleError(ElirError):
    """A bundle that is incomplete, altered, or not for this device."""


class BackendError(ElirError):
    """A runtime that is missing or refuses the artifact."""


class FetchError(ElirError):
    """A download that did not complete or does not match its recorded hash."""
