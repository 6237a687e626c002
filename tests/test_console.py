"""What a signal does to a command, also where a library swallows it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_COMMAND = """
import os, signal, sys, typer
from elir_edge.console import run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

@app.command()
def work(number: int) -> None:
    try:
        os.kill(os.getpid(), number)
    except BaseException:
        pass  # as an extension module does while it is initialized
    raise AttributeError("a module that lacks a name")

run_app(app)
"""


@pytest.mark.parametrize(("number", "word"), [(2, "interrupted"), (15, "terminated"), (0, None)])
def test_a_failure_after_a_swallowed_signal_is_the_signals(number: int, word: str | None) -> None:
    """The twin is number 0, which sends nothing: the failure is a fault, and is shown as one."""
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, str(number)],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    if word is None:
        assert "AttributeError" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (128 + number, f"{word}\n")
