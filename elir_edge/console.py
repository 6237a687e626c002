"""What all commands share: one line per mistake, exit codes, signals."""

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
"""Results go to standard output."""


def counting_progress() -> Progress:
    """Return a bar that counts things done and disappears when they are."""
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
    """Say on standard error what may surprise, without stopping."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"warning: {message}", markup=False)


def run_app(app: typer.Typer) -> NoReturn:
    """Run a command line: 0 success, 1 failure, 2 usage, 130 interrupted.

    A termination signal becomes an exception, so that half-written files are removed; but not once
    the work is done: an exception among the interpreter's last steps would be printed, not raised.
    A library may swallow that exception while it is imported, and fail with another one over what
    it lacks then: once a signal was heard, any failure is its doing.
    """
    heard: list[int] = []

    def remember(number: int, frame: FrameType | None) -> NoReturn:
        heard.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    # Here for all that a command imports and runs: onnxsim imports ONNX Runtime, too.
    without_telemetry()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show is shown in escapes: it is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, remember)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        before[signal.SIGINT] = signal.signal(signal.SIGINT, remember)
    try:
        code = app(standalone_mode=True)
    except ElirError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as exit_:
        if exit_.code == INTERRUPTED:  # typer's, which says nothing
            sys.stderr.write("interrupted\n")
        if exit_.code == _TERMINATED:
            sys.stderr.write("terminated\n")
        raise
    except OSError as error:
        _fail(_describe(error), 1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard and isinstance(sys.exception(), Exception):
            sys.stderr.write("interrupted\n" if heard[0] == signal.SIGINT else "terminated\n")
            sys.exit(128 + heard[0])
    sys.exit(code)


def _describe(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return f"the system refused{where}: {error.strerror or error}"


def _fail(message: str, code: int) -> NoReturn:
    # Runtimes and libraries quoted in a message may have broken it into lines.
    line = f"error: {' '.join(message.split())}"
    Console(stderr=True, soft_wrap=True, highlight=False).print(line, markup=False, emoji=False)
    sys.exit(code)
