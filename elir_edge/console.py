"""Functions shared by all commands: error lines, exit codes, signals, progress bars."""

import io
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from elir_edge.errors import ElirError
from elir_edge.start import INTERRUPTED
from elir_edge.telemetry import without_telemetry

_TERMINATED = 128 + signal.SIGTERM
console = Console()
"""Console for results, on standard output."""


def counting_progress() -> Progress:
    """Return a progress bar that counts finished items and disappears at the end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_interactive,  # rich would print an empty line
    )


def warn(message: str) -> None:
    """Print a warning on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"warning: {message}", markup=False)


def run_app(app: typer.Typer) -> NoReturn:
    """Run a command line and exit: 0 success, 1 failure, 2 wrong usage, 130 interrupted.

    While the command runs, SIGTERM raises an exception, so that half-written files are removed. The
    old handler is restored afterwards, since an exception during the interpreter's shutdown would
    only be printed. A library may swallow that exception while it is imported and later fail for
    another reason, so any failure after a signal is reported as the signal's.
    """
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    # Set here for everything that a command imports and runs: onnxsim imports ONNX Runtime, too.
    without_telemetry()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Escape characters that the terminal cannot show, instead of failing on them.
            stream.reconfigure(errors="backslashreplace")
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, remember)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        before[signal.SIGINT] = signal.signal(signal.SIGINT, remember)
    try:
        # Not standalone: typer would print a usage error as a box of five lines.
        code = app(standalone_mode=False)
        if code == INTERRUPTED:  # returned by typer, which prints no message
            sys.stderr.write("interrupted\n")
    except ElirError as error:
        _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        _refuse(error)
    except SystemExit as exit_:
        if exit_.code == _TERMINATED:
            sys.stderr.write("terminated\n")
        raise
    except OSError as error:
        _fail(_describe(error), 1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received and isinstance(sys.exception(), Exception):
            sys.stderr.write("interrupted\n" if received[0] == signal.SIGINT else "terminated\n")
            sys.exit(128 + received[0])
    sys.exit(code)


def _describe(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return f"the system refused{where}: {error.strerror or error}"


def _refuse(error: typer.TyperException) -> NoReturn:
    """Print a usage error that typer found as one line; none if it was the call for the help."""
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:
        sys.exit(error.exit_code)
    context = getattr(error, "ctx", None)  # only of usage errors
    command = f"{context.command_path} --help" if context is not None else "--help"
    _fail(f"{message[0].lower()}{message[1:]}; fix: see {command}", error.exit_code)


def _fail(message: str, code: int) -> NoReturn:
    # Join the lines of a message, since quoted errors of libraries may contain line breaks.
    line = f"error: {' '.join(message.split())}"
    Console(stderr=True, soft_wrap=True, highlight=False).print(line, markup=False, emoji=False)
    sys.exit(code)
